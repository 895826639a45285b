//! A batch as text, row by row.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// The rows of one batch as text; nulls are empty.
pub(super) struct Cells<'a> {
    columns: Vec<ArrayFormatter<'a>>,
    rows: std::ops::Range<usize>,
    row: Vec<String>,
}

impl<'a> Cells<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        const OPTIONS: FormatOptions = FormatOptions::new().with_display_error(false);
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &OPTIONS));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let row = vec![String::new(); columns.len()];
        Ok(Self { columns, rows: 0..batch.num_rows(), row })
    }

    /// The next row, in a buffer that is used again for the one after it.
    pub(super) fn next_row(&mut self) -> Result<Option<&[String]>, ArrowError> {
        let Some(number) = self.rows.next() else { return Ok(None) };
        for (column, cell) in self.columns.iter().zip(&mut self.row) {
            cell.clear();
            column.value(number).write(cell)?;
        }
        Ok(Some(&self.row))
    }
}

/// Whether values of the type are aligned on the right.
pub(super) fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}
