//! Captured answers as attempts: the envelope around each answer, its day, its place.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Utc};

use crate::base::json::{self, Raw};
use crate::base::time::beijing_day;
use crate::base::{Error, Result};
use crate::config::Pointer;
use crate::config::pipeline::{DtFrom, Files};
use crate::extract::{Attempt, Record};

use super::find::{CapturedFile, find};
use super::lines::{ANSWER_BYTES_MAX, Lines};
use super::moment;

/// The HTTP status captured answers are taken to have had.
const HTTP_STATUS: u16 = 200;
/// What stands for an account.
const ACCOUNT: &str = "files";

/// One captured answer and the day it stands for.
#[derive(Debug, Clone)]
pub struct Capture {
    /// The day whose publication it belongs to.
    pub dt: NaiveDate,
    /// The answer. Its `run_id` is empty until it lands.
    pub attempt: Attempt,
}

/// The captured answers of a pipeline, in the order of path and line. Reading blocks.
///
/// The body is the bytes of the value at the `answer` pointer; when that value is a string, its text is the answer
/// (XML, or JSON kept as text). Without a pointer it is the line or file. A line that is not JSON, or has nothing
/// at the pointer, is a body as a whole. The time of such a line is that of the one before it.
///
/// # Errors
/// Items are `Data` errors, naming file and line, for lines that are too long or cannot be unpacked, and for times that
/// cannot be read (a missing one only where it decides the day); `Storage` for files that cannot be read. Stop at the first.
pub struct Captures {
    settings: Files,
    run_dt: NaiveDate,
    files: VecDeque<CapturedFile>,
    current: Option<Current>,
}

struct Current {
    lines: Lines,
    file: CapturedFile,
    /// The time of the line before, at first the file's modification time.
    fetched_at: DateTime<Utc>,
}

/// What the wrapper says around one answer.
#[derive(Default)]
struct Envelope {
    body: Bytes,
    shop_id: Option<String>,
    fetched_at: Option<DateTime<Utc>>,
}

impl Captures {
    /// Finds the files; `run_dt` is the day of answers that do not bring their own.
    ///
    /// # Errors
    /// `Config` for a path or pattern that stands for no file; `Storage` for a folder that cannot be read.
    pub fn open(settings: &Files, run_dt: NaiveDate) -> Result<Self> {
        let files = find(&settings.paths)?.into();
        Ok(Self { settings: settings.clone(), run_dt, files, current: None })
    }

    fn read(&mut self) -> Result<Option<Capture>> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(file) = self.files.pop_front() else { return Ok(None) };
                self.current = Some(Current::open(file)?);
                continue;
            };
            let Some((line, bytes)) = current.lines.next()? else {
                self.current = None;
                continue;
            };
            return current.capture(&self.settings, self.run_dt, line, bytes.into()).map(Some);
        }
    }
}

impl Iterator for Captures {
    type Item = Result<Capture>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

impl Current {
    fn open(file: CapturedFile) -> Result<Self> {
        let modified = std::fs::metadata(&file.path).and_then(|metadata| metadata.modified());
        let failed = |source| Error::storage(format!("cannot read `{}`", file.path.display())).caused_by(source);
        let fetched_at = modified.map_err(failed)?.into();
        Ok(Self { lines: Lines::open(&file, ANSWER_BYTES_MAX)?, file, fetched_at })
    }

    fn capture(&mut self, settings: &Files, run_dt: NaiveDate, line: i64, bytes: Bytes) -> Result<Capture> {
        let envelope = open_envelope(settings, &bytes).map_err(|what| {
            let message = format!("`{}` line {line}: {what}", self.file.path.display());
            Error::data(message)
                .with_hint("correct the line, or `fetched_at` and `dt_from` of `[files]` in the pipeline")
        })?;
        self.fetched_at = envelope.fetched_at.unwrap_or(self.fetched_at);
        let dt = match settings.dt_from {
            DtFrom::Run => run_dt,
            DtFrom::FetchedAt => beijing_day(self.fetched_at),
        };
        let request = [("file".to_owned(), self.file.name.clone()), ("line".to_owned(), line.to_string())];
        let mut record = answered(&settings.endpoint, self.fetched_at);
        record.shop_id = envelope.shop_id;
        record.request = BTreeMap::from(request);
        record.body_bytes = envelope.body.len() as u64;
        Ok(Capture { dt, attempt: Attempt { record, body: envelope.body } })
    }
}

/// What stands in a line; a message where its time cannot be told but must be.
fn open_envelope(settings: &Files, line: &Bytes) -> Result<Envelope, String> {
    let pointers = [&settings.answer, &settings.shop_id, &settings.fetched_at];
    let whole = Envelope { body: line.clone(), ..Envelope::default() };
    if pointers.iter().all(|pointer| pointer.is_none()) {
        return Ok(whole);
    }
    // Not JSON: landed as it is, for the quarantine to show.
    let Ok(wrapper) = json::parse(line) else { return Ok(whole) };
    let at = |pointer: &Option<Pointer>| pointer.as_ref().and_then(|pointer| wrapper.get(pointer.parts()));
    let text = |value: Raw<'_>| value.text().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let body = at(&settings.answer).map_or_else(|| line.clone(), |answer| body(line, answer));
    let fetched_at = match (&settings.fetched_at, at(&settings.fetched_at).and_then(text)) {
        (Some(pointer), Some(text)) => {
            Some(moment::parse(&text).ok_or_else(|| format!("`{text}` at `{pointer}` is not a time"))?)
        }
        (Some(pointer), None) if settings.dt_from == DtFrom::FetchedAt => {
            return Err(format!("there is no time at `{pointer}`, so its day is unknown"));
        }
        _ => None,
    };
    Ok(Envelope { body, shop_id: at(&settings.shop_id).and_then(text), fetched_at })
}

/// The answer's bytes: the very slice of the line, or the text of a string.
fn body(line: &Bytes, answer: Raw<'_>) -> Bytes {
    match answer.kind() {
        json::Kind::String => answer.text().map_or_else(Bytes::new, |text| Bytes::from(text.into_owned())),
        _ => line.slice_ref(answer.bytes()),
    }
}

/// The record of an answer that arrived at `at`, without a place and a shop.
fn answered(endpoint: &str, at: DateTime<Utc>) -> Record {
    Record {
        run_id: String::new(),
        number: 0,
        attempt: 1,
        account: ACCOUNT.to_owned(),
        endpoint: endpoint.to_owned(),
        shop_id: None,
        offer_id: None,
        sku_id: None,
        page: None,
        request: BTreeMap::new(),
        http_status: Some(HTTP_STATUS),
        content_type: None,
        retry_after: None,
        transport_error: None,
        wait_ms: 0,
        latency_ms: 0,
        sent_at: at,
        received_at: at,
        body_bytes: 0,
        digest: String::new(),
        redacted: false,
        ..Record::default()
    }
}
