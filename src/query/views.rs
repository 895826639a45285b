//! The views and the bodies of the table functions: SQL, shipped as data in `schemas/views/`.
//!
//! Each file opens with a comment that says what its rows are, which columns need a word, and an example.

/// One view for analysts.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Its name in SQL.
    pub name: &'static str,
    /// Comment and query.
    pub sql: &'static str,
}

macro_rules! view {
    ($name:literal) => {
        View { name: $name, sql: include_str!(concat!("../../schemas/views/", $name, ".sql")) }
    };
}

/// All views, by name.
pub const VIEWS: &[View] = &[
    view!("delisted_offers"),
    view!("group_offers"),
    view!("latest_offers"),
    view!("latest_price_tiers"),
    view!("latest_skus"),
    view!("moq_changes"),
    view!("new_offers"),
    view!("price_changes"),
    view!("stock_outs"),
];

/// The table functions, by name: the bodies are templates, filled by [`functions`](super::functions).
pub const FUNCTIONS: &[View] = &[
    view!("competitor_position"),
    view!("price_at"),
    view!("price_history"),
    view!("price_moves"),
    view!("title_matches"),
];

/// Rows that another pipeline fetched later; `{day}` is a schema of one day per pipeline.
pub(super) const SUPERSEDED: &str = include_str!("../../schemas/views/superseded.sql");
/// What `price_at` and `price_moves` ask prices for, in the place of `{needs}`; `{day}` is as in [`SUPERSEDED`].
pub(super) const NEEDS: &str = include_str!("../../schemas/views/needs.sql");
/// What functions of prices have in common, in the place of `{priced}`; `{day}` is as in [`SUPERSEDED`].
pub(crate) const PRICED: &str = include_str!("../../schemas/views/priced.sql");

/// The view of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static View> {
    VIEWS.iter().find(|view| view.name == name)
}

/// The table function of that name.
#[must_use]
pub fn function(name: &str) -> Option<&'static View> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

impl View {
    /// The leading comment without its dashes: what the view says, for people.
    #[must_use]
    pub fn documentation(&self) -> String {
        let lines = self.sql.lines().map_while(|line| line.strip_prefix("--"));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_says_what_it_is_and_shows_an_example() {
        for view in VIEWS.iter().chain(FUNCTIONS) {
            let text = view.documentation();
            assert!(text.contains("Example:"), "{}: {text}", view.name);
            assert!(text.contains(view.name), "{}: the example uses the view", view.name);
        }
    }
}
