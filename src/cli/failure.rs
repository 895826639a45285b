//! A failure as its users read it: text for people, one JSON line a problem for logs, one JSON document for programs.
//!
//! Invariant: pure. All three say the same: what happened, why, what to change.

use serde_json::{Value, json};

use crate::base::Error;
use crate::base::error::without_backtrace;
use crate::config::{Color, Diagnostics, Problem};
use crate::query::SqlPlace;

/// An error with its causes and its hint; of a configuration each problem with its place.
pub(super) fn text(error: &Error, color: Color) -> String {
    if let Some(problems) = diagnostics(error) {
        return format!("{}\n", problems.render(color));
    }
    let mut text = format!("error: {error}\n");
    if let Some(place) = sql_place(error) {
        text.push_str(&format!("{place}\n"));
    }
    for cause in causes(error) {
        text.push_str(&format!("  caused by: {cause}\n"));
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}

/// The fields of one log event for an error, or for each problem of a configuration.
pub(super) fn events(error: &Error) -> Vec<Value> {
    let (kind, exit_code) = (error.kind().name(), error.kind().exit_code());
    let Some(problems) = diagnostics(error) else {
        let mut event = json!({
            "message": error.to_string(),
            "kind": kind,
            "causes": causes(error),
            "hint": error.hint(),
            "exit_code": exit_code,
        });
        if let Some(place) = sql_place(error) {
            (event["line"], event["column"]) = (place.line.into(), place.column.into());
        }
        return vec![event];
    };
    let event = |problem: &Problem| {
        let mut fields = described(problems, problem);
        (fields["kind"], fields["exit_code"]) = (kind.into(), exit_code.into());
        fields
    };
    problems.problems().iter().map(event).collect()
}

/// What a command prints that was asked for JSON and failed.
///
/// | name | value |
/// |---|---|
/// | `outcome` | `failed` |
/// | `error` | `kind`, `message`, `hint` (or null), `causes`, and of a configuration its `problems`: `message`, `file`, `line`, `column`, `hint` |
/// | `exit_code` | that of the process |
pub(super) fn document(error: &Error) -> Value {
    let problems = diagnostics(error).into_iter().flat_map(|found| {
        let described = |problem| described(found, problem);
        found.problems().iter().map(described).collect::<Vec<_>>()
    });
    json!({
        "outcome": "failed",
        "error": {
            "kind": error.kind().name(),
            "message": error.to_string(),
            "hint": error.hint(),
            "causes": causes(error),
            "problems": problems.collect::<Vec<_>>(),
        },
        "exit_code": error.kind().exit_code(),
    })
}

/// Where in a query the error is.
fn sql_place(error: &Error) -> Option<&SqlPlace> {
    std::error::Error::source(error)?.downcast_ref()
}

fn diagnostics(error: &Error) -> Option<&Diagnostics> {
    std::error::Error::source(error)?.downcast_ref()
}

/// Of a configuration the problems are told instead. Some libraries say in each error what its cause says: it is told once.
fn causes(error: &Error) -> Vec<String> {
    if diagnostics(error).is_some() || sql_place(error).is_some() {
        return Vec::new();
    }
    let first = std::error::Error::source(error);
    let mut causes: Vec<String> = Vec::new();
    for cause in std::iter::successors(first, |cause| cause.source()) {
        let cause = without_backtrace(&cause.to_string()).to_owned();
        if causes.last().is_none_or(|said| !said.contains(&cause)) {
            causes.push(cause);
        }
    }
    causes
}

fn described(problems: &Diagnostics, problem: &Problem) -> Value {
    let place = problems.location(problem);
    let (line, column) = place.as_ref().map_or((None, None), |place| (place.line, place.column));
    json!({
        "message": problem.message,
        "file": place.map(|place| place.file),
        "line": line,
        "column": column,
        "hint": problem.help,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kind;

    fn full() -> Error {
        let cause = Error::storage("cannot write `x`").caused_by("disk full");
        Error::new(Kind::Unavailable, "no answer").with_hint("try again later").caused_by(cause)
    }

    #[test]
    fn what_an_error_says_its_cause_does_not_say_once_more() {
        let inner = Error::storage("connection refused");
        let error =
            Error::storage("no lake").caused_by(Error::storage("GET failed: connection refused").caused_by(inner));
        assert_eq!(causes(&error), ["GET failed: connection refused"]);
    }

    #[test]
    fn text_lines_and_document_of_an_error_say_the_same() {
        let expected =
            "error: no answer\n  caused by: cannot write `x`\n  caused by: disk full\nhint: try again later\n";
        assert_eq!(text(&full(), Color::Never), expected);
        let causes = ["cannot write `x`", "disk full"];
        let said = json!({"message": "no answer", "kind": "unavailable", "causes": causes, "hint": "try again later"});
        let mut event = said.clone();
        event["exit_code"] = 75.into();
        assert_eq!(events(&full()), [event]);
        let mut error = said;
        error["problems"] = json!([]);
        assert_eq!(document(&full()), json!({"outcome": "failed", "error": error, "exit_code": 75}));
    }

    #[test]
    fn each_problem_of_a_configuration_is_a_line_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.toml");
        std::fs::write(&file, "name = \"n\"\ngatway = \"portals\"\n").unwrap();
        let error: Error = crate::config::load_pipeline(&file, &|_| None).unwrap_err().into();
        let events = events(&error);
        let told =
            |event: &Value| format!("{}:{}: {}", event["line"], event["column"], event["message"].as_str().unwrap());
        let told: Vec<String> = events.iter().map(told).collect();
        assert!(told.contains(&"2:1: unknown key `gatway`".to_owned()), "{told:?}");
        assert!(events.iter().all(|event| event["kind"] == "config" && event["exit_code"] == 1), "{events:?}");
        let document = document(&error);
        assert_eq!(document["error"]["problems"].as_array().unwrap().len(), events.len());
        assert_eq!(document["error"]["causes"], json!([]));
    }
}
