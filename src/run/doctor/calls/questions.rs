//! Which endpoints a pipeline needs, and one question to each.
//!
//! Takes the pipeline and what answers have told so far; gives the call to make.
//!
//! Invariant: pure.

use crate::config::gateway::Gateway;
use crate::config::pipeline::{FetchDetails, FetchListing, Pipeline};
use crate::extract::request::Values;
use crate::extract::schedule::{ListKind, Named, Outcome, Task};
use crate::plan::{CountFrom, ShopIdFrom, Work};

/// An endpoint to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Time,
    Shop,
    Count,
    Listing,
    OffSale,
    Categories,
    Item,
    Sku,
}

impl Need {
    pub(super) fn endpoint(self) -> &'static str {
        match self {
            Need::Time => "time",
            Need::Shop => "shop",
            Need::Count => "count",
            Need::Listing => "listing",
            Need::OffSale => "off_sale",
            Need::Categories => "categories",
            Need::Item => "item",
            Need::Sku => "sku",
        }
    }
}

/// The endpoints that a pipeline needs of one of its gateways (0: its own, 1: the one of the details), the cheapest
/// first.
pub(super) fn needs(pipeline: &Pipeline, work: &Work, gateway: usize) -> Vec<Need> {
    let wants_items = !work.items.is_empty() || work.details != FetchDetails::Off;
    if gateway > 0 {
        return vec![Need::Item];
    }
    let has = |name: &str| pipeline.gateway.endpoints.contains_key(name);
    let lists = !work.shops.is_empty();
    let narrows = pipeline.gateway.endpoints.get("listing").is_some_and(|listing| listing.category.is_some());
    let changed = pipeline.fetch.listing == FetchListing::Changed;
    let all = [
        (Need::Time, has("time")),
        (Need::Shop, work.shops.iter().any(|shop| shop.id == ShopIdFrom::Gateway)),
        (Need::Count, work.shops.iter().any(|shop| shop.count == CountFrom::Endpoint)),
        (Need::Listing, lists),
        (Need::OffSale, lists && changed && has("off_sale")),
        (Need::Categories, lists && narrows && has("categories")),
        (Need::Item, wants_items && pipeline.details.is_none()),
        (Need::Sku, work.skus != FetchDetails::Off),
    ];
    all.into_iter().filter(|(_, is_needed)| *is_needed).map(|(need, _)| need).collect()
}

/// What to ask about, as far as it is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Learned {
    /// The address to resolve.
    shop_url: Option<String>,
    shop_id: Option<String>,
    offer_id: Option<i64>,
    sku_id: Option<i64>,
    count: Option<u64>,
}

/// What to do about a need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    Ask(Task, Box<Values>),
    /// The shop is too small for it.
    NotNeeded,
    /// Nothing is known to ask about.
    Unknown(&'static str),
}

impl Learned {
    pub(super) fn new(pipeline: &Pipeline, work: &Work) -> Self {
        let unresolved = work.shops.iter().find(|shop| shop.id == ShopIdFrom::Gateway);
        Self {
            shop_url: unresolved.and_then(|shop| shop.shop.url.clone()),
            shop_id: work.shops.iter().find_map(|shop| shop.shop.id.clone()),
            offer_id: pipeline.items.first().copied(),
            ..Self::default()
        }
    }

    /// The call for a need, about the first shop, offer or SKU that is known.
    pub(super) fn question(&self, need: Need, pipeline: &Pipeline, gateway: &Gateway) -> Question {
        let fetch = &pipeline.fetch;
        let mut values = Values { answer: Some(fetch.answer), more: fetch.options.clone(), ..Values::default() };
        values.shop_id.clone_from(&self.shop_id);
        let endpoint = gateway.endpoints.get(need.endpoint());
        let first_page = endpoint.and_then(|endpoint| endpoint.page.as_ref()).map_or(1, |paging| paging.first);
        let task = match need {
            Need::Time => Task::Time,
            Need::Shop => {
                values.shop_id = None;
                values.shop_url.clone_from(&self.shop_url);
                return Question::Ask(Task::Resolve { shop: 0 }, Box::new(values));
            }
            _ if self.shop_id.is_none() && !matches!(need, Need::Item | Need::Sku) => {
                return Question::Unknown("no shop's member id is known");
            }
            Need::Count => Task::Count { shop: 0 },
            Need::Categories if self.fits(gateway) => return Question::NotNeeded,
            Need::Categories => Task::Categories { shop: 0 },
            Need::Listing | Need::OffSale => {
                let list = if need == Need::Listing { ListKind::OnSale } else { ListKind::OffSale };
                values.page = Some(first_page);
                Task::Page { shop: 0, list, slice: 0, page: first_page }
            }
            Need::Item => {
                let Some(offer_id) = self.offer_id else { return Question::Unknown("no offer's id is known") };
                values.offer_id = Some(offer_id);
                values.offer_ids = vec![offer_id];
                Task::Item { shop: None, offer_ids: vec![offer_id] }
            }
            Need::Sku => {
                let (Some(offer_id), Some(sku_id)) = (self.offer_id, self.sku_id) else {
                    return Question::Unknown("no SKU's id is known");
                };
                values.offer_id = Some(offer_id);
                values.sku_id = Some(sku_id);
                Task::Sku { shop: None, offer_id, sku_id }
            }
        };
        Question::Ask(task, Box::new(values))
    }

    /// Whether the shop's listing ends before the last page that the gateway serves: no category is then asked for.
    fn fits(&self, gateway: &Gateway) -> bool {
        let paging = gateway.endpoints.get("listing").and_then(|listing| listing.page.as_ref());
        let Some(paging) = paging else { return true };
        let most = paging.last.map(|last| u64::from(last) * u64::from(paging.size_max));
        match (most, self.count) {
            (None, _) => true,
            (Some(most), Some(count)) => count <= most,
            (Some(_), None) => false,
        }
    }

    /// Takes what an answer tells of what can be asked about.
    pub(super) fn hear(&mut self, outcome: &Outcome) {
        let mut offers: &[Named] = &[];
        match outcome {
            Outcome::Resolved(id) => _ = self.shop_id.get_or_insert_with(|| id.clone()),
            Outcome::Counted(count) => self.count = Some(*count),
            Outcome::Page(_, named) => offers = named,
            Outcome::Detail(named) => offers = named,
            _ => {}
        }
        if let Some((offer_id, sku_id)) =
            offers.iter().find_map(|offer| Some((offer.offer_id, *offer.sku_ids.first()?)))
        {
            self.sku_id.get_or_insert(sku_id);
            self.offer_id.get_or_insert(offer_id);
        }
        if let Some(offer) = offers.first() {
            self.offer_id.get_or_insert(offer.offer_id);
        }
    }
}
