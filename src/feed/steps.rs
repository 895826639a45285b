//! Which publications follow a cursor, in the order of their decisions, and which picture each is compared with.
//!
//! | publication | is compared with |
//! |---|---|
//! | the pipeline's first | nothing |
//! | of the newest day, or of a later one | the newest picture of the newest day |
//! | of an earlier day that has a picture | that picture |
//! | of an earlier day that has none | the picture of the day before it |
//!
//! A publication that is lost and replaced is left out: who has not taken it never needs it.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};

use crate::base::{Error, Result};
use crate::load::log::Change;
use crate::load::{Entry, Retained};

use super::Cursor;

/// One publication, and what it is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step<'s> {
    /// The publication.
    pub entry: &'s Entry,
    /// The picture before; `None`: there is none.
    pub before: Option<&'s Entry>,
    /// Whether it is about an earlier day than the pipeline's newest.
    pub is_correction: bool,
}

/// What a cursor has not taken yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Backlog<'s> {
    /// The publications, in their order.
    pub steps: Vec<Step<'s>>,
    /// Where the cursor stands after them.
    pub cursor: Cursor,
    /// Publications that are left for another time.
    pub left: usize,
}

/// Publications whose files are lost and whose day was published again since, by pipeline and number: a replay has the run
/// id of what it replaces.
pub type Replaced = HashSet<(String, u64)>;

/// What follows a cursor; at most `steps_max` publications, but all where one is left out: a cursor between that one and
/// what replaced it would say that it was taken.
///
/// # Errors
/// `Config` for a cursor of another lake, or one whose publications the lake does not retain any more, or has lost.
pub fn backlog<'s>(log: &'s Retained, since: &Cursor, steps_max: usize, replaced: &Replaced) -> Result<Backlog<'s>> {
    if let Some((pipeline, seq)) = since.iter().find(|(pipeline, seq)| log.last_seq(pipeline) < *seq) {
        let last = log.last_seq(pipeline);
        return Err(Error::config(format!(
            "the cursor has taken publication {seq} of `{pipeline}`, and the lake has {last}"
        ))
        .with_hint("it is a cursor of another lake, or of this one before it was restored: start anew"));
    }
    let mut steps: Vec<(DateTime<Utc>, Step<'s>)> = Vec::new();
    let mut cursor = Cursor::default();
    for pipeline in log.pipelines() {
        cursor.set(pipeline, log.last_seq(pipeline));
        steps.extend(steps_of(log, pipeline, since.seq(pipeline), replaced)?);
    }
    let leaves_out = replaced.iter().any(|(pipeline, seq)| *seq > since.seq(pipeline));
    let steps_max = if leaves_out { usize::MAX } else { steps_max };
    steps.sort_by(|(a_at, a), (b_at, b)| {
        (a_at, &a.entry.pipeline, a.entry.seq).cmp(&(b_at, &b.entry.pipeline, b.entry.seq))
    });
    let mut steps: Vec<Step<'s>> = steps.into_iter().map(|(_, step)| step).collect();
    let rest = steps.split_off(steps.len().min(steps_max));
    // Of a pipeline of which some are left for another time, those that are told are taken.
    for step in &rest {
        let pipeline = &step.entry.pipeline;
        let told = steps.iter().rev().find(|step| step.entry.pipeline == *pipeline);
        cursor.set(pipeline, told.map_or(since.seq(pipeline), |step| step.entry.seq));
    }
    Ok(Backlog { steps, cursor, left: rest.len() })
}

/// The pipeline's pictures after `taken`, each with a time that never steps back.
fn steps_of<'s>(
    log: &'s Retained,
    pipeline: &str,
    taken: u64,
    replaced: &Replaced,
) -> Result<Vec<(DateTime<Utc>, Step<'s>)>> {
    let is_replaced = |entry: &Entry| replaced.contains(&(entry.pipeline.clone(), entry.seq));
    let is_left_out = |entry: &Entry| entry.seq > taken && is_replaced(entry);
    let mut steps = Vec::new();
    let mut decided_at = DateTime::<Utc>::MIN_UTC;
    let mut pictures: BTreeMap<NaiveDate, &'s Entry> = BTreeMap::new();
    if let Some(base) = log.base(pipeline) {
        // What the cursor's owner has is the picture before the next one: it must be known.
        if taken > 0 && base.pictures.values().any(|entry| entry.seq > taken) {
            return Err(past_retention(pipeline, taken, base.seq));
        }
        pictures.extend(base.pictures.iter().filter(|(_, entry)| !is_left_out(entry)).map(|(dt, entry)| (*dt, entry)));
        // Whoever starts takes the newest picture whole.
        if let (0, Some((_, entry))) = (taken, pictures.last_key_value()) {
            decided_at = entry.published_at;
            steps.push((decided_at, Step { entry, before: None, is_correction: false }));
        }
    }
    for entry in log.entries(pipeline) {
        decided_at = decided_at.max(entry.published_at);
        // Files that were merged hold the same rows; days that went are no change of an offer.
        if !entry.picture || entry.change != Change::Run || is_left_out(entry) {
            continue;
        }
        if entry.seq > taken {
            let step = step(&pictures, entry);
            if let Some(before) = step.before.filter(|before| is_replaced(before)) {
                return Err(lost(before));
            }
            steps.push((decided_at, step));
        }
        pictures.insert(entry.dt, entry);
    }
    Ok(steps)
}

fn step<'s>(pictures: &BTreeMap<NaiveDate, &'s Entry>, entry: &'s Entry) -> Step<'s> {
    let newest = pictures.last_key_value();
    let is_correction = newest.is_some_and(|(day, _)| entry.dt < *day);
    let before = match is_correction {
        true => pictures.range(..=entry.dt).next_back(),
        false => newest,
    };
    Step { entry, before: before.map(|(_, entry)| *entry), is_correction }
}

fn past_retention(pipeline: &str, taken: u64, first: u64) -> Error {
    let message = format!(
        "the cursor has taken publication {taken} of `{pipeline}`, and the lake retains publications from {first} on"
    );
    Error::config(message).with_hint(START_ANEW)
}

fn lost(entry: &Entry) -> Error {
    Error::config(format!(
        "publication {} of `{}`, which the cursor has taken, is lost, and its day {} was published again since",
        entry.seq, entry.pipeline, entry.dt
    ))
    .with_hint(START_ANEW)
}

/// What to do where the rows that a reader has are not known any more.
const START_ANEW: &str = "what lies between is lost: empty the copy that the rows were applied to, and start anew with \
                          `huopan feed consumers reset NAME --to start`, or without `--since`";

/// The cursor that has taken everything.
#[must_use]
pub fn now(log: &Retained) -> Cursor {
    let mut cursor = Cursor::default();
    for pipeline in log.pipelines() {
        cursor.set(pipeline, log.last_seq(pipeline));
    }
    cursor
}
