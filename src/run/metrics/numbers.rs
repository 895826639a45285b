//! What is known of a pipeline's last run.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, Utc};
use datafusion::scalar::ScalarValue;

use crate::base::time::beijing_day;
use crate::base::{Error, Result};
use crate::config::Pipeline;
use crate::load::Snapshot;
use crate::query::{Focus, Options, Session};
use crate::state;

use super::super::{Outcome, Surroundings};
use super::Ended;

/// How a run ended, by the values of `runs`.
pub(super) const STATUSES: [&str; 6] = ["published", "published_incomplete", "held", "stopped", "failed", "landed"];

/// The numbers of a pipeline's last run. What is not known is `None`, and has no metric.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Numbers {
    /// One of [`STATUSES`].
    pub(super) status: &'static str,
    pub(super) started_at: DateTime<Utc>,
    pub(super) ended_at: DateTime<Utc>,
    /// When a run last published: whatever it lacked, and with nothing lacking.
    pub(super) last_published_at: Option<DateTime<Utc>>,
    pub(super) last_complete_at: Option<DateTime<Utc>>,
    pub(super) counts: Option<Counts>,
    /// Of the newest published day.
    pub(super) shops: Option<i64>,
    pub(super) shops_incomplete: Option<i64>,
    pub(super) accounts: Vec<Account>,
}

/// The columns of `runs` that count something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) received: i64,
    pub(super) loaded: i64,
    pub(super) duplicates: i64,
    pub(super) quarantined: i64,
    pub(super) carried: i64,
    pub(super) calls_used: i64,
    pub(super) calls_saved: i64,
    pub(super) retries: i64,
    pub(super) throttles: i64,
    pub(super) bytes_received: i64,
    pub(super) publish_seq: Option<i64>,
}

/// The calls of the day of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    /// What is counted: `""` (the account), `endpoint:NAME` or `shop:ID`.
    pub(super) scope: String,
    pub(super) used: u64,
    pub(super) calls_per_day: Option<u64>,
}

impl Numbers {
    /// Takes over what is not known from what was known before.
    pub(super) fn keep(&mut self, (published, complete): (Option<DateTime<Utc>>, Option<DateTime<Utc>>)) {
        self.last_published_at = self.last_published_at.or(published);
        self.last_complete_at = self.last_complete_at.or(complete);
    }
}

/// What a start knows of itself.
pub(super) fn of_start(around: &Surroundings<'_>, ended: &Ended<'_>) -> Numbers {
    let status = match ended.outcome {
        Ok(Outcome::Published(reports)) if reports.iter().all(super::super::Report::is_complete) => "published",
        Ok(Outcome::Published(_)) => "published_incomplete",
        Ok(Outcome::AlreadyPublished { .. }) => "published",
        Ok(Outcome::Held(_)) => "held",
        Ok(Outcome::Stopped { .. }) => "stopped",
        Ok(Outcome::Landed { .. }) => "landed",
        Err(_) if around.cancel.is_cancelled() => "stopped",
        Err(_) => "failed",
    };
    Numbers { status, started_at: ended.started_at, ended_at: around.clock.now(), ..Numbers::default() }
}

/// What tables, state and the start itself say. What cannot be read is logged and left out.
pub(super) async fn read(pipeline: &Pipeline, around: &Surroundings<'_>, ended: &Ended<'_>) -> Numbers {
    let mut numbers = of_start(around, ended);
    if let Some(store) = ended.store
        && let Err(error) = read_tables(pipeline, store, ended, &mut numbers).await
    {
        tracing::warn!(pipeline = pipeline.name, %error, "the tables cannot be read: metrics of the run are missing");
    }
    if pipeline.files.is_none() {
        match read_accounts(pipeline).await {
            Ok(accounts) => numbers.accounts = accounts,
            Err(error) => {
                tracing::warn!(pipeline = pipeline.name, %error, "the state cannot be read: metrics of accounts are missing");
            }
        }
    }
    numbers
}

const LAST_RUN: &str = "
SELECT status, started_at, finished_at, received, loaded, duplicates, quarantined, carried, calls_used, calls_saved,
       retries, throttles, bytes_received, publish_seq
FROM runs WHERE pipeline = $1 AND kind = 'run' ORDER BY started_at DESC, attempt DESC LIMIT 1";

const LAST_PUBLISHED: &str = "
SELECT max(finished_at) AS published, max(finished_at) FILTER (WHERE status = 'published') AS complete
FROM runs WHERE pipeline = $1 AND kind = 'run' AND status IN ('published', 'published_incomplete')";

const SHOPS: &str = "SELECT count(*) AS shops, count(*) FILTER (WHERE NOT is_complete) AS incomplete FROM latest.shops";

async fn read_tables(
    pipeline: &Pipeline,
    store: &crate::store::Store,
    ended: &Ended<'_>,
    numbers: &mut Numbers,
) -> Result<()> {
    let snapshot = Snapshot::load(store).await?;
    let latest = snapshot.latest_dt(&pipeline.name);
    let memory_bytes_max = pipeline.lake.memory_bytes_max;
    let session = Session::open(store, snapshot.clone(), &Options { memory_bytes_max, ..Options::default() })?;
    let name = || vec![ScalarValue::Utf8(Some(pipeline.name.clone()))];
    if let Some(row) = one_row(&session, LAST_RUN, name()).await? {
        let (started_at, finished_at) = (time(&row, "started_at"), time(&row, "finished_at"));
        let is_this = started_at.is_some_and(|at| at.timestamp_micros() >= ended.started_at.timestamp_micros());
        // A start that did nothing stands for the run before it; one that failed without a row speaks for itself.
        let did_nothing = matches!(ended.outcome, Ok(Outcome::AlreadyPublished { .. } | Outcome::Held(_)));
        if is_this || did_nothing {
            let status = row.column_by_name("status").and_then(|column| text(column, 0)).unwrap_or_default();
            numbers.status = STATUSES.into_iter().find(|known| *known == status).unwrap_or(numbers.status);
            numbers.started_at = started_at.unwrap_or(numbers.started_at);
            numbers.ended_at = finished_at.unwrap_or(numbers.ended_at);
            numbers.counts = Some(counts(&row));
        }
    }
    if let Some(row) = one_row(&session, LAST_PUBLISHED, name()).await? {
        numbers.last_published_at = time(&row, "published");
        numbers.last_complete_at = time(&row, "complete");
    }
    if let Some(dt) = latest {
        let focus = Some(Focus { pipeline: pipeline.name.clone(), dt });
        let session = Session::open(store, snapshot, &Options { memory_bytes_max, focus, ..Options::default() })?;
        if let Some(row) = one_row(&session, SHOPS, Vec::new()).await? {
            (numbers.shops, numbers.shops_incomplete) = (count(&row, "shops"), count(&row, "incomplete"));
        }
    }
    Ok(())
}

async fn one_row(session: &Session, sql: &str, values: Vec<ScalarValue>) -> Result<Option<RecordBatch>> {
    let batches = session.sql_with(sql, values).await?.collect().await?;
    Ok(batches.into_iter().find(|batch| batch.num_rows() > 0))
}

fn counts(row: &RecordBatch) -> Counts {
    let number = |name| count(row, name).unwrap_or(0);
    Counts {
        received: number("received"),
        loaded: number("loaded"),
        duplicates: number("duplicates"),
        quarantined: number("quarantined"),
        carried: number("carried"),
        calls_used: number("calls_used"),
        calls_saved: number("calls_saved"),
        retries: number("retries"),
        throttles: number("throttles"),
        bytes_received: number("bytes_received"),
        publish_seq: count(row, "publish_seq"),
    }
}

fn count(row: &RecordBatch, name: &str) -> Option<i64> {
    let column = row.column_by_name(name)?.as_primitive_opt::<Int64Type>()?;
    column.is_valid(0).then(|| column.value(0))
}

fn time(row: &RecordBatch, name: &str) -> Option<DateTime<Utc>> {
    let column = row.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    column.is_valid(0).then(|| DateTime::from_timestamp_micros(column.value(0))).flatten()
}

fn text(column: &arrow::array::ArrayRef, row: usize) -> Option<String> {
    let texts = column.as_string_view_opt().map(|column| column.value(row).to_owned());
    texts.or_else(|| column.as_string_opt::<i32>().map(|column| column.value(row).to_owned()))
}

/// Today's calls of each account of the pipeline.
async fn read_accounts(pipeline: &Pipeline) -> Result<Vec<Account>, Error> {
    let state = state::open(&pipeline.state).await?;
    let counted = state.counts(beijing_day(state.now().await?)).await?;
    let mut accounts: Vec<Account> = Vec::new();
    let known = pipeline.accounts.iter().chain(pipeline.details.iter().flat_map(|details| &details.accounts));
    for account in known {
        let calls_per_day = account.calls_per_day;
        let own = counted.iter().filter(|counted| counted.account == account.key);
        let line = |counted: &state::Counted| Account {
            name: account.name.clone(),
            scope: counted.scope.clone(),
            used: counted.calls,
            calls_per_day,
        };
        let before = accounts.len();
        accounts.extend(own.map(line));
        if accounts.len() == before {
            accounts.push(Account { name: account.name.clone(), scope: String::new(), used: 0, calls_per_day });
        }
    }
    // Two gateways may have an account of one name: one series is all that a name and a scope can have.
    accounts.sort_by(|a, b| (&a.name, &a.scope).cmp(&(&b.name, &b.scope)));
    accounts.dedup_by(|a, b| a.name == b.name && a.scope == b.scope);
    Ok(accounts)
}
