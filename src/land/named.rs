//! What a late listing must not hide, by names that are asked for: some stores list what was written a moment ago only later.
//!
//! | file | says |
//! |---|---|
//! | `<run>/landed.json` | the numbers that the run's segments begin with, written when nothing more lands |
//! | `<pipeline>/newest.json` | the run that has begun last |
//!
//! Invariant: both only add to what a listing shows; a lake without them reads as before.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::base::{Error, Kind, Result, RunId};
use crate::store::Store;

use super::zone::{SegmentRef, Zone, pipeline_folder};

/// Beside a run's segments.
const LANDED: &str = "landed.json";
/// In a pipeline's landing zone.
const NEWEST: &str = "newest.json";

/// The segments of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Landed {
    /// The numbers of their first attempts.
    segments: BTreeSet<i64>,
}

/// A run that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Newest {
    pub(super) dt: NaiveDate,
    #[serde(with = "id")]
    pub(super) run_id: RunId,
}

/// A run's id as text.
mod id {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::base::RunId;

    pub(super) fn serialize<S: Serializer>(id: &RunId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<RunId, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// The run of a pipeline that has begun last.
pub(super) async fn newest(store: &Store, pipeline: &str) -> Result<Option<Newest>> {
    let path = format!("{}/{NEWEST}", pipeline_folder(pipeline));
    // It only helps: whoever has changed it by hand finds what is listed.
    Ok(store.get(&path).await?.and_then(|json| serde_json::from_slice(&json).ok()))
}

/// Notes that a run begins.
pub(super) async fn begins(zone: &Zone, run: &RunId) -> Result<()> {
    let path = format!("{}/{NEWEST}", pipeline_folder(zone.pipeline()));
    zone.store().put_durable(&path, json(&Newest { dt: zone.dt(), run_id: *run })?.into()).await
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|source| Error::internal("what has landed cannot be written as JSON").caused_by(source))
}

impl Zone {
    /// Notes segments of a run by their first numbers, beside those that were noted before.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn note_segments(&self, run: &RunId, first_numbers: impl IntoIterator<Item = i64>) -> Result<()> {
        let mut landed = self.landed(run).await?;
        let before = landed.segments.len();
        landed.segments.extend(first_numbers);
        if landed.segments.len() == before {
            return Ok(());
        }
        self.store().put_durable(&self.landed_path(run), json(&landed)?.into()).await
    }

    /// The segments of a run, in the order of their numbers: those that are listed, and those that are noted and there.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn segments(&self, run: &RunId) -> Result<Vec<SegmentRef>> {
        let listed = self.listed_segments(run).await?;
        let mut segments: BTreeMap<i64, SegmentRef> =
            listed.into_iter().map(|segment| (segment.first_number(), segment)).collect();
        for first in self.landed(run).await?.segments {
            // One that is gone was deleted, to have its calls made again.
            if !segments.contains_key(&first)
                && let Some(segment) = self.segment(run, first).await?
            {
                segments.insert(first, segment);
            }
        }
        Ok(segments.into_values().collect())
    }

    /// Notes all segments of a run that died: numbers follow each other, so that each is found by the one before it.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn note_all_segments(&self, run: &RunId) -> Result<()> {
        let mut segments = self.segments(run).await?;
        let (mut index, mut next_number) = (0, Some(1));
        loop {
            if let Some(next) = next_number {
                self.fill_in(run, &mut segments, index, next).await?;
            }
            let Some(segment) = segments.get(index) else { break };
            next_number = match self.read_records_if_there(segment).await {
                Ok(records) => records.into_iter().flatten().map(|record| record.number + 1).max(),
                // What follows a damaged one is not known.
                Err(error) if error.kind() == Kind::Data => None,
                Err(error) => return Err(error),
            };
            index += 1;
        }
        self.note_segments(run, segments.iter().map(SegmentRef::first_number)).await
    }

    /// Adds the segment that begins with a number at its place, where it is there and not known.
    pub(super) async fn fill_in(
        &self,
        run: &RunId,
        segments: &mut Vec<SegmentRef>,
        index: usize,
        number: i64,
    ) -> Result<()> {
        if segments.get(index).is_none_or(|segment| segment.first_number() > number)
            && let Some(segment) = self.segment(run, number).await?
        {
            segments.insert(index, segment);
        }
        Ok(())
    }

    /// The segment that begins with a number; `None`: there is none.
    async fn segment(&self, run: &RunId, first_number: i64) -> Result<Option<SegmentRef>> {
        let path = self.segment_path(run, first_number);
        Ok(self.store().meta(&path).await?.map(|meta| SegmentRef { path, bytes: meta.bytes }))
    }

    /// Deletes the segments of a run that has ended, whose attempts the caller has folded into `raw_pages`. Its facts
    /// stay. The run cannot be continued after that: its numbers would start again.
    ///
    /// # Errors
    /// `Storage`; what is left can be deleted by another call.
    pub async fn delete_segments(&self, run: &RunId) -> Result<()> {
        for segment in self.segments(run).await? {
            self.store().delete(&segment.path).await?;
        }
        self.store().delete(&self.landed_path(run)).await
    }

    async fn landed(&self, run: &RunId) -> Result<Landed> {
        let json = self.store().get(&self.landed_path(run)).await?;
        Ok(json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default())
    }

    fn landed_path(&self, run: &RunId) -> String {
        format!("{}/{LANDED}", self.run_folder(run))
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::start::tests::frozen;
    use super::super::{Hold, held, unfinished};
    use super::*;
    use crate::store::late::Hidden;

    fn run(second: i64) -> RunId {
        RunId::new(DateTime::from_timestamp(second, 0).unwrap(), [7; 10])
    }

    #[tokio::test]
    async fn a_late_listing_hides_no_segment_that_was_noted() {
        let folder = tempfile::tempdir().unwrap();
        let (hidden, dt) = (Hidden::default(), NaiveDate::from_ymd_opt(2026, 11, 20).unwrap());
        let store = hidden.over(&Store::open(folder.path()).unwrap());
        let (zone, run) = (Zone::new(store.clone(), "nightly", dt), run(1));
        let paths = [1, 3, 8].map(|first| zone.segment_path(&run, first));
        for path in &paths {
            store.put_durable(path, "x".into()).await.unwrap();
        }
        let first_numbers = async || {
            let segments = zone.segments(&run).await.unwrap();
            segments.iter().map(SegmentRef::first_number).collect::<Vec<_>>()
        };
        zone.note_segments(&run, [1]).await.unwrap();
        zone.note_segments(&run, [3, 8]).await.unwrap();
        for hide in [&paths[..], &paths[1..2], &paths[2..], &[]] {
            hidden.hide(hide.iter().map(String::as_str));
            assert_eq!(first_numbers().await, [1, 3, 8], "{hide:?}");
        }
        // Whoever deletes a damaged one has its calls made again.
        store.delete(&paths[1]).await.unwrap();
        assert_eq!(first_numbers().await, [1, 8]);
        hidden.hide(paths.iter().map(String::as_str));
        zone.delete_segments(&run).await.unwrap();
        hidden.hide([]);
        assert_eq!(first_numbers().await, [0; 0]);
        assert_eq!(store.list("").await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_late_listing_hides_neither_the_run_that_began_last_nor_that_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let (hidden, dt) = (Hidden::default(), NaiveDate::from_ymd_opt(2026, 11, 20).unwrap());
        let store = hidden.over(&Store::open(folder.path()).unwrap());
        let (zone, at) = (Zone::new(store.clone(), "nightly", dt), DateTime::from_timestamp(1, 0).unwrap());
        let frozen = frozen(1);
        for second in [1, 2] {
            zone.freeze(&run(second), &frozen).await.unwrap();
        }
        let of = |run_id: RunId, file: &str| format!("{}/{file}", zone.run_folder(&run_id));
        hidden.hide([of(run(2), "start.json").as_str()]);
        let found = unfinished(&store, "nightly").await.unwrap();
        assert_eq!(found.iter().map(|run| run.run_id).collect::<Vec<_>>(), [run(1), run(2)]);
        let hold = Hold { held_at: at, number: None, findings: Vec::new() };
        zone.hold(&run(2), &hold).await.unwrap();
        // A crash between the two writes leaves both.
        store.put_durable(&of(run(2), "start.json"), serde_json::to_vec(&frozen).unwrap().into()).await.unwrap();
        hidden.hide([of(run(2), "held.json").as_str(), of(run(2), "start.json").as_str()]);
        assert_eq!(held(&store, "nightly").await.unwrap().iter().map(|run| run.run_id).collect::<Vec<_>>(), [run(2)]);
        assert_eq!(unfinished(&store, "nightly").await.unwrap().len(), 1);
        assert_eq!(unfinished(&store, "other").await.unwrap(), []);
    }
}
