//! The threads that plan and compute queries, apart from those of whoever asks.
//!
//! What is asked may take a thread for as long as it lives: whoever waits for it still hears Ctrl-C, a clock, or a client
//! that has gone.
//!
//! Invariant: what runs here ends when nobody holds its handle any more, at its next pause.

use std::io;
use std::num::NonZeroUsize;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;

use crate::base::{Error, Result};

/// What nests deeply is parsed, planned and dropped with recursion. Only what is used is taken.
const STACK_BYTES: usize = 64 << 20;

static ENGINE: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(cores.max(2)).thread_name("query").thread_stack_size(STACK_BYTES).enable_all();
    builder.build()
});

/// Starts work on the engine's threads.
///
/// # Errors
/// [`Kind::Internal`](crate::base::Kind::Internal) without threads.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<AbortOnDropHandle<T>> {
    match &*ENGINE {
        Ok(engine) => Ok(AbortOnDropHandle::new(engine.spawn(work))),
        Err(error) => Err(Error::internal(format!("cannot start threads: {error}"))),
    }
}
