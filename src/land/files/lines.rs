//! Answers out of one file, one at a time, bounded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use crate::base::{Error, Result};

use super::find::{CapturedFile, Layout, Packing};

/// A longer line (or a larger file with one answer) is an error: it would have to be held in memory whole.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 20;

const BUFFER_BYTES: usize = 1 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads one file.
pub(super) struct Lines {
    reader: Box<dyn BufRead + Send>,
    layout: Layout,
    path: String,
    /// Of the line read last, from 1.
    line: i64,
    bytes_max: usize,
}

impl Lines {
    /// # Errors
    /// `Storage` when the file cannot be opened.
    pub(super) fn open(file: &CapturedFile, bytes_max: usize) -> Result<Self> {
        let path = file.path.display().to_string();
        let failed = |source| Error::storage(format!("cannot read `{path}`")).caused_by(source);
        let plain = File::open(&file.path).map_err(failed)?;
        let reader: Box<dyn BufRead + Send> = match file.packing {
            Packing::Plain => Box::new(BufReader::with_capacity(BUFFER_BYTES, plain)),
            Packing::Zstd => {
                let unpacked = zstd::stream::read::Decoder::new(plain).map_err(failed)?;
                Box::new(BufReader::with_capacity(BUFFER_BYTES, unpacked))
            }
        };
        Ok(Self { reader, layout: file.layout, path, line: 0, bytes_max })
    }

    /// The next line that is not blank, with its number (from 1) and without its end; or the whole file, as line 1.
    ///
    /// # Errors
    /// `Data`, naming file and line, for one that is too long or cannot be unpacked; `Storage`.
    pub(super) fn next(&mut self) -> Result<Option<(i64, Vec<u8>)>> {
        loop {
            let mut bytes = Vec::new();
            self.line += 1;
            // One byte more than allowed tells a line that is too long from one that just fits.
            let mut bounded = (&mut self.reader).take(self.bytes_max as u64 + 1);
            let read = match self.layout {
                Layout::Lines => bounded.read_until(b'\n', &mut bytes),
                Layout::Whole => bounded.read_to_end(&mut bytes),
            };
            if read.map_err(|source| self.failed(source))? == 0 {
                return Ok(None);
            }
            if bytes.len() > self.bytes_max {
                return Err(self.too_long());
            }
            if self.line == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
                bytes.drain(..BYTE_ORDER_MARK.len());
            }
            while self.layout == Layout::Lines && matches!(bytes.last(), Some(b'\n' | b'\r')) {
                bytes.pop();
            }
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some((self.line, bytes)));
            }
        }
    }

    fn failed(&self, source: io::Error) -> Error {
        let message = format!("cannot read `{}` at line {}", self.path, self.line);
        let broken = matches!(source.kind(), io::ErrorKind::Other | io::ErrorKind::UnexpectedEof);
        let error = if broken { Error::data(message) } else { Error::storage(message) };
        error.caused_by(source)
    }

    fn too_long(&self) -> Error {
        let message = format!("`{}` line {} is longer than {} bytes", self.path, self.line, self.bytes_max);
        let hint = match self.layout {
            Layout::Lines => "one answer stands on one line",
            Layout::Whole => "a file with several answers is a `.jsonl`, one answer a line",
        };
        Error::data(message).with_hint(hint)
    }
}
