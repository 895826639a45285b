//! Texts with `{name}` places; `{{` and `}}` are braces.

use std::fmt;

/// A text with places to fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// One part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Literal text.
    Text(String),
    /// A place, by name.
    Place(String),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{` without its `}`.
    #[error("`{{` is not closed (write `{{{{` for a brace)")]
    Open,
    /// `}` without its `{`.
    #[error("`}}` without `{{` (write `}}}}` for a brace)")]
    Close,
    /// A name that is not `[a-z0-9_]+`.
    #[error("`{{{0}}}` is not a name (write `{{{{` for a brace)")]
    Name(String),
}

impl Template {
    /// Splits a text at its places.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if rest.starts_with(brace) {
                literal.push_str(brace);
                rest = &rest[1..];
                continue;
            }
            if brace == "}" {
                return Err(TemplateError::Close);
            }
            let end = rest.find('}').ok_or(TemplateError::Open)?;
            let name = &rest[..end];
            let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if name.is_empty() || !name.chars().all(valid) {
                return Err(TemplateError::Name(name.to_owned()));
            }
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Place(name.to_owned()));
            rest = &rest[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    /// Its parts, in order: for callers that write them into a buffer of their own.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The names of its places, in order.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Place(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with every place filled in, or `None` when one has no value.
    pub fn fill<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Place(name) => text.push_str(value(name)?),
            }
        }
        Some(text)
    }
}

impl fmt::Display for Template {
    /// The text as it is written in a definition.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(literal) => f.write_str(&literal.replace('{', "{{").replace('}', "}}")),
            Part::Place(name) => write!(f, "{{{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_and_double_braces_are_braces() {
        let template = Template::parse(r#"{{"shop":"{shop_id}","page":{page}}}"#).unwrap();
        assert_eq!(template.places().collect::<Vec<_>>(), ["shop_id", "page"]);
        let value = |name: &str| Some(if name == "page" { "3" } else { "b2b-1" });
        assert_eq!(template.fill(value).unwrap(), r#"{"shop":"b2b-1","page":3}"#);
        assert_eq!(template.fill(|_| None), None);
        assert_eq!(template.to_string(), r#"{{"shop":"{shop_id}","page":{page}}}"#);
    }

    #[test]
    fn a_broken_template_says_where_it_is_broken() {
        assert_eq!(Template::parse("{a"), Err(TemplateError::Open));
        assert_eq!(Template::parse("a}"), Err(TemplateError::Close));
        assert_eq!(Template::parse("{A b}"), Err(TemplateError::Name("A b".into())));
    }
}
