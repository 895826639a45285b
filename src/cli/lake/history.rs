//! `huopan lake history`.

use std::io::Write;

use chrono::SecondsFormat;
use clap::Args;
use serde_json::{Value, json};

use crate::base::Result;
use crate::base::time::BEIJING;
use crate::load::history::{self, Act, Past, history};

use super::super::table::{Align, Table, thousands};
use super::super::target::Target;
use super::super::{Outcome, written};
use super::size;

#[derive(Debug, Args)]
#[command(
    after_help = "kind: published (a run) · attempt (one that stopped or failed: it only adds to the journals) · optimized ·
expired (older days were taken away) · fence (a number kept from a process that had lost its lock).
As far back as the publish log goes: see `huopan lake vacuum --help`."
)]
pub(super) struct Arguments {
    /// How many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    last: u32,
    /// Of this pipeline only
    #[arg(long = "of", value_name = "NAME")]
    of: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn main(arguments: &Arguments, target: &Target) -> Result<Outcome> {
    let store = target.store().await?;
    let last = usize::try_from(arguments.last).unwrap_or(usize::MAX);
    let past = history(&store, arguments.of.as_deref(), last).await?;
    let text = match arguments.json {
        true => format!("{:#}\n", Value::Array(past.iter().map(as_json).collect())),
        false => as_text(&past),
    };
    written(std::io::stdout().lock().write_all(text.as_bytes()))?;
    Ok(Outcome::Done)
}

fn as_text(past: &[Past]) -> String {
    let columns = [
        ("pipeline", Align::Left),
        ("seq", Align::Right),
        ("kind", Align::Left),
        ("dt", Align::Left),
        ("decided (Beijing)", Align::Left),
        ("offers", Align::Right),
        ("rows", Align::Right),
        ("files", Align::Right),
        ("size", Align::Right),
        ("run", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for one in past {
        let (sum, decided) = (one.sum(), one.published_at.with_timezone(&BEIJING));
        let dt = match one.expired_before.values().max() {
            Some(first) => format!("< {first}"),
            None if one.is_current == Some(false) => format!("{} (replaced)", one.dt),
            None if one.act == Act::Fence => String::new(),
            None => one.dt.to_string(),
        };
        table.row([
            one.pipeline.clone(),
            one.seq.to_string(),
            one.act.name().to_owned(),
            dt,
            decided.format("%F %T").to_string(),
            history::offers(one).map(thousands).unwrap_or_default(),
            thousands(sum.rows),
            thousands(sum.files),
            size(sum.bytes),
            if one.run_id.is_empty() { String::new() } else { format!("{} #{}", one.run_id, one.attempt) },
        ]);
    }
    if table.is_empty() { "nothing is published\n".to_owned() } else { table.render("") }
}

fn as_json(past: &Past) -> Value {
    let sum = |sum: history::Sum| json!({"files": sum.files, "rows": sum.rows, "bytes": sum.bytes});
    let tables: serde_json::Map<String, Value> =
        past.tables.iter().map(|(table, of_table)| (table.clone(), sum(*of_table))).collect();
    let is_run = !past.run_id.is_empty();
    json!({
        "pipeline": past.pipeline,
        "seq": past.seq,
        "kind": past.act.name(),
        "dt": past.dt,
        "run_id": is_run.then_some(&past.run_id),
        "attempt": is_run.then_some(past.attempt),
        "published_at": past.published_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "is_current": past.is_current,
        "expired_before": past.expired_before,
        "total": sum(past.sum()),
        "tables": tables,
    })
}
