//! `huopan accounts`: the quota ledger and the health of accounts, shown and corrected.

use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Subcommand};

use crate::base::text::nearest;
use crate::base::time::{BEIJING, beijing_day};
use crate::base::{Error, Result};
use crate::config::Pipeline;
use crate::config::gateway::QuotaScope;
use crate::config::pipeline::StateConfig;
use crate::extract::Fingerprint;
use crate::run::rebuild_from_lake;
use crate::state::{self, AccountHealth, Counted, RestKind, Resting, StateStore};

use super::table::{Align, Table, thousands};
use super::{Outcome, check, written};

/// `huopan accounts`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan accounts pipelines/portals.toml    today's calls, what is left, who rests
  huopan accounts                           every account in data/state.sqlite
  huopan accounts set main --calls 1200 --pipeline pipelines/portals.toml
  huopan accounts wake main --pipeline pipelines/portals.toml

`set`: another program has made calls with the same key. `wake`: a permission
was granted or a quota raised, so ask again. Days and times are Beijing's. Calls
are counted by app key, whatever the pipelines call it. With a pipeline, a state
that was lost is first rebuilt from what has landed in its lake.")]
pub(super) struct Arguments {
    /// The pipeline whose accounts to show
    #[arg(value_name = "PIPELINE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Print as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Whose accounts, in which state store.
#[derive(Debug, Args)]
struct Place {
    /// The pipeline that names the accounts and the state store
    #[arg(long, value_name = "FILE", global = true)]
    pipeline: Option<PathBuf>,
    /// A state file; accounts are then named by their keys [default: ./data/state.sqlite]
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "pipeline")]
    state: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set today's number of calls: another program uses the same key
    Set(Set),
    /// End all rests of an account and bring it back to its full rate
    Wake(Wake),
}

#[derive(Debug, Args)]
struct Set {
    /// The account's name in the pipeline, or its key
    #[arg(value_name = "NAME")]
    account: String,
    /// Calls made today, by everybody
    #[arg(long)]
    calls: u64,
    /// What the gateway counts, where that is not the whole account: `endpoint:NAME` (huopan's or its own) or `shop:ID`
    #[arg(long)]
    scope: Option<String>,
}

#[derive(Debug, Args)]
struct Wake {
    /// The account's name in the pipeline, or its key
    #[arg(value_name = "NAME")]
    account: String,
}

pub(super) async fn main(arguments: &Arguments) -> Result<Outcome> {
    let file = arguments.file.as_ref().or(arguments.place.pipeline.as_ref());
    let pipeline = file.map(|file| check::load(file)).transpose()?;
    let state = match &pipeline {
        Some(pipeline) => state::open(&pipeline.state).await?,
        None => state::open(&StateConfig::Sqlite(state_file(arguments.place.state.as_deref())?)).await?,
    };
    if let Some(pipeline) = &pipeline
        && let Err(error) = rebuild_from_lake(pipeline, state.as_ref()).await
    {
        // Whoever looks after the accounts of a damaged lake is not kept from it: its run says what to do.
        tracing::warn!(%error, "what has landed cannot be read: the state shows what it knows itself");
    }
    let now = state.now().await?;
    let ledger = Ledger {
        today: beijing_day(now),
        counts: state.counts(beijing_day(now)).await?,
        health: state.accounts(now).await?,
    };
    let accounts = match &pipeline {
        Some(pipeline) => named(pipeline),
        None => unnamed(&ledger),
    };
    match &arguments.command {
        None => {
            let rows = rows(&accounts, &ledger);
            let mut out = std::io::stdout().lock();
            written(match arguments.json {
                true => writeln!(out, "{}", json(&rows, &ledger)),
                false => write!(out, "{}", text(&rows, &ledger)),
            })?;
        }
        Some(Command::Set(set)) => {
            let account = find(&accounts, &set.account)?;
            let before = correct(state.as_ref(), &ledger, account, set).await?;
            tell(arguments.json, &corrected(account, set, &ledger, &before))?;
        }
        Some(Command::Wake(wake)) => {
            let account = find(&accounts, &wake.account)?;
            state.wake(&account.key).await?;
            tell(arguments.json, &woken(account, &ledger))?;
        }
    }
    Ok(Outcome::Done)
}

/// Where state is looked for when no pipeline says it.
pub(super) const DEFAULT_STATE: &str = "data/state.sqlite";

fn state_file(stated: Option<&Path>) -> Result<PathBuf> {
    let file = stated.unwrap_or(Path::new(DEFAULT_STATE));
    if file.is_file() {
        return Ok(file.to_owned());
    }
    Err(Error::config(format!("there is no state file at `{}`", file.display()))
        .with_hint("name the pipeline: `huopan accounts PIPELINE`; the file is there after its first run"))
}

/// What the store knows of today.
struct Ledger {
    today: NaiveDate,
    counts: Vec<Counted>,
    health: Vec<AccountHealth>,
}

/// An account as a user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    name: String,
    /// Public: an app key, or a digest where all credentials are secrets.
    key: String,
    gateway: Option<String>,
    calls_per_day: Option<u64>,
    counts_by: Option<QuotaScope>,
    /// Where the gateway counts by endpoint: its names for huopan's.
    methods: Vec<(String, String)>,
    print: Option<Fingerprint>,
}

impl Known {
    /// Whether a rest is its own: what another gateway refuses its key is not.
    fn is_concerned(&self, rest: &Resting) -> bool {
        self.print.as_ref().is_none_or(|print| rest.concerns(&print.gateway, &rest.credentials))
    }
}

fn named(pipeline: &Pipeline) -> Vec<Known> {
    let details = pipeline.details.as_ref();
    let own = pipeline.accounts.iter().map(|account| (&pipeline.gateway, account));
    let other = details.into_iter().flat_map(|other| other.accounts.iter().map(|account| (&other.gateway, account)));
    let known = own.chain(other).map(|(gateway, account)| Known {
        name: account.name.clone(),
        key: account.key.clone(),
        gateway: Some(gateway.name.clone()),
        calls_per_day: account.calls_per_day,
        counts_by: Some(gateway.limits.quota_scope),
        methods: gateway.endpoints.keys().map(|name| (name.clone(), gateway.counted_as(name))).collect(),
        print: Some(Fingerprint::new(gateway, account)),
    });
    known.collect()
}

fn unnamed(ledger: &Ledger) -> Vec<Known> {
    let counted = ledger.counts.iter().map(|counted| &counted.account);
    let mut keys: Vec<&String> = counted.chain(ledger.health.iter().map(|health| &health.account)).collect();
    keys.sort();
    keys.dedup();
    let known = |key: &String| Known {
        name: key.clone(),
        key: key.clone(),
        gateway: None,
        calls_per_day: None,
        counts_by: None,
        methods: Vec::new(),
        print: None,
    };
    keys.into_iter().map(known).collect()
}

fn find<'a>(accounts: &'a [Known], name: &str) -> Result<&'a Known> {
    let by_name = accounts.iter().find(|account| account.name == name);
    by_name.or_else(|| accounts.iter().find(|account| account.key == name)).ok_or_else(|| {
        let error = Error::config(format!("no account is called `{name}`"));
        let names: Vec<&str> = accounts.iter().map(|account| account.name.as_str()).collect();
        match nearest(name, names.iter().copied()) {
            Some(nearest) => error.with_hint(format!("did you mean `{nearest}`?")),
            None if names.is_empty() => error.with_hint("name the pipeline: `--pipeline FILE`"),
            None => error.with_hint(format!("there are {}; `--pipeline FILE` says whose", names.join(", "))),
        }
    })
}

/// What was done, as a line and as a document.
struct Done {
    line: String,
    document: serde_json::Value,
}

fn tell(json: bool, Done { line, document }: &Done) -> Result<()> {
    let mut out = std::io::stdout().lock();
    written(if json { writeln!(out, "{document}") } else { writeln!(out, "{line}") })
}

fn corrected(account: &Known, set: &Set, ledger: &Ledger, before: &Counted) -> Done {
    let (today, now, was) = (ledger.today, thousands(set.calls), thousands(before.calls));
    Done {
        line: format!("{}: {now} calls counted on {today} (before: {was})", account.name),
        document: serde_json::json!({
            "day": today,
            "name": account.name,
            "key": account.key,
            "scope": before.scope,
            "calls": set.calls,
            "calls_before": before.calls,
        }),
    }
}

fn woken(account: &Known, ledger: &Ledger) -> Done {
    let own = ledger.health.iter().filter(|health| health.account == account.key);
    let ended: Vec<_> = own.flat_map(|health| &health.rests).map(rest_json).collect();
    Done {
        line: format!("{}: awake, at its full rate", account.name),
        document: serde_json::json!({
            "day": ledger.today,
            "name": account.name,
            "key": account.key,
            "ended_rests": ended,
        }),
    }
}

/// Sets a count; gives what it was.
async fn correct(state: &dyn StateStore, ledger: &Ledger, account: &Known, set: &Set) -> Result<Counted> {
    let scope = scope(account, set.scope.as_deref())?;
    let before = ledger.counts.iter().find(|counted| counted.account == account.key && counted.scope == scope);
    let calls = before.map_or(0, |counted| counted.calls);
    let before = Counted { account: account.key.clone(), scope, day: ledger.today, calls };
    state.correct(&Counted { calls: set.calls, ..before.clone() }).await?;
    Ok(before)
}

/// The scope to correct: it must be one that the gateway counts by.
fn scope(account: &Known, stated: Option<&str>) -> Result<String> {
    let stated = stated.unwrap_or_default();
    let (right, hint) = match account.counts_by {
        Some(QuotaScope::Account) => (stated.is_empty(), "leave `--scope` out: this gateway counts all calls together"),
        Some(QuotaScope::Endpoint) => {
            // Several of huopan's endpoints may be one to the gateway.
            let own = stated.strip_prefix("endpoint:").filter(|name| !name.is_empty());
            let own = own.and_then(|stated| account.methods.iter().find(|(name, _)| name == stated));
            if let Some((_, method)) = own {
                return Ok(format!("endpoint:{method}"));
            }
            (is_named(stated, "endpoint:"), "this gateway counts by endpoint: `--scope endpoint:listing`")
        }
        // What is asked before a shop's id is known counts for the account.
        Some(QuotaScope::Shop) => {
            (stated.is_empty() || is_named(stated, "shop:"), "this gateway counts by shop: `--scope shop:b2b-1`")
        }
        None => {
            let right = stated.is_empty() || is_named(stated, "endpoint:") || is_named(stated, "shop:");
            (right, "a scope is `endpoint:NAME` or `shop:ID`")
        }
    };
    match right {
        true => Ok(stated.to_owned()),
        false if stated.is_empty() => Err(Error::config("the scope of the calls is missing").with_hint(hint)),
        false => Err(Error::config(format!("calls are not counted by `{stated}`")).with_hint(hint)),
    }
}

fn is_named(scope: &str, prefix: &str) -> bool {
    scope.strip_prefix(prefix).is_some_and(|name| !name.is_empty())
}

/// One account and what the store says of it.
#[derive(Debug, Clone, PartialEq)]
struct Row<'a> {
    account: &'a Known,
    /// By scope; never empty.
    calls: Vec<(&'a str, u64)>,
    rate_share: f64,
    in_flight: u32,
    rests: Vec<&'a Resting>,
}

fn rows<'a>(accounts: &'a [Known], ledger: &'a Ledger) -> Vec<Row<'a>> {
    let row = |account: &'a Known| {
        let own = ledger.counts.iter().filter(|counted| counted.account == account.key);
        let mut calls: Vec<_> = own.map(|counted| (counted.scope.as_str(), counted.calls)).collect();
        calls.sort_unstable();
        if calls.is_empty() {
            calls.push(("", 0));
        }
        let health = ledger.health.iter().find(|health| health.account == account.key);
        Row {
            account,
            calls,
            rate_share: health.map_or(1.0, |health| health.rate_share),
            in_flight: health.map_or(0, |health| health.in_flight),
            rests: health.iter().flat_map(|health| &health.rests).filter(|rest| account.is_concerned(rest)).collect(),
        }
    };
    accounts.iter().map(row).collect()
}

fn text(rows: &[Row<'_>], ledger: &Ledger) -> String {
    if rows.is_empty() {
        return format!("{}: no account is known\n", ledger.today);
    }
    let mut table = Table::new(&[
        ("account", Align::Left),
        ("key", Align::Left),
        ("gateway", Align::Left),
        ("scope", Align::Left),
        ("calls today", Align::Right),
        ("a day", Align::Right),
        ("left", Align::Right),
        ("used", Align::Right),
        ("rate", Align::Right),
        ("in flight", Align::Right),
    ]);
    for row in rows {
        for (place, (scope, calls)) in row.calls.iter().enumerate() {
            let first = |text: String| if place == 0 { text } else { String::new() };
            let limit = row.account.calls_per_day;
            let used = limit.map(|limit| format!("{} %", percent(*calls, limit)));
            table.row([
                first(row.account.name.clone()),
                first(row.account.key.clone()),
                first(row.account.gateway.clone().unwrap_or_default()),
                (*scope).to_owned(),
                thousands(*calls),
                limit.map_or_else(|| "?".to_owned(), thousands),
                limit.map_or_else(|| "?".to_owned(), |limit| thousands(limit.saturating_sub(*calls))),
                used.unwrap_or_default(),
                first(format!("{:.0} %", row.rate_share * 100.0)),
                first(row.in_flight.to_string()),
            ]);
        }
    }
    format!("{} (Beijing)\n\n{}{}", ledger.today, table.render("  "), rests(rows))
}

/// The accounts that make no calls, and why.
fn rests(rows: &[Row<'_>]) -> String {
    let all = || rows.iter().flat_map(|row| row.rests.iter().map(|resting| (&*row.account.name, *resting)));
    let table = resting(all());
    if table.is_empty() {
        return String::new();
    }
    let hint = match all().any(|(_, resting)| resting.rest.kind == RestKind::Denied) {
        true => {
            "\nA denied account is asked again when its credentials change; `huopan accounts wake NAME` does it now.\n"
        }
        false => "",
    };
    format!("\n{}{hint}", table.render("  "))
}

/// Rests, each with the name of its account.
pub(super) fn resting<'r>(rests: impl Iterator<Item = (&'r str, &'r Resting)>) -> Table {
    let columns = ["rests", "scope", "until (Beijing)", "why", "what the gateway said"];
    let mut table = Table::new(&columns.map(|name| (name, Align::Left)));
    for (name, Resting { scope, rest, .. }) in rests {
        let why = match rest.kind {
            RestKind::Quota => "quota",
            RestKind::Denied => "denied",
        };
        let cells = [name, scope, &beijing(rest.until), why, &rest.reason];
        table.row(cells.map(str::to_owned));
    }
    table
}

pub(super) fn beijing(at: DateTime<Utc>) -> String {
    at.with_timezone(&BEIJING).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Rounded down: 100 % means that nothing is left.
fn percent(calls: u64, limit: u64) -> u128 {
    match limit {
        0 => 100,
        _ => u128::from(calls) * 100 / u128::from(limit),
    }
}

fn rest_json(Resting { scope, rest, .. }: &Resting) -> serde_json::Value {
    serde_json::json!({"scope": scope, "kind": rest.kind, "until": rest.until, "reason": rest.reason})
}

fn json(rows: &[Row<'_>], ledger: &Ledger) -> serde_json::Value {
    let row = |row: &Row<'_>| {
        let limit = row.account.calls_per_day;
        let scope = |(scope, calls): &(&str, u64)| {
            let left = limit.map(|limit| limit.saturating_sub(*calls));
            serde_json::json!({"scope": scope, "calls": calls, "left": left})
        };
        serde_json::json!({
            "name": row.account.name,
            "key": row.account.key,
            "gateway": row.account.gateway,
            "calls_per_day": limit,
            "scopes": row.calls.iter().map(scope).collect::<Vec<_>>(),
            "rate_share": row.rate_share,
            "in_flight": row.in_flight,
            "rests": row.rests.iter().copied().map(rest_json).collect::<Vec<_>>(),
        })
    };
    serde_json::json!({"day": ledger.today, "accounts": rows.iter().map(row).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests;
