//! The funnel of each run: received → loaded, duplicates, quarantined.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;

use super::session::{Answer, Session};
use crate::base::{Error, Result, RunName};

const LIST: &str = "
SELECT dt, pipeline, attempt, kind, status, received, loaded, duplicates, quarantined, carried,
       calls_used AS calls, bytes_received AS bytes, started_at,
       CAST(date_part('epoch', finished_at - started_at) AS BIGINT) AS seconds, run_id
FROM runs
ORDER BY started_at DESC, run_id DESC
LIMIT $1";

const SHOW: &str = "
SELECT * FROM runs WHERE run_id = $1 ORDER BY started_at, attempt";

const SHOPS: &str = "
SELECT pipeline, dt, shop_id, shop_name, is_complete, incomplete_reason, official_count, listed_count, offer_count,
       new_count, changed_count, carried_count, delisted_count, quarantined_count,
       sku_complete_rate, price_complete_rate, calls_used
FROM shops WHERE run_id = $1
ORDER BY is_complete, shop_id";

/// One run.
#[derive(Debug)]
pub struct Shown {
    /// Its rows in `runs`: one for each of its starts.
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

/// The ids of all runs, each with the day that it was for.
///
/// # Errors
/// As [`Session::sql`].
pub async fn ids(session: &Session) -> Result<BTreeMap<String, String>> {
    let sql = "SELECT run_id, 'of ' || CAST(dt AS VARCHAR) FROM runs GROUP BY run_id, dt";
    let mut ids = BTreeMap::new();
    for batch in session.sql(sql).await?.collect().await? {
        let text = |column: usize| cast(batch.column(column), &DataType::Utf8);
        let (Ok(runs), Ok(days)) = (text(0), text(1)) else { return Err(Error::internal("run ids are no texts")) };
        let (runs, days) = (runs.as_string::<i32>(), days.as_string::<i32>());
        ids.extend((0..runs.len()).map(|row| (runs.value(row).to_owned(), days.value(row).to_owned())));
    }
    Ok(ids)
}

/// The id of the run that is meant.
///
/// # Errors
/// [`Kind::Config`](crate::base::Kind::Config) if no run is, or several are.
pub async fn find(session: &Session, name: &RunName) -> Result<String> {
    let known = ids(session).await?;
    let found = name.one_of(&known)?.map(str::to_owned);
    found.ok_or_else(|| {
        let message = match name {
            RunName::Latest => "no run has ended yet".to_owned(),
            RunName::Beginning(typed) => format!("no run's id begins with `{typed}`"),
        };
        Error::config(message).with_hint("`huopan runs` lists them")
    })
}

/// The run with this id.
///
/// # Errors
/// As [`Session::sql`].
pub async fn show(session: &Session, run_id: &str) -> Result<Shown> {
    let id = ScalarValue::Utf8(Some(run_id.to_owned()));
    Ok(Shown { run: session.sql_with(SHOW, vec![id.clone()]).await?, shops: session.sql_with(SHOPS, vec![id]).await? })
}
