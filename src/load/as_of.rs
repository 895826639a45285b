//! The lake as it stood at an earlier publication that the log still tells of. Pure.
//!
//! | as of | each pipeline stands |
//! |---|---|
//! | a run | as after that run's last publication (`latest`: of the run that published last); the others as at that moment |
//! | a day | as before the first publication of a later day, whenever that was |
//!
//! Invariant: what is older than the log reaches is an error, never the oldest that is left.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};

use super::log::{Change, Entry};
use super::retained::Retained;
use super::snapshot::Snapshot;
use super::state::State;
use crate::base::time::BEIJING;
use crate::base::{Error, Result, RunName};

/// An earlier publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsOf {
    /// What was published before a later day was.
    Day(NaiveDate),
    /// What this run had just published.
    Run(RunName),
}

impl FromStr for AsOf {
    type Err = String;

    /// A day (`2026-11-20`), or what names a run.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if let Ok(day) = text.parse() {
            return Ok(Self::Day(day));
        }
        let looks_like_a_day = text.len() == 10 && text.split('-').count() == 3;
        match text.parse() {
            Ok(run) if !looks_like_a_day => Ok(Self::Run(run)),
            _ => Err("neither a day like 2026-11-20 nor the beginning of a run's id (`huopan runs` lists them)".into()),
        }
    }
}

impl fmt::Display for AsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(day) => day.fmt(f),
            Self::Run(run) => run.fmt(f),
        }
    }
}

/// The lake as it stood then.
///
/// # Errors
/// [`Kind::Config`](crate::base::Kind::Config) if the log no longer tells of it, or never did.
pub fn snapshot(retained: &Retained, as_of: &AsOf) -> Result<Snapshot> {
    match as_of {
        AsOf::Day(day) => of_day(retained, *day),
        AsOf::Run(run) => of_run(retained, run),
    }
}

fn of_day(retained: &Retained, day: NaiveDate) -> Result<Snapshot> {
    let mut states = Vec::new();
    for pipeline in retained.pipelines() {
        let base = base(retained, pipeline);
        if base.pictures.last_key_value().is_some_and(|(last, _)| *last > day) {
            return Err(too_old(pipeline, retained, &AsOf::Day(day)));
        }
        let is_later = |entry: &&Entry| entry.change == Change::Run && entry.picture && entry.dt > day;
        let until = retained.entries(pipeline).find(is_later).map_or(u64::MAX, |entry| entry.seq);
        states.push(fold(base, retained, |entry| entry.seq < until));
    }
    if states.iter().all(|state| state.pictures.is_empty()) {
        return Err(Error::config(format!("nothing was published for {day} or an earlier day"))
            .with_hint("`huopan lake history` lists the publications"));
    }
    Ok(Snapshot::of_states(states))
}

fn of_run(retained: &Retained, name: &RunName) -> Result<Snapshot> {
    let entries = || retained.pipelines().flat_map(|pipeline| retained.entries(pipeline));
    let published = match name {
        RunName::Latest => entries()
            .filter(|entry| entry.change == Change::Run && entry.picture)
            .max_by_key(|entry| entry.published_at),
        RunName::Beginning(_) => {
            let run = run_meant(retained, name)?;
            entries().filter(|entry| entry.run_id == run && entry.picture).max_by_key(|entry| entry.seq)
        }
    };
    let Some(published) = published else { return Err(unknown_run(retained, name)) };
    let mut states = Vec::new();
    for pipeline in retained.pipelines() {
        let base = base(retained, pipeline);
        if pipeline == published.pipeline {
            states.push(fold(base, retained, |entry| entry.seq <= published.seq));
        } else if newest(&base).is_none_or(|newest| newest <= published.published_at) {
            states.push(fold(base, retained, |entry| entry.published_at <= published.published_at));
        } else {
            return Err(too_old(pipeline, retained, &AsOf::Run(name.clone())));
        }
    }
    Ok(Snapshot::of_states(states))
}

/// What is told no longer entry by entry.
fn base(retained: &Retained, pipeline: &str) -> State {
    State { pipeline: pipeline.to_owned(), ..retained.base(pipeline).cloned().unwrap_or_default() }
}

fn fold(mut base: State, retained: &Retained, is_in: impl Fn(&Entry) -> bool) -> State {
    let pipeline = base.pipeline.clone();
    retained.entries(&pipeline).filter(|entry| is_in(entry)).for_each(|entry| base.apply(entry.clone()));
    base
}

fn newest(state: &State) -> Option<DateTime<Utc>> {
    state.pictures.values().map(|entry| entry.published_at).max()
}

/// The id of the run that is meant, published or not, of those that the log tells of.
fn run_meant(retained: &Retained, name: &RunName) -> Result<String> {
    let mut known = BTreeMap::new();
    for pipeline in retained.pipelines() {
        let older = retained.base(pipeline).into_iter().flat_map(|base| base.runs.keys());
        known.extend(older.map(|run| (run.clone(), String::new())));
        let told = retained.entries(pipeline).filter(|entry| !entry.run_id.is_empty());
        known.extend(told.map(|entry| (entry.run_id.clone(), format!("of {}", entry.dt))));
    }
    name.one_of(&known)?.map(str::to_owned).ok_or_else(|| unknown_run(retained, name))
}

fn unknown_run(retained: &Retained, run: &RunName) -> Error {
    let known = |pipeline| retained.base(pipeline).is_some_and(|base| base.runs.keys().any(|id| run.fits(id)));
    let is_older = retained.pipelines().any(known);
    let has_failed =
        retained.pipelines().flat_map(|pipeline| retained.entries(pipeline)).any(|entry| run.fits(&entry.run_id));
    let message = match (run, is_older, has_failed) {
        (RunName::Latest, ..) => "the publish log tells of no run that published".to_owned(),
        (_, true, _) => format!("the publish log no longer tells of the run {run} by itself"),
        (_, false, true) => format!("the run {run} published nothing"),
        (_, false, false) => format!("no run's id begins with `{run}`"),
    };
    Error::config(message).with_hint("`huopan lake history` lists the publications that can be read")
}

fn too_old(pipeline: &str, retained: &Retained, as_of: &AsOf) -> Error {
    let message = format!("the publish log of pipeline `{pipeline}` no longer tells how the lake stood as of {as_of}");
    let first = retained.entries(pipeline).find(|entry| entry.picture && entry.change == Change::Run);
    let hint = "`lake.history_days` says how far it reaches; `price_at(pieces, dt)` and the schemas `\"as_of_DAY\"` read \
                any published day as it is known now";
    match first {
        Some(first) => Error::config(message).with_hint(format!(
            "it goes back to {}, when {} was published; {hint}",
            moment(first.published_at),
            first.dt
        )),
        None => Error::config(message).with_hint(hint),
    }
}

fn moment(at: DateTime<Utc>) -> String {
    at.with_timezone(&BEIJING).format("%Y-%m-%d %H:%M (Beijing)").to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn entry(pipeline: &str, seq: u64, dt: &str, minute: i64, run: &str) -> Entry {
        Entry {
            seq,
            pipeline: pipeline.into(),
            dt: dt.parse().unwrap(),
            run_id: run.into(),
            attempt: 1,
            picture: true,
            published_at: DateTime::UNIX_EPOCH + chrono::Duration::minutes(minute),
            huopan_version: String::new(),
            contract_version: String::new(),
            calls_to: 0,
            change: Change::Run,
            tables: BTreeMap::new(),
        }
    }

    /// By pipeline: each day with the number that it was published under.
    fn shown(snapshot: &Snapshot) -> String {
        let days = |pipeline: &str| {
            let seq = |dt| snapshot.picture(pipeline, dt).map_or(0, |entry| entry.seq);
            let days = snapshot.published_days(pipeline).map(|dt| format!("{}:{}", dt.format("%d"), seq(dt)));
            format!("{pipeline} {}", days.collect::<Vec<_>>().join(","))
        };
        snapshot.pipelines().map(days).collect::<Vec<_>>().join(" · ")
    }

    fn log() -> Vec<Entry> {
        vec![
            entry("a", 1, "2026-11-20", 10, "a1"),
            entry("a", 2, "2026-11-21", 20, "a2"),
            entry("a", 3, "2026-11-20", 30, "a3"),
            entry("a", 4, "2026-11-22", 40, "a4"),
            entry("b", 1, "2026-11-21", 25, "b1"),
            entry("b", 2, "2026-11-22", 45, "b2"),
        ]
    }

    #[test]
    fn the_lake_stands_as_it_stood() {
        let retained = Retained::of([], log());
        let cases = [
            ("2026-11-20", "a 20:1 · b "),
            ("2026-11-21", "a 20:3,21:2 · b 21:1"),
            ("2026-11-30", "a 20:3,21:2,22:4 · b 21:1,22:2"),
        ];
        for (day, expected) in cases {
            let found = snapshot(&retained, &day.parse().unwrap()).unwrap();
            assert_eq!(shown(&found), expected, "{day}");
        }
        for (run, expected) in [
            ("a1", "a 20:1 · b "),
            ("a2", "a 20:1,21:2 · b "),
            ("b1", "a 20:1,21:2 · b 21:1"),
            ("a3", "a 20:3,21:2 · b 21:1"),
            ("b2", "a 20:3,21:2,22:4 · b 21:1,22:2"),
            ("latest", "a 20:3,21:2,22:4 · b 21:1,22:2"),
        ] {
            assert_eq!(shown(&snapshot(&retained, &AsOf::Run(run.parse().unwrap())).unwrap()), expected, "{run}");
        }
    }

    #[test]
    fn a_name_that_fits_several_runs_is_refused() {
        let error = snapshot(&Retained::of([], log()), &AsOf::Run("a".parse().unwrap())).unwrap_err();
        assert_eq!(error.to_string(), "the ids of 4 runs begin with `a`");
        assert!(error.hint().is_some_and(|hint| hint.contains("`a4` of 2026-11-22")), "{error:?}");
    }

    #[test]
    fn what_the_log_no_longer_tells_is_an_error() {
        let mut base = State::new("a");
        log().into_iter().take(2).for_each(|entry| base.apply(entry));
        let retained = Retained::of([base], log().into_iter().skip(2));
        let error = |as_of: &AsOf| snapshot(&retained, as_of).unwrap_err();
        let day = |day: &str| AsOf::Day(day.parse().unwrap());
        assert!(error(&day("2026-11-20")).to_string().contains("no longer tells how the lake stood as of 2026-11-20"));
        assert!(error(&AsOf::Run("a2".parse().unwrap())).to_string().contains("no longer tells of the run a2"));
        assert!(error(&AsOf::Run("f".parse().unwrap())).to_string().contains("no run's id begins with `f`"));
        assert_eq!(shown(&snapshot(&retained, &day("2026-11-21")).unwrap()), "a 20:3,21:2 · b 21:1");
        let early = Retained::of([], log());
        assert!(snapshot(&early, &day("2026-11-19")).unwrap_err().to_string().contains("nothing was published"));
    }

    #[test]
    fn a_day_or_a_run_is_said() {
        assert_eq!("2026-11-20".parse(), Ok(AsOf::Day("2026-11-20".parse().unwrap())));
        let run = "019ABCDE-0000-7000-8000-000000000000";
        assert_eq!(run.parse(), Ok(AsOf::Run(run.parse().unwrap())));
        assert_eq!("019abcde-00".parse(), Ok(AsOf::Run(RunName::Beginning("019abcde-00".into()))));
        assert_eq!("latest".parse(), Ok(AsOf::Run(RunName::Latest)));
        assert!("yesterday".parse::<AsOf>().is_err() && "2026-13-40".parse::<AsOf>().is_err());
    }
}
