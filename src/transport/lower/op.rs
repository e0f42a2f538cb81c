//! How each op is spelled: a call of one of the functions in `ops.sh`, with its content as a here-document.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::body::{Body, HoleError};
use crate::model::digest::Digest;
use crate::model::op::{Op, UnitVerb};

use super::super::quote::{document, one_line, word, words};

/// One op as shell.
#[derive(Clone, PartialEq, Eq)]
pub struct Act {
    /// What it does, for people: one line without secrets.
    pub what: String,
    /// The body of a shell function. Secrets may stand in it.
    pub code: String,
}

impl Act {
    fn new(what: impl Into<String>, code: impl Into<String>) -> Self {
        Self {
            what: one_line(&what.into()),
            code: code.into(),
        }
    }

    /// Spells the function.
    pub(super) fn function(&self, number: usize) -> String {
        format!("op_{number}() {{\n{}\n}}\n", self.code)
    }

    /// Spells the call.
    pub(super) fn step(&self, number: usize) -> String {
        format!("step {number} {} op_{number}\n", word(&self.what))
    }
}

/// Spells an op, with its holes filled. `None` for `Settings`: its file is read first, and then written by [`edited`].
///
/// # Errors
/// [`HoleError`] from `fill`.
pub fn act(op: &Op, fill: &dyn Fn(&Body) -> Result<String, HoleError>) -> Result<Option<Act>, HoleError> {
    let what = describe(op);
    let code = match op {
        Op::WriteFile {
            path,
            body,
            owner,
            group,
            mode,
            validate,
        } => {
            let validate = validate.as_deref().unwrap_or("").replace("{}", "\"$muster_new\"");
            let arguments = words([path_id(path).as_str(), path, owner, group, mode, &validate]);
            format!("write_file {arguments} {}", document(fill(body)?))
        }
        Op::SetAttributes {
            path,
            owner,
            group,
            mode,
        } => {
            format!(
                "set_attributes {}",
                words([path_id(path).as_str(), path, owner, group, mode])
            )
        }
        Op::MakeDirectory {
            path,
            owner,
            group,
            mode,
        } => {
            format!(
                "make_directory {}",
                words([path_id(path).as_str(), path, owner, group, mode])
            )
        }
        Op::Link { path, to } => format!("make_link {}", words([path_id(path).as_str(), path, to])),
        Op::RemoveFile { path } => format!("remove_file {}", words([path_id(path).as_str(), path])),
        Op::RemoveDirectory { path } => format!("remove_directory {}", words([path_id(path).as_str(), path])),
        Op::Restore { path, run: None } => format!("restore {}", words([path_id(path).as_str(), path])),
        Op::Restore { path, run: Some(run) } => {
            format!(
                "restore_from {}",
                words([path_id(path).as_str(), path, run.as_str()])
            )
        }
        Op::Group { name, gid, system } => {
            let gid = gid.map(|gid| gid.to_string()).unwrap_or_default();
            format!(
                "ensure_group {}",
                words([name.as_str(), &gid, flag(*system, "system")])
            )
        }
        Op::RemoveGroup { name } => format!("remove_group {}", word(name)),
        Op::Account {
            name,
            uid,
            group,
            groups,
            home,
            shell,
            comment,
            system,
            make_home,
        } => account(
            name,
            [
                flag(*system, "system"),
                flag(*make_home, "make"),
                flag(group.is_some(), "group"),
            ],
            &[
                ("-u", uid.map(|uid| uid.to_string())),
                ("-g", group.clone()),
                ("-G", groups.as_ref().map(|groups| joined(groups, ","))),
                ("-d", home.clone()),
                ("-s", shell.clone()),
                ("-c", comment.clone()),
            ],
        ),
        Op::RemoveAccount { name, home } => {
            format!("remove_account {}", words([name.as_str(), flag(*home, "home")]))
        }
        Op::Packages {
            install,
            remove,
            hold,
            unhold,
        } => packages(install, remove, hold, unhold),
        Op::ReloadUnits => "systemctl daemon-reload".to_owned(),
        Op::EnableUnit { unit, enabled } => {
            format!(
                "enable_unit {} {}",
                if *enabled { "enable" } else { "disable" },
                word(unit)
            )
        }
        Op::ControlUnit { unit, verb } => format!("control_unit {} {}", verb_name(*verb), word(unit)),
        Op::Sysctl { key, value, file } => {
            let parameter = sysctl_path(key);
            format!(
                "set_sysctl {}",
                words([path_id(file).as_str(), file, &parameter, key, value])
            )
        }
        // Spelled when its file was read.
        Op::Settings { .. } => return Ok(None),
        // Not spelled at all: `engine` speaks with the engine itself.
        Op::Engine(_) => return Ok(None),
        Op::Run {
            script,
            env,
            user,
            directory,
            timeout_secs,
        } => {
            let env = env
                .iter()
                .map(|(name, value)| Ok((name.as_str(), fill(value)?)))
                .collect::<Result<Vec<_>, HoleError>>()?;
            let user = user.as_deref().unwrap_or("");
            running(
                &fill(script)?,
                &env,
                directory.as_deref().unwrap_or("/"),
                user,
                *timeout_secs,
            )
        }
    };
    Ok(Some(Act::new(what, code)))
}

/// What a file was when it was read, for the write that follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// It was not there.
    Absent,
    /// Its content had this digest.
    File(Digest),
}

/// Spells the write of a file whose keys were changed, if it still is what was read: else the step ends with
/// [`super::status::CHANGED`]. `attributes` are for a file that was not there; another keeps its own.
pub fn edited(op: &Op, path: &str, before: &Before, content: &str, attributes: [&str; 3]) -> Act {
    let (was, [owner, group, mode]) = match before {
        Before::Absent => ("absent", attributes),
        Before::File(digest) => (digest.0.as_str(), ["=", "=", "="]),
    };
    let arguments = words([path_id(path).as_str(), path, owner, group, mode, ""]);
    let code = format!(
        "is_still {} || return\nwrite_file {arguments} {}",
        words([path, was]),
        document(content)
    );
    Act::new(describe(op), code)
}

/// Says what an op does, in one line without secrets.
pub fn describe(op: &Op) -> String {
    one_line(&op.to_string())
}

/// Spells the run of a script: it travels in Base64, with its environment and its folder before it.
pub(super) fn running(
    script: &str,
    env: &[(&str, String)],
    directory: &str,
    user: &str,
    timeout_secs: u64,
) -> String {
    let mut text = String::from("unset _script\n");
    env.iter()
        .for_each(|(name, value)| text.push_str(&format!("export {name}={}\n", word(value))));
    text.push_str(&format!("cd -- {} || exit\n{script}\n", word(directory)));
    format!("run_script {} {timeout_secs} {}", word(user), document(text))
}

/// Returns a kernel parameter's path. As sysctl(8) has it, a dot within one part of the name is written as a slash.
pub(super) fn sysctl_path(key: &str) -> String {
    let swapped = key.chars().map(|c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    });
    "/proc/sys/".chars().chain(swapped).collect()
}

/// Spells an account: `flags` are those of `ensure_account`, `options` those of useradd that are given.
fn account(name: &str, flags: [&str; 3], options: &[(&str, Option<String>)]) -> String {
    let given = options
        .iter()
        .filter_map(|(option, value)| Some([*option, value.as_deref()?]));
    format!(
        "ensure_account {}",
        words(std::iter::once(name).chain(flags).chain(given.flatten()))
    )
}

fn packages(
    install: &BTreeMap<String, Option<String>>,
    remove: &BTreeSet<String>,
    hold: &BTreeSet<String>,
    unhold: &BTreeSet<String>,
) -> String {
    let install: Vec<String> = install
        .iter()
        .map(|(name, version)| {
            version
                .as_ref()
                .map_or(name.clone(), |version| format!("{name}={version}"))
        })
        .collect();
    let (remove, hold, unhold) = (joined(remove, " "), joined(hold, " "), joined(unhold, " "));
    format!(
        "packages {}",
        words([install.join(" ").as_str(), &remove, &hold, &unhold])
    )
}

fn joined(names: &BTreeSet<String>, separator: &str) -> String {
    names
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(separator)
}

/// Names what the undo store keeps of a path.
pub(super) fn path_id(path: &str) -> String {
    Digest::of(path).0
}

fn flag(is_set: bool, name: &'static str) -> &'static str {
    if is_set { name } else { "" }
}

fn verb_name(verb: UnitVerb) -> &'static str {
    match verb {
        UnitVerb::Start => "start",
        UnitVerb::Stop => "stop",
        UnitVerb::Restart => "restart",
        UnitVerb::Reload => "reload",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(op: &Op) -> String {
        act(op, &|body| body.fill(|_| Some("hunter2")))
            .unwrap()
            .expect("no keyed edit")
            .code
    }

    fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
        names.map(str::to_owned).into()
    }

    #[test]
    fn a_file_is_one_call_with_its_content_in_base64() {
        let op = Op::WriteFile {
            path: "/etc/it's".to_owned(),
            body: Body::text("hello\n"),
            owner: "root".to_owned(),
            group: "adm".to_owned(),
            mode: "0640".to_owned(),
            validate: Some("app --check {}".to_owned()),
        };
        let id = Digest::of("/etc/it's");
        let wanted = format!(
            "write_file {id} '/etc/it'\\''s' root adm 0640 'app --check \"$muster_new\"' <<'END-'\naGVsbG8K\nEND-"
        );
        assert_eq!(code(&op), wanted);
    }

    #[test]
    fn packages_are_one_call_whatever_is_asked() {
        let op = Op::Packages {
            install: [
                ("curl".to_owned(), None),
                ("jq".to_owned(), Some("1.6-2".to_owned())),
            ]
            .into(),
            remove: set(["nano"]),
            hold: set(["jq"]),
            unhold: set([]),
        };
        assert_eq!(code(&op), "packages 'curl jq=1.6-2' nano jq ''");
        assert_eq!(describe(&op), "install curl jq, remove nano, hold jq");
    }

    #[test]
    fn an_account_gets_only_the_options_that_are_given() {
        let op = Op::Account {
            name: "app".to_owned(),
            uid: Some(7),
            group: None,
            groups: Some(set([])),
            home: None,
            shell: Some("/bin/sh".to_owned()),
            comment: Some("An app".to_owned()),
            system: true,
            make_home: false,
        };
        assert_eq!(
            code(&op),
            "ensure_account app system '' '' -u 7 -G '' -s /bin/sh -c 'An app'"
        );
    }

    #[test]
    fn units_parameters_and_links_are_spelled() {
        let unit = Op::ControlUnit {
            unit: "a.service".to_owned(),
            verb: UnitVerb::Restart,
        };
        assert_eq!(code(&unit), "control_unit restart a.service");
        assert_eq!(
            sysctl_path("net.ipv4.conf.eth0/1.rp_filter"),
            "/proc/sys/net/ipv4/conf/eth0.1/rp_filter"
        );
        let link = Op::Link {
            path: "/a".to_owned(),
            to: "../b c".to_owned(),
        };
        assert_eq!(code(&link), format!("make_link {} /a '../b c'", Digest::of("/a")));
    }

    #[test]
    fn no_description_holds_a_secret_or_a_line_break() {
        let secret = Body::from_pieces([crate::model::body::Piece::Secret("plain|env:P".parse().unwrap())]);
        let op = Op::Run {
            script: secret.clone(),
            env: [("P".to_owned(), secret)].into(),
            user: Some("a\nb".to_owned()),
            directory: None,
            timeout_secs: 5,
        };
        let act = act(&op, &|body| body.fill(|_| Some("hunter2"))).unwrap().unwrap();
        assert_eq!(act.what, "run a script as a\\nb");
        assert!(
            !act.code.contains("hunter2"),
            "in Base64 only: it must not end up in an argument list"
        );
    }
}
