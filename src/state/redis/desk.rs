//! Where decisions about one account wait for their turn.
//!
//! A decision is made here and written if nobody else has changed anything: one way there and back. Meanwhile others
//! come; whoever's turn it is decides for all of them at once, so that a far server slows no call but its own.
//!
//! Invariant: what a process believes of a page is believed only until the server says otherwise, and what was decided
//! from it holds only once the server has written it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::state::ledger::{Ledger, Used};
use crate::state::owned::{OwnedAsk, OwnedSettle};
use crate::state::{Ask, Reserved, Settle};

use super::{PATIENCE, counts, field};
use crate::base::Result;

/// One account, as this process sees it.
#[derive(Default)]
pub(super) struct Desk {
    waiting: Mutex<Vec<Waiting>>,
    /// Whoever holds it decides.
    pub(super) known: tokio::sync::Mutex<Known>,
}

/// What the server was last known to hold.
#[derive(Default)]
pub(super) struct Known {
    pub(super) document: String,
    pub(super) counts: HashMap<Count, Part>,
}

/// What a call is counted by: the key of the day's counts, and the fields of the count and of the run's part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Count {
    pub(super) key: String,
    pub(super) field: String,
    pub(super) part: String,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    /// The whole count, as it is written.
    pub(super) calls: String,
    /// What this process was granted of it.
    pub(super) granted: u64,
}

/// What is wanted of a page.
pub(super) enum Wish {
    /// … and the calls counted on the day of the gateway, where that is another one.
    Reserve(Box<OwnedAsk>, Count, Option<u64>),
    Settle(Box<OwnedSettle>),
    Change(Box<dyn Fn(&mut Ledger) + Send + Sync>),
}

/// Who wants it.
pub(super) struct Waiting {
    wish: Wish,
    /// How far the server's clock had been set when its moments were told.
    set_by: i64,
    since: Instant,
    done: oneshot::Sender<Option<Reserved>>,
}

/// Those who are decided for together. Where it comes to nothing they wait again.
pub(super) struct Batch<'d> {
    desk: &'d Desk,
    waiting: Vec<Waiting>,
    /// `None`: nothing is counted.
    pub(super) count: Option<Count>,
}

impl Wish {
    /// `there`: calls counted on the gateway's day, where that is another one.
    pub(super) fn reserve(ask: &Ask<'_>, there: Option<u64>) -> Result<Self> {
        let Ask { account, scope, run, .. } = ask;
        let (field, part) = (field(&(account, scope))?, field(&(account, scope, run))?);
        Ok(Self::Reserve(Box::new(OwnedAsk::new(ask)), Count { key: counts(ask.day), field, part }, there))
    }

    pub(super) fn settle(settle: &Settle<'_>) -> Self {
        Self::Settle(Box::new(OwnedSettle::new(settle)))
    }

    fn count(&self) -> Option<&Count> {
        if let Self::Reserve(_, count, _) = self { Some(count) } else { None }
    }

    /// Decides, with so many calls counted; its moments are by a clock that was set since by `set_by`.
    fn decide(&self, ledger: &mut Ledger, used: u64, set_by: TimeDelta) -> Option<Reserved> {
        match self {
            Self::Reserve(ask, _, there) => {
                let (ask, used) = (ask.borrow(), Used { today: used, there: there.unwrap_or(used) });
                return Some(ledger.reserve(used, &Ask { now: ask.now + set_by, ..ask }));
            }
            Self::Settle(settle) => {
                let settle = settle.borrow();
                let (now, free_at) = (settle.now + set_by, settle.free_at + set_by);
                ledger.settle(&Settle { now, free_at, ..settle });
            }
            Self::Change(change) => change(ledger),
        }
        None
    }
}

impl Desk {
    /// Lets a wish wait for its turn; tells what came of it.
    pub(super) fn wait(&self, wish: Wish, set_by: i64) -> oneshot::Receiver<Option<Reserved>> {
        let (done, told) = oneshot::channel();
        self.waiting().push(Waiting { wish, set_by, since: Instant::now(), done });
        told
    }

    /// Takes the first who waits, with all who can be decided for with it: one count is written at a time.
    pub(super) fn next(&self) -> Batch<'_> {
        let mut waiting = self.waiting();
        waiting.retain(|waiting| !waiting.done.is_closed());
        let count = waiting.iter().find_map(|waiting| waiting.wish.count()).cloned();
        let goes_with = |waiting: &mut Waiting| waiting.wish.count().is_none_or(|own| Some(own) == count.as_ref());
        let taken = waiting.extract_if(.., goes_with).collect();
        Batch { desk: self, waiting: taken, count }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch<'_> {
    /// Decides for all in turn; `used` calls are counted before the first of them, and `set_by` is how far the server's
    /// clock has been set. Gives the calls counted after the last.
    pub(super) fn decide(&self, ledger: &mut Ledger, mut used: u64, set_by: i64) -> (Vec<Option<Reserved>>, u64) {
        let decide = |waiting: &Waiting| {
            // Who was held up by a server that paused wants it as of now: its clock was not set back.
            let waited = waiting.since.elapsed();
            let late = TimeDelta::from_std(waited).ok().filter(|_| waited >= PATIENCE).unwrap_or_default();
            let set_by = TimeDelta::microseconds(set_by - waiting.set_by) + late;
            let decided = waiting.wish.decide(ledger, used, set_by);
            if let Some(Reserved::Granted { used: after, .. }) = &decided {
                used = *after;
            }
            decided
        };
        let decided = self.waiting.iter().map(decide).collect();
        (decided, used)
    }

    /// Tells everybody what was decided.
    pub(super) fn tell(mut self, decided: Vec<Option<Reserved>>) {
        for (waiting, decided) in self.waiting.drain(..).zip(decided) {
            // Who has gone away meanwhile has a call counted that does not leave.
            let _ = waiting.done.send(decided);
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut waiting = self.desk.waiting();
        let later = std::mem::take(&mut *waiting);
        waiting.append(&mut self.waiting);
        waiting.extend(later);
    }
}
