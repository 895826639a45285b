//! Watches (`[[watches]]`): queries over the day just published; whoever a watch names hears of its rows.
//!
//! A watch sees one day of one pipeline: `public` and `latest` are that day, `before` is the day before it, so that a view
//! of changes gives that day's changes alone, also on the thirtieth night. `history` and `"as_of_…"` see everything.
//!
//! * `ask`: one query → its first rows, how many there are, and a digest of them all.
//! * `told`: which watches of a publication are due to whom, durable.
//!
//! What is due is written before the publication is decided, and struck off once it is delivered: after a crash or a
//! robot's outage the next start tells what is left, as long as no later day has been published. A message may come twice
//! (a crash between its delivery and the note of it), it is never lost in silence. A second publication of a day tells
//! only those watches whose rows are others than those told of that day. Replays tell nothing, nor do days before the last
//! published one.
//!
//! Invariant: a watch never changes what became of a run.

mod ask;
mod told;

use std::path::Path;
use std::time::Duration;

use chrono::NaiveDate;

use crate::alert::{Kind as Told, Message};
use crate::base::{Error, Result, RunId};
use crate::config::Pipeline;
use crate::config::pipeline::{Alert, Watch};
use crate::groups;
use crate::load::Snapshot;
use crate::query::{Focus, Options, Session, user_views};
use crate::store::Store;

use super::day::{Place, Start};
use super::{Outcome, hear};
use ask::Found;
use told::{Due, Ledger};

/// All messages about watches together take a receiver at most this long.
const TELL_TIME_MAX: Duration = Duration::from_secs(60);

/// Notes, before a run publishes a day, that its watches are due.
pub(super) async fn expect(place: Place<'_>, start: &Start) {
    let Place { pipeline, store, .. } = place;
    if pipeline.watches.is_empty() {
        return;
    }
    let noted = async {
        let mut ledger = Ledger::read(store, &pipeline.name).await?;
        if let Some(due) = ledger.due.as_ref().filter(|due| due.run_id != start.run_id) {
            // What a run that published nothing has noted, this start has struck off.
            let (dt, watches) = (due.dt, due.names());
            tracing::warn!(pipeline = pipeline.name, %dt, watches, "watches of an earlier publication were never delivered");
        }
        ledger.expect(Due::of(pipeline, start.dt, start.run_id));
        ledger.write(store, &pipeline.name).await
    };
    if let Err(error) = noted.await {
        tracing::warn!(pipeline = pipeline.name, %error, "it cannot be noted that watches are due");
    }
}

/// After an attempt: tells of its watches if it has published, else notes that none is due.
pub(super) async fn ended(place: Place<'_>, run_id: RunId, outcome: &Result<Outcome>) {
    let Place { pipeline, store, .. } = place;
    if pipeline.watches.is_empty() {
        return;
    }
    if matches!(outcome, Ok(Outcome::Published(_))) {
        return settle(place).await;
    }
    let noted = async {
        let mut ledger = Ledger::read(store, &pipeline.name).await?;
        match ledger.due.take_if(|due| due.run_id == run_id) {
            Some(_) => ledger.write(store, &pipeline.name).await,
            None => Ok(()),
        }
    };
    if let Err(error) = noted.await {
        tracing::warn!(pipeline = pipeline.name, %error, "it cannot be noted that no watch is due");
    }
}

/// Runs the watches that are due, where their day is published, and tells of their rows.
pub(super) async fn settle(place: Place<'_>) {
    let Place { pipeline, around, .. } = place;
    if pipeline.watches.is_empty() {
        return;
    }
    let settled = tokio::select! {
        settled = try_settle(place) => settled,
        () = around.cancel.cancelled() => {
            tracing::warn!(pipeline = pipeline.name, "stopped before all watches were told: the next start goes on");
            return;
        }
    };
    if let Err(error) = settled {
        let hint = error.hint().unwrap_or_default();
        tracing::warn!(pipeline = pipeline.name, %error, hint, "watches were not told: the next start tries again");
    }
}

async fn try_settle(place: Place<'_>) -> Result<()> {
    let Place { pipeline, store, turn, .. } = place;
    let mut ledger = Ledger::read(store, &pipeline.name).await?;
    let Some(due) = ledger.due.clone() else { return Ok(()) };
    let snapshot = turn.snapshot(store, &pipeline.name).await?;
    if !snapshot.has_published(&pipeline.name, &due.run_id.to_string()) {
        // What was decided is completed by now: that run came to nothing.
        ledger.due = None;
        return ledger.write(store, &pipeline.name).await;
    }
    if snapshot.latest_dt(&pipeline.name).is_some_and(|latest| due.dt < latest) {
        let (dt, watches) = (due.dt, due.names());
        tracing::info!(pipeline = pipeline.name, %dt, watches, "a day before the last one: its watches are not told");
        ledger.due = None;
        return ledger.write(store, &pipeline.name).await;
    }
    let session = session(pipeline, store, snapshot, due.dt).await?;
    let (mut said, mut asked) = (Vec::new(), Vec::new());
    for watch in &pipeline.watches {
        let Some(alerts) = due.alerts.get(&watch.name) else { continue };
        let found = ask::ask(&session, watch).await;
        let digest = digest(&found);
        let untold =
            |alert: &&Alert| alerts.contains(&alert.name) && !ledger.was_told(&watch.name, &alert.name, &digest);
        let alerts: Vec<Alert> = pipeline.alerts.iter().filter(untold).cloned().collect();
        if let Some(message) = message(place, (&due, watch), found).filter(|_| !alerts.is_empty()) {
            said.push((alerts, message));
            asked.push((watch, digest));
        }
    }
    let undelivered = hear::send(&said, TELL_TIME_MAX).await;
    let mut left = Due { alerts: Default::default(), ..due };
    for (number, ((alerts, _), (watch, digest))) in said.iter().zip(&asked).enumerate() {
        for alert in alerts {
            let is_lost = undelivered.iter().any(|lost| lost.message == number && lost.alert == alert.name);
            match is_lost {
                true => left.alerts.entry(watch.name.clone()).or_default().push(alert.name.clone()),
                false => ledger.tell(&watch.name, &alert.name, digest),
            }
        }
    }
    ledger.due = Some(left).filter(|left| !left.alerts.is_empty());
    ledger.write(store, &pipeline.name).await
}

/// What a watch's rows, or its failure, are known by.
fn digest(found: &Result<Found>) -> String {
    match found {
        Ok(found) => found.digest.clone(),
        Err(error) => format!("failed: {error}"),
    }
}

/// What is said of a watch; `None`: it has no rows.
fn message(place: Place<'_>, (due, watch): (&Due, &Watch), found: Result<Found>) -> Option<Message> {
    let Place { pipeline, around, .. } = place;
    let (kind, text, rows) = match found {
        Ok(found) if found.rows.rows_total == 0 => return None,
        Ok(found) => (Told::Watch, rows_text(watch, found.rows.rows_total), found.rows),
        Err(error) => {
            tracing::warn!(pipeline = pipeline.name, watch = watch.name, %error, "a watch could not be run");
            (Told::WatchFailed, failure_text(watch, &error), ask::nothing(watch))
        }
    };
    let message = Message::new(kind, around.clock.now(), &pipeline.name, text);
    Some(Message { dt: Some(due.dt), run_id: Some(due.run_id), watch: Some(rows), ..message })
}

fn rows_text(watch: &Watch, rows: u64) -> String {
    let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
    format!("watch `{}` has {rows}", watch.name)
}

fn failure_text(watch: &Watch, error: &Error) -> String {
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("watch `{}` could not be run: {error}{hint}", watch.name)
}

/// A session that is about one published day, with the lake's groups and the views beside the pipeline.
async fn session(pipeline: &Pipeline, store: &Store, snapshot: Snapshot, dt: NaiveDate) -> Result<Session> {
    let focus = Focus { pipeline: pipeline.name.clone(), dt };
    let groups = groups::read(store).await?;
    let views = user_views::load(&pipeline.path.with_file_name("views"))?.views_or_warned();
    let options =
        Options { memory_bytes_max: pipeline.lake.memory_bytes_max, focus: Some(focus), views, ..Options::default() };
    Session::with_groups(store, snapshot, groups, &options)
}

/// Those watches of a pipeline's file that no lake could answer: an unknown name, no SQL, no query. Without a lake and the
/// network.
///
/// # Errors
/// `Internal` if no session can be set up.
pub async fn check(file: &Path, watches: &[Watch]) -> Result<Vec<Error>> {
    if watches.is_empty() {
        return Ok(Vec::new());
    }
    // An empty snapshot names no file: nothing of the folder is read.
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let views = user_views::load(&folder.join("views"))?.views_or_warned();
    let options = Options { views, ..Options::default() };
    let session = Session::open(&Store::open_existing(folder)?, Snapshot::default(), &options)?;
    let mut wrong = Vec::new();
    for watch in watches {
        if let Err(cause) = session.sql(&watch.sql).await {
            let place = format!("{}:{}", file.display(), watch.line);
            let error = Error::new(cause.kind(), format!("watch `{}` ({place}): {cause}", watch.name));
            wrong.push(match cause.hint() {
                Some(hint) => error.with_hint(hint),
                None => error,
            });
        }
    }
    Ok(wrong)
}

/// What a watch would say of a day.
#[derive(Debug)]
pub struct Preview<'p> {
    /// The watch.
    pub watch: &'p Watch,
    /// The message; `None`: it has no rows, nothing would be sent. An error: what its alerts would be told.
    pub message: Result<Option<Message>>,
}

/// Asks every watch about a published day (default: the last one), and tells nobody.
///
/// # Errors
/// `Config` where there is no lake or nothing is published for the day, `Storage` or `Data` if it cannot be read.
pub async fn preview<'p>(
    place: (&'p Pipeline, &Store),
    dt: Option<NaiveDate>,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(NaiveDate, Vec<Preview<'p>>)> {
    let (pipeline, store) = place;
    let snapshot = Snapshot::load(store).await?;
    let day = dt.or_else(|| snapshot.latest_dt(&pipeline.name));
    let entry = day.and_then(|dt| snapshot.picture(&pipeline.name, dt));
    let Some((dt, run_id)) = entry.map(|entry| (entry.dt, entry.run_id.parse().ok())) else {
        let of = dt.map(|dt| format!(" for {dt}")).unwrap_or_default();
        let error = Error::config(format!("pipeline `{}` has published nothing{of}", pipeline.name));
        return Err(error.with_hint("watches are asked about a published day: `huopan runs` lists them"));
    };
    let session = session(pipeline, store, snapshot, dt).await?;
    let mut previews = Vec::new();
    for watch in &pipeline.watches {
        let message = ask::ask(&session, watch).await.map(|found| {
            let total = found.rows.rows_total;
            let message = Message::new(Told::Watch, now, &pipeline.name, rows_text(watch, total));
            (total > 0).then_some(Message { dt: Some(dt), run_id, watch: Some(found.rows), ..message })
        });
        previews.push(Preview { watch, message });
    }
    Ok((dt, previews))
}
