//! A port that an engine could not publish, since somebody else has it. Pure but for one question to the engine.

use bollard::query_parameters::ListContainersOptionsBuilder;

use super::next::aside;
use super::{Engine, EngineError};

/// Reads which port an engine says is taken: `0.0.0.0:80`, `[::]:80`.
pub(in crate::transport) fn address(said: &str) -> Option<&str> {
    if !["already in use", "already allocated"]
        .iter()
        .any(|taken| said.contains(taken))
    {
        return None;
    }
    // Engines of different ages, by their own words: the address comes behind one of these.
    let after = [
        "Bind for ",
        "listen tcp4 ",
        "listen tcp6 ",
        "listen tcp ",
        "listen udp4 ",
        "listen udp6 ",
        "listen udp ",
        "bind host port for ",
        "bind host port ",
    ];
    let rest = after
        .iter()
        .find_map(|mark| said.split_once(mark))
        .map(|(_, rest)| rest)?;
    let end = rest.find([' ', '/', ',']).unwrap_or(rest.len());
    let whole = rest[..end].trim_end_matches(':');
    // The newest engines add the container's own address: `0.0.0.0:80:172.17.0.2:80`.
    let host_ends = if whole.starts_with('[') {
        whole.find(']')?
    } else {
        whole.find(':')?
    };
    let port = whole[host_ends..].trim_start_matches([']', ':']);
    let digits = port
        .find(|sign: char| !sign.is_ascii_digit())
        .unwrap_or(port.len());
    let start = whole.len() - port.len();
    (digits > 0).then(|| &whole[..start + digits])
}

/// Returns the port of an address.
pub(in crate::transport) fn port(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}

/// Reads the process that `ss` names as the one that listens. An engine's own proxy stands for a container, which the engine names.
pub(in crate::transport) fn process(said: &str) -> Option<(&str, &str)> {
    said.lines().find_map(|line| {
        let (_, users) = line.split_once("users:((\"")?;
        let (name, rest) = users.split_once("\",pid=")?;
        let pid = rest.split(',').next()?;
        (name != "docker-proxy" && !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
            .then_some((name, pid))
    })
}

impl Engine {
    /// Returns the container that has a port of the host, if it is another than this one.
    pub(in crate::transport) async fn publisher(
        &self,
        port: u16,
        but: &str,
    ) -> Result<Option<String>, EngineError> {
        let options = ListContainersOptionsBuilder::default().build();
        let running = self.docker.list_containers(Some(options)).await?;
        let others = running.into_iter().filter(|container| {
            let ports = container.ports.iter().flatten();
            ports
                .filter_map(|published| published.public_port)
                .any(|public| public == port)
        });
        let names = others.filter_map(|container| container.names?.into_iter().next());
        let names = names.map(|name| name.trim_start_matches('/').to_owned());
        Ok(names.into_iter().find(|name| name != but && *name != aside(but)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_read_from_the_words_of_old_and_new_engines() {
        for (said, wanted) in [
            (
                "driver failed programming external connectivity on endpoint app (0f3a): Bind for 0.0.0.0:8080 failed: port is already allocated",
                Some("0.0.0.0:8080"),
            ),
            (
                "driver failed programming external connectivity on endpoint app (0f3a): Error starting userland proxy: listen tcp4 127.0.0.1:18080: bind: address already in use",
                Some("127.0.0.1:18080"),
            ),
            (
                "failed to set up container networking: driver failed programming external connectivity on endpoint app (0f3a): failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use",
                Some("0.0.0.0:8080"),
            ),
            (
                "failed to bind host port 0.0.0.0:8080/tcp: address already in use",
                Some("0.0.0.0:8080"),
            ),
            (
                "Error starting userland proxy: listen udp6 [::]:53: bind: address already in use",
                Some("[::]:53"),
            ),
            (
                "failed to bind host port for [::1]:53:[fd00::2]:53/udp: address already in use",
                Some("[::1]:53"),
            ),
            ("Bind for nonsense failed: port is already allocated", None),
            ("listen tcp4 0.0.0.0:80: bind: permission denied", None),
            ("the name is already in use by container 0f3a", None),
        ] {
            assert_eq!(address(said), wanted, "{said}");
        }
        assert_eq!(port("[::]:53"), Some(53));
        assert_eq!(port("0.0.0.0:99999"), None);
    }

    #[test]
    fn process_is_read_and_the_engines_proxy_is_none() {
        let line = |name: &str| {
            format!(
                "tcp LISTEN 0 5 127.0.0.1:80 0.0.0.0:* users:((\"{name}\",pid=31,fd=3),(\"other\",pid=32,fd=3))\n"
            )
        };
        assert_eq!(process(&line("perl")), Some(("perl", "31")));
        assert_eq!(process(&line("docker-proxy")), None);
        assert_eq!(
            process(&(line("docker-proxy") + &line("nginx"))),
            Some(("nginx", "31"))
        );
        assert_eq!(process("tcp LISTEN 0 5 127.0.0.1:80 0.0.0.0:*\n"), None);
        assert_eq!(process(""), None);
    }
}
