//! Query: SQL over exactly the files that the publish log names.
//!
//! * [`published`]: which days and files of the publish log a table shows.
//! * [`table`]: one published table as DataFusion sees it.
//! * [`catalog`]: tables and views by name, planned when they are first used.
//! * [`views`]: the views, shipped as `schemas/views/*.sql`.
//! * [`functions`]: `price_at(pieces [, dt])`, `price_history(offer_id)` and other table functions; [`scalars`]: of one row.
//! * [`user_views`]: users' own views.
//! * [`session`]: SQL in, rows out, read-only.
//! * [`engine`]: the threads that queries take; [`running`]: a query that runs; `give_way`: joins that let it be stopped.
//! * `estimates`: how many rows filters keep that ask for nulls.
//! * `bounded`: how much functions and constants may give; `held`: windows whose rows count.
//! * [`ledger`]: calls by day and account, from the state store.
//! * `names`: columns that are called the same; `headings`: columns without a name.
//! * `membership`: `EXISTS` and `IN` as values; `templates`: formats of times; `days`: days after a day.
//! * [`place`]: where in a query an error is; `elsewhere`: what is written instead of functions that others have.
//! * [`runs`]: the funnel of each run.
//! * [`verify`]: whether the tables agree with each other and with `runs`.
//! * [`inspect`]: what a session knows by name, with its documentation, and how far a query has come.
//! * [`output`]: rows as table, CSV, JSON, JSON lines, markdown, Excel workbook, Parquet or Arrow.
//!
//! Invariant: nothing in here writes to the lake or reads a file that the publish log does not name.

mod bounded;
pub mod catalog;
mod days;
mod elsewhere;
pub mod engine;
pub(crate) mod error;
mod estimates;
pub mod functions;
mod give_way;
pub(crate) mod headings;
mod held;
pub mod inspect;
pub mod ledger;
mod membership;
pub(crate) mod names;
pub mod output;
pub mod place;
pub mod published;
pub mod quarantine;
pub mod running;
pub mod runs;
pub mod scalars;
pub mod session;
mod stats;
pub mod table;
mod templates;
pub mod user_views;
pub mod verify;
pub mod views;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use crate::load::as_of::AsOf;
pub use output::Format;
pub use place::SqlPlace;
pub use published::{Focus, Published, Selection};
pub use running::Running;
pub use session::{Answer, Options, Session};
pub use user_views::UserView;
