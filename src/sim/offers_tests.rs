use std::collections::HashSet;

use chrono::TimeDelta;

use super::*;

const RECIPE: Recipe = Recipe { seed: 7, mess_per_mille: 300, history: None };

fn day(number: i64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 20).expect("a date") + TimeDelta::days(number)
}

fn all(date: NaiveDate) -> Vec<Offer> {
    (0..4).flat_map(|shop| (0..500).map(move |slot| offer(RECIPE, Place { shop, slot }, date))).collect()
}

#[test]
fn an_offer_is_a_pure_function_of_seed_and_date() {
    assert_eq!(all(day(3)), all(day(3)));
    let other = Recipe { seed: 8, ..RECIPE };
    assert_ne!(offer(RECIPE, Place { shop: 0, slot: 1 }, day(0)), offer(other, Place { shop: 0, slot: 1 }, day(0)));
}

#[test]
fn offer_ids_have_twelve_digits_and_sku_ids_thirteen_and_none_repeats() {
    let (mut offers, mut skus) = (HashSet::new(), HashSet::new());
    // The first places of the first shop are held by the same offers on both days.
    let later = all(day(200)).into_iter().skip(4);
    for offer in all(day(0)).into_iter().chain(later) {
        assert_eq!(offer.id.to_string().len(), 12);
        assert!(offers.insert(offer.id), "{}", offer.id);
        for sku in &offer.skus {
            assert_eq!(sku.id.to_string().len(), 13);
            assert!(skus.insert(sku.id), "{}", sku.id);
        }
    }
}

#[test]
fn about_eight_percent_of_prices_move_in_a_day_both_ways_and_move_the_modified_time() {
    let (mut up, mut down, mut kept) = (0, 0, 0);
    for (before, after) in all(day(0)).iter().zip(&all(day(1))) {
        if before.id != after.id || !after.is_on_sale {
            continue;
        }
        match before.headline_fen.cmp(&after.headline_fen) {
            std::cmp::Ordering::Less => up += 1,
            std::cmp::Ordering::Greater => down += 1,
            std::cmp::Ordering::Equal => kept += 1,
        }
        if before.headline_fen != after.headline_fen {
            assert!(after.modified_at > before.modified_at);
        }
    }
    let moved = up + down;
    assert!((100..=240).contains(&moved), "{moved} of {}", moved + kept);
    assert!(up > 30 && down > 30, "{up} up, {down} down");
}

#[test]
fn a_few_offers_are_new_and_a_few_leave_each_day() {
    let on_sale = |date| -> HashSet<i64> { all(date).iter().filter(|o| o.is_on_sale).map(|o| o.id).collect() };
    let (before, after) = (on_sale(day(0)), on_sale(day(1)));
    let (new, gone) = (after.difference(&before).count(), before.difference(&after).count());
    assert!((1..60).contains(&new) && (1..60).contains(&gone), "{new} new, {gone} gone");
}

#[test]
fn most_offers_are_clean_and_every_odd_form_occurs() {
    let offers: Vec<Offer> = all(day(0)).into_iter().chain(all(day(160))).chain(all(day(320))).collect();
    let is_odd = |offer: &&Offer| {
        offer.quote_type != 1 && !ladder::CLEAN.contains(&offer.ladder.form)
            || !quantity::CLEAN.contains(&offer.quantity.form)
    };
    let odd = offers.iter().filter(is_odd).count();
    assert!(odd * 100 / offers.len() < 35, "{odd} of {}", offers.len());
    for form in ladder::ODD.iter().chain(&ladder::EMPTY) {
        assert!(offers.iter().any(|offer| offer.ladder.form == *form), "{form:?}");
    }
    for form in quantity::ODD {
        assert!(offers.iter().any(|offer| offer.quantity.form == form), "{form:?}");
    }
}

#[test]
fn the_default_shops_are_complete_within_three_percent() {
    let options = crate::sim::Options::default();
    let recipe = Recipe { seed: options.seed, mess_per_mille: options.mess_per_mille, history: None };
    for (shop, &size) in options.shop_sizes.iter().enumerate() {
        for number in 0..10 {
            let offers: Vec<Offer> = (0..size)
                .map(|slot| offer(recipe, Place { shop, slot }, day(number)))
                .filter(|o| o.is_on_sale)
                .collect();
            let is_bare = |o: &&Offer| ladder::EMPTY.contains(&o.ladder.form) && o.channel_fen.is_none();
            let bare = offers.iter().filter(is_bare).count();
            let hidden = offers.iter().filter(|o| o.skus.is_empty() && o.quote_type != 0).count();
            assert!(bare.max(hidden) * 100 <= offers.len() * 2, "shop {shop}, day {number}: {bare}, {hidden}");
        }
    }
}

#[test]
fn without_mess_every_form_is_clean() {
    for slot in 0..300 {
        let offer = offer(Recipe { seed: 1, mess_per_mille: 0, history: None }, Place { shop: 0, slot }, day(0));
        assert!(offer.quote_type == 1 || ladder::CLEAN.contains(&offer.ladder.form));
        assert!(quantity::CLEAN.contains(&offer.quantity.form));
    }
}
