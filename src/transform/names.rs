//! Shops as numbers: small, and of one size, where there is one for each of many offers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number that stands for no shop.
pub const NONE: u32 = u32::MAX;

/// The shops met so far, from any thread.
#[derive(Debug, Default)]
pub struct ShopNames(Mutex<Met>);

#[derive(Debug, Default)]
struct Met {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl ShopNames {
    /// The number of a shop, the same whenever it is asked for; [`NONE`] of none.
    #[must_use]
    pub fn number(&self, shop_id: Option<&str>) -> u32 {
        let Some(shop_id) = shop_id else { return NONE };
        let mut met = self.met();
        if let Some(number) = met.numbers.get(shop_id) {
            return *number;
        }
        let number = u32::try_from(met.names.len()).unwrap_or(NONE);
        let name: Arc<str> = shop_id.into();
        met.numbers.insert(Arc::clone(&name), number);
        met.names.push(name);
        number
    }

    /// The shop that has this number.
    #[must_use]
    pub fn name(&self, number: u32) -> Option<Arc<str>> {
        self.met().names.get(number as usize).cloned()
    }

    /// By number, a shop's place among all in the order of the tables; no shop comes before the first: 0.
    #[must_use]
    pub fn places(&self) -> Places {
        let met = self.met();
        let mut order: Vec<usize> = (0..met.names.len()).collect();
        order.sort_unstable_by_key(|&number| &met.names[number]);
        let mut places = vec![0; order.len()];
        for (place, number) in (1..).zip(order) {
            places[number] = place;
        }
        Places(places)
    }

    fn met(&self) -> MutexGuard<'_, Met> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shops' places in the order of the tables.
#[derive(Debug, Default)]
pub struct Places(Vec<u32>);

impl Places {
    /// The place of a shop that had been met by then.
    #[must_use]
    pub fn of(&self, number: u32) -> u32 {
        self.0.get(number as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_names_and_none_comes_first() {
        let names = ShopNames::default();
        let numbers = ["b", "", "a-10", "a-9"].map(|shop| names.number(Some(shop)));
        assert_eq!((numbers, names.number(Some("a-10")), names.number(None)), ([0, 1, 2, 3], 2, NONE));
        let places = names.places();
        assert_eq!(numbers.map(|number| places.of(number)), [4, 1, 2, 3]);
        assert_eq!((places.of(NONE), names.name(3).as_deref(), names.name(NONE)), (0, Some("a-9"), None));
    }
}
