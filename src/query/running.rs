//! A query while it runs: computed on the engine's threads, read batch by batch.
//!
//! Invariant: when [`Running`] is dropped the work ends; no more than a batch waits to be read.

use arrow::array::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::engine;
use super::give_way::Stop;
use crate::base::Result;

type Batches = mpsc::Sender<Result<RecordBatch, DataFusionError>>;

/// A query that runs, until it is dropped.
#[derive(Debug)]
pub struct Running {
    batches: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
    work: AbortOnDropHandle<()>,
    stop: Stop,
}

impl Running {
    /// Runs what `begin` starts, by a plan that `stop` stops.
    pub(super) fn start(
        stop: Stop,
        begin: impl Future<Output = Result<SendableRecordBatchStream, DataFusionError>> + Send + 'static,
    ) -> Result<Self> {
        let (sender, batches) = mpsc::channel(1);
        let work = engine::spawn(async move {
            if let Err(error) = compute(begin, &sender).await {
                // Nobody reads any more: nobody wants to know.
                let _ = sender.send(Err(error)).await;
            }
        })?;
        Ok(Self { batches, work, stop })
    }

    /// The next rows; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, DataFusionError>> {
        match self.batches.recv().await {
            Some(batch) => Some(batch),
            // The channel also closes when the work panics: that is no end.
            None => match (&mut self.work).await {
                Ok(()) => None,
                Err(_) => Some(Err(DataFusionError::Internal("the query broke off".into()))),
            },
        }
    }

    /// Tells whether any of it is at work, also once it is dropped.
    #[cfg(test)]
    pub(super) fn is_at_work(&self) -> impl Fn() -> bool + use<> {
        let (task, has_filters) = (self.work.abort_handle(), self.stop.is_held());
        move || !task.is_finished() || has_filters()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

async fn compute(
    begin: impl Future<Output = Result<SendableRecordBatchStream, DataFusionError>>,
    sender: &Batches,
) -> Result<(), DataFusionError> {
    let mut batches = begin.await?;
    while let Some(batch) = batches.next().await {
        if sender.send(Ok(batch?)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
