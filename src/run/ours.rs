//! Answers land as long as the run is this process's.
//!
//! Invariant: once the lock is known to be lost, nothing more lands: a process that was stopped for longer than its lease
//! leaves the run to the one that has taken it over, and makes no further call.

use crate::base::Result;
use crate::extract::{Attempt, Sink};
use crate::load::Turn;

/// A sink that is shut when the lock is lost.
pub(super) struct Ours<'a> {
    pub(super) sink: &'a dyn Sink,
    pub(super) turn: &'a Turn<'a>,
}

#[async_trait::async_trait]
impl Sink for Ours<'_> {
    async fn land(&self, attempt: Attempt) -> Result<Attempt> {
        self.turn.check()?;
        self.sink.land(attempt).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;
    use crate::base::{Clock, Error, Kind, SystemClock};
    use crate::extract::testing;
    use crate::store::{Hold, PipelineLock, Store};

    /// A lock that can be lost.
    #[derive(Debug, Default)]
    struct Losable(Arc<AtomicBool>);

    #[async_trait::async_trait]
    impl Hold for Losable {
        fn check(&self) -> Result<()> {
            if self.0.load(Ordering::Relaxed) { Err(Error::new(Kind::Conflict, "lost")) } else { Ok(()) }
        }

        async fn release(self: Box<Self>) -> Result<()> {
            Ok(())
        }
    }

    struct Counting(AtomicUsize);

    #[async_trait::async_trait]
    impl Sink for Counting {
        async fn land(&self, attempt: Attempt) -> Result<Attempt> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(attempt)
        }
    }

    #[tokio::test]
    async fn nothing_lands_once_the_lock_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let lost = Arc::new(AtomicBool::new(false));
        let lock = PipelineLock::new(Losable(Arc::clone(&lost)));
        let turn = Turn::take(&store, "p", &lock, SystemClock.now()).await.unwrap();
        let sink = Counting(AtomicUsize::new(0));
        let ours = Ours { sink: &sink, turn: &turn };
        let attempt = || Attempt { record: testing::record(200), body: bytes::Bytes::new() };
        ours.land(attempt()).await.unwrap();
        lost.store(true, Ordering::Relaxed);
        assert_eq!(ours.land(attempt()).await.unwrap_err().kind(), Kind::Conflict);
        assert_eq!(sink.0.load(Ordering::Relaxed), 1);
    }
}
