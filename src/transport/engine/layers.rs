//! The layers of an image that is being pulled, as the engine tells of them line by line.

use std::collections::BTreeMap;

use bollard::models::CreateImageInfo;

use crate::model::pulling::LayersDone;

/// What is known of each layer.
#[derive(Default)]
pub(super) struct Layers(BTreeMap<String, Layer>);

#[derive(Default)]
struct Layer {
    bytes_done: u64,
    bytes: u64,
    is_done: bool,
}

impl Layers {
    /// Takes a line in.
    pub(super) fn take(&mut self, said: &CreateImageInfo) {
        let (Some(id), Some(status)) = (&said.id, said.status.as_deref()) else {
            return;
        };
        let is_known = self.0.contains_key(id);
        match status {
            "Pulling fs layer" | "Waiting" => drop(self.0.entry(id.clone()).or_default()),
            "Downloading" => {
                let layer = self.0.entry(id.clone()).or_default();
                let detail = said.progress_detail.as_ref();
                let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
                layer.bytes_done = detail.and_then(|detail| number(detail.current)).unwrap_or(0);
                // Engines say nothing of the whole where the registry does not, and then -1.
                layer.bytes = detail
                    .and_then(|detail| number(detail.total))
                    .unwrap_or(0)
                    .max(layer.bytes_done);
            }
            "Verifying Checksum" | "Download complete" | "Extracting" if is_known => self.fetched(id, false),
            "Already exists" => {
                self.0.entry(id.clone()).or_default();
                self.fetched(id, true);
            }
            "Pull complete" if is_known => self.fetched(id, true),
            // The image itself, its digest, and what engines say besides.
            _ => {}
        }
    }

    fn fetched(&mut self, id: &str, is_done: bool) {
        if let Some(layer) = self.0.get_mut(id) {
            layer.bytes_done = layer.bytes;
            layer.is_done |= is_done;
        }
    }

    /// Says how far they have come.
    pub(super) fn done(&self) -> LayersDone {
        LayersDone {
            layers_done: self.0.values().filter(|layer| layer.is_done).count(),
            layers: self.0.len(),
            bytes_done: self.0.values().map(|layer| layer.bytes_done).sum(),
            bytes: self.0.values().map(|layer| layer.bytes).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_counted_as_the_engine_tells_of_them() {
        // What 20.10 says of an image of three layers, of which one was there.
        let said = [
            r#"{"status":"Pulling from box","id":"1"}"#,
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"aaaaaaaaaaaa"}"#,
            r#"{"status":"Already exists","progressDetail":{},"id":"bbbbbbbbbbbb"}"#,
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"cccccccccccc"}"#,
            r#"{"status":"Waiting","progressDetail":{},"id":"cccccccccccc"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":100,"total":400},"progress":"[=> ]","id":"aaaaaaaaaaaa"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":50},"id":"cccccccccccc"}"#,
            r#"{"status":"Verifying Checksum","progressDetail":{},"id":"aaaaaaaaaaaa"}"#,
            r#"{"status":"Extracting","progressDetail":{"current":1,"total":400},"id":"aaaaaaaaaaaa"}"#,
            r#"{"status":"Pull complete","progressDetail":{},"id":"aaaaaaaaaaaa"}"#,
            r#"{"status":"Download complete","progressDetail":{},"id":"cccccccccccc"}"#,
            r#"{"status":"Pull complete","progressDetail":{},"id":"cccccccccccc"}"#,
            r#"{"status":"Digest: sha256:0f"}"#,
            r#"{"status":"Status: Downloaded newer image for box:1"}"#,
        ];
        let mut layers = Layers::default();
        let told: Vec<(usize, usize, u64, u64)> = said
            .iter()
            .map(|line| {
                layers.take(&serde_json::from_str(line).unwrap());
                let done = layers.done();
                (done.layers_done, done.layers, done.bytes_done, done.bytes)
            })
            .collect();
        assert_eq!(told[0], (0, 0, 0, 0));
        assert_eq!(told[4], (1, 3, 0, 0));
        assert_eq!(told[6], (1, 3, 150, 450));
        assert_eq!(told[8], (1, 3, 450, 450));
        assert_eq!(told[9], (2, 3, 450, 450));
        assert_eq!(told[13], (3, 3, 450, 450));
    }
}
