//! DataFusion's errors as ours: what the writer of the query must change, without the engine's noise.

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use crate::base::text::nearest;
use crate::base::{Error, Kind};
use crate::load::lost;

use super::elsewhere;
use super::place::SqlPlace;
use super::published::Selection;
use super::user_views::UserView;
use super::views;

/// The public error for `cause`, with its place in `sql`; `tables` are the names a misspelt table is compared with.
pub(super) fn explain_in(cause: DataFusionError, tables: &[String], sql: &str) -> Error {
    let place = SqlPlace::find(&cause, sql);
    let error = explain(cause, tables);
    match place {
        Some(place) => error.caused_by(place),
        None => error,
    }
}

/// What is wrong with a view of the user's, with its place in the file.
pub(super) fn explain_view(cause: DataFusionError, view: &UserView, tables: &[String]) -> Error {
    let place = SqlPlace::find(&cause, &view.sql);
    let inner = explain(cause, tables);
    let error = Error::new(inner.kind(), format!("view `{}` (`{}`): {inner}", view.name, view.file));
    let error = match inner.hint() {
        Some(hint) => error.with_hint(hint),
        None => error,
    };
    match place {
        Some(place) => error.caused_by(place),
        None => error,
    }
}

/// The public error for `cause`; `tables` are the names a misspelt table is compared with.
pub(super) fn explain(cause: DataFusionError, tables: &[String]) -> Error {
    match cause {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => explain(*inner, tables),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => explain(errors.swap_remove(0), tables),
        DataFusionError::Shared(shared) => explain_shared(shared.as_ref(), tables),
        other => explain_root(other, tables),
    }
}

/// A shared error can only be looked at: the kind and message of what it stands for.
fn explain_shared(shared: &DataFusionError, tables: &[String]) -> Error {
    match shared.find_root() {
        DataFusionError::ObjectStore(cause) => storage(&cause.to_string()),
        DataFusionError::ParquetError(cause) => storage(&cause.to_string()),
        DataFusionError::ResourcesExhausted(_) => exhausted(),
        DataFusionError::Plan(message) => plan(message, tables),
        other => Error::new(kind(other), first_line(&other.strip_backtrace())),
    }
}

fn explain_root(cause: DataFusionError, tables: &[String]) -> Error {
    match &cause {
        DataFusionError::SchemaError(error, _) => schema(error),
        DataFusionError::Plan(message) => plan(message, tables),
        DataFusionError::SQL(error, _) => {
            let message = error.to_string();
            let message = message.strip_prefix("sql parser error: ").unwrap_or(&message);
            // The place is shown by itself.
            let message = message.rsplit_once(" at Line: ").map_or(message, |(message, _)| message);
            Error::config(format!("this is not SQL: {}", first_line(message)))
        }
        DataFusionError::External(_) => external(cause),
        DataFusionError::NotImplemented(message) => Error::config(format!("not supported: {}", first_line(message))),
        DataFusionError::ResourcesExhausted(_) => exhausted(),
        DataFusionError::ObjectStore(error) => storage(&error.to_string()).caused_by(cause),
        DataFusionError::ParquetError(error) => storage(&error.to_string()).caused_by(cause),
        DataFusionError::ArrowError(error, _) if matches!(**error, ArrowError::ParquetError(_)) => {
            storage(&error.to_string()).caused_by(cause)
        }
        DataFusionError::ArrowError(error, _) => Error::new(kind(&cause), first_line(&error.to_string())),
        other => {
            let message = first_line(&other.strip_backtrace());
            Error::new(kind(other), message).caused_by(cause)
        }
    }
}

/// Our own errors come through the engine as they are.
fn external(cause: DataFusionError) -> Error {
    let other =
        |cause: DataFusionError| Error::new(kind(&cause), first_line(&cause.strip_backtrace())).caused_by(cause);
    match cause {
        DataFusionError::External(error) => match error.downcast::<Error>() {
            Ok(own) => *own,
            Err(error) => other(DataFusionError::External(error)),
        },
        cause => other(cause),
    }
}

fn kind(cause: &DataFusionError) -> Kind {
    match cause {
        DataFusionError::Internal(_) => Kind::Internal,
        DataFusionError::IoError(_) | DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) => {
            Kind::Storage
        }
        // Dividing by zero, a text that is no number: the query's own doing.
        _ => Kind::Config,
    }
}

fn exhausted() -> Error {
    Error::config("the query needs more memory than it may use").with_hint("read fewer days or columns")
}

/// So begins what went wrong with a filter that is applied while files are read.
pub(crate) const FILTER: &str = "Error evaluating filter predicate: ";

/// Every layer below words it differently, but all say `location … not found`.
fn storage(message: &str) -> Error {
    // Filters are applied while files are read.
    if let Some((_, wrong)) = message.split_once(FILTER) {
        let inner = wrong.split_once("Error(\"").and_then(|(_, rest)| rest.split_once("\")")).map(|(inner, _)| inner);
        return Error::config(first_line(inner.unwrap_or(wrong)))
            .with_hint("compare like with like: texts with texts (`shop_id = '5'`), numbers with numbers");
    }
    let missing = message.split_once("location ").and_then(|(_, rest)| rest.split_once(" not found"));
    match missing {
        Some((file, _)) => Error::storage(format!("`{file}` is published but missing")).with_hint(lost::remedy(file)),
        None => Error::storage("a published file cannot be read")
            .with_hint("`huopan lake verify` says which, and what to do"),
    }
}

fn schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let known = valid_fields.iter().map(|column| column.name.as_str());
            let message = match &field.relation {
                Some(table) => format!("`{}` has no column `{}`", table.table(), field.name),
                None => format!("there is no column `{}`", field.name),
            };
            suggest(Error::config(message), &field.name, known)
        }
        SchemaError::AmbiguousReference { field } => {
            Error::config(format!("the column `{}` is in several tables", field.name))
                .with_hint("write the table before it: `o.offer_id`")
        }
        other => Error::config(first_line(&other.to_string())),
    }
}

fn plan(message: &str, tables: &[String]) -> Error {
    let unknown = message.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found"));
    if let Some(full) = unknown {
        let mut names = full.rsplit('.');
        let name = names.next().unwrap_or(full);
        if let Some(schema) = names.next().filter(|schema| !is_schema(schema)) {
            return Error::config(format!("there is no schema `{schema}`"))
                .with_hint("known are: public, latest, before, history, and each day as in `\"as_of_2026-11-20\"`");
        }
        let schema = full.rsplit('.').nth(1).filter(|schema| *schema != "public");
        if let Some(schema) = schema.filter(|_| tables.iter().any(|table| table == name)) {
            return Error::config(format!("there is no `{name}` in the schema `{schema}`"))
                .with_hint(format!("`{name}` stands without a schema, over all days: `where dt = …` chooses one"));
        }
        let error = Error::config(format!("there is no table `{name}`"));
        return suggest(error, name, tables.iter().map(String::as_str));
    }
    let message = message.strip_prefix("Error during planning: ").unwrap_or(message);
    function(message).unwrap_or_else(|| Error::config(first_line(message)))
}

/// A function that there is not, or not there.
fn function(message: &str) -> Option<Error> {
    let quoted = |text: &str| text.split_once('\'').map(|(name, _)| name.to_owned());
    if let Some(name) = message.strip_prefix("Invalid function '").and_then(quoted) {
        if views::function(&name).is_some() {
            let hint = format!("write it after FROM: `SELECT * FROM {name}(…)`");
            return Some(Error::config(format!("`{name}` is a table function")).with_hint(hint));
        }
        let error = Error::config(format!("there is no function `{name}`"));
        if let Some(hint) = elsewhere::instead(&name) {
            return Some(error.with_hint(hint));
        }
        let near = message.split_once("Did you mean '").and_then(|(_, rest)| quoted(rest));
        return Some(match near.filter(|near| nearest(&name, [near.as_str()]).is_some()) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint("`huopan schema views` lists huopan's own; those of DataFusion are there, too"),
        });
    }
    let name = message.to_lowercase().strip_prefix("table function '").and_then(quoted)?;
    let error = Error::config(format!("there is no table function `{name}`"));
    Some(suggest(error, &name, views::FUNCTIONS.iter().map(|function| function.name)))
}

fn is_schema(name: &str) -> bool {
    name == "information_schema" || Selection::from_schema_name(name).is_some()
}

/// The nearest known name, else all of them while they are few.
fn suggest<'a>(error: Error, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    const LISTED_MAX: usize = 30;
    let known: Vec<&str> = known.collect();
    match nearest(name, known.iter().copied()) {
        Some(near) => error.with_hint(format!("did you mean `{near}`?")),
        None if known.is_empty() || known.len() > LISTED_MAX => error,
        None => error.with_hint(format!("known are: {}", known.join(", "))),
    }
}

fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let mut letters = line.chars();
    let is_word = line.chars().nth(1).is_some_and(char::is_lowercase);
    match letters.next() {
        Some(first) if is_word => first.to_lowercase().chain(letters).collect(),
        _ => line.to_owned(),
    }
}
