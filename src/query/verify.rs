//! Whether the tables agree with each other and with `runs`, asked with SQL over exactly what is published.
//!
//! | asked of | what must hold |
//! |---|---|
//! | every picture | each row carries the id of the run that published it; its offers are there once |
//! | `offers` | `tier_count` and `sku_count` are the rows in `price_tiers` and `skus`; both have no rows without an offer |
//! | `shops` | `offer_count` is the shop's rows in `offers` (but the delisted) |
//! | `runs` | a row with the publication's number, received = loaded + duplicates + quarantined, loaded + carried are the offers (but the delisted) |
//! | `runs`, `calls` | the calls of a run's attempts are those in the journal |

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::NaiveDate;
use datafusion::scalar::ScalarValue;

use super::session::Session;
use super::table::date_scalar;
use crate::base::{Error, Result};
use crate::load::log::Entry;
use crate::load::verify::Problem;
use crate::load::{Snapshot, State, lost};
use crate::transform::contract::Table;

/// Rows of a picture that carry another run's id.
const FOREIGN: &str = "SELECT count(*) FROM {table} WHERE dt = $1 AND pipeline = $2 AND run_id <> $3";

const TWICE: &str = "SELECT count(*) - count(DISTINCT offer_id) FROM offers WHERE dt = $1 AND pipeline = $2";

const COUNTED: &str = "
SELECT count(*)
FROM (SELECT offer_id, {count} AS stated FROM offers WHERE dt = $1 AND pipeline = $2) AS o
FULL JOIN (SELECT offer_id, count(*) AS found FROM {table} WHERE dt = $1 AND pipeline = $2 GROUP BY offer_id) AS t
  ON o.offer_id = t.offer_id
WHERE o.offer_id IS NULL OR o.stated <> coalesce(t.found, 0)";

/// Shops whose stated number of offers is not that of their rows.
const SHOPS: &str = "
SELECT count(*)
FROM (SELECT shop_id, offer_count FROM shops WHERE dt = $1 AND pipeline = $2) AS s
LEFT JOIN (
  SELECT shop_id, count(*) AS all_rows, count(*) FILTER (WHERE status <> 'delisted') AS listed
  FROM offers WHERE dt = $1 AND pipeline = $2 GROUP BY shop_id
) AS o ON s.shop_id = o.shop_id
WHERE s.offer_count NOT BETWEEN coalesce(o.listed, 0) AND coalesce(o.all_rows, 0)";

const FUNNEL: &str = "
SELECT status, received = loaded + duplicates + quarantined AS adds_up, loaded + carried AS goes_in
FROM runs WHERE pipeline = $1 AND run_id = $2 AND attempt = $3 AND publish_seq = $4";

const OFFERS: &str = "
SELECT count(*) AS all_rows, count(*) FILTER (WHERE status <> 'delisted') AS listed
FROM offers WHERE dt = $1 AND pipeline = $2";

const CALLS: &str = "
SELECT r.pipeline || ' ' || r.run_id AS run, r.stated, coalesce(c.found, 0) AS found
FROM (SELECT pipeline, run_id, sum(calls_used) AS stated FROM runs GROUP BY pipeline, run_id) AS r
LEFT JOIN (SELECT pipeline, run_id, count(*) AS found FROM calls GROUP BY pipeline, run_id) AS c
  ON r.pipeline = c.pipeline AND r.run_id = c.run_id
WHERE r.stated <> coalesce(c.found, 0)
ORDER BY 1";

/// What the tables of a snapshot disagree about.
///
/// # Errors
/// What a query says that cannot be answered, a file that cannot be read for example.
pub async fn verify(session: &Session, snapshot: &Snapshot) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for state in snapshot.pipelines().filter_map(|pipeline| snapshot.state(pipeline)) {
        for entry in state.pictures.values() {
            problems.extend(picture(session, state, entry).await?);
        }
    }
    for (run, stated, found) in calls(session).await? {
        let what = format!("`runs` counts {stated} calls of this run, `calls` has {found}");
        problems.push(Problem::new(format!("run {run}"), what, "the journals are not made anew: restore their files"));
    }
    Ok(problems)
}

/// What a day's pictures disagree about.
async fn picture(session: &Session, state: &State, entry: &Entry) -> Result<Vec<Problem>> {
    let (dt, pipeline) = (entry.dt, state.pipeline.as_str());
    let mut problems = Vec::new();
    let mut add = |table: &str, what: String| {
        problems.push(Problem::new(
            format!("{table} dt={dt} pipeline={pipeline}"),
            what,
            lost::remedy_of_day(dt, pipeline),
        ));
    };
    for table in Table::PICTURES {
        let sql = FOREIGN.replace("{table}", table.name());
        let values = [day_of(dt, pipeline), vec![text(&entry.run_id)]].concat();
        match number(session, &sql, values).await? {
            0 => {}
            rows => add(table.name(), format!("{rows} rows are of another run than `{}`", entry.run_id)),
        }
    }
    match number(session, TWICE, day_of(dt, pipeline)).await? {
        0 => {}
        rows => add("offers", format!("{rows} offers are there more than once")),
    }
    for (table, count) in [(Table::PriceTiers, "tier_count"), (Table::Skus, "sku_count")] {
        let sql = COUNTED.replace("{table}", table.name()).replace("{count}", count);
        match number(session, &sql, day_of(dt, pipeline)).await? {
            0 => {}
            offers => add("offers", format!("`{count}` of {offers} offers is not their rows in `{table}`")),
        }
    }
    match number(session, SHOPS, day_of(dt, pipeline)).await? {
        0 => {}
        shops => add("shops", format!("`offer_count` of {shops} shops is not their rows in `offers`")),
    }
    if let Some(what) = funnel(session, pipeline, entry).await? {
        add("runs", what);
    }
    Ok(problems)
}

/// What a publication's row in `runs` and its offers disagree about.
async fn funnel(session: &Session, pipeline: &str, entry: &Entry) -> Result<Option<String>> {
    let number = |value: u64| ScalarValue::Int64(i64::try_from(value).ok());
    let attempt = ScalarValue::Int32(Some(entry.attempt));
    let values = vec![text(pipeline), text(&entry.run_id), attempt, number(entry.seq)];
    let rows = rows(session, FUNNEL, values).await?;
    let [row] = &rows[..] else {
        let run = format!("attempt {} of run `{}`", entry.attempt, entry.run_id);
        return Ok(Some(format!("{} rows instead of one are of publication {}, {run}", rows.len(), entry.seq)));
    };
    let [status, adds_up, goes_in] = &row[..] else { return Ok(None) };
    if !status.starts_with("published") {
        return Ok(Some(format!("publication {} is there, and its run is `{status}`", entry.seq)));
    }
    if adds_up != "true" {
        return Ok(Some("received is not loaded + duplicates + quarantined".to_owned()));
    }
    let offers = self::rows(session, OFFERS, day_of(entry.dt, pipeline)).await?;
    let counts = offers.first().map(|row| row.iter().filter_map(|count| count.parse().ok()).collect::<Vec<i64>>());
    let (Some(&[all, listed]), Ok(goes_in)) = (counts.as_deref(), goes_in.parse::<i64>()) else {
        return Err(Error::internal("a count is no number"));
    };
    let fits = (listed..=all).contains(&goes_in);
    Ok((!fits).then(|| format!("loaded + carried are {goes_in}, and `offers` has {listed} rows that are not delisted")))
}

async fn calls(session: &Session) -> Result<Vec<(String, String, String)>> {
    let rows = rows(session, CALLS, Vec::new()).await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| match <[String; 3]>::try_from(row) {
            Ok([run, stated, found]) => Some((run, stated, found)),
            Err(_) => None,
        })
        .collect())
}

fn day_of(dt: NaiveDate, pipeline: &str) -> Vec<ScalarValue> {
    vec![date_scalar(dt), text(pipeline)]
}

fn text(value: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(value.to_owned()))
}

/// The only value of a query that counts.
async fn number(session: &Session, sql: &str, values: Vec<ScalarValue>) -> Result<i64> {
    let batches = session.sql_with(sql, values).await?.collect().await?;
    let batch = batches.first().filter(|batch| batch.num_rows() == 1);
    let counts = batch.and_then(|batch| batch.column(0).as_primitive_opt::<Int64Type>());
    counts.map(|counts| counts.value(0)).ok_or_else(|| Error::internal("a count gave no number"))
}

/// The rows of a small answer as text.
async fn rows(session: &Session, sql: &str, values: Vec<ScalarValue>) -> Result<Vec<Vec<String>>> {
    let failed = |source| Error::internal("an answer cannot be printed").caused_by(source);
    let mut rows = Vec::new();
    for batch in session.sql_with(sql, values).await?.collect().await? {
        let options = FormatOptions::default();
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>().map_err(failed)?;
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|cell| cell.value(row).to_string()).collect()));
    }
    Ok(rows)
}
