//! The proof of coverage of a run: which spans of time and categories each shop was listed by.
//!
//! Takes the facts that a run left in the landing zone; gives them as text and as JSON.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};

use crate::base::time::BEIJING;
use crate::base::{Result, RunId};
use crate::extract::facts::{Covered, Listed, RunFacts, ShopFacts};
use crate::land::Zone;
use crate::store::Store;

use crate::cli::table::{Align, Table, thousands};

/// What a run says of its coverage.
pub(super) struct Proof {
    run_id: String,
    /// `None`: it left no facts.
    facts: Option<RunFacts>,
}

/// Reads the facts of these rows of `runs`.
pub(super) async fn read(store: &Store, runs: &[Value]) -> Result<Vec<Proof>> {
    let mut proofs: Vec<Proof> = Vec::new();
    for row in runs {
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        let run_id = text("run_id");
        if proofs.last().is_some_and(|last| last.run_id == run_id) {
            continue;
        }
        let facts = match (text("dt").parse::<NaiveDate>(), run_id.parse::<RunId>()) {
            (Ok(dt), Ok(id)) => Zone::new(store.clone(), text("pipeline"), dt).read_facts(&id).await?,
            _ => None,
        };
        proofs.push(Proof { run_id: run_id.to_owned(), facts });
    }
    Ok(proofs)
}

/// Offers that the slices of a listing showed, each once; slices that proved nothing count for nothing.
fn distinct(shop: &ShopFacts) -> u64 {
    let proves = |slice: &&Covered| !slice.off_sale && !slice.outcome.ends_with(NOT_PROVEN);
    shop.coverage.iter().filter(proves).map(|slice| slice.new).sum()
}

/// How a slice of an incremental listing ends that did not add up: the shop was listed whole after it.
const NOT_PROVEN: &str = "incremental, not proven";

impl Proof {
    pub(super) fn text(&self) -> String {
        let Some(facts) = &self.facts else {
            return format!(
                "run {}: no proof of coverage: it ended before its listings did, or its landing zone was removed\n",
                self.run_id
            );
        };
        let shops: Vec<String> = facts.shops.iter().map(shop_text).collect();
        match shops.is_empty() {
            true => format!("run {}: no shop was listed\n", self.run_id),
            false => format!("coverage of run {} (times are Beijing's)\n\n{}", self.run_id, shops.join("\n")),
        }
    }

    pub(super) fn json(&self) -> Value {
        let shops = self.facts.as_ref().map(|facts| facts.shops.iter().map(shop_json).collect::<Vec<_>>());
        json!({"run_id": self.run_id, "shops": shops})
    }
}

fn shop_text(shop: &ShopFacts) -> String {
    let name = shop.shop_name.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
    let official = shop.official_count.and_then(|count| u64::try_from(count).ok());
    let official = official.map_or_else(|| "?".to_owned(), thousands);
    let shown = thousands(distinct(shop));
    let listed = match shop.listing {
        Listed::Whole => format!("listed whole, {shown} distinct offers of {official}"),
        Listed::Changed => {
            let gone = thousands(shop.off_sale.len() as u64);
            let proven = if shop.incomplete_reason.is_none() { "with those that go on they make " } else { "" };
            format!(
                "listed by what changed, {shown} distinct offers, {gone} off sale; {proven}the official count, {official}"
            )
        }
        Listed::Untouched => "not asked for again: as in the picture before".to_owned(),
    };
    let end = shop.incomplete_reason.as_ref().map_or("complete".to_owned(), |why| format!("INCOMPLETE: {why}"));
    let end = if shop.listing == Listed::Untouched { String::new() } else { format!(" · {end}") };
    let head = format!("{name}{}: {listed}{end}\n", shop.shop_id);
    if shop.coverage.is_empty() {
        return head;
    }
    let mut table = Table::new(&[
        ("modified from", Align::Left),
        ("to", Align::Left),
        ("category", Align::Left),
        ("pages", Align::Right),
        ("records", Align::Right),
        ("new", Align::Right),
        ("stated", Align::Right),
        ("outcome", Align::Left),
    ]);
    for slice in &shop.coverage {
        table.row([
            slice.start_at.map_or_else(|| "the beginning".to_owned(), beijing),
            slice.end_at.map_or_else(|| "now".to_owned(), beijing),
            match (&slice.category, slice.off_sale) {
                (Some(category), _) => category.clone(),
                (None, true) => "off sale".to_owned(),
                (None, false) => "all".to_owned(),
            },
            thousands(slice.pages.into()),
            thousands(slice.records),
            thousands(slice.new),
            slice.stated.map_or_else(String::new, thousands),
            slice.outcome.clone(),
        ]);
    }
    head + &table.render("  ")
}

fn beijing(at: DateTime<Utc>) -> String {
    at.with_timezone(&BEIJING).format("%Y-%m-%d %H:%M:%S%.f").to_string()
}

fn shop_json(shop: &ShopFacts) -> Value {
    json!({
        "shop_id": shop.shop_id,
        "shop_name": shop.shop_name,
        "shop_url": shop.shop_url,
        "listing": shop.listing,
        "official_count": shop.official_count,
        "distinct": distinct(shop),
        "is_complete": shop.incomplete_reason.is_none(),
        "incomplete_reason": shop.incomplete_reason,
        "slices": shop.coverage.iter().map(slice_json).collect::<Vec<_>>(),
    })
}

fn slice_json(slice: &Covered) -> Value {
    json!({
        "start_at": slice.start_at,
        "end_at": slice.end_at,
        "category": slice.category,
        "pages": slice.pages,
        "records": slice.records,
        "new": slice.new,
        "stated": slice.stated,
        "outcome": slice.outcome,
        "off_sale": slice.off_sale,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<DateTime<Utc>> {
        DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
    }

    #[test]
    fn slices_are_told_in_beijing_time_and_what_proved_nothing_counts_for_nothing() {
        let slice = |pages, records, new, outcome: &str| Covered {
            pages,
            records,
            new,
            outcome: outcome.into(),
            ..Covered::default()
        };
        let (start_at, end_at) = (at("2026-11-19T16:00:00Z"), at("2026-11-20T15:59:59.5Z"));
        let shop = ShopFacts {
            shop_id: "b2b-1".into(),
            shop_name: Some("义乌小商品".into()),
            official_count: Some(1041),
            coverage: vec![
                slice(1, 3, 3, "complete; incremental, not proven"),
                slice(2, 80, 80, "split"),
                Covered { start_at, end_at, stated: Some(1000), ..slice(25, 1000, 960, "complete") },
                Covered { start_at, category: Some("1031".into()), ..slice(1, 1, 1, "complete") },
            ],
            ..ShopFacts::default()
        };
        let changed = ShopFacts {
            shop_id: "b2b-3".into(),
            listing: Listed::Changed,
            official_count: Some(297),
            off_sale: vec![7],
            coverage: vec![
                slice(1, 8, 8, "complete"),
                Covered { off_sale: true, stated: Some(1), ..slice(1, 1, 1, "complete") },
            ],
            ..ShopFacts::default()
        };
        let untouched = ShopFacts { shop_id: "b2b-2".into(), listing: Listed::Untouched, ..ShopFacts::default() };
        let facts = RunFacts { shops: vec![shop, changed, untouched], ..RunFacts::default() };
        let proof = Proof { run_id: "0198".into(), facts: Some(facts) };
        let expected = "\
coverage of run 0198 (times are Beijing's)

义乌小商品 b2b-1: listed whole, 1 041 distinct offers of 1 041 · complete
  modified from        to                       category  pages  records  new  stated  outcome
  the beginning        now                      all           1        3    3          complete; incremental, not proven
  the beginning        now                      all           2       80   80          split
  2026-11-20 00:00:00  2026-11-20 23:59:59.500  all          25    1 000  960   1 000  complete
  2026-11-20 00:00:00  now                      1031          1        1    1          complete

b2b-3: listed by what changed, 8 distinct offers, 1 off sale; with those that go on they make the official count, 297 · complete
  modified from  to   category  pages  records  new  stated  outcome
  the beginning  now  all           1        8    8          complete
  the beginning  now  off sale      1        1    1       1  complete

b2b-2: not asked for again: as in the picture before
";
        assert_eq!(proof.text(), expected);
        let none = Proof { run_id: "0198".into(), facts: None };
        assert!(none.text().starts_with("run 0198: no proof of coverage: "), "{}", none.text());
        assert_eq!(none.json(), json!({"run_id": "0198", "shops": null}));
    }
}
