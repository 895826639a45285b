//! Sorting of more small records than memory should hold.
//!
//! Takes records of one size, in any order; gives them sorted, as often as they are asked for. What does not fit into
//! the budget lies in temporary files as sorted runs, which are merged as they are read.
//!
//! Invariant: what comes out is what was put in, in order, whatever the budget.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;

use crate::base::memory::{Budget, Share};
use crate::base::{Error, Result};

/// Records that are held whatever the budget says: runs shorter than this are more trouble than memory.
const HELD_MIN: usize = 4096;
/// Runs that are merged at a time: each takes an open file and a buffer.
const RUNS_MAX: usize = 64;
/// Bytes read of a run at a time.
const BUFFER_BYTES: usize = 32 << 10;

/// Something small with an order and an encoding of fixed length.
pub trait Record: Copy + Ord {
    /// The length of the encoding.
    const BYTES: usize;

    /// Appends the encoding.
    fn put(&self, bytes: &mut Vec<u8>);

    /// Reads it back.
    fn take(fields: &mut Fields<'_>) -> Self;
}

/// The fields of an encoded record, one after the other.
#[derive(Debug)]
pub struct Fields<'b>(pub &'b [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        // A record is handed over whole: its own encoding has as many bytes as its decoding takes.
        let Some((head, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *head
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    /// Four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// Eight bytes.
    pub fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.take())
    }
}

/// Takes records in.
#[derive(Debug)]
pub struct Sorter<R> {
    share: Share,
    held_bytes_max: usize,
    held: Vec<R>,
    runs: Vec<Run>,
}

/// Sorted records, in memory and in files.
#[derive(Debug)]
pub struct Sorted<R> {
    held: Vec<(Vec<R>, Share)>,
    runs: Vec<Run>,
    len: u64,
}

#[derive(Debug)]
struct Run {
    file: File,
    records: u64,
}

impl<R: Record> Sorter<R> {
    /// An empty one. It holds no more than a fourth of the budget, so that others find room.
    #[must_use]
    pub fn new(budget: &Budget) -> Self {
        Self { share: budget.share(), held_bytes_max: budget.bytes_max() / 4, held: Vec::new(), runs: Vec::new() }
    }

    /// Takes a record.
    ///
    /// # Errors
    /// [`crate::base::Kind::Storage`] when there is no room in the temporary folder.
    pub fn push(&mut self, record: R) -> Result<()> {
        if self.held.len() == self.held.capacity() {
            self.make_room()?;
        }
        self.held.push(record);
        Ok(())
    }

    fn make_room(&mut self) -> Result<()> {
        let more = if self.held.is_empty() { HELD_MIN } else { self.held.len() };
        let bytes = (self.held.len() + more) * size_of::<R>();
        // The first few are held unasked.
        let first = self.held.capacity() == 0;
        if first || (bytes <= self.held_bytes_max && self.share.resize(bytes)) {
            self.held.reserve_exact(more);
            return Ok(());
        }
        self.spill()
    }

    fn spill(&mut self) -> Result<()> {
        self.held.sort_unstable();
        self.runs.push(write_run(self.held.drain(..).map(Ok))?);
        if self.runs.len() >= RUNS_MAX {
            let runs = std::mem::take(&mut self.runs);
            let merged: Sorted<R> = Sorted { held: Vec::new(), len: 0, runs };
            self.runs.push(write_run(merged.iter()?)?);
        }
        Ok(())
    }

    /// All of them, sorted.
    ///
    /// # Errors
    /// As [`Sorter::push`].
    pub fn finish(self) -> Result<Sorted<R>> {
        Self::finish_all([self])
    }

    /// The records of several sorters, sorted.
    ///
    /// # Errors
    /// As [`Sorter::push`].
    pub fn finish_all(sorters: impl IntoIterator<Item = Self>) -> Result<Sorted<R>> {
        let mut sorted = Sorted::default();
        for mut sorter in sorters {
            sorter.held.sort_unstable();
            sorted.len += sorter.held.len() as u64 + sorter.runs.iter().map(|run| run.records).sum::<u64>();
            sorted.held.push((sorter.held, sorter.share));
            sorted.runs.extend(sorter.runs);
        }
        Ok(sorted)
    }
}

impl<R> Default for Sorted<R> {
    fn default() -> Self {
        Self { held: Vec::new(), runs: Vec::new(), len: 0 }
    }
}

impl<R: Record> Sorted<R> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them in order.
    ///
    /// # Errors
    /// [`crate::base::Kind::Storage`] when a temporary file cannot be read.
    pub fn iter(&self) -> Result<Records<'_, R>> {
        let held = self.held.iter().map(|(records, _)| Source::Held(records.iter()));
        let runs = self.runs.iter().map(|run| Source::Run(RunReader::new(run)));
        let mut sources: Vec<Source<'_, R>> = held.chain(runs).collect();
        let mut heads = BinaryHeap::with_capacity(sources.len());
        for (index, source) in sources.iter_mut().enumerate() {
            heads.extend(source.next()?.map(|record| Reverse((record, index))));
        }
        Ok(Records { sources, heads })
    }
}

/// Records in order.
#[derive(Debug)]
pub struct Records<'s, R> {
    sources: Vec<Source<'s, R>>,
    heads: BinaryHeap<Reverse<(R, usize)>>,
}

impl<R: Record> Records<'_, R> {
    /// The record that comes next, which stays.
    #[must_use]
    pub fn peek(&self) -> Option<&R> {
        self.heads.peek().map(|Reverse((record, _))| record)
    }
}

impl<R: Record> Iterator for Records<'_, R> {
    type Item = Result<R>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut head = self.heads.peek_mut()?;
        let Reverse((record, index)) = *head;
        match self.sources[index].next() {
            Ok(Some(next)) => *head = Reverse((next, index)),
            Ok(None) => {
                PeekMut::pop(head);
            }
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(record))
    }
}

#[derive(Debug)]
enum Source<'s, R> {
    Held(std::slice::Iter<'s, R>),
    Run(RunReader<'s, R>),
}

impl<R: Record> Source<'_, R> {
    fn next(&mut self) -> Result<Option<R>> {
        match self {
            Source::Held(records) => Ok(records.next().copied()),
            Source::Run(reader) => reader.next(),
        }
    }
}

/// Reads a run without moving its file's place: several may read it at a time.
#[derive(Debug)]
struct RunReader<'s, R> {
    run: &'s Run,
    read: u64,
    buffer: Vec<u8>,
    at: usize,
    record: PhantomData<R>,
}

impl<'s, R: Record> RunReader<'s, R> {
    fn new(run: &'s Run) -> Self {
        Self { run, read: 0, buffer: Vec::new(), at: 0, record: PhantomData }
    }

    fn next(&mut self) -> Result<Option<R>> {
        if self.at == self.buffer.len() {
            let most = (BUFFER_BYTES / R::BYTES).max(1) as u64;
            let records = most.min(self.run.records - self.read);
            if records == 0 {
                return Ok(None);
            }
            self.buffer.resize(usize::try_from(records).unwrap_or(0) * R::BYTES, 0);
            self.run.file.read_exact_at(&mut self.buffer, self.read * R::BYTES as u64).map_err(failed)?;
            (self.at, self.read) = (0, self.read + records);
        }
        let mut fields = Fields(&self.buffer[self.at..self.at + R::BYTES]);
        self.at += R::BYTES;
        Ok(Some(R::take(&mut fields)))
    }
}

fn write_run<R: Record>(records: impl Iterator<Item = Result<R>>) -> Result<Run> {
    let mut file = BufWriter::with_capacity(BUFFER_BYTES, tempfile::tempfile().map_err(failed)?);
    let (mut bytes, mut written) = (Vec::with_capacity(R::BYTES), 0);
    for record in records {
        bytes.clear();
        record?.put(&mut bytes);
        file.write_all(&bytes).map_err(failed)?;
        written += 1;
    }
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    Ok(Run { file, records: written })
}

/// The error of a temporary file.
pub(super) fn failed(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::storage("cannot write or read a temporary file for sorting")
        .caused_by(source)
        .with_hint("point TMPDIR at a disk with room")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Record for (i64, u32) {
        const BYTES: usize = 12;

        fn put(&self, bytes: &mut Vec<u8>) {
            bytes.extend(self.0.to_le_bytes());
            bytes.extend(self.1.to_le_bytes());
        }

        fn take(fields: &mut Fields<'_>) -> Self {
            (fields.i64(), fields.u32())
        }
    }

    fn sorted(budget: &Budget, parts: &[Vec<(i64, u32)>]) -> Sorted<(i64, u32)> {
        let sorters = parts.iter().map(|part| {
            let mut sorter = Sorter::new(budget);
            part.iter().for_each(|record| sorter.push(*record).unwrap());
            sorter
        });
        Sorter::finish_all(sorters.collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn many_runs_come_out_in_order_as_often_as_asked() {
        // More runs than are merged at a time.
        let records: Vec<(i64, u32)> = (0..(HELD_MIN * (RUNS_MAX + 3)) as u32)
            .map(|n| (i64::from(n.wrapping_mul(2_654_435_761) % 1000), n))
            .collect();
        let budget = Budget::new(1 << 10);
        let sorted = sorted(&budget, std::slice::from_ref(&records));
        let mut expected = records;
        expected.sort_unstable();
        assert!(sorted.runs.len() > 1 && sorted.runs.len() < RUNS_MAX);
        for _ in 0..2 {
            let found: Vec<_> = sorted.iter().unwrap().map(Result::unwrap).collect();
            assert!(found == expected);
        }
        assert_eq!(sorted.len(), expected.len() as u64);
        assert!(budget.peak() <= budget.bytes_max());
    }

    proptest! {
        #[test]
        fn any_budget_gives_the_same_order(
            parts in prop::collection::vec(prop::collection::vec((0..50_i64, any::<u32>()), 0..9_000), 0..3),
            budget in prop::sample::select(vec![0, 100_000, 1 << 30]),
        ) {
            let mut expected: Vec<_> = parts.concat();
            expected.sort_unstable();
            let sorted = sorted(&Budget::new(budget), &parts);
            let found: Vec<_> = sorted.iter().unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
