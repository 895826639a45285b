//! What a client is told when something fails: PostgreSQL's fields, with our words and hints.
//!
//! Invariant: pure. No password and no text of a query is in a failure, but for names that the client wrote itself.

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::ErrorResponse;

use crate::base::{Error, Kind};
use crate::query::error::FILTER;
use crate::query::{Session, SqlPlace};

/// Codes of PostgreSQL ("SQLSTATE"), by what they mean.
pub(super) mod code {
    pub(crate) const TOO_MANY_CONNECTIONS: &str = "53300";
    pub(crate) const OUT_OF_MEMORY: &str = "53200";
    pub(crate) const LIMIT_EXCEEDED: &str = "53400";
    pub(crate) const STATEMENT_TOO_COMPLEX: &str = "54001";
    pub(crate) const PROGRAM_LIMIT: &str = "54000";
    pub(crate) const CANCELLED: &str = "57014";
    pub(crate) const SHUTDOWN: &str = "57P01";
    pub(crate) const PROTOCOL: &str = "08P01";
    pub(crate) const INVALID_PASSWORD: &str = "28P01";
    pub(crate) const INVALID_AUTHORIZATION: &str = "28000";
    pub(crate) const READ_ONLY: &str = "25006";
    pub(crate) const IN_FAILED_TRANSACTION: &str = "25P02";
    pub(crate) const NO_TRANSACTION: &str = "25P01";
    pub(crate) const NOT_SUPPORTED: &str = "0A000";
    pub(crate) const SYNTAX: &str = "42601";
    pub(crate) const UNKNOWN_TABLE: &str = "42P01";
    pub(crate) const UNKNOWN_COLUMN: &str = "42703";
    pub(crate) const AMBIGUOUS_COLUMN: &str = "42702";
    pub(crate) const UNKNOWN_FUNCTION: &str = "42883";
    pub(crate) const UNKNOWN_SETTING: &str = "42704";
    pub(crate) const FORBIDDEN: &str = "42501";
    pub(crate) const SEMANTIC: &str = "42000";
    pub(crate) const INVALID_VALUE: &str = "22023";
    pub(crate) const INVALID_TEXT: &str = "22P02";
    pub(crate) const DIVISION_BY_ZERO: &str = "22012";
    pub(crate) const OUT_OF_RANGE: &str = "22003";
    pub(crate) const DATA: &str = "22000";
    pub(crate) const UNKNOWN_STATEMENT: &str = "26000";
    pub(crate) const UNKNOWN_CURSOR: &str = "34000";
    pub(crate) const DUPLICATE_STATEMENT: &str = "42P05";
    pub(crate) const DUPLICATE_CURSOR: &str = "42P03";
    pub(crate) const IO: &str = "58030";
    pub(crate) const INTERNAL: &str = "XX000";
}

/// A failure as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// The letter of the query it is about, from 1.
    pub(super) position: Option<usize>,
    /// The connection ends with it.
    pub(super) is_fatal: bool,
}

impl Failure {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, position: None, is_fatal: false }
    }

    pub(super) fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Self { is_fatal: true, ..Self::new(code, message) }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn at(mut self, position: Option<usize>) -> Self {
        self.position = position;
        self
    }

    /// Writing is no fault of a query's form, but of what it wants.
    pub(super) fn read_only(statement: &str) -> Self {
        Self::new(code::READ_ONLY, format!("cannot execute {statement}: only queries run here, the lake is read-only"))
            .with_hint("use SELECT, WITH, VALUES, EXPLAIN or SHOW; `huopan run` is what writes")
    }

    pub(super) fn protocol(message: impl Into<String>) -> Self {
        Self::fatal(code::PROTOCOL, message)
    }

    /// A failure of the engine, in the session's words.
    pub(super) fn of_engine(cause: DataFusionError, session: &Session, sql: &str) -> Self {
        let (code, name) = classify(cause.find_root());
        let stated = SqlPlace::find(&cause, sql).map(|place| place.position);
        let error = session.explain(cause);
        if code == code::IO || code == code::INTERNAL {
            tracing::warn!(%error, cause = std::error::Error::source(&error), "a query failed");
        }
        let position = name.and_then(|name| SqlPlace::of_word(sql, &name)).map(|place| place.position).or(stated);
        Self { code, message: error.to_string(), hint: error.hint().map(str::to_owned), position, is_fatal: false }
    }

    /// A failure of ours.
    pub(super) fn of(error: &Error) -> Self {
        let code = match error.kind() {
            Kind::Internal => code::INTERNAL,
            Kind::Config => code::SEMANTIC,
            _ => code::IO,
        };
        Self { hint: error.hint().map(str::to_owned), ..Self::new(code, error.to_string()) }
    }

    /// A text that is no SQL.
    pub(super) fn syntax(sql: &str, message: &str) -> Self {
        let message = message.strip_prefix("sql parser error: ").unwrap_or(message);
        let position = place(message).and_then(|(line, column)| position_at(sql, line, column));
        Self::new(code::SYNTAX, format!("this is not SQL: {}", without_place(message))).at(position)
    }

    pub(super) fn message(&self) -> PgWireBackendMessage {
        let severity = if self.is_fatal { "FATAL" } else { "ERROR" };
        let mut fields = vec![
            (b'S', severity.to_owned()),
            (b'V', severity.to_owned()),
            (b'C', self.code.to_owned()),
            (b'M', self.message.replace('\0', " ")),
        ];
        fields.extend(self.hint.iter().map(|hint| (b'H', hint.replace('\0', " "))));
        fields.extend(self.position.iter().map(|position| (b'P', position.to_string())));
        PgWireBackendMessage::ErrorResponse(ErrorResponse::new(fields))
    }
}

/// The code of an engine's error, and the name in the query it is about.
fn classify(root: &DataFusionError) -> (&'static str, Option<String>) {
    match root {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, .. } => (code::UNKNOWN_COLUMN, Some(field.name.clone())),
            SchemaError::AmbiguousReference { field } => (code::AMBIGUOUS_COLUMN, Some(field.name.clone())),
            _ => (code::SEMANTIC, None),
        },
        DataFusionError::Plan(message) => of_plan(message),
        DataFusionError::SQL(_, _) => (code::SYNTAX, None),
        DataFusionError::NotImplemented(_) => (code::NOT_SUPPORTED, None),
        DataFusionError::ResourcesExhausted(_) => (code::OUT_OF_MEMORY, None),
        // Filters are applied while files are read.
        DataFusionError::ParquetError(error) if error.to_string().contains(FILTER) => (code::INVALID_TEXT, None),
        DataFusionError::ObjectStore(_) | DataFusionError::ParquetError(_) | DataFusionError::IoError(_) => {
            (code::IO, None)
        }
        DataFusionError::ArrowError(error, _) => (of_arrow(error), None),
        DataFusionError::Execution(_) => (code::DATA, None),
        DataFusionError::Internal(_) | DataFusionError::ExecutionJoin(_) => (code::INTERNAL, None),
        _ => (code::SEMANTIC, None),
    }
}

fn of_plan(message: &str) -> (&'static str, Option<String>) {
    let quoted = |before: &str, after: &str| {
        let (_, rest) = message.split_once(before)?;
        rest.split_once(after).map(|(name, _)| name.rsplit('.').next().unwrap_or(name).to_owned())
    };
    if let Some(name) = quoted("table '", "' not found") {
        return (code::UNKNOWN_TABLE, Some(name));
    }
    if let Some(name) = quoted("Invalid function '", "'").or_else(|| quoted("able function '", "' not found")) {
        return (code::UNKNOWN_FUNCTION, Some(name));
    }
    (code::SEMANTIC, None)
}

fn of_arrow(error: &ArrowError) -> &'static str {
    match error {
        ArrowError::DivideByZero => code::DIVISION_BY_ZERO,
        ArrowError::ArithmeticOverflow(_) => code::OUT_OF_RANGE,
        ArrowError::CastError(_) | ArrowError::ParseError(_) => code::INVALID_TEXT,
        ArrowError::ParquetError(message) if message.contains(FILTER) => code::INVALID_TEXT,
        ArrowError::ParquetError(_) | ArrowError::IoError(_, _) => code::IO,
        ArrowError::MemoryError(_) => code::OUT_OF_MEMORY,
        _ => code::DATA,
    }
}

/// The letter at a line and column, both from 1; the end of the text counts as one.
fn position_at(sql: &str, line: u64, column: u64) -> Option<usize> {
    let (line, column) = (usize::try_from(line).ok()?, usize::try_from(column).ok()?);
    let before: usize = sql.split_inclusive('\n').take(line.checked_sub(1)?).map(|line| line.chars().count()).sum();
    let position = before + column;
    (column > 0 && position <= sql.chars().count() + 1).then_some(position)
}

/// `… at Line: 1, Column: 8`.
fn place(message: &str) -> Option<(u64, u64)> {
    let (_, rest) = message.rsplit_once("at Line: ")?;
    let (line, column) = rest.split_once(", Column: ")?;
    let digits: String = column.chars().take_while(char::is_ascii_digit).collect();
    Some((line.parse().ok()?, digits.parse().ok()?))
}

fn without_place(message: &str) -> &str {
    message.rsplit_once(" at Line: ").map_or(message, |(before, _)| before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_points_at_its_place() {
        let failure =
            Failure::syntax("select\n  from where", "sql parser error: Expected: x, found: y at Line: 2, Column: 8");
        assert_eq!((failure.code, failure.position), (code::SYNTAX, Some(15)));
        assert_eq!(failure.message, "this is not SQL: Expected: x, found: y");
        assert_eq!(Failure::syntax("x", "no place").position, None);
    }

    #[test]
    fn errors_of_the_engine_have_the_codes_that_clients_know() {
        let plan = |text: &str| DataFusionError::Plan(text.to_owned());
        for (error, expected) in [
            (plan("table 'huopan.public.ofers' not found"), (code::UNKNOWN_TABLE, Some("ofers"))),
            (
                plan("Error during planning: Invalid function 'foo'.\nDid you mean"),
                (code::UNKNOWN_FUNCTION, Some("foo")),
            ),
            (plan("table function 'foo' not found"), (code::UNKNOWN_FUNCTION, Some("foo"))),
            (plan("x"), (code::SEMANTIC, None)),
            (DataFusionError::ResourcesExhausted("x".into()), (code::OUT_OF_MEMORY, None)),
            (DataFusionError::NotImplemented("x".into()), (code::NOT_SUPPORTED, None)),
            (ArrowError::DivideByZero.into(), (code::DIVISION_BY_ZERO, None)),
            (ArrowError::CastError("x".into()).into(), (code::INVALID_TEXT, None)),
        ] {
            let (code, name) = classify(error.find_root());
            assert_eq!((code, name.as_deref()), expected, "{error}");
        }
    }
}
