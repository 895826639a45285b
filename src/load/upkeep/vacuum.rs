//! What of a lake goes, and why. Pure: takes listings and states, gives paths.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use crate::base::time::beijing_day;
use crate::config::pipeline::Keep;
use crate::load::State;
use crate::load::log::{Entry, Names};
use crate::store::Meta;
use crate::transform::contract::Table;

/// Files younger than this are never deleted, whoever names them.
pub const SAFETY: TimeDelta = TimeDelta::hours(24);

/// A file that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goes {
    /// Relative to the lake.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Why.
    pub why: Why,
}

/// Why a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// A later publication replaced it, or took its day away, longer ago than `history_days`.
    Replaced,
    /// No publication ever named it: a run died before it could decide.
    Orphan,
    /// An entry or a checkpoint of the publish log behind the newest checkpoint that is old enough.
    PublishLog,
    /// A version of a Delta table behind its newest checkpoint that is old enough.
    DeltaLog,
    /// Responses and facts of a run, longer ago than `raw_days`.
    Landed,
    /// What a process was writing, or probing with, when it died.
    Temporary,
}

impl Why {
    /// In words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Why::Replaced => "replaced by later publications",
            Why::Orphan => "of runs that died before they published",
            Why::PublishLog => "publish log behind its checkpoint",
            Why::DeltaLog => "Delta logs behind their checkpoints",
            Why::Landed => "landed, older than raw_days",
            Why::Temporary => "left by processes that died",
        }
    }

    /// One word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Why::Replaced => "replaced",
            Why::Orphan => "orphan",
            Why::PublishLog => "publish_log",
            Why::DeltaLog => "delta_log",
            Why::Landed => "landed",
            Why::Temporary => "temporary",
        }
    }
}

fn goes(meta: &Meta, why: Why) -> Goes {
    Goes { path: meta.path.clone(), bytes: meta.bytes, why }
}

/// Of each table, the first day that stays; tables that have no earlier one are not in it. The last published day and
/// what belongs to it stays.
#[must_use]
pub fn expired(state: &State, keep: Keep, now: DateTime<Utc>) -> BTreeMap<String, NaiveDate> {
    let today = beijing_day(now);
    let first = |days: Option<u32>| today.checked_sub_days(Days::new(days?.into()));
    let latest = state.pictures.last_key_value().map(|(&dt, _)| dt);
    let tables = first(keep.tables).map(|first| latest.map_or(first, |latest| latest.min(first)));
    let mut before = BTreeMap::new();
    for table in Table::ALL {
        let first =
            if table == Table::RawPages { first(keep.raw).map(|first| raw_from(state, first, tables)) } else { tables };
        let Some(first) = first else { continue };
        // Pictures leave together: an empty table has nothing to leave, and its day is gone with the others.
        let any = match table.is_journal() {
            true => state.files(table).any(|(dt, _)| dt < first),
            false => state.pictures.range(..first).next().is_some(),
        };
        if any {
            before.insert(table.name().to_owned(), first);
        }
    }
    before
}

/// Answers are kept from their arrival on: an old day that was published since `first` still has its own, as long as it is
/// in the tables.
fn raw_from(state: &State, first: NaiveDate, tables: Option<NaiveDate>) -> NaiveDate {
    let stays = |dt: &NaiveDate| tables.is_none_or(|tables| *dt >= tables);
    let late = |(dt, entry): &(&NaiveDate, &Entry)| stays(dt) && beijing_day(entry.published_at) >= first;
    let mut late = state.pictures.iter().filter(late);
    late.next().map_or(first, |(&dt, _)| dt.min(first))
}

/// The newest number whose entry, and every one before it, was written longer ago than `history_days`; 0: none is. The
/// log is kept from there.
#[must_use]
pub fn base(names: &Names, keep: Keep, now: DateTime<Utc>) -> u64 {
    let cutoff = now - TimeDelta::days(keep.history.into());
    let young = names.entries.iter().find(|(_, meta)| meta.modified_at >= cutoff).map(|(&seq, _)| seq);
    // A copy of a lake may have new times: what is gone is not needed because of that.
    young.map_or(names.last(), |young| young - 1).max(names.base().unwrap_or(0))
}

/// What of the publish log goes once there is a checkpoint at `base`, in the order of its deletion: a log that is left
/// half deleted reads as before.
#[must_use]
pub fn of_log(names: &Names, base: u64) -> Vec<Goes> {
    let checkpoints = names.checkpoints.range(..base).map(|(_, meta)| meta);
    let entries = names.entries.range(..base).map(|(_, meta)| meta);
    checkpoints.chain(entries).map(|meta| goes(meta, Why::PublishLog)).collect()
}

/// The files that retained publications name: the state at the base, and every entry after it.
#[must_use]
pub fn named<'a>(base: &'a State, after: &'a [Entry]) -> HashSet<&'a str> {
    let in_base = Table::ALL.into_iter().flat_map(|table| base.files(table).map(|(_, file)| file));
    let in_entries = after.iter().flat_map(|entry| entry.tables.values().flatten());
    in_base.chain(in_entries).map(|file| file.path.as_str()).collect()
}

/// What of a pipeline's data files goes. `named` are the files that retained publications name; `once` those that older
/// ones are known to have named.
#[must_use]
pub fn of_tables(
    files: &[Meta],
    pipeline: &str,
    named: &HashSet<&str>,
    once: &HashSet<&str>,
    now: DateTime<Utc>,
) -> Vec<Goes> {
    let is_old = |meta: &&Meta| now - meta.modified_at > SAFETY;
    let ours = files.iter().filter(|meta| pipeline_of(&meta.path) == Some(pipeline));
    ours.filter(is_old)
        .filter(|meta| !named.contains(meta.path.as_str()))
        .map(|meta| goes(meta, if once.contains(meta.path.as_str()) { Why::Replaced } else { Why::Orphan }))
        .collect()
}

/// The pipeline in the path of a data file, `<table>/dt=…/pipeline=…/….parquet`; `None`: it is none of ours.
#[must_use]
pub fn pipeline_of(path: &str) -> Option<&str> {
    let mut parts = path.split('/');
    let _table: Table = parts.next()?.parse().ok()?;
    let _dt: NaiveDate = parts.next()?.strip_prefix("dt=")?.parse().ok()?;
    let pipeline = parts.next()?.strip_prefix("pipeline=")?;
    (parts.next()?.ends_with(".parquet") && parts.next().is_none()).then_some(pipeline)
}

/// What of a pipeline's landing zone goes: runs that nothing was added to for `raw_days`, whatever became of them
/// (published, refused, given up, a `doctor`'s). The facts of runs whose pictures are published stay.
#[must_use]
pub fn of_landing(files: &[Meta], state: &State, keep: Keep, now: DateTime<Utc>) -> Vec<Goes> {
    let Some(raw_days) = keep.raw else { return Vec::new() };
    let cutoff = now - TimeDelta::days(raw_days.into());
    let shown: HashSet<&str> = state.pictures.values().map(|entry| entry.run_id.as_str()).collect();
    let mut runs: BTreeMap<(&str, &str), Vec<&Meta>> = BTreeMap::new();
    let folder = format!("_huopan/landing/{}/", state.pipeline);
    for meta in files {
        let mut parts = meta.path.strip_prefix(folder.as_str()).unwrap_or_default().split('/');
        if let (Some(dt), Some(run), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) {
            runs.entry((dt, run)).or_default().push(meta);
        }
    }
    runs.retain(|_, files| files.iter().all(|meta| meta.modified_at < cutoff));
    let mut going = Vec::new();
    for ((_, run), files) in runs {
        let stays = |meta: &&Meta| shown.contains(run) && meta.path.ends_with("/facts.json");
        going.extend(files.into_iter().filter(|meta| !stays(meta)).map(|meta| goes(meta, Why::Landed)));
    }
    going
}

/// What processes that died have left: files without a name, clocks and probes of stores.
#[must_use]
pub fn of_processes(nameless: &[Meta], ours: &[Meta], now: DateTime<Utc>) -> Vec<Goes> {
    let is_left = |meta: &&Meta| {
        let path = meta.path.as_str();
        path.starts_with("_huopan/locks/clock-") || path.starts_with("_huopan/probe-")
    };
    let left = nameless.iter().chain(ours.iter().filter(is_left));
    left.filter(|meta| now - meta.modified_at > SAFETY).map(|meta| goes(meta, Why::Temporary)).collect()
}

/// What of a Delta table's log goes, by the rule of Delta's own clean-up: versions and checkpoints that are older than
/// `history_days` and behind the newest checkpoint that no version within it needs an earlier one than.
#[must_use]
pub fn of_delta_log(files: &[Meta], keep: Keep, now: DateTime<Utc>) -> Vec<Goes> {
    let cutoff = now - TimeDelta::days(keep.history.into());
    let versions: Vec<(u64, &str, &Meta)> =
        files.iter().filter_map(|meta| version(meta).map(|(at, kind)| (at, kind, meta))).collect();
    let Some(last) = versions.iter().map(|(at, ..)| *at).max() else { return Vec::new() };
    let young = versions.iter().filter(|(.., meta)| meta.modified_at >= cutoff).map(|(at, ..)| *at).min();
    // A listing may be late: what it does not show between the old versions and the young ones counts as young.
    let old =
        |young: u64| versions.iter().filter(|(at, kind, _)| *kind == "json" && *at < young).map(|(at, ..)| at).max();
    let kept_from = young.map_or(last, |young| old(young).map_or(young, |old| old + 1));
    let checkpoints: BTreeSet<u64> = versions
        .iter()
        .filter(|(at, kind, _)| *kind == "checkpoint.parquet" && *at <= kept_from)
        .map(|(at, ..)| *at)
        .collect();
    let Some(&safe) = checkpoints.last() else { return Vec::new() };
    let old = versions.iter().filter(|(at, _, meta)| *at < safe && meta.modified_at < cutoff);
    old.map(|(.., meta)| goes(meta, Why::DeltaLog)).collect()
}

/// The version of a file of a Delta log, and what it is; `None`: another file.
fn version(meta: &Meta) -> Option<(u64, &str)> {
    let name = meta.path.rsplit('/').next()?;
    let (digits, kind) = name.split_once('.')?;
    let is_ours = kind == "json" || (kind.starts_with("checkpoint.") && kind.ends_with("parquet"));
    (digits.len() == 20 && is_ours).then_some(())?;
    Some((digits.parse().ok()?, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(path: &str, age_days: i64) -> Meta {
        Meta { path: path.to_owned(), bytes: 1, modified_at: now() - TimeDelta::days(age_days) }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_190_400, 0).unwrap()
    }

    fn paths(goes: Vec<Goes>) -> Vec<String> {
        goes.into_iter().map(|one| one.path).collect()
    }

    const KEEP: Keep = Keep { tables: None, raw: Some(30), history: 7 };

    #[test]
    fn the_log_is_kept_from_the_newest_entry_that_is_old_enough() {
        let names = |ages: &[i64], checkpoints: &[u64]| Names {
            entries: (1..).zip(ages).map(|(seq, &age)| (seq, meta("e", age))).collect(),
            checkpoints: checkpoints.iter().map(|&seq| (seq, meta("c", 0))).collect(),
        };
        for (ages, checkpoints, expected) in [
            (&[][..], &[][..], 0),
            (&[3, 2, 1], &[], 0),
            (&[9, 8, 1], &[], 2),
            (&[9, 8, 8], &[2], 3),
            (&[9, 1, 8], &[], 1),
        ] {
            assert_eq!(base(&names(ages, checkpoints), KEEP, now()), expected, "{ages:?}");
        }
        let mut gone = names(&[9, 8, 8, 1], &[3]);
        gone.entries.retain(|seq, _| *seq > 3);
        assert_eq!(base(&gone, KEEP, now()), 3);
        gone.entries.insert(3, meta("e", 0));
        assert_eq!(base(&gone, KEEP, now()), 3, "a copy with new times: there is nothing before");
    }

    #[test]
    fn only_our_own_data_files_are_looked_at() {
        for (path, expected) in [
            ("offers/dt=2026-11-20/pipeline=a/x.parquet", Some("a")),
            ("offers/_delta_log/00000000000000000000.checkpoint.parquet", None),
            ("offers/dt=2026-11-20/pipeline=a/deeper/x.parquet", None),
            ("offers/dt=today/pipeline=a/x.parquet", None),
            ("offers/dt=2026-11-20/pipeline=a/notes.txt", None),
            ("theirs/dt=2026-11-20/pipeline=a/x.parquet", None),
            ("_huopan/landing/a/2026-11-20/x/1.seg", None),
        ] {
            assert_eq!(pipeline_of(path), expected, "{path}");
        }
    }

    #[test]
    fn a_file_goes_when_nobody_names_it_and_it_is_old_enough() {
        let path = |name: &str| format!("offers/dt=2026-11-20/pipeline=a/{name}.parquet");
        let files =
            [meta(&path("named"), 9), meta(&path("young"), 0), meta(&path("orphan"), 2), meta(&path("once"), 9)];
        let (named, once) = (path("named"), path("once"));
        let going = of_tables(&files, "a", &HashSet::from([named.as_str()]), &HashSet::from([once.as_str()]), now());
        let told: Vec<_> = going.iter().map(|one| (one.path.as_str(), one.why)).collect();
        assert_eq!(told, [(path("orphan").as_str(), Why::Orphan), (once.as_str(), Why::Replaced)]);
        assert_eq!(of_tables(&files, "b", &HashSet::new(), &HashSet::new(), now()), []);
    }

    #[test]
    fn delta_logs_go_behind_a_checkpoint_that_is_old_enough() {
        let json = |at: u64, age| meta(&format!("offers/_delta_log/{at:020}.json"), age);
        let checkpoint = |at: u64, age| meta(&format!("offers/_delta_log/{at:020}.checkpoint.parquet"), age);
        let other = meta("offers/_delta_log/_last_checkpoint", 90);
        let files = |second| {
            let young = [checkpoint(3, 1), json(3, 1), json(4, 1), other.clone()];
            [vec![json(0, 20), json(1, 20), checkpoint(1, 20), json(2, second)], young.to_vec()].concat()
        };
        assert_eq!(paths(of_delta_log(&files(1), KEEP, now())), [json(0, 0).path], "version 2 needs checkpoint 1");
        let gone: Vec<String> = files(9)[..4].iter().map(|meta| meta.path.clone()).collect();
        assert_eq!(paths(of_delta_log(&files(9), KEEP, now())), gone);
        assert_eq!(of_delta_log(&[json(0, 90), json(1, 90)], KEEP, now()), [], "there is no checkpoint");
        let late: Vec<Meta> = files(1).into_iter().filter(|meta| *meta != json(2, 1)).collect();
        assert_eq!(paths(of_delta_log(&late, KEEP, now())), [json(0, 0).path], "version 2 is not listed yet");
    }

    #[test]
    fn landed_runs_go_as_a_whole_once_the_last_of_them_is_old() {
        let mut state = State::new("a");
        let entry: Entry = serde_json::from_value(serde_json::json!({
            "seq": 1, "pipeline": "a", "dt": "2026-10-01", "run_id": "shown", "attempt": 1, "picture": true,
            "published_at": "2026-10-01T00:00:00Z", "huopan_version": "0", "contract_version": "1", "tables": {}
        }))
        .unwrap();
        state.apply(entry);
        let file = |name: &str, age| meta(&format!("_huopan/landing/a/2026-10-01/{name}"), age);
        let files = [
            file("going/000000000001.seg", 40),
            file("going/000000000002.seg", 2),
            file("old/000000000001.seg", 40),
            file("old/start.json", 41),
            file("shown/000000000001.seg", 40),
            file("shown/facts.json", 40),
            meta("_huopan/landing/b/2026-10-01/old/000000000001.seg", 40),
        ];
        let expected = [file("old/000000000001.seg", 0), file("old/start.json", 0), file("shown/000000000001.seg", 0)];
        assert_eq!(paths(of_landing(&files, &state, KEEP, now())), expected.map(|meta| meta.path));
        assert_eq!(of_landing(&files, &state, Keep { raw: None, ..KEEP }, now()), []);
    }

    #[test]
    fn days_that_are_older_than_they_are_kept_for_leave_and_the_last_one_stays() {
        let mut state = State::new("a");
        let file = serde_json::json!([{"path": "x", "bytes": 1, "rows": 1, "stats": {}}]);
        for (seq, dt) in [(1, "2026-09-01"), (2, "2026-10-01"), (3, "2026-11-01")] {
            let entry = serde_json::from_value(serde_json::json!({
                "seq": seq, "pipeline": "a", "dt": dt, "run_id": dt, "attempt": 1, "picture": true,
                "published_at": "2026-10-01T00:00:00Z", "huopan_version": "0", "contract_version": "1",
                "tables": {"offers": file, "runs": file, "raw_pages": file}
            }));
            state.apply(entry.unwrap());
        }
        let days = |tables, raw| {
            let before = expired(&state, Keep { tables, raw, history: 7 }, now());
            before.into_iter().map(|(table, dt)| format!("{table} {dt}")).collect::<Vec<_>>()
        };
        assert_eq!(beijing_day(now()).to_string(), "2026-11-21");
        assert_eq!(days(None, None), [""; 0]);
        assert_eq!(days(None, Some(30)), ["raw_pages 2026-10-22"]);
        let pictures = ["offers", "price_tiers", "quarantine", "runs", "shops", "skus"];
        assert_eq!(days(Some(40), None), pictures.map(|table| format!("{table} 2026-10-12")));
        assert_eq!(days(Some(1), None), pictures.map(|table| format!("{table} 2026-11-01")), "the last day stays");
        assert_eq!(days(Some(100), Some(100)), [""; 0]);
        let late = now() - TimeDelta::days(3);
        state.pictures.get_mut(&"2026-10-01".parse().unwrap()).unwrap().published_at = late;
        let raw = |days| expired(&state, Keep { tables: None, raw: Some(days), history: 7 }, now());
        assert_eq!(raw(4)["raw_pages"].to_string(), "2026-10-01", "the answers of a day that came late");
        assert_eq!(raw(2)["raw_pages"].to_string(), "2026-11-19");
    }
}
