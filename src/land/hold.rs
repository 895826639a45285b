//! A run that has ended and is held back: `held.json` beside its segments.
//!
//! Takes what looks wrong about a day; gives back the runs that wait for somebody's word. What has landed of them stays
//! as it is, so that they can be published without a call.
//!
//! Invariant: a run that is held is not unfinished: no start goes on with it.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::base::{Error, Result, RunId};
use crate::store::Store;

use super::named;
use super::zone::{Zone, pipeline_folder};

pub(super) const FILE: &str = "held.json";

/// Why a run is held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// Since when.
    pub held_at: DateTime<Utc>,
    /// The number in the publish log that it would have had: a picture with it or a later one came after. `None`: an early
    /// version held it, or nobody did yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// What looks wrong.
    pub findings: Vec<Finding>,
}

/// What looks wrong about one shop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The shop; `None`: the offers whose answers hide the seller.
    pub shop_id: Option<String>,
    /// Its name, where one is known.
    pub shop_name: Option<String>,
    /// What of it.
    pub what: Suspect,
    /// Offers that it is true of.
    pub offers: u64,
    /// Of so many.
    pub of: u64,
    /// The share of them that the pipeline allows.
    pub share_max: f64,
}

/// What looks wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspect {
    /// Offers that were on sale and would no longer be.
    Gone,
    /// Prices that would be many times as large or small.
    Prices {
        /// How many times.
        factor: u32,
    },
}

impl Hold {
    /// What looks wrong, in one line; of many shops the first ones.
    #[must_use]
    pub fn summary(&self) -> String {
        const SHOWN: usize = 3;
        let line = |finding: &Finding| format!("shop `{}`: {finding}", finding.shop());
        let mut lines: Vec<String> = self.findings.iter().take(SHOWN).map(line).collect();
        if self.findings.len() > SHOWN {
            lines.push(format!("and {} more", self.findings.len() - SHOWN));
        }
        lines.join("; ")
    }
}

impl Finding {
    /// The shop's name, else its id.
    #[must_use]
    pub fn shop(&self) -> &str {
        self.shop_name.as_deref().or(self.shop_id.as_deref()).unwrap_or("unknown")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, offers, of, share_max, .. } = self;
        match what {
            Suspect::Gone => write!(f, "{offers} of {of} offers would be gone")?,
            Suspect::Prices { factor } => write!(f, "{offers} of {of} prices would change by a factor of {factor}")?,
        }
        // Rounded down: what is said never reaches a limit that was not reached.
        let percent = (offers * 100).checked_div(*of).unwrap_or(100);
        write!(f, " ({percent} %, more than {:.0} %)", share_max * 100.0)
    }
}

/// A run that waits for somebody's word.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldRun {
    /// Its day.
    pub dt: NaiveDate,
    /// Its id.
    pub run_id: RunId,
    /// Why.
    pub hold: Hold,
}

/// The runs of a pipeline that are held, the newest start last.
///
/// # Errors
/// `Data` with the path of a file that cannot be read; `Storage`.
pub async fn held(store: &Store, pipeline: &str) -> Result<Vec<HeldRun>> {
    let folder = pipeline_folder(pipeline);
    let mut runs = Vec::new();
    let files = store.list(&folder).await?;
    let mut held: BTreeSet<_> = files.iter().filter_map(|file| place(&folder, &file.path, FILE)).collect();
    held.extend(named::newest(store, pipeline).await?.map(|newest| (newest.dt, newest.run_id)));
    for (dt, run_id) in held {
        let path = Zone::new(store.clone(), pipeline, dt).hold_path(&run_id);
        let Some(json) = store.get(&path).await? else { continue };
        let hold = serde_json::from_slice(&json).map_err(|source| {
            Error::data(format!("why a run is held, `{path}`, cannot be read"))
                .with_hint("restore the file, or delete its folder to have the day fetched again")
                .caused_by(source)
        })?;
        runs.push(HeldRun { dt, run_id, hold });
    }
    // Ids grow with time.
    runs.sort_by_key(|run| run.run_id.to_string());
    Ok(runs)
}

/// Day and run of a file `<folder>/<dt>/<run id>/<name>`; `None`: it is another.
pub(super) fn place(folder: &str, path: &str, name: &str) -> Option<(NaiveDate, RunId)> {
    let mut parts = path.strip_prefix(folder)?.trim_start_matches('/').split('/');
    let (dt, run_id, last, end) = (parts.next()?, parts.next()?, parts.next()?, parts.next());
    if last != name || end.is_some() {
        return None;
    }
    Some((dt.parse().ok()?, run_id.parse().ok()?))
}

impl Zone {
    /// Holds a run that has ended, and is unfinished no longer. Asked again, the last reasons count.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn hold(&self, run: &RunId, hold: &Hold) -> Result<()> {
        let json = serde_json::to_vec_pretty(hold)
            .map_err(|source| Error::internal("why a run is held cannot be written").caused_by(source))?;
        self.store().put_durable(&self.hold_path(run), json.into()).await?;
        self.forget_start(run).await
    }

    /// The run is held no longer.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn forget_hold(&self, run: &RunId) -> Result<()> {
        self.store().delete(&self.hold_path(run)).await
    }

    pub(super) fn hold_path(&self, run: &RunId) -> String {
        format!("{}/{FILE}", self.run_folder(run))
    }
}

#[cfg(test)]
mod tests {
    use super::super::start::tests::frozen;
    use super::super::unfinished;
    use super::*;

    fn finding(what: Suspect, offers: u64, of: u64) -> Finding {
        Finding { shop_id: Some("b2b-1".into()), shop_name: None, what, offers, of, share_max: 0.3 }
    }

    #[test]
    fn a_finding_says_its_numbers() {
        let gone = finding(Suspect::Gone, 37, 100);
        assert_eq!(gone.to_string(), "37 of 100 offers would be gone (37 %, more than 30 %)");
        let prices = finding(Suspect::Prices { factor: 10 }, 2, 3);
        assert_eq!(prices.to_string(), "2 of 3 prices would change by a factor of 10 (66 %, more than 30 %)");
    }

    #[tokio::test]
    async fn a_held_run_is_not_unfinished_also_when_its_start_was_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let dt = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
        let (zone, at) = (Zone::new(store.clone(), "nightly", dt), DateTime::from_timestamp(1, 0).unwrap());
        let run_id = RunId::new(at, [7; 10]);
        let frozen = frozen(1);
        zone.freeze(&run_id, &frozen).await.unwrap();
        let findings = vec![finding(Suspect::Prices { factor: 10 }, 7, 9)];
        let hold = Hold { held_at: at, number: None, findings };
        zone.hold(&run_id, &hold).await.unwrap();
        // A crash between the two writes leaves both.
        zone.freeze(&run_id, &frozen).await.unwrap();
        assert_eq!(unfinished(&store, "nightly").await.unwrap(), []);
        assert_eq!(held(&store, "nightly").await.unwrap(), [HeldRun { dt, run_id, hold }]);
        assert_eq!(held(&store, "other").await.unwrap(), []);
        zone.forget_hold(&run_id).await.unwrap();
        assert_eq!(held(&store, "nightly").await.unwrap(), []);
        assert_eq!(unfinished(&store, "nightly").await.unwrap().len(), 1);
    }
}
