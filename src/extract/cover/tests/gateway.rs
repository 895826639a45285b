//! A gateway in miniature, and the loop that lists a shop from it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use chrono::{DateTime, Duration, Utc};

use crate::config::gateway::Paging;
use crate::extract::cover::{Ask, Cover, Failure, Rules, Slice, WindowRules};
use crate::extract::page::{End, Page};

/// The moment all listings begin: 2026-01-01.
pub(super) const UNTIL: i64 = 1_767_225_600_000;
pub(super) const DAY: i64 = 86_400_000;
const BEIJING: i64 = 8 * 3_600_000;

/// Small numbers that look random, the same for the same seed.
#[derive(Debug, Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }

    pub(super) fn time(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.roll(u64::try_from(to - from).unwrap())).unwrap()
    }
}

/// When the offers of a shop were modified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    /// Evenly over four years.
    Uniform,
    /// Most of them in the last months, the rest over ten years.
    Recent,
    /// Three in four at a few imports of 700 to 1 900 offers each.
    Bursts,
    /// So many at one moment, the others evenly.
    Heap(u64),
}

impl Times {
    pub(super) fn of(self, offers: u64, seed: u64) -> Vec<i64> {
        let mut dice = Dice(seed);
        let mut times = Vec::new();
        while (times.len() as u64) < offers {
            match self {
                Times::Uniform => times.push(dice.time(UNTIL - 4 * 365 * DAY, UNTIL)),
                Times::Recent => {
                    let days = [1, 7, 30, 90, 365, 3650][usize::try_from(dice.roll(6)).unwrap()];
                    times.push(dice.time(UNTIL - days * DAY, UNTIL));
                }
                Times::Bursts => {
                    let moment = dice.time(UNTIL - 900 * DAY, UNTIL);
                    let burst = 700 + dice.roll(1200);
                    times.extend((0..burst).map(|_| moment));
                    times.extend((0..burst / 3).map(|_| dice.time(UNTIL - 900 * DAY, UNTIL)));
                }
                Times::Heap(heap) if (times.len() as u64) < heap => times.push(UNTIL - 100 * DAY),
                Times::Heap(_) => times.push(dice.time(UNTIL - 900 * DAY, UNTIL)),
            }
        }
        times.truncate(usize::try_from(offers).unwrap());
        times
    }
}

/// The order of a windowed listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sorted {
    Oldest,
    Newest,
    /// As if by sales: nothing to do with time.
    Mixed,
    /// By id, and ids follow the time roughly.
    NearlyOldest,
}

/// What a gateway gives for the total of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum States {
    Total,
    /// That of the whole shop, whatever is asked for.
    Shop,
    /// The records of the page.
    Page,
}

#[derive(Debug, Clone)]
pub(super) struct Gateway {
    /// By place: time and category.
    pub(super) offers: Vec<(i64, u64)>,
    pub(super) categories: u64,
    pub(super) sorted: Sorted,
    pub(super) has_end: bool,
    pub(super) has_window: bool,
    pub(super) is_stated: bool,
    /// Records show their time in these units, days those of Beijing.
    pub(super) shown: i64,
    pub(super) reads_window: bool,
    pub(super) reads_start: bool,
    pub(super) reads_end: bool,
    pub(super) reads_category: bool,
    /// The first category is the parent of all others.
    pub(super) has_parent: bool,
    /// An offer that shows another time than it is sorted by, and that time.
    pub(super) edited: Option<u64>,
    pub(super) edited_to: i64,
    /// What a page states as its total.
    pub(super) states: States,
    /// Each page lacks its last record.
    pub(super) is_filtered: bool,
    /// A page of a slice of more offers takes too long.
    pub(super) slow_over: usize,
    pub(super) size: usize,
    pub(super) last: u32,
    /// Slices that were listed already.
    pub(super) lists: RefCell<HashMap<String, Rc<Vec<usize>>>>,
}

impl Gateway {
    pub(super) fn new(times: &[i64], categories: u64) -> Self {
        let mut dice = Dice(7);
        Self {
            offers: times.iter().map(|time| (*time, dice.roll(categories))).collect(),
            categories,
            sorted: Sorted::Oldest,
            has_end: false,
            has_window: true,
            is_stated: false,
            shown: 1,
            reads_window: true,
            reads_start: true,
            reads_end: true,
            reads_category: true,
            has_parent: false,
            edited: None,
            edited_to: UNTIL - DAY / 2,
            states: States::Total,
            is_filtered: false,
            slow_over: usize::MAX,
            size: 40,
            last: 50,
            lists: RefCell::default(),
        }
    }

    pub(super) fn rules(&self) -> Rules {
        let paging = Paging {
            number: "pageNum".into(),
            first: 1,
            last: Some(self.last),
            size: Some("pageSize".into()),
            size_max: 40,
        };
        let end = self.has_end.then(|| "end_time".to_owned());
        let window = WindowRules { start: "start_time".to_owned(), end, unit: Duration::milliseconds(1) };
        Rules {
            paging,
            window: self.has_window.then_some(window),
            category: (self.categories > 0).then(|| "cid".to_owned()),
            tolerance: 5,
            from: None,
            until: at(UNTIL),
        }
    }

    /// The offers of a slice, in the gateway's order.
    fn list(&self, slice: &Slice) -> Vec<usize> {
        let (start, end) = (slice.start_at.map(millis), slice.end_at.map(millis));
        let takes = |(time, category): (i64, u64)| {
            let is_after = start.is_none_or(|start| start <= time) || !self.reads_start;
            let in_window = is_after && (end.is_none_or(|end| time <= end) || !self.reads_end);
            let is_parent = |name: &String| self.has_parent && name == "c0";
            let in_category = slice.category.as_ref().is_none_or(|c| is_parent(c) || *c == format!("c{category}"));
            (in_window || !self.reads_window) && (in_category || !self.reads_category)
        };
        let mut list: Vec<usize> = (0..self.offers.len()).filter(|at| takes(self.offers[*at])).collect();
        let is_plain = start.is_none() && end.is_none();
        match self.sorted {
            _ if is_plain => list.sort_by_key(|at| Dice(*at as u64).roll(u64::MAX)),
            Sorted::Mixed => list.sort_by_key(|at| Dice(*at as u64).roll(u64::MAX)),
            Sorted::Oldest => list.sort_by_key(|at| (self.offers[*at].0, *at)),
            Sorted::Newest => list.sort_by_key(|at| (-self.offers[*at].0, *at)),
            Sorted::NearlyOldest => {
                list.sort_by_key(|at| self.offers[*at].0 + Dice(*at as u64).time(0, 20 * DAY));
            }
        }
        list
    }

    fn listed(&self, slice: &Slice) -> Rc<Vec<usize>> {
        let name = format!("{slice:?}");
        let known = self.lists.borrow().get(&name).cloned();
        let list = known.unwrap_or_else(|| Rc::new(self.list(slice)));
        self.lists.borrow_mut().insert(name, list.clone());
        list
    }

    fn is_slow(&self, slice: &Slice) -> bool {
        self.listed(slice).len() > self.slow_over
    }

    pub(super) fn page(&self, slice: &Slice, number: u32) -> Page {
        let list = self.listed(slice);
        let start = (number as usize - 1) * self.size;
        let is_served = number <= self.last && start < list.len();
        let shown = |at: &usize| {
            let time = if self.edited == Some(*at as u64) { self.edited_to } else { self.offers[*at].0 };
            Some((time + BEIJING).div_euclid(self.shown) * self.shown - BEIJING)
        };
        let part = if is_served { &list[start..(start + self.size).min(list.len())] } else { &[] };
        let part = if self.is_filtered { &part[..part.len().saturating_sub(1)] } else { part };
        let stated = match self.states {
            States::Total => list.len(),
            States::Shop => self.offers.len(),
            States::Page => part.len(),
        };
        Page {
            keys: part.iter().map(|at| *at as u64).collect(),
            total: self.is_stated.then_some(stated as u64),
            modified: part.iter().map(shown).map(|time| time.map(at)).collect(),
        }
    }
}

/// How a listing is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    pub(super) workers: usize,
    /// Answers arrive in any order, by this seed; `None`: in the order of asking.
    pub(super) shuffle: Option<u64>,
    pub(super) counted: bool,
    /// Of a thousand pages so many fail, and so many time out.
    pub(super) fail: u64,
    pub(super) time_out: u64,
    pub(super) from: Option<i64>,
}

pub(super) const PLAINLY: How = How { workers: 1, shuffle: None, counted: true, fail: 0, time_out: 0, from: None };

pub(super) struct Listed {
    pub(super) end: End,
    pub(super) calls: usize,
    pub(super) distinct: u64,
    pub(super) asked: BTreeSet<String>,
    /// Calls that took too long.
    pub(super) slow: usize,
    pub(super) cover: Cover,
}

/// Lists a shop. Fails when a call is made twice, or when it goes on for ever.
pub(super) fn list(gateway: &Gateway, how: How) -> Listed {
    let rules = Rules { from: how.from.map(at), ..gateway.rules() };
    let mut cover = Cover::new(rules);
    if how.counted {
        cover.counted(gateway.offers.len() as u64);
    }
    let mut dice = Dice(how.shuffle.unwrap_or(0));
    let (mut asked, mut waiting, mut seen) = (BTreeSet::new(), VecDeque::new(), HashSet::new());
    let mut slow = 0;
    loop {
        while waiting.len() < how.workers
            && let Some(ask) = cover.next()
        {
            assert!(asked.insert(request(&cover, ask)), "asked twice: {}", request(&cover, ask));
            assert!(asked.len() < 20_000, "it goes on for ever");
            waiting.push_back(ask);
        }
        let next = if how.shuffle.is_some() { dice.roll(waiting.len() as u64) } else { 0 };
        let Some(ask) = waiting.remove(usize::try_from(next).unwrap()) else { break };
        let luck = dice.roll(1000);
        match ask {
            Ask::Categories => cover.categories((0..gateway.categories).map(|id| format!("c{id}")).collect()),
            Ask::Page { slice, page } if luck < how.fail + how.time_out => {
                let failure = Failure { reason: "busy".into(), timed_out: luck >= how.fail };
                cover.failed(slice, page, failure);
            }
            Ask::Page { slice, page } if gateway.is_slow(cover.slice(slice)) => {
                slow += 1;
                cover.failed(slice, page, Failure { reason: "late".into(), timed_out: true });
            }
            Ask::Page { slice, page } => {
                let answer = gateway.page(cover.slice(slice), page);
                seen.extend(answer.keys.iter().copied());
                cover.answered(slice, page, &answer).unwrap();
            }
        }
    }
    let end = cover.end().expect("an end");
    assert_eq!(seen.len(), cover.distinct());
    Listed { end, calls: asked.len(), distinct: seen.len() as u64, asked, slow, cover }
}

pub(super) fn request(cover: &Cover, ask: Ask) -> String {
    match ask {
        Ask::Categories => "categories".to_owned(),
        Ask::Page { slice, page } => format!("{:?} page {page}", cover.slice(slice)),
    }
}

pub(super) fn at(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap()
}

fn millis(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}
