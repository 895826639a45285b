//! From a survey to the lines of a price: each shop's questions, their scopes, their accounts, the other choices.
//!
//! Invariant: pure.

use std::collections::HashSet;

use crate::base::Money;
use crate::config::Pipeline;
use crate::config::gateway::{Gateway, QuotaScope, TOKEN};
use crate::config::pipeline::{Account, FetchDetails, FetchListing, OnQuota};
use crate::plan::{CountFrom, KnownShop, ShopIdFrom, ShopWork};

use super::quota::{Needs, Over, Portion, Purse, Shares, scope};
use super::rules::{self, Held, Offers, Shelf};
use super::{
    AccountPrice, AccountQuota, Again, Alternative, Answered, Assumption, Calls, Cost, CountedBy, DetailsLeft,
    Exactness, GatewayPrice, Line, Source, Start, Subject, SubjectPrice, Survey, TooMany,
};

/// Choices in `[fetch]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Modes {
    listing: FetchListing,
    skus: FetchDetails,
    details: FetchDetails,
}

const DETAILS: [(&str, FetchDetails); 4] = [
    ("off", FetchDetails::Off),
    ("missing", FetchDetails::Missing),
    ("changed", FetchDetails::Changed),
    ("all", FetchDetails::All),
];

/// Prices one pipeline by one survey.
pub(super) struct Pricer<'a> {
    pipeline: &'a Pipeline,
    survey: &'a Survey,
    shelf: Option<Shelf>,
    /// Places of shops that another place of the work stands for.
    again: HashSet<usize>,
    /// Places of shops whose bought counts may not hold any more when they are listed.
    late: HashSet<usize>,
}

impl<'a> Pricer<'a> {
    pub(super) fn new(pipeline: &'a Pipeline, survey: &'a Survey, late: HashSet<usize>) -> Self {
        let endpoints = &pipeline.gateway.endpoints;
        let asks_for = (endpoints.contains_key("categories"), endpoints.contains_key("count"));
        let shelf = endpoints.get("listing").map(|listing| Shelf::new(listing, asks_for));
        Self { pipeline, survey, shelf, again: again(survey), late }
    }

    /// The shops that are named twice.
    pub(super) fn again(&self) -> Vec<Again> {
        let shops = self.survey.work.shops.iter().enumerate().filter(|(place, _)| self.again.contains(place));
        let named = |(_, work): (usize, &'a ShopWork)| {
            Some(Again { shop: work.shop.clone(), id: id_today(self.survey, work)?.to_owned() })
        };
        shops.filter_map(named).collect()
    }

    pub(super) fn modes(&self) -> Modes {
        let fetch = &self.pipeline.fetch;
        let work = &self.survey.work;
        let details = if self.details().is_some() { work.details } else { FetchDetails::Off };
        Modes { listing: fetch.listing, skus: work.skus, details }
    }

    /// Who gives details, and how many offers a call holds.
    fn details(&self) -> Option<(Source, u64)> {
        let (source, gateway) = match &self.pipeline.details {
            Some(details) => (Source::Details, &details.gateway),
            None => (Source::Listing, &self.pipeline.gateway),
        };
        batch(gateway).map(|batch| (source, batch))
    }

    pub(super) fn purse(&self) -> Purse<'a> {
        Purse {
            listing: &self.survey.accounts,
            details: &self.survey.detail_accounts,
            choice: self.pipeline.account_choice,
            today: self.survey.today,
        }
    }

    fn gateway(&self, source: Source) -> &'a Gateway {
        match (source, &self.pipeline.details) {
            (Source::Details, Some(details)) => &details.gateway,
            _ => &self.pipeline.gateway,
        }
    }

    /// A shop's id: given, cached, or as the picture of the day or the one before knew it.
    fn id(&self, shop: &'a ShopWork) -> Option<&'a str> {
        let Survey { picture, known, .. } = self.survey;
        let pictured = || {
            let url = shop.shop.url.as_ref()?;
            picture.ids_by_url.get(url).or_else(|| known.ids_by_url.get(url)).map(String::as_str)
        };
        id_today(self.survey, shop).or_else(pictured)
    }

    /// A shop as the picture of the day shows it, where it is fetched once more.
    fn pictured(&self, id: Option<&str>) -> Option<&'a KnownShop> {
        id.and_then(|id| self.survey.picture.shops.get(id))
    }

    fn known(&self, id: Option<&str>) -> Option<&'a KnownShop> {
        id.and_then(|id| self.survey.known.shops.get(id))
    }

    fn offers(&self, place: usize, id: Option<&str>) -> Offers {
        if let Some(count) = self.survey.counts.get(&place) {
            return Offers::Counted(*count);
        }
        if let Some(count) = self.survey.earlier_counts.get(&place) {
            return Offers::Earlier(*count);
        }
        let held = |shop: &KnownShop| u64::try_from(shop.offers.len()).ok().filter(|held| *held > 0);
        // What an incomplete picture of the day holds is less than there is.
        let pictured =
            |shop: &KnownShop| shop.official_count.or_else(|| held(shop).filter(|_| shop.whole_dt.is_some()));
        let today = self.pictured(id).and_then(pictured).map(Offers::Earlier);
        let before = || self.known(id).and_then(|shop| shop.official_count.or(held(shop))).map(Offers::Before);
        today.or_else(before).unwrap_or(Offers::Unknown)
    }

    pub(super) fn subjects(&self, modes: Modes) -> Vec<SubjectPrice> {
        let shops = self.survey.work.shops.iter().enumerate();
        let mut shops: Vec<(usize, &ShopWork)> = shops.filter(|(place, _)| !self.again.contains(place)).collect();
        if self.pipeline.on_quota == OnQuota::Continue {
            // The stalest shops go first; those of which nothing is known are the stalest.
            shops.sort_by_key(|(_, shop)| self.known(self.id(shop)).and_then(|known| known.finished_at));
        }
        let mut answered = self.survey.answered.clone();
        let shops = shops.into_iter().filter_map(|(place, shop)| self.shop(place, shop, modes, &mut answered));
        let mut subjects: Vec<SubjectPrice> = shops.collect();
        subjects.extend(self.items(modes, &mut answered));
        subjects
    }

    fn shop(&self, place: usize, work: &'a ShopWork, modes: Modes, answered: &mut Answered) -> Option<SubjectPrice> {
        let shelf = self.shelf.as_ref()?;
        let id = self.id(work);
        let (known, offers) = (self.known(id), self.offers(place, id));
        let changes_only = self.lists_changes(work, modes, known);
        let endpoints = &self.pipeline.gateway.endpoints;
        let off_sale = endpoints.get("off_sale").is_some_and(|endpoint| endpoint.window.is_some());
        // Only a cached answer saves the call: the picture before may be wrong by now.
        let cached = work.shop.url.as_ref().is_some_and(|url| self.survey.free_ids.contains(url));
        let to_ask = !self.survey.is_under_way;
        let to_count = to_ask && !self.survey.free_counts.contains(&place);
        let count = if self.late.contains(&place) { Calls::between(0, 1) } else { Calls::exact(to_count.into()) };
        // One that an earlier day told may be asked for once more.
        let was_counted = self.survey.is_late && id.is_some_and(|id| self.has_answered("count", id));
        let count = if was_counted { count + Calls::between(0, 1) } else { count };
        let line = |endpoint, calls| Line { source: Source::Listing, endpoint, calls };
        let when = |asked, calls| if asked { calls } else { Calls::ZERO };
        let whole = rules::whole_again(shelf, offers, known.map_or(0, |known| known.pages));
        let pages = if changes_only { rules::changed(whole) } else { whole };
        let may_lag = known.is_some_and(|known| !known.offers.is_empty()) || self.survey.is_late;
        let may_go_on = !changes_only && may_lag && shelf.is_filled_by(offers);
        let pages = if may_go_on { pages + Calls::between(0, 1) } else { pages };
        let mut lines = vec![
            line("shop", when(to_ask && work.id == ShopIdFrom::Gateway && !cached, Calls::exact(1))),
            line("count", when(work.count == CountFrom::Endpoint, count)),
            line("categories", rules::categories(shelf, offers)),
            line("listing", pages),
            line("off_sale", when(changes_only && off_sale, rules::off_sale(whole))),
        ];
        let held = known.map_or_else(Held::default, |known| Held::of(known.offers.values()));
        if let Some((source, batch)) = self.details() {
            let asked = rules::details(modes.details, shelf, offers, held);
            let asked = if changes_only { asked.or_fewer() } else { asked };
            lines.push(Line { source, endpoint: "item", calls: asked.in_batches(batch, rules::newcomers) });
        }
        let pictured = self.pictured(id).map_or(held, |shop| Held::of(shop.offers.values()));
        let named = self.pictured(id).or(known).map_or((0, 0), |shop| shop.named_skus);
        let named = Held { with_skus: named.0, skus: named.1, ..Held::default() };
        let usual = [held, pictured].into_iter().find(|held| held.with_skus > 0).unwrap_or(named);
        lines.push(line("sku", rules::skus(modes.skus, rules::shown(shelf, offers), (held, usual))));
        spare(&mut lines, id, answered);
        let left = self.survey.details.get(&Some(place)).copied();
        let is_listed = left.is_some_and(|left| left.is_all) && modes.listing == self.modes().listing;
        if is_listed {
            lines.retain(|line| matches!(line.endpoint, "item" | "sku"));
        }
        let is_new = known.is_none_or(|shop| shop.offers.is_empty());
        left.into_iter().for_each(|left| self.correct(&mut lines, left, (modes, left.is_all), is_new));
        if !to_count && work.count == CountFrom::Listing && !is_listed {
            // The first page was asked for to learn the total. Where an earlier start has landed it, it is spared by now.
            let landed = id.is_some_and(|id| self.has_answered("listing", id));
            let first = lines.iter_mut().find(|line| line.endpoint == "listing").filter(|_| !landed);
            first.into_iter().for_each(|line| line.calls = line.calls.less(1));
        }
        if rules::is_open_ended(shelf, offers) && id.is_some_and(|id| self.has_answered("listing", id)) {
            // It took as many pages as it was to take, and the run is not finished: nobody knows how many are left.
            let all = lines.iter_mut().find(|line| line.endpoint == "listing" && line.calls.most() == Some(0));
            all.into_iter().for_each(|line| line.calls = Calls::at_least(0));
        }
        let subject = Subject::Shop { place, shop: work.shop.clone(), id: id.map(str::to_owned), changes_only };
        Some(SubjectPrice::new(subject, offers, lines).expecting(self.usual(id, changes_only, to_count)))
    }

    /// Puts the details that are left of what was named in the place of what they were reckoned to be. Another choice than
    /// the pipeline's may ask for others; of a shop that `is_new` each asks for all. `names_items`: every offer to ask for is
    /// named.
    fn correct(&self, lines: &mut [Line], left: DetailsLeft, (modes, names_items): (Modes, bool), is_new: bool) {
        let asks_skus = |modes: Modes| modes.skus != FetchDetails::Off;
        let same_skus = modes.skus == self.modes().skus || is_new && asks_skus(modes) && asks_skus(self.modes());
        let batch = self.details().map_or(1, |(_, batch)| batch);
        for line in lines {
            match line.endpoint {
                "item" if names_items && modes.details == self.modes().details => {
                    line.calls = rules::items_left(left, batch);
                }
                "sku" if left.is_all && same_skus => line.calls = Calls::exact(left.skus),
                "sku" if same_skus => line.calls = line.calls.no_fewer_than(left.skus),
                _ => {}
            }
        }
    }

    /// What a whole run needed for a shop on the last nights on which it was listed in the same way: the median.
    fn usual(&self, id: Option<&str>, changes_only: bool, to_count: bool) -> Option<u64> {
        if matches!(self.survey.start, Start::GoesOn { .. } | Start::Retries { .. }) {
            return None;
        }
        let nights = self.survey.nights.get(id?)?.iter().filter(|night| night.changes_only == changes_only);
        let mut calls: Vec<u64> = nights.map(|night| night.calls).collect();
        calls.sort_unstable();
        let median = calls.get(calls.len() / 2)?;
        // The count (or the first page, which gives it) is in it.
        Some(median.saturating_sub(u64::from(!to_count)))
    }

    fn has_answered(&self, endpoint: &str, shop: &str) -> bool {
        let key = (Source::Listing, endpoint.to_owned(), Some(shop.to_owned()));
        self.survey.answered.contains_key(&key)
    }

    /// Whether a shop is listed by what changed: nothing but its official count proves that nothing was missed.
    fn lists_changes(&self, work: &ShopWork, modes: Modes, known: Option<&KnownShop>) -> bool {
        let listing = self.pipeline.gateway.endpoints.get("listing");
        let full_days = self.pipeline.fetch.full_days;
        modes.listing == FetchListing::Changed
            && ![modes.skus, modes.details].contains(&FetchDetails::All)
            && work.count == CountFrom::Endpoint
            && listing.is_some_and(|listing| rules::lists_changes(listing, full_days, known, self.survey.dt))
    }

    fn items(&self, modes: Modes, answered: &mut Answered) -> Option<SubjectPrice> {
        let items = &self.survey.work.items;
        let asked = u64::try_from(items.len()).ok().filter(|asked| *asked > 0)?;
        let known = |item: &i64| self.survey.known.shops.values().find_map(|shop| shop.offers.get(*item));
        let is_new = items.iter().all(|item| known(item).is_none());
        let held = Held::of(items.iter().filter_map(known));
        let (source, batch) = self.details()?;
        let skus = rules::skus(modes.skus, Calls::exact(asked), (held, held));
        // What nobody answered for once may keep every call from being answered.
        let is_retry = matches!(self.survey.start, Start::Retries { .. });
        let open = |offers| if is_retry { offers } else { rules::newcomers(offers) };
        let mut lines = vec![
            Line { source, endpoint: "item", calls: Calls::exact(asked).in_batches(batch, open) },
            Line { source: Source::Listing, endpoint: "sku", calls: skus },
        ];
        spare(&mut lines, None, answered);
        let left = self.survey.details.get(&None);
        // Whatever `[fetch]` says, single offers are asked for, and all of them are known.
        let set = Modes { details: self.modes().details, ..modes };
        left.into_iter().for_each(|left| self.correct(&mut lines, *left, (set, true), is_new));
        Some(SubjectPrice::new(Subject::Items, Offers::Counted(asked), lines))
    }

    /// What the most takes for granted of the shops that are still to be listed.
    pub(super) fn assumptions(&self, subjects: &[SubjectPrice]) -> Vec<Assumption> {
        let open = |subject: &&SubjectPrice| {
            let mut lines = subject.lines.iter();
            lines.any(|line| line.endpoint == "listing" && line.calls.exactness() == Exactness::Estimate)
        };
        let shops =
            |known: fn(Offers) -> bool| subjects.iter().filter(open).filter(|subject| known(subject.offers)).count();
        let unknown = shops(|offers| offers == Offers::Unknown);
        let before = shops(|offers| matches!(offers, Offers::Earlier(_) | Offers::Before(_)));
        // Of a counted shop the listing is known, and the details are reckoned from the count.
        let counted = subjects.iter().filter(|subject| self.reckons_details(subject)).count();
        let before = before + counted;
        let from = self.shelf.as_ref().and_then(Shelf::goes_on_from).filter(|_| unknown > 0);
        let smaller = from.map(|offers| Assumption::Smaller { shops: unknown, offers });
        let hardly_grown = (before > 0).then_some(Assumption::HardlyGrown { shops: before });
        let may_be_split = |subject: &&SubjectPrice| self.may_be_split_anew(subject);
        let whole = subjects.iter().filter(open).filter(may_be_split).count();
        let from = self.shelf.as_ref().and_then(Shelf::goes_on_from).filter(|_| whole > 0);
        let unsplit = from.map(|offers| Assumption::Unsplit { shops: whole, offers });
        let share = |line: &Line| line.endpoint == "item" && line.calls.exactness() == Exactness::Estimate;
        let shares = |line: &Line| share(line) && batch(self.gateway(line.source)).is_some_and(|batch| batch > 1);
        let shared = subjects.iter().flat_map(|subject| &subject.lines).any(shares);
        let hardly_open = shared.then_some(Assumption::HardlyOpen);
        smaller.into_iter().chain(unsplit).chain(hardly_grown).chain(hardly_open).collect()
    }

    /// Whether a shop may have to be split by category, and no whole listing has told what that takes.
    fn may_be_split_anew(&self, subject: &SubjectPrice) -> bool {
        let Subject::Shop { id, .. } = &subject.subject else { return false };
        let is_told = self.known(id.as_deref()).is_some_and(|known| known.pages > 0);
        !is_told && self.shelf.as_ref().is_some_and(|shelf| rules::may_be_split(shelf, subject.offers))
    }

    /// Whether nothing but a shop's count says how many details it needs.
    fn reckons_details(&self, subject: &SubjectPrice) -> bool {
        let Subject::Shop { place, .. } = subject.subject else { return false };
        let is_named = self.survey.details.get(&Some(place)).is_some_and(|left| left.is_all);
        let estimates = |line: &Line| line.endpoint == "item" && line.calls.exactness() == Exactness::Estimate;
        matches!(subject.offers, Offers::Counted(_)) && !is_named && subject.lines.iter().any(estimates)
    }

    /// Names the calls that no day allows.
    pub(super) fn too_many(&self, subjects: &[SubjectPrice], over: Over<'_>) -> TooMany {
        let Over { subject, portion, calls, calls_per_day } = over;
        let of = match (self.gateway(portion.source).limits.quota_scope, &subjects[subject].subject) {
            (QuotaScope::Shop, Subject::Shop { shop, id, .. }) => {
                let called = [&shop.name, id, &shop.url].into_iter().flatten().next();
                called.map(|name| CountedBy::Shop(name.clone()))
            }
            (QuotaScope::Endpoint, _) => Some(CountedBy::Endpoint(portion.endpoint)),
            (QuotaScope::Shop | QuotaScope::Account, _) => None,
        };
        TooMany { of, calls, calls_per_day }
    }

    /// The access tokens of the accounts that take part. How long the gateway lets one live, only its answer says.
    pub(super) fn tokens(&self, subjects: &[SubjectPrice]) -> Option<SubjectPrice> {
        if self.survey.is_under_way {
            // It has them.
            return None;
        }
        let needs = self.needs(subjects, Calls::planned);
        let shares = self.purse().shares(&needs);
        let asked = |source: &Source| needs.iter().flatten().any(|portion| portion.source == *source);
        let sources = [Source::Listing, Source::Details].into_iter().filter(asked);
        let lines: Vec<Line> = sources.filter_map(|source| self.tokens_of(source, shares.of(source))).collect();
        (!lines.is_empty()).then(|| SubjectPrice::new(Subject::Tokens, Offers::Counted(0), lines))
    }

    fn tokens_of(&self, source: Source, shares: &[u64]) -> Option<Line> {
        let rules = self.gateway(source).token.as_ref()?;
        let accounts = match (source, &self.pipeline.details) {
            (Source::Details, Some(details)) => &details.accounts,
            _ => &self.pipeline.accounts,
        };
        let takes_part = |(place, share): (usize, &u64)| *share > 0 || place == 0;
        let token = |account: &Account| match account.credentials.contains_key(&rules.needs) {
            false => Calls::ZERO,
            // The token that is given may still be good.
            true if account.credentials.contains_key(&rules.credential) => Calls::estimate(0, 1),
            true => Calls::estimate(1, 1),
        };
        let calls: Calls = accounts
            .iter()
            .zip(shares.iter().enumerate())
            .filter(|(_, share)| takes_part(*share))
            .map(|(account, _)| token(account))
            .sum();
        (calls != Calls::ZERO).then_some(Line { source, endpoint: TOKEN, calls })
    }

    /// The scope of the calls of a line about a subject.
    fn scope(&self, subject: &Subject, line: &Line) -> String {
        let shop = match subject {
            // Whoever asks for an id does not know it yet.
            Subject::Shop { shop, id, .. } if line.endpoint != "shop" => id.as_deref().or(shop.url.as_deref()),
            _ => None,
        };
        scope(self.gateway(line.source), line.endpoint, shop)
    }

    pub(super) fn needs(&self, subjects: &[SubjectPrice], number: fn(Calls) -> u64) -> Needs {
        let portion = |subject: &Subject, line: &Line| Portion {
            source: line.source,
            endpoint: line.endpoint,
            scope: self.scope(subject, line),
            calls: number(line.calls),
        };
        let portions = |subject: &SubjectPrice| {
            subject.lines.iter().map(|line| portion(&subject.subject, line)).collect::<Vec<_>>()
        };
        subjects.iter().map(portions).collect()
    }

    pub(super) fn gateways(&self, lines: &[Line], needs: &Needs) -> Vec<GatewayPrice> {
        let purse = self.purse();
        let shares = purse.shares(needs);
        let price = |source| {
            let gateway = self.gateway(source);
            let calls: Calls = lines.iter().filter(|line| line.source == source).map(|line| line.calls).sum();
            let portions = needs.iter().flatten().filter(|portion| portion.source == source);
            GatewayPrice {
                source,
                name: gateway.name.clone(),
                calls,
                cost: cost(gateway, calls),
                time: purse.time(source, &gateway.limits, &shares, portions.map(|portion| portion.calls).sum()),
                accounts: self.accounts(source, needs, &shares),
            }
        };
        let details = self.pipeline.details.is_some().then_some(Source::Details);
        [Some(Source::Listing), details].into_iter().flatten().map(price).collect()
    }

    fn accounts(&self, source: Source, needs: &Needs, shares: &Shares) -> Vec<AccountPrice> {
        let purse = self.purse();
        let portions: Vec<&Portion> = needs.iter().flatten().filter(|portion| portion.source == source).collect();
        let shared = self.pipeline.shared_keys();
        // Where no call is left to make, an account's day is still told if it is one for all calls.
        let price = |(account, takes): (&AccountQuota, &u64)| AccountPrice {
            name: account.name.clone(),
            calls_per_day: account.calls_per_day,
            left: match portions.is_empty() {
                true => purse.left_of_all(account),
                false => portions.iter().filter_map(|portion| purse.left(account, portion)).min(),
            },
            takes: *takes,
            counted_with: shared.iter().find_map(|shared| shared.other(&account.name)).map(|other| other.name.clone()),
            rests: account.rests.clone(),
        };
        purse.of(source).iter().zip(shares.of(source)).map(price).collect()
    }

    pub(super) fn alternatives(&self, set: Modes) -> Vec<Alternative> {
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

/// A shop's id, where it is certain.
fn id_today<'a>(survey: &'a Survey, shop: &'a ShopWork) -> Option<&'a str> {
    let by_url = || survey.ids_by_url.get(shop.shop.url.as_ref()?);
    shop.shop.id.as_ref().or_else(by_url).map(String::as_str)
}

/// The places of shops whose id another place has: one that the pipeline names by it, else an earlier one. A run finds
/// out when it asks for the id; here an id that only the picture before knows proves nothing.
fn again(survey: &Survey) -> HashSet<usize> {
    let shops = &survey.work.shops;
    let mut places: Vec<usize> = (0..shops.len()).collect();
    places.sort_by_key(|&place| (shops[place].shop.id.is_none(), place));
    let mut seen = HashSet::new();
    places.retain(|&place| id_today(survey, &shops[place]).is_some_and(|id| !seen.insert(id)));
    places.into_iter().collect()
}

/// Takes what was answered already off the lines about a shop, or about single offers. Whoever asked for a shop's id did
/// not know it yet.
fn spare(lines: &mut [Line], shop: Option<&str>, answered: &mut Answered) {
    for line in lines {
        let shop = shop.filter(|_| line.endpoint != "shop").map(str::to_owned);
        let Some(made) = answered.get_mut(&(line.source, line.endpoint.to_owned(), shop)) else { continue };
        let spared = line.calls.most().map_or(*made, |most| most.min(*made));
        line.calls = line.calls.less(spared);
        *made -= spared;
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
