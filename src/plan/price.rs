//! Price: what a run costs, before it spends a call.
//!
//! Takes a [`Pipeline`] and a [`Survey`] of what is known; gives a [`Price`]: calls by endpoint and shop, each as exactly
//! as it is known, money, time, what each account makes of it, and what does not fit into today.
//!
//! * `calls`: a number of calls that knows how exact it is.
//! * `rules`: what each question costs.
//! * `quota`: which account, which day, how long.
//!
//! Faults are not in the price: calls that fail are made again and count again. Nor are answers that caches hold, but
//! for shops' ids: with them a run costs less.
//!
//! Invariant: pure. A number that is called exact or proven holds whatever the answers are, as long as all are good ones.

mod calls;
mod quota;
mod rules;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::NaiveDate;

use crate::base::{Error, Kind, Money};
use crate::config::Pipeline;
use crate::config::gateway::Gateway;
use crate::config::pipeline::{FetchDetails, FetchListing, OnQuota, Shop};

pub use calls::{Calls, Exactness};
pub use quota::{AccountQuota, DAYS_MAX, Fits, scope};
pub use rules::Offers;

use super::{CountFrom, Known, KnownShop, ShopIdFrom, ShopWork, Work};
use quota::{Needs, Purse};
use rules::{Held, Shelf};

/// What is known before a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// The day the run stands for.
    pub dt: NaiveDate,
    /// The Beijing day on which its first call would leave.
    pub today: NaiveDate,
    /// The pipeline's work.
    pub work: Work,
    /// The picture before.
    pub known: Known,
    /// Shops' ids by address: from the caches, or bought by a probe.
    pub ids_by_url: HashMap<String, String>,
    /// Shops' official counts of today by id: bought by a probe.
    pub counts: HashMap<String, u64>,
    /// Calls that a probe has made for it. They are in the accounts' `used` already.
    pub probe_calls: u64,
    /// The accounts of the pipeline's gateway, in its order.
    pub accounts: Vec<AccountQuota>,
    /// The accounts of the gateway that gives details, where that is another one.
    pub detail_accounts: Vec<AccountQuota>,
}

/// Which gateway is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The pipeline's.
    Listing,
    /// Another one, for details only.
    Details,
}

/// Calls to one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Whose endpoint.
    pub source: Source,
    /// The endpoint.
    pub endpoint: &'static str,
    /// Calls.
    pub calls: Calls,
}

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A shop.
    Shop {
        /// As the pipeline names it.
        shop: Shop,
        /// Its id, where it is known.
        id: Option<String>,
        /// Whether it is listed by what changed.
        changes_only: bool,
    },
    /// The single offers.
    Items,
}

/// The price of a shop, or of the single offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectPrice {
    /// What is asked about.
    pub subject: Subject,
    /// How many offers it has.
    pub offers: Offers,
    /// By endpoint, in the order of asking.
    pub lines: Vec<Line>,
    /// All of them.
    pub calls: Calls,
    /// The Beijing day on which its last call is made, by the number to plan with, when those before it go first;
    /// `None`: not within a year.
    pub done_on: Option<NaiveDate>,
}

/// What calls cost in money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// ISO 4217.
    pub currency: String,
    /// Not less.
    pub least: Money,
    /// Not more, as exactly as the calls are known.
    pub most: Option<Money>,
}

/// One account's part of today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountPrice {
    /// The account.
    pub name: String,
    /// Calls that a day allows it; `None`: no limit is known.
    pub calls_per_day: Option<u64>,
    /// Calls left today, of the scopes the run uses the least; `None`: no limit is known.
    pub left: Option<u64>,
    /// Calls of the run that it makes today, by the number to plan with.
    pub takes: u64,
}

/// The price of one gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayPrice {
    /// Which one.
    pub source: Source,
    /// Its name.
    pub name: String,
    /// Its calls.
    pub calls: Calls,
    /// In money, where its definition states a price.
    pub cost: Option<Cost>,
    /// How long the calls take at the allowed pace, by the number to plan with; nights between days not counted.
    pub time: Duration,
    /// Its accounts, in the pipeline's order.
    pub accounts: Vec<AccountPrice>,
}

/// What one choice in `[fetch]` costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alternative {
    /// `listing`, `skus` or `details`.
    pub setting: &'static str,
    /// Its value.
    pub value: &'static str,
    /// The calls that are made because of it.
    pub calls: Calls,
    /// Whether the pipeline says so.
    pub is_set: bool,
}

/// The price of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// The day the run stands for.
    pub dt: NaiveDate,
    /// The Beijing day on which its first call would leave.
    pub today: NaiveDate,
    /// All calls.
    pub total: Calls,
    /// By endpoint.
    pub endpoints: Vec<Line>,
    /// By gateway.
    pub gateways: Vec<GatewayPrice>,
    /// By shop, in the order in which they are listed; single offers last.
    pub subjects: Vec<SubjectPrice>,
    /// When the run fits into one day if it needs the least it can.
    pub fits_least: Fits,
    /// When it does if it needs the most; `None`: nobody knows the most.
    pub fits_most: Option<Fits>,
    /// What the choices in `[fetch]` cost.
    pub alternatives: Vec<Alternative>,
}

impl Price {
    /// Why a run that must finish today is not started: not even the least that it needs fits.
    ///
    /// [`Kind::Quota`] when another day allows it, [`Kind::Config`] when none does.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        let needs = format!("the run needs {} calls", self.total);
        match self.fits_least {
            Fits::Today => None,
            Fits::On(day) => Some(
                Error::new(Kind::Quota, format!("{needs}, more than are left today; they fit on {day}"))
                    .with_hint("run it then, or write `on_quota = \"continue\"` to start today and go on then"),
            ),
            Fits::NoDay => Some(Error::config(format!("{needs}, more than any day allows")).with_hint(
                "write `on_quota = \"continue\"` to spread it over days, ask for less in `[fetch]`, or add accounts",
            )),
        }
    }
}

/// Choices in `[fetch]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Modes {
    listing: FetchListing,
    skus: FetchDetails,
    details: FetchDetails,
}

/// What a run costs.
#[must_use]
pub fn price(pipeline: &Pipeline, survey: &Survey) -> Price {
    let pricer = Pricer::new(pipeline, survey);
    let modes = pricer.modes();
    let mut subjects = pricer.subjects(modes);
    pricer.date(&mut subjects);
    let lines: Vec<Line> = subjects.iter().flat_map(|subject| subject.lines.iter().copied()).collect();
    let planned = pricer.needs(&subjects, Calls::planned);
    let least = pricer.needs(&subjects, Calls::least);
    let fits = |needs: &BTreeMap<Source, Needs>| {
        needs.iter().map(|(source, needs)| pricer.purse(*source).fits(needs)).max().unwrap_or(Fits::Today)
    };
    let total: Calls = lines.iter().map(|line| line.calls).sum();
    Price {
        dt: survey.dt,
        today: survey.today,
        total,
        endpoints: by_endpoint(&lines),
        gateways: pricer.gateways(&lines, &planned),
        fits_least: fits(&least),
        fits_most: total.most().map(|_| fits(&planned)),
        alternatives: pricer.alternatives(modes),
        subjects,
    }
}

fn by_endpoint(lines: &[Line]) -> Vec<Line> {
    let mut sums: Vec<Line> = Vec::new();
    for line in lines {
        match sums.iter_mut().find(|sum| (sum.source, sum.endpoint) == (line.source, line.endpoint)) {
            Some(sum) => sum.calls = sum.calls + line.calls,
            None => sums.push(*line),
        }
    }
    let place = |line: &Line| crate::config::gateway::ENDPOINTS.iter().position(|name| *name == line.endpoint);
    sums.sort_by_key(|line| (line.source, place(line)));
    sums
}

struct Pricer<'a> {
    pipeline: &'a Pipeline,
    survey: &'a Survey,
    shelf: Option<Shelf>,
}

impl<'a> Pricer<'a> {
    fn new(pipeline: &'a Pipeline, survey: &'a Survey) -> Self {
        let endpoints = &pipeline.gateway.endpoints;
        let categories = endpoints.contains_key("categories");
        Self { pipeline, survey, shelf: endpoints.get("listing").map(|listing| Shelf::new(listing, categories)) }
    }

    fn modes(&self) -> Modes {
        let fetch = &self.pipeline.fetch;
        let details = if self.details().is_some() { fetch.details } else { FetchDetails::Off };
        Modes { listing: fetch.listing, skus: self.survey.work.skus, details }
    }

    /// Who gives details of listed offers, and how many a call holds.
    fn details(&self) -> Option<(Source, u64)> {
        let (source, gateway) = match &self.pipeline.details {
            Some(details) => (Source::Details, &details.gateway),
            None => (Source::Listing, &self.pipeline.gateway),
        };
        batch(gateway).map(|batch| (source, batch))
    }

    fn purse(&self, source: Source) -> Purse<'a> {
        let accounts = match source {
            Source::Listing => &self.survey.accounts,
            Source::Details => &self.survey.detail_accounts,
        };
        Purse { accounts, choice: self.pipeline.account_choice, today: self.survey.today }
    }

    fn gateway(&self, source: Source) -> &'a Gateway {
        match (source, &self.pipeline.details) {
            (Source::Details, Some(details)) => &details.gateway,
            _ => &self.pipeline.gateway,
        }
    }

    fn id(&self, shop: &'a ShopWork) -> Option<&'a str> {
        let survey = self.survey;
        let by_url = |url: &String| survey.ids_by_url.get(url).or_else(|| survey.known.ids_by_url.get(url));
        shop.shop.id.as_ref().or_else(|| shop.shop.url.as_ref().and_then(by_url)).map(String::as_str)
    }

    fn known(&self, id: Option<&str>) -> Option<&'a KnownShop> {
        id.and_then(|id| self.survey.known.shops.get(id))
    }

    fn offers(&self, id: Option<&str>) -> Offers {
        if let Some(count) = id.and_then(|id| self.survey.counts.get(id)) {
            return Offers::Counted(*count);
        }
        let Some(known) = self.known(id) else { return Offers::Unknown };
        let held = u64::try_from(known.offers.len()).ok().filter(|held| *held > 0);
        known.official_count.or(held).map_or(Offers::Unknown, Offers::Before)
    }

    fn subjects(&self, modes: Modes) -> Vec<SubjectPrice> {
        let mut shops: Vec<&ShopWork> = self.survey.work.shops.iter().collect();
        if self.pipeline.on_quota == OnQuota::Continue {
            // The stalest shops go first; those of which nothing is known are the stalest.
            shops.sort_by_key(|shop| self.known(self.id(shop)).and_then(|known| known.finished_at));
        }
        let shops = shops.into_iter().filter_map(|shop| self.shop(shop, modes));
        shops.chain(self.items(modes)).collect()
    }

    fn shop(&self, work: &'a ShopWork, modes: Modes) -> Option<SubjectPrice> {
        let shelf = self.shelf.as_ref()?;
        let listing = self.pipeline.gateway.endpoints.get("listing")?;
        let id = self.id(work);
        let (known, offers) = (self.known(id), self.offers(id));
        let full_days = self.pipeline.fetch.full_days;
        let changes_only =
            modes.listing == FetchListing::Changed && rules::lists_changes(listing, full_days, known, self.survey.dt);
        let off_sale = self.pipeline.gateway.endpoints.contains_key("off_sale");
        let line = |endpoint, calls| Line { source: Source::Listing, endpoint, calls };
        let when = |asked, calls| if asked { calls } else { Calls::ZERO };
        let mut lines = vec![
            line("shop", when(work.id == ShopIdFrom::Gateway && id.is_none(), Calls::exact(1))),
            line("count", when(work.count == CountFrom::Endpoint, Calls::exact(1))),
            line("categories", rules::categories(shelf, offers)),
            line("listing", if changes_only { rules::changed(shelf, offers) } else { rules::whole(shelf, offers) }),
            line("off_sale", when(changes_only && off_sale, Calls::estimate(1, 1))),
        ];
        let held = known.map_or_else(Held::default, |known| Held::of(known.offers.values()));
        if let Some((source, batch)) = self.details() {
            let asked = rules::details(modes.details, shelf, offers, held);
            let asked = if changes_only { asked.or_fewer() } else { asked };
            lines.push(Line { source, endpoint: "item", calls: asked.in_batches(batch) });
        }
        lines.push(line("sku", rules::skus(modes.skus, rules::shown(shelf, offers), held)));
        let subject = Subject::Shop { shop: work.shop.clone(), id: id.map(str::to_owned), changes_only };
        Some(SubjectPrice::new(subject, offers, lines))
    }

    fn items(&self, modes: Modes) -> Option<SubjectPrice> {
        let items = &self.survey.work.items;
        let asked = u64::try_from(items.len()).ok().filter(|asked| *asked > 0)?;
        let known = self.survey.known.shops.values().flat_map(|shop| &shop.offers);
        let known: HashMap<i64, _> = known.map(|(id, offer)| (*id, offer)).collect();
        let held = Held::of(items.iter().filter_map(|item| known.get(item).copied()));
        let batch = batch(&self.pipeline.gateway).unwrap_or(1);
        let line = |endpoint, calls| Line { source: Source::Listing, endpoint, calls };
        let lines = vec![
            line("item", Calls::exact(asked).in_batches(batch)),
            line("sku", rules::skus(modes.skus, Calls::exact(asked), held)),
        ];
        Some(SubjectPrice::new(Subject::Items, Offers::Counted(asked), lines))
    }

    /// The scope of the calls of a line about a subject.
    fn scope(&self, subject: &Subject, line: &Line) -> String {
        let shop = match subject {
            Subject::Shop { shop, id, .. } => id.as_deref().or(shop.url.as_deref()),
            Subject::Items => None,
        };
        scope(self.gateway(line.source).limits.quota_scope, line.endpoint, shop)
    }

    fn needs(&self, subjects: &[SubjectPrice], number: fn(Calls) -> u64) -> BTreeMap<Source, Needs> {
        let mut needs: BTreeMap<Source, Needs> = BTreeMap::new();
        for subject in subjects {
            for line in &subject.lines {
                let scope = self.scope(&subject.subject, line);
                *needs.entry(line.source).or_default().entry(scope).or_default() += number(line.calls);
            }
        }
        needs
    }

    /// Says of each subject when its last call is made.
    fn date(&self, subjects: &mut [SubjectPrice]) {
        let mut sums: BTreeMap<(Source, String), u64> = BTreeMap::new();
        for subject in subjects {
            let mut days = vec![Some(self.survey.today)];
            for line in &subject.lines {
                let scope = self.scope(&subject.subject, line);
                let sum = sums.entry((line.source, scope.clone())).or_default();
                *sum = sum.saturating_add(line.calls.planned());
                days.push(self.purse(line.source).done_on(&scope, *sum));
            }
            subject.done_on = days.into_iter().collect::<Option<Vec<_>>>().and_then(|days| days.into_iter().max());
        }
    }

    fn gateways(&self, lines: &[Line], needs: &BTreeMap<Source, Needs>) -> Vec<GatewayPrice> {
        let none = Needs::new();
        let price = |source| {
            let (gateway, purse) = (self.gateway(source), self.purse(source));
            let needs = needs.get(&source).unwrap_or(&none);
            let calls: Calls = lines.iter().filter(|line| line.source == source).map(|line| line.calls).sum();
            let shares = purse.shares(needs);
            GatewayPrice {
                source,
                name: gateway.name.clone(),
                calls,
                cost: cost(gateway, calls),
                time: purse.time(&gateway.limits, &shares, calls.planned()),
                accounts: self.accounts(source, needs, &shares),
            }
        };
        let details = self.pipeline.details.is_some().then_some(Source::Details);
        [Some(Source::Listing), details].into_iter().flatten().map(price).collect()
    }

    fn accounts(&self, source: Source, needs: &Needs, shares: &[u64]) -> Vec<AccountPrice> {
        let today = self.survey.today;
        let price = |(account, takes): (&AccountQuota, &u64)| AccountPrice {
            name: account.name.clone(),
            calls_per_day: account.calls_per_day,
            left: needs.keys().filter_map(|scope| account.left(scope, today, today)).min(),
            takes: *takes,
        };
        self.purse(source).accounts.iter().zip(shares).map(price).collect()
    }

    fn alternatives(&self, set: Modes) -> Vec<Alternative> {
        let endpoints = &self.pipeline.gateway.endpoints;
        let shops = !self.survey.work.shops.is_empty();
        let mut alternatives = Vec::new();
        let mut add = |setting, value, modes: Modes, counts: &dyn Fn(&Subject, &Line) -> bool| {
            let subjects = self.subjects(modes);
            let lines = subjects.iter().flat_map(|subject| subject.lines.iter().map(move |line| (subject, line)));
            let calls = lines.filter(|(subject, line)| counts(&subject.subject, line)).map(|(_, line)| line.calls);
            alternatives.push(Alternative { setting, value, calls: calls.sum(), is_set: modes == set });
        };
        if shops && endpoints.get("listing").is_some_and(|listing| listing.window.is_some()) {
            for (value, listing) in [("all", FetchListing::All), ("changed", FetchListing::Changed)] {
                let counts = |_: &Subject, line: &Line| !matches!(line.endpoint, "shop" | "item" | "sku");
                add("listing", value, Modes { listing, ..set }, &counts);
            }
        }
        if shops && self.details().is_some() {
            for (value, details) in DETAILS {
                let counts = |subject: &Subject, line: &Line| line.endpoint == "item" && *subject != Subject::Items;
                add("details", value, Modes { details, ..set }, &counts);
            }
        }
        if endpoints.contains_key("sku") {
            for (value, skus) in DETAILS {
                add("skus", value, Modes { skus, ..set }, &|_, line| line.endpoint == "sku");
            }
        }
        alternatives
    }
}

const DETAILS: [(&str, FetchDetails); 4] = [
    ("off", FetchDetails::Off),
    ("missing", FetchDetails::Missing),
    ("changed", FetchDetails::Changed),
    ("all", FetchDetails::All),
];

impl SubjectPrice {
    fn new(subject: Subject, offers: Offers, mut lines: Vec<Line>) -> Self {
        lines.retain(|line| line.calls != Calls::ZERO);
        let calls = lines.iter().map(|line| line.calls).sum();
        Self { subject, offers, lines, calls, done_on: None }
    }
}

/// How many offers a call for details holds; `None`: the gateway gives none.
fn batch(gateway: &Gateway) -> Option<u64> {
    gateway.endpoints.get("item").map(|item| item.batch.map_or(1, u64::from))
}

fn cost(gateway: &Gateway, calls: Calls) -> Option<Cost> {
    let price = gateway.limits.price_per_call.as_ref()?;
    let times = |calls: u64| {
        let units = i128::from(price.amount.units()) * i128::from(calls);
        i64::try_from(units).ok().map(Money::from_units)
    };
    Some(Cost { currency: price.currency.clone(), least: times(calls.least())?, most: calls.most().and_then(times) })
}

#[cfg(test)]
mod tests;
