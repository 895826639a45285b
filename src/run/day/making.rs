//! Landed segments and the pictures before → the files of one day, on a thread that may block.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::base::{Budget, Result};
use crate::config::Pipeline;
use crate::config::pipeline::{FetchDetails, OnIncomplete};
use crate::extract::{Attempt, Event, Listed, RunFacts};
use crate::land::{SegmentRef, Zone};
use crate::load::publish::{self, Pictures};
use crate::load::{Entry, lost};
use crate::store::Store;
use crate::transform::chunk::Rows;
use crate::transform::collect::{Collected, Collector, STAGE_OFFER};
use crate::transform::contract::Table;
use crate::transform::picture::{self, Picture};
use crate::transform::rows::{self, CallRow, RunKind, RunRow, RunStatus};
use crate::transform::shops::{self, Fetched, Listings, Verdict};
use crate::transform::sort::Sorted;

use super::super::previous::{self, Depth, Goes};
use super::super::write::Files;
use super::super::{Report, guard, not_conserved, stopped};
use super::row::{self, count_calls, length, not_journalled};
use super::settled::{Settled, held_rows};
use super::{Place, Rebuilt, Start, Written, budget, read_segment, target};

/// Of the memory a run may take, for the keys of the offers before and of those chosen.
const KEYS_PERCENT: usize = 15;

/// Everything that turns landed segments into files, owned, for a thread that may block.
pub(super) struct Day {
    pub(super) pipeline: Pipeline,
    pub(super) store: Store,
    /// Where its files go.
    pub(super) into: Store,
    pub(super) cancel: CancellationToken,
    pub(super) segments: Vec<SegmentRef>,
    pub(super) seq: u64,
    pub(super) finished_at: DateTime<Utc>,
    pub(super) start: Start,
    pub(super) facts: RunFacts,
    /// The picture of the day before.
    pub(super) before: Option<Entry>,
    /// The picture of this day that is replaced.
    pub(super) replaced: Option<Entry>,
    /// That of the day before is no longer kept: its rows that go on are in the replaced one.
    pub(super) is_expired: bool,
    /// The greatest number of the run's calls that an earlier stop has put into `calls`.
    pub(super) calls_to: i64,
    /// A replay leaves the journals of calls and answers as they are.
    pub(super) kind: RunKind,
}

/// The picture that is replaced, where it can be read: what was fetched whole is published without it.
async fn readable(place: Place<'_>, replaced: Option<&Entry>, facts: &RunFacts) -> Result<Option<Entry>> {
    let Some(entry) = replaced else { return Ok(None) };
    let Some(file) = lost::of_pictures(place.store, entry).await? else { return Ok(Some(entry.clone())) };
    if facts.is_retry() {
        return Err(lost::error(&file));
    }
    place.around.progress.on(Event::Warning(&format!(
        "`{file}` is missing or damaged: {} is published anew without it; an incomplete shop keeps what the day before has \
         of it, and the guard could not compare the day with what was published of it",
        entry.dt
    )));
    Ok(None)
}

/// The pipeline as the run's answers are to be read by: what was asked for may be another choice by now.
pub(super) fn as_asked(pipeline: &Pipeline, facts: &RunFacts) -> Pipeline {
    let mut pipeline = pipeline.clone();
    if let Some(asked) = facts.asked {
        (pipeline.fetch.skus, pipeline.fetch.details) = (asked.skus, asked.details);
    }
    pipeline
}

impl Day {
    /// A run's day as it follows from what is published.
    pub(super) async fn of(place: Place<'_>, zone: &Zone, start: &Start, facts: RunFacts) -> Result<Self> {
        let Place { pipeline, around, store, turn } = place;
        let snapshot = turn.snapshot(store, &pipeline.name).await?;
        let before = snapshot.previous_dt(&pipeline.name, start.dt);
        let replaced = snapshot.picture(&pipeline.name, start.dt);
        let replaced = readable(place, replaced, &facts).await?;
        Ok(Self {
            pipeline: as_asked(pipeline, &facts),
            store: store.clone(),
            into: store.clone(),
            cancel: around.cancel.clone(),
            segments: zone.segments(&start.run_id).await?,
            seq: turn.next_seq(),
            finished_at: around.clock.now(),
            start: start.clone(),
            facts,
            before: before.and_then(|dt| snapshot.picture(&pipeline.name, dt)).cloned(),
            // A day that is published anew keeps what it had, where an incomplete shop does not show it again.
            replaced,
            is_expired: false,
            calls_to: snapshot.calls_to(&pipeline.name, &start.run_id.to_string()),
            kind: RunKind::Run,
        })
    }

    /// Writes the files, and looks at them.
    pub(super) fn look(self, start: &Start, now: DateTime<Utc>) -> Result<Rebuilt> {
        // Whoever replays a published day means to change it.
        let is_guarded = self.kind == RunKind::Run;
        let pictures = [&self.before, &self.replaced].into_iter().flatten().filter(|_| is_guarded);
        let pictures: Vec<Entry> = pictures.cloned().collect();
        let listed = self.listed_shops();
        let (rules, name) = (self.pipeline.guard, self.pipeline.name.clone());
        // What is written may stand apart from what was read.
        let (before, after) = (self.store.clone(), self.into.clone());
        let (report, written) = self.write()?;
        let entry = publish::to_entry(written.clone().draft(&name, start, Pictures::Replace, now))?;
        let listed = listed.unwrap_or_else(|| report.shops.iter().map(|shop| shop.shop_id.clone()).collect());
        let draft = guard::Draft { store: &after, entry: &entry, shops: &report.shops, listed: &listed };
        let findings = guard::findings(&draft, &before, &pictures, &rules)?;
        Ok(Rebuilt { report, entry, findings, written })
    }

    pub(super) fn write(self) -> Result<(Report, Written)> {
        let run_id = self.start.run_id.to_string();
        let runtime = Handle::current();
        let read = |segment: &SegmentRef| {
            if self.cancel.is_cancelled() { Err(stopped()) } else { read_segment(&runtime, &self.store, segment) }
        };
        let budget = budget(&self.pipeline);
        let (mut collected, skus_fetched) = self.collect(&budget, read)?;
        let keys = budget.part(KEYS_PERCENT);
        let source =
            previous::Source { store: &self.store, names: &collected.shops, budget: &keys, depth: self.depth() };
        let before = previous::load(&source, self.before.as_ref(), self.replaced.as_ref(), self.is_expired)?;
        let chunks = std::mem::take(&mut collected.chunks);
        let settled = self.judge(&collected, &before, skus_fetched, |fetched, verdict| {
            let picture = picture::Builder::new(chunks, collected.shops.places(), &keys);
            Settled::of(fetched, &before, verdict, picture, &keys)
        })?;
        // What only the judgement needed makes room for the merge.
        drop(before);
        collected.records = Sorted::default();
        let report = self.report(&collected, &settled);
        if report.received != report.loaded + report.duplicates + report.quarantined {
            return Err(not_conserved(&report));
        }
        let (mut calls, mut calls_to) = not_journalled(std::mem::take(&mut collected.calls), self.calls_to);
        if self.kind == RunKind::Replay {
            (calls, calls_to) = (Vec::new(), self.calls_to);
        }
        let mut files = Files::new(&self.into, target(&self.pipeline, &self.start, self.seq), &budget);
        files.picture(|write| self.write_picture(&settled.picture, write))?;
        files.small(Table::Shops, &rows::shops(&run_id, &report.shops)?)?;
        let stays = match &self.replaced {
            Some(replaced) => {
                let items = self.facts.items_untouched.iter().copied().collect();
                previous::quarantine(&self.store, replaced, &settled.verdict.untouched, &items)?
            }
            None => Vec::new(),
        };
        let first = std::iter::once_with(|| rows::quarantine(&run_id, &collected.quarantine));
        let gateway = &self.pipeline.gateway.name;
        let held = held_rows(&settled, &collected.shops, gateway, &run_id)?;
        files.with_earlier(Table::Quarantine, first.chain(held), &stays)?;
        files.small(Table::Calls, &rows::calls(&run_id, &calls)?)?;
        if self.kind == RunKind::Run {
            files.raw_pages(self.segments.iter().map(read))?;
        }
        files.small(Table::Runs, &rows::run(&self.run_row(&report, &calls))?)?;
        Ok((report, Written { seq: self.seq, files: files.files, calls_to }))
    }

    /// The rows of the picture, from today's chunks and from the pictures before.
    fn write_picture(&self, picture: &Picture, write: &mut dyn FnMut(Rows) -> Result<()>) -> Result<()> {
        let goes = if picture.carries() { Goes::Whole } else { Goes::Alone };
        let kept = previous::rows(&self.store, self.kept(), goes);
        // Of the day before, where another picture goes on, only what is delisted stands once more.
        let before = previous::rows(&self.store, self.before.as_ref(), Goes::Alone);
        picture.write(kept, before, write)
    }

    /// Transforms all that has landed; also tells whether SKU data was asked for.
    fn collect(
        &self,
        budget: &Budget,
        read: impl Fn(&SegmentRef) -> Result<Vec<Attempt>> + Sync,
    ) -> Result<(Collected, bool)> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut collector = Collector::new(&self.pipeline, self.start.dt, budget);
        collector.leave_out(&self.facts.unused);
        if let (Some(kept), true) = (self.kept(), self.calls_skus()) {
            collector.keep_skus(previous::skus(&self.store, kept, &budget.part(KEYS_PERCENT))?);
        }
        let asked = collector.look_ahead(&self.segments, &read)?;
        if let (Some(kept), true, false) = (self.kept(), self.keeps_details(), asked.is_empty()) {
            collector.keep_details(previous::details(&self.store, kept, &asked)?);
        }
        let collected = collector.collect(&self.segments, threads, read)?;
        Ok((collected, collector.fetches_skus()))
    }

    /// The picture whose rows go on where today shows nothing newer.
    fn kept(&self) -> Option<&Entry> {
        self.replaced.as_ref().or(self.before.as_ref())
    }

    /// The shops of whose listing an absent offer is missing; `None`: every one that is found.
    fn listed_shops(&self) -> Option<HashSet<String>> {
        match self.listings() {
            Listings::All => None,
            Listings::None => Some(HashSet::new()),
            Listings::Named => Some(self.facts.shops.iter().map(|shop| shop.shop_id.clone()).collect()),
        }
    }

    fn listings(&self) -> Listings {
        let gateway = &self.pipeline.gateway;
        match self.pipeline.files.as_ref().and_then(|files| gateway.endpoints.get(&files.endpoint)) {
            None => Listings::Named,
            Some(endpoint) if endpoint.list.is_empty() => Listings::None,
            Some(_) => Listings::All,
        }
    }

    fn keeps_details(&self) -> bool {
        self.pipeline.files.is_none() && self.pipeline.fetch.details != FetchDetails::Off
    }

    /// SKUs are asked for one by one.
    fn calls_skus(&self) -> bool {
        let Pipeline { files, fetch, gateway, .. } = &self.pipeline;
        files.is_none() && fetch.skus != FetchDetails::Off && gateway.endpoints.contains_key("sku")
    }

    fn depth(&self) -> Depth {
        let by_changes = self.facts.shops.iter().any(|shop| shop.listing == Listed::Changed);
        if by_changes || self.keeps_details() { Depth::Rows } else { Depth::Content }
    }

    /// Judges the shops and hands the judgement on.
    fn judge<T>(
        &self,
        collected: &Collected,
        before: &shops::Previous,
        skus_fetched: bool,
        settle: impl FnOnce(&Fetched<'_>, Verdict) -> Result<T>,
    ) -> Result<T> {
        let mut quarantined: BTreeMap<Option<String>, i64> = BTreeMap::new();
        for row in collected.quarantine.iter().filter(|row| row.stage == STAGE_OFFER) {
            *quarantined.entry(row.shop_id.clone()).or_default() += 1;
        }
        let gateway = &self.pipeline.gateway;
        let fetched = Fetched {
            gateway: &gateway.name,
            facts: &self.facts,
            completeness: &gateway.completeness,
            skus_fetched,
            records: &collected.records,
            names: &collected.shops,
            listed: &collected.listed,
            totals: &collected.totals,
            shop_names: &collected.shop_names,
            quarantined: &quarantined,
            set_aside: &collected.set_aside,
            gone: &collected.gone,
            refused_details: &collected.refused_details,
            listings: self.listings(),
            searches: gateway.searches(&self.pipeline.fetch.options),
            hold: self.pipeline.on_incomplete == OnIncomplete::Hold,
            calls_skus: self.calls_skus(),
            keeps_details: self.keeps_details(),
            reuses_details: self.keeps_details() && self.pipeline.fetch.details == FetchDetails::Missing,
        };
        let verdict = shops::judge(&fetched, before)?;
        settle(&fetched, verdict)
    }

    fn report(&self, collected: &Collected, settled: &Settled) -> Report {
        let verdict = &settled.verdict;
        let loaded = settled.loaded;
        let held = i64::try_from(settled.held.len()).unwrap_or(i64::MAX);
        Report {
            dt: self.start.dt,
            run_id: self.start.run_id,
            seq: self.seq,
            received: collected.received + verdict.unlisted_details,
            loaded,
            duplicates: verdict.duplicates,
            quarantined: collected.quarantined + held,
            carried: settled.carried,
            calls: self.facts.calls_used,
            items_unanswered: self.facts.items_unanswered.len(),
            incomplete_reason: self.all_refused(collected, loaded),
            shops: verdict.shops.clone(),
        }
    }

    /// A gateway that refuses every item with a code nobody knows has not said anything about any of them, whatever it
    /// says about shops.
    fn all_refused(&self, collected: &Collected, loaded: i64) -> Option<String> {
        let refused = collected.refused_unknown;
        let nothing_else = loaded == 0 && collected.received == refused && collected.gone.is_empty();
        let all = refused > 0 && (nothing_else || refused == length(self.pipeline.items.len()));
        // A retry asks for a few that are left over.
        (all && self.facts.items_untouched.is_empty()).then(|| {
            format!("each of the {refused} items was refused with a code that the gateway's definition does not know")
        })
    }

    fn run_row(&self, report: &Report, calls: &[CallRow]) -> RunRow {
        let mut row = row::run_row(&self.pipeline, &self.start, self.seq, self.finished_at);
        (row.calls_saved, row.quota_left) = (self.facts.calls_saved, self.facts.quota_left);
        count_calls(&mut row, calls);
        row.kind = self.kind;
        row.status = if report.is_complete() { RunStatus::Published } else { RunStatus::PublishedIncomplete };
        row.error.clone_from(&report.incomplete_reason);
        row.received = report.received;
        row.loaded = report.loaded;
        row.duplicates = report.duplicates;
        row.quarantined = report.quarantined;
        row.carried = report.carried;
        row
    }
}
