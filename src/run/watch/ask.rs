//! One watch's query: its first rows as text, how many there are, and a digest of them all.
//!
//! Invariant: read-only, and bounded in time and memory; values are exact.

use std::time::Duration;

use arrow::array::{Array as _, RecordBatch};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use xxhash_rust::xxh3::xxh3_128;

use crate::alert::WatchRows;
use crate::base::{Error, Kind, Result};
use crate::config::pipeline::Watch;
use crate::query::Session;
use crate::query::names::shown;

/// A watch that takes longer holds up the night.
const TIME_MAX: Duration = Duration::from_secs(60);

/// What a watch found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) rows: WatchRows,
    /// Of all rows, whatever their order.
    pub(super) digest: String,
}

/// A watch without rows.
pub(super) fn nothing(watch: &Watch) -> WatchRows {
    WatchRows { name: watch.name.clone(), ..WatchRows::default() }
}

/// Runs a watch's query to its end.
///
/// # Errors
/// What is wrong with the query, or that it needs more time or memory than it may take.
pub(super) async fn ask(session: &Session, watch: &Watch) -> Result<Found> {
    match tokio::time::timeout(TIME_MAX, read(session, watch)).await {
        Ok(found) => found,
        Err(_) => {
            let seconds = TIME_MAX.as_secs();
            Err(Error::new(Kind::Config, format!("the query took longer than {seconds} s"))
                .with_hint("read fewer days or columns"))
        }
    }
}

async fn read(session: &Session, watch: &Watch) -> Result<Found> {
    let mut answer = session.sql(&watch.sql).await?;
    let mut rows = nothing(watch);
    rows.columns = answer.schema().fields().iter().map(|field| shown(field.name()).to_owned()).collect();
    let mut sum = 0_u128;
    while let Some(batch) = answer.next().await? {
        add(&mut rows, &mut sum, &batch, watch.rows_max)
            .map_err(|cause| Error::internal("a column of a watch cannot be shown").caused_by(cause))?;
    }
    let digest = format!("{:x} {sum:032x}", rows.rows_total);
    Ok(Found { rows, digest })
}

fn add(rows: &mut WatchRows, sum: &mut u128, batch: &RecordBatch, rows_max: usize) -> Result<(), ArrowError> {
    const OPTIONS: FormatOptions = FormatOptions::new().with_display_error(false);
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &OPTIONS));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    for number in 0..batch.num_rows() {
        let mut row = Vec::with_capacity(columns.len());
        for (column, values) in columns.iter().zip(batch.columns()) {
            row.push(match values.is_null(number) {
                true => None,
                false if values.data_type().is_decimal() => Some(short(column.value(number).try_to_string()?)),
                false => Some(column.value(number).try_to_string()?),
            });
        }
        *sum = sum.wrapping_add(digest(&row));
        rows.rows_total += 1;
        if rows.rows.len() < rows_max {
            rows.rows.push(row);
        }
    }
    Ok(())
}

/// A decimal as people write prices: zeros at its end are left out, but for two places.
fn short(mut decimal: String) -> String {
    if let Some(point) = decimal.find('.') {
        let kept = decimal.trim_end_matches('0').len().max(point + 3).min(decimal.len());
        decimal.truncate(kept);
    }
    decimal
}

fn digest(row: &[Option<String>]) -> u128 {
    let mut bytes = Vec::new();
    for value in row {
        // No text holds this byte.
        bytes.push(0xff);
        bytes.extend_from_slice(value.as_ref().map_or(b"\xfe".as_slice(), |value| value.as_bytes()));
    }
    xxh3_128(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_keeps_its_value_and_two_places() {
        for (given, expected) in [
            ("13.8000", "13.80"),
            ("-11.8841", "-11.8841"),
            ("0.0100", "0.01"),
            ("5.0000", "5.00"),
            ("100", "100"),
            ("1.5", "1.5"),
            ("1200.0", "1200.0"),
        ] {
            assert_eq!(short(given.to_owned()), expected);
        }
    }

    #[test]
    fn rows_have_one_digest_in_any_order_and_nulls_are_no_texts() {
        let row = |values: &[Option<&str>]| digest(&values.iter().map(|v| v.map(str::to_owned)).collect::<Vec<_>>());
        assert_eq!(row(&[Some("a"), None]), row(&[Some("a"), None]));
        let others = [
            row(&[Some("a"), None]),
            row(&[Some("a"), Some("")]),
            row(&[Some("a"), Some("null")]),
            row(&[None, Some("a")]),
            row(&[Some("a")]),
            row(&[Some(""), Some("a")]),
        ];
        for (number, one) in others.iter().enumerate() {
            assert!(others[number + 1..].iter().all(|other| other != one), "{number}");
        }
    }
}
