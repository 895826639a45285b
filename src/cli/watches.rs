//! `huopan watches`: what the watches of a pipeline would say of a published day; nobody is told.

use std::io::Write;
use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;
use serde_json::{Value, json};

use crate::alert::{self, Message};
use crate::base::{Clock as _, Result, SystemClock};
use crate::config::Pipeline;
use crate::config::pipeline::AlertKind;
use crate::run::watch::{Preview, preview};
use crate::store::Store;

use super::{EXIT_CHANGE, Outcome, check, failure, written};

/// `huopan watches`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan watches pipelines/portals.toml                   as of the last published day
  huopan watches pipelines/portals.toml --dt 2026-11-20

Each watch is asked as after the publication of that day: `public` and `latest` are
that day, `before` is the day before it, `history` is every day. No message is sent:
the secrets of accounts and alerts are not needed.

Exit codes: 0 all could be asked · 1 something must change")]
pub(super) struct Arguments {
    /// The pipeline's file
    #[arg(value_name = "PIPELINE")]
    pipeline: PathBuf,
    /// The published day [default: the last one]
    #[arg(long, value_name = "YYYY-MM-DD")]
    dt: Option<NaiveDate>,
    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn main(arguments: &Arguments) -> Result<Outcome> {
    let pipeline = check::load_without_secrets(&arguments.pipeline)?;
    let lake = Store::readable(&pipeline.lake.location).await?;
    let (dt, previews) = preview((&pipeline, &lake), arguments.dt, SystemClock.now()).await?;
    let mut out = std::io::stdout().lock();
    written(match arguments.json {
        true => writeln!(out, "{}", document(dt, &pipeline, &previews)),
        false => write!(out, "{}", text(dt, &pipeline, &previews)),
    })?;
    let failed = previews.iter().any(|preview| preview.message.is_err());
    Ok(if failed { Outcome::Code(EXIT_CHANGE) } else { Outcome::Done })
}

/// The kind of each alert that a watch names, without repeats.
fn kinds(pipeline: &Pipeline, preview: &Preview<'_>) -> Vec<AlertKind> {
    let mut kinds = Vec::new();
    for alert in pipeline.alerts.iter().filter(|alert| preview.watch.alerts.contains(&alert.name)) {
        if !kinds.contains(&alert.kind) {
            kinds.push(alert.kind);
        }
    }
    kinds
}

fn text(dt: NaiveDate, pipeline: &Pipeline, previews: &[Preview<'_>]) -> String {
    if previews.is_empty() {
        return format!("pipeline `{}` has no watches: `[[watches]]` with `name`, `sql` and `alert`\n", pipeline.name);
    }
    let mut text = format!("as of {dt}; no message is sent\n");
    for preview in previews {
        let (name, alerts) = (&preview.watch.name, preview.watch.alerts.join(", "));
        match &preview.message {
            Err(error) => {
                let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
                text.push_str(&format!("\n{name} → {alerts}: cannot be asked: {error}{hint}\n"));
            }
            Ok(None) => text.push_str(&format!("\n{name} → {alerts}: no rows, no message\n")),
            Ok(Some(message)) => {
                let rows = message.watch.as_ref().map_or(0, |watch| watch.rows_total);
                let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
                text.push_str(&format!("\n{name} → {alerts}: {rows}\n"));
                for kind in kinds(pipeline, preview) {
                    for line in said(kind, message).lines() {
                        text.push_str(&format!("  {line}\n"));
                    }
                }
            }
        }
    }
    text
}

/// A message as people see it: a robot's text, a webhook's document.
fn said(kind: AlertKind, message: &Message) -> String {
    let body = alert::body(kind, message);
    let texts = ["/markdown/text", "/markdown/content", "/card/elements/0/content"];
    let text = texts.into_iter().find_map(|pointer| body.pointer(pointer)?.as_str());
    text.map_or_else(|| body.to_string(), str::to_owned)
}

fn document(dt: NaiveDate, pipeline: &Pipeline, previews: &[Preview<'_>]) -> Value {
    let one = |preview: &Preview<'_>| {
        let error = preview.message.as_ref().err().map(failure::document);
        let message = preview.message.as_ref().ok().and_then(Option::as_ref);
        json!({
            "watch": preview.watch.name,
            "alerts": preview.watch.alerts,
            "message": message.map(Message::document),
            "error": error.map(|document| document["error"].clone()),
        })
    };
    json!({"pipeline": pipeline.name, "dt": dt, "watches": previews.iter().map(one).collect::<Vec<_>>()})
}
