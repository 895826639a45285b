//! Queries in the form that the engine knows: of PostgreSQL's catalog, which tools ask in PostgreSQL's own words.
//!
//! Invariant: pure. A query that reads anything but the catalog keeps its meaning: the library that rewrites gives up on queries
//! within a list of columns and puts nulls in their place, which only the catalog can bear.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, SelectItem, SetExpr, Statement, TableFactor, Value,
    ValueWithSpan, Visit as _, Visitor, visit_expressions, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;

use super::dialect;
use super::failure::Failure;
use super::statement::plain;
use crate::query::{headings, names, views};

/// Rewrites.
#[derive(Debug, Default)]
pub(super) struct Rewriter {
    compatible: PostgresCompatibilityParser,
}

impl Rewriter {
    /// The statements of a text as they are to be taken.
    ///
    /// # Errors
    /// A form that the engine has no counterpart of.
    pub(super) fn taken(&self, own: Vec<Statement>, sql: &str) -> Result<Vec<Statement>, Failure> {
        let taken = |statement: Statement| match is_users(&statement) {
            true => dialect::read(statement),
            false => Ok(self.compatibly(statement)),
        };
        match own.as_slice() {
            [only] if !is_users(only) => {
                let read = dialect::read(only.clone())?;
                match about(only) {
                    // Some of what tools ask of `information_schema` the library knows by its whole text only.
                    About::Nothing if reads_standard(only) && sql.contains("generate_series") => {
                        Ok(self.known(sql).unwrap_or(own))
                    }
                    About::Nothing if is_users(&read) => Ok(vec![read]),
                    About::Nothing if read != *only => Ok(vec![self.compatibly(read)]),
                    // What tools ask is known to the library as whole texts, too.
                    _ => Ok(self.known(sql).unwrap_or(own)),
                }
            }
            _ => own.into_iter().map(taken).collect(),
        }
    }

    /// The statements of a text that is no SQL by itself.
    pub(super) fn known(&self, sql: &str) -> Option<Vec<Statement>> {
        let known = self.compatible.parse(sql).ok()?;
        Some(known.into_iter().map(with_catalog_first).collect())
    }

    /// The same query in the form the engine knows, for one that it does not take as it is.
    pub(super) fn rewritten(&self, statement: &Statement) -> Statement {
        let mut statement = statement.clone();
        names::tell_apart(&mut statement);
        if is_users(&statement) && has_subquery(&statement) {
            return statement;
        }
        if about(&statement) == About::Catalog {
            without_what_lacks(&mut statement);
        }
        self.compatibly(statement)
    }

    /// The same query with names for the columns without one of queries within, where it has any and is no tool's.
    pub(super) fn named(&self, statement: &Statement) -> Option<Statement> {
        let mut named = statement.clone();
        (about(statement) != About::Catalog && headings::name_within(&mut named)).then_some(named)
    }

    fn compatibly(&self, statement: Statement) -> Statement {
        with_catalog_first(self.compatible.rewrite(statement))
    }
}

/// Whether a query is somebody's own question.
fn is_users(statement: &Statement) -> bool {
    match about(statement) {
        About::Tables => true,
        About::Nothing => has_subquery(statement),
        About::Catalog => false,
    }
}

/// `'pg_class'::regclass` is a table of the catalog, which PostgreSQL searches first: the library looks in `public` alone for
/// names that `parse_ident` finds no schema in.
fn with_catalog_first(mut statement: Statement) -> Statement {
    let _ = visit_expressions_mut(&mut statement, |expression| {
        if let Expr::Function(function) = expression
            && function.name.to_string() == "parse_ident"
            && let FunctionArguments::List(list) = &mut function.args
            && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Cast { expr, .. }))] = list.args.as_mut_slice()
            && let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(name), .. }) = expr.as_mut()
            && name.starts_with("pg_")
            && !name.contains('.')
        {
            *name = format!("pg_catalog.{name}");
        }
        ControlFlow::<()>::Continue(())
    });
    statement
}

/// Columns of the catalog that list what there is not: options of storage, privileges that were granted.
const LISTS_OF_NOTHING: [&str; 7] = ["reloptions", "relacl", "nspacl", "datacl", "spcacl", "proacl", "typacl"];

/// Columns of the catalog that number the columns of keys and indexes, of which there are none.
const KEYS: [&str; 6] = ["conkey", "confkey", "indkey", "indclass", "indcollation", "indoption"];

/// Takes out of a query of the catalog what has no counterpart here: such columns, `array(select …)`, which psql asks for
/// options and memberships, and the unfolding of keys. What remains is what the engine plans.
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
            // It gives one value: the engine wants to know.
            Expr::Subquery(query) => {
                with_one_value(query);
                false
            }
            // The table of the catalog that a row stands in: psql's `\dd` asks it of what is never described.
            Expr::CompoundIdentifier(names) if names.last().is_some_and(|name| name.value == "tableoid") => {
                *expression = no_number.clone();
                false
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

fn with_one_value(query: &mut Query) {
    if let SetExpr::Select(select) = query.body.as_mut()
        && let [SelectItem::UnnamedExpr(value)] = select.projection.as_mut_slice()
        && !matches!(value, Expr::Function(_))
        && let Some(one) = expression(&format!("first_value({value})"))
    {
        *value = one;
    }
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

fn reads_standard(statement: &Statement) -> bool {
    let mut relations = Relations::default();
    let _ = statement.visit(&mut relations);
    relations.has_standard
}

/// Ends at the first table that is none of the catalog.
#[derive(Default)]
struct Relations {
    /// What queries define for themselves: `WITH x AS …`.
    defined: BTreeSet<String>,
    has_catalogs: bool,
    /// `information_schema`.
    has_standard: bool,
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
        self.has_standard |= is_standard;
        self.has_catalogs |= is_catalogs && args.is_none() && !is_standard && !self.defined.contains(&names.concat());
        if is_catalogs { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

fn has_subquery(statement: &Statement) -> bool {
    let is_one = |expression: &Expr| match expression {
        Expr::Subquery(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    visit_expressions(statement, is_one).is_break()
}

#[cfg(test)]
mod tests {
    use super::super::statement::{Action, Reader};
    use super::*;

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
        for own in [own, query("select array(select 1)")] {
            let kept = reader.rewritten(&own).to_string();
            assert!(kept.contains("array_agg(") && !kept.contains("NULL"), "{kept}");
        }
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
        // What stands beside it in a text changes nothing.
        let beside = reader.parse(&format!("set application_name = 'x'; select * from pg_class; {nested}")).unwrap();
        assert!(
            matches!(&beside[2].action, Action::Query(statement) if statement.to_string().contains("SELECT x FROM unknown"))
        );
        // What drivers send for a list of values has another form here.
        let list = query("select (select 1), 1 from offers where pipeline = any('{a,b}')").to_string();
        assert!(list.contains("IN ('a', 'b')"), "{list}");
        let class = query("select description from pg_description where classoid = 'pg_class'::regclass").to_string();
        assert!(class.contains("parse_ident('pg_catalog.pg_class'::TEXT)"), "{class}");
        // As psql's `\d+` asks.
        let options = "SELECT c.relchecks, pg_catalog.array_to_string(c.reloptions || array(select 'toast.' || x from \
                       pg_catalog.unnest(tc.reloptions) x), ', '), c.reloftype::pg_catalog.regtype::pg_catalog.text \
                       FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_class tc ON (c.reltoastrelid = tc.oid)";
        let options = reader.rewritten(&query(options)).to_string();
        let emptied = "array_to_string(string_to_array('', ',') || string_to_array('', ','), ', ') AS";
        assert!(options.contains(emptied), "{options}");
    }
}
