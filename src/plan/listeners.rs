//! Listeners: two services of one host on one port.

use serde_json::{Map, Value};

use crate::model::code;
use crate::model::container_part::PublishedPort;
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::id::{HostId, ModuleName};
use crate::resource::container::Container;
use crate::resource::desired::Entry;

/// A socket that a module's service listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    host: HostId,
    module: ModuleName,
    address: String,
    port: u16,
    protocol: String,
    what: String,
    origin: Place,
    /// Whether it is a port that a container publishes, and not a table.
    is_published: bool,
}

/// Returns the ports of a host that a container publishes.
pub fn published(host: &HostId, entry: &Entry, container: &Container) -> Vec<Listener> {
    let (Some(module), Some(origin)) = (entry.modules.first(), entry.origins.first()) else {
        return Vec::new();
    };
    let listener = |port: &PublishedPort| {
        Some(Listener {
            host: host.clone(),
            module: module.clone(),
            address: port.host_ip.clone().unwrap_or_else(any),
            // Of a range the engine takes one that is free.
            port: port.host_port.as_ref()?.parse().ok()?,
            protocol: port.port.protocol.clone(),
            what: format!("container[{}]", container.spec.name),
            origin: origin.clone(),
            is_published: true,
        })
    };
    let ports = &container.spec.settings.ports;
    ports.iter().filter_map(listener).collect()
}

fn any() -> String {
    "0.0.0.0".to_owned()
}

/// Reads a rendered `[[listener]]` table.
///
/// # Errors
/// A clause that says what does not fit.
pub fn read(
    body: &Map<String, Value>,
    host: &HostId,
    module: &ModuleName,
    origin: &Place,
) -> Result<Listener, String> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        #[serde(default = "any")]
        address: String,
        port: Value,
        #[serde(default = "tcp")]
        protocol: String,
        what: String,
    }
    fn tcp() -> String {
        "tcp".to_owned()
    }
    let table: Table = serde_json::from_value(body.clone().into()).map_err(|error| error.to_string())?;
    let port = match &table.port {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|port| u16::try_from(port).ok()),
    };
    let port = port
        .filter(|port| *port > 0)
        .ok_or_else(|| format!("{} is not a port", table.port))?;
    if !["tcp", "udp"].contains(&table.protocol.as_str()) {
        return Err(format!(
            "`{}` is not a protocol; write tcp or udp",
            table.protocol
        ));
    }
    let (host, module, origin) = (host.clone(), module.clone(), origin.clone());
    let Table {
        address,
        protocol,
        what,
        ..
    } = table;
    Ok(Listener {
        host,
        module,
        address,
        port,
        protocol,
        what,
        origin,
        is_published: false,
    })
}

/// Returns an error for each pair of listeners that cannot both have their socket.
pub fn clashes(listeners: &[Listener]) -> Vec<Diagnostic> {
    let pairs = listeners
        .iter()
        .enumerate()
        .flat_map(|(index, first)| listeners[index + 1..].iter().map(move |second| (first, second)));
    pairs
        .filter(|(first, second)| clash(first, second))
        .map(|(first, second)| diagnostic(first, second))
        .collect()
}

fn clash(first: &Listener, second: &Listener) -> bool {
    let is_any = |address: &str| ["0.0.0.0", "::", "*", ""].contains(&address);
    // A module's table tells people what its own container publishes; and one container may want both families of addresses.
    let is_told = first.module == second.module && first.is_published != second.is_published;
    let is_one = first.is_published && second.is_published && first.what == second.what;
    !is_told
        && !is_one
        && first.port == second.port
        && first.protocol == second.protocol
        && (first.address == second.address || is_any(&first.address) || is_any(&second.address))
}

fn diagnostic(first: &Listener, second: &Listener) -> Diagnostic {
    let Listener {
        host, port, protocol, ..
    } = first;
    let who = |listener: &Listener| {
        format!(
            "{} of module `{}` on {}",
            listener.what, listener.module, listener.address
        )
    };
    let message = format!(
        "port {port}/{protocol} of `{host}` is wanted by {} and by {}",
        who(first),
        who(second)
    );
    Diagnostic::error(code::LISTENER_CLASH, message)
        .at(second.origin.clone(), "listens here")
        .and(first.origin.clone(), "and here")
        .hint("set another port for one of them, or bind them to different addresses")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str, port: u16, protocol: &str) -> Listener {
        let origin = Place {
            file: "m.toml".into(),
            line: 1,
            column: 1,
            span: None,
        };
        let body =
            serde_json::json!({ "address": address, "port": port, "protocol": protocol, "what": "it" });
        read(
            body.as_object().unwrap(),
            &"h1".parse().unwrap(),
            &"m".parse().unwrap(),
            &origin,
        )
        .unwrap()
    }

    #[test]
    fn same_port_clashes_only_where_addresses_overlap() {
        let count = |second: Listener| clashes(&[listener("127.0.0.1", 8080, "tcp"), second]).len();
        assert_eq!(count(listener("127.0.0.1", 8080, "tcp")), 1);
        assert_eq!(count(listener("0.0.0.0", 8080, "tcp")), 1);
        assert_eq!(count(listener("10.0.0.1", 8080, "tcp")), 0);
        assert_eq!(count(listener("127.0.0.1", 8081, "tcp")), 0);
        assert_eq!(count(listener("127.0.0.1", 8080, "udp")), 0);
    }

    #[test]
    fn published_ports_clash_across_projects_and_with_listeners_of_other_modules() {
        let of = |module: &str, name: &str, address: &str| Listener {
            module: module.parse().unwrap(),
            what: format!("container[{name}]"),
            is_published: true,
            ..listener(address, 8080, "tcp")
        };
        let count = |all: &[Listener]| clashes(all).len();
        let table = || listener("127.0.0.1", 8080, "tcp");
        assert_eq!(
            count(&[of("a", "a-web-1", "0.0.0.0"), of("b", "b-web-1", "127.0.0.1")]),
            1
        );
        assert_eq!(
            count(&[of("a", "a-web-1", "127.0.0.1"), of("b", "b-web-1", "::")]),
            1
        );
        assert_eq!(
            count(&[of("a", "a-web-1", "10.0.0.1"), of("b", "b-web-1", "127.0.0.1")]),
            0
        );
        assert_eq!(
            count(&[of("a", "a-web-1", "0.0.0.0"), of("a", "a-api-1", "0.0.0.0")]),
            1
        );
        assert_eq!(
            count(&[of("a", "a-web-1", "0.0.0.0"), of("a", "a-web-1", "::")]),
            0,
            "it is one container"
        );
        assert_eq!(count(&[of("a", "a-web-1", "0.0.0.0"), table()]), 1);
        assert_eq!(
            count(&[of("m", "m-web-1", "0.0.0.0"), table()]),
            0,
            "the table tells of the container"
        );
    }

    #[test]
    fn ports_may_be_rendered_text_but_must_be_ports() {
        let origin = Place {
            file: "m.toml".into(),
            line: 1,
            column: 1,
            span: None,
        };
        let read = |port: Value| {
            let body = serde_json::json!({ "port": port, "what": "it" });
            super::read(
                body.as_object().unwrap(),
                &"h".parse().unwrap(),
                &"m".parse().unwrap(),
                &origin,
            )
        };
        assert!(read("8080".into()).is_ok());
        assert!(read("http".into()).is_err());
        assert!(read(70000.into()).is_err());
    }
}
