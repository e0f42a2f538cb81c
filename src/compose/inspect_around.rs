//! What an engine's JSON says of networks, volumes and images.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::inspected::Image;
use crate::model::network::{NetworkSpec, Subnet};
use crate::model::volume::VolumeSpec;

use super::inspect::{self, Veil};
use super::json::{filled, flag, objects, text};

/// Reads the answer of `GET /images/NAME/json`.
pub fn image(image: &Value, veil: &Veil<'_>) -> Image {
    inspect::image_of(image, text(image, "/Id").unwrap_or_default(), veil)
}

/// Reads the answer of `GET /networks/NAME`. What the engine chose by itself, such as a subnet, is in it like what was asked for.
///
/// # Errors
/// A clause that says what the answer lacks.
pub fn network(network: &Value) -> Result<NetworkSpec, String> {
    let subnet = |config: &Value| Subnet {
        subnet: filled(config, "/Subnet"),
        gateway: filled(config, "/Gateway"),
        ip_range: filled(config, "/IPRange"),
        aux_addresses: pairs(config, "/AuxiliaryAddresses"),
    };
    let subnets = network.pointer("/IPAM/Config").and_then(Value::as_array);
    Ok(NetworkSpec {
        name: filled(network, "/Name").ok_or("the engine's answer has no name of a network")?,
        is_external: false,
        driver: filled(network, "/Driver").filter(|driver| driver != "bridge"),
        driver_opts: pairs(network, "/Options"),
        is_internal: flag(network, "/Internal"),
        is_attachable: flag(network, "/Attachable"),
        has_ipv6: flag(network, "/EnableIPv6"),
        ipam_driver: filled(network, "/IPAM/Driver").filter(|driver| driver != "default"),
        ipam_options: pairs(network, "/IPAM/Options"),
        subnets: subnets.into_iter().flatten().map(subnet).collect(),
        labels: pairs(network, "/Labels"),
    })
}

/// Reads the answer of `GET /volumes/NAME`.
///
/// # Errors
/// A clause that says what the answer lacks.
pub fn volume(volume: &Value) -> Result<VolumeSpec, String> {
    Ok(VolumeSpec {
        name: filled(volume, "/Name").ok_or("the engine's answer has no name of a volume")?,
        is_external: false,
        driver: filled(volume, "/Driver").filter(|driver| driver != "local"),
        driver_opts: pairs(volume, "/Options"),
        labels: pairs(volume, "/Labels"),
    })
}

fn pairs(value: &Value, pointer: &str) -> BTreeMap<String, String> {
    objects(value, pointer)
        .into_iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_engine_says_by_default_is_absent() {
        let said = json!({
            "Name": "join_default", "Id": "0f", "Driver": "bridge", "EnableIPv6": false, "Internal": false, "Attachable": true,
            "IPAM": { "Driver": "default", "Options": null, "Config": [{ "Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1" }] },
            "Options": {}, "Labels": { "com.docker.compose.network": "default" }
        });
        let read = network(&said).unwrap();
        assert_eq!((read.driver, read.is_attachable), (None, true));
        assert_eq!(read.subnets[0].gateway.as_deref(), Some("172.18.0.1"));
        let said =
            json!({ "Name": "data", "Driver": "local", "Labels": null, "Options": null, "Mountpoint": "/x" });
        let wanted = VolumeSpec {
            name: "data".to_owned(),
            ..VolumeSpec::default()
        };
        assert_eq!(volume(&said), Ok(wanted));
        assert!(network(&json!({})).is_err());
    }
}
