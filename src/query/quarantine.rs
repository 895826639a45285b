//! What could not be loaded, row by row.

use chrono::{DateTime, NaiveDate};
use datafusion::scalar::ScalarValue;

use super::session::{Answer, Session};
use crate::base::Result;

/// Which rows are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this day; `None`: of the last published day of each pipeline.
    pub dt: Option<NaiveDate>,
    /// Of this shop.
    pub shop_id: Option<String>,
    /// Whose reason holds this text, in whatever case.
    pub reason: Option<String>,
    /// Set aside at this stage.
    pub stage: Option<String>,
}

/// Which of them are shown whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one with this number in the list of the same filter.
    Row(i64),
    /// Those of this offer.
    Offer(i64),
    /// Those of the answer with this `raw_ref`, or with one that begins so.
    Answer(String),
}

/// `{from}`: the table, as of every day or of the last published ones.
const ROWS: &str = "
WITH numbered AS (
    SELECT row_number() OVER (
        ORDER BY pipeline, shop_id, offer_id, raw_ref, stage, field, reason, value, record
    ) AS row, *
    FROM {from}
    WHERE ($1 IS NULL OR dt = $1)
      AND ($2 IS NULL OR shop_id = $2)
      AND ($3 IS NULL OR contains(lower(reason), lower($3)))
      AND ($4 IS NULL OR stage = $4)
)";

const LIST: &str = "
SELECT row, dt, pipeline, shop_id, offer_id, stage, reason, field, value, raw_ref
FROM numbered ORDER BY row LIMIT $5";

const SHOW: &str = "
SELECT n.row, n.dt, n.pipeline, n.run_id, n.gateway, n.shop_id, n.offer_id, n.stage, n.reason, n.field, n.value,
       n.raw_ref, n.record, r.dt AS answer_dt, r.endpoint, r.request, r.http_status, r.content_type, r.received_at
FROM numbered n
LEFT JOIN raw_pages r
  ON r.pipeline = n.pipeline AND r.run_id = split_part(n.raw_ref, '/', 1)
 AND CAST(r.number AS VARCHAR) = split_part(n.raw_ref, '/', 2)
WHERE ($5 IS NULL OR n.row = $5) AND ($6 IS NULL OR n.offer_id = $6) AND ($7 IS NULL OR starts_with(n.raw_ref, $7))
ORDER BY n.row";

impl Filter {
    fn rows(&self) -> String {
        ROWS.replace("{from}", if self.dt.is_some() { "quarantine" } else { "latest.quarantine" })
    }

    fn values(&self) -> Vec<ScalarValue> {
        let text = |text: &Option<String>| ScalarValue::Utf8(text.clone());
        let days = self.dt.map(|dt| (dt - DateTime::UNIX_EPOCH.date_naive()).num_days());
        let dt = ScalarValue::Date32(days.and_then(|days| i32::try_from(days).ok()));
        vec![dt, text(&self.shop_id), text(&self.reason), text(&self.stage)]
    }
}

/// The first `rows_max` rows, numbered in an order of their own.
///
/// # Errors
/// As [`Session::sql`].
pub async fn list(session: &Session, filter: &Filter, rows_max: u32) -> Result<Answer> {
    let mut values = filter.values();
    values.push(ScalarValue::Int64(Some(i64::from(rows_max))));
    session.sql_with(&format!("{}{LIST}", filter.rows()), values).await
}

/// Some rows with their records, and what is kept of the answers they came from.
///
/// # Errors
/// As [`Session::sql`].
pub async fn show(session: &Session, filter: &Filter, which: &Which) -> Result<Answer> {
    let mut values = filter.values();
    let (row, offer, answer) = match which {
        Which::Row(row) => (Some(*row), None, None),
        Which::Offer(offer_id) => (None, Some(*offer_id), None),
        Which::Answer(raw_ref) => (None, None, Some(raw_ref.clone())),
    };
    values.extend([ScalarValue::Int64(row), ScalarValue::Int64(offer), ScalarValue::Utf8(answer)]);
    session.sql_with(&format!("{}{SHOW}", filter.rows()), values).await
}
