//! What TAB gives: names that can stand where the cursor is.
//!
//! | before the cursor | names |
//! |---|---|
//! | a backslash command | commands, and what follows them |
//! | `from`, `join`, `,` after a table | tables, views, table functions |
//! | `alias.` | columns of that table |
//! | `latest.`, `before.`, `public.` | tables |
//! | anything else in a query | columns of the tables it names, aliases, functions, words of SQL |
//!
//! Invariant: nothing is offered inside a string or a comment.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::command::COMMANDS;
use super::lex::{Lexeme, lex};

/// Words of SQL that questions are made of.
const KEYWORDS: &[&str] = &[
    "all",
    "and",
    "as",
    "asc",
    "between",
    "by",
    "case",
    "cast",
    "cross",
    "current_date",
    "desc",
    "describe",
    "distinct",
    "else",
    "end",
    "except",
    "exists",
    "explain",
    "explain analyze",
    "false",
    "filter",
    "from",
    "full",
    "group by",
    "having",
    "in",
    "inner",
    "intersect",
    "interval",
    "is",
    "is not null",
    "is null",
    "join",
    "left join",
    "like",
    "limit",
    "not",
    "null",
    "nulls first",
    "nulls last",
    "offset",
    "on",
    "or",
    "order by",
    "over",
    "partition by",
    "select",
    "show tables",
    "similar to",
    "then",
    "true",
    "union",
    "union all",
    "using",
    "values",
    "when",
    "where",
    "with",
    "within",
];

/// Schemas that show other days than all.
const SCHEMAS: &[&str] = &["latest", "before", "public"];

/// The names a session knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// Tables and views.
    pub(super) tables: Vec<String>,
    pub(super) table_functions: Vec<String>,
    pub(super) functions: Vec<String>,
}

/// What can stand at `at`: where the word starts, and what can be put in its place. `columns` gives the columns of what stands after `from`.
pub(super) fn complete(
    text: &str,
    at: usize,
    names: &Names,
    columns: &dyn Fn(&str) -> Vec<String>,
) -> (usize, Vec<String>) {
    let before = &text[..at];
    if before.trim_start().starts_with('\\') {
        return of_command(before, names);
    }
    let word_start =
        before.len() - before.chars().rev().take_while(|letter| is_of_word(*letter)).map(char::len_utf8).sum::<usize>();
    let word = &before[word_start..];
    let lexed = lex(&before[..word_start]);
    let in_comment =
        lexed.lexemes.last().is_some_and(|last| last.is_comment() && !before[..word_start].ends_with(['\n', '/']));
    if lexed.stopped.is_some() || in_comment {
        return (word_start, Vec::new());
    }
    let since = lexed.lexemes.iter().rposition(|lexeme| lexeme.token == Token::SemiColon).map_or(0, |place| place + 1);
    let spoken: Vec<&Lexeme> = lexed.lexemes[since..].iter().filter(|lexeme| !lexeme.is_space()).collect();
    let statement_start = since.checked_sub(1).map_or(0, |place| lexed.lexemes[place].range.end);
    let relations = relations(&text[statement_start..]);
    let mut found = match place(&spoken) {
        Place::In(schema) if SCHEMAS.contains(&schema) => names.tables.clone(),
        Place::In(_) => Vec::new(),
        Place::After(owner) => {
            let named = relations.iter().find(|relation| relation.is_called(owner));
            named.map(|relation| columns(&relation.text)).unwrap_or_default()
        }
        Place::Table => {
            let schemas = SCHEMAS.iter().filter(|schema| **schema != "public").map(|schema| format!("{schema}."));
            let calls = names.table_functions.iter().map(|name| format!("{name}("));
            names.tables.iter().cloned().chain(calls).chain(schemas).collect()
        }
        Place::Expression => {
            // What is typed last may be taken for an alias itself.
            let aliases = relations.iter().filter_map(|relation| relation.alias.clone()).filter(|alias| alias != word);
            let functions = names.functions.iter().map(|name| format!("{name}("));
            let keywords = KEYWORDS.iter().map(|keyword| in_case_of(word, keyword));
            let columns = relations.iter().flat_map(|relation| columns(&relation.text));
            // There are hundreds of functions: they are offered once a letter is said.
            let functions = functions.filter(|_| !word.is_empty());
            columns.chain(aliases).chain(functions).chain(keywords).collect::<Vec<_>>()
        }
    };
    found.retain(|name| starts_with(name, word));
    (word_start, offers(found))
}

fn offers(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts.dedup();
    texts
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn starts_with(name: &str, word: &str) -> bool {
    name.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// `SEL` becomes `SELECT`.
fn in_case_of(word: &str, keyword: &str) -> String {
    let is_upper = word.chars().any(char::is_uppercase) && !word.chars().any(char::is_lowercase);
    if is_upper { keyword.to_uppercase() } else { keyword.to_owned() }
}

/// What is wanted at the cursor.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// What `schema.` has.
    In(&'a str),
    /// What `table.` has.
    After(&'a str),
    Table,
    Expression,
}

fn place<'a>(spoken: &[&'a Lexeme]) -> Place<'a> {
    if let [before @ .., owner, dot] = spoken
        && dot.token == Token::Period
        && let Some(owner) = owner.word()
    {
        return if wants_table(before) { Place::In(owner) } else { Place::After(owner) };
    }
    if wants_table(spoken) { Place::Table } else { Place::Expression }
}

fn wants_table(spoken: &[&Lexeme]) -> bool {
    let Some(last) = spoken.last() else { return false };
    let words = ["from", "join", "describe", "table"];
    words.iter().any(|word| last.is_word(word)) || (last.token == Token::Comma && is_in_from(spoken))
}

/// Whether the last clause of this depth is `from`.
fn is_in_from(spoken: &[&Lexeme]) -> bool {
    let mut depth = 0;
    for lexeme in spoken.iter().rev() {
        match lexeme.token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => return false,
            Token::LParen => depth -= 1,
            _ if depth > 0 => {}
            _ if lexeme.is_word("from") => return true,
            _ if ["select", "where", "by", "having", "on"].iter().any(|word| lexeme.is_word(word)) => return false,
            _ => {}
        }
    }
    false
}

/// What stands after `from` or `join`.
#[derive(Debug, PartialEq, Eq)]
struct Relation {
    /// As it is written, with its schema or arguments.
    text: String,
    /// Its last name.
    name: String,
    alias: Option<String>,
}

impl Relation {
    fn is_called(&self, name: &str) -> bool {
        self.alias.as_deref().unwrap_or(&self.name).eq_ignore_ascii_case(name)
    }
}

/// The relations of a statement, those of its subqueries too.
fn relations(text: &str) -> Vec<Relation> {
    let lexed = lex(text);
    let end = lexed.lexemes.iter().position(|lexeme| lexeme.token == Token::SemiColon).unwrap_or(lexed.lexemes.len());
    let spoken: Vec<&Lexeme> = lexed.lexemes[..end].iter().filter(|lexeme| !lexeme.is_space()).collect();
    let starts = (0..spoken.len()).filter(|&place| {
        let before = place.checked_sub(1).map(|before| spoken[before]);
        before.is_some_and(|before| {
            before.is_word("from")
                || before.is_word("join")
                || (before.token == Token::Comma && is_in_from(&spoken[..place]))
        })
    });
    starts.filter_map(|start| relation(text, &spoken[start..])).collect()
}

/// `name [. name]… [( … )] [[as] alias]`
fn relation(text: &str, spoken: &[&Lexeme]) -> Option<Relation> {
    let mut name = spoken.first()?.word()?;
    let mut last = 0;
    while let [dot, next, ..] = &spoken[last + 1..]
        && dot.token == Token::Period
        && let Some(word) = next.word()
    {
        (name, last) = (word, last + 2);
    }
    if spoken.get(last + 1).is_some_and(|next| next.token == Token::LParen) {
        last += closing(&spoken[last + 1..])? + 1;
    }
    let alias = match &spoken[last + 1..] {
        [r#as, alias, ..] if r#as.is_word("as") => alias.word(),
        [alias, ..] => alias.word().filter(|word| !ends_a_relation(word)),
        [] => None,
    };
    let range = spoken.first()?.range.start..spoken.get(last)?.range.end;
    Some(Relation { text: text[range].to_owned(), name: name.to_owned(), alias: alias.map(str::to_owned) })
}

/// The place of the parenthesis that closes the first.
fn closing(spoken: &[&Lexeme]) -> Option<usize> {
    let mut depth = 0;
    spoken.iter().position(|lexeme| {
        match lexeme.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}

fn ends_a_relation(word: &str) -> bool {
    let words = [
        "where",
        "join",
        "left",
        "right",
        "inner",
        "full",
        "cross",
        "natural",
        "on",
        "using",
        "group",
        "order",
        "having",
        "limit",
        "offset",
        "union",
        "except",
        "intersect",
        "window",
        "qualify",
        "fetch",
    ];
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Of a backslash command: its word, else what follows.
fn of_command(before: &str, names: &Names) -> (usize, Vec<String>) {
    let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let word = &before[start..];
    let found: Vec<String> = match before[..start].split_whitespace().next() {
        None => COMMANDS.iter().map(|(word, ..)| (*word).to_owned()).collect(),
        Some("\\d" | "\\d+") => names.tables.iter().chain(&names.table_functions).cloned().collect(),
        Some("\\df") => names.functions.iter().chain(&names.table_functions).cloned().collect(),
        Some("\\format") => crate::query::Format::NAMES.iter().map(|(name, _)| (*name).to_owned()).collect(),
        Some("\\labels") => vec!["names".to_owned(), "zh".to_owned()],
        Some("\\x" | "\\timing" | "\\pager") => vec!["on".to_owned(), "off".to_owned()],
        Some(_) => Vec::new(),
    };
    (start, offers(found.into_iter().filter(|name| starts_with(name, word)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(relation: &str) -> Vec<String> {
        let columns: &[&str] = match relation {
            "offers" | "latest.offers" => &["offer_id", "offer_count", "title"],
            "price_at(500, '2026-11-20')" => &["offer_id", "price_per_piece"],
            "shops" => &["shop_id"],
            _ => &[],
        };
        columns.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The offers at `|`.
    fn offered(text: &str) -> Vec<String> {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let names = Names {
            tables: strings(&["latest_offers", "offers", "shops"]),
            table_functions: strings(&["price_at", "price_history"]),
            functions: strings(&["abs", "octet_length"]),
        };
        let at = text.find('|').unwrap();
        let (start, offers) = complete(&text.replacen('|', "", 1), at, &names, &columns);
        assert!(text.is_char_boundary(start));
        offers
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(offered(text), expected, "{text}");
    }

    #[test]
    fn tables_stand_after_from() {
        check(
            "select * from |",
            &["before.", "latest.", "latest_offers", "offers", "price_at(", "price_history(", "shops"],
        );
        check("select * from of|", &["offers"]);
        check("select * from offers, s|", &["shops"]);
        check("select * from offers o join s|", &["shops"]);
        check("select * from latest.|", &["latest_offers", "offers", "shops"]);
        check("select 1; select * from PRICE_|", &["price_at(", "price_history("]);
        check("select (select count(*) from s|", &["shops"]);
    }

    #[test]
    fn columns_are_those_of_the_tables_that_are_named() {
        check("select offer_| from offers", &["offer_count", "offer_id"]);
        check("select * from offers where t|", &["then", "title", "true"]);
        check("select o.| from latest.offers as o", &["offer_count", "offer_id", "title"]);
        check("select p.| from price_at(500, '2026-11-20') p join shops on true", &["offer_id", "price_per_piece"]);
        check("select * from offers o, shops s where s.|", &["shop_id"]);
        check("select offers.t| from offers; select 1", &["title"]);
        check("select * from shops; select offer_| from shops", &[]);
        check("select offer_id from offers order by offer_i|", &["offer_id"]);
    }

    #[test]
    fn functions_and_words_of_sql_are_offered_in_the_case_they_are_typed_in() {
        check("select oct|", &["octet_length("]);
        check("SEL|", &["SELECT"]);
        check("sel|", &["select"]);
        check("select * from offers ord|", &["order by"]);
    }

    #[test]
    fn nothing_is_offered_in_strings_and_comments() {
        check("select 'of|", &[]);
        check("select \"of|", &[]);
        check("-- of|", &[]);
        check("/* of|", &[]);
        check("-- x\nsel|", &["select"]);
        check("/* x */sel|", &["select"]);
        check("select '马克杯' as 杯 from of|", &["offers"]);
    }

    #[test]
    fn commands_are_offered_with_what_follows_them() {
        check("\\fo|", &["\\format"]);
        check("\\format xl|", &["xlsx"]);
        check("\\d of|", &["offers"]);
        check("\\d price_h|", &["price_history"]);
        check("\\timing o|", &["off", "on"]);
    }
}
