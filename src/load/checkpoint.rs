//! Checkpoints of the publish log: what it adds up to at a number, in one file, so that reading the log costs one
//! listing and few files however long its history is.
//!
//! `<lake>/_huopan/publish/<pipeline>/<seq, 20 digits>.checkpoint.json.zst`: a [`State`] as JSON, compressed.
//!
//! Listings need no place to start from: entries behind a checkpoint are removed once no retained publication needs
//! them (`maintain::vacuum`), so a pipeline's log is a few dozen names.
//!
//! Invariant: a checkpoint is created conditionally, from nothing but the entries up to its number; it never decides
//! anything, and a lake without any reads the same.

use crate::base::{Error, Kind, Result};
use crate::store::{Created, Store};

use super::log::{self, Names};
use super::state::State;

/// Entries between two checkpoints.
pub const INTERVAL: u64 = 10;
/// Zstandard level: written now and then, read by every command.
const LEVEL: i32 = 6;
/// Times a log is listed anew when what a listing showed was removed before it was read.
const LISTINGS_MAX: usize = 4;

/// What a pipeline's log adds up to now.
///
/// # Errors
/// `Storage` when it cannot be read, `Data` when a file of it is missing or not what huopan writes.
pub async fn state(store: &Store, pipeline: &str) -> Result<State> {
    let names = log::names_of(store, pipeline).await?;
    state_of(store, pipeline, names).await
}

/// As [`state`], of a log that has been listed.
///
/// # Errors
/// As [`state`].
pub async fn state_of(store: &Store, pipeline: &str, mut names: Names) -> Result<State> {
    let mut listings = 1;
    loop {
        let missing = match state_at(store, pipeline, &names, names.last()).await {
            Err(error) if error.kind() == Kind::Data && listings < LISTINGS_MAX => error,
            done => return done,
        };
        // Old files of the log go once there are newer checkpoints: the next listing shows those.
        let again = log::names_of(store, pipeline).await?;
        if again == names {
            return Err(missing);
        }
        names = again;
        listings += 1;
    }
}

/// What a pipeline's log adds up to at a number.
///
/// # Errors
/// As [`state`]; `Data` when the log does not reach back so far.
pub async fn state_at(store: &Store, pipeline: &str, names: &Names, seq: u64) -> Result<State> {
    let base = names.checkpoints.range(..=seq).next_back().map(|(&seq, _)| seq);
    let mut state = match base {
        Some(base) => read(store, pipeline, base).await?,
        None => State::new(pipeline),
    };
    for entry in log::read_span(store, pipeline, state.seq + 1..=seq).await? {
        state.apply(entry);
    }
    Ok(state)
}

/// Writes the checkpoint of a state, unless there is one at its number.
///
/// # Errors
/// `Storage` when it cannot be written.
pub async fn write(store: &Store, state: &State) -> Result<Created> {
    let path = log::checkpoint_path(&state.pipeline, state.seq);
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        Error::internal(format!("`{path}` cannot be written as JSON")).caused_by(source)
    };
    let json = serde_json::to_vec(state).map_err(|source| failed(source.into()))?;
    // With a checksum: where its entries are gone, nothing else tells that it has changed.
    let compressed = zstd::bulk::Compressor::new(LEVEL).and_then(|mut compressor| {
        compressor.include_checksum(true)?;
        compressor.compress(&json)
    });
    let bytes = compressed.map_err(|source| failed(source.into()))?;
    store.create(&path, bytes.into()).await
}

/// Writes the checkpoint that is due at a number; a log that goes on without it is read as before.
pub async fn keep_up(store: &Store, pipeline: &str, seq: u64) {
    if !seq.is_multiple_of(INTERVAL) {
        return;
    }
    let written = async {
        let names = log::names_of(store, pipeline).await?;
        write(store, &state_at(store, pipeline, &names, seq).await?).await
    };
    if let Err(error) = written.await {
        tracing::warn!(pipeline, seq, %error, "cannot write the checkpoint of the publish log");
    }
}

async fn read(store: &Store, pipeline: &str, seq: u64) -> Result<State> {
    let path = log::checkpoint_path(pipeline, seq);
    let broken = || {
        Error::data(format!("`{path}` is not a checkpoint of the publish log")).with_hint(
            "it was written by a newer huopan, or changed: restore it, or delete it if the entries before it are there",
        )
    };
    let Some(bytes) = store.get(&path).await? else {
        return Err(Error::data(format!("the checkpoint `{path}` is missing")));
    };
    let json = zstd::stream::decode_all(bytes.as_ref()).map_err(|source| broken().caused_by(source))?;
    let state: State = serde_json::from_slice(&json).map_err(|source| broken().caused_by(source))?;
    if state.seq == seq && state.pipeline == pipeline { Ok(state) } else { Err(broken()) }
}
