//! Price: what a run costs, before it spends a call.
//!
//! Takes a [`Pipeline`] and a [`Survey`] of what is known; gives a [`Price`]: calls by endpoint and shop, each as exactly
//! as it is known, money, time, what each account makes of it, and what does not fit into today.
//!
//! * `calls`: a number of calls that knows how exact it is.
//! * `rules`: what each question costs.
//! * `pricer`: which questions a shop is asked, and what they come to.
//! * `quota`: which account, which day, how long.
//!
//! Faults are not in the price: calls that fail are made again and count again. Nor are answers that caches hold, but
//! for shops' ids, bought counts, and the details of what an unfinished run has listed: with them a run costs less. Which
//! of an account's calls come first matters where two gateways share its key and have different limits: they are reckoned
//! shop by shop, a shop's details after its listing.
//!
//! Invariant: pure. A number that is called exact or proven holds whatever the answers are, as long as all are good ones,
//! the counts are right, and no address turns out to lead to a shop that the pipeline names otherwise, too.

mod calls;
mod pricer;
mod quota;
mod rules;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};

use crate::base::time::beijing_day;
use crate::base::{Error, Kind, Money};
use crate::config::Pipeline;
use crate::config::pipeline::{OnQuota, Shop};
use crate::state::{RestKind, Resting};

pub use calls::{Calls, Exactness};
pub use quota::{AccountQuota, DAYS_MAX, Fits, scope};
pub use rules::Offers;

use super::{Known, Work};
use pricer::Pricer;

/// What is known before a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// The day the run stands for.
    pub dt: NaiveDate,
    /// The Beijing day on which its first call would leave.
    pub today: NaiveDate,
    /// What a start would do.
    pub start: Start,
    /// The work of the run.
    pub work: Work,
    /// The picture before.
    pub known: Known,
    /// The picture of the day itself, where it is published or held: about what fetching it anew finds.
    pub picture: Known,
    /// Shops' ids by address: from the caches, or bought by a probe.
    pub ids_by_url: HashMap<String, String>,
    /// Those addresses whose ids need not be paid for.
    pub free_ids: HashSet<String>,
    /// Shops' official counts of today, by the shop's place in the work.
    pub counts: HashMap<usize, u64>,
    /// Those of them that were bought before the run, which need not be paid for if it begins now.
    pub free_counts: HashSet<usize>,
    /// Their official counts of earlier today, for which the run asks again, in the same way.
    pub earlier_counts: HashMap<usize, u64>,
    /// What shops needed on the last nights, by their ids, the newest first.
    pub nights: HashMap<String, Vec<Night>>,
    /// The details left to ask for of what listings have named already, by the shop's place in the work (`None`: of single
    /// items).
    pub details: HashMap<Option<usize>, DetailsLeft>,
    /// Calls that the run has been answered already: it does not make them again.
    pub answered: Answered,
    /// Whether the run began so long ago that counts it was told then may be asked for once more.
    pub is_late: bool,
    /// Whether the run has asked for ids and counts itself already: no call for them is left to make.
    pub is_under_way: bool,
    /// Calls that a probe has made for it. They are in the accounts' `used` already.
    pub probe_calls: u64,
    /// Why the probe did not ask for everything.
    pub probe_stopped: Option<String>,
    /// The accounts of the pipeline's gateway, in its order.
    pub accounts: Vec<AccountQuota>,
    /// The accounts of the gateway that gives details, where that is another one.
    pub detail_accounts: Vec<AccountQuota>,
}

/// What a shop needed on one night.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Night {
    /// Whether it was listed by what changed, in the beginning at least.
    pub changes_only: bool,
    /// Calls made for it, those included that were made again.
    pub calls: u64,
}

/// Details that are left to ask for of what was named, in calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DetailsLeft {
    /// For details of offers.
    pub items: u64,
    /// The offers that these ask for.
    pub offers: u64,
    /// All offers whose details the run is to ask for.
    pub named: u64,
    /// For details of SKUs.
    pub skus: u64,
    /// No more can be named: the listing, or the last of the single items, is settled.
    pub is_all: bool,
}

/// Answered calls by whose endpoint they went to, and the shop they were about, by its id.
pub type Answered = BTreeMap<(Source, String, Option<String>), u64>;

/// What a start of a pipeline would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Begin a run.
    Begins,
    /// Go on with an unfinished run: what it was answered already is not asked again, and not in the price.
    GoesOn {
        /// The run.
        run_id: String,
    },
    /// Ask once more for what a published day lacks; nothing else is in the price.
    Retries {
        /// Its incomplete shops.
        shops: usize,
        /// Single offers that nobody answered for.
        items: usize,
    },
    /// Nothing: the day is published. The price is that of fetching it once more.
    Published,
    /// Nothing: a run of the day is held. The price is that of fetching it once more.
    Held,
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
        /// Its place in the work.
        place: usize,
        /// As the pipeline names it.
        shop: Shop,
        /// Its id, where it is known.
        id: Option<String>,
        /// Whether it is listed by what changed.
        changes_only: bool,
    },
    /// The single offers.
    Items,
    /// The access tokens that accounts need to ask for anything.
    Tokens,
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
    /// How many it may well be: what the last nights needed, between the least and the most; `None`: no night tells. An
    /// estimate, whatever `calls` is.
    pub expected: Option<u64>,
    /// The Beijing day on which its last call is made, by the number to plan with, when those before it go first; where a
    /// run must finish on one day, the day that allows all of it. `None`: not within a year, or on no one day.
    pub done_on: Option<NaiveDate>,
}

/// A shop that the pipeline names a second time: it is listed once, and this name of it costs nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    /// Its second name.
    pub shop: Shop,
    /// Its id.
    pub id: String,
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
    /// The account of the other gateway that has the same key: the calls of both are counted together.
    pub counted_with: Option<String>,
    /// The rests that keep it from calling now.
    pub rests: Vec<Resting>,
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
    /// How long the calls take at the allowed pace, by the numbers to plan with; nights between days not counted.
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

/// What the greatest number of calls takes for granted, where it is an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assumption {
    /// So many shops, whose size nobody knows, have fewer offers than this.
    Smaller {
        /// Shops.
        shops: usize,
        /// One listing shows no more.
        offers: u64,
    },
    /// So many shops have this many offers or more, and windows of time alone divide them: none has to be split by category.
    Unsplit {
        /// Shops.
        shops: usize,
        /// One listing shows no more.
        offers: u64,
    },
    /// So many shops have grown by no more than a twentieth, and one offer, since they were counted; or show no more than that
    /// beyond their count.
    HardlyGrown {
        /// Shops.
        shops: usize,
    },
    /// No more than a twentieth of a shop's offers, and one, keep calls for several offers from being answered: these are
    /// looked for by halves.
    HardlyOpen,
}

/// Calls that no day allows, because they are counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooMany {
    /// What they are about, or where they go; `None`: everything is counted together.
    pub of: Option<CountedBy>,
    /// How many they are at the least.
    pub calls: u64,
    /// How many a day allows all accounts together.
    pub calls_per_day: u64,
}

/// What calls are counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountedBy {
    /// A shop, as the pipeline calls it.
    Shop(String),
    /// An endpoint, and those that are the same to the gateway.
    Endpoint(&'static str),
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.of {
            Some(CountedBy::Shop(shop)) => write!(f, "shop `{shop}`")?,
            Some(CountedBy::Endpoint(endpoint)) => write!(f, "endpoint `{endpoint}`")?,
            None => f.write_str("it")?,
        }
        write!(f, " needs at least {} calls, and a day allows it {}", self.calls, self.calls_per_day)
    }
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
    /// How many it may well be, where each subject tells.
    pub expected: Option<u64>,
    /// Whether that is what is left of a run that has been answered something already.
    pub is_rest: bool,
    /// By endpoint.
    pub endpoints: Vec<Line>,
    /// By gateway.
    pub gateways: Vec<GatewayPrice>,
    /// By shop, in the order in which they are listed; then single offers, then access tokens.
    pub subjects: Vec<SubjectPrice>,
    /// Shops that are named twice, as far as that is known.
    pub again: Vec<Again>,
    /// When the run fits into one day if it needs the least it can.
    pub fits_least: Fits,
    /// When it does if it needs the most; `None`: nobody knows the most.
    pub fits_most: Option<Fits>,
    /// What the most takes for granted.
    pub assumes: Vec<Assumption>,
    /// Where no day allows even the least: the calls that are too many, where they alone are.
    pub too_many: Option<TooMany>,
    /// The moment of today from which it fits, by the number to plan with, where it does not yet: accounts rest until then.
    pub not_before: Option<DateTime<Utc>>,
    /// What the choices in `[fetch]` cost.
    pub alternatives: Vec<Alternative>,
}

impl Price {
    /// Why a run that must finish today is not started: not even the least that it needs fits.
    ///
    /// [`Kind::Quota`] when another day allows it, [`Kind::Config`] when none does.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        let needs = format!("the run {} {} calls", if self.is_rest { "still needs" } else { "needs" }, self.total);
        let fit = if self.fits_most == Some(self.fits_least) { "they fit on" } else { "at the least they fit on" };
        match self.fits_least {
            Fits::Today => None,
            Fits::On(day) => {
                let (blocked, nobody_can) = self.blocked();
                let hint = match nobody_can {
                    true => "run it then, or let an account ask again once the gateway does: `huopan accounts wake`",
                    false => "run it then, or write `on_quota = \"continue\"` to start today and go on then",
                };
                let needs = format!("{needs}, more than are left today{blocked}; {fit} {day}");
                Some(Error::new(Kind::Quota, needs).with_hint(hint))
            }
            Fits::NoDay => {
                let or_not = if self.is_rest {
                    "; `huopan runs abandon` gives it up, and the next start begins anew"
                } else {
                    ""
                };
                let error = Error::config(format!("{needs}, more than any day allows{}", self.why_no_day()));
                Some(error.with_hint(format!(
                    "write `on_quota = \"continue\"` to spread it over days, ask for less in `[fetch]`, or add accounts{or_not}"
                )))
            }
        }
    }

    /// Who is blocked until after today, and whether that is everybody of a gateway.
    fn blocked(&self) -> (String, bool) {
        let lasts =
            |resting: &&Resting| resting.rest.kind == RestKind::Quota && beijing_day(resting.rest.until) > self.today;
        let blocked = |account: &AccountPrice| {
            let rest = account.rests.iter().filter(lasts).min_by_key(|resting| !resting.scope.is_empty())?;
            Some((format!("`{}` is {}", account.name, rest.rest), rest.scope.is_empty()))
        };
        let (mut named, mut nobody_can) = (Vec::new(), false);
        for gateway in self.gateways.iter().filter(|gateway| gateway.calls != Calls::ZERO) {
            let of_gateway: Vec<(String, bool)> = gateway.accounts.iter().filter_map(blocked).collect();
            let closed = of_gateway.iter().filter(|(_, everywhere)| *everywhere).count();
            nobody_can |= closed == gateway.accounts.len();
            named.extend(of_gateway.into_iter().map(|(rest, _)| rest));
        }
        let named = if named.is_empty() { String::new() } else { format!(": {}", named.join(", ")) };
        (named, nobody_can)
    }

    /// Whose calls are too many for a day, where that is not the run itself.
    fn why_no_day(&self) -> String {
        let part = self.too_many.as_ref().filter(|too_many| too_many.of.is_some());
        part.map(|too_many| format!(": {too_many}")).unwrap_or_default()
    }
}

/// Why a run that must finish today is not started or gone on with, as [`Price::refusal`], at the price of another day.
#[must_use]
pub fn refusal(pipeline: &Pipeline, survey: &Survey) -> Option<Error> {
    let today = start(pipeline, survey).refusal()?;
    Some(start(pipeline, &anew(survey)).refusal().unwrap_or(today))
}

/// What a run costs. When it fits another day is told by what it costs then.
#[must_use]
pub fn price(pipeline: &Pipeline, survey: &Survey) -> Price {
    let today = start(pipeline, survey);
    if pipeline.on_quota == OnQuota::Continue {
        let late = late(&today, survey);
        return if late.is_empty() { today } else { start_with(pipeline, survey, late) };
    }
    if today.fits_least == Fits::Today {
        return today;
    }
    let then = start(pipeline, &anew(survey));
    if then.fits_least == Fits::Today {
        return today;
    }
    let days: Vec<_> = then.subjects.iter().map(|subject| (subject.subject.clone(), subject.done_on)).collect();
    let mut subjects = today.subjects;
    for subject in &mut subjects {
        let day = days.iter().find(|(other, _)| *other == subject.subject).map(|(_, day)| *day);
        subject.done_on = day.unwrap_or(subject.done_on);
    }
    Price { subjects, fits_least: then.fits_least, fits_most: then.fits_most, too_many: then.too_many, ..today }
}

/// The shops that are not listed today, though their counts were bought today: these hold for minutes, until a run takes
/// them for its own.
fn late(today: &Price, survey: &Survey) -> HashSet<usize> {
    let is_late = |subject: &SubjectPrice| match subject.subject {
        Subject::Shop { place, .. } if subject.done_on != Some(survey.today) => Some(place),
        _ => None,
    };
    today.subjects.iter().filter_map(is_late).filter(|place| survey.free_counts.contains(place)).collect()
}

/// What is known on another day: a run pays for counts and ids then, too, whatever was bought today.
fn anew(survey: &Survey) -> Survey {
    Survey { is_under_way: false, free_counts: HashSet::new(), free_ids: HashSet::new(), ..survey.clone() }
}

/// What a run costs that starts now.
fn start(pipeline: &Pipeline, survey: &Survey) -> Price {
    start_with(pipeline, survey, HashSet::new())
}

/// … with the places of shops whose bought counts are out of date by the time that they are listed.
fn start_with(pipeline: &Pipeline, survey: &Survey, late: HashSet<usize>) -> Price {
    let pricer = Pricer::new(pipeline, survey, late);
    let modes = pricer.modes();
    let mut subjects = pricer.subjects(modes);
    subjects.extend(pricer.tokens(&subjects));
    let lines: Vec<Line> = subjects.iter().flat_map(|subject| subject.lines.iter().copied()).collect();
    let (planned, least) = (pricer.needs(&subjects, Calls::planned), pricer.needs(&subjects, Calls::least));
    let purse = pricer.purse();
    let (fits_least, fits_planned) = (purse.fits(&least), purse.fits(&planned));
    // A run that must finish on one day is not spread over several.
    let done_on = match (pipeline.on_quota, fits_planned) {
        (OnQuota::Continue, _) => purse.done_on(&planned),
        (OnQuota::Refuse, Fits::Today) => vec![Some(survey.today); subjects.len()],
        (OnQuota::Refuse, Fits::On(day)) => vec![Some(day); subjects.len()],
        (OnQuota::Refuse, Fits::NoDay) => vec![None; subjects.len()],
    };
    for (subject, day) in subjects.iter_mut().zip(done_on) {
        subject.done_on = day;
    }
    let total: Calls = lines.iter().map(|line| line.calls).sum();
    Price {
        dt: survey.dt,
        today: survey.today,
        total,
        is_rest: !survey.answered.is_empty() || survey.details.values().any(|left| left.is_all),
        expected: subjects.iter().map(expected).sum(),
        endpoints: by_endpoint(&lines),
        gateways: pricer.gateways(&lines, &planned),
        fits_least,
        fits_most: total.most().map(|_| fits_planned),
        assumes: pricer.assumptions(&subjects),
        too_many: purse
            .too_many(&least)
            .filter(|_| fits_least == Fits::NoDay)
            .map(|over| pricer.too_many(&subjects, over)),
        not_before: purse.not_before(&planned),
        alternatives: pricer.alternatives(modes),
        again: pricer.again(),
        subjects,
    }
}

/// What a subject may well need, for the sum: tokens are no matter of nights.
fn expected(subject: &SubjectPrice) -> Option<u64> {
    let of_tokens = (subject.subject == Subject::Tokens).then(|| subject.calls.planned());
    subject.expected.or(of_tokens)
}

fn by_endpoint(lines: &[Line]) -> Vec<Line> {
    let mut sums: Vec<Line> = Vec::new();
    for line in lines {
        match sums.iter_mut().find(|sum| (sum.source, sum.endpoint) == (line.source, line.endpoint)) {
            Some(sum) => sum.calls = sum.calls + line.calls,
            None => sums.push(*line),
        }
    }
    // Those that are no endpoints of a definition come last: tokens.
    let known = crate::config::gateway::ENDPOINTS;
    let place = |line: &Line| known.iter().position(|name| *name == line.endpoint).unwrap_or(known.len());
    sums.sort_by_key(|line| (line.source, place(line)));
    sums
}

impl SubjectPrice {
    fn new(subject: Subject, offers: Offers, mut lines: Vec<Line>) -> Self {
        lines.retain(|line| line.calls != Calls::ZERO);
        let calls: Calls = lines.iter().map(|line| line.calls).sum();
        let expected = calls.most().filter(|_| calls.exactness() == Exactness::Exact);
        Self { subject, offers, lines, calls, expected, done_on: None }
    }

    /// Says what the last nights let one expect, where the number itself is not known.
    fn expecting(self, of_nights: Option<u64>) -> Self {
        let (least, most) = (self.calls.least(), self.calls.most().unwrap_or(u64::MAX));
        let expected = self.expected.or(of_nights.map(|calls| calls.clamp(least, most)));
        Self { expected, ..self }
    }
}

#[cfg(test)]
mod tests;
