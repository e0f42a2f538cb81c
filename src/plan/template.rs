//! Templates: minijinja, strict, with secrets and outputs as opaque tokens.

mod bounds;

use std::fmt;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Object, ObjectRepr, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};

use crate::model::body::{self, TOKEN_OPEN};
use crate::model::id::OutputRef;
use crate::model::module::Module;
use crate::model::secret::{Encoding, SecretRef};

/// Instructions that one rendering may take. A module that needs more is in a loop that does not end.
const FUEL: u64 = 5_000_000;

/// Marks names of templates that are strings of a module file rather than files.
const INLINE: char = '\u{1}';

/// The templates of one module, compiled when first used.
pub struct Templates {
    environment: Environment<'static>,
}

/// A rendering that failed. Holds no value of any variable, unlike the engine's own error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderError {
    /// The template file below `templates/`; `None` for a string of the module file.
    pub template: Option<String>,
    /// The line within it, from 1.
    pub line: Option<usize>,
    /// The byte range within it.
    pub range: Option<std::ops::Range<usize>>,
    /// The text that failed, where the range is known.
    pub excerpt: String,
    /// What is wrong, one clause.
    pub message: String,
    /// Whether a name or an attribute has no value.
    pub is_undefined: bool,
}

impl Templates {
    /// Takes a module's templates in.
    pub fn new(module: &Module) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(50);
        // Ranges of errors exist only in debug mode. The engine's own error then holds values, so it never leaves this file.
        environment.set_debug(true);
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .keep_trailing_newline(true)
            .build();
        environment.set_syntax(syntax.expect("the standard delimiters are valid"));
        add_filters(&mut environment);
        let files = module.templates.clone();
        environment.set_loader(move |name| match name.strip_prefix(INLINE) {
            Some(source) => Ok(Some(source.to_owned())),
            None => Ok(files.get(name).map(|text| text.text.clone())),
        });
        Self { environment }
    }

    /// Renders a template file.
    ///
    /// # Errors
    /// [`RenderError`] with its line.
    pub fn render_file(&self, name: &str, scope: &Value) -> Result<String, RenderError> {
        let template = self.environment.get_template(name).map_err(render_error)?;
        template.render(scope).map_err(render_error)
    }

    /// Renders a string of the module file.
    ///
    /// # Errors
    /// [`RenderError`].
    pub fn render_text(&self, source: &str, scope: &Value) -> Result<String, RenderError> {
        if !source.contains("{{") && !source.contains("{%") && !source.contains("{#") {
            return Ok(source.to_owned());
        }
        let template = self
            .environment
            .get_template(&format!("{INLINE}{source}"))
            .map_err(render_error)?;
        template.render(scope).map_err(render_error)
    }

    /// Evaluates an expression.
    ///
    /// # Errors
    /// [`RenderError`]; an expression that is undefined as a whole is one too.
    pub fn eval(&self, expression: &str, scope: &Value) -> Result<Value, RenderError> {
        let compiled = self
            .environment
            .compile_expression_owned(expression.to_owned())
            .map_err(render_error)?;
        let value = compiled.eval(scope).map_err(render_error)?;
        if value.is_undefined() {
            return Err(RenderError {
                template: None,
                line: None,
                range: None,
                excerpt: expression.to_owned(),
                message: format!("`{expression}` has no value"),
                is_undefined: true,
            });
        }
        Ok(value)
    }

    /// Renders a TOML value: every string in it is a template, and a string that is one expression keeps its type.
    ///
    /// # Errors
    /// The first [`RenderError`].
    pub fn render_toml(&self, value: &toml::Value, scope: &Value) -> Result<serde_json::Value, RenderError> {
        Ok(match value {
            toml::Value::String(text) => match sole_expression(text) {
                Some(expression) => to_json(&self.eval(expression, scope)?),
                None => self.render_text(text, scope)?.into(),
            },
            toml::Value::Integer(number) => (*number).into(),
            toml::Value::Float(number) => (*number).into(),
            toml::Value::Boolean(truth) => (*truth).into(),
            toml::Value::Datetime(time) => time.to_string().into(),
            toml::Value::Array(values) => values
                .iter()
                .map(|value| self.render_toml(value, scope))
                .collect::<Result<Vec<_>, _>>()?
                .into(),
            toml::Value::Table(table) => {
                let mut object = serde_json::Map::new();
                for (key, value) in table {
                    object.insert(self.render_text(key, scope)?, self.render_toml(value, scope)?);
                }
                object.into()
            }
        })
    }
}

impl RenderError {
    /// Makes an error about an expression or a name.
    pub fn of(excerpt: &str, what: &str) -> Self {
        Self {
            template: None,
            line: None,
            range: None,
            excerpt: excerpt.to_owned(),
            message: format!("`{excerpt}` {what}").trim_end().to_owned(),
            is_undefined: false,
        }
    }

    /// Returns the names that stand in the text that failed, such as those of inputs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
        self.excerpt
            .split(move |letter| !is_part(letter))
            .filter(|word| !word.is_empty())
    }
}

/// Returns the expression of a string that is exactly one `{{ expression }}`.
fn sole_expression(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    let is_one =
        !inner.contains("{{") && !inner.contains("}}") && !inner.starts_with('-') && !inner.ends_with('-');
    is_one.then_some(inner.trim())
}

/// Turns a template value into JSON; secrets and outputs become their tokens.
pub fn to_json(value: &Value) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_else(|_| value.to_string().into())
}

fn render_error(error: Error) -> RenderError {
    // Nothing but kind, detail and place is taken over: the engine's own Display in debug mode dumps variables.
    let mut innermost = &error;
    while let Some(inner) =
        std::error::Error::source(innermost).and_then(|source| source.downcast_ref::<Error>())
    {
        innermost = inner;
    }
    let source = innermost.template_source().unwrap_or_default();
    let range = innermost.range();
    let excerpt = range
        .clone()
        .and_then(|range| source.get(range))
        .unwrap_or_default()
        .to_owned();
    let message = match (innermost.detail(), innermost.kind()) {
        (Some(detail), ErrorKind::UndefinedError | ErrorKind::InvalidOperation) => detail.to_owned(),
        (Some(detail), kind) => format!("{kind}: {detail}"),
        (None, ErrorKind::UndefinedError) if !excerpt.is_empty() => format!("`{excerpt}` has no value"),
        (None, kind) => kind.to_string(),
    };
    RenderError {
        template: innermost
            .name()
            .filter(|name| !name.starts_with(INLINE) && !name.starts_with('<'))
            .map(str::to_owned),
        line: innermost.line(),
        range,
        excerpt,
        message,
        is_undefined: innermost.kind() == ErrorKind::UndefinedError,
    }
}

/// A secret within templates: it prints as its token and can do nothing else.
#[derive(Debug)]
struct SecretValue(SecretRef);

impl Object for SecretValue {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&body::secret_token(&self.0))
    }
}

/// An output within templates.
#[derive(Debug)]
struct OutputValue(OutputRef);

impl Object for OutputValue {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&body::output_token(&self.0))
    }
}

/// Makes a secret's template value.
pub fn secret(secret: SecretRef) -> Value {
    Value::from_object(SecretValue(secret))
}

/// Makes an output's template value.
pub fn output(output: OutputRef) -> Value {
    Value::from_object(OutputValue(output))
}

fn add_filters(environment: &mut Environment<'static>) {
    environment.add_filter("base64", |value: Value| encode(&value, Encoding::Base64));
    environment.add_filter("json", |value: Value| encode(&value, Encoding::Json));
    environment.add_filter("shell", |value: Value| encode(&value, Encoding::Shell));
    environment.add_filter("compose", |value: Value| encode(&value, Encoding::Compose));
    environment.add_filter("tojson", |value: Value, options: Kwargs| {
        to_json_text(&value, &options)
    });
    environment.add_filter("toml", |value: Value| to_toml_text(&value));
    environment.add_filter("yaml_string", |value: Value| quoted(&value.to_string()));
    environment.add_filter("env_line", |value: Value| env_line(&value));
    environment.add_filter("to_bytes", |value: String| {
        crate::model::quantity::parse_size(&value).map_err(|why| Error::new(ErrorKind::InvalidOperation, why))
    });
    environment.add_filter("ip_is_private", |value: String| ip_is_private(&value));
    environment.add_filter("must", must);
    environment.add_filter("indent", bounds::indent);
    environment.add_filter("format", bounds::format);
    environment.add_test("secret", |value: Value| {
        value.downcast_object_ref::<SecretValue>().is_some()
    });
}

/// Writes a value in an encoding; a secret only notes which, since nobody here sees its value.
fn encode(value: &Value, encoding: Encoding) -> Result<Value, Error> {
    if let Some(SecretValue(reference)) = value.downcast_object_ref::<SecretValue>() {
        if reference.encoding != Encoding::Plain {
            let detail = format!("a secret is encoded as `{}` already", reference.encoding.name());
            return Err(Error::new(ErrorKind::InvalidOperation, detail));
        }
        return Ok(secret(SecretRef {
            source: reference.source.clone(),
            encoding,
        }));
    }
    if body::has_token(&value.to_string()) {
        let detail = format!(
            "text that holds a secret cannot be written as `{}`; encode the secret itself",
            encoding.name()
        );
        return Err(Error::new(ErrorKind::InvalidOperation, detail));
    }
    Ok(Value::from(encoding.encode(&value.to_string())))
}

/// Writes a value as JSON. Secrets within it join as the inside of a JSON string.
fn to_json_text(value: &Value, options: &Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let json = to_json(value);
    let text = match indent {
        Some(_) => serde_json::to_string_pretty(&json),
        None => serde_json::to_string(&json),
    };
    let text = text.map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))?;
    Ok(json_tokens(&text))
}

/// Lets plain secrets within JSON or TOML text join escaped for a quoted string.
fn json_tokens(text: &str) -> String {
    text.replace(&format!("{TOKEN_OPEN}splain|"), &format!("{TOKEN_OPEN}sjson|"))
}

fn to_toml_text(value: &Value) -> Result<String, Error> {
    let invalid = |error: String| Error::new(ErrorKind::InvalidOperation, error);
    let value = toml::Value::try_from(to_json(value)).map_err(|error| invalid(error.to_string()))?;
    Ok(json_tokens(&value.to_string()))
}

/// Writes text as a double-quoted JSON and YAML string. YAML reads every JSON string as the same text.
fn quoted(text: &str) -> String {
    json_tokens(&serde_json::Value::from(text).to_string())
}

/// Writes a value as the right side of a `KEY=value` line that both a shell and Compose read alike.
fn env_line(value: &Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::Plain {
        return encode(value, Encoding::Shell);
    }
    let text = value.to_string();
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_./:@%+,=".contains(&byte));
    if is_plain {
        Ok(Value::from(text))
    } else {
        encode(value, Encoding::Shell)
    }
}

fn ip_is_private(text: &str) -> bool {
    match text.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => {
            address.is_private() || address.is_loopback() || address.is_link_local()
        }
        Ok(std::net::IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => false,
    }
}

fn must(value: Value, message: Option<String>, options: Kwargs) -> Result<Value, Error> {
    let named: Option<String> = options.get("msg")?;
    options.assert_all_used()?;
    if value.is_true() || value.downcast_object_ref::<SecretValue>().is_some() {
        return Ok(value);
    }
    let detail = message
        .or(named)
        .unwrap_or_else(|| "a value that must be there is not".to_owned());
    Err(Error::new(ErrorKind::InvalidOperation, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::body::{Body, Piece};
    use crate::model::module::Text;
    use minijinja::context;

    fn templates(files: &[(&str, &str)]) -> Templates {
        let mut module = crate::plan::fixture::module("app");
        for (name, text) in files {
            let file = format!("modules/app/templates/{name}");
            module.templates.insert(
                (*name).to_owned(),
                Text {
                    file,
                    text: (*text).to_owned(),
                },
            );
        }
        Templates::new(&module)
    }

    fn pass() -> Value {
        secret("plain|env:PASS".parse().unwrap())
    }

    #[test]
    fn undefined_name_is_an_error_with_its_template_and_line() {
        let error = templates(&[("a.j2", "ok\n{{ tls.naem }}\n")])
            .render_file("a.j2", &context! { tls => context! { name => "secret-looking" } })
            .unwrap_err();
        assert_eq!(
            (error.template.as_deref(), error.line, error.is_undefined),
            (Some("a.j2"), Some(2), true)
        );
        assert_eq!(error.excerpt, "tls.naem");
        assert!(!error.message.contains("secret-looking"));
    }

    #[test]
    fn a_string_that_is_one_expression_keeps_its_type() {
        let templates = templates(&[]);
        let scope = context! { port => 80, names => ["a", "b"] };
        let render = |text: &str| templates.render_toml(&toml::Value::from(text), &scope).unwrap();
        assert_eq!(render("{{ port }}"), serde_json::json!(80));
        assert_eq!(render("{{ names }}"), serde_json::json!(["a", "b"]));
        assert_eq!(render("{{ port }}:{{ port }}"), serde_json::json!("80:80"));
        assert_eq!(render("{{ port }}\n"), serde_json::json!("80\n"));
    }

    #[test]
    fn secrets_join_in_the_encoding_of_their_place() {
        let templates = templates(&[]);
        let scope = context! { pass => pass(), all => context! { p => pass() } };
        let piece = |text: &str| {
            let body = Body::parse(&templates.render_text(text, &scope).unwrap()).unwrap();
            body.pieces().iter().find_map(|piece| match piece {
                Piece::Secret(secret) => Some(secret.encoding),
                Piece::Text(_) | Piece::Output(_) => None,
            })
        };
        assert_eq!(piece("x{{ pass }}"), Some(Encoding::Plain));
        assert_eq!(piece("{{ pass | base64 }}"), Some(Encoding::Base64));
        assert_eq!(piece("{{ all | tojson }}"), Some(Encoding::Json));
        assert_eq!(piece("{{ pass | yaml_string }}"), Some(Encoding::Json));
        assert_eq!(piece("{{ pass | compose }}"), Some(Encoding::Compose));
        assert_eq!(piece("{{ pass | env_line }}"), Some(Encoding::Shell));
    }

    #[test]
    fn secret_that_went_through_another_filter_is_found() {
        let text = templates(&[]).render_text("{{ pass | upper }}", &context! { pass => pass() });
        assert!(text.is_err() || Body::parse(&text.unwrap()).is_err());
        let error = templates(&[]).render_text("{{ (pass ~ 'x') | base64 }}", &context! { pass => pass() });
        assert!(error.unwrap_err().message.contains("encode the secret itself"));
    }

    #[test]
    fn endless_template_ends_in_an_error() {
        let error = templates(&[]).render_text(
            "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}",
            &context! {},
        );
        assert!(error.is_err());
    }

    #[test]
    fn must_speaks_in_the_words_of_its_author() {
        let error = templates(&[])
            .render_text("{{ x | must('set `x`') }}", &context! { x => "" })
            .unwrap_err();
        assert_eq!(error.message, "set `x`");
    }
}
