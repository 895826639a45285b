//! JSON pointers (RFC 6901), split once.

use std::fmt;

/// A JSON pointer: `""` is the whole document, `/a/0/b` a path into it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Pointer(Vec<String>);

/// Why a text is no pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a JSON pointer is empty or starts with `/`")]
pub struct PointerError;

impl Pointer {
    /// Splits a pointer's text; `~1` is `/` and `~0` is `~`.
    ///
    /// # Errors
    /// [`PointerError`] when it is not empty and does not start with `/`.
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let rest = text.strip_prefix('/').ok_or(PointerError)?;
        Ok(Self(rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect()))
    }

    /// Its parts, unescaped.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// The value it points at.
    #[must_use]
    pub fn get<'a>(&self, value: &'a serde_json::Value) -> Option<&'a serde_json::Value> {
        self.0.iter().try_fold(value, |value, part| match value {
            serde_json::Value::Object(map) => map.get(part),
            serde_json::Value::Array(list) => part.parse::<usize>().ok().and_then(|index| list.get(index)),
            _ => None,
        })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| write!(f, "/{}", part.replace('~', "~0").replace('/', "~1")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_finds_its_value_and_prints_as_written() {
        let value = serde_json::json!({"a": [{"b/c": 1}]});
        let pointer = Pointer::parse("/a/0/b~1c").unwrap();
        assert_eq!(pointer.get(&value), Some(&serde_json::json!(1)));
        assert_eq!(pointer.to_string(), "/a/0/b~1c");
        assert_eq!(Pointer::parse("a"), Err(PointerError));
    }
}
