//! Images of one engine: whether they are there, and how they come.

use std::collections::BTreeSet;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::model::engine::Login;
use crate::model::registry::is_digest;

use super::act::{Fill, Tell, credentials};
use super::layers::Layers;
use super::{Engine, EngineError};

/// How long a registry may take to begin.
const PULL_BEGINS: Duration = Duration::from_secs(300);
/// How long a pull may say nothing. Layers that are unpacked say nothing for long.
const SILENCE: Duration = Duration::from_secs(600);
/// How often it is told how far a pull has come, at most. Engines say more than ten lines a second.
const TELL_EVERY: Duration = Duration::from_millis(500);

impl Engine {
    /// Returns the id of an image that is on the host.
    pub(super) async fn image_id(&self, reference: &str) -> Result<String, EngineError> {
        match self
            .docker
            .inspect_image(reference)
            .await
            .map_err(EngineError::from)
        {
            Ok(image) => Ok(image.id.unwrap_or_default()),
            Err(error) if error.is_absent() => Err(EngineError::Refused {
                status: 404,
                message: format!("image {reference} is not on the host"),
            }),
            Err(error) => Err(error),
        }
    }

    /// Returns the paths at which an image that is on the host declares volumes.
    pub(super) async fn volumes_of_image(&self, id: &str) -> Result<BTreeSet<String>, EngineError> {
        let config = self.docker.inspect_image(id).await?.config;
        let volumes = config.and_then(|config| config.volumes).unwrap_or_default();
        Ok(volumes.into_iter().collect())
    }

    /// Pulls an image, if the host does not have it.
    ///
    /// # Errors
    /// [`EngineError`], with what the registry said.
    pub(super) async fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        login: Option<DockerCredentials>,
        tell: &Tell<'_>,
    ) -> Result<(), EngineError> {
        let (name, tag) = parts(reference);
        let mut options = CreateImageOptionsBuilder::default().from_image(name);
        if let Some(tag) = tag {
            options = options.tag(tag);
        }
        if let Some(platform) = platform {
            options = options.platform(platform);
        }
        let patient = self.lasting.clone().with_timeout(PULL_BEGINS);
        let mut told = std::pin::pin!(patient.create_image(Some(options.build()), None, login));
        let mut layers = Layers::default();
        let mut told_at: Option<Instant> = None;
        loop {
            match tokio::time::timeout(SILENCE, told.next()).await {
                Ok(Some(Ok(said))) => {
                    layers.take(&said);
                    if told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                        told_at = Some(Instant::now());
                        tell(reference, layers.done());
                    }
                    if let Some(message) = said.error_detail.and_then(|detail| detail.message) {
                        return Err(EngineError::Refused { status: 500, message });
                    }
                }
                Ok(Some(Err(error))) => return Err(error.into()),
                Ok(None) => break,
                Err(_) => {
                    return Err(EngineError::NoAnswer(format!(
                        "the pull of {reference} said nothing for {} s",
                        SILENCE.as_secs()
                    )));
                }
            }
        }
        // A pull that was cut short may end without an error.
        self.image_id(reference).await?;
        tell(reference, layers.done());
        Ok(())
    }

    /// Asks a registry for the digest that a name means now.
    ///
    /// # Errors
    /// [`EngineError`], with what the registry said.
    pub(in crate::transport) async fn digest(
        &self,
        name: &str,
        login: Option<&Login>,
        fill: Fill<'_>,
    ) -> Result<String, EngineError> {
        let login = login.map(|login| credentials(name, login, fill)).transpose();
        let login = login.map_err(|error| EngineError::Odd(error.to_string()))?;
        let said = self.docker.inspect_registry_image(name, login).await?;
        let digest = said.descriptor.digest.unwrap_or_default();
        match is_digest(&digest) {
            true => Ok(digest),
            false => Err(EngineError::Odd(format!("the registry gave no digest of {name}"))),
        }
    }
}

/// Takes a reference apart as the engine wants it: a digest goes where a tag does.
fn parts(reference: &str) -> (&str, Option<&str>) {
    if let Some((name, digest)) = reference.split_once('@') {
        // Where both stand, the digest decides.
        return (tagged(name).map_or(name, |(name, _)| name), Some(digest));
    }
    match tagged(reference) {
        Some((name, tag)) => (name, Some(tag)),
        None => (reference, Some("latest")),
    }
}

/// Takes the tag off. A colon before a slash is that of the registry's port.
fn tagged(reference: &str) -> Option<(&str, &str)> {
    reference.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_comes_apart_at_its_tag_and_not_at_its_registrys_port() {
        assert_eq!(
            parts("localhost:5000/api"),
            ("localhost:5000/api", Some("latest"))
        );
        assert_eq!(
            parts("localhost:5000/api:1.2"),
            ("localhost:5000/api", Some("1.2"))
        );
        assert_eq!(parts("nginx"), ("nginx", Some("latest")));
        assert_eq!(parts("a/b@sha256:0f"), ("a/b", Some("sha256:0f")));
        assert_eq!(parts("r:5000/b:1@sha256:0f"), ("r:5000/b", Some("sha256:0f")));
    }
}
