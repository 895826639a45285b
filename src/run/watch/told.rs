//! Which watches are due to whom, and what was told of a day: `_huopan/watches/<pipeline>.json` in the lake.
//!
//! Invariant: written under the pipeline's lock only, whole and durable.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::base::{Error, Result, RunId};
use crate::config::Pipeline;
use crate::store::Store;

/// What is due, and what was told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// What is to be told of the newest publication, or of one that is about to be.
    pub(super) due: Option<Due>,
    /// The day of which `told` speaks.
    dt: Option<NaiveDate>,
    /// By watch, then by alert: the digest of the rows that were told.
    told: BTreeMap<String, BTreeMap<String, String>>,
}

/// What is to be told of a publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Due {
    pub(super) dt: NaiveDate,
    #[serde(with = "as_text")]
    pub(super) run_id: RunId,
    /// By watch: the alerts that have not heard of it.
    pub(super) alerts: BTreeMap<String, Vec<String>>,
}

impl Due {
    /// All watches of a pipeline.
    pub(super) fn of(pipeline: &Pipeline, dt: NaiveDate, run_id: RunId) -> Self {
        let alerts = pipeline.watches.iter().map(|watch| (watch.name.clone(), watch.alerts.clone())).collect();
        Self { dt, run_id, alerts }
    }

    /// The names of its watches.
    pub(super) fn names(&self) -> String {
        self.alerts.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl Ledger {
    pub(super) async fn read(store: &Store, pipeline: &str) -> Result<Self> {
        let path = path(pipeline);
        let Some(bytes) = store.get(&path).await? else { return Ok(Self::default()) };
        serde_json::from_slice(&bytes).map_err(|cause| {
            let error = Error::data(format!("`{path}` is not what huopan writes")).caused_by(cause);
            error.with_hint("remove it: it only says which watches are due")
        })
    }

    pub(super) async fn write(&self, store: &Store, pipeline: &str) -> Result<()> {
        let bytes = serde_json::to_vec(self).map_err(|cause| Error::internal("no JSON").caused_by(cause))?;
        store.put_durable(&path(pipeline), Bytes::from(bytes)).await
    }

    /// A publication is about to be: what was told of another day is of no use any more.
    pub(super) fn expect(&mut self, due: Due) {
        if self.dt != Some(due.dt) {
            self.told.clear();
            self.dt = Some(due.dt);
        }
        self.due = Some(due);
    }

    /// Whether an alert was told these rows of a watch, of the same day.
    pub(super) fn was_told(&self, watch: &str, alert: &str, digest: &str) -> bool {
        self.told.get(watch).and_then(|alerts| alerts.get(alert)).is_some_and(|told| told == digest)
    }

    pub(super) fn tell(&mut self, watch: &str, alert: &str, digest: &str) {
        self.told.entry(watch.to_owned()).or_default().insert(alert.to_owned(), digest.to_owned());
    }
}

fn path(pipeline: &str) -> String {
    format!("_huopan/watches/{pipeline}.json")
}

mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use crate::base::RunId;

    pub(super) fn serialize<S: Serializer>(run_id: &RunId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(run_id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RunId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|_| de::Error::custom("no run id"))
    }
}
