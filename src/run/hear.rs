//! Who hears how an attempt ended (`[[alerts]]`).
//!
//! Takes an attempt's outcome and what its extraction noted; gives the messages, and sends them.
//!
//! | what happened | message |
//! |---|---|
//! | published, all complete | `published` |
//! | published, a shop or an item is incomplete | `incomplete`, and `published` |
//! | its day looks wrong and is held back | `held` |
//! | calls are short, an account passed 80 or 95 % (each is told once a day), or is blocked | `quota` |
//! | the gateway refuses an account | `denied` |
//! | anything else that kept it from publishing | `failed` |
//!
//! Invariant: an alert that cannot be told is logged; it never changes what became of the run, and keeps no other from
//! being told.

use std::time::Duration;

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};

use crate::alert::{self, Counts, Kind as Told, Message, Quota};
use crate::base::{Error, Kind, Result};
use crate::config::Pipeline;
use crate::config::pipeline::{Alert, AlertKind, AlertOn};
use crate::extract::Note;
use crate::extract::accounts::Mark;
use crate::land::{Finding, Hold};
use crate::state::StateStore;

use super::{Outcome, Report, Surroundings, day};

/// All messages of an attempt together take a receiver at most this long.
const TIME_MAX: Duration = Duration::from_secs(20);
/// What was told of a day's calls is of no use after that day.
const TOLD_KEPT: TimeDelta = TimeDelta::days(2);

/// An attempt that has ended.
pub(super) struct Ended<'a> {
    pub(super) start: &'a day::Start,
    /// An earlier attempt has published the day.
    pub(super) stands: bool,
    /// What its extraction noted; `None`: it asked no gateway.
    pub(super) noted: Option<Noted<'a>>,
}

/// What an extraction noted.
#[derive(Clone, Copy)]
pub(super) struct Noted<'a> {
    pub(super) notes: &'a [Note],
    /// Knows what was told today.
    pub(super) state: &'a dyn StateStore,
    /// Who asked, for the log's part of what is told once a day.
    pub(super) holder: &'a str,
}

/// Tells how an attempt ended.
pub(super) async fn tell(pipeline: &Pipeline, around: &Surroundings<'_>, ended: &Ended<'_>, outcome: &Result<Outcome>) {
    if let Some(Noted { notes, state, holder }) = ended.noted {
        for note in notes {
            // It was logged when it was noted.
            is_news(pipeline, state, note, holder).await;
        }
    }
    let mut said = Vec::new();
    for (kind, text, about) in messages(ended, outcome) {
        let mut message = Message::new(kind, around.clock.now(), &pipeline.name, text);
        (message.dt, message.run_id) = (Some(ended.start.dt), Some(ended.start.run_id));
        let mut alerts = pipeline.alerts.clone();
        match about {
            About::Report(report) => {
                message.counts = Some(counts(report));
                if kind == Told::Incomplete {
                    message.shops = incomplete(report);
                }
            }
            About::Note(note) => {
                message.quota = quota(note);
                if let Some(Noted { state, .. }) = ended.noted {
                    alerts = untold(pipeline, state, note).await;
                }
            }
            About::Hold(hold) => message.shops = suspicious(hold),
            About::Nothing => {}
        }
        said.push((alerts, message));
    }
    send(&said, TIME_MAX).await;
}

/// The alerts that were not told of it before.
async fn untold(pipeline: &Pipeline, state: &dyn StateStore, note: &Note) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for alert in pipeline.alerts.iter().filter(|alert| alert.on.contains(&AlertOn::Quota) || !is_mark(note)) {
        // An address is a secret.
        let address =
            Sha256::digest(alert.url.expose())[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        if is_news(pipeline, state, note, &address).await {
            alerts.push(alert.clone());
        }
    }
    alerts
}

fn is_mark(note: &Note) -> bool {
    matches!(note, Note::Quota { .. })
}

/// Whether a listener was not told of it before: how much of its calls an account has used is said once a day, whatever
/// starts and pipelines pass the mark. Takes it for told then.
async fn is_news(pipeline: &Pipeline, state: &dyn StateStore, note: &Note, listener: &str) -> bool {
    let Note::Quota { account, scope, day, percent, limit, .. } = note else { return true };
    let mut accounts = pipeline.accounts.iter().chain(pipeline.details.iter().flat_map(|details| &details.accounts));
    let key = accounts.find(|known| known.name == *account).map_or(&**account, |known| &*known.key);
    let told = Mark::told(*percent, *limit, (key, &scope.replacen(' ', ":", 1)), (*day, listener));
    let claim = async {
        let now = state.now().await?;
        state.claim(&told, now, now + TOLD_KEPT).await
    };
    claim.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "whether somebody was told of the quota cannot be looked up");
        true
    })
}

/// Tells what kept a start from beginning an attempt: a state or lake that cannot be opened, for example. That another
/// start is at work is no failure. `published` are the days that this start has published before.
pub(super) async fn tell_of_no_start(
    pipeline: &Pipeline,
    around: &Surroundings<'_>,
    error: &Error,
    published: &[Report],
) {
    if pipeline.alerts.is_empty() || error.kind() == Kind::Conflict {
        return;
    }
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    let nothing = if published.is_empty() { "nothing" } else { "nothing more" };
    let text = format!("{nothing} is published: {error}{hint}");
    let message = Message::new(Told::Failed, around.clock.now(), &pipeline.name, text);
    send(&[(pipeline.alerts.clone(), message)], TIME_MAX).await;
}

/// A message that an alert was not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Undelivered {
    /// Its number among those that were sent.
    pub(super) message: usize,
    /// The alert's name.
    pub(super) alert: String,
}

/// Sends the messages: to a receiver in their order, to all receivers at once, so that none waits for another one. The
/// run's lock is held meanwhile, so there is an end to it. What was not delivered is logged, and given.
pub(super) async fn send(messages: &[(Vec<Alert>, Message)], time_max: Duration) -> Vec<Undelivered> {
    let mut receivers: Vec<(&Alert, Vec<Queued>)> = Vec::new();
    for (number, (alerts, message)) in messages.iter().enumerate() {
        for alert in alerts.iter().filter(|alert| alert::hears(alert, message)) {
            let queued = Queued { numbers: vec![number], message: message.clone() };
            match receivers.iter_mut().find(|(known, _)| known.name == alert.name) {
                Some((_, queue)) => queue.push(queued),
                None => receivers.push((alert, vec![queued])),
            }
        }
    }
    let told = receivers.into_iter().map(async |(alert, queue)| {
        let lost = tell_in_order(alert, within_rate(alert, queue), time_max).await;
        lost.into_iter().map(|message| Undelivered { message, alert: alert.name.clone() }).collect::<Vec<_>>()
    });
    futures::future::join_all(told).await.into_iter().flatten().collect()
}

/// A message, and which of those that were to be sent it stands for.
#[derive(Debug, Clone)]
struct Queued {
    numbers: Vec<usize>,
    message: Message,
}

/// Robots take 20 messages a minute: what is beyond this many is told in one.
const ROBOT_MESSAGES_MAX: usize = 15;

/// A queue that does not silence a robot.
fn within_rate(alert: &Alert, mut queue: Vec<Queued>) -> Vec<Queued> {
    if alert.kind == AlertKind::Webhook || queue.len() <= ROBOT_MESSAGES_MAX {
        return queue;
    }
    let more = queue.split_off(ROBOT_MESSAGES_MAX - 1);
    let texts: Vec<&str> = more.iter().map(|queued| queued.message.text.as_str()).collect();
    let text = format!("{} messages in one: {}", more.len(), texts.join("; "));
    let numbers = more.iter().flat_map(|queued| queued.numbers.iter().copied()).collect();
    if let Some(Queued { message, .. }) = more.into_iter().next() {
        let (dt, run_id) = (message.dt, message.run_id);
        let message = Message { dt, run_id, ..Message::new(message.kind, message.at, message.pipeline, text) };
        queue.push(Queued { numbers, message });
    }
    queue
}

/// Tells an alert one message after the other; gives the numbers of those it was not told.
async fn tell_in_order(alert: &Alert, queue: Vec<Queued>, time_max: Duration) -> Vec<usize> {
    let (mut told, mut lost) = (0, Vec::new());
    let telling = async {
        for Queued { numbers, message } in &queue {
            for alert::Failure { alert, reason } in alert::send(std::slice::from_ref(alert), message).await {
                tracing::warn!(alert, kind = message.kind.name(), reason, "alert was not delivered");
                lost.extend(numbers);
            }
            told += 1;
        }
    };
    if tokio::time::timeout(time_max, telling).await.is_err() {
        let kinds: Vec<_> = queue[told..].iter().map(|queued| queued.message.kind.name()).collect();
        let (alert, kinds, seconds) = (&alert.name, kinds.join(", "), time_max.as_secs());
        tracing::warn!(alert, kinds, seconds, "alert did not take all it was to be told in time");
        lost.extend(queue[told..].iter().flat_map(|queued| &queued.numbers));
    }
    lost
}

/// What a message is made from.
enum About<'o> {
    Report(&'o Report),
    Note(&'o Note),
    Hold(&'o Hold),
    Nothing,
}

fn messages<'o>(ended: &Ended<'o>, outcome: &'o Result<Outcome>) -> Vec<(Told, String, About<'o>)> {
    let (dt, notes) = (ended.start.dt, ended.noted.map_or(&[][..], |noted| noted.notes));
    let stays = if ended.stands { "stays as it was published before" } else { "is not published" };
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
            messages.push((kind, format!("{dt} {stays}: {reason}; the next start goes on"), About::Nothing));
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
            // Its note says the same with less; others are about other accounts or endpoints.
            let said = error.to_string();
            let is_its_note =
                |about: &About<'_>| matches!(about, About::Note(Note::Denied { reason, .. }) if *reason == said);
            messages.retain(|(_, _, about)| !is_its_note(about));
            messages.push((kind, format!("{dt} {stays}: {error}{hint}"), About::Nothing));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::RunId;

    #[test]
    fn a_day_that_was_published_before_is_not_called_unpublished() {
        let dt = "2026-11-20".parse().unwrap();
        let run_id = RunId::new(chrono::DateTime::UNIX_EPOCH, [7; 10]);
        let start = day::Start { dt, run_id, attempt: 2, started_at: chrono::DateTime::UNIX_EPOCH };
        for (stands, says) in [(false, "is not published"), (true, "stays as it was published before")] {
            let ended = Ended { start: &start, stands, noted: None };
            let told = |outcome: &Result<Outcome>| {
                messages(&ended, outcome).into_iter().map(|(kind, text, _)| (kind, text)).collect::<Vec<_>>()
            };
            let stopped = Outcome::Stopped { dt, reason: "a signal".into(), kind: Kind::Unavailable, stands };
            let expected = format!("2026-11-20 {says}: a signal; the next start goes on");
            assert_eq!(told(&Ok(stopped)), [(Told::Failed, expected)]);
            let failed = Err(Error::storage("full").with_hint("free space"));
            assert_eq!(told(&failed), [(Told::Failed, format!("2026-11-20 {says}: full; free space"))]);
        }
    }

    #[tokio::test]
    async fn a_run_that_ends_with_one_account_refused_tells_of_the_others_too() {
        let dt = "2026-11-20".parse().unwrap();
        let run_id = RunId::new(chrono::DateTime::UNIX_EPOCH, [7; 10]);
        let start = day::Start { dt, run_id, attempt: 1, started_at: chrono::DateTime::UNIX_EPOCH };
        let denied = |account: &str, endpoint: Option<&str>, reason: &str| Note::Denied {
            account: account.into(),
            endpoint: endpoint.map(str::to_owned),
            reason: reason.into(),
        };
        let error = Error::new(Kind::Denied, "gateway `g` refuses account `b`: unknown key");
        let (own, state) = (error.to_string(), crate::state::in_memory().await.unwrap());
        let notes = [denied("a", None, "bad"), denied("b", Some("item"), "not bought"), denied("b", None, &own)];
        let noted = Some(Noted { notes: &notes, state: state.as_ref(), holder: "" });
        let ended = Ended { start: &start, stands: false, noted };
        let told: Vec<_> = messages(&ended, &Err(error)).into_iter().map(|(_, text, _)| text).collect();
        assert_eq!(
            told,
            [
                "account `a` is refused: bad",
                "account `b` is refused endpoint `item`: not bought",
                "2026-11-20 is not published: gateway `g` refuses account `b`: unknown key",
            ]
        );
    }

    #[test]
    fn a_robot_hears_the_many_in_one() {
        let alert = |kind| Alert {
            name: "ops".into(),
            kind,
            url: crate::base::Secret::new("http://127.0.0.1/"),
            sign: None,
            on: Vec::new(),
        };
        let queue = |count: usize| -> Vec<Queued> {
            let message =
                |number| Message::new(Told::Watch, chrono::DateTime::UNIX_EPOCH, "test", format!("w{number}"));
            (0..count).map(|number| Queued { numbers: vec![number], message: message(number) }).collect()
        };
        for (kind, count, expected) in [
            (AlertKind::WeCom, ROBOT_MESSAGES_MAX, ROBOT_MESSAGES_MAX),
            (AlertKind::WeCom, 40, ROBOT_MESSAGES_MAX),
            (AlertKind::Webhook, 40, 40),
        ] {
            let queue = within_rate(&alert(kind), queue(count));
            let numbers: Vec<usize> = queue.iter().flat_map(|queued| queued.numbers.clone()).collect();
            assert_eq!((queue.len(), numbers), (expected, (0..count).collect()), "every one is told");
        }
        let told = within_rate(&alert(AlertKind::DingTalk), queue(17));
        assert_eq!(told[14].message.text, "3 messages in one: w14; w15; w16");
    }

    #[tokio::test]
    async fn a_receiver_that_never_answers_keeps_no_other_from_hearing() {
        let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let hear = {
            let heard = std::sync::Arc::clone(&heard);
            async move |body: String| {
                let document: serde_json::Value = serde_json::from_str(&body).unwrap();
                heard.lock().unwrap().push(document["kind"].as_str().unwrap().to_owned());
            }
        };
        let never = async || std::future::pending::<()>().await;
        let router =
            axum::Router::new().route("/hears", axum::routing::post(hear)).route("/never", axum::routing::post(never));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let alert = |name: &str, on: &[AlertOn]| Alert {
            name: name.to_owned(),
            kind: AlertKind::Webhook,
            url: crate::base::Secret::new(format!("http://{address}/{name}")),
            sign: None,
            on: on.to_vec(),
        };
        let alerts = [alert("never", &[AlertOn::Denied]), alert("hears", &[AlertOn::Denied, AlertOn::Failed])];
        let message = |kind| (alerts.to_vec(), Message::new(kind, chrono::DateTime::UNIX_EPOCH, "test", "text"));
        let messages = [message(Told::Denied), message(Told::Published), message(Told::Failed)];
        let undelivered = send(&messages, Duration::from_millis(500)).await;
        assert_eq!(undelivered, [Undelivered { message: 0, alert: "never".into() }]);
        assert_eq!(*heard.lock().unwrap(), ["denied", "failed"]);
    }
}
