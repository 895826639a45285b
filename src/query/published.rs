//! Which files of the publish log's snapshot a table shows, and under which day.
//!
//! Invariant: "the day before" is always the previous *published* day of that pipeline, never the calendar's.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use chrono::NaiveDate;

use crate::load::snapshot::Snapshot;

/// A snapshot of the lake, and its days at hand.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// Whole publications across all tables.
    pub snapshot: Snapshot,
    /// The days with a published picture, by pipeline.
    pub days: BTreeMap<String, BTreeSet<NaiveDate>>,
    /// The one day that `public`, `latest` and `before` are about; `None`: each is about all it stands for.
    pub focus: Option<Focus>,
}

/// One published day of one pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Focus {
    /// The pipeline.
    pub pipeline: String,
    /// The day.
    pub dt: NaiveDate,
}

impl From<Snapshot> for Published {
    fn from(snapshot: Snapshot) -> Self {
        let days = |pipeline: &str| (pipeline.to_owned(), snapshot.published_days(pipeline).collect());
        Self { days: snapshot.pipelines().map(days).collect(), snapshot, focus: None }
    }
}

/// Which published days a table shows. Each is a schema of the catalog.
///
/// With a [`Focus`], `public` and `latest` show its day alone, and `before` the day before it: a view of changes gives the
/// changes of that day. The others are as ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Selection {
    /// `public`: every day.
    All,
    /// `history`: every day, also where `public` shows one day alone.
    History,
    /// `latest`: the last published day of each pipeline.
    Latest,
    /// `"as_of_2026-11-20"`: the last day of each pipeline published for that day or an earlier one.
    AsOf(NaiveDate),
    /// `before`: the rows of the day before, under the `dt` of the day they are compared with;
    /// their own day is in `previous_dt`.
    Before,
}

impl Selection {
    const AS_OF: &str = "as_of_";

    /// The selection a schema name stands for.
    #[must_use]
    pub fn from_schema_name(name: &str) -> Option<Self> {
        match name {
            "public" => Some(Self::All),
            "history" => Some(Self::History),
            "latest" => Some(Self::Latest),
            "before" => Some(Self::Before),
            _ => name.strip_prefix(Self::AS_OF)?.parse().ok().map(Self::AsOf),
        }
    }

    /// The schema's name as it is written in SQL.
    #[must_use]
    pub fn schema_sql(self) -> String {
        match self {
            Self::All => "public".into(),
            Self::History => "history".into(),
            Self::Latest => "latest".into(),
            Self::Before => "before".into(),
            Self::AsOf(dt) => format!("\"{}{dt}\"", Self::AS_OF),
        }
    }
}

impl Published {
    /// The `dt` under which the selection shows a file of `(dt, pipeline)`; `None` leaves it out.
    #[must_use]
    pub fn shown_dt(&self, selection: Selection, dt: NaiveDate, pipeline: &str) -> Option<NaiveDate> {
        let in_focus = |dt: NaiveDate| self.focus.as_ref().is_none_or(|day| day.dt == dt && day.pipeline == pipeline);
        match selection {
            Selection::All => Some(dt).filter(|dt| in_focus(*dt)),
            Selection::History => Some(dt),
            Selection::Latest if self.focus.is_some() => Some(dt).filter(|dt| in_focus(*dt)),
            Selection::Latest => (self.last_day(pipeline, NaiveDate::MAX)? == dt).then_some(dt),
            Selection::AsOf(day) => (self.last_day(pipeline, day)? == dt).then_some(dt),
            Selection::Before => self.day_after(pipeline, dt).filter(|dt| in_focus(*dt)),
        }
    }

    /// The last day of `pipeline` that is published and not later than `limit`.
    #[must_use]
    pub fn last_day(&self, pipeline: &str, limit: NaiveDate) -> Option<NaiveDate> {
        self.days.get(pipeline)?.range(..=limit).next_back().copied()
    }

    /// The published day of `pipeline` whose day before is `dt`.
    #[must_use]
    pub fn day_after(&self, pipeline: &str, dt: NaiveDate) -> Option<NaiveDate> {
        self.days.get(pipeline)?.range((Bound::Excluded(dt), Bound::Unbounded)).next().copied()
    }

    /// The first published day of the lake.
    #[must_use]
    pub fn first_day(&self) -> Option<NaiveDate> {
        self.days.values().filter_map(|days| days.first()).min().copied()
    }

    /// The day that is in focus, else the newest published day of the lake.
    #[must_use]
    pub fn newest_day(&self) -> Option<NaiveDate> {
        let newest = || self.days.values().filter_map(|days| days.last()).max().copied();
        self.focus.as_ref().map(|day| day.dt).or_else(newest)
    }

    /// Whether the selection shows more than one pipeline, so that an offer may have several rows.
    #[must_use]
    pub fn shows_several_pipelines(&self, selection: Selection) -> bool {
        if selection == Selection::Latest && self.focus.is_some() {
            return false;
        }
        let limit = if let Selection::AsOf(day) = selection { day } else { NaiveDate::MAX };
        self.days.keys().filter(|pipeline| self.last_day(pipeline, limit).is_some()).count() > 1
    }
}
