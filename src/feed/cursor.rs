//! A position in the publish logs of all pipelines, as text: `v1:nightly=12,portals=7`.
//!
//! The number is that of the last publication that was taken; a pipeline that is not named starts at its first.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::base::{Error, Result};

/// How the text starts.
const VERSION: &str = "v1:";

/// A position in the publish logs of all pipelines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    taken: BTreeMap<String, u64>,
}

impl Cursor {
    /// The number of the pipeline's last publication that was taken; 0: none was.
    #[must_use]
    pub fn seq(&self, pipeline: &str) -> u64 {
        self.taken.get(pipeline).copied().unwrap_or(0)
    }

    /// Says what was taken of a pipeline; 0: nothing.
    pub fn set(&mut self, pipeline: &str, seq: u64) {
        match seq {
            0 => self.taken.remove(pipeline),
            seq => self.taken.insert(pipeline.to_owned(), seq),
        };
    }

    /// The pipelines it names, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.taken.iter().map(|(pipeline, seq)| (pipeline.as_str(), *seq))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(VERSION)?;
        for (number, (pipeline, seq)) in self.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{pipeline}={seq}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let broken = || {
            Error::config(format!("`{text}` is no cursor"))
                .with_hint("take it as `huopan feed` gave it, for example `v1:nightly=12,portals=7`")
        };
        let mut cursor = Self::default();
        let positions = text.trim().strip_prefix(VERSION).ok_or_else(broken)?;
        for position in positions.split(',').filter(|_| !positions.is_empty()) {
            let (pipeline, seq) = position.split_once('=').ok_or_else(broken)?;
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
            let digits = !seq.is_empty() && seq.bytes().all(|byte| byte.is_ascii_digit());
            let seq: u64 = seq.parse().ok().filter(|&seq| digits && seq > 0).ok_or_else(broken)?;
            let named = pipeline.is_empty() || !pipeline.bytes().all(plain);
            if named || cursor.taken.insert(pipeline.to_owned(), seq).is_some() {
                return Err(broken());
            }
        }
        Ok(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        for text in ["v1:", "v1:nightly=12", "v1:nightly=12,portals=7"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        let cursor: Cursor = " v1:b=2,a=1\n".parse().unwrap();
        assert_eq!((cursor.seq("a"), cursor.seq("b"), cursor.seq("c")), (1, 2, 0));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["", "12", "v2:a=1", "v1:a", "v1:a=0", "v1:a=+1", "v1:=1", "v1:A=1", "v1:a=1,", "v1:a=1,a=2"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
