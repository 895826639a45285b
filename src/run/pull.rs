//! Two pictures side by side: the rows of one table, offer by offer, of both.
//!
//! Takes the publish-log entries of two pictures; gives the rows of each offer, of the one and of the other. Blocks: to
//! be called off the reactor, within the runtime.
//!
//! Invariant: memory does not grow with the pictures: a few batches of each are held.

use std::cmp::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use arrow::array::RecordBatch;
use tokio::runtime::Handle;

use crate::base::{Error, Result};
use crate::load::log::Entry;
use crate::load::read::read;
use crate::store::Store;
use crate::transform::contract::Table;

/// Batches read ahead of each picture.
const WAITING_BATCHES: usize = 1;

/// A row that knows its place in a picture's order.
pub(super) trait Keyed {
    /// Its shop (none first) and its offer.
    fn key(&self) -> (Option<&str>, i64);
}

/// A picture.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) store: &'a Store,
    /// `None`: an empty one.
    pub(super) entry: Option<&'a Entry>,
}

/// Which rows are read.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// One that is sorted by shop and offer.
    pub(super) table: Table,
    /// `None`: all.
    pub(super) columns: Option<&'a [&'a str]>,
}

/// Hands `take` each offer's rows before and after, in the order of shops and offers.
pub(super) fn side_by_side<T: Keyed>(
    before: Side<'_>,
    after: Side<'_>,
    rows: Rows<'_>,
    decode: impl Fn(&RecordBatch) -> Result<Vec<T>>,
    mut take: impl FnMut(Vec<T>, Vec<T>) -> Result<()>,
) -> Result<()> {
    let runtime = Handle::current();
    std::thread::scope(|scope| {
        let start = |side: Side<'_>| {
            let (sender, batches) = sync_channel(WAITING_BATCHES);
            let runtime = runtime.clone();
            // Both ends are moved: a side that is no longer listened to stops reading.
            let (store, entry) = (side.store.clone(), side.entry.cloned());
            (batches, move || {
                let _entered = runtime.enter();
                pour(&store, entry.as_ref(), rows, &sender);
            })
        };
        let ((before, read_before), (after, read_after)) = (start(before), start(after));
        scope.spawn(read_before);
        scope.spawn(read_after);
        let mut before = Cursor::new(before, &decode);
        let mut after = Cursor::new(after, &decode);
        loop {
            before.fill()?;
            after.fill()?;
            let order = match (before.peek(), after.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => one.cmp(&other),
            };
            let old = if order == Ordering::Greater { Vec::new() } else { before.offer()? };
            let new = if order == Ordering::Less { Vec::new() } else { after.offer()? };
            take(old, new)?;
        }
    })
}

/// Sends all batches of a picture's table, then hangs up.
fn pour(store: &Store, entry: Option<&Entry>, rows: Rows<'_>, sender: &SyncSender<Result<RecordBatch>>) {
    let Some(entry) = entry else { return };
    let hung_up = || Error::internal("nobody reads on");
    let send = |batch| sender.send(Ok(batch)).map_err(|_| hung_up());
    if let Err(error) = read(store, entry, rows.table, rows.columns, send) {
        // When nobody reads on, nobody hears this either.
        let _ = sender.send(Err(error));
    }
}

/// Where one picture has been read to.
struct Cursor<'d, T, D> {
    batches: Receiver<Result<RecordBatch>>,
    decode: &'d D,
    rows: std::iter::Peekable<std::vec::IntoIter<T>>,
}

impl<'d, T: Keyed, D: Fn(&RecordBatch) -> Result<Vec<T>>> Cursor<'d, T, D> {
    fn new(batches: Receiver<Result<RecordBatch>>, decode: &'d D) -> Self {
        Self { batches, decode, rows: Vec::new().into_iter().peekable() }
    }

    /// Decodes the next batch where no row is left.
    fn fill(&mut self) -> Result<()> {
        while self.rows.peek().is_none() {
            let Ok(batch) = self.batches.recv() else { return Ok(()) };
            self.rows = (self.decode)(&batch?)?.into_iter().peekable();
        }
        Ok(())
    }

    fn peek(&mut self) -> Option<(Option<&str>, i64)> {
        self.rows.peek().map(Keyed::key)
    }

    /// The rows of the next offer.
    fn offer(&mut self) -> Result<Vec<T>> {
        let mut rows: Vec<T> = self.rows.next().into_iter().collect();
        loop {
            self.fill()?;
            let next = self.rows.next_if(|row| rows.first().is_some_and(|first| first.key() == row.key()));
            let Some(row) = next else { return Ok(rows) };
            rows.push(row);
        }
    }
}
