//! Who hears how an attempt ended (`[[alerts]]`).
//!
//! Takes an attempt's outcome and what its extraction noted; gives the messages, and sends them.
//!
//! | what happened | message |
//! |---|---|
//! | published, all complete | `published` |
//! | published, a shop or an item is incomplete | `incomplete`, and `published` |
//! | its day looks wrong and is held back | `held` |
//! | calls are short, an account passed 80 or 95 %, or is blocked | `quota` |
//! | the gateway refuses an account | `denied` |
//! | anything else that kept it from publishing | `failed` |
//!
//! Invariant: an alert that cannot be told is logged; it never changes what became of the run.

use crate::alert::{self, Counts, Kind as Told, Message, Quota};
use crate::base::{Error, Kind, Result};
use crate::config::Pipeline;
use crate::extract::Note;
use crate::land::{Finding, Hold};

use super::{Outcome, Report, Surroundings, day};

/// All messages of an attempt together take at most this long.
const TIME_MAX: std::time::Duration = std::time::Duration::from_secs(20);

/// Tells how an attempt ended.
pub(super) async fn tell(
    pipeline: &Pipeline,
    around: &Surroundings<'_>,
    start: &day::Start,
    notes: &[Note],
    outcome: &Result<Outcome>,
) {
    if pipeline.alerts.is_empty() {
        return;
    }
    let mut said = Vec::new();
    for (kind, text, about) in messages(start, notes, outcome) {
        let mut message = Message::new(kind, around.clock.now(), &pipeline.name, text);
        (message.dt, message.run_id) = (Some(start.dt), Some(start.run_id));
        match about {
            About::Report(report) => {
                message.counts = Some(counts(report));
                if kind == Told::Incomplete {
                    message.shops = incomplete(report);
                }
            }
            About::Note(note) => message.quota = quota(note),
            About::Hold(hold) => message.shops = suspicious(hold),
            About::Nothing => {}
        }
        said.push(message);
    }
    send(pipeline, &said).await;
}

/// Tells what kept a start from beginning an attempt: a state or lake that cannot be opened, for example. That another
/// start is at work is no failure.
pub(super) async fn tell_of_no_start(pipeline: &Pipeline, around: &Surroundings<'_>, error: &Error) {
    if pipeline.alerts.is_empty() || error.kind() == Kind::Conflict {
        return;
    }
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    let text = format!("nothing is published: {error}{hint}");
    send(pipeline, &[Message::new(Told::Failed, around.clock.now(), &pipeline.name, text)]).await;
}

/// Sends the messages in their order; the run's lock is held meanwhile, so there is an end to it.
async fn send(pipeline: &Pipeline, messages: &[Message]) {
    let told = async {
        for message in messages {
            alert::tell(&pipeline.alerts, message).await;
        }
    };
    if tokio::time::timeout(TIME_MAX, told).await.is_err() {
        tracing::warn!(seconds = TIME_MAX.as_secs(), "some alerts were not taken in time");
    }
}

/// What a message is made from.
enum About<'o> {
    Report(&'o Report),
    Note(&'o Note),
    Hold(&'o Hold),
    Nothing,
}

fn messages<'o>(start: &day::Start, notes: &'o [Note], outcome: &'o Result<Outcome>) -> Vec<(Told, String, About<'o>)> {
    let dt = start.dt;
    let mut messages = Vec::new();
    for note in notes {
        let kind = match note {
            Note::Denied { .. } => Told::Denied,
            Note::Quota { .. } | Note::Blocked { .. } => Told::Quota,
            // These end the run: its end says so.
            Note::NoneLeft { .. } | Note::Refused { .. } | Note::Repeated { .. } => continue,
        };
        messages.push((kind, note.to_string(), About::Note(note)));
    }
    match outcome {
        Ok(Outcome::Published(reports)) => {
            for report in reports {
                if !report.is_complete() {
                    messages.push((Told::Incomplete, incomplete_text(report), About::Report(report)));
                }
                let (loaded, carried, calls) = (report.loaded, report.carried, report.calls);
                let text =
                    format!("{dt} is published: {loaded} offers loaded, {carried} carried forward, {calls} calls");
                messages.push((Told::Published, text, About::Report(report)));
            }
        }
        Ok(Outcome::Stopped { reason, .. }) => {
            let short = notes.iter().any(|note| matches!(note, Note::NoneLeft { .. } | Note::Refused { .. }));
            let kind = if short { Told::Quota } else { Told::Failed };
            messages.push((kind, format!("{dt} is not published: {reason}; the next start goes on"), About::Nothing));
        }
        Ok(Outcome::Held(held)) => {
            let text = format!(
                "{dt} is held, nothing of it is published: {}; look at it, then `huopan run PIPELINE --dt {dt}` with \
                 `--publish-anyway`, or with `--refresh` to fetch it anew",
                held.run.hold.summary()
            );
            messages.push((Told::Held, text, About::Hold(&held.run.hold)));
        }
        Ok(Outcome::AlreadyPublished { .. } | Outcome::Landed { .. }) => {}
        Err(error) => {
            let kind = match error.kind() {
                Kind::Denied => Told::Denied,
                Kind::Quota => Told::Quota,
                _ => Told::Failed,
            };
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            // The note says the same with less.
            messages.retain(|(told, _, _)| *told != Told::Denied || kind != Told::Denied);
            messages.push((kind, format!("{dt} is not published: {error}{hint}"), About::Nothing));
        }
    }
    messages
}

fn quota(note: &Note) -> Vec<Quota> {
    let Note::Quota { account, scope, used, limit, .. } = note else { return Vec::new() };
    let scope = scope.replacen(' ', ":", 1);
    vec![Quota { account: account.clone(), scope, used: *used, calls_per_day: Some(*limit) }]
}

fn incomplete_text(report: &Report) -> String {
    let shops = report.shops.iter().filter(|shop| shop.incomplete_reason.is_some()).count();
    let items = match report.items_unanswered {
        0 => String::new(),
        items => format!(", {items} single offers were not answered"),
    };
    format!("{}: {shops} of {} shops are incomplete{items}", report.dt, report.shops.len())
}

fn incomplete(report: &Report) -> Vec<alert::Shop> {
    let shop = |shop: &crate::transform::rows::ShopRow| {
        Some(alert::Shop {
            shop_id: shop.shop_id.clone(),
            shop_name: shop.shop_name.clone(),
            reason: shop.incomplete_reason.clone()?,
        })
    };
    report.shops.iter().filter_map(shop).collect()
}

fn suspicious(hold: &Hold) -> Vec<alert::Shop> {
    let shop = |finding: &Finding| alert::Shop {
        shop_id: finding.shop_id.clone().unwrap_or_default(),
        shop_name: finding.shop_name.clone(),
        reason: finding.to_string(),
    };
    hold.findings.iter().map(shop).collect()
}

fn counts(report: &Report) -> Counts {
    Counts {
        received: report.received,
        loaded: report.loaded,
        duplicates: report.duplicates,
        quarantined: report.quarantined,
        carried: report.carried,
        calls: report.calls,
    }
}
