//! Users' own views: `.sql` files in a folder, one query each, named as the file.
//!
//! A comment at the head of a file is what `\views` says of it, as for the views that are shipped.
//!
//! A file that cannot be a view is left out and told: a stray one must not keep the others, and the tables, from being asked.
//!
//! Invariant: no view hides a table, and none asks itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use super::views;
use crate::base::{Error, Result};
use crate::transform::contract::Table;

/// A view of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserView {
    /// Its name in SQL: the file's, without its ending.
    pub name: String,
    /// The query, with its comments.
    pub sql: String,
    /// The file, as it is named in messages.
    pub file: String,
}

/// A query that somebody calls a view is not longer.
const BYTES_MAX: u64 = 1 << 20;

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Found {
    /// The views, by name.
    pub views: Vec<UserView>,
    /// Why each other file is none: it cannot be read, is no single query, has a name that is taken or is no name, or asks
    /// itself.
    pub left_out: Vec<Error>,
}

impl Found {
    /// The views; files that are none are logged.
    #[must_use]
    pub fn views_or_warned(self) -> Vec<UserView> {
        for error in &self.left_out {
            tracing::warn!(hint = error.hint(), "left out of the views: {error}");
        }
        self.views
    }
}

/// The views in a folder; none if there is no such folder.
///
/// # Errors
/// [`Kind::Config`](crate::base::Kind::Config) for a folder that cannot be read.
pub fn load(folder: &Path) -> Result<Found> {
    let unreadable = |path: &Path, error| Error::config(format!("cannot read `{}`", path.display())).caused_by(error);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Found::default()),
        Err(error) => return Err(unreadable(folder, error)),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !is_hidden && path.extension().is_some_and(|ending| ending == "sql") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(name, path);
        }
    }
    let mut found = Found::default();
    let mut asked = BTreeMap::new();
    for (name, path) in files {
        match view(name, &path) {
            Ok((view, tables)) => {
                asked.insert(view.name.clone(), tables);
                found.views.push(view);
            }
            Err(error) => found.left_out.push(error),
        }
    }
    let in_circles: Vec<Error> = found.views.iter().filter_map(|view| circle(&asked, view)).collect();
    found.views.retain(|view| circle(&asked, view).is_none());
    found.left_out.extend(in_circles);
    Ok(found)
}

/// The view in a file, and the names that it reads from.
fn view(name: String, path: &Path) -> Result<(UserView, BTreeSet<String>)> {
    let file = path.display().to_string();
    check_name(&name, &file)?;
    let unreadable = |error| Error::config(format!("cannot read `{file}`")).caused_by(error);
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > BYTES_MAX {
        return Err(Error::config(format!("`{file}` is too large for a view: {size} bytes"))
            .with_hint("a view is one query of at most 1 MiB"));
    }
    let sql = std::fs::read_to_string(path).map_err(unreadable)?;
    let tables = tables_of(&sql, &file)?;
    Ok((UserView { name, sql, file }, tables))
}

fn check_name(name: &str, file: &str) -> Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if !starts_well || !name.bytes().all(is_plain) || name.len() > 63 {
        return Err(Error::config(format!("`{file}` gives no name that SQL takes as it is")).with_hint(
            "name the file of lower-case letters, digits and `_`: `cheap_mugs.sql` is the view `cheap_mugs`",
        ));
    }
    let is_table = Table::ALL.iter().any(|table| table.name() == name) || super::catalog::OWN_TABLES.contains(&name);
    if is_table || views::find(name).is_some() || views::function(name).is_some() {
        return Err(Error::config(format!("`{file}` has the name of a table of huopan")).with_hint("name it otherwise"));
    }
    Ok(())
}

/// The names that the one query of a file reads from.
fn tables_of(sql: &str, file: &str) -> Result<BTreeSet<String>> {
    let wrong = |message: String| Error::config(format!("`{file}`: {message}"));
    let statements = DFParser::parse_sql(sql).map_err(|error| wrong(error.strip_backtrace()))?;
    let mut statements = statements.into_iter();
    let (Some(Statement::Statement(statement)), None) = (statements.next(), statements.next()) else {
        return Err(wrong("a view is one query".into()).with_hint("put each query into a file of its own"));
    };
    if !matches!(*statement, SqlStatement::Query(_)) {
        return Err(wrong("a view is a query".into()).with_hint("begin with SELECT or WITH"));
    }
    let statement = Statement::Statement(statement);
    let (tables, _) = resolve_table_references(&statement, true).map_err(|error| wrong(error.strip_backtrace()))?;
    Ok(tables.into_iter().map(|table| table.table().to_owned()).collect())
}

/// That a view leads to itself, where it does.
fn circle(asked: &BTreeMap<String, BTreeSet<String>>, view: &UserView) -> Option<Error> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![view.name.as_str()]);
    while let Some(name) = open.pop() {
        for next in asked.get(name).into_iter().flatten() {
            if *next == view.name {
                let error = Error::config(format!("the view in `{}` asks itself", view.file));
                return Some(error.with_hint(format!("it does so through `{name}`: read from a table there")));
            }
            if seen.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the views, and why other files are none.
    fn loaded(files: &[(&str, &str)]) -> (Vec<String>, Vec<Error>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, sql) in files {
            std::fs::write(folder.path().join(name), sql).unwrap();
        }
        let Found { views, left_out } = load(folder.path()).unwrap();
        (views.into_iter().map(|view| view.name).collect(), left_out)
    }

    #[test]
    fn each_file_is_a_view() {
        let files = [
            ("mugs.sql", "-- mugs: all mugs\nSELECT * FROM latest_offers WHERE title_fits(title, '杯');\n"),
            ("cheap_mugs.sql", "WITH mugs AS (SELECT 1 AS price) SELECT * FROM mugs"),
            ("notes.txt", "no view"),
            (".hidden.sql", "no view"),
        ];
        let (views, left_out) = loaded(&files);
        assert_eq!((views, left_out.len()), (vec!["cheap_mugs".to_owned(), "mugs".to_owned()], 0));
        assert_eq!(load(Path::new("/nowhere/at/all")).unwrap().views, []);
    }

    #[test]
    fn a_file_that_is_no_view_is_left_out_and_told_and_others_stay() {
        let cases = [
            ("Mugs.sql", "select 1", "gives no name that SQL takes"),
            ("my mugs.sql", "select 1", "gives no name that SQL takes"),
            ("offers.sql", "select 1", "has the name of a table"),
            ("latest_offers.sql", "select 1", "has the name of a table"),
            ("groups.sql", "select 1", "has the name of a table"),
            ("price_at.sql", "select 1", "has the name of a table"),
            ("mugs.sql", "selekt * from offers", "mugs.sql`: "),
            ("mugs.sql", "select 1; select 2", "a view is one query"),
            ("mugs.sql", "", "a view is one query"),
            ("mugs.sql", "drop table offers", "a view is a query"),
            ("mugs.sql", "copy offers to 'x'", "a view is one query"),
            ("mugs.sql", "select * from mugs", "asks itself"),
        ];
        for (name, sql, expected) in cases {
            let (views, left_out) = loaded(&[(name, sql), ("sound.sql", "select 1")]);
            let error = left_out[0].to_string();
            assert!(error.contains(expected) && error.contains(name), "{name} {sql}: {error}");
            assert_eq!((views, left_out.len()), (vec!["sound".to_owned()], 1), "{name} {sql}");
        }
        let circle = [("a.sql", "select * from b"), ("b.sql", "select * from c"), ("c.sql", "select * from a")];
        let (views, left_out) = loaded(&circle);
        assert_eq!((views.len(), left_out.len()), (0, 3));
        let error = &left_out[0];
        assert!(error.to_string().contains("a.sql` asks itself") && error.hint().unwrap().contains("`c`"), "{error}");
    }
}
