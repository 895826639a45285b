//! `array_agg` and `string_agg` over windows: each row is given all rows before it.
//!
//! | frame | may give |
//! |---|---|
//! | to the last row | so much in all: nothing is passed on before everything is there |
//! | to the current row | so much for as many rows as a batch has |
//!
//! Invariant: what is not refused is DataFusion's own.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ReversedUDAF, Signature, WindowFunctionDefinition,
};
use datafusion::scalar::ScalarValue;

use super::arguments::value_bytes;

const GROWING: [&str; 2] = ["array_agg", "string_agg"];
const BATCH_ROWS: u64 = 8192;

/// An aggregate that is asked how much it gave.
#[derive(Debug, Clone)]
pub(super) struct Growing {
    inner: Arc<AggregateUDF>,
    bytes_max: u64,
    /// In all partitions together, if all wait for the last row.
    given: Option<Arc<AtomicU64>>,
}

impl Growing {
    /// The function for a window; `None` if it has a bound already, or needs none.
    pub(super) fn of(window: &WindowFunction, bytes_max: u64) -> Option<AggregateUDF> {
        let WindowFunctionDefinition::AggregateUDF(inner) = &window.fun else { return None };
        if inner.inner().is::<Self>() || !GROWING.contains(&inner.name()) {
            return None;
        }
        let given = window.params.window_frame.end_bound.is_unbounded().then(Arc::default);
        Some(AggregateUDF::new_from_impl(Self { inner: Arc::clone(inner), bytes_max, given }))
    }

    fn with(&self, inner: Arc<AggregateUDF>) -> Self {
        Self { inner, ..self.clone() }
    }

    fn asked(&self, inner: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        let (bytes_max, all) = (self.bytes_max, self.given.clone());
        Box::new(Asked { inner, bytes_max, all, new_rows: 0, batch_rows: 0, batch_bytes: 0 })
    }
}

impl PartialEq for Growing {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Growing {}

impl Hash for Growing {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl AggregateUDFImpl for Growing {
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(self.asked(self.inner.inner().accumulator(args)?))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(self.asked(self.inner.inner().create_sliding_accumulator(args)?))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.inner.inner().reverse_expr() {
            ReversedUDAF::Reversed(inner) => {
                ReversedUDAF::Reversed(Arc::new(AggregateUDF::new_from_impl(self.with(inner))))
            }
            other => other,
        }
    }

    fn with_beneficial_ordering(self: Arc<Self>, is_ordered: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let inner = Arc::clone(self.inner.inner()).with_beneficial_ordering(is_ordered)?;
        let inner = inner.map(|inner| Arc::new(AggregateUDF::new_from_shared_impl(inner)));
        Ok(inner.map(|inner| Arc::new(self.with(inner)) as _))
    }

    fn name(&self) -> &str {
        self.inner.inner().name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.inner().aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.inner().schema_name(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.inner().window_function_schema_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.inner().window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.inner.inner().signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.inner().return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.inner().is_nullable()
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.inner().state_fields(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.inner().order_sensitivity()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.inner().default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.inner().supports_null_handling_clause()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner.inner().supports_within_group_clause()
    }
}

#[derive(Debug)]
struct Asked {
    inner: Box<dyn Accumulator>,
    bytes_max: u64,
    all: Option<Arc<AtomicU64>>,
    /// Rows that came since it gave something: each of them is given the next.
    new_rows: u64,
    batch_rows: u64,
    batch_bytes: u64,
}

impl Asked {
    /// How much it has given that is not passed on, with so many bytes for each new row.
    fn given(&mut self, bytes: u64) -> u64 {
        let rows = std::mem::take(&mut self.new_rows).max(1);
        let bytes = bytes.saturating_mul(rows);
        if let Some(all) = &self.all {
            return all.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        }
        if self.batch_rows >= BATCH_ROWS {
            (self.batch_rows, self.batch_bytes) = (0, 0);
        }
        self.batch_rows += rows;
        self.batch_bytes = self.batch_bytes.saturating_add(bytes);
        self.batch_bytes
    }
}

impl Accumulator for Asked {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.new_rows += values.first().map_or(0, |values| values.len() as u64);
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.inner.evaluate()?;
        if self.given(value_bytes(&value)) > self.bytes_max {
            let message = format!("a window would give more than {} bytes", self.bytes_max);
            return Err(DataFusionError::ResourcesExhausted(message));
        }
        Ok(value)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}
