//! Filters of the engine that take a width: a number there asks for memory that no fuel counts.

use minijinja::value::{Kwargs, Rest, StringInput, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State, Value, filters};

/// The widest that something is padded or indented.
const WIDTH_MAX: usize = 9999;

/// As the engine's `indent`, for widths that somebody may mean.
pub(super) fn indent(
    value: StringInput<'_>,
    width: Option<usize>,
    first: Option<bool>,
    blank: Option<bool>,
    named: Kwargs,
) -> Result<Value, Error> {
    let asked = match named.has("width") {
        true => named.peek::<usize>("width")?,
        false => width.unwrap_or_default(),
    };
    match asked <= WIDTH_MAX {
        true => filters::indent(value, width, first, blank, named),
        false => Err(too_wide()),
    }
}

/// As the engine's `format`, for widths that somebody may mean. One that an argument gives (`*`) is refused.
pub(super) fn format(state: &mut State, text: &Value, values: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let digits = WIDTH_MAX.to_string().len();
    let is_wide = text.as_str().is_some_and(|text| {
        text.contains('*')
            || text
                .split(|char: char| !char.is_ascii_digit())
                .any(|run| run.len() > digits)
    });
    match is_wide {
        true => Err(too_wide()),
        false => filters::format(state, text, values),
    }
}

fn too_wide() -> Error {
    Error::new(
        ErrorKind::InvalidOperation,
        format!("nothing is made wider than {WIDTH_MAX} characters"),
    )
}
