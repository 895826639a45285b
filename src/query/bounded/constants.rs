//! Constants that become columns: `repeat('x', 1000000)` is computed once, and then copied into each row of a batch.
//!
//! A constant whose bytes × the rows of a batch are too many is looked at when it meets a batch: one row of it is as good
//! as any. What is only compared is never copied, nor are texts that a view shares.
//!
//! Invariant: a constant that is not refused stays a constant.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, exec_err, plan_err};
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::scalar::ScalarValue;

use super::arguments::{fixed_width, value_bytes};
use super::joining;

/// Smaller ones are not looked at one by one.
const CONSTANT_BYTES_MIN: u64 = 1 << 10;

/// The rule.
#[derive(Debug)]
pub(super) struct Constants {
    bytes_max: u64,
}

impl Constants {
    pub(super) const fn new(bytes_max: u64) -> Self {
        Self { bytes_max }
    }
}

impl OptimizerRule for Constants {
    fn name(&self) -> &'static str {
        "bounded constants"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let is_one_row = |input: &&LogicalPlan| matches!(input, LogicalPlan::EmptyRelation(_));
        if matches!(plan, LogicalPlan::Values(_) | LogicalPlan::TableScan(_) | LogicalPlan::Limit(_))
            || plan.inputs().iter().all(is_one_row)
        {
            return Ok(Transformed::no(plan));
        }
        let mut has_any = false;
        plan.apply_expressions(|expr| {
            has_any = has_any || expr.exists(|inner| Ok(bytes_of(inner).is_some()))?;
            Ok(if has_any { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !has_any {
            return Ok(Transformed::no(plan));
        }
        let mut found = Columns::default();
        plan.apply_expressions(|expr| found.of(expr.clone()).map(|_| TreeNodeRecursion::Continue))?;
        let rows = config.options().execution.batch_size.get() as u64;
        if !found.has_unknown && found.bytes.saturating_mul(rows) <= self.bytes_max {
            return Ok(Transformed::no(plan));
        }
        let function = Arc::new(ScalarUDF::new_from_impl(Spread {
            bytes: found.bytes,
            bytes_max: self.bytes_max,
            // Not to be computed before it meets its rows.
            signature: Signature::any(1, Volatility::Volatile),
        }));
        let names = NamePreserver::new(&plan);
        let mut columns = Columns { function: Some(function), ..Columns::default() };
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(columns.of(expr)?.update_data(|expr| name.restore(expr)))
        })
    }
}

/// What a constant takes in each row.
enum Bytes {
    Known(u64),
    /// Not before it is computed.
    Unknown,
}

/// `None`: no constant, or one that is the same in few bytes.
fn bytes_of(expr: &Expr) -> Option<Bytes> {
    match expr {
        Expr::Literal(value, _) => {
            Some(Bytes::Known(row_bytes(value))).filter(|_| row_bytes(value) >= CONSTANT_BYTES_MIN)
        }
        Expr::ScalarSubquery(query) if query.outer_ref_columns.is_empty() => {
            let field = query.subquery.schema().fields().first()?;
            fixed_width(field.data_type()).is_none().then_some(Bytes::Unknown)
        }
        _ => None,
    }
}

/// Texts of a view are shared.
fn row_bytes(value: &ScalarValue) -> u64 {
    fixed_width(&value.data_type()).unwrap_or_else(|| value_bytes(value))
}

/// Constants that become columns, in the expressions of a node.
#[derive(Debug, Default)]
struct Columns {
    /// What they take in each row.
    bytes: u64,
    has_unknown: bool,
    /// To be put around each.
    function: Option<Arc<ScalarUDF>>,
}

impl Columns {
    fn of(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        match bytes_of(&expr) {
            Some(Bytes::Known(bytes)) => self.bytes = self.bytes.saturating_add(bytes),
            Some(Bytes::Unknown) => self.has_unknown = true,
            None => return self.within(expr),
        }
        let Some(func) = &self.function else { return Ok(Transformed::no(expr)) };
        let call = ScalarFunction { func: Arc::clone(func), args: vec![expr] };
        Ok(Transformed::yes(Expr::ScalarFunction(call)))
    }

    fn within(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        match expr {
            Expr::ScalarFunction(ref call) if call.func.inner().is::<Spread>() => Ok(Transformed::no(expr)),
            // It counts its constants itself.
            Expr::ScalarFunction(ref call) if call.name() == joining::NAME => self.beside(expr),
            Expr::BinaryExpr(_) | Expr::Like(_) | Expr::SimilarTo(_) | Expr::InList(_) | Expr::Between(_) => {
                self.beside(expr)
            }
            // The arguments behind the first are settings.
            Expr::AggregateFunction(AggregateFunction { func, mut params }) => {
                let is_changed = self.first(&mut params.args)?;
                let expr = Expr::AggregateFunction(AggregateFunction { func, params });
                Ok(if is_changed { Transformed::yes(expr) } else { Transformed::no(expr) })
            }
            Expr::WindowFunction(window) => {
                let WindowFunction { fun, mut params } = *window;
                let is_changed = self.first(&mut params.args)?;
                let expr = Expr::WindowFunction(Box::new(WindowFunction { fun, params }));
                Ok(if is_changed { Transformed::yes(expr) } else { Transformed::no(expr) })
            }
            other => other.map_children(|inner| self.of(inner)),
        }
    }

    /// Constants that something is compared with stay what they are.
    fn beside(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        expr.map_children(|inner| match bytes_of(&inner) {
            Some(_) => Ok(Transformed::no(inner)),
            None => self.within(inner),
        })
    }

    fn first(&mut self, args: &mut [Expr]) -> Result<bool> {
        let Some(first) = args.first_mut() else { return Ok(false) };
        let looked = self.of(std::mem::take(first))?;
        *first = looked.data;
        Ok(looked.transformed)
    }
}

/// A constant that asks how many rows are to have it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Spread {
    /// What it and those beside it take in each row, as far as it is known.
    bytes: u64,
    bytes_max: u64,
    signature: Signature,
}

impl ScalarUDFImpl for Spread {
    fn name(&self) -> &'static str {
        "constant"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [constant] => Ok(constant.schema_name().to_string()),
            _ => plan_err!("there is one constant at a time"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [constant] => Ok(constant.clone()),
            _ => plan_err!("there is one constant at a time"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        match args.arg_fields {
            [constant] => Ok(Arc::clone(constant)),
            _ => plan_err!("there is one constant at a time"),
        }
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = args.args.pop() else { return exec_err!("there is one constant at a time") };
        if let ColumnarValue::Scalar(constant) = &value {
            let bytes = row_bytes(constant).max(self.bytes).saturating_mul(args.number_rows as u64);
            // A row is there already.
            if args.number_rows > 1 && bytes > self.bytes_max {
                let message =
                    format!("constants in {} rows would take more than {} bytes", args.number_rows, self.bytes_max);
                return Err(DataFusionError::ResourcesExhausted(message));
            }
        }
        Ok(value)
    }
}
