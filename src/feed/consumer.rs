//! The cursor of a named consumer, kept in the lake: `_huopan/feed/<name>/<number, 20 digits>.json`.
//!
//! Each move of the cursor is a file of its own, created conditionally under the next number, as in the publish log: of
//! two readers that take the same rows at once, one moves the cursor and the other is told. The newest file counts, and
//! a few before it are kept to be looked at.
//!
//! Invariant: a cursor moves only from the position that its reader has read.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::base::{Error, Kind, Result};
use crate::store::{Created, Store};

use super::{Cursor, Scope, Sensitivity};

/// Where they stand in the lake.
const FOLDER: &str = "_huopan/feed";
/// Moves of one cursor that are kept.
const MOVES_KEPT: u64 = 32;
/// Longest name.
const NAME_BYTES_MAX: usize = 40;

/// A consumer's position.
#[derive(Debug, Clone, PartialEq)]
pub struct Position {
    /// The consumer.
    pub name: String,
    /// Counts the moves, from 1; 0: it has not moved yet.
    pub number: u64,
    /// What it takes.
    pub scope: Scope,
    /// How far it has come.
    pub cursor: Cursor,
    /// When it moved last.
    pub moved_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    table: String,
    #[serde(default)]
    volatile: bool,
    cursor: String,
    moved_at: DateTime<Utc>,
}

/// A name for a consumer.
///
/// # Errors
/// `Config` when it is none.
pub fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Error::config(format!("`{name}` is no name of a consumer"))
        .with_hint(format!("lower-case letters, digits, `_` and `-`, at most {NAME_BYTES_MAX}")))
}

/// All consumers, by name.
///
/// # Errors
/// `Storage` when they cannot be read, `Data` when a file is not what huopan writes.
pub async fn all(store: &Store) -> Result<Vec<Position>> {
    let mut names: Vec<String> = store.list(FOLDER).await?.iter().filter_map(|meta| name_of(&meta.path)).collect();
    names.dedup();
    let mut found = Vec::new();
    for name in names {
        found.extend(find(store, &name).await?);
    }
    Ok(found)
}

/// A consumer; `None`: nobody of this name has taken anything.
///
/// # Errors
/// As [`all`]; `Config` when it is no name.
pub async fn find(store: &Store, name: &str) -> Result<Option<Position>> {
    check_name(name)?;
    let Some(number) = last_number(store, name).await? else { return Ok(None) };
    let path = path(name, number);
    let Some(bytes) = store.get(&path).await? else { return Ok(None) };
    let broken = || Error::data(format!("`{path}` is no position of a consumer"));
    let record: Record = serde_json::from_slice(&bytes)
        .map_err(|source| broken().with_hint("`huopan feed consumers remove` clears it").caused_by(source))?;
    let sensitivity = if record.volatile { Sensitivity::Volatile } else { Sensitivity::Content };
    Ok(Some(Position {
        name: name.to_owned(),
        number,
        scope: Scope { table: super::table(&record.table)?, sensitivity },
        cursor: record.cursor.parse()?,
        moved_at: Some(record.moved_at),
    }))
}

/// Moves a consumer's cursor from `position` to `cursor`.
///
/// # Errors
/// `Conflict` when it is not at `position` any more: somebody else took the rows too. `Storage` when it cannot be
/// written.
pub async fn advance(store: &Store, position: &Position, cursor: &Cursor, now: DateTime<Utc>) -> Result<()> {
    let number = position.number + 1;
    let record = Record {
        table: position.scope.table.name().to_owned(),
        volatile: position.scope.sensitivity == Sensitivity::Volatile,
        cursor: cursor.to_string(),
        moved_at: now,
    };
    let bytes = serde_json::to_vec(&record)
        .map_err(|source| Error::internal("a position cannot be written as JSON").caused_by(source))?;
    let created = store.create(&path(&position.name, number), bytes.into()).await?;
    // A number whose file was cleared away could be created once more; by then the newest is far ahead.
    let is_newest = last_number(store, &position.name).await? == Some(number);
    if created == Created::Done && !is_newest {
        store.delete(&path(&position.name, number)).await?;
    }
    if created == Created::Exists || !is_newest {
        let message = format!("the cursor of `{}` was moved by somebody else meanwhile", position.name);
        return Err(Error::new(Kind::Conflict, message)
            .with_hint("the rows were written and may have been taken twice; give each reader a name of its own"));
    }
    if let Some(old) = number.checked_sub(MOVES_KEPT).filter(|old| *old > 0) {
        store.delete(&path(&position.name, old)).await?;
    }
    Ok(())
}

/// Forgets a consumer; `false`: there is none.
///
/// # Errors
/// `Storage` when it cannot be removed, `Config` when it is no name.
pub async fn remove(store: &Store, name: &str) -> Result<bool> {
    check_name(name)?;
    let Some(last) = last_number(store, name).await? else { return Ok(false) };
    let listed = store.list(&format!("{FOLDER}/{name}")).await?;
    // A listing may be late.
    let kept = (last.saturating_sub(MOVES_KEPT)..=last).map(|number| path(name, number));
    for path in listed.into_iter().map(|meta| meta.path).chain(kept) {
        store.delete(&path).await?;
    }
    Ok(true)
}

fn path(name: &str, number: u64) -> String {
    format!("{FOLDER}/{name}/{number:020}.json")
}

fn name_of(path: &str) -> Option<String> {
    let (name, _) = path.strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('/')?;
    Some(name.to_owned())
}

/// The number of the newest move. Those that a listing does not show yet are asked for by their names.
async fn last_number(store: &Store, name: &str) -> Result<Option<u64>> {
    let found = store.list(&format!("{FOLDER}/{name}")).await?;
    let number = |path: &str| path.rsplit('/').next()?.strip_suffix(".json")?.parse().ok();
    let mut last: u64 = found.iter().filter_map(|meta| number(&meta.path)).max().unwrap_or(0);
    while store.meta(&path(name, last + 1)).await?.is_some() {
        last += 1;
    }
    Ok((last > 0).then_some(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::late::Hidden;
    use crate::transform::contract::Table;

    #[tokio::test]
    async fn a_late_listing_neither_turns_a_cursor_back_nor_leaves_it_behind() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let hidden = Hidden::default();
        let late = hidden.over(&store);
        let scope = Scope { table: Table::Offers, sensitivity: Sensitivity::Content };
        let at =
            |number: u64| Position { name: "erp".to_owned(), number, scope, cursor: Cursor::default(), moved_at: None };
        hidden.hide([path("erp", 1).as_str(), path("erp", 2).as_str()]);
        for number in 0..2 {
            let cursor: Cursor = format!("v1:a={}", number + 1).parse().unwrap();
            advance(&late, &at(number), &cursor, DateTime::UNIX_EPOCH).await.unwrap();
            let found = find(&late, "erp").await.unwrap().unwrap();
            assert_eq!((found.number, found.cursor), (number + 1, cursor));
        }
        let again = advance(&late, &at(1), &Cursor::default(), DateTime::UNIX_EPOCH).await.unwrap_err();
        assert_eq!(again.kind(), Kind::Conflict);
        hidden.hide([path("erp", 1).as_str(), path("erp", 2).as_str()]);
        assert!(remove(&late, "erp").await.unwrap());
        assert_eq!(find(&store, "erp").await.unwrap(), None);
    }
}
