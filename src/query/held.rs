//! Windows whose rows are counted: DataFusion's memory pool does not know what they hold.
//!
//! A window gives exactly one row for each that it takes, so it holds what went in and has not come out. A node below it
//! counts what goes in, one above it what comes out.
//!
//! | window | holds |
//! |---|---|
//! | `WindowAggExec` | all rows until the last came in, then a copy of them with its results |
//! | `BoundedWindowAggExec` | twice what has not come out, and the rows before the current one that its frame reaches |
//!
//! Rows before the current one are counted where their number is known: `ROWS n PRECEDING`, `lag(x, n)`.
//!
//! Invariant: a window that gives rows as it takes them runs over any number of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{WindowFrameBound, WindowFrameUnits};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ReplaceChildrenOptions, replace_children_if_necessary};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, StandardWindowExpr, WindowAggExec, WindowExpr};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use datafusion::scalar::ScalarValue;
use futures::{StreamExt as _, future, stream};

use super::bounded::{fixed_width, held_bytes};

/// A result of a type that has no width.
const RESULT_BYTES: u64 = 16;
/// A row with more before it than any window looks at.
const FAR_ROW: usize = 1 << 40;

/// The plan with windows that are counted.
pub(super) fn counted(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = plan.transform_up(|node| {
        let Some(holding) = Holding::of(node.as_ref()) else { return Ok(Transformed::no(node)) };
        let side = |side, input| -> Counted {
            Counted { side, holding, name: node.name().to_owned(), running: Arc::default(), input }
        };
        let inputs: Vec<_> = node.children().into_iter().cloned().collect();
        let [input] = inputs.as_slice() else { return Ok(Transformed::no(node)) };
        let below = side(Side::Below, Arc::clone(input));
        let running = Arc::clone(&below.running);
        let window = replace_children_if_necessary(Arc::clone(&node), vec![Arc::new(below)])?;
        Ok(Transformed::yes(Arc::new(Counted { running, ..side(Side::Above, window) }) as _))
    });
    Ok(plan?.data)
}

/// How a window holds its rows.
#[derive(Debug, Clone, Copy)]
struct Holding {
    is_whole: bool,
    /// Rows that it keeps when they have come out.
    kept_rows: usize,
    /// What it adds to each.
    result_bytes: u64,
}

impl Holding {
    /// `None`: the node is no window.
    fn of(node: &dyn ExecutionPlan) -> Option<Self> {
        let (is_whole, windows) =
            match (node.downcast_ref::<WindowAggExec>(), node.downcast_ref::<BoundedWindowAggExec>()) {
                (Some(whole), _) => (true, whole.window_expr()),
                (_, Some(bounded)) => (false, bounded.window_expr()),
                _ => return None,
            };
        let width = |window: &Arc<dyn WindowExpr>| {
            window.field().ok().and_then(|field| fixed_width(Field::data_type(&field))).unwrap_or(RESULT_BYTES)
        };
        Some(Self {
            is_whole,
            kept_rows: windows.iter().map(|window| kept_rows(window.as_ref())).max().unwrap_or_default(),
            result_bytes: windows.iter().map(width).sum(),
        })
    }
}

/// How many rows before the current one a window looks at, as far as that is written in it.
fn kept_rows(window: &dyn WindowExpr) -> usize {
    // `lag(x, n)` says so for each row.
    if let Some(function) = window.as_any().downcast_ref::<StandardWindowExpr>() {
        let range = function.get_standard_func_expr().create_evaluator();
        let range = range.and_then(|evaluator| evaluator.get_range(FAR_ROW, FAR_ROW + 1));
        // Not known: the nearest that is not null.
        return range.map_or(0, |range| if range.start == 0 { 0 } else { FAR_ROW.saturating_sub(range.start) });
    }
    let frame = window.get_window_frame();
    match (&frame.units, &frame.start_bound) {
        (WindowFrameUnits::Rows, WindowFrameBound::Preceding(rows)) => match rows.cast_to(&DataType::UInt64) {
            Ok(ScalarValue::UInt64(Some(rows))) => usize::try_from(rows).unwrap_or(usize::MAX),
            _ => 0,
        },
        _ => 0,
    }
}

/// What the window of one partition holds.
#[derive(Debug)]
struct Held {
    holding: Holding,
    reservation: MemoryReservation,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    /// Counted, with their bytes.
    held: usize,
    bytes: usize,
    /// Of these, the ones that have come out.
    out: usize,
}

impl Held {
    fn take(&self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().map(held_bytes).fold(0, u64::saturating_add);
        let bytes = match self.holding.is_whole {
            true => columns,
            false => columns.saturating_mul(2).saturating_add(self.result_bytes(batch.num_rows())),
        };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.reservation.try_grow(bytes)?;
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.held += batch.num_rows();
        rows.bytes += bytes;
        Ok(())
    }

    /// After the last row.
    fn finish(&self) -> Result<()> {
        if !self.holding.is_whole {
            return Ok(());
        }
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let results = usize::try_from(self.result_bytes(rows.held)).unwrap_or(usize::MAX);
        self.reservation.try_grow(rows.bytes.saturating_add(results))
    }

    /// Rows that come out are alike in size.
    fn give(&self, batch: &RecordBatch) {
        if self.holding.is_whole {
            return;
        }
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.out += batch.num_rows();
        let free = rows.out.saturating_sub(self.holding.kept_rows).min(rows.held);
        if free == 0 {
            return;
        }
        let bytes = if free == rows.held { rows.bytes } else { rows.bytes / rows.held * free };
        rows.held -= free;
        rows.out -= free;
        rows.bytes -= bytes;
        self.reservation.shrink(bytes);
    }

    fn result_bytes(&self, rows: usize) -> u64 {
        self.holding.result_bytes.saturating_mul(rows as u64)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Below,
    Above,
}

/// A node below or above a window.
#[derive(Debug, Clone)]
struct Counted {
    side: Side,
    holding: Holding,
    /// The window's.
    name: String,
    /// What the partitions hold that are being started: the node above starts the window, and that the node below.
    running: Arc<Mutex<HashMap<usize, Arc<Held>>>>,
    input: Arc<dyn ExecutionPlan>,
}

impl Counted {
    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Arc<Held>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn below(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let held = self.running().remove(&partition);
        let input = self.input.execute(partition, context)?;
        let Some(held) = held else { return Ok(input) };
        let last = Arc::clone(&held);
        let rows = input.map(move |batch| batch.and_then(|batch| held.take(&batch).map(|()| batch)));
        let end = stream::once(future::lazy(move |_| last.finish()));
        let end = end.filter_map(|end| future::ready(end.err().map(Err)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows.chain(end))))
    }

    fn above(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let consumer = MemoryConsumer::new(format!("{}[{partition}]", self.name));
        let reservation = consumer.register(context.memory_pool());
        let held = Arc::new(Held { holding: self.holding, reservation, rows: Mutex::default() });
        self.running().insert(partition, Arc::clone(&held));
        let rows = self.input.execute(partition, context)?;
        let rows = rows.inspect(move |batch| {
            if let Ok(batch) = batch {
                held.give(batch);
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

impl DisplayAs for Counted {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for Counted {
    fn name(&self) -> &'static str {
        "CountedExec"
    }

    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) => Ok(Arc::new(Self { input, ..Self::clone(&self) })),
            None => Ok(self),
        }
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) => Ok(Arc::new(Self { input, ..Self::clone(&self) })),
            None => Ok(self),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        match self.side {
            Side::Below => self.below(partition, context),
            Side::Above => self.above(partition, context),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::query::session::{Options, Session};
    use crate::store::Store;

    const ROWS: usize = 600_000;

    /// Half as many rows as there are in a query would fit.
    fn session() -> Session {
        let options = Options { memory_bytes_max: 4 << 20, target_partitions: Some(1), ..Options::default() };
        let store = Store::open_existing(tempfile::TempDir::new().unwrap().path()).unwrap();
        Session::open(&store, Default::default(), &options).unwrap()
    }

    async fn count(session: &Session, window: &str) -> Result<usize, String> {
        let sql = format!("SELECT {window} AS w FROM generate_series(1, {ROWS})");
        let mut answer = session.sql(&sql).await.map_err(|error| error.to_string())?;
        let mut rows = 0;
        while let Some(batch) = answer.next().await.map_err(|error| error.to_string())? {
            rows += batch.num_rows();
        }
        Ok(rows)
    }

    #[tokio::test]
    async fn a_window_that_holds_too_many_rows_is_stopped() {
        let session = session();
        for window in [
            "sum(value) OVER ()",
            "ntile(4) OVER ()",
            "last_value(value) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
            "lead(value, 500000) OVER ()",
            "lag(value, 500000) OVER ()",
            "sum(value) OVER (ROWS BETWEEN 500000 PRECEDING AND CURRENT ROW)",
            "sum(value) OVER (ROWS BETWEEN 1 PRECEDING AND 500000 FOLLOWING)",
        ] {
            let stopped = count(&session, window).await;
            assert_eq!(stopped, Err("the query needs more memory than it may use".to_owned()), "{window}");
        }
    }

    #[tokio::test]
    async fn a_window_that_gives_rows_as_it_takes_them_runs_over_any_number() {
        let session = session();
        for window in [
            "row_number() OVER ()",
            "lag(value) OVER ()",
            "lead(value, 3) OVER ()",
            "sum(value) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)",
            "max(value) OVER (ROWS BETWEEN 100 PRECEDING AND 100 FOLLOWING)",
        ] {
            assert_eq!(count(&session, window).await, Ok(ROWS), "{window}");
        }
    }
}
