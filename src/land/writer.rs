//! Group commit: concurrent attempts share a segment, and each is acknowledged once that is durable.
//!
//! One task owns the run's next number. It takes all attempts that wait (nothing waits for company: the first one is
//! committed at once, those that arrive meanwhile are the next group), numbers them, masks known secrets, packs
//! them into a segment off the reactor, creates its file and acknowledges.
//!
//! Invariant: an acknowledged attempt is in a durable segment; after a failed write nothing is acknowledged any more.

#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::base::secret::Mask;
use crate::base::{Error, Kind, Result, RunId};
use crate::extract::{Attempt, Record, Sink};
use crate::store::Created;

use super::segment::{Encoder, digest};
use super::zone::Zone;

/// A group takes no further attempt once its bodies are this large. More: fewer files; longer until the first of a
/// group is acknowledged.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// … or once it has this many attempts.
const GROUP_ATTEMPTS_MAX: usize = 1024;
/// Attempts that may wait for the committer; the next caller waits for a place.
const WAITING_MAX: usize = GROUP_ATTEMPTS_MAX;

/// Lands the attempts of one run. The only [`Sink`] of a real run.
#[derive(Debug)]
pub struct Writer {
    zone: Zone,
    run_id: RunId,
    /// `None` once closed.
    waiting: Mutex<Option<mpsc::Sender<Job>>>,
    committer: tokio::sync::Mutex<Option<AbortOnDropHandle<Committed>>>,
}

/// The numbers that the segments begin with which a committer has made.
type Committed = Result<Vec<i64>, Failure>;

/// What a writer is for.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// The run.
    pub run_id: RunId,
    /// The number of the first attempt: 1, or [`Zone::last_number`] + 1 when a run continues.
    pub first_number: i64,
    /// The secrets that must not land.
    pub mask: Mask,
}

impl Writer {
    /// Starts the committer on the current runtime. It ends at [`Writer::close`], or with the writer.
    #[must_use]
    pub fn start(zone: Zone, options: WriterOptions) -> Self {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        let (zone_, run_id) = (zone.clone(), options.run_id);
        let next_number = options.first_number;
        let committer = Committer { zone, next_number, encoder: None, options, segments: Vec::new() };
        let committer = AbortOnDropHandle::new(tokio::spawn(committer.run(waiting)));
        let committer = tokio::sync::Mutex::new(Some(committer));
        Self { zone: zone_, run_id, waiting: Mutex::new(Some(sender)), committer }
    }

    /// Hands an attempt over, in the order of the calls; the result is waited for with [`Landing::wait`], so that
    /// one caller can have many attempts share a segment. The attempt lands even when nobody waits.
    ///
    /// # Errors
    /// `Internal` after [`Writer::close`].
    pub async fn submit(&self, attempt: Attempt) -> Result<Landing> {
        let sender = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sender = sender.ok_or_else(|| Error::internal("an attempt arrived after landing was closed"))?;
        let (landed, answer) = oneshot::channel();
        sender.send(Job { attempt, landed }).await.map_err(|_| ended())?;
        Ok(Landing(answer))
    }

    /// Waits until everything handed over is durable, ends the committer, and notes what has landed. Later attempts are
    /// refused.
    ///
    /// # Errors
    /// The failure that kept an attempt from becoming durable; `Storage`.
    pub async fn close(&self) -> Result<()> {
        drop(self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut running = self.committer.lock().await;
        let Some(committer) = running.as_mut() else { return Ok(()) };
        // Taken only when it has ended: a caller that stops waiting must not abort it.
        let outcome = committer.await;
        *running = None;
        match outcome {
            Ok(outcome) => {
                let segments = outcome.map_err(|failure| failure.error())?;
                self.zone.note_segments(&self.run_id, segments).await
            }
            Err(source) => Err(ended().caused_by(source)),
        }
    }
}

#[async_trait::async_trait]
impl Sink for Writer {
    async fn land(&self, attempt: Attempt) -> Result<Attempt> {
        self.submit(attempt).await?.wait().await
    }
}

/// An attempt on its way to the disk.
#[derive(Debug)]
pub struct Landing(oneshot::Receiver<Result<Attempt>>);

impl Landing {
    /// The attempt as kept (numbered, masked), once it is durable.
    ///
    /// # Errors
    /// Whatever kept it from becoming durable: the run must stop.
    pub async fn wait(self) -> Result<Attempt> {
        self.0.await.unwrap_or_else(|_| Err(ended()))
    }
}

fn ended() -> Error {
    Error::internal("landing ended before an attempt was durable")
}

#[derive(Debug)]
struct Job {
    attempt: Attempt,
    landed: oneshot::Sender<Result<Attempt>>,
}

/// An error that can be told to several waiters.
#[derive(Debug, Clone)]
struct Failure {
    kind: Kind,
    message: String,
    hint: Option<String>,
    cause: Option<String>,
}

impl Failure {
    fn error(&self) -> Error {
        let error = Error::new(self.kind, &self.message);
        let error = self.hint.iter().fold(error, |error, hint| error.with_hint(hint));
        self.cause.iter().fold(error, |error, cause| error.caused_by(cause.clone()))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        Self { kind: error.kind(), message: error.to_string(), hint: error.hint().map(str::to_owned), cause }
    }
}

struct Committer {
    zone: Zone,
    options: WriterOptions,
    next_number: i64,
    /// Away while a segment is packed; made at the first one.
    encoder: Option<Encoder>,
    /// The first numbers of those that it has made.
    segments: Vec<i64>,
}

impl Committer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Job>) -> Committed {
        let mut outcome = Ok(());
        while let Some(first) = waiting.recv().await {
            let (attempts, waiters) = group(first, &mut waiting);
            let landed = match &outcome {
                Ok(()) => self.commit(attempts).await.map_err(Failure::from),
                Err(failure) => Err(Failure::clone(failure)),
            };
            match landed {
                Ok(attempts) => waiters.into_iter().zip(attempts).for_each(|(waiter, attempt)| {
                    // A caller that has gone away has no need of the answer; the attempt is kept.
                    let _ = waiter.send(Ok(attempt));
                }),
                Err(failure) => {
                    for waiter in waiters {
                        let _ = waiter.send(Err(failure.error()));
                    }
                    outcome = Err(failure);
                }
            }
        }
        outcome.map(|()| self.segments)
    }

    /// Makes one group durable and returns it as kept.
    async fn commit(&mut self, attempts: Vec<Attempt>) -> Result<Vec<Attempt>> {
        let first_number = self.next_number;
        let (mask, encoder) = (self.options.mask.clone(), self.encoder.take());
        let packed = tokio::task::spawn_blocking(move || pack(attempts, first_number, &mask, encoder)).await;
        let (attempts, segment, encoder) =
            packed.unwrap_or_else(|source| Err(Error::internal("packing a segment ended early").caused_by(source)))?;
        self.encoder = Some(encoder);
        let path = self.zone.segment_path(&self.options.run_id, first_number);
        match self.zone.store().create(&path, segment).await? {
            Created::Done => {}
            Created::Exists => {
                let message = format!("the segment `{path}` is there already: another process lands into this run");
                return Err(Error::new(Kind::Conflict, message)
                    .with_hint("start it again: what has landed is not asked for again"));
            }
        }
        self.segments.push(first_number);
        self.next_number += i64::try_from(attempts.len()).unwrap_or(i64::MAX);
        Ok(attempts)
    }
}

/// The first job and all that wait behind it, up to a group's bounds.
fn group(first: Job, waiting: &mut mpsc::Receiver<Job>) -> (Vec<Attempt>, Vec<oneshot::Sender<Result<Attempt>>>) {
    let mut bytes = first.attempt.body.len();
    let (mut attempts, mut waiters) = (vec![first.attempt], vec![first.landed]);
    while bytes < GROUP_BYTES_MAX && attempts.len() < GROUP_ATTEMPTS_MAX {
        let Ok(job) = waiting.try_recv() else { break };
        bytes += job.attempt.body.len();
        attempts.push(job.attempt);
        waiters.push(job.landed);
    }
    (attempts, waiters)
}

/// Numbers, masks and packs a group. CPU work.
fn pack(
    mut attempts: Vec<Attempt>,
    first_number: i64,
    mask: &Mask,
    encoder: Option<Encoder>,
) -> Result<(Vec<Attempt>, bytes::Bytes, Encoder)> {
    let failed = |source| Error::internal("a segment cannot be packed").caused_by(source);
    for (number, attempt) in (first_number..).zip(&mut attempts) {
        attempt.record.number = number;
        seal(attempt, mask);
    }
    let mut encoder = encoder.map_or_else(Encoder::new, Ok).map_err(failed)?;
    let segment = encoder.encode(&attempts).map_err(failed)?;
    Ok((attempts, segment, encoder))
}

/// Masks an attempt and states its body's length and digest.
fn seal(attempt: &mut Attempt, mask: &Mask) {
    let Attempt { record, body } = attempt;
    let masked = mask.bytes(body);
    record.redacted |= masked.is_some();
    if let Some(masked) = masked {
        *body = masked.into();
    }
    mask_texts(record, mask);
    record.body_bytes = body.len() as u64;
    record.digest = digest(body);
}

/// Every text of a record that may have been built from a credential or been sent back by the gateway.
fn mask_texts(record: &mut Record, mask: &Mask) {
    let Record { content_type, content_encoding, retry_after, date, transport_error, request, .. } = record;
    let answered = [content_type, content_encoding, retry_after, date, transport_error];
    let texts = answered.into_iter().flatten().chain(request.values_mut());
    texts.for_each(|text| *text = mask.text(text));
}
