//! `huopan run`: one run of a pipeline.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use crate::base::{Result, SystemClock};
use crate::land::hold::Suspect;
use crate::land::{Finding, HeldRun};
use crate::run::{Held, Options, Outcome as Ended, Report, Surroundings, run};

use super::output::Talk;
use super::progress::Bars;
use super::{EXIT_INCOMPLETE, EXIT_LATER, Outcome, check, written};

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
    /// Fetch and publish a day anew that is published
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
    /// Print the outcome as JSON
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
    let pipeline = check::load(&arguments.pipeline)?;
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
    let ended = run(&pipeline, options, &around).await;
    bars.clear();
    let ended = ended?;
    let mut out = std::io::stdout().lock();
    written(match arguments.json {
        true => writeln!(out, "{}", json(&ended)),
        false => write!(out, "{}", text(&ended, &arguments.pipeline)),
    })?;
    Ok(exit(&ended))
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

fn text(ended: &Ended, pipeline: &Path) -> String {
    match ended {
        Ended::AlreadyPublished { dt } => {
            format!("{dt} is published already: nothing was done (`--refresh` does it once more)\n")
        }
        Ended::Landed { run_id, calls } => format!("run {run_id} landed {calls} calls; nothing is published\n"),
        Ended::Stopped { dt, reason, .. } => format!("{dt} is not published: {reason}\n"),
        Ended::Published(reports) => reports.iter().map(report_text).collect(),
        Ended::Held(held) => held_text(held, pipeline),
    }
}

/// A day that is held, with a line per shop and what to do.
fn held_text(held: &Held, pipeline: &Path) -> String {
    let HeldRun { dt, run_id, hold } = &held.run;
    let mut text: String = held.published.iter().map(report_text).collect();
    text.push_str(&format!("{dt}: HELD, nothing of it is published (run {run_id})\n"));
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

fn json(ended: &Ended) -> serde_json::Value {
    use serde_json::json;
    match ended {
        Ended::AlreadyPublished { dt } => json!({"outcome": "already_published", "dt": dt}),
        Ended::Landed { run_id, calls } => json!({"outcome": "landed", "run_id": run_id.to_string(), "calls": calls}),
        Ended::Stopped { dt, reason, .. } => json!({"outcome": "stopped", "dt": dt, "reason": reason}),
        Ended::Published(reports) => {
            json!({"outcome": "published", "publications": reports.iter().map(report_json).collect::<Vec<_>>()})
        }
        Ended::Held(Held { run: HeldRun { dt, run_id, hold }, published }) => json!({
            "outcome": "held", "dt": dt, "run_id": run_id.to_string(), "held_at": hold.held_at,
            "findings": hold.findings.iter().map(finding_json).collect::<Vec<_>>(),
            "publications": published.iter().map(report_json).collect::<Vec<_>>(),
        }),
    }
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
