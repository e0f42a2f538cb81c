//! YAML into nodes: anchors and merge keys are resolved, tags and twice-written keys are judged.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag as YamlTag};

use crate::model::body::has_token;
use crate::model::code;
use crate::model::diagnostic::Diagnostic;
use crate::model::secret::Encoding;

use super::node::{Entry, Meaning, Node, Scalar, Tag, Value};
use super::source::{Fit, Opened, Texts};

/// So deep may lists and mappings lie in each other.
const DEPTH_MAX: usize = 64;
/// So many values may a file have once its aliases are spelt out: a few lines can otherwise ask for all memory.
const NODES_MAX: usize = 200_000;

/// Reads a file; `None` where it is no YAML at all.
pub(super) fn parse(texts: &mut Texts, opened: &Opened) -> Option<Node> {
    let mut builder = Builder {
        texts,
        opened,
        stack: Vec::new(),
        anchors: BTreeMap::new(),
        root: None,
        nodes: 0,
    };
    for event in Parser::new_from_str(&opened.text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(0);
                builder.syntax(&error.info(), at..at);
                return None;
            }
        };
        if builder.take(event, span).is_err() {
            return None;
        }
    }
    let at = opened.at(0..0);
    Some(builder.root.unwrap_or_else(|| Node::null(at)))
}

/// A list or a mapping that is not closed yet.
struct Open {
    value: Value,
    start: usize,
    anchor: usize,
    tag: Option<Tag>,
    /// A mapping's key that waits for its value.
    key: Option<Node>,
    /// What `<<` brings in, the first before the later.
    merged: Vec<Node>,
}

struct Builder<'t> {
    texts: &'t mut Texts,
    opened: &'t Opened,
    stack: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

/// The file cannot be read on; it was said why.
struct Stop;

impl Builder<'_> {
    fn syntax(&mut self, message: &str, span: std::ops::Range<usize>) {
        let at = self.opened.at(span);
        let message = format!("the file is not valid YAML: {message}");
        self.texts.error(code::COMPOSE_SYNTAX, message, at, "here");
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let bytes = span.start.byte_offset().unwrap_or(0)..span.end.byte_offset().unwrap_or(0);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(text.into_owned(), style, bytes, tag.as_deref());
                self.keep(anchor, &node);
                self.add(node)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(Value::List(Vec::new()), bytes.start, anchor, tag.as_deref())
            }
            Event::MappingStart(_, anchor, tag) => {
                self.open(Value::Map(Vec::new()), bytes.start, anchor, tag.as_deref())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(bytes.end),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => {
                    self.count(size(&node))?;
                    self.add(node)
                }
                None => {
                    self.syntax("an alias stands within what it names", bytes);
                    Err(Stop)
                }
            },
            Event::DocumentStart(..) if self.root.is_some() => {
                self.syntax("a second document begins, and a Compose file is one", bytes);
                Err(Stop)
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, more: usize) -> Result<(), Stop> {
        self.nodes += more;
        if self.nodes > NODES_MAX {
            self.syntax("it has too many values once its aliases are spelt out", 0..0);
            return Err(Stop);
        }
        Ok(())
    }

    fn keep(&mut self, anchor: usize, node: &Node) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    fn open(&mut self, value: Value, start: usize, anchor: usize, tag: Option<&YamlTag>) -> Result<(), Stop> {
        if self.stack.len() >= DEPTH_MAX {
            self.syntax("lists and mappings lie too deep in each other", start..start);
            return Err(Stop);
        }
        let tag = self.tag(tag, start);
        self.stack.push(Open {
            value,
            start,
            anchor,
            tag,
            key: None,
            merged: Vec::new(),
        });
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), Stop> {
        let Some(open) = self.stack.pop() else {
            return Ok(());
        };
        let mut node = Node::new(open.value, self.opened.at(open.start..end));
        node.tag = open.tag;
        for merged in open.merged {
            merge_in(&mut node, &merged);
        }
        self.keep(open.anchor, &node);
        self.add(node)
    }

    fn add(&mut self, node: Node) -> Result<(), Stop> {
        self.count(1)?;
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(_), None) => open.key = Some(node),
            (Value::Map(_), Some(key)) => self.entry(key, node),
            (Value::Null | Value::Scalar(_), _) => {}
        }
        Ok(())
    }

    fn entry(&mut self, key: Node, value: Node) {
        let (Some(open), Some(name)) = (self.stack.last_mut(), key_text(&key)) else {
            self.texts.error(
                code::COMPOSE_VALUE,
                "a key is a single word",
                key.at,
                "not a word",
            );
            return;
        };
        if name == "<<" && is_plain(&key) {
            match value.value {
                Value::Map(_) => open.merged.push(value),
                Value::List(items) => open.merged.extend(items),
                Value::Null | Value::Scalar(_) => {
                    self.texts.error(
                        code::COMPOSE_VALUE,
                        "`<<` takes a mapping in, or a list of them",
                        value.at,
                        "not a mapping",
                    );
                }
            }
            return;
        }
        let Value::Map(entries) = &mut open.value else {
            return;
        };
        if let Some(first) = entries.iter().find(|entry| entry.key == name) {
            let (first, second) = (self.texts.place(first.key_at), self.texts.place(key.at));
            let found = Diagnostic::error(
                code::COMPOSE_CONFLICT,
                format!("key `{name}` stands twice in one mapping"),
            );
            self.texts
                .report(found.at(second, "and again here").and(first, "here first"));
            return;
        }
        if self.texts.refuse_holes(&name, "a key", key.at) {
            return;
        }
        entries.push(Entry {
            key: name,
            key_at: key.at,
            value,
        });
    }

    fn scalar(
        &mut self,
        text: String,
        style: ScalarStyle,
        bytes: std::ops::Range<usize>,
        tag: Option<&YamlTag>,
    ) -> Node {
        let at = self.opened.at(bytes.clone());
        let is_text = tag.is_some_and(|tag| tag.to_string().ends_with("str"));
        let tag = self.tag(tag, bytes.start);
        let text = match has_token(&text) {
            false => text,
            true => match self.texts.unwrap_holes(text, |encoding| fit(encoding, style)) {
                Ok(text) => text,
                Err(why) => {
                    let hint =
                        "write `\"{{ value | compose }}\"`, in double quotes, or `{{ value | base64 }}`";
                    let message = "a secret is not written as this place needs it".to_owned();
                    self.texts.hinted(code::COMPOSE_SECRET, message, at, why, hint);
                    String::new()
                }
            },
        };
        let scalar = Scalar {
            is_plain: style == ScalarStyle::Plain && !is_text && !has_token(&text),
            text,
        };
        let value = match scalar.means() {
            Meaning::Null => Value::Null,
            _ => Value::Scalar(scalar),
        };
        Node { value, at, tag }
    }

    fn tag(&mut self, tag: Option<&YamlTag>, start: usize) -> Option<Tag> {
        let tag = tag?.to_string();
        match tag.as_str() {
            "!reset" => Some(Tag::Reset),
            "!override" => Some(Tag::Override),
            tag if tag.starts_with("tag:yaml.org,2002:") || tag.starts_with("!!") => None,
            tag => {
                let at = self.opened.at(start..start + 1);
                let message = format!("tag `{tag}` is not known here");
                self.texts.hinted(
                    code::COMPOSE_VALUE,
                    message,
                    at,
                    "unknown tag",
                    "known are `!reset` and `!override`",
                );
                None
            }
        }
    }
}

/// Says how a secret's encoding fits a scalar of this style.
fn fit(encoding: Encoding, style: ScalarStyle) -> Fit {
    match (encoding, style) {
        (Encoding::Compose, ScalarStyle::DoubleQuoted) => Fit::Undone,
        (Encoding::Base64, _) => Fit::Stays,
        (Encoding::Compose, _) => Fit::Wrong("the filter `compose` writes for double quotes"),
        (Encoding::Plain | Encoding::Json | Encoding::Shell, _) => {
            Fit::Wrong("quotes or `$` in its value would be read as Compose's own")
        }
    }
}

fn key_text(key: &Node) -> Option<String> {
    match &key.value {
        Value::Scalar(scalar) => Some(scalar.text.clone()),
        Value::Null => Some(String::new()),
        Value::List(_) | Value::Map(_) => None,
    }
}

fn is_plain(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if scalar.is_plain)
}

/// Adds the entries that a mapping lacks.
fn merge_in(node: &mut Node, merged: &Node) {
    let Value::Map(entries) = &mut node.value else {
        return;
    };
    for entry in merged.entries() {
        if !entries.iter().any(|own| own.key == entry.key) {
            entries.push(entry.clone());
        }
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::Null | Value::Scalar(_) => 0,
        Value::List(items) => items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => entries.iter().map(|entry| size(&entry.value)).sum::<usize>(),
    }
}
