//! The funnel of each run: received → loaded, duplicates, quarantined.

use arrow::array::RecordBatch;
use datafusion::scalar::ScalarValue;

use super::session::{Answer, Session};
use crate::base::{Error, Result};

const LIST: &str = "
SELECT dt, pipeline, attempt, kind, status, received, loaded, duplicates, quarantined, carried,
       calls_used AS calls, bytes_received AS bytes, started_at,
       CAST(date_part('epoch', finished_at - started_at) AS BIGINT) AS seconds, run_id
FROM runs
ORDER BY started_at DESC, run_id DESC
LIMIT $1";

const SHOW: &str = "
SELECT * FROM runs WHERE starts_with(run_id, $1) ORDER BY started_at, attempt";

const SHOPS: &str = "
SELECT pipeline, dt, shop_id, shop_name, is_complete, incomplete_reason, official_count, listed_count, offer_count,
       new_count, changed_count, carried_count, delisted_count, quarantined_count,
       sku_complete_rate, price_complete_rate, calls_used
FROM shops WHERE starts_with(run_id, $1)
ORDER BY is_complete, shop_id";

/// One run.
#[derive(Debug)]
pub struct Shown {
    /// Its row in `runs` (several if the beginning of an id fits several).
    pub run: Answer,
    /// Its shops as published, incomplete ones first; none once a later run has replaced the day.
    pub shops: Answer,
}

/// The last `rows_max` runs, newest first.
///
/// # Errors
/// As [`Session::sql`].
pub async fn list(session: &Session, rows_max: u32) -> Result<Answer> {
    session.sql_with(LIST, vec![ScalarValue::Int64(Some(i64::from(rows_max)))]).await
}

/// The run whose id begins with `run_id`.
///
/// # Errors
/// [`Kind::Config`](crate::base::Kind::Config) if `run_id` cannot be the beginning of one.
pub async fn show(session: &Session, run_id: &str) -> Result<Shown> {
    let id = beginning(run_id)?;
    Ok(Shown { run: session.sql_with(SHOW, vec![id.clone()]).await?, shops: session.sql_with(SHOPS, vec![id]).await? })
}

/// How many runs have an id that begins with `run_id`.
///
/// # Errors
/// As [`show`].
pub async fn count(session: &Session, run_id: &str) -> Result<usize> {
    let id = beginning(run_id)?;
    let found = session.sql_with("SELECT run_id FROM runs WHERE starts_with(run_id, $1)", vec![id]).await?;
    Ok(found.collect().await?.iter().map(RecordBatch::num_rows).sum())
}

fn beginning(run_id: &str) -> Result<ScalarValue> {
    let fits = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    if run_id.is_empty() || !run_id.bytes().all(fits) {
        return Err(Error::config(format!("`{run_id}` is no run id")).with_hint("`huopan runs` lists them"));
    }
    Ok(ScalarValue::Utf8(Some(run_id.to_ascii_lowercase())))
}
