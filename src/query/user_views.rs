//! Users' own views: `.sql` files in a folder, one query each, named as the file.
//!
//! A comment at the head of a file is what `\views` says of it, as for the views that are shipped.
//!
//! Invariant: a view that is wrong is told when a session opens, with its file; none hides a table, and none asks itself.

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

/// The views in a folder, by name; none if there is no such folder.
///
/// # Errors
/// [`Kind::Config`](crate::base::Kind::Config) for a file that cannot be read, is no single query, has a name that is taken
/// or is no name, and for views that ask each other in a circle.
pub fn load(folder: &Path) -> Result<Vec<UserView>> {
    let unreadable = |path: &Path, error| Error::config(format!("cannot read `{}`", path.display())).caused_by(error);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
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
    let mut found = Vec::with_capacity(files.len());
    let mut asked = BTreeMap::new();
    for (name, path) in files {
        let file = path.display().to_string();
        let size = std::fs::metadata(&path).map_err(|error| unreadable(&path, error))?.len();
        if size > BYTES_MAX {
            return Err(Error::config(format!("`{file}` is too large for a view: {size} bytes"))
                .with_hint("a view is one query of at most 1 MiB"));
        }
        let sql = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
        check_name(&name, &file)?;
        asked.insert(name.clone(), tables_of(&sql, &file)?);
        found.push(UserView { name, sql, file });
    }
    check_circles(&asked, &found)?;
    Ok(found)
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

/// No view may lead to itself.
fn check_circles(asked: &BTreeMap<String, BTreeSet<String>>, found: &[UserView]) -> Result<()> {
    for view in found {
        let (mut seen, mut open) = (BTreeSet::new(), vec![view.name.as_str()]);
        while let Some(name) = open.pop() {
            for next in asked.get(name).into_iter().flatten() {
                if *next == view.name {
                    return Err(Error::config(format!("the view in `{}` asks itself", view.file))
                        .with_hint(format!("it does so through `{name}`: read from a table there")));
                }
                if seen.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(files: &[(&str, &str)]) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        for (name, sql) in files {
            std::fs::write(folder.path().join(name), sql).unwrap();
        }
        Ok(load(folder.path())?.into_iter().map(|view| view.name).collect())
    }

    #[test]
    fn each_file_is_a_view() {
        let files = [
            ("mugs.sql", "-- mugs: all mugs\nSELECT * FROM latest_offers WHERE title_fits(title, '杯');\n"),
            ("cheap_mugs.sql", "WITH mugs AS (SELECT 1 AS price) SELECT * FROM mugs"),
            ("notes.txt", "no view"),
            (".hidden.sql", "no view"),
        ];
        assert_eq!(loaded(&files).unwrap(), ["cheap_mugs", "mugs"]);
        assert_eq!(load(Path::new("/nowhere/at/all")).unwrap(), []);
    }

    #[test]
    fn what_is_wrong_with_a_view_is_said_with_its_file() {
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
            let error = loaded(&[(name, sql)]).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(name), "{name} {sql}: {error}");
        }
        let circle = [("a.sql", "select * from b"), ("b.sql", "select * from c"), ("c.sql", "select * from a")];
        let error = loaded(&circle).unwrap_err();
        assert!(error.to_string().contains("a.sql` asks itself") && error.hint().unwrap().contains("`c`"), "{error}");
    }
}
