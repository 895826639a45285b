//! The one public error: what kind of failure it is, what happened, and what to change.
//!
//! Pure modules have small enums of their own; they turn into this at a stage's border.
//! `Display` says this layer only; the command line walks [`std::error::Error::source`] and prints.

use std::fmt;

/// What a caller can do about a failure. Decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The configuration, an argument or the environment must change.
    Config,
    /// The gateway refuses this account or permission.
    Denied,
    /// No calls are left today.
    Quota,
    /// A network, gateway or store that may answer later.
    Unavailable,
    /// Bytes that are not what they should be.
    Data,
    /// Somebody else holds what we need.
    Conflict,
    /// The lake cannot be read or written as it is.
    Storage,
    /// A bug in huopan.
    Internal,
}

impl Kind {
    /// Its name in documents and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Config => "config",
            Kind::Denied => "denied",
            Kind::Quota => "quota",
            Kind::Unavailable => "unavailable",
            Kind::Data => "data",
            Kind::Conflict => "conflict",
            Kind::Storage => "storage",
            Kind::Internal => "internal",
        }
    }

    /// The process exit code of a command that ends with this kind.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Config | Kind::Denied | Kind::Data | Kind::Storage => 1,
            Kind::Quota | Kind::Unavailable | Kind::Conflict => 75,
            Kind::Internal => 70,
        }
    }
}

/// A failure with its kind, an optional hint and the chain of causes.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; the message is lowercase, with values in backticks.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    /// [`Kind::Config`].
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    /// [`Kind::Data`].
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(Kind::Data, message)
    }

    /// [`Kind::Storage`].
    pub fn storage(message: impl Into<String>) -> Self {
        Self::new(Kind::Storage, message)
    }

    /// [`Kind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Adds what the user can change.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind, which decides the exit code.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to change, where we know it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What a library says of a failure, without the frames that it adds.
#[must_use]
pub fn without_backtrace(text: &str) -> &str {
    text.split("\n   0: ").next().unwrap_or(text).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_library_says_ends_where_its_frames_begin() {
        for (text, expected) in [
            ("Json error: truncated\n   0: a::b\n             at a.rs:1\n   1: c", "Json error: truncated"),
            ("one\ntwo", "one\ntwo"),
            ("", ""),
        ] {
            assert_eq!(without_backtrace(text), expected);
        }
    }

    #[test]
    fn an_outage_can_be_tried_again_and_a_bad_config_cannot() {
        assert_eq!(Kind::Unavailable.exit_code(), 75);
        assert_eq!(Kind::Config.exit_code(), 1);
        assert_eq!(Kind::Internal.exit_code(), 70);
    }
}
