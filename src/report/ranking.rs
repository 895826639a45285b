//! Who is cheapest at the quantity: the rows of each group, cut at the limits, and which of them get a line in the charts.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Result;
use crate::query::Session;

use super::limits;
use super::model::{Changes, Counts, Group, Kind, Line, Offer, PackSize, Ranked};
use super::rows::{Row, each};
use super::source::{Source, among, one_of};

/// The groups of a source.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) groups: Vec<Group>,
    /// Groups past `groups_max`.
    pub(super) left_out: usize,
}

/// Reads the ranking of every group of `source`, at most `groups_max` of them.
///
/// # Errors
/// What the queries say.
pub(super) async fn read(session: &Session, source: &Source, pieces: Option<i64>, groups_max: usize) -> Result<Read> {
    let mut order = Vec::new();
    if let Source::Shops { shops, .. } = source {
        each(session, &Source::best_sold(shops), vec![], |row| {
            order.extend(row.text("offer_id")?);
            Ok(())
        })
        .await?;
    }
    let (read, shops) = (Read::default(), BTreeSet::new());
    let mut reading = Reading { source, pieces, groups_max, read, key: None, shops, others: 0 };
    each(session, &source.ranking(pieces, &order), vec![], |row| reading.row(row)).await?;
    let mut read = reading.read;
    if source.kind() == Kind::Shop {
        by_sales(&mut read.groups, &order);
    }
    add_empty(&mut read, source, pieces, groups_max);
    read.groups.sort_by_key(|group| source.keys().iter().position(|key| *key == group.key));
    read.groups.iter_mut().for_each(choose_lines);
    stock(session, &mut read.groups).await?;
    if source.kind() == Kind::Named {
        pack_sizes(session, &mut read.groups).await?;
    }
    Ok(read)
}

/// What is kept while the rows of all groups go by, in the groups' order.
#[derive(Debug)]
struct Reading<'a> {
    source: &'a Source,
    pieces: Option<i64>,
    groups_max: usize,
    read: Read,
    key: Option<String>,
    shops: BTreeSet<Option<String>>,
    others: usize,
}

impl Reading<'_> {
    fn row(&mut self, row: Row<'_>) -> Result<()> {
        let key = row.word("group_name")?;
        if self.key.as_ref() != Some(&key) {
            self.begin(key, &row)?;
        }
        if self.read.left_out > 0 {
            return Ok(());
        }
        let Some(group) = self.read.groups.last_mut() else { return Ok(()) };
        let is_ours = row.flag("is_ours")? == Some(true);
        group.counts.rows += 1;
        group.counts.buyable += usize::from(row.flag("buyable")? == Some(true));
        group.counts.ours += usize::from(is_ours);
        if let Some(reason) = row.text("reason")? {
            *group.counts.reasons.entry(reason).or_default() += 1;
        }
        if self.shops.len() <= SHOPS_COUNTED_MAX && self.shops.insert(row.text("shop_id")?) {
            group.counts.shops += 1;
        }
        let is_kept = match is_ours {
            true => group.counts.ours <= limits::OURS,
            false => self.others < limits::RANKED,
        };
        if is_kept {
            self.others += usize::from(!is_ours);
            group.ranked.push(ranked(&row)?);
        }
        Ok(())
    }

    fn begin(&mut self, key: String, row: &Row<'_>) -> Result<()> {
        self.key = Some(key.clone());
        self.shops.clear();
        self.others = 0;
        if self.read.groups.len() == self.groups_max {
            self.read.left_out += 1;
            return Ok(());
        }
        let name = match self.source.kind() {
            Kind::Shop => row.text("shop_name")?.unwrap_or_else(|| key.clone()),
            _ => key.clone(),
        };
        self.read.groups.push(empty(self.source, key, name, self.pieces));
        Ok(())
    }
}

fn empty(source: &Source, key: String, name: String, pieces: Option<i64>) -> Group {
    let (kind, need) = (source.kind(), source.need(&key, pieces));
    Group { key, name, kind, need, counts: Counts::default(), ranked: Vec::new(), changes: Changes::default() }
}

/// More shops in one group are not told apart.
const SHOPS_COUNTED_MAX: usize = 100_000;

fn ranked(row: &Row<'_>) -> Result<Ranked> {
    Ok(Ranked {
        position: row.integer("position")?,
        is_ours: row.flag("is_ours")? == Some(true),
        offer: Offer {
            pipeline: row.word("pipeline")?,
            offer_id: row.word("offer_id")?,
            sku_id: row.text("sku_id")?,
            shop_id: row.text("shop_id")?,
            shop_name: row.text("shop_name")?,
            title: row.text("title")?,
            url: row.text("detail_url")?,
        },
        unit: row.text("unit")?,
        pieces_per_unit: row.integer("pieces_per_unit")?,
        units: row.integer("units")?,
        pieces_bought: row.integer("pieces_bought")?,
        unit_price: row.text("unit_price")?,
        piece_price: row.text("price_per_piece")?,
        total: row.text("total")?,
        currency: row.word("currency")?,
        gap: row.text("gap")?,
        gap_pct: row.text("gap_pct")?,
        moq_pieces: row.integer("moq_pieces")?,
        buyable: row.flag("buyable")?,
        reason: row.text("reason")?,
        spread: row.text("price_from")?.zip(row.text("price_to")?),
        ladder_status: row.text("ladder_status")?,
        ..Ranked::default()
    })
}

/// A group that holds no offer is shown, too: somebody asked for it.
fn add_empty(read: &mut Read, source: &Source, pieces: Option<i64>, groups_max: usize) {
    // Past the limit what is missing may just not have come.
    if read.left_out > 0 {
        return;
    }
    for key in source.keys() {
        if read.groups.iter().any(|group| group.key == *key) {
            continue;
        }
        if read.groups.len() == groups_max {
            read.left_out += 1;
            continue;
        }
        read.groups.push(empty(source, key.clone(), key.clone(), pieces));
    }
}

/// The offers of a shop as they sell.
fn by_sales(groups: &mut [Group], offers: &[String]) {
    let place: BTreeMap<&str, usize> = offers.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
    for group in groups.iter_mut() {
        group.ranked.sort_by_key(|row| place.get(row.offer.offer_id.as_str()).copied().unwrap_or(usize::MAX));
    }
}

/// The first rows that have a price per piece in the currency of the first of them; our best ones before any other.
fn choose_lines(group: &mut Group) {
    let has_price = |row: &&Ranked| row.piece_price.is_some() && row.reason.as_deref() != Some("delisted");
    let Some(currency) = group.ranked.iter().find(has_price).map(|row| row.currency.clone()) else { return };
    let mut chosen: Vec<usize> = (0..group.ranked.len()).collect();
    let mut ours = 0;
    chosen.retain(|&at| {
        let row = &group.ranked[at];
        let fits = has_price(&row) && row.currency == currency;
        ours += usize::from(fits && row.is_ours);
        fits && (!row.is_ours || ours <= limits::OUR_LINES)
    });
    chosen.sort_by_key(|&at| (!group.ranked[at].is_ours, at));
    chosen.truncate(limits::LINES);
    chosen.sort_unstable();
    for (place, at) in chosen.into_iter().enumerate() {
        group.ranked[at].line = Some(Line { place, ..Line::default() });
    }
}

/// What is in stock of the rows that are shown; of a SKU its own stock.
async fn stock(session: &Session, groups: &mut [Group]) -> Result<()> {
    let rows = || groups.iter().flat_map(|group| &group.ranked);
    let offers: BTreeSet<String> = rows().map(|row| row.offer.offer_id.clone()).collect();
    let skus: BTreeSet<String> = rows().filter_map(|row| row.offer.sku_id.clone()).collect();
    let mut found = BTreeMap::new();
    let offers = one_of("offer_id", &offers.into_iter().collect::<Vec<_>>());
    let sql = format!(
        "SELECT offer_id, CAST(NULL AS BIGINT) AS sku_id, stock_pieces, stock_status FROM latest_offers WHERE {offers}"
    );
    let mut queries = vec![sql];
    if !skus.is_empty() {
        let skus = one_of("sku_id", &skus.into_iter().collect::<Vec<_>>());
        queries.push(format!(
            "SELECT offer_id, sku_id, stock_pieces, stock_status FROM latest_skus WHERE {offers} AND {skus}"
        ));
    }
    for sql in queries {
        each(session, &sql, vec![], |row| {
            let key = (row.word("offer_id")?, row.text("sku_id")?);
            found.insert(key, (row.integer("stock_pieces")?, row.text("stock_status")?));
            Ok(())
        })
        .await?;
    }
    for row in groups.iter_mut().flat_map(|group| &mut group.ranked) {
        // An offer may be in several groups.
        if let Some((pieces, status)) = found.get(&(row.offer.offer_id.clone(), row.offer.sku_id.clone())) {
            (row.stock_pieces, row.stock_status) = (*pieces, status.clone());
        }
    }
    Ok(())
}

/// What the groups file says of the pieces in a sale unit of the rows that are shown.
async fn pack_sizes(session: &Session, groups: &mut [Group]) -> Result<()> {
    let names: Vec<String> = groups.iter().map(|group| group.key.clone()).collect();
    let rows = groups.iter().flat_map(|group| &group.ranked);
    let offers: BTreeSet<String> = rows.map(|row| row.offer.offer_id.clone()).collect();
    let sql = format!(
        "SELECT group_name, offer_id, pack_size, nullif(pieces_per_unit, 0) IS NULL AS is_used FROM group_offers
         WHERE pack_size IS NOT NULL AND {} AND {}",
        among("group_name", &names),
        one_of("offer_id", &offers.into_iter().collect::<Vec<_>>())
    );
    let mut found = BTreeMap::new();
    each(session, &sql, vec![], |row| {
        if let Some(pieces) = row.integer("pack_size")? {
            let is_used = row.flag("is_used")? == Some(true);
            found.insert((row.word("group_name")?, row.word("offer_id")?), PackSize { pieces, is_used });
        }
        Ok(())
    })
    .await?;
    for group in groups.iter_mut() {
        for row in &mut group.ranked {
            row.pack_size = found.get(&(group.key.clone(), row.offer.offer_id.clone())).copied();
        }
    }
    Ok(())
}
