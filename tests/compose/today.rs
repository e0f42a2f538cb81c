//! Engines of other versions say the same things in other shapes. Every case is recorded from an engine of 1.41; here each is put into
//! the shape in which engines of today say it, and must come to the same.

use serde_json::{Map, Value, json};

use muster::compose;

use super::case;

/// Puts what 1.41 says of a container into the shape of 1.52.
fn container_today(container: &mut Value) {
    let short = container["Id"].as_str().expect("an id")[..12].to_owned();
    let name = container["Name"]
        .as_str()
        .unwrap_or_default()
        .trim_start_matches('/')
        .to_owned();
    // 1.44: the address of a card belongs to its network.
    take(container, "/Config", &["MacAddress"]);
    // From 1.45 on the id and the name are no aliases, but names in the DNS. From 1.52 on nothing is said beside the networks.
    take(
        container,
        "/NetworkSettings",
        &[
            "Bridge",
            "HairpinMode",
            "LinkLocalIPv6Address",
            "SecondaryIPAddresses",
            "EndpointID",
            "Gateway",
            "IPAddress",
        ],
    );
    let networks = container
        .pointer_mut("/NetworkSettings/Networks")
        .and_then(Value::as_object_mut);
    for endpoint in networks.into_iter().flat_map(Map::values_mut) {
        let aliases = endpoint["Aliases"].as_array().cloned().unwrap_or_default();
        let own: Vec<Value> = aliases
            .into_iter()
            .filter(|alias| *alias != short.as_str())
            .collect();
        let mut names = own.clone();
        names.extend([json!(name), json!(short)]);
        endpoint["Aliases"] = if own.is_empty() { Value::Null } else { json!(own) };
        endpoint["DNSNames"] = json!(names);
        endpoint["MacAddress"] = json!("02:42:ac:12:00:02");
        endpoint["GwPriority"] = json!(0);
    }
    let host = container.pointer_mut("/HostConfig").expect("it has one");
    // 1.42 took the kernel's memory away; engines on cgroup v2 do not know these at all.
    take(host, "", &["KernelMemory", "KernelMemoryTCP", "MemorySwappiness"]);
    if host["OomKillDisable"] == json!(false) {
        host["OomKillDisable"] = Value::Null;
    }
    for list in ["CapAdd", "CapDrop"] {
        let words = host[list].as_array().cloned().unwrap_or_default();
        let long = |word: &Value| {
            let word = word
                .as_str()
                .expect("a word")
                .trim_start_matches("CAP_")
                .to_owned();
            if word == "ALL" {
                json!(word)
            } else {
                json!(format!("CAP_{word}"))
            }
        };
        host[list] = if words.is_empty() {
            Value::Null
        } else {
            words.iter().map(long).collect()
        };
    }
    for list in [
        "Binds",
        "VolumesFrom",
        "Ulimits",
        "Devices",
        "ExtraHosts",
        "Dns",
        "DnsOptions",
        "DnsSearch",
    ] {
        // What was null is empty now, and the other way round.
        match &host[list] {
            Value::Null => host[list] = json!([]),
            Value::Array(items) if items.is_empty() => host[list] = Value::Null,
            _ => {}
        }
    }
    host["CgroupnsMode"] = json!("private");
    host["Annotations"] = json!({});
    if host["NetworkMode"] == json!("default") {
        host["NetworkMode"] = json!("bridge");
    }
    if host["RestartPolicy"]["Name"] == json!("") {
        host["RestartPolicy"]["Name"] = json!("no");
    }
    // Since 1.44 a health check has a faster beginning; nobody asked for one.
    if let Some(check) = container
        .pointer_mut("/Config/Healthcheck")
        .filter(|check| check.is_object())
    {
        check["StartInterval"] = json!(0);
    }
    container["ImageManifestDescriptor"] =
        json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1 });
    omit_empty(container.pointer_mut("/Config").expect("it has one"));
}

/// Puts what 1.41 says of an image into the shape of 1.52, with images in containerd's store.
fn image_today(image: &mut Value) {
    // Gone one after the other: 1.44, 1.45, 1.50, 1.52.
    take(
        image,
        "",
        &[
            "VirtualSize",
            "Container",
            "ContainerConfig",
            "DockerVersion",
            "Parent",
            "Comment",
            "Author",
            "GraphDriver",
        ],
    );
    take(
        image,
        "/Config",
        &[
            "Hostname",
            "Domainname",
            "AttachStdin",
            "AttachStdout",
            "AttachStderr",
            "Tty",
            "OpenStdin",
            "StdinOnce",
            "Image",
        ],
    );
    image["Descriptor"] = json!({ "mediaType": "application/vnd.oci.image.index.v1+json", "size": 1 });
    omit_empty(image.pointer_mut("/Config").expect("it has one"));
}

fn take(value: &mut Value, pointer: &str, keys: &[&str]) {
    if let Some(object) = value.pointer_mut(pointer).and_then(Value::as_object_mut) {
        object.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

/// What is empty is left out.
fn omit_empty(config: &mut Value) {
    let config = config.as_object_mut().expect("it is an object");
    config.retain(|_, value| {
        !value.is_null() && *value != json!("") && *value != json!([]) && *value != json!({})
    });
}

#[test]
fn engine_of_today_comes_to_the_same_as_that_of_1_41() {
    let mut wrong = Vec::new();
    for case in case::all("cases") {
        for (state, with_drift) in [("was", false), ("now", true)] {
            let spec = case.spec(state);
            let known = case::known(&spec);
            let (mut container, mut image) = case.said(with_drift);
            let then = compose::differences(&spec, &case::inspected(&spec, &container, &image), &known);
            container_today(&mut container);
            image_today(&mut image);
            let today = compose::differences(&spec, &case::inspected(&spec, &container, &image), &known);
            if today != then {
                wrong.push(format!(
                    "{} ({state}): {then:#?}\n but today {today:#?}",
                    case.name()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}
