//! What people can do about what an engine said. Pure.

use crate::model::engine::EngineOp;
use crate::model::registry::registry_of;

use super::EngineError;

/// Returns what to do about a failure, where that can be told.
pub(in crate::transport) fn hint(op: &EngineOp, error: &EngineError) -> Option<String> {
    let said = match error {
        EngineError::NoAnswer(_) | EngineError::Odd(_) => {
            return Some(
                "`systemctl status docker` and `journalctl -u docker` on the host say how the engine is; then `muster resume`"
                    .to_owned(),
            );
        }
        EngineError::NotInstalled | EngineError::TooOld { .. } | EngineError::TooNew { .. } => return None,
        EngineError::Refused { message, .. } => message.to_ascii_lowercase(),
    };
    let any = |marks: &[&str]| marks.iter().any(|mark| said.contains(mark));
    if any(&["no space left on device", "disk quota exceeded"]) {
        return Some(
            "make room where the engine keeps its data (`docker system df` on the host says what takes it), then `muster resume`"
                .to_owned(),
        );
    }
    let EngineOp::Pull { image, login, .. } = op else {
        return None;
    };
    let registry = registry_of(image);
    if any(&[
        "unauthorized",
        "no basic auth",
        "authentication required",
        "access denied",
        "denied:",
    ]) {
        return Some(match login {
            Some(_) => format!(
                "`{registry}` does not take the account: see `user` and `password` of [registries.\"{registry}\"] in the inventory"
            ),
            None => format!(
                "`{registry}` wants an account, or has no such image: set `user` and `password` of [registries.\"{registry}\"] in the inventory"
            ),
        });
    }
    if any(&["manifest unknown", "not found", "name unknown", "no such image"]) {
        return Some(match image.contains("@sha256:") {
            true => format!(
                "`{registry}` has no image with that digest, or no longer: ask for today's with `muster pin --update`"
            ),
            false => format!("`{registry}` has no image of that name and tag"),
        });
    }
    if any(&[
        "connection refused",
        "connection reset",
        "no such host",
        "timeout",
        "deadline exceeded",
        "eof",
        "no route to host",
        "unreachable",
        "server misbehaving",
    ]) {
        return Some(format!(
            "the host's engine does not reach `{registry}`; layers that came are kept, so `muster resume` when it answers again"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::body::Body;
    use crate::model::engine::Login;

    fn of(image: &str, has_login: bool, message: &str) -> String {
        let login = has_login.then(|| Login {
            user: Body::text("fleet"),
            password: Body::text("x"),
        });
        let op = EngineOp::Pull {
            image: image.to_owned(),
            platform: None,
            login,
            newer: false,
        };
        let error = EngineError::Refused {
            status: 500,
            message: message.to_owned(),
        };
        hint(&op, &error).unwrap_or_default()
    }

    #[test]
    fn what_registries_and_disks_say_has_its_hint() {
        let unauthorized = "Head \"http://r:5000/v2/box/manifests/1\": unauthorized: authentication required";
        assert!(of("r:5000/box:1", true, unauthorized).contains("`r:5000` does not take the account"));
        assert!(of("r:5000/box:1", false, "no basic auth credentials").contains("wants an account"));
        let unknown = "manifest for r:5000/box@sha256:00 not found: manifest unknown: manifest unknown";
        assert!(of("r:5000/box@sha256:00", false, unknown).contains("muster pin --update"));
        assert!(of("r:5000/box:2", false, unknown).contains("no image of that name"));
        let refused = "Get \"http://r:5000/v2/\": dial tcp 10.0.0.1:5000: connect: connection refused";
        assert!(of("r:5000/box:1", false, refused).contains("does not reach `r:5000`"));
        assert!(of("box:1", false, "unexpected EOF").contains("does not reach `docker.io`"));
        let full = "failed to register layer: write /layer.tar: no space left on device";
        assert!(of("box:1", false, full).contains("make room"));
        assert_eq!(of("box:1", false, "the moon is full"), "");
    }

    #[test]
    fn engine_that_goes_away_has_its_hint_whatever_was_asked() {
        let op = EngineOp::RemoveContainer("app".to_owned());
        let gone = EngineError::NoAnswer("connection closed".to_owned());
        assert!(hint(&op, &gone).expect("a hint").contains("journalctl -u docker"));
    }
}
