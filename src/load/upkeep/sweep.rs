//! Vacuum as it is done: looks at the lake, takes old days out of the tables, deletes what goes.
//!
//! ```text
//! list everything ─► (under the pipeline's lock) expire days ─► read the log ─► checkpoint at the base ─► delete
//! ```
//! Files are listed before the log is read: what is published meanwhile is named by then.
//!
//! Invariant: a look changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use futures::{StreamExt, TryStreamExt, stream};

use crate::base::Result;
use crate::base::time::beijing_day;
use crate::config::pipeline::Keep;
use crate::load::log::{self, Change, Names};
use crate::load::publish::{Published, Turn, Upkeep};
use crate::load::{State, checkpoint, delta};
use crate::store::{Meta, Store};
use crate::transform::contract::Table;

use super::optimize::lost;
use super::vacuum::{self, Goes, Why};

/// Files deleted at once.
const DELETES_IN_FLIGHT: usize = 16;

/// What is in a lake, before anything is looked at closely.
#[derive(Debug, Clone)]
pub struct Lake {
    /// The files of the tables, logs of Delta included.
    tables: BTreeMap<Table, Vec<Meta>>,
    /// The files that are ours and no tables'.
    ours: Vec<Meta>,
    /// Files without a name.
    nameless: Vec<Meta>,
}

/// What of one pipeline goes, or went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// The newest publication that was known.
    pub log_seq: u64,
    /// Of each table, the first day that stays: files of earlier ones go once they are `history_days` old.
    pub expired: BTreeMap<String, NaiveDate>,
    /// Their files and bytes.
    pub expired_files: (u64, u64),
    /// What goes now.
    pub goes: Vec<Goes>,
}

impl Lake {
    /// Lists a lake.
    ///
    /// # Errors
    /// `Storage` when it cannot be read.
    pub async fn list(store: &Store) -> Result<Self> {
        let mut tables = BTreeMap::new();
        for table in Table::ALL {
            tables.insert(table, store.list(table.name()).await?);
        }
        let (ours, nameless) = (store.list("_huopan").await?, store.list_nameless().await?);
        Ok(Self { tables, ours, nameless })
    }

    /// The pipelines that have anything in it.
    #[must_use]
    pub fn pipelines(&self) -> BTreeSet<String> {
        let of_ours = self.ours.iter().filter_map(|meta| {
            let mut parts = meta.path.split('/').skip(1);
            let kind = parts.next()?;
            parts.next().filter(|_| matches!(kind, "publish" | "landing") && parts.next().is_some())
        });
        let files = self.tables.values().flatten();
        of_ours.chain(files.filter_map(|meta| vacuum::pipeline_of(&meta.path))).map(str::to_owned).collect()
    }

    /// What goes that is no pipeline's: old versions of the Delta logs, what died processes left.
    #[must_use]
    pub fn common(&self, keep: Keep, now: DateTime<Utc>) -> Vec<Goes> {
        let mut going = Vec::new();
        for (table, files) in &self.tables {
            let folder = format!("{table}/{}/", delta::LOG);
            let of_log: Vec<Meta> = files.iter().filter(|meta| meta.path.starts_with(&folder)).cloned().collect();
            going.extend(vacuum::of_delta_log(&of_log, keep, now));
        }
        going.extend(vacuum::of_processes(&self.nameless, &self.ours, now));
        going
    }

    /// What of a pipeline goes, as things are.
    ///
    /// # Errors
    /// `Storage`, `Data` of its publish log or of a Delta table that has files which are nobody's.
    pub async fn look(&self, store: &Store, pipeline: &str, keep: Keep, now: DateTime<Utc>) -> Result<Swept> {
        self.look_at(store, pipeline, &log::names_of(store, pipeline).await?, keep, now).await
    }

    /// As [`Lake::look`], of a log that has been listed.
    async fn look_at(
        &self,
        store: &Store,
        pipeline: &str,
        names: &Names,
        keep: Keep,
        now: DateTime<Utc>,
    ) -> Result<Swept> {
        let state = checkpoint::state_of(store, pipeline, names.clone()).await?;
        let mut swept = Swept { log_seq: state.seq, expired: vacuum::expired(&state, keep, now), ..Swept::default() };
        for (name, first) in &swept.expired {
            let Ok(table) = name.parse::<Table>() else { continue };
            let leaving = state.files(table).filter(|(dt, _)| dt < first);
            let (files, bytes) = swept.expired_files;
            swept.expired_files =
                leaving.fold((files, bytes), |(files, bytes), (_, file)| (files + 1, bytes + file.bytes));
        }
        let base = vacuum::base(names, keep, now);
        let (at_base, once) = self.around_base(store, pipeline, names, base).await?;
        let after = log::read_span(store, pipeline, base + 1..=names.last()).await?;
        let named = vacuum::named(&at_base, &after);
        let once = once.iter().map(String::as_str).collect();
        swept.goes = vacuum::of_log(names, base);
        for (&table, files) in &self.tables {
            let mut going = vacuum::of_tables(files, pipeline, &named, &once, now);
            if !going.is_empty() {
                let active = delta::active_files(store, table).await?.map(|(_, files)| files).unwrap_or_default();
                let active: HashSet<&str> = active.iter().map(|file| file.path.as_str()).collect();
                going.retain(|one| !active.contains(one.path.as_str()));
            }
            swept.goes.extend(going);
        }
        // Days that go now show nothing any more.
        let mut left = State { pipeline: pipeline.to_owned(), ..state };
        left.expire(&swept.expired);
        swept.goes.extend(vacuum::of_landing(&self.ours, &left, keep, now));
        Ok(swept)
    }

    /// The state at the base, and the files that entries before it are known to have named.
    async fn around_base(
        &self,
        store: &Store,
        pipeline: &str,
        names: &Names,
        base: u64,
    ) -> Result<(State, HashSet<String>)> {
        let state = checkpoint::state_at(store, pipeline, names, base).await?;
        let mut once = HashSet::new();
        for (&seq, _) in names.entries.range(..=base) {
            if let Some(entry) = log::read(store, pipeline, seq).await? {
                once.extend(entry.tables.into_values().flatten().map(|file| file.path));
            }
        }
        Ok((state, once))
    }
}

/// How far a vacuum goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How long things are kept.
    pub keep: Keep,
    /// Until when.
    pub now: DateTime<Utc>,
    /// Files that are deleted at most; the next one goes on.
    pub files_max: usize,
}

/// Vacuums a pipeline whose turn it is: publishes that old days are gone, writes the checkpoint from which the log is
/// kept, and deletes what goes. `lake` was listed under the pipeline's lock, so that no run of it was going.
///
/// # Errors
/// `Storage` when something cannot be read or deleted: the next one goes on; `Conflict` when the lock is lost.
pub async fn vacuum(store: &Store, pipeline: &str, turn: &Turn<'_>, lake: &Lake, bounds: Bounds) -> Result<Swept> {
    let Bounds { keep, now, files_max } = bounds;
    let expired = lake.look_at(store, pipeline, &turn.names(store, pipeline).await?, keep, now).await?;
    if !expired.expired.is_empty() {
        let upkeep = Upkeep {
            pipeline: pipeline.to_owned(),
            after: expired.log_seq,
            dt: beijing_day(now),
            now,
            change: Change::Expire(expired.expired.clone()),
            files: BTreeMap::new(),
        };
        if let Published::Lost(other) = turn.change(store, upkeep).await? {
            return Err(lost(pipeline, other.seq));
        }
    }
    // One listing says from where the log is kept and what of it goes: two might say different things.
    let mut names = turn.names(store, pipeline).await?;
    let base = vacuum::base(&names, keep, now);
    if let (false, Some(entry)) = (names.checkpoints.contains_key(&base), names.entries.get(&base).cloned()) {
        let state = checkpoint::state_at(store, pipeline, &names, base).await?;
        let _ = checkpoint::write(store, &state).await?;
        names.checkpoints.insert(base, entry);
    }
    let mut swept = lake.look_at(store, pipeline, &names, keep, now).await?;
    (swept.expired, swept.expired_files) = (expired.expired, expired.expired_files);
    swept.goes.truncate(files_max);
    turn.check()?;
    delete(store, &swept.goes).await?;
    Ok(swept)
}

/// Deletes files: the publish log one by one, in its order, the others at once.
///
/// # Errors
/// `Storage` when one cannot be deleted.
pub async fn delete(store: &Store, going: &[Goes]) -> Result<()> {
    let (in_order, at_once): (Vec<&Goes>, Vec<&Goes>) = going.iter().partition(|one| one.why == Why::PublishLog);
    for one in in_order {
        store.delete(&one.path).await?;
    }
    let deletes = at_once.into_iter().map(|one| store.delete(&one.path));
    stream::iter(deletes).buffer_unordered(DELETES_IN_FLIGHT).try_collect::<Vec<()>>().await?;
    Ok(())
}
