//! The publish log of every pipeline, entry by entry, as far back as it is retained, and what it added up to before.
//!
//! Invariant: the pictures that were published last before the oldest entry are known, however long ago that was: a
//! publication after a long pause is compared with what readers have.

use std::collections::{BTreeMap, HashMap};

use crate::base::Result;
use crate::store::Store;

use super::checkpoint;
use super::log::{self, Change, DataFile, Entry};
use super::state::State;

/// The logs, by pipeline.
#[derive(Debug, Clone, Default)]
pub struct Retained {
    pipelines: BTreeMap<String, Past>,
}

/// One pipeline's log.
#[derive(Debug, Clone, Default)]
struct Past {
    /// What the entries add up to that are no longer told one by one.
    base: State,
    /// Those after it.
    entries: Vec<Entry>,
}

impl Past {
    /// Each picture with the newest files that have the bytes it was published with: a replay writes a day anew, and what it
    /// took the place of may be lost.
    fn with_newest_files(mut self) -> Self {
        let mut newest: HashMap<String, DataFile> = HashMap::new();
        let pictures = self.base.pictures.values_mut();
        let entries = self.entries.iter_mut().filter(|entry| entry.picture && entry.change == Change::Run);
        for entry in pictures.chain(entries).rev() {
            for file in entry.tables.values_mut().flatten() {
                let Some(digest) = file.digest.clone().filter(|_| file.rows > 0) else { continue };
                *file = newest.entry(digest).or_insert_with(|| file.clone()).clone();
            }
        }
        self
    }
}

impl Retained {
    /// Reads the log.
    ///
    /// # Errors
    /// `Storage` when it cannot be listed or read, `Data` when an entry is missing or is not what huopan writes.
    pub async fn load(store: &Store) -> Result<Self> {
        Self::load_with(store, []).await
    }

    /// Reads the log; these pipelines are known to have one, also where no listing shows it yet.
    ///
    /// # Errors
    /// As [`Retained::load`].
    pub async fn load_with<'p>(store: &Store, known: impl IntoIterator<Item = &'p str>) -> Result<Self> {
        let mut names = log::names(store).await?;
        for pipeline in known {
            if !names.contains_key(pipeline) {
                let found = log::names_of(store, pipeline).await?;
                names.extend((found.last() > 0).then(|| (pipeline.to_owned(), found)));
            }
        }
        let mut pipelines = BTreeMap::new();
        for (pipeline, names) in names {
            let base = checkpoint::state_at(store, &pipeline, &names, names.base().unwrap_or(0)).await?;
            let entries = log::read_span(store, &pipeline, base.seq + 1..=names.last()).await?;
            pipelines.insert(pipeline, Past { base, entries }.with_newest_files());
        }
        Ok(Self { pipelines })
    }

    /// These entries, of each pipeline in their order, after what `bases` say.
    #[must_use]
    pub fn of(bases: impl IntoIterator<Item = State>, entries: impl IntoIterator<Item = Entry>) -> Self {
        let past = |base: State| (base.pipeline.clone(), Past { base, entries: Vec::new() });
        let mut retained = Self { pipelines: bases.into_iter().map(past).collect() };
        for entry in entries {
            retained.pipelines.entry(entry.pipeline.clone()).or_default().entries.push(entry);
        }
        retained
    }

    /// The pipelines, in order of their names.
    pub fn pipelines(&self) -> impl Iterator<Item = &str> {
        self.pipelines.keys().map(String::as_str)
    }

    /// What a pipeline's log adds up to before its [`Retained::entries`]; nothing where it begins with them.
    #[must_use]
    pub fn base(&self, pipeline: &str) -> Option<&State> {
        self.pipelines.get(pipeline).map(|past| &past.base)
    }

    /// A pipeline's entries, by number.
    pub fn entries(&self, pipeline: &str) -> impl DoubleEndedIterator<Item = &Entry> {
        self.pipelines.get(pipeline).into_iter().flat_map(|past| &past.entries)
    }

    /// The number of a pipeline's newest entry; 0: there is none.
    #[must_use]
    pub fn last_seq(&self, pipeline: &str) -> u64 {
        let base = self.base(pipeline).map_or(0, |base| base.seq);
        self.entries(pipeline).next_back().map_or(base, |entry| entry.seq)
    }
}
