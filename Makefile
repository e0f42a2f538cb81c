# Thin: each line calls cargo or a script under tests/. CARGO_TARGET_DIR and HOME are respected.
FLEET ?= rehearsal
HOSTS ?= 3

.PHONY: demo test soak bench bench-quick lint audit fleet-up fleet-down clean

demo: ## a fleet of five, from an inventory to a mended drift
	@tests/setup/all
	cargo build --locked
	@tests/demo/run

test: ## everything
	@tests/setup/all
	@tests/run

soak: ## ten thousand pretended runs with faults; SEEDS=n for another number
	@tests/setup/rust
	MUSTER_SIM_RUNS=$(or $(SEEDS),10000) cargo test --locked --release --test simulation seeds -- --nocapture

bench: ## how fast the planner is, a plan of real engines, and muster on 100, 500 and 1,000 hosts beside a floor and pyinfra; needs root
	@tests/setup/packages
	@tests/setup/rust
	@tests/setup/pyinfra
	@benches/run

bench-quick: ## only the fleet, with 100 hosts
	@tests/setup/packages
	@tests/setup/rust
	@tests/setup/pyinfra
	@benches/run --bench fleet -- --quick

lint: ## what `test` checks without running anything
	@tests/setup/rust
	@tests/setup/tools
	@tests/run fmt clippy deny machete

audit: ## known vulnerabilities; exits 2 when it could not look
	@tests/setup/rust
	@tests/setup/tools
	@tests/setup/audit

fleet-up: ## hosts to rehearse on: make fleet-up FLEET=name HOSTS=3
	@tests/setup/packages
	@tests/fleet/fleet up $(FLEET) $(HOSTS)

fleet-down:
	@tests/fleet/fleet down $(FLEET)

clean:
	cargo clean
