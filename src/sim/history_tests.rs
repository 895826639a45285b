use std::collections::{BTreeMap, HashMap, HashSet};

use super::*;
use crate::sim::Options;
use crate::sim::offers::Offer;
use crate::sim::world::{Blueprint, Day};

const SIZE: usize = 5300;

fn date(number: i64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 20).expect("a date") + TimeDelta::days(number)
}

fn shop(history: History, number: i64) -> Vec<Offer> {
    let histories = BTreeMap::from([(1, history)]);
    let blueprint = Blueprint { seed: 1688, mess_per_mille: 300, sizes: &[0, SIZE], histories: &histories };
    Day::build(blueprint, date(number)).shops.pop().expect("a shop").offers
}

fn on_sale(offers: &[Offer]) -> HashMap<i64, &Offer> {
    offers.iter().filter(|offer| offer.is_on_sale).map(|offer| (offer.id, offer)).collect()
}

/// Everything an answer shows but the modified time.
fn shown(offer: &Offer) -> impl PartialEq + std::fmt::Debug + use<> {
    (offer.ladder.clone(), offer.headline_fen, offer.quantity.moq, offer.stock, offer.sales, offer.title.clone())
}

#[test]
fn a_large_shop_is_a_pure_function_of_its_date_and_most_of_it_was_modified_in_the_last_year() {
    let offers = shop(History::default(), 0);
    assert_eq!(offers, shop(History::default(), 0));
    let year_ago = evening_before(0, 0) + (date(-365) - NaiveDate::default());
    let recent = offers.iter().filter(|offer| offer.modified_at > year_ago).count();
    assert!(recent * 10 >= offers.len() * 9, "{recent}");
    let slow = shop(History { changed_per_mille: 1, ..History::default() }, 0);
    let recent = slow.iter().filter(|offer| offer.modified_at > year_ago).count();
    assert!(recent * 2 > slow.len() && recent < slow.len() * 9 / 10, "{recent}");
    let tomorrow = date(0).and_time(chrono::NaiveTime::MIN).and_utc();
    assert!(offers.iter().chain(&slow).all(|offer| offer.modified_at < tomorrow && offer.created_at < tomorrow));
}

#[test]
fn imports_make_bursts_of_modified_times() {
    let mut minutes = HashMap::new();
    for offer in shop(History::default(), 0) {
        *minutes.entry(offer.modified_at.timestamp() / 300).or_insert(0) += 1;
    }
    let most = minutes.values().max().copied().unwrap_or(0);
    assert!(most > 500, "{most} offers in five minutes");
}

#[test]
fn a_night_changes_the_share_that_is_stated_and_the_modified_time_tells_all_of_it() {
    for number in 0..6 {
        let (before, after) = (shop(History::default(), number), shop(History::default(), number + 1));
        let (was, is) = (on_sale(&before), on_sale(&after));
        let since = date(number).and_time(chrono::NaiveTime::MIN).and_utc() - TimeDelta::hours(8);
        let (mut edited, mut new) = (0, 0);
        for (id, offer) in &is {
            match was.get(id) {
                None => new += 1,
                Some(old) if shown(old) != shown(offer) => edited += 1,
                Some(_) => continue,
            }
            assert!(offer.modified_at >= since, "{id}: {}", offer.modified_at);
        }
        let gone: HashSet<i64> = was.keys().filter(|id| !is.contains_key(id)).copied().collect();
        let off_sale: HashSet<i64> =
            after.iter().filter(|o| !o.is_on_sale && o.modified_at >= since).map(|o| o.id).collect();
        assert_eq!(gone, off_sale);
        let changed = edited + new + gone.len();
        assert!((25..=85).contains(&changed), "day {number}: {edited} edited, {new} new, {} gone", gone.len());
        assert!(new > 0 && !gone.is_empty() && edited > new);
    }
}

#[test]
fn silent_edits_leave_the_modified_time_and_vanished_offers_are_never_listed() {
    let silent = History { silent_per_mille: 10, ..History::default() };
    let (before, after) = (shop(silent, 0), shop(silent, 1));
    let was = on_sale(&before);
    let is_silent = |offer: &&Offer| {
        was.get(&offer.id).is_some_and(|old| shown(old) != shown(offer) && old.modified_at == offer.modified_at)
    };
    let edits = after.iter().filter(is_silent).count();
    assert!((20..=90).contains(&edits), "{edits}");
    let vanishing = History { vanishing_per_mille: 1000, ..History::default() };
    let (before, after) = (shop(vanishing, 0), shop(vanishing, 7));
    assert!(before.iter().chain(&after).all(|offer| offer.is_on_sale));
    assert!(on_sale(&before).keys().any(|id| !on_sale(&after).contains_key(id)));
}

#[test]
fn imported_offers_share_one_instant_in_all_categories_or_in_one_and_stay() {
    for (spread, largest) in [(Spread::Categories, 400..2000), (Spread::OneCategory, 3000..3001)] {
        let import = Import { spread, ..Import::of(3000) };
        let history = History { import: Some(import), ..History::default() };
        for number in [0, 40] {
            let offers = shop(history, number);
            let mut categories = HashMap::new();
            for offer in offers.iter().filter(|offer| offer.is_on_sale && offer.modified_at == import.at) {
                *categories.entry(offer.category).or_insert(0) += 1;
            }
            assert_eq!(categories.values().sum::<i32>(), 3000);
            assert!(largest.contains(categories.values().max().expect("one")), "{categories:?}");
        }
    }
    let early = shop(History { import: Some(Import::of(3000)), ..History::default() }, -300);
    assert!(early[0].modified_at < date(-300).and_time(chrono::NaiveTime::MIN).and_utc());
    assert_eq!(early[0].modified_at, early[2999].modified_at);
}

#[test]
fn nothing_changes_where_nothing_shall() {
    let still = History { changed_per_mille: 0, ..History::default() };
    let days: Vec<Vec<Offer>> = [0, 1, 30].map(|number| shop(still, number)).into();
    assert!(days[0] == days[1] && days[0] == days[2]);
    assert!(days[0].iter().map(|offer| offer.modified_at).collect::<HashSet<_>>().len() > 2000);
}

#[test]
fn every_shop_can_have_the_same_history() {
    let options = Options { shop_sizes: vec![1, 2], ..Options::default() }.with_history(History::default());
    assert_eq!(options.histories.keys().copied().collect::<Vec<_>>(), [0, 1]);
}
