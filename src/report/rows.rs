//! Answers of queries, row by row; cells as exact text, read when they are asked for.
//!
//! Invariant: no number goes through a float.

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::scalar::ScalarValue;

use crate::base::{Error, Result};
use crate::query::Session;

/// One row.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    batch: &'a RecordBatch,
    cells: &'a [ArrayFormatter<'a>],
    number: usize,
}

impl Row<'_> {
    /// A cell as the tables write it; `None` for null.
    pub(super) fn text(&self, column: &str) -> Result<Option<String>> {
        let place = self.batch.schema_ref().index_of(column);
        let place = place.map_err(|cause| Error::internal(format!("no column `{column}` came")).caused_by(cause))?;
        if self.batch.column(place).is_null(self.number) {
            return Ok(None);
        }
        let text = self.cells[place].value(self.number).try_to_string();
        text.map(Some).map_err(|cause| Error::internal(format!("`{column}` cannot be shown")).caused_by(cause))
    }

    /// Whether the answer has such a column.
    pub(super) fn has(&self, column: &str) -> bool {
        self.batch.schema_ref().index_of(column).is_ok()
    }

    /// A cell that is never null; an empty text should it be.
    pub(super) fn word(&self, column: &str) -> Result<String> {
        Ok(self.text(column)?.unwrap_or_default())
    }

    /// A whole number.
    pub(super) fn integer(&self, column: &str) -> Result<Option<i64>> {
        let Some(text) = self.text(column)? else { return Ok(None) };
        let number = text.parse().map(Some);
        number.map_err(|cause| Error::internal(format!("`{column}` is no whole number: `{text}`")).caused_by(cause))
    }

    /// A yes or no; `None` for null.
    pub(super) fn flag(&self, column: &str) -> Result<Option<bool>> {
        Ok(self.text(column)?.map(|text| text == "true"))
    }
}

/// Hands every row of a query to `each`.
///
/// # Errors
/// What the query or `each` says.
pub(super) async fn each(
    session: &Session,
    sql: &str,
    values: Vec<ScalarValue>,
    mut each: impl FnMut(Row<'_>) -> Result<()>,
) -> Result<()> {
    const OPTIONS: FormatOptions = FormatOptions::new().with_display_error(false);
    let mut answer = if values.is_empty() { session.sql(sql).await? } else { session.sql_with(sql, values).await? };
    while let Some(batch) = answer.next().await? {
        let cells = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &OPTIONS));
        let cells = cells.collect::<std::result::Result<Vec<_>, _>>();
        let cells = cells.map_err(|cause| Error::internal("a column cannot be shown").caused_by(cause))?;
        for number in 0..batch.num_rows() {
            each(Row { batch: &batch, cells: &cells, number })?;
        }
    }
    Ok(())
}

/// A text as SQL writes it.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
