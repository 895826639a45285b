//! The segment: what some attempts of one run look like as one file. Pure: attempts to bytes and back.
//!
//! A segment is one [Zstandard frame](https://www.rfc-editor.org/rfc/rfc8878) (it starts with `28 B5 2F FD` and
//! states its content's size), followed by one *skippable* Zstandard frame of 32 bytes, the trailer:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `5E 2A 4D 18`: a skippable frame |
//! | 4 | `18 00 00 00`: 24 bytes follow (little-endian, as the standard has it) |
//! | 8 | `huopan` `00` `01`: our mark and the version of this format |
//! | 16 | xxh3-128 of everything before these 16 bytes, big-endian |
//!
//! So `zstd -dc file.seg` (and any reader of several frames) gives the content and skips the trailer. The content is
//! a sequence of records, without anything between them:
//!
//! 1. one line of JSON, an [`extract::Record`](crate::extract::Record), that ends with `\n` (and holds no other `\n`),
//! 2. `body_bytes` bytes: the body exactly as received. `digest` is its xxh3-128, 32 lower-case hex digits.
//!
//! In Python, with the packages `zstandard` and `xxhash`:
//!
//! ```python
//! content = zstandard.ZstdDecompressor().stream_reader(open(path, "rb"), read_across_frames=True).read()
//! while content:
//!     line, content = content.split(b"\n", 1)
//!     record = json.loads(line)
//!     body, content = content[:record["body_bytes"]], content[record["body_bytes"]:]
//!     assert xxhash.xxh3_128_hexdigest(body) == record["digest"]
//! ```
//!
//! Why Zstandard at level −5: on pages of a portals listing it costs about 55 µs of CPU for 40 KB and leaves half;
//! LZ4 frames (lz4_flex) leave as much for 55–80 µs, and Zstandard 1 leaves a third for 87 µs, while the HTTP request
//! of such a page costs 30 µs. Segments live until the end of their run; `raw_pages` may pack harder.
//!
//! Invariant: bytes that differ in any bit from what was encoded are an error, never some of the records.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;
use zstd::bulk::Compressor;
use zstd::zstd_safe::get_frame_content_size;

use crate::extract::{Attempt, Record};

/// How the name of a segment's file ends.
pub const EXTENSION: &str = "seg";

/// See the module's documentation for why.
const LEVEL: i32 = -5;
/// The fixed part of the trailer: a skippable frame, its length, our mark and version.
const TRAILER_HEAD: [u8; 16] = *b"\x5e\x2a\x4d\x18\x18\x00\x00\x00huopan\x00\x01";
const TRAILER_BYTES: usize = TRAILER_HEAD.len() + 16;
/// A larger content is nothing that was ever encoded: a group is bounded, one answer is bounded.
const CONTENT_BYTES_MAX: u64 = 1 << 31;

/// Why bytes are no segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// The end is missing: the file was cut or never finished.
    #[error("the segment has no end: it was cut, or is none")]
    Torn,
    /// Some bit changed after it was written.
    #[error("the segment's checksum does not match its bytes")]
    Checksum,
    /// The checksum holds, but the content is not as documented: another program or version wrote it.
    #[error("record {record} of the segment is malformed: {what}")]
    Record {
        /// Counted from 1.
        record: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The frame cannot be compressed or decompressed.
    #[error("the segment's frame cannot be processed: {0}")]
    Frame(String),
}

/// The digest of a body: xxh3-128, 32 lower-case hex digits.
#[must_use]
pub fn digest(body: &[u8]) -> String {
    format!("{:032x}", xxh3_128(body))
}

/// Makes segments; reuses its tables and buffers from one to the next.
pub struct Encoder {
    compressor: Compressor<'static>,
    content: Vec<u8>,
}

impl Encoder {
    /// A new encoder.
    ///
    /// # Errors
    /// [`SegmentError::Frame`] when there is no memory for it.
    pub fn new() -> Result<Self, SegmentError> {
        let mut compressor = Compressor::new(LEVEL).map_err(frame)?;
        compressor.include_contentsize(true).map_err(frame)?;
        Ok(Self { compressor, content: Vec::new() })
    }

    /// The segment of these attempts, in this order. `body_bytes` and `digest` must fit the bodies.
    ///
    /// # Errors
    /// [`SegmentError::Record`] when a record cannot be written, [`SegmentError::Frame`] when there is no memory.
    pub fn encode(&mut self, attempts: &[Attempt]) -> Result<Bytes, SegmentError> {
        self.content.clear();
        for (index, attempt) in attempts.iter().enumerate() {
            serde_json::to_writer(&mut self.content, &attempt.record)
                .map_err(|source| SegmentError::Record { record: index + 1, what: source.to_string() })?;
            self.content.push(b'\n');
            self.content.extend_from_slice(&attempt.body);
        }
        let mut segment = self.compressor.compress(&self.content).map_err(frame)?;
        segment.extend_from_slice(&TRAILER_HEAD);
        let checksum = xxh3_128(&segment);
        segment.extend_from_slice(&checksum.to_be_bytes());
        Ok(segment.into())
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// The attempts of a segment, in order. Their bodies share one buffer; each body's digest is checked.
///
/// # Errors
/// [`SegmentError`]: all of the segment can be read, or none.
pub fn decode(segment: &[u8]) -> Result<Vec<Attempt>, SegmentError> {
    let content = content(segment)?;
    let mut attempts = Vec::new();
    walk(&content, |number, record, at| {
        let body = content.slice(at);
        if record.digest != digest(&body) {
            return Err(malformed(number, "its digest is not that of its body"));
        }
        attempts.push(Attempt { record, body });
        Ok(())
    })?;
    Ok(attempts)
}

/// The records of a segment alone, in order; the bodies are skipped.
///
/// # Errors
/// [`SegmentError`].
pub fn headers(segment: &[u8]) -> Result<Vec<Record>, SegmentError> {
    let mut records = Vec::new();
    walk(&content(segment)?, |_, record, _| {
        records.push(record);
        Ok(())
    })?;
    Ok(records)
}

/// Checks the trailer and unpacks the frame.
fn content(segment: &[u8]) -> Result<Bytes, SegmentError> {
    let (covered, checksum) = segment.split_last_chunk::<16>().ok_or(SegmentError::Torn)?;
    let compressed = covered.strip_suffix(&TRAILER_HEAD).filter(|frame| !frame.is_empty()).ok_or(SegmentError::Torn)?;
    debug_assert_eq!(compressed.len() + TRAILER_BYTES, segment.len());
    if xxh3_128(covered).to_be_bytes() != *checksum {
        return Err(SegmentError::Checksum);
    }
    let size = get_frame_content_size(compressed).ok().flatten().filter(|&size| size <= CONTENT_BYTES_MAX);
    let size = size.and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or_else(|| SegmentError::Frame("its content's size is not stated, or absurd".to_owned()))?;
    zstd::bulk::decompress(compressed, size).map(Bytes::from).map_err(frame)
}

/// Calls `visit` with each record, its number from 1, and where its body stands.
fn walk(
    content: &[u8],
    mut visit: impl FnMut(usize, Record, std::ops::Range<usize>) -> Result<(), SegmentError>,
) -> Result<(), SegmentError> {
    let (mut at, mut number) = (0, 0);
    while at < content.len() {
        number += 1;
        let line = memchr::memchr(b'\n', &content[at..]).ok_or_else(|| malformed(number, "its line has no end"))?;
        let record: Record =
            serde_json::from_slice(&content[at..at + line]).map_err(|source| malformed(number, source.to_string()))?;
        let start = at + line + 1;
        let end = usize::try_from(record.body_bytes).ok().and_then(|bytes| start.checked_add(bytes));
        let end = end.filter(|&end| end <= content.len()).ok_or_else(|| malformed(number, "its body is cut"))?;
        visit(number, record, start..end)?;
        at = end;
    }
    Ok(())
}

fn malformed(record: usize, what: impl Into<String>) -> SegmentError {
    SegmentError::Record { record, what: what.into() }
}

fn frame(source: std::io::Error) -> SegmentError {
    SegmentError::Frame(source.to_string())
}
