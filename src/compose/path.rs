//! Paths of a host as text: joined and tidied, without asking any host.

/// Resolves a path against a folder: `.`, `..` and doubled slashes go. Links are not followed; nobody looks here.
pub(super) fn join(folder: &str, path: &str) -> String {
    let whole = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{folder}/{path}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Returns the last part of a path.
pub(super) fn last(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_tidied() {
        assert_eq!(join("/srv/join", "./data/../.inference"), "/srv/join/.inference");
        assert_eq!(
            join("/srv/join", "../../genesis/genesis.json"),
            "/genesis/genesis.json"
        );
        assert_eq!(join("/srv", "/etc//x/"), "/etc/x");
        assert_eq!(join("/", "../.."), "/");
        assert_eq!(last("/srv/join/"), "join");
    }
}
