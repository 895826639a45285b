//! Groups: which offers compete, kept in the lake so that everybody who reads it compares the same offers.
//!
//! * this file: the groups of a lake, as they were loaded last ([`read`], [`write()`]).
//! * [`matcher`]: which groups an offer belongs to.
//!
//! They stand in `_huopan/groups.json` and are replaced as a whole. Invariant: a reader sees the groups of one file.

pub mod matcher;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use matcher::{Matcher, Membership};

use crate::base::{Error, Result};
use crate::config::groups::GroupLine;
use crate::store::Store;

/// Where the groups stand in a lake.
const PATH: &str = "_huopan/groups.json";
/// The form of the file that this version writes and reads.
const FORMAT: u32 = 1;

/// The groups of a lake.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    format: u32,
    /// The file that they were loaded from, as it was named.
    pub file: String,
    /// When.
    pub loaded_at: DateTime<Utc>,
    /// Its lines, in their order.
    pub lines: Vec<GroupLine>,
}

impl Groups {
    /// The lines of a groups file, loaded now.
    #[must_use]
    pub fn new(file: impl Into<String>, loaded_at: DateTime<Utc>, lines: Vec<GroupLine>) -> Self {
        Self { format: FORMAT, file: file.into(), loaded_at, lines }
    }

    /// The names of the groups, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.lines.iter().map(|line| line.group.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// The groups of a lake; none before any were loaded.
///
/// # Errors
/// `Storage` when the lake cannot be read, `Data` for a file that huopan did not write, or a later version wrote.
pub async fn read(store: &Store) -> Result<Groups> {
    let Some(bytes) = store.get(PATH).await? else { return Ok(Groups::default()) };
    let groups: Groups = serde_json::from_slice(&bytes).map_err(|cause| {
        Error::data(format!("`{PATH}` is not what huopan writes"))
            .with_hint("load the groups again: `huopan groups load FILE`")
            .caused_by(cause)
    })?;
    if groups.format > FORMAT {
        return Err(Error::data(format!("`{PATH}` was written by a later version of huopan"))
            .with_hint("update huopan, or load the groups again: `huopan groups load FILE`"));
    }
    Ok(groups)
}

/// Replaces the groups of a lake.
///
/// # Errors
/// `Storage` when the lake cannot be written.
pub async fn write(store: &Store, groups: &Groups) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(groups).map_err(|cause| Error::internal("groups").caused_by(cause))?;
    store.put_durable(PATH, bytes.into()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn groups_are_replaced_as_a_whole_and_a_foreign_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(read(&store).await.unwrap(), Groups::default());
        let line = |group: &str| GroupLine { group: group.into(), offer_id: Some(1), ..GroupLine::default() };
        for lines in [vec![line("b"), line("a"), line("b")], vec![line("c")]] {
            let groups = Groups::new("groups.csv", DateTime::UNIX_EPOCH, lines);
            write(&store, &groups).await.unwrap();
            assert_eq!(read(&store).await.unwrap(), groups);
        }
        assert_eq!(read(&store).await.unwrap().names(), ["c"]);
        for (text, expected) in [("{}", "not what huopan writes"), ("", "not what huopan writes")] {
            store.put_durable(PATH, text.into()).await.unwrap();
            assert!(read(&store).await.unwrap_err().to_string().contains(expected));
        }
        let later = r#"{"format":2,"file":"","loaded_at":"2026-11-20T00:00:00Z","lines":[]}"#;
        store.put_durable(PATH, later.into()).await.unwrap();
        assert!(read(&store).await.unwrap_err().to_string().contains("a later version"));
    }
}
