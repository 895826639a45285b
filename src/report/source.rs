//! Which offers are shown together: groups of the lake, words of titles, or shops where there is neither.
//!
//! Takes what was asked for and gives SQL for the members of the groups and for their ranking.
//!
//! Invariant: texts get into SQL as quoted literals only.

use std::collections::BTreeMap;

use crate::base::text::nearest;
use crate::base::{Error, Result};
use crate::query::Session;

use super::model::{Kind, Need, NeedOf, StandsIn};
use super::rows::{each, quoted};
use super::{Options, PIECES_DEFAULT, limits};

/// Groups that are found in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Of the table `groups`.
    Named {
        /// In the order of the page.
        names: Vec<String>,
        /// The quantities that their lines state.
        quantities: BTreeMap<String, i64>,
    },
    /// Offers whose titles hold all words of a text.
    Titles(Vec<String>),
    /// The best sold offers of the largest shops.
    Shops {
        /// Ids.
        shops: Vec<String>,
        /// Shops of the lake.
        known: usize,
    },
}

/// What to show for `options`.
///
/// # Errors
/// [`Kind::Config`](crate::base::Kind::Config) for a group that the lake does not know.
pub(super) async fn choose(session: &Session, options: &Options) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let Known { names, quantities } = known_groups(session).await?;
    if !options.groups.is_empty() {
        options.groups.iter().try_for_each(|name| is_known(name, &names))?;
        sources.push(Source::Named { names: once_each(&options.groups), quantities });
    } else if options.titles.is_empty() && !names.is_empty() {
        sources.push(Source::Named { names, quantities });
    }
    if !options.titles.is_empty() {
        sources.push(Source::Titles(once_each(&options.titles)));
    }
    if sources.is_empty() {
        sources.push(largest_shops(session).await?);
    }
    Ok(sources)
}

fn is_known(name: &str, known: &[String]) -> Result<()> {
    if known.iter().any(|group| group == name) {
        return Ok(());
    }
    let error = Error::config(format!("there is no group `{name}`"));
    Err(match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => error.with_hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => error.with_hint("no groups are loaded: `huopan groups load FILE` does that"),
        None => error.with_hint("`huopan groups show` lists them"),
    })
}

fn once_each(texts: &[String]) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for text in texts {
        if !once.contains(text) {
            once.push(text.clone());
        }
    }
    once
}

/// The groups of the lake.
#[derive(Debug, Default)]
struct Known {
    names: Vec<String>,
    quantities: BTreeMap<String, i64>,
}

async fn known_groups(session: &Session) -> Result<Known> {
    let mut known = Known::default();
    if session.table_names().iter().any(|table| table == "groups") {
        let sql = "SELECT group_name, max(quantity) AS quantity FROM groups GROUP BY group_name ORDER BY group_name";
        each(session, sql, vec![], |row| {
            let name = row.word("group_name")?;
            known.quantities.extend(row.integer("quantity")?.map(|quantity| (name.clone(), quantity)));
            known.names.push(name);
            Ok(())
        })
        .await?;
    }
    Ok(known)
}

async fn largest_shops(session: &Session) -> Result<Source> {
    let sql = "SELECT shop_id FROM latest.shops GROUP BY shop_id ORDER BY max(offer_count) DESC, shop_id";
    let (mut shops, mut known) = (Vec::new(), 0);
    each(session, sql, vec![], |row| {
        known += 1;
        if shops.len() < limits::SHOPS_AS_GROUPS {
            shops.extend(row.text("shop_id")?);
        }
        Ok(())
    })
    .await?;
    Ok(Source::Shops { shops, known })
}

impl Source {
    /// What kind its groups are.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Source::Named { .. } => Kind::Named,
            Source::Titles(_) => Kind::Title,
            Source::Shops { .. } => Kind::Shop,
        }
    }

    /// The keys of its groups, in the order of the page.
    pub(super) fn keys(&self) -> &[String] {
        match self {
            Source::Named { names: keys, .. } | Source::Titles(keys) | Source::Shops { shops: keys, .. } => keys,
        }
    }

    /// Says so if the groups are shops for want of better ones.
    pub(super) fn stands_in(&self) -> Option<StandsIn> {
        match self {
            Source::Shops { known, .. } => Some(StandsIn { shops: *known }),
            _ => None,
        }
    }

    /// The quantity that a group is compared at: `pieces` before its own before the default.
    pub(super) fn need(&self, key: &str, pieces: Option<i64>) -> Need {
        let own = match self {
            Source::Named { quantities, .. } => quantities.get(key).copied(),
            Source::Titles(_) | Source::Shops { .. } => None,
        };
        match (pieces, own) {
            (Some(pieces), _) => Need { pieces, of: NeedOf::Asker },
            (None, Some(pieces)) => Need { pieces, of: NeedOf::Group },
            (None, None) => Need { pieces: PIECES_DEFAULT, of: NeedOf::Nobody },
        }
    }

    /// A query of `group_name, is_ours, pipeline, offer_id, pack_size, detail_url` for every offer of the groups.
    pub(super) fn members(&self) -> String {
        match self {
            Source::Named { names, .. } => {
                let named = among("group_name", names);
                let columns = "group_name, is_ours, pipeline, offer_id, pack_size, detail_url";
                format!("SELECT {columns} FROM group_offers WHERE {named}")
            }
            Source::Titles(texts) => {
                let group = |text: &String| {
                    let (name, holds) = (quoted(text), title_holds("title", text));
                    format!(
                        "SELECT {name} AS group_name, false AS is_ours, pipeline, offer_id, CAST(NULL AS INT) AS pack_size,
                                detail_url
                         FROM latest_offers WHERE {holds}"
                    )
                };
                texts.iter().map(group).collect::<Vec<_>>().join(" UNION ALL ")
            }
            Source::Shops { shops, .. } => format!(
                "SELECT shop_id AS group_name, false AS is_ours, pipeline, offer_id, CAST(NULL AS INT) AS pack_size,
                        detail_url
                 FROM latest_offers WHERE {}",
                among("shop_id", shops)
            ),
        }
    }

    /// A query of the ranking's columns, in the order of the page. Of shops it needs [`Source::best_sold`] first.
    pub(super) fn ranking(&self, pieces: Option<i64>, best_sold: &[String]) -> String {
        let order = "ORDER BY group_name, position NULLS LAST, price_per_piece NULLS LAST, offer_id, sku_id";
        match self {
            Source::Named { names, .. } => {
                let mut asked: BTreeMap<Option<i64>, Vec<String>> = BTreeMap::new();
                for name in names {
                    let need = self.need(name, pieces);
                    // The groups that state their quantity are asked for in one go.
                    let pieces = Some(need.pieces).filter(|_| need.of != NeedOf::Group);
                    asked.entry(pieces).or_default().push(name.clone());
                }
                let rows = asked.iter().map(|(pieces, names)| {
                    let pieces = pieces.map(|pieces| pieces.to_string()).unwrap_or_default();
                    // As `competitor_position` rounds it, it would be rounded twice.
                    format!(
                        "SELECT * EXCEPT (gap_pct), CAST(gap * 100 / nullif(cheapest, 0) AS DECIMAL(24, 4)) AS gap_pct \
                         FROM competitor_position({pieces}) WHERE {}",
                        among("group_name", names)
                    )
                });
                format!("{} {order}", rows.collect::<Vec<_>>().join(" UNION ALL "))
            }
            Source::Titles(texts) => {
                let pieces = pieces.unwrap_or(PIECES_DEFAULT);
                let group = |text: &String| {
                    let (name, holds) = (quoted(text), title_holds("title", text));
                    format!("SELECT {name} AS group_name, * FROM price_at({pieces}) WHERE {holds}")
                };
                let rows = texts.iter().map(group).collect::<Vec<_>>().join(" UNION ALL ");
                format!("{} {order}", ranked(&rows, pieces))
            }
            Source::Shops { .. } => {
                let pieces = pieces.unwrap_or(PIECES_DEFAULT);
                format!(
                    "SELECT shop_id AS group_name, CAST(NULL AS BIGINT) AS position, false AS is_ours, {pieces} AS quantity,
                            CAST(NULL AS DECIMAL(18, 6)) AS gap, CAST(NULL AS DECIMAL(24, 4)) AS gap_pct, *
                     FROM price_at({pieces}) WHERE {} ORDER BY shop_id, offer_id, sku_id",
                    one_of("offer_id", best_sold)
                )
            }
        }
    }

    /// The best sold offers of the shops, best first: `shop_id, offer_id`.
    pub(super) fn best_sold(shops: &[String]) -> String {
        format!(
            "SELECT shop_id, offer_id FROM (
               SELECT shop_id, offer_id, row_number() OVER (
                        PARTITION BY shop_id ORDER BY status = 'on_sale' DESC, sales_count DESC NULLS LAST, offer_id) AS place
               FROM latest_offers WHERE {})
             WHERE place <= {} ORDER BY shop_id, place",
            among("shop_id", shops),
            limits::OFFERS_OF_SHOP
        )
    }
}

/// Ranks and gaps as `competitor_position` gives them.
fn ranked(rows: &str, pieces: i64) -> String {
    format!(
        "SELECT *, price_per_piece - cheapest AS gap,
                CAST((price_per_piece - cheapest) * 100 / nullif(cheapest, 0) AS DECIMAL(24, 4)) AS gap_pct
         FROM (
           SELECT *, false AS is_ours, {pieces} AS quantity,
                  CASE WHEN buyable THEN rank() OVER (
                    PARTITION BY group_name, currency, coalesce(buyable, false) ORDER BY price_per_piece) END AS position,
                  CASE WHEN buyable THEN min(price_per_piece) OVER (
                    PARTITION BY group_name, currency, coalesce(buyable, false)) END AS cheapest
           FROM ({rows}))"
    )
}

/// `column IN ('a', 'b')`; nothing is among none.
pub(super) fn among(column: &str, texts: &[String]) -> String {
    one_of(column, &texts.iter().map(|text| quoted(text)).collect::<Vec<_>>())
}

/// `column IN (1, 2)`; nothing is one of none. The literals are SQL already: ids of the tables, quoted texts.
pub(super) fn one_of(column: &str, literals: &[String]) -> String {
    if literals.is_empty() { "false".to_owned() } else { format!("{column} IN ({})", literals.join(", ")) }
}

/// Whether a title holds every word of `text`, in any order and case; no word is in every title.
fn title_holds(column: &str, text: &str) -> String {
    let words =
        text.split_whitespace().map(|word| format!("strpos(lower({column}), {}) > 0", quoted(&word.to_lowercase())));
    let words: Vec<String> = words.collect();
    if words.is_empty() { "true".to_owned() } else { words.join(" AND ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_titles_are_literals_whatever_is_in_them() {
        assert_eq!(
            title_holds("title", " Type-C\u{3000}1' OR 1=1 "),
            "strpos(lower(title), 'type-c') > 0 AND strpos(lower(title), '1''') > 0 AND \
             strpos(lower(title), 'or') > 0 AND strpos(lower(title), '1=1') > 0"
        );
    }

    #[test]
    fn nothing_is_among_none() {
        assert_eq!((among("a", &[]), among("a", &["x'".into()])), ("false".into(), "a IN ('x''')".into()));
    }

    #[test]
    fn a_group_is_asked_for_its_quantity_or_the_default_and_whoever_asks_decides() {
        let quantities = BTreeMap::from([("a".to_owned(), 500), ("elsewhere".to_owned(), 7)]);
        let named = Source::Named { names: vec!["b".into(), "a".into(), "c".into()], quantities };
        let need = |key, asked| (named.need(key, asked).pieces, named.need(key, asked).of);
        assert_eq!(need("a", None), (500, NeedOf::Group));
        assert_eq!(need("b", None), (PIECES_DEFAULT, NeedOf::Nobody));
        assert_eq!((need("a", Some(9)), need("b", Some(9))), ((9, NeedOf::Asker), (9, NeedOf::Asker)));
        let sql = |asked| named.ranking(asked, &[]).split(" ORDER BY").next().unwrap().to_owned();
        let of = |call: &str, groups: &str| {
            let gap = "CAST(gap * 100 / nullif(cheapest, 0) AS DECIMAL(24, 4)) AS gap_pct";
            format!("SELECT * EXCEPT (gap_pct), {gap} FROM {call} WHERE group_name IN ({groups})")
        };
        let by_need =
            [of("competitor_position()", "'a'"), of("competitor_position(100)", "'b', 'c'")].join(" UNION ALL ");
        assert_eq!(sql(None), by_need);
        assert_eq!(sql(Some(9)), of("competitor_position(9)", "'b', 'a', 'c'"));
    }
}
