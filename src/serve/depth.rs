//! How deep a query may nest: what is deeper would be parsed or planned for ever, or need a stack without end.
//!
//! | what nests | grows |
//! |---|---|
//! | operators one after the other | the stack |
//! | functions within functions | twice the parser's time for each more |
//! | queries within expressions | twice the planner's time for each more |
//!
//! Invariant: pure, and quick for any text.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Statement, Visit as _, Visitor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::failure::{Failure, code};

/// Letters of a query that can nest: more of them than this would need a stack without end.
const NESTING_MAX: usize = 3_000;

/// What nests is parsed, planned and dropped level by level.
pub(super) fn check_text(sql: &str) -> Result<(), Failure> {
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
pub(super) fn check(statement: &Statement) -> Result<(), Failure> {
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

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn checked(sql: &str) -> Result<(), Failure> {
        check_text(sql)?;
        Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().iter().try_for_each(check)
    }

    #[test]
    fn a_query_is_refused_from_the_limit_on_and_a_long_list_is_not() {
        let list = (0..50_000).map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
        checked(&format!("select * from offers where offer_id in ({list})")).unwrap();
        let nested = |open: &str, inner: &str, close: &str, times: usize| {
            format!("select {}{inner}{}", open.repeat(times), close.repeat(times))
        };
        for (open, inner, close, most) in [
            ("", "1", "+1", NESTING_MAX),
            ("f(", "1", ")", FUNCTIONS_DEEP_MAX),
            ("(select ", "1", ")", SUBQUERIES_DEEP_MAX),
            ("", "1", "::int", EXPRESSIONS_DEEP_MAX - 1),
        ] {
            let (fits, is_more) = (nested(open, inner, close, most), nested(open, inner, close, most + 2));
            checked(&fits).unwrap_or_else(|failure| panic!("{open}{close}: {failure:?}"));
            assert_eq!(checked(&is_more).unwrap_err().code, code::STATEMENT_TOO_COMPLEX, "{open}{close}");
        }
        // Neither a list nor a subquery of FROM is a call.
        checked(&nested("1 in (", "2", ")", 20)).unwrap();
        checked(&format!("select * from {}offers{}", "(select * from ".repeat(20), ") x".repeat(20))).unwrap();
    }
}
