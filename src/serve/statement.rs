//! What a statement asks for: text → statements, each with what is to be done.
//!
//! | statement | here |
//! |---|---|
//! | `SELECT`, `WITH`, `VALUES`, `EXPLAIN`, `DESCRIBE`, `SHOW TABLES` … | planned and run |
//! | `SET`, `RESET`, `SHOW name` | settings of the connection |
//! | `BEGIN`, `COMMIT`, `ROLLBACK`, savepoints | one snapshot of the lake from begin to end |
//! | `DECLARE`, `FETCH`, `CLOSE` | cursors |
//! | `DEALLOCATE`, `DISCARD`, `UNLISTEN` | what drivers send to clean up |
//! | anything else | refused |
//!
//! Invariant: pure. Nothing that writes, or reads or writes a file, gets past [`parse`]; the plan is checked again.

use datafusion::sql::sqlparser::ast::{
    CloseCursor, ContextModifier, DeclareType, DiscardObject, Expr, FetchDirection, Query, Reset, Set, SetExpr,
    Statement, Value, ValueWithSpan,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::depth;
use super::failure::{Failure, code};
use super::rewrite::Rewriter;
use super::settings::Scope;

/// One statement.
#[derive(Debug, Clone)]
pub(super) struct Parsed {
    pub(super) action: Action,
    /// What `SELECT 5` at the end calls it.
    pub(super) tag: &'static str,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Plan and run it.
    Query(Statement),
    Set(Vec<(String, String)>, Scope),
    Reset(Option<String>),
    /// One setting, or all.
    Show(Option<String>),
    Begin,
    Commit,
    Rollback,
    /// Inside a transaction; nothing to do, since nothing is written.
    Savepoint,
    Declare {
        cursor: String,
        query: Statement,
        is_binary: bool,
        is_held: bool,
    },
    /// So many rows, or all.
    Fetch {
        cursor: String,
        rows: Option<usize>,
    },
    /// One cursor, or all.
    Close(Option<String>),
    /// One prepared statement, or all.
    Deallocate(Option<String>),
    DiscardAll,
    Nothing,
}

/// Reads statements as PostgreSQL's clients write them.
#[derive(Debug, Default)]
pub(super) struct Reader {
    rewriter: Rewriter,
}

impl Reader {
    /// The statements of a text, none of an empty one.
    pub(super) fn parse(&self, sql: &str) -> Result<Vec<Parsed>, Failure> {
        depth::check_text(sql)?;
        let statements = match Parser::parse_sql(&PostgreSqlDialect {}, sql) {
            Ok(own) => {
                // Rewriting takes its time with what nests, too.
                own.iter().try_for_each(depth::check)?;
                self.rewriter.taken(own, sql)?
            }
            Err(error) => {
                let known = self.rewriter.known(sql).ok_or_else(|| Failure::syntax(sql, &error.to_string()))?;
                known.iter().try_for_each(depth::check)?;
                known
            }
        };
        statements.into_iter().map(read).collect()
    }

    /// The same query with names for the columns without one of queries within, where it has any and is no tool's.
    pub(super) fn named(&self, statement: &Statement) -> Option<Statement> {
        self.rewriter.named(statement)
    }

    /// The same query in the form the engine knows, for one that it does not take as it is.
    pub(super) fn rewritten(&self, statement: &Statement) -> Statement {
        self.rewriter.rewritten(statement)
    }
}

fn read(statement: Statement) -> Result<Parsed, Failure> {
    let (action, tag) = match statement {
        Statement::Query(query) => (Action::Query(only_reads(query)?), "SELECT"),
        Statement::Explain {
            statement: of,
            describe_alias,
            analyze,
            verbose,
            query_plan,
            estimate,
            format,
            options,
        } => {
            let Statement::Query(query) = *of else { return Err(Failure::read_only(&verb(&of))) };
            let statement = Box::new(only_reads(query)?);
            let explain = Statement::Explain {
                statement,
                describe_alias,
                analyze,
                verbose,
                query_plan,
                estimate,
                format,
                options,
            };
            (Action::Query(explain), "EXPLAIN")
        }
        Statement::ExplainTable { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowColumns { .. }
        | Statement::ShowFunctions { .. } => (Action::Query(statement), "SHOW"),
        Statement::ShowVariable { variable } => {
            let words: Vec<String> = variable.into_iter().map(|word| word.value).collect();
            (Action::Show(setting_name(&words)), "SHOW")
        }
        Statement::Set(set) => return read_set(set),
        Statement::Reset(reset) => match reset.reset {
            Reset::ALL => (Action::Reset(None), "RESET"),
            Reset::ConfigurationParameter(name) => (Action::Reset(Some(plain(&name.to_string()))), "RESET"),
        },
        Statement::StartTransaction { .. } => (Action::Begin, "BEGIN"),
        Statement::Commit { .. } => (Action::Commit, "COMMIT"),
        Statement::Rollback { savepoint: None, .. } => (Action::Rollback, "ROLLBACK"),
        Statement::Rollback { savepoint: Some(_), .. } => (Action::Savepoint, "ROLLBACK"),
        Statement::Savepoint { .. } => (Action::Savepoint, "SAVEPOINT"),
        Statement::ReleaseSavepoint { .. } => (Action::Savepoint, "RELEASE"),
        Statement::Declare { stmts } => return read_declare(stmts),
        Statement::Fetch { name, direction, into: None, .. } => {
            (Action::Fetch { cursor: name.value, rows: rows_of(&direction)? }, "FETCH")
        }
        Statement::Close { cursor: CloseCursor::All } => (Action::Close(None), "CLOSE CURSOR ALL"),
        Statement::Close { cursor: CloseCursor::Specific { name } } => {
            (Action::Close(Some(name.value)), "CLOSE CURSOR")
        }
        Statement::Deallocate { name, .. } if name.value.eq_ignore_ascii_case("all") => {
            (Action::Deallocate(None), "DEALLOCATE ALL")
        }
        Statement::Deallocate { name, .. } => (Action::Deallocate(Some(name.value)), "DEALLOCATE"),
        Statement::Discard { object_type: DiscardObject::ALL } => (Action::DiscardAll, "DISCARD ALL"),
        Statement::Discard { .. } => (Action::Nothing, "DISCARD"),
        Statement::UNLISTEN { .. } => (Action::Nothing, "UNLISTEN"),
        other => return Err(Failure::read_only(&verb(&other))),
    };
    Ok(Parsed { action, tag })
}

/// A query that holds nothing that writes: `WITH x AS (DELETE …)`, `SELECT … INTO`.
fn only_reads(query: Box<Query>) -> Result<Statement, Failure> {
    fn check(query: &Query) -> Result<(), Failure> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            check(&table.query)?;
        }
        body(&query.body)
    }
    fn body(expression: &SetExpr) -> Result<(), Failure> {
        match expression {
            SetExpr::Insert(statement) | SetExpr::Update(statement) => Err(Failure::read_only(&verb(statement))),
            SetExpr::Delete(statement) | SetExpr::Merge(statement) => Err(Failure::read_only(&verb(statement))),
            SetExpr::Select(select) if select.into.is_some() => Err(Failure::read_only("SELECT INTO")),
            SetExpr::Query(query) => check(query),
            SetExpr::SetOperation { left, right, .. } => body(left).and_then(|()| body(right)),
            _ => Ok(()),
        }
    }
    check(&query)?;
    Ok(Statement::Query(query))
}

fn read_set(set: Set) -> Result<Parsed, Failure> {
    let scope = |modifier: Option<ContextModifier>| match modifier {
        Some(ContextModifier::Local) => Scope::Transaction,
        _ => Scope::Session,
    };
    let action = match set {
        Set::SingleAssignment { scope: modifier, variable, values, .. } => {
            let name = plain(&variable.to_string());
            match values.as_slice() {
                [Expr::Identifier(word)] if word.value.eq_ignore_ascii_case("default") => {
                    Action::Reset(Some(name.to_ascii_lowercase()))
                }
                values => {
                    let values: Vec<String> = values.iter().map(|value| plain(&value.to_string())).collect();
                    Action::Set(vec![(name, values.join(", "))], scope(modifier))
                }
            }
        }
        Set::SetTimeZone { local, value } => {
            let scope = if local { Scope::Transaction } else { Scope::Session };
            Action::Set(vec![("timezone".to_owned(), plain(&value.to_string()))], scope)
        }
        Set::SetNames { charset_name, .. } => {
            Action::Set(vec![("client_encoding".to_owned(), charset_name.value)], Scope::Session)
        }
        Set::SetNamesDefault {} => Action::Reset(Some("client_encoding".to_owned())),
        // Isolation levels and READ ONLY: a transaction sees one snapshot and writes nothing, whatever is asked.
        Set::SetTransaction { .. } => Action::Nothing,
        Set::SetRole { .. } | Set::SetSessionAuthorization(_) => {
            return Err(Failure::new(code::FORBIDDEN, "there are no roles here: who logs in may read the lake"));
        }
        other => return Err(Failure::new(code::NOT_SUPPORTED, format!("not supported: {other}"))),
    };
    let tag = if matches!(action, Action::Reset(_)) { "RESET" } else { "SET" };
    Ok(Parsed { action, tag })
}

fn read_declare(mut declared: Vec<datafusion::sql::sqlparser::ast::Declare>) -> Result<Parsed, Failure> {
    let not_supported = |what: &str| Err(Failure::new(code::NOT_SUPPORTED, format!("not supported: {what}")));
    let (Some(declare), true) = (declared.pop(), declared.is_empty()) else {
        return not_supported("DECLARE of several");
    };
    let (Some(DeclareType::Cursor), [name], Some(query)) =
        (&declare.declare_type, &declare.names[..], declare.for_query)
    else {
        return not_supported("DECLARE of anything but a cursor for a query");
    };
    if declare.scroll == Some(true) {
        return not_supported("SCROLL: cursors go forward only");
    }
    let (is_binary, is_held) = (declare.binary == Some(true), declare.hold == Some(true));
    let action = Action::Declare { cursor: name.value.clone(), query: only_reads(query)?, is_binary, is_held };
    Ok(Parsed { action, tag: "DECLARE CURSOR" })
}

fn rows_of(direction: &FetchDirection) -> Result<Option<usize>, Failure> {
    let number = |limit: &ValueWithSpan| match &limit.value {
        Value::Number(digits, _) => digits.parse().ok(),
        _ => None,
    };
    let rows = match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => Some(1),
        FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => match number(limit) {
            Some(rows) => Some(rows),
            None => return Err(Failure::new(code::SYNTAX, "FETCH wants a number of rows")),
        },
        FetchDirection::All | FetchDirection::ForwardAll => None,
        _ => return Err(Failure::new(code::NOT_SUPPORTED, "cursors go forward only")),
    };
    Ok(rows)
}

/// The setting that `SHOW` words name; `None`: all.
fn setting_name(words: &[String]) -> Option<String> {
    let words: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["all"] => None,
        ["time", "zone"] => Some("timezone".to_owned()),
        ["transaction", "isolation", "level"] => Some("transaction_isolation".to_owned()),
        ["session", "authorization"] => Some("session_authorization".to_owned()),
        words => Some(words.join(".")),
    }
}

/// A value without its quotes.
pub(super) fn plain(text: &str) -> String {
    let unquoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    match unquoted('\'') {
        Some(inner) => inner.replace("''", "'"),
        None => unquoted('"').unwrap_or(text).replace("\"\"", "\""),
    }
}

/// The word a statement begins with: it is what the client hears of it.
fn verb(statement: &Statement) -> String {
    let text = statement.to_string();
    let words: Vec<&str> = text.split([' ', '(', '\n']).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [first @ ("CREATE" | "DROP" | "ALTER"), second, ..] => format!("{first} {second}"),
        [first, ..] => (*first).to_owned(),
        [] => "this".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(sql: &str) -> Result<Vec<Parsed>, Failure> {
        Reader::default().parse(sql)
    }

    #[test]
    fn queries_are_run_and_whatever_writes_or_touches_files_is_refused() {
        for sql in [
            "select 1",
            "with x as (select 1) select * from x",
            "values (1)",
            "explain analyze select 1",
            "describe offers",
            "show tables",
            "select 1 union all (select 2)",
        ] {
            let parsed = parse(sql).unwrap();
            assert!(matches!(parsed[0].action, Action::Query(_)), "{sql}: {parsed:?}");
        }
        for sql in [
            "create table x (a int)",
            "create table x as select 1",
            "create view x as select 1",
            "create external table x stored as csv location '/etc/passwd'",
            "insert into offers values (1)",
            "update offers set price = 1",
            "delete from offers",
            "drop table offers",
            "truncate offers",
            "copy (select 1) to '/tmp/x'",
            "copy offers to stdout",
            "copy offers from '/etc/passwd'",
            "explain create table x as select 1",
            "explain insert into offers values (1)",
            "with x as (delete from offers returning *) select * from x",
            "select 1 into x",
            "prepare x as select 1",
            "lock table offers",
            "vacuum",
            "call x()",
            "grant select on offers to x",
            "load 'x'",
            "listen x",
        ] {
            let failure = parse(sql).expect_err(sql);
            assert!([code::READ_ONLY, code::SYNTAX].contains(&failure.code), "{sql}: {failure:?}");
        }
    }

    #[test]
    fn what_drivers_send_around_queries_is_known() {
        let action =
            |sql: &str| format!("{:?}", parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"))[0].action);
        for (sql, expected) in [
            ("SET client_encoding TO 'UTF8'", r#"Set([("client_encoding", "UTF8")], Session)"#),
            ("SET DateStyle = ISO, MDY", r#"Set([("DateStyle", "ISO, MDY")], Session)"#),
            ("SET LOCAL statement_timeout = '5s'", r#"Set([("statement_timeout", "5s")], Transaction)"#),
            ("SET TIME ZONE 'Asia/Shanghai'", r#"Set([("timezone", "Asia/Shanghai")], Session)"#),
            ("SET timezone TO DEFAULT", r#"Reset(Some("timezone"))"#),
            ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "Nothing"),
            ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "Nothing"),
            ("SHOW TRANSACTION ISOLATION LEVEL", r#"Show(Some("transaction_isolation"))"#),
            ("SHOW ALL", "Show(None)"),
            ("show datafusion.execution.batch_size", r#"Show(Some("datafusion.execution.batch_size"))"#),
            ("BEGIN READ ONLY", "Begin"),
            ("START TRANSACTION ISOLATION LEVEL REPEATABLE READ", "Begin"),
            ("END", "Commit"),
            ("ABORT", "Rollback"),
            ("ROLLBACK TO SAVEPOINT x", "Savepoint"),
            ("FETCH FORWARD 100 FROM \"c\"", r#"Fetch { cursor: "c", rows: Some(100) }"#),
            ("FETCH ALL FROM c", r#"Fetch { cursor: "c", rows: None }"#),
            ("CLOSE ALL", "Close(None)"),
            ("DEALLOCATE ALL", "Deallocate(None)"),
            ("DEALLOCATE \"x\"", r#"Deallocate(Some("x"))"#),
            ("DISCARD ALL", "DiscardAll"),
            ("RESET ALL", "Reset(None)"),
            ("UNLISTEN *", "Nothing"),
        ] {
            assert_eq!(action(sql), expected, "{sql}");
        }
        let declared = parse("DECLARE \"c\" BINARY CURSOR WITH HOLD FOR select 1").unwrap().remove(0).action;
        assert!(matches!(declared, Action::Declare { cursor, is_binary: true, is_held: true, .. } if cursor == "c"));
    }

    #[test]
    fn several_statements_and_none_are_read() {
        assert_eq!(parse("select 1; select 2;").unwrap().len(), 2);
        assert_eq!(parse(" ; ").unwrap().len(), 0);
        assert_eq!(parse("-- nothing").unwrap().len(), 0);
        let failure = parse("selec 1").unwrap_err();
        assert_eq!((failure.code, failure.position), (code::SYNTAX, Some(1)));
    }
}
