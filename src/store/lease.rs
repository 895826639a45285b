//! One run per pipeline at a time on an object store: a lease, an object that its holder writes again and again.
//!
//! Every change is conditional on the object's version, so of two takers one wins. How old a lease is is told by the
//! store's own clock (its time of writing against that of an object written now): clocks of machines do not matter. A
//! holder that is known to be dead (same machine, no such process) is succeeded at once, any other one when its lease
//! has not been written for [`TTL`].
//!
//! Invariant: a lease that expired does not stop its holder from anything: whoever takes over must fence it off
//! ([`Hold::is_taken_over`]).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::base::{Error, Kind, Result};

use super::bucket::Bucket;
use super::lock::{Hold, running};

/// A lease that was not written for so long has expired.
const TTL: Duration = Duration::from_secs(60);
/// How often a lease is written.
const RENEWAL: Duration = Duration::from_secs(15);
/// Stores tell times in whole seconds.
const RESOLUTION: TimeDelta = TimeDelta::seconds(2);
/// Times a lease is looked at again after somebody else changed it.
const TRIES_MAX: usize = 5;

/// What the object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    /// Who has it, for people; empty: nobody.
    holder: String,
    /// Who has it, for machines.
    process: Option<Process>,
    /// Differs for every taking.
    token: String,
}

/// A process that can be looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    /// The running kernel and the process ids it counts: containers have their own.
    machine: String,
    /// The process id.
    id: u32,
    /// When it started, in the kernel's ticks: ids are used again.
    started: u64,
}

/// Whether a lease may be taken from its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It was let go of.
    Free,
    /// Its holder is dead, or has not written it for too long.
    Abandoned,
    /// It is held.
    Held,
}

/// A lease that is held, and written until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    shared: Arc<Shared>,
    taken_over: bool,
    renewal: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    bucket: Bucket,
    path: Path,
    pipeline: String,
    lease: Lease,
    version: tokio::sync::Mutex<UpdateVersion>,
    since: Instant,
    /// Milliseconds after `since` at which it was last written.
    written: AtomicU64,
    lost: AtomicBool,
}

/// Takes a lease.
///
/// # Errors
/// `Conflict`, saying who holds it; what the store says.
pub(super) async fn take(bucket: &Bucket, path: &str, pipeline: &str, holder: &str) -> Result<Held> {
    let lease = Lease { holder: holder.to_owned(), process: Process::own(), token: Uuid::now_v7().to_string() };
    let (path, failed) = (Path::from(path), |source| bucket.failed("write", path, source));
    for _ in 0..TRIES_MAX {
        let (mode, taken_over) = match read(bucket, &path).await.map_err(failed)? {
            None => (PutMode::Create, false),
            Some((found, version, written_at)) => {
                let standing = match found.standing(Process::is_dead, None) {
                    Standing::Held => {
                        found.standing(Process::is_dead, Some(age(bucket, written_at).await.map_err(failed)?))
                    }
                    known => known,
                };
                if standing == Standing::Held {
                    let hint =
                        "wait for it to end, or stop it; a lease whose holder died elsewhere ends after a minute";
                    return Err(running(pipeline, &found.holder).with_hint(hint));
                }
                (PutMode::Update(version), standing == Standing::Abandoned)
            }
        };
        let written = Instant::now();
        let source = match write(bucket.files(), &path, &lease, mode).await {
            Ok(version) => return Ok(Held::start(bucket.clone(), path, pipeline, lease, version, written, taken_over)),
            Err(source) => source,
        };
        // Somebody else was first, or it is ours and the answer was lost.
        if let Some((found, version, _)) = read(bucket, &path).await.map_err(failed)?
            && found == lease
        {
            return Ok(Held::start(bucket.clone(), path, pipeline, lease, version, written, taken_over));
        }
        if !matches!(source, StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) {
            return Err(failed(source));
        }
    }
    Err(running(pipeline, "").with_hint("several processes want it at once: try again"))
}

async fn read(bucket: &Bucket, path: &Path) -> Result<Option<(Lease, UpdateVersion, DateTime<Utc>)>, StoreError> {
    let found: GetResult = match bucket.files().get(path).await {
        Ok(found) => found,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(source) => return Err(source),
    };
    let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
    let written_at = found.meta.last_modified;
    let bytes = found.bytes().await?;
    // What cannot be read may be somebody's: it is waited for, and its holder is fenced off, as of one that is unknown.
    let lease = serde_json::from_slice(&bytes).unwrap_or_else(|_| Lease {
        holder: "an unknown process".to_owned(),
        process: None,
        token: String::new(),
    });
    Ok(Some((lease, version, written_at)))
}

async fn write(
    files: &dyn ObjectStore,
    path: &Path,
    lease: &Lease,
    mode: PutMode,
) -> Result<UpdateVersion, StoreError> {
    let json =
        serde_json::to_vec(lease).map_err(|source| StoreError::Generic { store: "lease", source: Box::new(source) })?;
    let options = PutOptions { mode, ..PutOptions::default() };
    files.put_opts(path, PutPayload::from(Bytes::from(json)), options).await.map(UpdateVersion::from)
}

/// How long ago something was written, by the store's clock.
async fn age(bucket: &Bucket, written_at: DateTime<Utc>) -> Result<TimeDelta, StoreError> {
    let path = Path::from(format!("_huopan/locks/clock-{}", Uuid::now_v7()));
    bucket.files().put(&path, PutPayload::new()).await?;
    let now = bucket.files().head(&path).await;
    bucket.files().delete(&path).await?;
    Ok(now?.last_modified - written_at)
}

impl Lease {
    fn standing(&self, is_dead: impl Fn(&Process) -> bool, age: Option<TimeDelta>) -> Standing {
        let ttl = TimeDelta::from_std(TTL).unwrap_or(TimeDelta::MAX);
        if self.holder.is_empty() {
            Standing::Free
        } else if self.process.as_ref().is_some_and(is_dead) || age.is_some_and(|age| age > ttl + RESOLUTION) {
            Standing::Abandoned
        } else {
            Standing::Held
        }
    }
}

impl Process {
    /// This process; `None` where the kernel does not tell.
    fn own() -> Option<Self> {
        let id = std::process::id();
        Some(Self { machine: machine()?, id, started: started(id).ok()?? })
    }

    /// Whether it is known to have ended: it ran on this machine, and there is no such process now.
    fn is_dead(&self) -> bool {
        let is_other = |started: Option<u64>| started != Some(self.started);
        machine().as_ref() == Some(&self.machine) && started(self.id).is_ok_and(is_other)
    }
}

/// The running kernel and the space of process ids we see.
fn machine() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let ids = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), ids.display()))
}

/// When a process started: the 22nd field of its `stat`, counted after its name, which may hold anything. `None`: there is no
/// such process.
///
/// # Errors
/// When the kernel does not say: nobody is called dead because of that.
fn started(id: u32) -> io::Result<Option<u64>> {
    match std::fs::read_to_string(format!("/proc/{id}/stat")) {
        Ok(stat) => {
            let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)?.parse().ok());
            started.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
        }
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(source),
    }
}

impl Held {
    fn start(
        bucket: Bucket,
        path: Path,
        pipeline: &str,
        lease: Lease,
        version: UpdateVersion,
        since: Instant,
        taken_over: bool,
    ) -> Self {
        let shared = Arc::new(Shared {
            bucket,
            path,
            pipeline: pipeline.to_owned(),
            lease,
            version: tokio::sync::Mutex::new(version),
            since,
            written: AtomicU64::new(0),
            lost: AtomicBool::new(false),
        });
        let renewed = Arc::clone(&shared);
        let renewal = AbortOnDropHandle::new(tokio::spawn(async move {
            while !renewed.lost.load(Ordering::Relaxed) {
                tokio::time::sleep(RENEWAL).await;
                renewed.renew().await;
            }
        }));
        Self { shared, taken_over, renewal }
    }
}

impl Shared {
    /// Writes the lease anew. A failure in passing is made up for by the next one; what somebody else wrote is not.
    async fn renew(&self) {
        let mut version = self.version.lock().await;
        let at = self.since.elapsed();
        let mode = PutMode::Update(version.clone());
        match write(self.bucket.files(), &self.path, &self.lease, mode).await {
            Ok(new) => {
                *version = new;
                self.written.store(u64::try_from(at.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
            Err(StoreError::Precondition { .. } | StoreError::NotFound { .. } | StoreError::AlreadyExists { .. }) => {
                // Our own write whose answer was lost has another version and our token.
                match read(&self.bucket, &self.path).await {
                    Ok(Some((lease, new, _))) if lease == self.lease => *version = new,
                    Ok(_) => self.lost.store(true, Ordering::Relaxed),
                    Err(_) => {}
                }
            }
            Err(source) => tracing::warn!(pipeline = self.pipeline, error = %source, "cannot renew the lease"),
        }
    }

    fn check(&self) -> Result<()> {
        let written = Duration::from_millis(self.written.load(Ordering::Relaxed));
        if !self.lost.load(Ordering::Relaxed) && self.since.elapsed().saturating_sub(written) < TTL {
            return Ok(());
        }
        let message =
            format!("the lease of pipeline `{}` was lost to another process, or could not be renewed", self.pipeline);
        Err(Error::new(Kind::Conflict, message).with_hint("start it again: what has landed is not asked for again"))
    }
}

#[async_trait::async_trait]
impl Hold for Held {
    fn is_taken_over(&self) -> bool {
        self.taken_over
    }

    fn check(&self) -> Result<()> {
        self.shared.check()
    }

    async fn release(self: Box<Self>) -> Result<()> {
        drop(self.renewal);
        let shared = &self.shared;
        if shared.lost.load(Ordering::Relaxed) {
            return Ok(());
        }
        let version = shared.version.lock().await.clone();
        let free = Lease { holder: String::new(), process: None, token: shared.lease.token.clone() };
        match write(shared.bucket.files(), &shared.path, &free, PutMode::Update(version)).await {
            Ok(_) | Err(StoreError::Precondition { .. } | StoreError::NotFound { .. }) => Ok(()),
            Err(source) => Err(shared.bucket.failed("write", shared.path.as_ref(), source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str) -> Lease {
        Lease { holder: holder.to_owned(), process: Process::own(), token: "t".to_owned() }
    }

    #[test]
    fn a_lease_is_free_or_abandoned_or_held() {
        type IsDead = fn(&Process) -> bool;
        let (alive, dead): (IsDead, IsDead) = (|_| false, |_| true);
        let seconds = |seconds| Some(TimeDelta::seconds(seconds));
        for (holder, is_dead, age, standing) in [
            ("", alive, None, Standing::Free),
            ("", dead, seconds(1000), Standing::Free),
            ("me", dead, None, Standing::Abandoned),
            ("me", alive, None, Standing::Held),
            ("me", alive, seconds(62), Standing::Held),
            ("me", alive, seconds(63), Standing::Abandoned),
            ("me", alive, seconds(-5), Standing::Held),
        ] {
            assert_eq!(lease(holder).standing(is_dead, age), standing, "{holder} {age:?}");
        }
    }

    #[test]
    fn this_process_lives_and_one_that_started_at_another_time_is_dead() {
        let own = Process::own().unwrap();
        assert!(!own.is_dead());
        assert!(Process { started: own.started + 1, ..own.clone() }.is_dead());
        assert!(!Process { machine: "elsewhere".into(), started: 0, ..own }.is_dead());
    }
}
