//! `[guard]`: what keeps a day from being published that looks wrong.

use crate::config::pipeline::Guard;
use crate::config::reader::Section;

/// `[guard]`; without it, and for what it does not say, the defaults.
pub(super) fn guard(root: &mut Section<'_>) -> Guard {
    let default = Guard::default();
    let Some(mut section) = root.section("guard") else { return default };
    let guard = Guard {
        drop_share_max: section.number("drop_share_max", 0.0..=1.0).unwrap_or(default.drop_share_max),
        price_factor: count(&mut section, "price_factor", 2, default.price_factor),
        price_share_max: section.number("price_share_max", 0.0..=1.0).unwrap_or(default.price_share_max),
        offers_min: count(&mut section, "offers_min", 1, default.offers_min),
    };
    section.finish();
    guard
}

fn count(section: &mut Section<'_>, key: &'static str, min: i64, default: u32) -> u32 {
    let number = section.integer(key, min..=1_000_000);
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
}
