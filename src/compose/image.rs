//! Names of images: compared as engines resolve them.

use crate::model::inspected::Inspected;

/// A name, spelt out.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Name {
    fn parse(text: &str) -> Self {
        let (rest, digest) = text
            .split_once('@')
            .map_or((text, None), |(rest, digest)| (rest, Some(digest.to_owned())));
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag.to_owned())),
            Some(_) | None => (rest, None),
        };
        let first = repository.split('/').next().unwrap_or_default();
        let has_registry = repository.contains('/') && (first.contains(['.', ':']) || first == "localhost");
        let repository = match (has_registry, repository.contains('/')) {
            (true, _) => repository
                .strip_prefix("index.docker.io/")
                .map_or(repository.to_owned(), |rest| format!("docker.io/{rest}")),
            (false, true) => format!("docker.io/{repository}"),
            (false, false) => format!("docker.io/library/{repository}"),
        };
        Self {
            repository,
            tag,
            digest,
        }
    }
}

/// Says whether a container runs what a name means on its host.
///
/// Where the host was asked, by the image's id. Else by the digest, if the name has one, or by whether the image that the
/// container runs has this name now: a tag that was moved on is another image.
pub(super) fn runs(wanted: &str, inspected: &Inspected) -> bool {
    if let Some(id) = &inspected.image_now {
        return *id == inspected.runs.id;
    }
    let name = Name::parse(wanted);
    if let Some(digest) = &name.digest {
        let known = inspected
            .runs
            .digests
            .iter()
            .filter_map(|known| Name::parse(known).digest);
        return known
            .chain([inspected.runs.id.clone()])
            .any(|known| known == *digest);
    }
    let tag = |name: Name| (name.repository, name.tag.unwrap_or_else(|| "latest".to_owned()));
    let wanted = tag(name);
    inspected
        .runs
        .tags
        .iter()
        .any(|known| tag(Name::parse(known)) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelt_out_as_engines_do() {
        let repository = |text: &str| Name::parse(text).repository;
        assert_eq!(repository("nginx:1"), "docker.io/library/nginx");
        assert_eq!(repository("grafana/loki"), "docker.io/grafana/loki");
        assert_eq!(repository("localhost:5000/x:1"), "localhost:5000/x");
        assert_eq!(Name::parse("localhost:5000/x").tag, None);
        assert_eq!(Name::parse("a/b:1@sha256:0").digest.as_deref(), Some("sha256:0"));
    }
}
