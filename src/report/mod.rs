//! Report: what the tables say, as one HTML page for people who would rather look.
//!
//! * `rows`: answers of queries, cell by cell as exact text.
//! * `source`: which offers are shown together: groups, words of titles, shops.
//! * `model`: what a report holds, as plain values.
//! * `ranking`: who is cheapest at the quantity, and the offers that get a line in the charts.
//! * `lines`: price ladders, and the price at the quantity over days.
//! * `moves`: what a piece costs at the quantity, then and now.
//! * `changes`: what happened since the day before.
//! * `state`: days, shops and runs: whether the data is whole and fresh.
//! * `number`: exact decimals for people.
//! * `html`: markup that cannot be broken by what is put into it.
//! * `words`: codes of the tables in Chinese and English.
//! * `page`: the page itself.
//!
//! Invariant: the page loads nothing (its own policy forbids it), no text of a stranger becomes markup or script, and
//! money goes from the tables to the page as digits. Floats are made in the browser, to draw.

mod changes;
mod html;
mod lines;
mod model;
mod moves;
mod number;
mod page;
mod ranking;
mod rows;
mod source;
mod state;
mod words;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};

use crate::base::Result;
use crate::query::Session;

use model::{Report, Summary};
use source::Source;

pub use words::Language;

/// What to show.
#[derive(Debug, Clone)]
pub struct Options {
    /// Groups of the table `groups` by name; none: all of them, unless `titles` are asked for.
    pub groups: Vec<String>,
    /// Each makes a group of the offers whose title holds all its words (separated by blanks).
    pub titles: Vec<String>,
    /// The quantity to compare at, in pieces. `None`: each group's own, else [`PIECES_DEFAULT`].
    pub pieces: Option<i64>,
    /// How many days back the price at the quantity is drawn, 1 to [`DAYS_MAX`].
    pub days: u16,
    /// The language that is shown first; the page can switch.
    pub language: Language,
    /// When the report is made.
    pub now: DateTime<Utc>,
    /// The lake as its reader names it, without credentials.
    pub lake: String,
}

/// Pieces where nobody said how many are needed.
pub const PIECES_DEFAULT: i64 = 100;
/// The most days a report looks back.
pub const DAYS_MAX: u16 = 365;

/// Where a page ends, so that a lake of any size gives one that a browser and a reader can bear.
pub(crate) mod limits {
    /// Groups shown.
    pub(crate) const GROUPS: usize = 50;
    /// Rows of a group's ranking, our own not counted.
    pub(crate) const RANKED: usize = 20;
    /// Our own rows beyond those.
    pub(crate) const OURS: usize = 10;
    /// Lines in a chart.
    pub(crate) const LINES: usize = 8;
    /// Of them, those of our own.
    pub(crate) const OUR_LINES: usize = 2;
    /// Pipelines whose day stands at the top of the page; all of them stand in its last section.
    pub(crate) const DAYS_AT_TOP: usize = 4;
    /// Changes shown per group, and conditions of minimum and stock.
    pub(crate) const CHANGES: usize = 30;
    /// Shops that stand in where there are no groups, by offers.
    pub(crate) const SHOPS_AS_GROUPS: usize = 8;
    /// Offers of such a shop, by sales.
    pub(crate) const OFFERS_OF_SHOP: usize = 10;
    /// Shops in the list of completeness, incomplete ones first.
    pub(crate) const SHOPS: usize = 100;
    /// Runs.
    pub(crate) const RUNS: usize = 12;
    /// Steps of one ladder that are drawn.
    pub(crate) const STEPS: usize = 40;
}

/// A finished page.
#[derive(Debug)]
pub struct Page {
    /// The HTML, complete.
    pub html: String,
    /// Groups (or shops in their place) that have a section.
    pub sections: usize,
    /// Whether groups of the lake or of `titles` are shown; `false`: shops stand in for them.
    pub has_groups: bool,
    /// Names of groups that no offer of the last published day is in.
    pub empty: Vec<String>,
}

/// Asks the tables and makes the page.
///
/// # Errors
/// [`Kind::Config`](crate::base::Kind::Config) for a group that is not in the table `groups`; what the queries say.
pub async fn build(session: &Session, options: &Options) -> Result<Page> {
    let report = read(session, options).await?;
    let has_groups = report.stands_in.is_none();
    let without = report.groups.iter().filter(|group| group.counts.rows == 0);
    let empty = without.map(|group| group.name.clone()).collect();
    Ok(Page { html: page::render(&report, options), sections: report.groups.len(), has_groups, empty })
}

async fn read(session: &Session, options: &Options) -> Result<Report> {
    let state = state::read(session, options.now).await?;
    let sources = source::choose(session, options).await?;
    let mut groups = Vec::new();
    let mut left_out = 0;
    for source in &sources {
        let ranked = ranking::read(session, source, options.pieces, limits::GROUPS - groups.len()).await?;
        groups.extend(ranked.groups);
        left_out += ranked.left_out;
    }
    lines::read(session, &mut groups, &state.days, options.days).await?;
    changes::read(session, &sources, &mut groups, &state.days).await?;
    let stands_in = sources.iter().find_map(Source::stands_in);
    let summary = Summary { groups_left_out: left_out };
    Ok(Report { groups, state, stands_in, summary })
}
