//! Scalar functions whose result is larger than each of their arguments: each first tells how large, and is refused if that
//! is too much.
//!
//! DataFusion's memory pool counts sorts, joins and aggregates, not what a function gives, and constant calls run while
//! the query is planned. Without a bound `repeat('x', 2000000000)` or `range(1, 1000000000)` ends the process, and so does
//! `t || t` of `t || t`, two dozen deep.
//!
//! | function | bytes of a row, at most |
//! |---|---|
//! | `repeat` | text × count |
//! | `lpad`, `rpad` | text + length × the widest character of the fill |
//! | `replace`, `regexp_replace` | text + places × replacement; the places are counted if a guess is too much |
//! | `range`, `generate_series` | 8 × (stop − start) / step, with the shortest month and day |
//! | `array_repeat`, `array_resize` | count × element |
//! | `\|\|`, `concat`, `concat_ws`, `overlay`, `encode` | what all texts take together; twice that |
//! | `array_concat`, `make_array` and their like | what all arguments take together |
//! | `array_to_string`, `string_to_array` | elements × separator, elements × their places |
//! | `regexp_match` | text × groups |
//! | `array_replace_all`, `array_replace_n` | elements × replacement |
//!
//! * [`arguments`]: the arguments of a call, by row; [`sizes`]: the table above.
//! * [`calls`]: puts bounded functions where a plan has others, and in the place of `||`; [`joining`]: `||` as a function.
//! * [`constants`]: constants that many rows are to have; [`growing`]: lists over windows.
//!
//! Invariant: a call that is not refused is DataFusion's own, in every respect.

mod arguments;
mod calls;
mod constants;
mod growing;
mod joining;
mod sizes;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DataFusionError, ExprSchema, Result};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, StructFieldMapping,
};
use datafusion::optimizer::OptimizerRule;
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use arguments::Call;
use calls::{Calls, When};
use constants::Constants;
use sizes::Limit;

pub(super) use arguments::{fixed_width, held_bytes};

/// What one call may give for one batch, in bytes, where the session may use more.
const RESULT_BYTES_MAX: u64 = 256 << 20;

/// Functions that are bounded in plans only.
const BY_PLAN: [&str; 2] = [joining::NAME, calls::MAKE_ARRAY];

type Rules = Vec<Arc<dyn OptimizerRule + Send + Sync>>;

/// What one call may give in a session that may use so much memory.
fn bytes_max(memory_bytes_max: usize) -> u64 {
    RESULT_BYTES_MAX.min(memory_bytes_max as u64)
}

/// The rules of an optimizer, with those that bound what is computed in a session that may use so much memory.
pub(super) fn with_bounds(rules: Rules, memory_bytes_max: usize) -> Rules {
    let bytes_max = bytes_max(memory_bytes_max);
    let first: Arc<dyn OptimizerRule + Send + Sync> = Arc::new(Calls::new(When::First, bytes_max));
    let last: [Arc<dyn OptimizerRule + Send + Sync>; 2] =
        [Arc::new(Calls::new(When::Last, bytes_max)), Arc::new(Constants::new(bytes_max))];
    // Before constants are computed; and after other rules have put in calls of their own.
    std::iter::once(first).chain(rules).chain(last).collect()
}

/// Puts the bounded functions in the place of those that a session has, which may use so much memory.
pub(super) fn bound(context: &SessionContext, memory_bytes_max: usize) {
    let state = context.state();
    for (name, _) in sizes::BOUNDED.iter().filter(|(name, _)| !BY_PLAN.contains(name)) {
        let function = state.scalar_functions().get(*name);
        if let Some(bounded) = function.and_then(|function| Bounded::of(function, bytes_max(memory_bytes_max))) {
            context.register_udf(bounded);
        }
    }
}

/// A function that is asked how much it gives before it runs.
#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    limit: Limit,
    bytes_max: u64,
}

impl Bounded {
    /// The function with its bound; `None` if it has one already, or needs none.
    fn of(function: &Arc<ScalarUDF>, bytes_max: u64) -> Option<ScalarUDF> {
        if function.inner().is::<Self>() {
            return None;
        }
        let limit = sizes::BOUNDED.iter().find_map(|(name, limit)| (*name == function.name()).then_some(*limit))?;
        Some(ScalarUDF::new_from_impl(Self { inner: Arc::clone(function), limit, bytes_max }))
    }
}

/// Which bound it has follows from the function.
impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

// A method left to its default would change what the optimizer knows of the function.
#[warn(clippy::missing_trait_methods)]
impl ScalarUDFImpl for Bounded {
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (call, size) = match self.limit {
            Limit::Beyond(size) => (Call::new(&args, self.bytes_max).with_arguments_free(), size),
            Limit::Whole(size) => (Call::new(&args, self.bytes_max), size),
        };
        if size(&call).is_some_and(|bytes| bytes > call.bytes_max) {
            let message = format!("`{}` would give more than {} bytes", self.name(), call.bytes_max);
            return Err(DataFusionError::ResourcesExhausted(message));
        }
        self.inner.inner().invoke_with_args(args)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = Arc::new(self.inner.inner().with_updated_config(config)?);
        Some(ScalarUDF::new_from_impl(Self { inner, limit: self.limit, bytes_max: self.bytes_max }))
    }

    fn name(&self) -> &str {
        self.inner.inner().name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.inner().aliases()
    }

    #[expect(deprecated, reason = "part of the trait as long as it is there")]
    fn display_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.inner().display_name(args)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.inner().signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.inner().return_field_from_args(args)
    }

    #[expect(deprecated, reason = "part of the trait as long as it is there")]
    fn is_nullable(&self, args: &[Expr], schema: &dyn ExprSchema) -> bool {
        self.inner.inner().is_nullable(args, schema)
    }

    fn is_strict(&self) -> bool {
        self.inner.inner().is_strict()
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.inner().simplify(args, info)
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.inner().preimage(args, literal, info)
    }

    fn short_circuits(&self) -> bool {
        self.inner.inner().short_circuits()
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.inner().conditional_arguments(args)
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        self.inner.inner().evaluate_bounds(inputs)
    }

    fn propagate_constraints(&self, interval: &Interval, inputs: &[&Interval]) -> Result<Option<Vec<Interval>>> {
        self.inner.inner().propagate_constraints(interval, inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.inner().output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.inner().preserves_lex_ordering(inputs)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.inner().strictly_order_preserving(inputs)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn struct_field_mapping(&self, literals: &[Option<ScalarValue>]) -> Option<StructFieldMapping> {
        self.inner.inner().struct_field_mapping(literals)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.inner().documentation()
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.inner.inner().placement(args)
    }
}

#[cfg(test)]
mod tests;
