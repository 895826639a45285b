//! Puts bounded functions into plans: where the engine plans a function by itself, as for `[a, b]`, for `a || b`, and for
//! lists over windows.
//!
//! Invariant: columns keep their names and types.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::expr::{ScalarFunction, WindowFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, ScalarUDF, WindowFunctionDefinition};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::Bounded;
use super::growing::Growing;
use super::joining::Joining;

pub(super) const MAKE_ARRAY: &str = "make_array";

/// Whether other rules have yet to see the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    First,
    Last,
}

/// The rule.
#[derive(Debug)]
pub(super) struct Calls {
    when: When,
    bytes_max: u64,
    joining: Arc<ScalarUDF>,
}

impl Calls {
    pub(super) fn new(when: When, bytes_max: u64) -> Self {
        let joining = Arc::new(ScalarUDF::new_from_impl(Joining::default()));
        let bounded = Bounded::of(&joining, bytes_max).map(Arc::new);
        Self { when, bytes_max, joining: bounded.unwrap_or(joining) }
    }

    /// The expression with its bound; `None`: it has one, or needs none.
    fn of(&self, expr: &Expr) -> Option<Expr> {
        let call = |func, args| Expr::ScalarFunction(ScalarFunction { func, args });
        Some(match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
                call(Arc::clone(&self.joining), vec![left.as_ref().clone(), right.as_ref().clone()])
            }
            // The engine searches `[a, b]` without making it, where it knows the function.
            Expr::ScalarFunction(of)
                if self.when == When::First
                    && of.func.name() == MAKE_ARRAY
                    && of.args.iter().any(|arg| !arg.column_refs().is_empty()) =>
            {
                return None;
            }
            Expr::ScalarFunction(of) => call(Arc::new(Bounded::of(&of.func, self.bytes_max)?), of.args.clone()),
            Expr::WindowFunction(window) => {
                let fun = WindowFunctionDefinition::AggregateUDF(Arc::new(Growing::of(window, self.bytes_max)?));
                Expr::WindowFunction(Box::new(WindowFunction { fun, params: window.params.clone() }))
            }
            _ => return None,
        })
    }
}

impl OptimizerRule for Calls {
    fn name(&self) -> &'static str {
        "bounded calls"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let mut has_any = false;
        plan.apply_expressions(|expr| {
            has_any = has_any || expr.exists(|inner| Ok(self.of(inner).is_some()))?;
            Ok(if has_any { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !has_any {
            return Ok(Transformed::no(plan));
        }
        plan.map_expressions(|expr| {
            expr.transform_up(|inner| Ok(self.of(&inner).map_or_else(|| Transformed::no(inner), Transformed::yes)))
        })
    }
}
