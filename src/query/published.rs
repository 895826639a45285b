//! What is published, as plain values: the days of each pipeline, the files and schema of each table.
//!
//! Invariant: "the day before" is always the previous *published* day of that pipeline, never the calendar's.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;

use crate::base::Result;
use crate::load::log::DataFile;
use crate::load::snapshot::Snapshot;
use crate::transform::contract::Table;

/// A snapshot of the lake: whole publications across all tables.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The days with a published picture, by pipeline.
    pub days: BTreeMap<String, BTreeSet<NaiveDate>>,
    /// The tables by name.
    pub tables: BTreeMap<String, TableFiles>,
}

/// One table: its columns and the files that hold it.
#[derive(Debug, Clone)]
pub struct TableFiles {
    /// All columns; `dt` and `pipeline`, which the files do not hold, first.
    pub schema: SchemaRef,
    /// The files; none = an empty table.
    pub files: Vec<PublishedFile>,
}

/// One Parquet file and the partition it belongs to.
#[derive(Debug, Clone)]
pub struct PublishedFile {
    /// The day.
    pub dt: NaiveDate,
    /// The pipeline.
    pub pipeline: Arc<str>,
    /// Path, size, rows, statistics.
    pub file: Arc<DataFile>,
}

/// Which published days a table shows. Each is a schema of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Selection {
    /// `public`: every day.
    All,
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
            Self::Latest => "latest".into(),
            Self::Before => "before".into(),
            Self::AsOf(dt) => format!("\"{}{dt}\"", Self::AS_OF),
        }
    }
}

impl Published {
    /// A lake in which nothing is published yet: every table of the contracts, empty.
    ///
    /// # Errors
    /// Internal: an embedded contract is broken.
    pub fn nothing() -> Result<Self> {
        let mut tables = BTreeMap::new();
        for table in Table::ALL {
            tables.insert(table.name().to_owned(), TableFiles { schema: table.schema()?, files: Vec::new() });
        }
        Ok(Self { days: BTreeMap::new(), tables })
    }

    /// Everything a snapshot of the publish log names.
    ///
    /// # Errors
    /// Internal: an embedded contract is broken.
    pub fn of(snapshot: &Snapshot) -> Result<Self> {
        let mut published = Self::nothing()?;
        for pipeline in snapshot.pipelines() {
            published.days.insert(pipeline.to_owned(), snapshot.published_days(pipeline).collect());
        }
        for table in Table::ALL {
            let Some(files) = published.tables.get_mut(table.name()) else { continue };
            files.files.extend(snapshot.files(table).into_iter().map(|file| PublishedFile {
                dt: file.dt,
                pipeline: file.pipeline.into(),
                file: Arc::new(file.file.clone()),
            }));
        }
        Ok(published)
    }

    /// The `dt` under which the selection shows a file of `(dt, pipeline)`; `None` leaves it out.
    #[must_use]
    pub fn shown_dt(&self, selection: Selection, dt: NaiveDate, pipeline: &str) -> Option<NaiveDate> {
        match selection {
            Selection::All => Some(dt),
            Selection::Latest => (self.last_day(pipeline, NaiveDate::MAX)? == dt).then_some(dt),
            Selection::AsOf(day) => (self.last_day(pipeline, day)? == dt).then_some(dt),
            Selection::Before => self.day_after(pipeline, dt),
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

    /// Whether the selection shows more than one pipeline, so that an offer may have several rows.
    #[must_use]
    pub fn shows_several_pipelines(&self, selection: Selection) -> bool {
        let limit = if let Selection::AsOf(day) = selection { day } else { NaiveDate::MAX };
        self.days.keys().filter(|pipeline| self.last_day(pipeline, limit).is_some()).count() > 1
    }
}
