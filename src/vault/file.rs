//! `file:PATH`: a file beside the inventory.

use std::path::Path;

use zeroize::Zeroizing;

use crate::model::secret::Secret;

pub(super) fn read(path: &Path, warnings: &mut Vec<String>) -> Result<Secret, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    super::warn_if_public(path, warnings);
    super::value(&Zeroizing::new(bytes))
}
