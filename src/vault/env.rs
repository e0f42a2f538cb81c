//! `env:NAME`: a variable of the environment in which muster runs.

use crate::model::secret::Secret;

pub(super) fn read(name: &str) -> Result<Secret, String> {
    match std::env::var(name) {
        Ok(value) => Ok(Secret::new(value)),
        Err(std::env::VarError::NotPresent) => Err("the variable is not set".to_owned()),
        Err(std::env::VarError::NotUnicode(_)) => Err("it is not UTF-8 text".to_owned()),
    }
}
