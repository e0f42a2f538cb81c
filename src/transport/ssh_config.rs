//! How OpenSSH would connect to a host: a reader of the plain part says so, and `ssh -G` where there is more to it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::sync::OnceCell;

use super::connector::Places;
use super::ssh_config_file::ConfigFiles;
use crate::model::target::{HostKey, SshTarget};

/// How one host is reached and recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// The name or address to connect to.
    pub host_name: String,
    /// The port.
    pub port: u16,
    /// The account.
    pub user: String,
    /// The keys to log in with, in this order.
    pub identity_files: Vec<PathBuf>,
    /// Whether only those keys are offered, whatever else the agent holds.
    pub identities_only: bool,
    /// Certificates for those keys.
    pub certificate_files: Vec<PathBuf>,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// The known_hosts files, the user's own first, which is also the one that is written to.
    pub known_hosts: Vec<PathBuf>,
    /// The name under which the host's key is known, if not its own.
    pub host_key_alias: Option<String>,
    /// Whether names are hashed when they are written to known_hosts.
    pub hash_known_hosts: bool,
    /// How the host's key is checked.
    pub host_key: HostKey,
    /// The host to go through.
    pub jump: Option<Box<SshTarget>>,
}

/// The keywords and values that hold for one host, keywords in lower case.
pub(super) type Options = BTreeMap<String, Vec<String>>;

/// The usual keys, where neither inventory nor configuration names any.
const USUAL_KEYS: [&str; 3] = ["~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519"];

/// The configuration of whoever runs muster, read once.
#[derive(Default)]
pub(super) struct Configuration {
    files: ConfigFiles,
    /// The account's name as `ssh` has it, which asks nobody's environment.
    own_name: OnceCell<Option<String>>,
}

/// Finds out how a host is reached: by the inventory first, then by `ssh_config`, then by OpenSSH's defaults.
///
/// # Errors
/// A clause that says what of the configuration cannot be read or is not supported.
pub(super) async fn resolve(
    target: &SshTarget,
    places: &Places,
    configuration: &Configuration,
) -> Result<Settings, String> {
    let is_plain = !target.address.starts_with('-') && !target.address.contains(char::is_whitespace);
    if !is_plain || target.address.is_empty() {
        return Err(format!(
            "has `{}` for an address, which is not one",
            target.address
        ));
    }
    let options = match configuration.files.plain(target, places) {
        Some(options) => configuration.with_own_name(options, target, places).await,
        None => match ask_ssh(target, places).await {
            Ok(answer) => answer?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                configuration.files.read(target, places)?
            }
            Err(error) => return Err(format!("cannot run `{}`: {error}", places.ssh.display())),
        },
    };
    settings(target, places, &options)
}

impl Configuration {
    /// Adds who logs in where nobody says so.
    async fn with_own_name(&self, mut options: Options, target: &SshTarget, places: &Places) -> Options {
        if target.user.is_none() && !options.contains_key("user") {
            let name = self.own_name.get_or_init(|| own_name(places)).await;
            options.extend(name.iter().map(|name| ("user".to_owned(), vec![name.clone()])));
        }
        options
    }
}

async fn own_name(places: &Places) -> Option<String> {
    let mut command = tokio::process::Command::new(&places.ssh);
    command
        .args(["-F", "none", "-G", "--", "localhost"])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command
        .output()
        .await
        .ok()
        .filter(|output| output.status.success())?;
    parse_answer(&String::from_utf8_lossy(&output.stdout))
        .remove("user")?
        .pop()
}

/// Asks `ssh` itself, which is right about Match, Include and canonical names.
async fn ask_ssh(target: &SshTarget, places: &Places) -> io::Result<Result<Options, String>> {
    let mut command = tokio::process::Command::new(&places.ssh);
    command.arg("-G").stdin(Stdio::null()).kill_on_drop(true);
    if let Some(file) = &places.ssh_config {
        command.arg("-F").arg(file);
    }
    if let Some(port) = target.port {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(user) = &target.user {
        command.args(["-l", user]);
    }
    let output = command.args(["--", &target.address]).output().await?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Ok(Err(format!(
            "cannot be looked up in ssh_config: {}",
            said.trim().replace('\n', "; ")
        )));
    }
    Ok(Ok(parse_answer(&String::from_utf8_lossy(&output.stdout))))
}

/// Reads `keyword value` lines; a keyword may come more than once.
fn parse_answer(text: &str) -> Options {
    let mut options = Options::new();
    for (keyword, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        options
            .entry(keyword.to_lowercase())
            .or_default()
            .push(value.to_owned());
    }
    options
}

fn settings(target: &SshTarget, places: &Places, options: &Options) -> Result<Settings, String> {
    let all = |keyword: &str| options.get(keyword).cloned().unwrap_or_default();
    let one = |keyword: &str| {
        options
            .get(keyword)
            .and_then(|values| values.first())
            .map(String::as_str)
    };
    let is = |keyword: &str| matches!(one(keyword), Some("yes" | "true"));
    if let Some(command) = one("proxycommand").filter(|command| *command != "none" && target.via.is_none()) {
        return Err(format!(
            "has `ProxyCommand {command}` in ssh_config, which muster does not run; \
             use ProxyJump there, or `via` in the inventory"
        ));
    }
    let host_name = one("hostname")
        .unwrap_or(&target.address)
        .replace("%h", &target.address);
    let user = target
        .user
        .as_deref()
        .or(one("user"))
        .unwrap_or(&places.user)
        .to_owned();
    let configured = one("port").map(str::parse).transpose();
    let port = match (target.port, configured) {
        (Some(port), _) | (None, Ok(Some(port))) => port,
        (None, Ok(None)) => 22,
        (None, Err(_)) => return Err("has a `Port` in ssh_config that is none".to_owned()),
    };
    let tokens = Tokens {
        places,
        target,
        host_name: &host_name,
        user: &user,
        port,
    };
    let expand = |paths: Vec<String>| {
        paths
            .iter()
            .map(|path| tokens.expand(path))
            .collect::<Result<Vec<_>, _>>()
    };

    let (identity_files, identities_only) = match &target.identity_file {
        Some(file) => (vec![places.expand_home(file)], true),
        None if options.contains_key("identityfile") => (expand(all("identityfile"))?, is("identitiesonly")),
        None => (
            USUAL_KEYS.iter().map(|path| places.expand_home(path)).collect(),
            is("identitiesonly"),
        ),
    };
    let known_hosts = match &places.known_hosts {
        Some(file) => vec![file.clone()],
        None => expand(known_hosts_files(
            &all("userknownhostsfile"),
            &all("globalknownhostsfile"),
        ))?,
    };
    let agent = match one("identityagent") {
        Some("none") => None,
        Some("SSH_AUTH_SOCK") | None => places.agent.clone(),
        Some(path) if path.starts_with('$') && !path.starts_with("${") => {
            std::env::var_os(&path[1..]).map(Into::into)
        }
        Some(path) => Some(tokens.expand(path)?),
    };
    let jump = match (&target.via, one("proxyjump")) {
        (Some(via), _) => Some(via.clone()),
        (None, Some(hops)) if hops != "none" => jump(hops, &host_name, port)?,
        (None, _) => None,
    };
    Ok(Settings {
        identity_files,
        identities_only,
        certificate_files: expand(all("certificatefile"))?,
        agent,
        known_hosts,
        host_key_alias: one("hostkeyalias")
            .filter(|alias| *alias != "none")
            .map(str::to_owned),
        hash_known_hosts: is("hashknownhosts"),
        host_key: host_key(&target.host_key, one("stricthostkeychecking")),
        jump,
        host_name,
        port,
        user,
    })
}

/// The inventory's word on host keys counts; where it leaves them to known_hosts, the person's own configuration may
/// say that new ones are accepted. What OpenSSH does under `no` beyond that, it does not get from us: a changed key
/// is refused.
fn host_key(inventory: &HostKey, configured: Option<&str>) -> HostKey {
    match (inventory, configured) {
        (HostKey::KnownHosts, Some("accept-new" | "no" | "off" | "false")) => HostKey::AcceptNew,
        (HostKey::KnownHosts, _) => HostKey::KnownHosts,
        (HostKey::AcceptNew, _) => HostKey::AcceptNew,
        (HostKey::Pinned(key), _) => HostKey::Pinned(key.clone()),
    }
}

/// Lists the known_hosts files. The keywords hold several paths in one line.
fn known_hosts_files(user: &[String], global: &[String]) -> Vec<String> {
    let split = |lines: &[String], usual: [&str; 2]| -> Vec<String> {
        match lines.first() {
            Some(line) => line
                .split_whitespace()
                .filter(|path| *path != "none")
                .map(str::to_owned)
                .collect(),
            None => usual.map(str::to_owned).to_vec(),
        }
    };
    let mut files = split(user, ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]);
    files.extend(split(
        global,
        ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"],
    ));
    files
}

/// Reads `[user@]host[:port],…`; the last hop is the nearest to the target and is reached through those before it.
fn jump(hops: &str, host_name: &str, port: u16) -> Result<Option<Box<SshTarget>>, String> {
    let mut via = None;
    for hop in hops.split(',').map(str::trim) {
        via = Some(Box::new(hop_target(hop, via)?));
    }
    // `Host *` with a ProxyJump would send the jump host through itself; OpenSSH leaves that hop out, too.
    Ok(via.filter(|hop| !(hop.address.eq_ignore_ascii_case(host_name) && hop.port.unwrap_or(22) == port)))
}

fn hop_target(hop: &str, via: Option<Box<SshTarget>>) -> Result<SshTarget, String> {
    let error = || format!("goes through `{hop}` by ssh_config, which is not `[user@]host[:port]`");
    let plain = hop.strip_prefix("ssh://").unwrap_or(hop).trim_end_matches('/');
    let (user, place) = match plain.rsplit_once('@') {
        Some((user, place)) => (Some(user.to_owned()), place),
        None => (None, plain),
    };
    let (address, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address, port.strip_prefix(':')),
        None => match place.rsplit_once(':') {
            Some((address, port)) if !address.contains(':') => (address, Some(port)),
            _ => (place, None),
        },
    };
    let port = port.map(str::parse).transpose().map_err(|_| error())?;
    if address.is_empty() {
        return Err(error());
    }
    let address = address.to_owned();
    Ok(SshTarget {
        address,
        port,
        user,
        identity_file: None,
        host_key: HostKey::KnownHosts,
        via,
    })
}

/// What `%` and `~` stand for in paths.
struct Tokens<'a> {
    places: &'a Places,
    target: &'a SshTarget,
    host_name: &'a str,
    user: &'a str,
    port: u16,
}

impl Tokens<'_> {
    fn expand(&self, path: &str) -> Result<PathBuf, String> {
        let mut expanded = String::new();
        let mut rest = path.chars();
        while let Some(next) = rest.next() {
            match next {
                '%' => expanded.push_str(&self.token(rest.next(), path)?),
                '$' if rest.as_str().starts_with('{') => {
                    let (name, after) = rest.as_str()[1..].split_once('}').ok_or_else(|| unclear(path))?;
                    expanded.push_str(&std::env::var(name).map_err(|_| unclear(path))?);
                    rest = after.chars();
                }
                other => expanded.push(other),
            }
        }
        Ok(self.places.expand_home(&expanded))
    }

    fn token(&self, token: Option<char>, path: &str) -> Result<String, String> {
        Ok(match token {
            Some('%') => "%".to_owned(),
            Some('d') => self.places.home.display().to_string(),
            Some('h') => self.host_name.to_owned(),
            Some('n') => self.target.address.clone(),
            Some('p') => self.port.to_string(),
            Some('r') => self.user.to_owned(),
            Some('u') => self.places.user.clone(),
            Some(_) | None => return Err(unclear(path)),
        })
    }
}

fn unclear(path: &str) -> String {
    format!("has the path `{path}` in ssh_config, whose `%` or `$` muster cannot expand; write the path out")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn places(home: &str) -> Places {
        Places {
            home: home.into(),
            user: "alice".to_owned(),
            ssh: "ssh".into(),
            ssh_config: None,
            known_hosts: None,
            agent: None,
        }
    }

    pub(in super::super) fn target(address: &str) -> SshTarget {
        SshTarget {
            address: address.to_owned(),
            port: None,
            user: None,
            identity_file: None,
            host_key: HostKey::KnownHosts,
            via: None,
        }
    }

    pub(in super::super) fn settings_of(address: &str) -> Settings {
        from("", &target(address)).expect("settings")
    }

    fn from(answer: &str, target: &SshTarget) -> Result<Settings, String> {
        settings(target, &places("/h"), &parse_answer(answer))
    }

    #[test]
    fn the_inventory_wins_over_the_configuration() {
        let mut target = target("a");
        (target.port, target.user) = (Some(2200), Some("ops".to_owned()));
        target.identity_file = Some("~/fleet".to_owned());
        let found = from(
            "hostname 10.0.0.1\nport 22\nuser bob\nidentityfile ~/x\nproxyjump j",
            &target,
        );
        let found = found.expect("settings");
        assert_eq!(
            (found.host_name.as_str(), found.port, found.user.as_str()),
            ("10.0.0.1", 2200, "ops")
        );
        assert_eq!(
            (found.identity_files, found.identities_only),
            (vec![PathBuf::from("/h/fleet")], true)
        );
        assert_eq!(found.jump, Some(Box::new(self::target("j"))));
    }

    #[test]
    fn paths_are_expanded_as_openssh_does() {
        let answer = "hostname 10.0.0.1\nport 2222\nuser bob\nidentityfile ~/%h-%n-%p-%r-%%";
        let found = from(answer, &target("a")).expect("settings");
        assert_eq!(found.identity_files, [PathBuf::from("/h/10.0.0.1-a-2222-bob-%")]);
        assert!(
            from("identityfile ~/%C", &target("a"))
                .unwrap_err()
                .contains("%C")
        );
    }

    #[test]
    fn chains_of_jumps_go_through_the_first_hop_first() {
        let found = from("proxyjump u@one:2201,[::1]:2202,two", &target("a")).expect("settings");
        let last = found.jump.expect("a jump");
        let middle = last.via.clone().expect("a second");
        let first = middle.via.clone().expect("a third");
        assert_eq!((last.address.as_str(), middle.address.as_str()), ("two", "::1"));
        assert_eq!(
            (first.address.as_str(), first.port, first.user.as_deref()),
            ("one", Some(2201), Some("u"))
        );
        assert_eq!(first.via, None);
    }

    #[test]
    fn a_jump_host_is_not_sent_through_itself() {
        let found = from("hostname bastion\nport 22\nproxyjump bastion", &target("bastion"));
        assert_eq!(found.expect("settings").jump, None);
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let error = from("proxycommand nc %h 22", &target("a")).unwrap_err();
        assert!(error.contains("ProxyCommand nc"), "{error}");
        assert!(from("port ssh", &target("a")).unwrap_err().contains("`Port`"));
        let error = from("proxyjump u@:22", &target("a")).unwrap_err();
        assert!(error.contains("u@:22"), "{error}");
    }

    #[test]
    fn a_lax_configuration_accepts_new_keys_but_overrides_no_pin() {
        let found = from("stricthostkeychecking accept-new", &target("a")).expect("settings");
        assert_eq!(found.host_key, HostKey::AcceptNew);
        assert_eq!(
            host_key(&HostKey::Pinned("k".into()), Some("no")),
            HostKey::Pinned("k".into())
        );
        assert_eq!(host_key(&HostKey::KnownHosts, Some("ask")), HostKey::KnownHosts);
    }
}
