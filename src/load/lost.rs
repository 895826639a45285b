//! A published file that is lost: whether it is, and what to do about it.
//!
//! Takes a publication's picture, or a path; gives the file that is missing or damaged, or the advice that every message
//! about one ends with.

use std::fmt::Display;

use chrono::NaiveDate;
use xxhash_rust::xxh3::Xxh3;

use crate::base::{Error, Result};
use crate::store::Store;
use crate::transform::contract::Table;

use super::log::{DataFile, Entry};
use super::parquet::digest_text;

/// Bytes of a file that are looked at in one piece.
const PIECE_BYTES: u64 = 8 << 20;

/// A day that is published anew gets pages and calls of its own, not those of before.
const OF_A_JOURNAL: &str = "restore it from a copy of the lake: no run writes what a journal told once more";
const OF_NO_TABLE: &str = "restore it from a copy of the lake";

/// What to do about a published file that is missing or damaged: `…/offers/dt=2026-11-20/pipeline=nightly/….parquet`.
#[must_use]
pub fn remedy(path: &str) -> String {
    match place(path) {
        Some((table, dt, pipeline)) if !table.is_journal() => remedy_of_day(dt, pipeline),
        Some(_) => OF_A_JOURNAL.to_owned(),
        None => OF_NO_TABLE.to_owned(),
    }
}

/// What to do about a day whose pictures are not what was published. To fetch it anew would put today's catalogue under
/// that day.
#[must_use]
pub fn remedy_of_day(dt: impl Display, pipeline: &str) -> String {
    format!(
        "rebuild the day without a call: `huopan replay PIPELINE --dt {dt}`, with the file of pipeline `{pipeline}`; \
         where its answers are no longer kept, restore it from a copy of the lake"
    )
}

/// The error of a published file that is not there, or not as it was published.
#[must_use]
pub fn error(path: &str) -> Error {
    Error::storage(format!("the published file `{path}` is missing or damaged")).with_hint(remedy(path))
}

/// The table, day and pipeline that a path names.
fn place(path: &str) -> Option<(Table, NaiveDate, &str)> {
    let mut folders = path.rsplit('/').skip(1);
    let pipeline = folders.next()?.strip_prefix("pipeline=")?;
    let dt = folders.next()?.strip_prefix("dt=")?.parse().ok()?;
    Some((folders.next()?.parse().ok()?, dt, pipeline))
}

/// The first file of a publication's pictures that is missing, or has other bytes than it had; `None`: all are as they
/// were published. Of a file without a digest, only its size is known.
///
/// # Errors
/// `Storage` or `Unavailable` when the store does not say.
pub async fn of_pictures(store: &Store, entry: &Entry) -> Result<Option<String>> {
    for file in Table::PICTURES.into_iter().flat_map(|table| entry.files(table)) {
        if !is_as_published(store, file).await? {
            return Ok(Some(file.path.clone()));
        }
    }
    Ok(None)
}

/// Whether a file is there with the bytes that it was published with. Of one without a digest, only its size is known.
///
/// # Errors
/// `Storage` or `Unavailable` when the store does not say.
pub async fn is_as_published(store: &Store, file: &DataFile) -> Result<bool> {
    if store.meta(&file.path).await?.is_none_or(|meta| meta.bytes != file.bytes) {
        return Ok(false);
    }
    let Some(expected) = &file.digest else { return Ok(true) };
    let mut digest = Xxh3::new();
    let mut start = 0;
    while start < file.bytes {
        let piece = start..file.bytes.min(start + PIECE_BYTES);
        let parts = store.get_ranges(&file.path, std::slice::from_ref(&piece)).await?;
        let Some(parts) = parts else { return Ok(false) };
        parts.iter().for_each(|part| digest.update(part));
        start = piece.end;
    }
    Ok(digest_text(digest.digest128()) == *expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_rebuilt_and_a_journal_restored() {
        for (path, expected) in [
            ("offers/dt=2026-11-20/pipeline=nightly/x-00000.parquet", "`huopan replay PIPELINE --dt 2026-11-20`"),
            ("lakes/a/skus/dt=2026-11-20/pipeline=b/x.parquet", "with the file of pipeline `b`"),
            ("calls/dt=2026-11-20/pipeline=nightly/x.parquet", OF_A_JOURNAL),
            ("raw_pages/dt=2026-11-20/pipeline=nightly/x.parquet", OF_A_JOURNAL),
            ("offers/_delta_log/00000000000000000000.json", OF_NO_TABLE),
            ("x.parquet", OF_NO_TABLE),
        ] {
            let said = remedy(path);
            assert!(said.contains(expected) && !said.contains("--refresh"), "{path}: {said}");
        }
    }
}
