//! Texts: what is read, with placeholders for secrets and outputs, and the places that diagnostics point to.
//!
//! A secret in a rendered file becomes a placeholder of digits between two characters that no file may hold. YAML and
//! interpolation carry it along untouched; [`Texts::body`] turns it back into a piece of a [`Body`].

use std::ops::Range;

use crate::model::body::{Body, Piece, TOKEN_CLOSE, TOKEN_OPEN, has_token};
use crate::model::code::{self, Code};
use crate::model::diagnostic::{Diagnostic, Diagnostics, Place, Sources};
use crate::model::secret::{Encoding, SecretRef};

/// A file as it was rendered.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Its path on the host, which is also how people know it.
    pub path: String,
    /// Its content.
    pub body: Body,
}

/// Where something stands: a byte range of a file as it is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct At {
    pub(super) file: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Every text that is read, its holes, and what is wrong.
#[derive(Debug, Default)]
pub(super) struct Texts {
    files: Vec<String>,
    sources: Sources,
    holes: Vec<Piece>,
    pub(super) diagnostics: Diagnostics,
}

/// A file with placeholders in the place of its holes.
pub(super) struct Opened {
    pub(super) file: usize,
    pub(super) text: String,
    /// Where a placeholder ends in the text, and by how much the shown text is ahead behind it.
    shifts: Vec<(usize, isize)>,
}

impl Opened {
    /// Returns the place of a byte range of the text.
    pub(super) fn at(&self, span: Range<usize>) -> At {
        let shown = |offset: usize| {
            let shift = self.shifts.iter().rev().find(|(end, _)| *end <= offset);
            offset.saturating_add_signed(shift.map_or(0, |(_, by)| *by))
        };
        At {
            file: self.file,
            start: shown(span.start),
            end: shown(span.end.max(span.start)),
        }
    }
}

impl Texts {
    /// Takes a file in.
    pub(super) fn open(&mut self, file: &SourceFile) -> Opened {
        let mut text = String::new();
        let mut shown = String::new();
        let mut shifts = Vec::new();
        for piece in file.body.pieces() {
            match piece {
                Piece::Text(part) => {
                    // Nobody may write these characters; what pretends to be a placeholder must not become one.
                    let part = part.replace([TOKEN_OPEN, TOKEN_CLOSE], "\u{FFFD}");
                    text.push_str(&part);
                    shown.push_str(&part);
                }
                Piece::Secret(_) | Piece::Output(_) => {
                    text.push_str(&self.placeholder(piece.clone()));
                    shown.push_str(&Body::from_pieces([piece.clone()]).to_string());
                    shifts.push((text.len(), shown.len() as isize - text.len() as isize));
                }
            }
        }
        self.files.push(file.path.clone());
        self.sources.add(file.path.clone(), shown);
        Opened {
            file: self.files.len() - 1,
            text,
            shifts,
        }
    }

    /// Returns a piece's placeholder.
    pub(super) fn placeholder(&mut self, piece: Piece) -> String {
        self.holes.push(piece);
        format!("{TOKEN_OPEN}{}{TOKEN_CLOSE}", self.holes.len() - 1)
    }

    /// Returns the text as it is shown to people, with its holes named.
    pub(super) fn shown(&self, text: &str) -> String {
        self.body(text).to_string()
    }

    /// Turns placeholders back into pieces. What is cut is left out.
    pub(super) fn body(&self, text: &str) -> Body {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(TOKEN_OPEN) {
            pieces.push(Piece::Text(before.to_owned()));
            let Some((number, after)) = after.split_once(TOKEN_CLOSE) else {
                return Body::from_pieces(pieces);
            };
            pieces.extend(
                number
                    .parse()
                    .ok()
                    .and_then(|at: usize| self.holes.get(at).cloned()),
            );
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Body::from_pieces(pieces)
    }

    /// Replaces each placeholder by that of its piece as a reader of the file would have it, or says why none can be had.
    ///
    /// A secret is written by its encoding into the file; what a program reads there is the value only if the encoding
    /// fits the place.
    pub(super) fn unwrap_holes(
        &mut self,
        text: String,
        fits: impl Fn(Encoding) -> Fit,
    ) -> Result<String, &'static str> {
        if !has_token(&text) {
            return Ok(text);
        }
        let pieces: Vec<Piece> = self.body(&text).pieces().to_vec();
        let mut out = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(part) => out.push_str(&part),
                Piece::Output(_) => out.push_str(&self.placeholder(piece)),
                Piece::Secret(secret) => {
                    let encoding = match fits(secret.encoding) {
                        Fit::Undone => Encoding::Plain,
                        Fit::Stays => secret.encoding,
                        Fit::Wrong(why) => return Err(why),
                    };
                    let source = secret.source;
                    out.push_str(&self.placeholder(Piece::Secret(SecretRef { source, encoding })));
                }
            }
        }
        Ok(out)
    }

    /// Returns a place as diagnostics have it.
    pub(super) fn place(&self, at: At) -> Place {
        let file = self.files.get(at.file).map_or("", String::as_str);
        // Parsers point behind the end of a file that was cut.
        let length = self.sources.text(file).map_or(0, |text| text.len());
        let text = self.sources.text(file).map_or("", |text| text.as_ref());
        let start = text.floor_char_boundary(at.start.min(length));
        let end = text.ceil_char_boundary(at.end.clamp(start, length));
        self.sources.place(file, start..end)
    }

    /// Says whether a mistake was named at this very place.
    pub(super) fn has_error_at(&self, at: At) -> bool {
        let place = self.place(at);
        self.diagnostics
            .iter()
            .any(|found| found.place.as_ref().is_some_and(|label| label.place == place))
    }

    /// Reports a mistake.
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Reports a mistake at a place.
    pub(super) fn error(&mut self, code: Code, message: impl Into<String>, at: At, label: &str) {
        let place = self.place(at);
        self.report(Diagnostic::error(code, message).at(place, label));
    }

    /// Reports a mistake at a place, with a thing to do.
    pub(super) fn hinted(
        &mut self,
        code: Code,
        message: String,
        at: At,
        label: &str,
        hint: impl Into<String>,
    ) {
        let place = self.place(at);
        self.report(Diagnostic::error(code, message).at(place, label).hint(hint));
    }

    /// Refuses a secret or an output where everybody could read it. Says whether there was one.
    pub(super) fn refuse_holes(&mut self, text: &str, subject: &str, at: At) -> bool {
        if !has_token(text) {
            return false;
        }
        let message = format!("{subject}: a secret or an output may not stand here");
        let hint = "`docker inspect` shows this value to everybody who may use the engine: set it in `environment`, or in a `secrets` content";
        self.hinted(code::COMPOSE_SECRET, message, at, "not here", hint);
        true
    }
}

/// How an encoding fits the place in which a secret stands.
pub(super) enum Fit {
    /// Reading the place undoes the encoding: what is read is the value.
    Undone,
    /// The encoding survives, and belongs to the value.
    Stays,
    /// The value could be misread, and why.
    Wrong(&'static str),
}

/// Returns the texts as they are shown, for whoever draws diagnostics.
pub fn sources<'a>(files: impl IntoIterator<Item = &'a SourceFile>) -> Sources {
    let mut texts = Texts::default();
    files.into_iter().for_each(|file| drop(texts.open(file)));
    texts.sources
}
