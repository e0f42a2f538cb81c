//! Bodies: text with holes for secrets and for outputs that are not known yet.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest::Digest;
use super::id::OutputRef;
use super::secret::SecretRef;

/// Opens a token within rendered text. A private-use character, refused in every file that people write.
pub const TOKEN_OPEN: char = '\u{100000}';
/// Closes a token within rendered text.
pub const TOKEN_CLOSE: char = '\u{100001}';

/// One piece of a body.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// Text as it will stand on the host.
    Text(String),
    /// A secret, whose value joins at the last moment.
    Secret(SecretRef),
    /// An output of another resource, whose value joins when that resource has been applied.
    Output(OutputRef),
}

/// A text with holes. Serialises as a plain string where it has none, else as a list of pieces.
///
/// Shapes: no two neighbouring pieces are text; no text piece is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Body {
    // INVARIANT: normalised as the shapes above say, so that equal texts are equal bodies.
    pieces: Vec<Piece>,
}

/// Says which hole of a body has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoleError {
    /// A secret that nobody resolved.
    #[error("secret `{0}` has no value")]
    Secret(SecretRef),
    /// An output that nobody has produced.
    #[error("output `{0}` is not known yet")]
    Output(OutputRef),
    /// A token that a template cut or changed.
    #[error("a secret or an output was cut or changed by a filter")]
    Mangled,
}

impl Body {
    /// Makes a body of plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::from_pieces([Piece::Text(text.into())])
    }

    /// Makes a body of pieces, joining neighbouring texts.
    pub fn from_pieces(pieces: impl IntoIterator<Item = Piece>) -> Self {
        let mut joined: Vec<Piece> = Vec::new();
        for piece in pieces {
            match (joined.last_mut(), piece) {
                (_, Piece::Text(text)) if text.is_empty() => {}
                (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
                (_, piece) => joined.push(piece),
            }
        }
        Self { pieces: joined }
    }

    /// Reads rendered text, in which secrets and outputs stand as tokens.
    ///
    /// # Errors
    /// [`HoleError::Mangled`] when a token is not whole.
    pub fn parse(rendered: &str) -> Result<Self, HoleError> {
        let mut pieces = Vec::new();
        let mut rest = rendered;
        while let Some(open) = rest.find(TOKEN_OPEN) {
            let (before, token) = rest.split_at(open);
            let (token, after) = token[TOKEN_OPEN.len_utf8()..]
                .split_once(TOKEN_CLOSE)
                .ok_or(HoleError::Mangled)?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(parse_token(token).ok_or(HoleError::Mangled)?);
            rest = after;
        }
        if rest.contains(TOKEN_CLOSE) {
            return Err(HoleError::Mangled);
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self::from_pieces(pieces))
    }

    /// Returns the pieces in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Returns the text, if the body has no holes.
    pub fn plain(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Says whether a secret stands in the body.
    pub fn is_sensitive(&self) -> bool {
        self.secrets().next().is_some()
    }

    /// Returns the secrets in order of their places.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Secret(secret) => Some(secret),
            Piece::Text(_) | Piece::Output(_) => None,
        })
    }

    /// Returns the outputs in order of their places.
    pub fn outputs(&self) -> impl Iterator<Item = &OutputRef> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Output(output) => Some(output),
            Piece::Text(_) | Piece::Secret(_) => None,
        })
    }

    /// Returns the digest of the body with its holes: equal bodies, equal digests, no secret in it.
    pub fn digest(&self) -> Digest {
        Digest::of_value(self)
    }

    /// Fills the outputs that `known` has, and leaves the other holes.
    pub fn with_outputs<'a>(&self, known: impl Fn(&OutputRef) -> Option<&'a str>) -> Self {
        Self::from_pieces(self.pieces.iter().map(|piece| match piece {
            Piece::Output(output) => match known(output) {
                Some(value) => Piece::Text(value.to_owned()),
                None => piece.clone(),
            },
            Piece::Text(_) | Piece::Secret(_) => piece.clone(),
        }))
    }

    /// Joins the body into text, secrets included. The result is itself a secret wherever one stood in the body.
    ///
    /// # Errors
    /// [`HoleError`] names the first hole for which there is no value.
    pub fn fill<'a>(&self, secret: impl Fn(&SecretRef) -> Option<&'a str>) -> Result<String, HoleError> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Secret(reference) => {
                    let value = secret(reference).ok_or_else(|| HoleError::Secret(reference.clone()))?;
                    text.push_str(&reference.encoding.encode(value));
                }
                Piece::Output(output) => return Err(HoleError::Output(output.clone())),
            }
        }
        Ok(text)
    }
}

/// The text with its holes named, for people: `password = (secret env:PASS)`.
impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Secret(secret) => write!(f, "(secret {})", secret.source),
            Piece::Output(output) => write!(f, "(? {} of {})", output.output, output.resource.host),
        })
    }
}

/// Writes a secret as a token for rendered text.
pub fn secret_token(secret: &SecretRef) -> String {
    format!("{TOKEN_OPEN}s{secret}{TOKEN_CLOSE}")
}

/// Writes an output as a token for rendered text.
pub fn output_token(output: &OutputRef) -> String {
    format!("{TOKEN_OPEN}o{output}{TOKEN_CLOSE}")
}

/// Says whether a text holds a token, whole or cut.
pub fn has_token(text: &str) -> bool {
    text.contains([TOKEN_OPEN, TOKEN_CLOSE])
}

fn parse_token(token: &str) -> Option<Piece> {
    if let Some(secret) = token.strip_prefix('s') {
        return secret.parse().ok().map(Piece::Secret);
    }
    token.strip_prefix('o')?.parse().ok().map(Piece::Output)
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.plain() {
            Some(text) => serializer.serialize_str(text),
            None => self.pieces.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Body;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Body, E> {
                Body::parse(text).map_err(E::custom)
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Body, A::Error> {
                let mut pieces = Vec::new();
                while let Some(piece) = seq.next_element::<Piece>()? {
                    pieces.push(piece);
                }
                Ok(Body::from_pieces(pieces))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl schemars::JsonSchema for Body {
    fn schema_name() -> Cow<'static, str> {
        "Body".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (SecretRef, OutputRef) {
        (
            "base64|env:PASS".parse().unwrap(),
            "command[key]@nn-1#address".parse().unwrap(),
        )
    }

    #[test]
    fn tokens_become_pieces_and_serialise_without_values() {
        let (secret, output) = sample();
        let body = Body::parse(&format!("a{}b{}", secret_token(&secret), output_token(&output))).unwrap();
        assert_eq!(body.pieces().len(), 4);
        let json = serde_json::to_string(&body).unwrap();
        assert_eq!(serde_json::from_str::<Body>(&json).unwrap(), body);
        assert_eq!(body.to_string(), "a(secret env:PASS)b(? address of nn-1)");
    }

    #[test]
    fn cut_token_is_an_error() {
        let token = secret_token(&sample().0);
        assert_eq!(Body::parse(&token.to_uppercase()), Err(HoleError::Mangled));
        assert_eq!(Body::parse(&token[..token.len() - 4]), Err(HoleError::Mangled));
        assert_eq!(Body::parse(&token[4..]), Err(HoleError::Mangled));
    }

    #[test]
    fn filling_encodes_secrets_and_names_the_missing_hole() {
        let (secret, output) = sample();
        let body = Body::from_pieces([Piece::Text("p=".into()), Piece::Secret(secret.clone())]);
        assert_eq!(body.fill(|_| Some("hi")).unwrap(), "p=aGk=");
        assert_eq!(body.fill(|_| None), Err(HoleError::Secret(secret)));
        let body = Body::from_pieces([Piece::Output(output.clone())]);
        assert_eq!(body.fill(|_| None), Err(HoleError::Output(output)));
        assert_eq!(body.with_outputs(|_| Some("x")).plain(), Some("x"));
    }
}
