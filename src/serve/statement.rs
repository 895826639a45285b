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

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CloseCursor, ContextModifier, DeclareType, DiscardObject, Expr, FetchDirection, FunctionArguments, Ident, Query,
    Reset, SelectItem, Set, SetExpr, Statement, TableFactor, Value, ValueWithSpan, Visit as _, Visitor,
    visit_expressions, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;

use super::failure::{Failure, code};
use super::settings::Scope;
use crate::query::views;

/// Letters of a query that can nest: more of them than this would need a stack without end.
const NESTING_MAX: usize = 3_000;

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
    compatible: PostgresCompatibilityParser,
}

impl Reader {
    /// The statements of a text, none of an empty one.
    pub(super) fn parse(&self, sql: &str) -> Result<Vec<Parsed>, Failure> {
        check_nesting(sql)?;
        // Queries of the catalog are rewritten into what the engine knows; what users ask of their tables is taken as it is.
        let own = Parser::parse_sql(&PostgreSqlDialect {}, sql);
        // Rewriting takes its time with what nests, too.
        own.iter().flatten().try_for_each(check_depth)?;
        let parsed = match own {
            Ok(own) if own.iter().all(|statement| about(statement) == About::Tables) => {
                Ok(own.into_iter().map(|statement| self.with_lists(statement)).collect())
            }
            Ok(own) if own.iter().any(|statement| about(statement) == About::Nothing && has_subquery(statement)) => {
                Ok(own)
            }
            Ok(own) => {
                let mut statements = self.compatible.parse(sql).unwrap_or(own);
                statements.iter_mut().for_each(with_one_value_of_queries);
                Ok(statements)
            }
            Err(error) => self.compatible.parse(sql).map_err(|_| error),
        };
        let statements = parsed.map_err(|error| Failure::syntax(sql, &error.to_string()))?;
        statements.iter().try_for_each(check_depth)?;
        statements.into_iter().map(read).collect()
    }

    /// `x = any('{a,b}')` in the form the engine knows.
    fn with_lists(&self, statement: Statement) -> Statement {
        let has_list = visit_expressions(&statement, |expression| match expression {
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } if is_text(right) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        if has_list.is_break() && !has_subquery(&statement) { self.compatible.rewrite(statement) } else { statement }
    }

    /// The same query in the form the engine knows, for one that it does not take as it is. Queries within queries to tables
    /// stay: the library that rewrites gives up on those in a list of columns, which only the catalog can bear.
    pub(super) fn rewritten(&self, statement: &Statement) -> Statement {
        let mut statement = statement.clone();
        with_names(&mut statement);
        match about(&statement) {
            About::Tables if has_subquery(&statement) => return statement,
            About::Tables | About::Nothing => {}
            About::Catalog => without_what_lacks(&mut statement),
        }
        self.compatible.rewrite(statement)
    }
}

/// Names columns that have none by what they are: two of them may not be called the same (`null::int`, `null::text`).
fn with_names(statement: &mut Statement) {
    let Statement::Query(query) = statement else { return };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let mut names = BTreeSet::new();
    for (place, item) in select.projection.iter_mut().enumerate() {
        if let SelectItem::UnnamedExpr(value) = item
            && !matches!(value, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
        {
            let mut name = value.to_string();
            if !names.insert(name.clone()) {
                name = format!("{name} {}", place + 1);
            }
            *item = SelectItem::ExprWithAlias { expr: value.clone(), alias: Ident::with_quote('"', name) };
        }
    }
}

/// Columns of the catalog that list what there is not: options of storage, privileges that were granted.
const LISTS_OF_NOTHING: [&str; 6] = ["reloptions", "relacl", "nspacl", "datacl", "spcacl", "proacl"];

/// Columns of the catalog that number the columns of keys and indexes, of which there are none.
const KEYS: [&str; 6] = ["conkey", "confkey", "indkey", "indclass", "indcollation", "indoption"];

/// Takes out of a query of the catalog what has no counterpart here: such columns, `array(select …)`, which psql asks for
/// options and memberships, and the unfolding of keys.
fn without_what_lacks(statement: &mut Statement) {
    let (Some(none), Some(no_number)) = (expression("string_to_array('', ',')"), expression("null::int")) else {
        return;
    };
    let is_list = |name: &str| LISTS_OF_NOTHING.iter().any(|list| name.eq_ignore_ascii_case(list));
    let _ = visit_expressions_mut(statement, |expression| {
        let lacks = match expression {
            Expr::Function(function) => {
                let name = function.name.to_string().to_ascii_lowercase();
                let unfolds = matches!(name.rsplit('.').next(), Some("unnest" | "generate_subscripts"));
                let arguments = function.args.to_string();
                if unfolds && KEYS.iter().any(|key| arguments.contains(key)) {
                    *expression = no_number.clone();
                    return ControlFlow::Continue(());
                }
                matches!(function.args, FunctionArguments::Subquery(_)) && name == "array"
            }
            Expr::CompoundIdentifier(names) => names.last().is_some_and(|name| is_list(&name.value)),
            _ => false,
        };
        if lacks {
            *expression = none.clone();
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Says of queries within a query of the catalog that they give one value: the engine wants to know.
fn with_one_value_of_queries(statement: &mut Statement) {
    if about(statement) != About::Catalog {
        return;
    }
    let _ = visit_expressions_mut(statement, |found| {
        if let Expr::Subquery(query) = found
            && let SetExpr::Select(select) = query.body.as_mut()
            && let [SelectItem::UnnamedExpr(value)] = select.projection.as_mut_slice()
            && !matches!(value, Expr::Function(_))
            && let Some(one) = expression(&format!("first_value({value})"))
        {
            *value = one;
        }
        ControlFlow::<()>::Continue(())
    });
}

fn expression(sql: &str) -> Option<Expr> {
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql);
    parser.and_then(|mut parser| parser.parse_expr()).ok()
}

/// What a statement reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// Something that is none of PostgreSQL's catalog, whatever else.
    Tables,
    /// PostgreSQL's catalog alone.
    Catalog,
    Nothing,
}

fn about(statement: &Statement) -> About {
    let mut relations = Relations::default();
    match statement.visit(&mut relations) {
        ControlFlow::Break(()) => About::Tables,
        ControlFlow::Continue(()) if relations.has_catalogs => About::Catalog,
        ControlFlow::Continue(()) => About::Nothing,
    }
}

/// Ends at the first table that is none of the catalog.
#[derive(Default)]
struct Relations {
    /// What queries define for themselves: `WITH x AS …`.
    defined: BTreeSet<String>,
    has_catalogs: bool,
}

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.defined.extend(tables.map(|table| table.alias.name.value.to_ascii_lowercase()));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, args, .. } = factor else { return ControlFlow::Continue(()) };
        let names: Vec<String> = name.0.iter().map(|part| plain(&part.to_string()).to_ascii_lowercase()).collect();
        let is_catalogs = match names.as_slice() {
            // `unnest(…)`, `generate_series(…)`: whoever asks the catalog uses them, too.
            [name] if args.is_some() => views::function(name).is_none(),
            [name] => name.starts_with("pg_") || self.defined.contains(name),
            [.., schema, _] => schema == "pg_catalog" || schema == "information_schema",
            [] => true,
        };
        let is_standard = names.len() > 1 && names[names.len() - 2] == "information_schema";
        self.has_catalogs |= is_catalogs && args.is_none() && !is_standard && !self.defined.contains(&names.concat());
        if is_catalogs { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

fn is_text(expression: &Expr) -> bool {
    matches!(expression, Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_), .. }))
}

fn has_subquery(statement: &Statement) -> bool {
    let is_one = |expression: &Expr| match expression {
        Expr::Subquery(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    visit_expressions(statement, is_one).is_break()
}

/// What nests is parsed, planned and dropped level by level.
fn check_nesting(sql: &str) -> Result<(), Failure> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize();
    let tokens = tokens.map_err(|error| Failure::syntax(sql, &error.to_string()))?;
    if functions_deep(&tokens) > FUNCTIONS_DEEP_MAX {
        return Err(too_deep());
    }
    if sql.len() <= NESTING_MAX {
        return Ok(());
    }
    let nests = |token: &&Token| match token {
        Token::Word(word) => {
            word.quote_style.is_none() && NESTING_WORDS.contains(&word.value.to_ascii_uppercase().as_str())
        }
        Token::Whitespace(_) | Token::Comma | Token::Number(..) | Token::SingleQuotedString(_) => false,
        Token::LParen | Token::RParen | Token::SemiColon | Token::Placeholder(_) => false,
        _ => true,
    };
    if tokens.iter().filter(nests).count() > NESTING_MAX {
        let message = format!("the query has more than {NESTING_MAX} operators");
        let hint = "compare with a list (`x in (…)`) rather than term by term";
        return Err(Failure::new(code::STATEMENT_TOO_COMPLEX, message).with_hint(hint));
    }
    Ok(())
}

/// Functions within functions: their parser takes twice as long for each more.
const FUNCTIONS_DEEP_MAX: usize = 12;
/// Queries within expressions: their planner takes twice as long for each more.
const SUBQUERIES_DEEP_MAX: usize = 8;
/// Casts, lists, negations and the like within each other.
const EXPRESSIONS_DEEP_MAX: usize = 100;

/// How deep calls nest: `f(g(x))` is 2. What only looks like one, as `in (`, may count.
fn functions_deep(tokens: &[Token]) -> usize {
    let (mut open, mut deep, mut most) = (Vec::new(), 0, 0);
    let mut follows_name = false;
    for token in tokens {
        match token {
            Token::Whitespace(_) => continue,
            Token::LParen => {
                open.push(follows_name);
                deep += usize::from(follows_name);
                most = most.max(deep);
            }
            Token::RParen => deep -= usize::from(open.pop().unwrap_or(false)),
            _ => {}
        }
        follows_name = matches!(token, Token::Word(word) if word.quote_style.is_some() || word.keyword == Keyword::NoKeyword
            || !NOT_CALLED.contains(&word.value.to_ascii_uppercase().as_str()));
    }
    most
}

/// Words before a parenthesis that call nothing.
const NOT_CALLED: [&str; 24] = [
    "ALL",
    "AND",
    "ANY",
    "AS",
    "BY",
    "CASE",
    "ELSE",
    "EXCEPT",
    "EXISTS",
    "FROM",
    "IN",
    "INTERSECT",
    "JOIN",
    "LATERAL",
    "NOT",
    "ON",
    "OR",
    "OVER",
    "SELECT",
    "THEN",
    "UNION",
    "USING",
    "WHEN",
    "WHERE",
];

fn too_deep() -> Failure {
    let message = format!(
        "the query nests functions more than {FUNCTIONS_DEEP_MAX} deep, queries within expressions {SUBQUERIES_DEEP_MAX}, or \
         others {EXPRESSIONS_DEEP_MAX}"
    );
    Failure::new(code::STATEMENT_TOO_COMPLEX, message).with_hint("compute in steps: `WITH a AS (…)`")
}

/// Refuses what would be planned for ever: neither a timeout nor its client ends that.
fn check_depth(statement: &Statement) -> Result<(), Failure> {
    #[derive(Default)]
    struct Depth {
        subqueries: usize,
        expressions: usize,
    }
    impl Depth {
        fn of(&mut self, expression: &Expr) -> Option<&mut usize> {
            match expression {
                Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => Some(&mut self.subqueries),
                Expr::BinaryOp { .. } | Expr::Nested(_) | Expr::Value(_) | Expr::Identifier(_) => None,
                _ => Some(&mut self.expressions),
            }
        }
    }
    impl Visitor for Depth {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            if let Some(depth) = self.of(expression) {
                *depth += 1;
            }
            let is_deep = self.subqueries > SUBQUERIES_DEEP_MAX || self.expressions > EXPRESSIONS_DEEP_MAX;
            if is_deep { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        fn post_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            if let Some(depth) = self.of(expression) {
                *depth -= 1;
            }
            ControlFlow::Continue(())
        }
    }
    match statement.visit(&mut Depth::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(too_deep()),
    }
}

/// Words that put one expression or query into another.
const NESTING_WORDS: [&str; 14] = [
    "AND",
    "OR",
    "NOT",
    "IS",
    "LIKE",
    "ILIKE",
    "BETWEEN",
    "IN",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "JOIN",
    "COLLATE",
    "CASE",
];

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
fn plain(text: &str) -> String {
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
    fn what_is_rewritten_for_the_catalog_leaves_questions_to_tables_as_they_are() {
        let reader = Reader::default();
        let query = |sql: &str| match reader.parse(sql).unwrap().pop().unwrap().action {
            Action::Query(statement) => statement,
            other => panic!("{other:?}"),
        };
        let nested = "select o.title, (select count(*) from price_tiers t where t.offer_id = o.offer_id), current_user, \
                      (select x from unknown y where y.z = o.pg_id) from offers o";
        assert!(query(nested).to_string().contains("SELECT x FROM unknown"));
        assert!(reader.rewritten(&query(nested)).to_string().contains("(SELECT x FROM unknown y WHERE y.z = o.pg_id)"));
        let own = query("with x as (select array(select title from offers) as t) select * from x");
        assert!(reader.rewritten(&own).to_string().to_lowercase().contains("array(select title"));
        let unchanged = reader.rewritten(&query("select array(select 1)"));
        assert!(unchanged.to_string().to_lowercase().contains("array(select"));
        let twice =
            reader.rewritten(&query("select null::int, null::text, count(*), count(*) from offers")).to_string();
        assert!(
            twice.contains(r#""NULL::INT", NULL::TEXT AS "NULL::TEXT""#) && twice.contains(r#""count(*) 4""#),
            "{twice}"
        );
        for (sql, expected) in [
            ("select * from price_at(500) p join pg_class c on true", About::Tables),
            (
                "with x as (select 1) select * from x, pg_class, information_schema.tables, unnest('{a}')",
                About::Catalog,
            ),
            ("select current_schema(), (select 1)", About::Nothing),
        ] {
            assert_eq!(about(&query(sql)), expected, "{sql}");
        }
        // What drivers send for a list of values has another form here.
        assert!(
            query("select 1 from offers where pipeline = any('{a,b}')").to_string().to_lowercase().contains("array")
        );
        // As psql's `\d+` asks.
        let options = "SELECT c.relchecks, pg_catalog.array_to_string(c.reloptions || array(select 'toast.' || x from \
                       pg_catalog.unnest(tc.reloptions) x), ', '), c.reloftype::pg_catalog.regtype::pg_catalog.text \
                       FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_class tc ON (c.reltoastrelid = tc.oid)";
        let options = reader.rewritten(&query(options)).to_string();
        let emptied = "array_to_string(string_to_array('', ',') || string_to_array('', ','), ', ') AS";
        assert!(options.contains(emptied), "{options}");
    }

    #[test]
    fn several_statements_and_none_are_read() {
        assert_eq!(parse("select 1; select 2;").unwrap().len(), 2);
        assert_eq!(parse(" ; ").unwrap().len(), 0);
        assert_eq!(parse("-- nothing").unwrap().len(), 0);
        let failure = parse("selec 1").unwrap_err();
        assert_eq!((failure.code, failure.position), (code::SYNTAX, Some(1)));
    }

    #[test]
    fn a_query_without_end_is_refused_and_a_long_list_is_not() {
        let failure = parse(&format!("select 1{}", "+1".repeat(NESTING_MAX + 1))).unwrap_err();
        assert_eq!(failure.code, code::STATEMENT_TOO_COMPLEX);
        let list = (0..50_000).map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
        assert!(parse(&format!("select * from offers where offer_id in ({list})")).is_ok());
    }
}
