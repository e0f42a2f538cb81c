//! The repository's modules and inventories: every example renders as it says, and what is written can be read.

#[path = "modules/compose.rs"]
mod compose;
#[path = "modules/example.rs"]
mod example;
#[path = "modules/owners.rs"]
mod owners;
#[path = "modules/render.rs"]
mod render;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use muster::model::id::{HostId, ModuleName};
use muster::model::module::Module;

use compose::Deployment;
use example::Example;
use render::{Rendered, modules, render, said};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the TOML files of a folder, sorted.
fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

fn report(findings: &[String]) {
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

fn module(name: &str) -> &'static Module {
    &modules()[&name.parse::<ModuleName>().expect("it is a name")]
}

/// Returns every example of every module, rendered once for all tests.
fn examples() -> &'static [Example] {
    static EXAMPLES: OnceLock<Vec<Example>> = OnceLock::new();
    EXAMPLES.get_or_init(|| Example::all(modules()))
}

/// Returns every inventory of the repository by its file, rendered once for all tests.
fn inventories() -> &'static [(String, Rendered)] {
    static INVENTORIES: OnceLock<Vec<(String, Rendered)>> = OnceLock::new();
    INVENTORIES.get_or_init(|| {
        let files = toml_files(&root().join("inventories")).into_iter();
        files
            .map(|file| (file.display().to_string(), render(&file, modules(), None)))
            .collect()
    })
}

/// Returns everything that renders without a mistake: examples and inventories.
fn sound() -> impl Iterator<Item = (&'static str, &'static Rendered)> {
    let examples = examples().iter().filter(|example| !example.is_broken());
    let examples = examples.map(|example| (example.name.as_str(), &example.rendered));
    examples.chain(
        inventories()
            .iter()
            .map(|(name, rendered)| (name.as_str(), rendered)),
    )
}

/// Returns the deployments of every sound example and inventory, with the name of their host.
fn deployments() -> impl Iterator<Item = (String, Deployment)> {
    sound().flat_map(|(name, rendered)| {
        let hosts = rendered.desired.hosts.keys();
        hosts.map(move |host| (format!("{name} {host}"), Deployment::of(rendered, host)))
    })
}

#[test]
fn every_example_comes_as_it_says() {
    let examples = examples();
    assert!(examples.len() > 30, "examples are found");
    report(&examples.iter().flat_map(Example::findings).collect::<Vec<_>>());
}

#[test]
fn every_rule_is_broken_by_an_example() {
    let broken: BTreeSet<String> = examples()
        .iter()
        .flat_map(|example| &example.rendered.diagnostics)
        .flat_map(|diagnostic| diagnostic.others.iter().map(|label| label.place.to_string()))
        .collect();
    let rules = modules().values().flat_map(|module| &module.rules);
    let unbroken = rules.filter(|rule| !broken.contains(&rule.origin.to_string()));
    report(
        &unbroken
            .map(|rule| format!("{}: no example breaks `{}`", rule.origin, rule.must))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_inventory_checks() {
    assert!(inventories().len() >= 3, "inventories are found");
    for (name, rendered) in inventories() {
        let errors: Vec<String> = rendered.errors().map(said).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        assert!(rendered.desired.iter().count() > 10, "{name} declares something");
    }
}

#[test]
fn every_layout_of_every_model_renders() {
    let module = module("gonka-ml-node");
    let models = module.data["models"]["model"].as_table().expect("models by id");
    let layouts = models.iter().flat_map(|(model, profile)| {
        let layouts = profile["layouts"].as_table().expect("layouts by name");
        layouts.iter().map(move |(name, layout)| (model, name, layout))
    });
    let mut text =
        "[fleet]\nname = \"layouts\"\n[[use]]\nmodule = \"gonka-ml-node\"\non = \"all\"\n".to_owned();
    let mut count = 0;
    for (model, name, layout) in layouts {
        count += 1;
        let image = layout
            .get("image_min")
            .and_then(toml::Value::as_str)
            .unwrap_or("3.0.14-post2");
        text.push_str(&format!(
            "[hosts.h{count}]\naddress = \"10.0.0.{count}\"\nvalues = {{ model = {model:?}, layout = {name:?}, \
             image = \"ghcr.io/gonka-ai/mlnode:{image}\" }}\n"
        ));
    }
    assert!(count > 15, "layouts are found");
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("layouts.toml");
    std::fs::write(&path, text).expect("there is room");
    let rendered = render(&path, modules(), None);
    report(&rendered.errors().map(said).collect::<Vec<_>>());
    assert_eq!(rendered.desired.hosts.len(), count);
}

#[test]
fn every_variable_of_a_dns_provider_is_an_input_and_a_line_of_config_env() {
    let module = module("gonka-network-node");
    let providers = module.data["providers"].as_table().expect("providers by name");
    let lines = module.data["v0_2_14"]["variable"].as_array().expect("lines");
    let mut count = 0;
    for (provider, facts) in providers {
        for variable in facts["variables"].as_array().expect("a list") {
            let variable = variable.as_str().expect("a name");
            let is_input = module
                .inputs
                .iter()
                .any(|input| input.name == variable.to_lowercase());
            assert!(is_input, "{provider}: {variable} has an input");
            let is_line = |line: &&toml::Value| {
                line["name"].as_str() == Some(variable) && line["branch"].as_str() == Some(provider)
            };
            assert_eq!(
                lines.iter().filter(is_line).count(),
                1,
                "{provider}: {variable} has a line"
            );
            count += 1;
        }
    }
    assert_eq!((providers.len(), count), (6, 12));
}

#[test]
fn node_config_is_json_and_each_argument_an_item_of_its_own() {
    let mut count = 0;
    for (name, deployment) in deployments() {
        for node in deployment.ml_nodes().into_iter().flatten() {
            let models = node["models"].as_object().expect("models by id");
            assert_eq!(models.len(), 1, "{name}: one model to a node");
            for model in models.values() {
                let args: Vec<&str> = model["args"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(|arg| arg.as_str().expect("text"))
                    .collect();
                let joined = args
                    .iter()
                    .filter(|arg| arg.contains(' ') && !arg.starts_with('{'));
                assert_eq!(joined.count(), 0, "{name}: {args:?}");
                count += args.len();
            }
        }
    }
    assert!(count > 20, "arguments are found");
}

#[test]
fn compose_files_are_yaml_and_leave_nothing_to_the_environment() {
    let mut count = 0;
    for (name, deployment) in deployments() {
        for (file, compose) in deployment.compose() {
            assert!(compose["services"].is_object(), "{name}: {file} has services");
            let open = compose::unescaped(&compose);
            assert!(
                open.is_empty(),
                "{name}: {file} asks the environment for {open:?}"
            );
            count += 1;
        }
    }
    assert!(count > 20, "Compose files are found");
}

#[test]
fn compose_files_are_projects_that_muster_reads() {
    let mut services = BTreeSet::new();
    for (name, deployment) in deployments() {
        let Some(project) = deployment.project() else {
            continue;
        };
        let containers = project.containers(&BTreeMap::new());
        let api = containers.iter().find(|container| container.service == "api");
        assert!(
            api.is_none_or(|api| api.is_log_secret),
            "{name}: the API node writes its keyring's password into its log"
        );
        services.extend(containers.into_iter().map(|container| container.service));
    }
    let must = "api bridge cadvisor explorer grafana inference jaeger loki mlnode-308 node postgres postgres-backup prometheus promtail proxy proxy-ssl tmkms versiond";
    assert_eq!(services.into_iter().collect::<Vec<_>>().join(" "), must);
}

#[test]
fn config_env_says_what_the_containers_are_told() {
    // Variables that a container knows under another name.
    let aliases = BTreeMap::from([
        ("DAPI_API__PUBLIC_URL", "PUBLIC_URL"),
        ("DAPI_CHAIN_NODE__SEED_API_URL", "SEED_API_URL"),
        ("PGHOST", "POSTGRES_HOST"),
        ("PGPASSWORD", "POSTGRES_PASSWORD"),
    ]);
    // The ML node's HF_HOME is a path of its container.
    let own = ["HF_HOME"];
    let mut compared = BTreeSet::new();
    for (name, deployment) in deployments() {
        let Some(sourced) = deployment.sourced() else {
            continue;
        };
        for (file, compose) in deployment.compose() {
            for (service, variable, told) in compose::environment(&compose) {
                let known = aliases.get(variable.as_str()).copied().unwrap_or(&variable);
                let Some(value) = sourced.get(known).filter(|_| !own.contains(&known)) else {
                    continue;
                };
                assert_eq!(&told, value, "{name}: {file}, {service}, {variable}");
                compared.insert(known.to_owned());
            }
        }
    }
    let must = [
        "KEY_NAME",
        "KEYRING_PASSWORD",
        "ACCOUNT_PUBKEY",
        "PUBLIC_URL",
        "P2P_EXTERNAL_ADDRESS",
        "NGINX_MODE",
        "SEED_API_URL",
        "DAPI_API__POC_CALLBACK_URL",
        "RPC_SERVER_URL_2",
        "CERT_ISSUER_JWT_SECRET",
        "ACME_DNS_PROVIDER",
        "CF_DNS_API_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "GCE_SERVICE_ACCOUNT_JSON_B64",
        "AZURE_TENANT_ID",
        "DO_AUTH_TOKEN",
        "HETZNER_API_KEY",
        "SERVER_NAME",
        "POSTGRES_PASSWORD",
        "JAEGER_BASIC_AUTH_PASSWORD",
        "GRAFANA_ADMIN_PASSWORD",
    ];
    let lacking: Vec<&str> = must
        .into_iter()
        .filter(|name| !compared.contains(*name))
        .collect();
    assert!(lacking.is_empty(), "never compared: {lacking:?}");
}

#[test]
fn files_with_secrets_are_for_their_owner_alone() {
    // A certificate is given like its key, and is shown to every caller.
    let secret = |file: &render::Rendering<'_>| file.body.is_sensitive() && !file.path.ends_with("/cert.pem");
    let mut count = 0;
    for (name, rendered) in sound() {
        let hosts = rendered.desired.hosts.keys();
        for file in hosts.flat_map(|host| rendered.files(host)).filter(secret) {
            assert_eq!(file.mode, "0600", "{name}: {}", file.path);
            count += 1;
        }
    }
    assert!(count > 10, "files with secrets are found");
}

#[test]
fn identity_is_protected() {
    let identity = [
        ".tmkms",
        ".inference",
        ".inference/keyring-file",
        ".dapi",
        "secrets/nginx-ssl",
    ];
    let host: HostId = "gonka-1".parse().expect("it is a name");
    let quickstart = inventories()
        .iter()
        .find(|(name, _)| name.ends_with("quickstart.toml"));
    let (_, rendered) = quickstart.expect("the quickstart is there");
    let protected: BTreeSet<String> = rendered
        .entries(&host)
        .filter(|(_, entry)| entry.protect)
        .map(|(key, _)| key)
        .collect();
    let lacking = identity
        .iter()
        .map(|path| format!("directory[/srv/gonka/{path}]"));
    report(&lacking.filter(|key| !protected.contains(key)).collect::<Vec<_>>());
}
