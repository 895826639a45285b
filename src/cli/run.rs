//! `huopan run`: one run of a pipeline.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use crate::base::{Error, Result, SystemClock};
use crate::config::Pipeline;
use crate::land::hold::Suspect;
use crate::land::{Finding, HeldRun};
use crate::run::{Held, Options, Outcome as Ended, Report, Surroundings, run_days};

use super::output::Talk;
use super::progress::Bars;
use super::{EXIT_INCOMPLETE, EXIT_LATER, Outcome, check, failure, written};

/// `huopan run`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan run pipelines/portals.toml                      today's run (Beijing day)
  huopan run pipelines/portals.toml --refresh            fetch and publish today once more
  huopan run pipelines/portals.toml --dt 2026-11-20      for a stated day
  huopan run pipelines/portals.toml --publish-anyway     the day that is held, from what has landed; no call is made

Exit codes: 0 published · 1 something must change · 3 published, but incomplete, or held · 75 try again later")]
pub(super) struct Arguments {
    /// The pipeline's file
    #[arg(value_name = "PIPELINE")]
    pipeline: PathBuf,
    /// The day the run stands for [default: today in Beijing]
    #[arg(long, value_name = "YYYY-MM-DD")]
    dt: Option<NaiveDate>,
    /// Fetch and publish a day anew that is published: kept offers and details are not used, shop ids and what `plan --probe`
    /// has just bought are
    #[arg(long)]
    refresh: bool,
    /// Use no answer that is kept for a while (shop ids, SKU and item details): ask again
    #[arg(long)]
    no_cache: bool,
    /// Publish the run that is held because its day looks wrong, from what has landed: no call is made
    #[arg(long, conflicts_with_all = ["refresh", "no_cache", "until"])]
    publish_anyway: bool,
    /// Where to stop
    #[arg(long, value_enum, default_value_t = Until::Publish)]
    until: Until,
    /// Print the outcome as JSON, also that of a run that failed
    #[arg(long)]
    json: bool,
}

/// What the user hears when a signal stops a run.
pub(super) const STOPPING: &str = "stopping: answers in flight are kept";

/// Where a run stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Until {
    /// After the answers have landed
    Land,
    /// After the tables are published
    Publish,
}

pub(super) async fn main(arguments: Arguments, talk: &Talk) -> Result<Outcome> {
    let mut published = Vec::new();
    let ended = match check::load(&arguments.pipeline) {
        Ok(pipeline) => run_pipeline(&pipeline, &arguments, talk, &mut published).await,
        Err(error) => Err(error),
    };
    let mut out = std::io::stdout().lock();
    let printed = written(match arguments.json {
        true => writeln!(out, "{}", json(&ended, &published)),
        false => write!(out, "{}", text(&ended, &published, &arguments.pipeline)),
    });
    let ended = ended?;
    if let Some(error) = stopped(&ended) {
        talk.error(&error);
    }
    printed.map(|()| exit(&ended))
}

async fn run_pipeline(
    pipeline: &Pipeline,
    arguments: &Arguments,
    talk: &Talk,
    published: &mut Vec<Report>,
) -> Result<Ended> {
    let options = Options {
        dt: arguments.dt,
        refresh: arguments.refresh,
        until_landed: arguments.until == Until::Land,
        no_cache: arguments.no_cache,
        publish_anyway: arguments.publish_anyway,
    };
    let bars = Bars::new(talk);
    let around = Surroundings {
        clock: Arc::new(SystemClock),
        progress: &bars,
        cancel: cancelled_by_signals(talk, STOPPING),
        seed: rand::random(),
    };
    let ended = run_days(pipeline, None, options, &around, published).await;
    bars.clear();
    ended
}

/// Cancelled by the first SIGINT or SIGTERM, which is answered with `farewell`; the second ends
/// the process at once: what has landed stays, the next start goes on from there.
pub(super) fn cancelled_by_signals(talk: &Talk, farewell: &'static str) -> CancellationToken {
    let (token, talk) = (CancellationToken::new(), talk.clone());
    let cancel = token.clone();
    tokio::spawn(async move {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
        tokio::select! {
            result = tokio::signal::ctrl_c() => if result.is_err() { return },
            _ = terminated.recv() => {}
        }
        talk.say(farewell);
        cancel.cancel();
        // Who asks twice does not want to wait.
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
        std::process::exit(i32::from(EXIT_LATER));
    });
    token
}

fn exit(ended: &Ended) -> Outcome {
    match ended {
        Ended::AlreadyPublished { .. } | Ended::Landed { .. } => Outcome::Done,
        Ended::Stopped { kind, .. } => Outcome::Code(kind.exit_code()),
        Ended::Published(reports) if reports.iter().all(Report::is_complete) => Outcome::Done,
        Ended::Published(_) | Ended::Held(_) => Outcome::Code(EXIT_INCOMPLETE),
    }
}

const _: () = assert!(EXIT_LATER == 75, "`Kind::exit_code` and the command line agree");

/// A run that published nothing, as an error that says why.
fn stopped(ended: &Ended) -> Option<Error> {
    let Ended::Stopped { dt, reason, kind, stands } = ended else { return None };
    let what = if *stands { "stays as it was published before" } else { "is not published" };
    Some(Error::new(*kind, format!("{dt} {what}: {reason}")))
}

/// The days that were published, then how the run ended; an error is said elsewhere.
fn text(ended: &Result<Ended>, published: &[Report], pipeline: &Path) -> String {
    let reports: String = published.iter().map(report_text).collect();
    let end = match ended {
        Ok(Ended::AlreadyPublished { dt }) => {
            format!("{dt} is published already: nothing was done (`--refresh` does it once more)\n")
        }
        Ok(Ended::Landed { run_id, calls }) => format!("run {run_id} landed {calls} calls; nothing is published\n"),
        Ok(Ended::Held(held)) => held_text(held, pipeline),
        Ok(Ended::Published(_) | Ended::Stopped { .. }) | Err(_) => String::new(),
    };
    reports + &end
}

/// A day that is held, with a line per shop and what to do.
fn held_text(held: &Held, pipeline: &Path) -> String {
    let HeldRun { dt, run_id, hold } = &held.run;
    let mut text = format!("{dt}: HELD, nothing of it is published (run {run_id})\n");
    for finding in &hold.findings {
        text.push_str(&format!("  {}: {finding}\n", finding.shop()));
    }
    let file = pipeline.display();
    text.push_str(&format!(
        "  if that is right:  huopan run {file} --dt {dt} --publish-anyway    (no call is made)\n\
         \x20 if it is not:      huopan run {file} --dt {dt} --refresh           (the day is fetched anew)\n\
         \x20 what may change in one night: `[guard]` in the pipeline\n"
    ));
    text
}

/// One publication, with a line per shop.
pub(super) fn report_text(report: &Report) -> String {
    let mut text = format!(
        "{}: published as number {} · received {} = loaded {} + duplicates {} + quarantined {} · carried {} · {} calls\n",
        report.dt,
        report.seq,
        report.received,
        report.loaded,
        report.duplicates,
        report.quarantined,
        report.carried,
        report.calls
    );
    if report.received > 0 && report.loaded == 0 {
        text.push_str(
            "  NOTHING COULD BE LOADED: `huopan sql -c \"select reason, field, value from quarantine\"` says why\n",
        );
    }
    for shop in &report.shops {
        let name = shop.shop_name.as_deref().unwrap_or(&shop.shop_id);
        let official = shop.official_count.map_or_else(|| "?".to_owned(), |count| count.to_string());
        let verdict =
            shop.incomplete_reason.as_deref().map_or("complete".to_owned(), |why| format!("INCOMPLETE: {why}"));
        text.push_str(&format!(
            "  {name}: {} of {official} offers, {} new, {} changed, {} delisted · {verdict}\n",
            shop.offer_count, shop.new_count, shop.changed_count, shop.delisted_count
        ));
    }
    if let Some(why) = &report.incomplete_reason {
        text.push_str(&format!("  INCOMPLETE: {why}\n"));
    }
    if report.items_unanswered > 0 {
        text.push_str(&format!("  INCOMPLETE: {} items were not answered\n", report.items_unanswered));
    }
    text
}

/// One document, however the run ended: its `outcome`, the `publications` it made, its `exit_code`.
fn json(ended: &Result<Ended>, published: &[Report]) -> serde_json::Value {
    use serde_json::json;
    let mut document = match ended {
        Ok(Ended::AlreadyPublished { dt }) => json!({"outcome": "already_published", "dt": dt}),
        Ok(Ended::Landed { run_id, calls }) => {
            json!({"outcome": "landed", "run_id": run_id.to_string(), "calls": calls})
        }
        Ok(Ended::Stopped { dt, reason, kind, stands }) => json!({
            "outcome": "stopped", "dt": dt, "reason": reason, "kind": kind.name(), "published_before": stands,
        }),
        Ok(Ended::Held(Held { run: HeldRun { dt, run_id, hold }, .. })) => json!({
            "outcome": "held", "dt": dt, "run_id": run_id.to_string(), "held_at": hold.held_at,
            "findings": hold.findings.iter().map(finding_json).collect::<Vec<_>>(),
        }),
        Ok(Ended::Published(_)) => json!({"outcome": "published"}),
        Err(error) => failure::document(error),
    };
    document["publications"] = published.iter().map(report_json).collect();
    if let Ok(ended) = ended {
        document["exit_code"] = exit(ended).code().into();
    }
    document
}

pub(super) fn finding_json(finding: &Finding) -> serde_json::Value {
    let what = match finding.what {
        Suspect::Gone => "gone",
        Suspect::Prices { .. } => "prices",
    };
    serde_json::json!({
        "shop_id": finding.shop_id, "shop_name": finding.shop_name, "what": what,
        "offers": finding.offers, "of": finding.of, "share_max": finding.share_max, "text": finding.to_string(),
    })
}

pub(super) fn report_json(report: &Report) -> serde_json::Value {
    let shops = report.shops.iter().map(|shop| {
        serde_json::json!({
            "shop_id": shop.shop_id,
            "official_count": shop.official_count,
            "offer_count": shop.offer_count,
            "is_complete": shop.incomplete_reason.is_none(),
            "incomplete_reason": shop.incomplete_reason,
        })
    });
    serde_json::json!({
        "dt": report.dt,
        "run_id": report.run_id.to_string(),
        "publish_seq": report.seq,
        "received": report.received,
        "loaded": report.loaded,
        "duplicates": report.duplicates,
        "quarantined": report.quarantined,
        "carried": report.carried,
        "calls": report.calls,
        "items_unanswered": report.items_unanswered,
        "is_complete": report.is_complete(),
        "incomplete_reason": report.incomplete_reason,
        "shops": shops.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Error, Kind, RunId};

    fn report() -> Report {
        Report {
            dt: "2026-11-19".parse().unwrap(),
            run_id: RunId::new(chrono::DateTime::UNIX_EPOCH, [7; 10]),
            seq: 4,
            received: 9,
            loaded: 9,
            duplicates: 0,
            quarantined: 0,
            carried: 0,
            calls: 3,
            items_unanswered: 0,
            incomplete_reason: None,
            shops: Vec::new(),
        }
    }

    fn without_word(stands: bool) -> Result<Ended> {
        let dt = "2026-11-20".parse().unwrap();
        Ok(Ended::Stopped { dt, reason: "a signal".into(), kind: Kind::Unavailable, stands })
    }

    #[test]
    fn what_was_published_before_the_end_is_said_before_the_end() {
        let first = "2026-11-19: published as number 4 · received 9 = loaded 9 + duplicates 0 + quarantined 0 · carried 0 · 3 calls\n";
        let failed = || Err(Error::config("no lake").with_hint("name one"));
        for (ended, end) in [(without_word(false), ""), (Ok(Ended::Published(vec![report()])), ""), (failed(), "")] {
            assert_eq!(text(&ended, &[report()], Path::new("p.toml")), format!("{first}{end}"));
        }
        for (ended, outcome, code) in [(without_word(true), "stopped", 75), (failed(), "failed", 1)] {
            let document = json(&ended, &[report()]);
            assert_eq!((&document["outcome"], &document["exit_code"]), (&outcome.into(), &code.into()));
            assert_eq!(document["publications"][0]["publish_seq"], 4);
        }
        for (stands, why) in [(false, "is not published"), (true, "stays as it was published before")] {
            let error = stopped(&without_word(stands).unwrap()).unwrap();
            assert_eq!(error.to_string(), format!("2026-11-20 {why}: a signal"));
        }
        let document = json(&failed(), &[]);
        assert_eq!(document["error"]["message"], "no lake");
        assert_eq!((&document["error"]["kind"], &document["error"]["hint"]), (&"config".into(), &"name one".into()));
        assert_eq!(document["publications"], serde_json::json!([]));
    }
}
