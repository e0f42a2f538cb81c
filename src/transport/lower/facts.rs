//! What the output of the programs that gather facts means.

use std::collections::BTreeMap;

use crate::model::observation::{Facts, Gpu};

use super::reply::Reply;

/// Returns the facts that a look gathered. What a host could not say stays empty.
pub fn facts(reply: &Reply) -> Facts {
    let text = |name: &str| {
        reply
            .first(name)
            .filter(|said| said.status == 0)
            .map(|said| said.text())
            .unwrap_or_default()
    };
    let os = assignments(&text("os"));
    let named = |key: &str| os.get(key).cloned().unwrap_or_default();
    let kernel = text("kernel");
    // The order is uname's own, whatever that of its options.
    let mut kernel = kernel.split_whitespace();
    let (hostname, release, machine) = (
        kernel.next().unwrap_or(""),
        kernel.next().unwrap_or(""),
        kernel.next().unwrap_or(""),
    );
    let arch = text("arch").trim().to_owned();
    Facts {
        os: named("ID"),
        os_version: named("VERSION_ID"),
        os_codename: named("VERSION_CODENAME"),
        kernel: release.to_owned(),
        arch: if arch.is_empty() {
            debian_arch(machine).to_owned()
        } else {
            arch
        },
        hostname: hostname.to_owned(),
        cpus: text("cpus").trim().parse().unwrap_or(0),
        memory_bytes: memory(&text("memory")),
        // df says 1 where it could not read some of the file systems.
        disks: disks(&reply.first("disks").map(|said| said.text()).unwrap_or_default()),
        addresses: addresses(&text("addresses")),
        gpus: gpus(&text("gpus")),
    }
}

/// Reads `KEY=value` lines with or without quotes.
fn assignments(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
        .collect()
}

fn debian_arch(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" => "armhf",
        "ppc64le" => "ppc64el",
        other => other,
    }
}

fn memory(text: &str) -> u64 {
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

/// Reads lines of size, type and mount point, leaving out what holds no data of the host's own.
fn disks(text: &str) -> BTreeMap<String, u64> {
    let read = |line: &str| {
        let (size, rest) = line.trim().split_once(' ')?;
        let (kind, target) = rest.trim_start().split_once(' ')?;
        let target = target.trim_start();
        let is_own = !["tmpfs", "devtmpfs", "squashfs", "efivarfs", "ramfs"].contains(&kind)
            && (kind != "overlay" || target == "/");
        is_own.then_some((target.to_owned(), size.parse().ok()?))
    };
    text.lines().filter_map(read).collect()
}

/// Reads lines of `ip -o addr`: `2: eth0    inet 10.0.0.1/24 …`.
fn addresses(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [_, interface, "inet" | "inet6", address, ..] = words.as_slice() {
            let address = address.split('/').next().unwrap_or(address);
            found
                .entry((*interface).to_owned())
                .or_default()
                .push(address.to_owned());
        }
    }
    found
}

/// Reads lines of index, memory in MiB, name.
fn gpus(text: &str) -> Vec<Gpu> {
    let read = |line: &str| {
        let mut parts = line.splitn(3, ',').map(str::trim);
        let index: u64 = parts.next()?.parse().ok()?;
        let mib: u64 = parts.next()?.parse().ok()?;
        Some((
            index,
            Gpu {
                name: parts.next()?.to_owned(),
                memory_bytes: mib.saturating_mul(1024 * 1024),
            },
        ))
    };
    let by_index: BTreeMap<u64, Gpu> = text.lines().filter_map(read).collect();
    by_index.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphics_processors_come_in_the_order_of_their_index() {
        let gpus = gpus("1, 24564, NVIDIA GeForce RTX 4090\n0, 81559, NVIDIA H100 80GB HBM3\n");
        assert_eq!(gpus[0].name, "NVIDIA H100 80GB HBM3");
        assert_eq!(gpus[1].memory_bytes, 24564 * 1024 * 1024);
    }

    #[test]
    fn disks_leave_out_what_is_in_memory_and_read_mount_points_with_blanks() {
        let text =
            "1B-blocks Type Mounted on\n 1000 ext4 /\n  5 tmpfs /run\n 20 xfs /srv/a b\n 7 overlay /var/x\n";
        assert_eq!(
            disks(text),
            BTreeMap::from([("/".to_owned(), 1000), ("/srv/a b".to_owned(), 20)])
        );
    }

    #[test]
    fn numbers_beyond_reason_stay_numbers() {
        assert_eq!(memory("MemTotal: 18446744073709551615 kB\n"), u64::MAX);
        assert_eq!(gpus("0, 18446744073709551615, x\n")[0].memory_bytes, u64::MAX);
        assert!(disks(" 99999999999999999999 ext4 /\n").is_empty());
    }

    #[test]
    fn addresses_lose_their_prefix_lengths() {
        let text =
            "2: eth0    inet 10.0.0.1/24 brd x scope global eth0\n2: eth0    inet6 fd00::1/64 scope global\n";
        assert_eq!(addresses(text)["eth0"], ["10.0.0.1", "fd00::1"]);
    }
}
