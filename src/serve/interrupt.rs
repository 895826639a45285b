//! Requests to cancel, which come over a connection of their own: found by a number and a key that only the client knows.
//!
//! Invariant: a wrong key cancels nothing, and a request reaches only the statement that runs when it comes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// By which one connection's statements are cancelled.
#[derive(Debug, Default)]
pub(super) struct Interrupt(Mutex<CancellationToken>);

impl Interrupt {
    /// A statement begins: earlier requests are not meant for it.
    pub(super) fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = token.clone();
        token
    }

    fn cancel(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }
}

/// All connections that can be cancelled.
#[derive(Debug, Default)]
pub(super) struct Interrupts(Mutex<HashMap<i32, (i32, Arc<Interrupt>)>>);

/// A connection's place among them, until it is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    all: Arc<Interrupts>,
    pub(super) pid: i32,
    pub(super) key: i32,
    pub(super) interrupt: Arc<Interrupt>,
}

impl Interrupts {
    /// A connection with this key gets a number that no other has.
    pub(super) fn register(self: &Arc<Self>, key: i32) -> Registered {
        let interrupt = Arc::new(Interrupt::default());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = (1..i32::MAX).find(|pid| !all.contains_key(pid)).unwrap_or(i32::MAX);
        all.insert(free, (key, Arc::clone(&interrupt)));
        Registered { all: Arc::clone(self), pid: free, key, interrupt }
    }

    /// Cancels what runs on the connection with that number, if the key is its own.
    pub(super) fn cancel(&self, pid: i32, key: i32) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.get(&pid).filter(|(own, _)| *own == key);
        if let Some((_, interrupt)) = found {
            interrupt.cancel();
        }
        found.is_some()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_cancels_and_only_what_runs_now() {
        let all = Arc::new(Interrupts::default());
        let (one, two) = (all.register(7), all.register(7));
        assert_ne!(one.pid, two.pid);
        let (earlier, now, other) = (one.interrupt.begin(), one.interrupt.begin(), two.interrupt.begin());
        assert!(!all.cancel(one.pid, 8) && !now.is_cancelled());
        assert!(all.cancel(one.pid, 7) && now.is_cancelled());
        assert!(!earlier.is_cancelled() && !other.is_cancelled());
        assert!(!one.interrupt.begin().is_cancelled());
        let pid = one.pid;
        drop(one);
        assert!(!all.cancel(pid, 7), "a connection that is gone");
    }
}
