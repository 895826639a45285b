//! What a run froze when it started for the first time: `start.json` beside its segments, durable before its first call.
//!
//! A run whose start is still there is unfinished, unless it is held ([`hold`]), and the next start goes on with it under
//! the same id and day.
//!
//! Invariant: what it froze is written once; deleted only when the run has published, is held, or ended in vain.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::base::{Error, Kind, Result, RunId};
use crate::extract::Record;
use crate::store::{Created, Store};

use super::hold;
use super::named::{self, Newest};
use super::zone::{Zone, pipeline_folder};

const FILE: &str = "start.json";

/// The inputs of a run that must not change while it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// When it started for the first time: the end of every span of time it asks for.
    pub started_at: DateTime<Utc>,
    /// It fetches a published day anew.
    #[serde(default)]
    pub refresh: bool,
    /// It retries these shops of a published day only, each as the `shops` table names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// What it must ask once more, though it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_again: Option<AskedAgain>,
    /// The newest number of the publish log when it started. `None`: an early version did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Of the configuration it started with.
    pub config_hash: String,
    /// Of the program that started it.
    pub huopan_version: String,
}

/// Listings that repeated their first page: their pages are of no use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AskedAgain {
    /// Ids of the shops.
    pub shops: Vec<String>,
    /// The greatest number landed until then.
    pub until: i64,
}

impl AskedAgain {
    /// These and those of before.
    #[must_use]
    pub fn and(mut self, before: Option<&Self>) -> Self {
        self.shops.extend(before.into_iter().flat_map(|before| before.shops.iter().cloned()));
        self.shops.sort_unstable();
        self.shops.dedup();
        self
    }

    /// Whether what has landed is of no use.
    #[must_use]
    pub fn concerns(&self, record: &Record) -> bool {
        let is_listing = matches!(&*record.endpoint, "listing" | "off_sale");
        let is_one_of = |shop: &String| self.shops.contains(shop);
        is_listing && record.number <= self.until && record.shop_id.as_ref().is_some_and(is_one_of)
    }
}

/// What a published day lacks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retry {
    /// Ids of incomplete shops, or their addresses where the id is not known.
    pub shops: Vec<String>,
    /// Single offers that nobody answered for.
    pub items: Vec<i64>,
}

/// A run that has not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its day.
    pub dt: NaiveDate,
    /// Its id.
    pub run_id: RunId,
    /// What it froze.
    pub frozen: Frozen,
}

/// The runs of a pipeline that have not published, the newest start last.
///
/// # Errors
/// `Data` with the path of a start that cannot be read; `Storage`.
pub async fn unfinished(store: &Store, pipeline: &str) -> Result<Vec<Unfinished>> {
    let folder = pipeline_folder(pipeline);
    let mut runs = Vec::new();
    let files = store.list(&folder).await?;
    let places = |name| files.iter().filter_map(|file| hold::place(&folder, &file.path, name)).collect::<BTreeSet<_>>();
    let (mut held, mut started) = (places(hold::FILE), places(FILE));
    if let Some(Newest { dt, run_id }) = named::newest(store, pipeline).await? {
        started.insert((dt, run_id));
        if store.meta(&Zone::new(store.clone(), pipeline, dt).hold_path(&run_id)).await?.is_some() {
            held.insert((dt, run_id));
        }
    }
    for (dt, run_id) in started {
        // Its start was left behind by a crash.
        if held.contains(&(dt, run_id)) {
            continue;
        }
        let path = Zone::new(store.clone(), pipeline, dt).start_path(&run_id);
        let Some(json) = store.get(&path).await? else { continue };
        let frozen = serde_json::from_slice(&json).map_err(|source| {
            Error::data(format!("the start of a run `{path}` cannot be read"))
                .with_hint("restore the file, or delete its folder to have the calls made again")
                .caused_by(source)
        })?;
        runs.push(Unfinished { dt, run_id, frozen });
    }
    // Ids grow with time.
    runs.sort_by_key(|run| run.run_id.to_string());
    Ok(runs)
}

impl Zone {
    /// Freezes a run's inputs.
    ///
    /// # Errors
    /// `Conflict` when the run has started already; `Storage`.
    pub async fn freeze(&self, run: &RunId, frozen: &Frozen) -> Result<()> {
        let json = serde_json::to_vec_pretty(frozen)
            .map_err(|source| Error::internal("the start of a run cannot be written").caused_by(source))?;
        named::begins(self, run).await?;
        match self.store().create(&self.start_path(run), json.into()).await? {
            Created::Done => Ok(()),
            Created::Exists => Err(Error::new(Kind::Conflict, format!("run `{run}` has started already"))),
        }
    }

    /// Asks once more what was answered to a run that goes on.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn ask_again(&self, run: &RunId, frozen: Frozen, again: AskedAgain) -> Result<()> {
        let json = serde_json::to_vec_pretty(&Frozen { asked_again: Some(again), ..frozen })
            .map_err(|source| Error::internal("the start of a run cannot be written").caused_by(source))?;
        self.store().put_durable(&self.start_path(run), json.into()).await
    }

    /// The run is no longer unfinished.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn forget_start(&self, run: &RunId) -> Result<()> {
        self.store().delete(&self.start_path(run)).await
    }

    fn start_path(&self, run: &RunId) -> String {
        format!("{}/{FILE}", self.run_folder(run))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A run of everything, begun that many seconds after the epoch.
    pub(in super::super) fn frozen(second: i64) -> Frozen {
        Frozen {
            started_at: DateTime::from_timestamp(second, 0).unwrap(),
            refresh: false,
            retry: None,
            asked_again: None,
            after: None,
            config_hash: "0".into(),
            huopan_version: "0".into(),
        }
    }

    #[tokio::test]
    async fn a_run_is_unfinished_from_its_freezing_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let dt = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
        let zone = Zone::new(store.clone(), "nightly", dt);
        let ids = [1, 2].map(|second| RunId::new(DateTime::from_timestamp(second, 0).unwrap(), [7; 10]));
        for (id, second) in ids.iter().zip([1, 2]) {
            zone.freeze(id, &frozen(second)).await.unwrap();
        }
        assert_eq!(zone.freeze(&ids[0], &frozen(3)).await.unwrap_err().kind(), Kind::Conflict);
        let found = unfinished(&store, "nightly").await.unwrap();
        assert_eq!(found.iter().map(|run| (run.dt, run.run_id)).collect::<Vec<_>>(), [(dt, ids[0]), (dt, ids[1])]);
        assert_eq!(found[1].frozen, frozen(2));
        zone.forget_start(&ids[1]).await.unwrap();
        assert_eq!(unfinished(&store, "nightly").await.unwrap().len(), 1);
        assert_eq!(unfinished(&store, "other").await.unwrap(), []);
    }
}
