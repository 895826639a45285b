//! One thread's share: attempt by attempt into chunks and an account.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, Datelike, NaiveDate};

use crate::base::Result;
use crate::base::json::Raw;
use crate::config::gateway::{Endpoint, ErrorClass, ErrorRules};
use crate::extract::judge::{Fault, Judgement};
use crate::extract::{Attempt, Record, answer, body};
use crate::transform::chunk::{Chunk, Key};
use crate::transform::columns::{Builder, Origin};
use crate::transform::decode::{Records, Scratch, records};
use crate::transform::fields::{OfferField, SkuFields};
use crate::transform::hash::{Hasher, Hashes};
use crate::transform::id;
use crate::transform::join::Candidate;
use crate::transform::kept::KeptSku;
use crate::transform::normalise::{Input, SkuSource, normalise};
use crate::transform::offer::{MoqSource, Offer, Reject};
use crate::transform::renew;
use crate::transform::rows::{CallRow, QuarantineRow};
use crate::transform::sort::Sorter;

use super::collected::{Named, Refusal};
use super::{Budgets, Collected, Collector, STAGE_DETAIL, STAGE_OFFER, STAGE_SKU, SkuAnswer, Source, makes_offers};

/// Offers in a chunk before it is sorted and set aside.
const CHUNK_OFFERS: usize = 32_768;
/// More of a record's text is not repeated in `quarantine`: `raw_ref` leads to all of it.
const RECORD_BYTES_MAX: usize = 64 << 10;
/// A thread that has set aside this much text keeps only the places of further records.
const RECORDS_BYTES_MAX: usize = 64 << 20;

/// One thread's share.
pub(super) struct Worker<'c> {
    collector: &'c Collector<'c>,
    budgets: &'c Budgets,
    /// Numbers for chunks, over all threads.
    chunks: &'c AtomicU32,
    builder: Builder,
    /// Bytes of the answers that the open chunk is made of.
    answer_bytes: usize,
    keys: Vec<Key>,
    sorter: Sorter<Candidate>,
    hasher: Hasher,
    /// Bytes of records set aside so far.
    record_bytes: usize,
    collected: Collected,
}

/// Where the records of one answer come from.
#[derive(Clone, Copy)]
struct Answer<'a> {
    record: &'a Record,
    source: &'a Source<'a>,
    endpoint: &'a Endpoint,
    raw_ref: &'a str,
    fetched_at: i64,
    /// It is the detail of an offer that a listing has shown.
    is_detail: bool,
}

impl Answer<'_> {
    /// Its records are those of a shop's listing. A call for several offers has a list, too.
    fn is_listing(&self) -> bool {
        !self.endpoint.list.is_empty() && self.endpoint.batch.is_none() && !self.is_detail
    }

    /// The stage that what cannot be loaded of it is set aside at.
    fn stage(&self) -> &'static str {
        if self.is_detail { STAGE_DETAIL } else { STAGE_OFFER }
    }
}

impl<'c> Worker<'c> {
    pub(super) fn new(collector: &'c Collector<'c>, budgets: &'c Budgets, chunks: &'c AtomicU32) -> Self {
        Self {
            collector,
            budgets,
            chunks,
            builder: Builder::default(),
            answer_bytes: 0,
            keys: Vec::new(),
            sorter: Sorter::new(&budgets.keys),
            hasher: Hasher::default(),
            record_bytes: 0,
            collected: Collected::default(),
        }
    }

    pub(super) fn attempt(&mut self, attempt: &Attempt) -> Result<()> {
        let record = &attempt.record;
        let source = self.collector.source(record)?;
        let endpoint = source.endpoint(record)?;
        let raw_ref = record.raw_ref();
        let answer = Answer {
            record,
            source,
            endpoint,
            raw_ref: &raw_ref,
            fetched_at: record.received_at.timestamp_micros(),
            is_detail: self.collector.is_detail(record),
        };
        let converted = body::to_json(&attempt.body, record.content_type.as_deref());
        let parsed = converted.as_ref().map_err(Clone::clone).and_then(|json| body::parse(json));
        let judgement = source.judge.judge(endpoint, record, parsed.as_ref().copied());
        if !self.collector.from_files {
            self.collected.calls.extend(call_row(record, &judgement));
        }
        if !makes_offers(&endpoint.name) || self.collector.unused.contains(&record.number) {
            return Ok(());
        }
        match (judgement, parsed.ok()) {
            (Judgement::Good, Some(raw)) => self.answer(answer, raw)?,
            (Judgement::Good, None) => {}
            (Judgement::Fault(fault), _) => self.fault(answer, &fault, &attempt.body),
        }
        self.answer_bytes += attempt.body.len();
        if self.builder.len() >= CHUNK_OFFERS || self.answer_bytes >= self.budgets.chunk_bytes {
            self.close_chunk()?;
        }
        Ok(())
    }

    fn answer(&mut self, answer: Answer<'_>, raw: Raw<'_>) -> Result<()> {
        // Of a listing, what it says there is in all.
        let total = answer.is_listing().then(|| answer::total(answer.endpoint, raw));
        let records = records(answer.endpoint, raw);
        if let Some(offer_id) = answer.record.offer_id {
            self.answered_alone(answer, offer_id, &records);
        }
        match records {
            Records::Some(records) => {
                let mut scratch = Scratch::default();
                let mut offer = Offer::default();
                for (position, record) in records.into_iter().enumerate() {
                    self.collected.received += i64::from(!answer.is_detail);
                    let shop = self.offer(answer, position, record, &mut scratch, &mut offer)?;
                    if let Some(total) = total {
                        self.count_listed(shop, total);
                    }
                }
            }
            Records::Empty => {
                // A shop that says it has no offers has said how many it has.
                if let (Some(shop), Some(total)) = (&answer.record.shop_id, total) {
                    self.count_total(shop, total);
                }
            }
            Records::Missing => {
                self.collected.received += i64::from(!answer.is_detail);
                self.set_aside(
                    answer,
                    None,
                    Reason::new("the answer holds no record where the definition looks"),
                    raw.json(),
                );
            }
        }
        Ok(())
    }

    /// An offer that was asked for alone. Calls for several leave out what is not there.
    fn answered_alone(&mut self, answer: Answer<'_>, offer_id: i64, records: &Records<'_>) {
        if answer.endpoint.batch.is_none() || !matches!(records, Records::Empty) {
            self.collected.answered.insert(offer_id);
        } else if !answer.is_detail {
            self.collected.gone.insert(offer_id);
        }
    }

    /// Normalises one record and appends it; gives back the shop it belongs to.
    fn offer<'a>(
        &mut self,
        answer: Answer<'a>,
        position: usize,
        record: Raw<'a>,
        scratch: &mut Scratch<'a>,
        offer: &mut Offer<'a>,
    ) -> Result<Option<String>>
    where
        'c: 'a,
    {
        let (collector, source) = (self.collector, answer.source);
        let mut fields = source.finder.offer(record, scratch);
        let id = fields.get(OfferField::OfferId).and_then(id::read);
        if answer.endpoint.batch.is_some() {
            self.collected.answered.extend(id);
        }
        if let (Some(fill), true) = (id.and_then(|id| collector.fills.get(&id)), answer.is_detail) {
            fill.apply(source.skus, &mut fields);
        }
        let answers = id.and_then(|id| collector.answers.get(&id)).map_or(&[][..], Vec::as_slice);
        let asked: Vec<SkuFields<'a>> =
            answers.iter().filter_map(|answer| sku_fields(collector, answer, scratch)).collect();
        let kept = id.map_or(Ok(Vec::new()), |id| self.kept_skus(id))?;
        let skus = if source.skus == SkuSource::Calls { &asked } else { &scratch.skus };
        let shop_id = answer.record.shop_id.as_deref();
        let kept_counts = !collector.asks_all_skus && id.is_none_or(|id| !collector.skus_open.contains(&id));
        let input = Input { offer: &fields, skus, shop_id, sku_source: source.skus, kept: &kept, kept_counts };
        if let Err(reject) = normalise(&input, &source.rules, offer) {
            self.set_aside(answer, id, Reason::of(reject), record.json());
            return Ok(answer.record.shop_id.clone());
        }
        let of_listing = answer.is_listing() || answer.is_detail;
        if let (Some(shop), true) = (&answer.record.shop_id, of_listing) {
            // What a shop's listing holds is that shop's, under the id it was asked for with.
            offer.shop_id = Some(shop.as_str().into());
        }
        let shop_id = offer.shop_id.as_deref().map(|shop| self.shop(shop, offer, answer));
        let renewed = match self.renew(answer, &input, offer)? {
            Some(Err(reject)) => {
                self.set_aside(answer, id, Reason::of(reject), record.json());
                return Ok(answer.record.shop_id.clone());
            }
            Some(Ok(renewed)) => Some(renewed),
            None => None,
        };
        for reject in offer.rejected_skus.drain(..) {
            let text = reject.value.clone();
            let row = self.quarantine_row(answer, id, Reason::of(reject), &text);
            self.collected.quarantine.push(QuarantineRow { stage: STAGE_SKU, ..row });
        }
        let answered = answers.iter().filter_map(|answer| Some((answer.sku_id?, answer.fetched_at)));
        let before = kept.iter().map(|kept| (kept.sku.sku_id, kept.fetched_at));
        let skus_fetched_at: Vec<(i64, i64)> = answered.chain(before).collect();
        let own = || Origin {
            gateway: &source.gateway.name,
            fetched_at: answer.fetched_at,
            skus_fetched_at: &[],
            observed_dt: days(collector.dt),
            raw_ref: answer.raw_ref,
            detail_fetched_at: (answer.endpoint.name == "item").then_some(answer.fetched_at),
            hashes: self.hasher.hash(offer),
        };
        let is_renewed = renewed.is_some();
        let origin = Origin { skus_fetched_at: &skus_fetched_at, ..renewed.unwrap_or_else(own) };
        self.builder.append(offer, &origin);
        self.keys.push(Key {
            shop_id,
            offer_id: offer.offer_id,
            modified_at: offer.modified_at.unwrap_or(i64::MIN),
            fetched_at: answer.fetched_at,
            number: answer.record.number,
            position: u32::try_from(position).unwrap_or(u32::MAX),
            content_hash: origin.hashes.content,
            is_detail: answer.is_detail,
            is_renewed,
            sku_complete: offer.sku_complete,
            price_complete: offer.price_complete,
            moq_stated: offer.moq_source == MoqSource::Stated,
        });
        Ok(offer.shop_id.as_deref().map(str::to_owned))
    }

    /// Where SKUs were asked for of an offer whose detail was not asked for and still holds: makes it the row before with
    /// the SKUs of today. Gives where that row came from; `None`: the offer stays as its listing has it.
    fn renew<'a>(
        &mut self,
        answer: Answer<'a>,
        input: &Input<'_, 'a>,
        offer: &mut Offer<'a>,
    ) -> Result<Option<std::result::Result<Origin<'a>, Reject>>>
    where
        'c: 'a,
    {
        let Some(detail) = self.collector.details.of(offer.offer_id).filter(|_| answer.is_listing()) else {
            return Ok(None);
        };
        if !detail.holds_for(offer)? {
            return Ok(None);
        }
        detail.read(offer)?;
        let (origin, published) = (detail.origin()?, self.hasher.hash(offer));
        if let Err(reject) = renew::with_skus(input, &answer.source.rules, offer) {
            return Ok(Some(Err(reject)));
        }
        // The row may have been hashed before it had all it was published with: what has not changed keeps its hash.
        let Hashes { content, volatile } = self.hasher.hash(offer);
        let hashes = Hashes {
            content: if content == published.content { origin.hashes.content } else { content },
            volatile: if volatile == published.volatile { origin.hashes.volatile } else { volatile },
        };
        Ok(Some(Ok(Origin { hashes, ..origin })))
    }

    /// The SKUs of the picture before that may go on with an offer: all but those that are said to be gone.
    fn kept_skus(&self, offer_id: i64) -> Result<Vec<KeptSku>> {
        let Some(kept) = &self.collector.kept_skus else { return Ok(Vec::new()) };
        let mut skus = kept.of(offer_id)?;
        skus.retain(|kept| !self.collector.skus_gone.contains(&(offer_id, kept.sku.sku_id)));
        Ok(skus)
    }

    /// The shop's id, shared with the row before where it is the same.
    fn shop(&mut self, shop: &str, offer: &Offer<'_>, answer: Answer<'_>) -> Arc<str> {
        let record = answer.record;
        let last = self.keys.last().filter(|key| key.shop_id.as_deref() == Some(shop));
        // One name an answer is enough: within an answer it does not change.
        let new_answer = last.is_none_or(|key| key.number != record.number);
        let shared = last.and_then(|key| key.shop_id.clone());
        if let Some(name) = offer.shop_name.as_deref().filter(|_| new_answer && !answer.is_detail) {
            let named = Named { page: record.page, offer_id: offer.offer_id, name: name.to_owned() };
            self.collected.name(shop, named);
        }
        shared.unwrap_or_else(|| shop.into())
    }

    fn count_listed(&mut self, shop: Option<String>, total: Option<u64>) {
        if let Some(shop) = &shop {
            self.count_total(shop, total);
        }
        *self.collected.listed.entry(shop).or_default() += 1;
    }

    fn count_total(&mut self, shop: &str, total: Option<u64>) {
        let Some(total) = total.and_then(|total| i64::try_from(total).ok()) else { return };
        match self.collected.totals.get_mut(shop) {
            Some(known) => *known = total.max(*known),
            None => {
                self.collected.totals.insert(shop.to_owned(), total);
            }
        }
    }

    /// An answer that is an error: of a single offer it decides, of a listing the extraction has already judged.
    fn fault(&mut self, answer: Answer<'_>, fault: &Fault, bytes: &[u8]) {
        let record = answer.record;
        let text = || String::from_utf8_lossy(bytes).into_owned();
        let reason = |fault: &Fault| match &fault.code {
            Some(code) => format!("{}: {} ({code})", fault.class.name(), fault.message),
            None => format!("{}: {}", fault.class.name(), fault.message),
        };
        match (fault.class, record.offer_id) {
            // The listing has shown it: it stands as the listing has it.
            (ErrorClass::Gone, Some(_)) if answer.is_detail => {}
            (ErrorClass::Gone, Some(offer_id)) => {
                self.collected.gone.insert(offer_id);
            }
            (ErrorClass::Item | ErrorClass::Param, Some(offer_id)) => {
                let row = self.quarantine_row(answer, Some(offer_id), Reason::new(reason(fault)), &text());
                let is_known = is_known(&answer.source.gateway.errors, fault.code.as_deref());
                self.collected.refuse(offer_id, Refusal { row, is_known });
            }
            _ if self.collector.from_files => {
                self.collected.received += 1;
                self.set_aside(answer, record.offer_id, Reason::new(captured_reason(record, reason(fault))), &text());
            }
            _ => {}
        }
    }

    fn set_aside(&mut self, answer: Answer<'_>, offer_id: Option<i64>, reason: Reason, record: &str) {
        if !answer.is_detail {
            self.collected.set_aside.extend(offer_id);
        }
        let row = self.quarantine_row(answer, offer_id, reason, record);
        self.collected.quarantine.push(row);
    }

    fn quarantine_row(
        &mut self,
        answer: Answer<'_>,
        offer_id: Option<i64>,
        reason: Reason,
        record: &str,
    ) -> QuarantineRow {
        let room = RECORDS_BYTES_MAX.saturating_sub(self.record_bytes).min(RECORD_BYTES_MAX);
        let record = &record[..record.floor_char_boundary(room)];
        self.record_bytes += record.len();
        QuarantineRow {
            gateway: answer.source.gateway.name.clone(),
            shop_id: answer.record.shop_id.clone(),
            offer_id,
            stage: answer.stage(),
            reason: reason.reason,
            field: reason.field.map(str::to_owned),
            value: reason.value,
            raw_ref: answer.raw_ref.to_owned(),
            record: record.to_owned(),
        }
    }

    fn close_chunk(&mut self) -> Result<()> {
        self.answer_bytes = 0;
        if self.builder.is_empty() {
            return Ok(());
        }
        let rows = self.builder.finish()?;
        let (rows, keys) = rows.sorted(&std::mem::take(&mut self.keys))?;
        let chunk = self.chunks.fetch_add(1, Ordering::Relaxed);
        for (row, key) in (0..).zip(keys) {
            self.sorter.push(candidate(&key, self.collector.shops.number(key.shop_id.as_deref()), chunk, row))?;
        }
        self.collected.numbered.push((chunk, Chunk::new(rows, &self.budgets.rows)?));
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Collected> {
        self.close_chunk()?;
        self.collected.sorters.push(self.sorter);
        Ok(self.collected)
    }
}

/// What is kept of a key outside its chunk.
fn candidate(key: &Key, shop: u32, chunk: u32, row: u32) -> Candidate {
    Candidate {
        offer_id: key.offer_id,
        is_detail: key.is_detail,
        is_renewed: key.is_renewed,
        modified_at: key.modified_at,
        fetched_at: key.fetched_at,
        number: key.number,
        position: key.position,
        shop,
        content_hash: key.content_hash,
        sku_complete: key.sku_complete,
        price_complete: key.price_complete,
        moq_stated: key.moq_stated,
        chunk,
        row,
    }
}

/// Why a record is set aside.
struct Reason {
    reason: String,
    field: Option<&'static str>,
    value: Option<String>,
}

impl Reason {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), field: None, value: None }
    }

    fn of(reject: Reject) -> Self {
        Self { reason: reject.reason.name().to_owned(), field: Some(reject.field), value: Some(reject.value) }
    }
}

fn sku_fields<'a>(
    collector: &'a Collector<'_>,
    answer: &'a SkuAnswer,
    scratch: &mut Scratch<'a>,
) -> Option<SkuFields<'a>> {
    let endpoint = collector.main.gateway.endpoints.get("sku")?;
    match records(endpoint, body::parse(&answer.json).ok()?) {
        Records::Some(records) => records.first().map(|record| collector.main.finder.sku(*record, scratch)),
        Records::Empty | Records::Missing => None,
    }
}

/// Whether the definition has an entry for the code.
fn is_known(rules: &ErrorRules, code: Option<&str>) -> bool {
    let Some(code) = code else { return false };
    rules.codes.keys().any(|name| match name.strip_suffix('*') {
        Some(prefix) => code.starts_with(prefix),
        None => name == code,
    })
}

fn days(dt: NaiveDate) -> i32 {
    dt.num_days_from_ce() - DateTime::UNIX_EPOCH.date_naive().num_days_from_ce()
}

/// The row of an attempt; a copy of an earlier answer was none.
pub(super) fn call_row(record: &Record, judgement: &Judgement) -> Option<CallRow> {
    if record.copied_from.is_some() {
        return None;
    }
    Some(CallRow {
        number: record.number,
        account: record.account.clone(),
        endpoint: record.endpoint.clone(),
        shop_id: record.shop_id.clone(),
        offer_id: record.offer_id,
        page: record.page.and_then(|page| i32::try_from(page).ok()),
        attempt: record.attempt,
        class: match judgement {
            Judgement::Good => "ok",
            Judgement::Fault(fault) => fault.class.name(),
        },
        http_status: record.http_status.and_then(|status| i16::try_from(status).ok()),
        wait_ms: record.wait_ms,
        latency_ms: record.latency_ms,
        bytes: i64::try_from(record.body_bytes).unwrap_or(i64::MAX),
        sent_at: record.sent_at,
    })
}

/// Of a captured answer: with its file and line. No gateway is asked again, and none said that status.
fn captured_reason(record: &Record, reason: String) -> String {
    let (Some(file), Some(line)) = (record.request.get("file"), record.request.get("line")) else { return reason };
    let reason = match reason.strip_prefix("retry: HTTP 200: ") {
        Some(what) => format!("unreadable: {what}"),
        None => reason,
    };
    format!("{reason} ({file}:{line})")
}
