//! What an extraction tells while it runs.

use super::facts::ShopFacts;

/// Who listens. The command line implements it; extraction never prints.
pub trait Progress: Send + Sync {
    /// Something happened.
    fn on(&self, event: Event<'_>);
}

/// What happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// An unfinished run goes on.
    Resumed {
        /// Its day.
        dt: chrono::NaiveDate,
        /// Landed answers that need not be asked for again.
        answers: usize,
    },
    /// A day is about to be rebuilt from what has landed.
    Replaying(chrono::NaiveDate),
    /// The first call of a shop is about to leave.
    ShopStarted {
        /// The shop as the pipeline names it: name, else address, else id.
        shop: &'a str,
    },
    /// A page of a shop was answered.
    Page {
        /// The shop as above.
        shop: &'a str,
        /// Pages answered so far.
        pages: usize,
        /// Pages that the known total needs.
        of: Option<u32>,
    },
    /// A detail (item or SKU) was answered.
    Detail {
        /// Details settled so far.
        done: usize,
        /// Details known so far.
        of: usize,
    },
    /// A shop's last call was answered.
    ShopFinished(&'a ShopFacts),
    /// Something worth knowing that does not stop the run.
    Warning(&'a str),
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn on(&self, _: Event<'_>) {}
}
