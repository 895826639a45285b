//! Formats of dates and times as PostgreSQL writes them, `YYYY-MM-DD HH24:MI`, beside the engine's own, `%Y-%m-%d %H:%M`:
//! without this `to_char` gives the letters back.
//!
//! Invariant: a letter that stands for nothing we know is refused, never copied.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;

/// The functions whose arguments behind the first are formats.
const FUNCTIONS: [&str; 7] = [
    "to_char",
    "to_date",
    "to_timestamp",
    "to_timestamp_seconds",
    "to_timestamp_millis",
    "to_timestamp_micros",
    "to_timestamp_nanos",
];

/// What a format may hold, and what the engine says for it. Of two that begin alike, the longer one comes first.
const TEMPLATES: [(&str, &str); 30] = [
    ("YYYY", "%Y"),
    ("yyyy", "%Y"),
    ("IYYY", "%G"),
    ("YY", "%y"),
    ("yy", "%y"),
    ("IW", "%V"),
    ("ID", "%u"),
    ("Month", "%B"),
    ("Mon", "%b"),
    ("MM", "%m"),
    ("mm", "%m"),
    ("DDD", "%j"),
    ("DD", "%d"),
    ("dd", "%d"),
    ("Day", "%A"),
    ("Dy", "%a"),
    ("HH24", "%H"),
    ("hh24", "%H"),
    ("HH12", "%I"),
    ("HH", "%I"),
    ("MI", "%M"),
    ("mi", "%M"),
    ("SS", "%S"),
    ("ss", "%S"),
    ("MS", "%3f"),
    ("US", "%6f"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("TZH:TZM", "%:z"),
    ("OF", "%:z"),
];

/// The rule.
#[derive(Debug)]
pub(super) struct Templates;

impl FunctionRewrite for Templates {
    fn name(&self) -> &'static str {
        "templates of dates and times"
    }

    fn rewrite(&self, expr: Expr, _: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::ScalarFunction(ScalarFunction { func, mut args }) = expr else { return Ok(Transformed::no(expr)) };
        let mut is_changed = false;
        if FUNCTIONS.contains(&func.name()) {
            for format in args.iter_mut().skip(1) {
                let Expr::Literal(value, _) = &*format else { continue };
                let Some(text) = value.try_as_str().flatten() else { continue };
                let translated = match translate(text) {
                    Ok(Some(translated)) => translated,
                    Ok(None) => continue,
                    Err(letters) => {
                        return plan_err!(
                            "`{}` does not know `{letters}` of the format `{text}`: formats are PostgreSQL's (YYYY-MM-DD HH24:MI:SS) or strftime's (%Y-%m-%d %H:%M:%S)",
                            func.name()
                        );
                    }
                };
                *format = Expr::Literal(ScalarValue::Utf8(Some(translated)), None);
                is_changed = true;
            }
        }
        let expr = Expr::ScalarFunction(ScalarFunction { func, args });
        Ok(if is_changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    }
}

/// The engine's format for PostgreSQL's; `None`: it is the engine's own. The letters that stand for nothing are the error.
fn translate(format: &str) -> std::result::Result<Option<String>, &str> {
    if format.contains('%') || !format.contains(|letter: char| letter.is_ascii_alphabetic()) {
        return Ok(None);
    }
    let mut translated = String::with_capacity(format.len() + 8);
    let mut rest = format;
    while let Some(next) = rest.chars().next() {
        let found = TEMPLATES.iter().find_map(|(template, own)| Some((rest.strip_prefix(template)?, *own)));
        if let Some((after, own)) = found {
            translated.push_str(own);
            rest = after;
        } else if let Some((quoted, after)) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
            translated.push_str(quoted);
            rest = after;
        } else if next.is_ascii_alphabetic() {
            let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(rest.len());
            return Err(&rest[..end]);
        } else {
            translated.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    Ok(Some(translated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_postgresql_become_the_engines() {
        for (format, expected) in [
            ("YYYY-MM", "%Y-%m"),
            ("YYYY年MM月DD日", "%Y年%m月%d日"),
            ("HH24:MI:SS.MS", "%H:%M:%S.%3f"),
            ("IYYY-\"W\"IW", "%G-W%V"),
            ("Dy, DD Mon YYYY HH12:MI AM", "%a, %d %b %Y %I:%M %p"),
        ] {
            assert_eq!(translate(format), Ok(Some(expected.to_owned())), "{format}");
        }
        for own in ["%Y-%m", "", "--"] {
            assert_eq!(translate(own), Ok(None), "{own}");
        }
        for (format, unknown) in [("YYYY-Q", "Q"), ("FMMonth", "FMMonth"), ("YYYY MONTH", "MONTH"), ("today", "today")]
        {
            assert_eq!(translate(format), Err(unknown), "{format}");
        }
    }
}
