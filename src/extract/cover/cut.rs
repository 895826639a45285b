//! Arithmetic of splitting: where to cut a span of time so that its parts hold about the same number of offers.
//!
//! Times are milliseconds. A cut is the first moment of the part behind it.
//!
//! Invariant: every cut lies inside its span, so every part is smaller than the whole.

/// A span to be cut, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) low: i64,
    pub(super) high: i64,
    /// The gateway tells moments apart that differ by this much.
    pub(super) unit: i64,
    /// The width of a moment as records show it: they may show whole seconds where windows know milliseconds.
    pub(super) shown: i64,
}

/// So many equal times next to each other stand for an import: it is cut out exactly.
const RUN_MIN: usize = 3;

/// Cuts for about `parts` parts of about equal size, by sorted sample times. Equal times stay together.
pub(super) fn by_samples(samples: &[i64], parts: usize, extent: Extent) -> Vec<i64> {
    let mut cuts = Vec::new();
    let (mut at, mut part) = (0, 0);
    for run in samples.chunk_by(|left, right| left == right) {
        let is_full = part * parts >= samples.len();
        let would_burst = (part + run.len()) * parts * 2 > samples.len() * 3;
        if part > 0 && (is_full || would_burst) {
            cuts.push(between(samples, at, extent));
            part = 0;
        }
        at += run.len();
        part += run.len();
    }
    keep(cuts, extent)
}

/// Cuts around one moment that holds too much.
pub(super) fn around(moment: i64, extent: Extent) -> Vec<i64> {
    keep(vec![moment, moment.saturating_add(extent.shown)], extent)
}

/// Cuts where no time is known: a long span is mostly old, and most offers were modified in the last months.
pub(super) fn blind(extent: Extent) -> Vec<i64> {
    const DAY: i64 = 86_400_000;
    let width = extent.high - extent.low;
    if width > 3 * 365 * DAY {
        let back = [3 * 365, 365, 120, 40].map(|days| extent.high - days * DAY);
        return keep(back.to_vec(), extent);
    }
    keep(vec![extent.low + width / 2 + 1], extent)
}

/// A moment after `samples[at - 1]` and not after `samples[at]`.
fn between(samples: &[i64], at: usize, extent: Extent) -> i64 {
    let (left, right) = (samples[at - 1], samples[at]);
    let is_run = |times: &[i64]| times.len() == RUN_MIN && times[0] == times[RUN_MIN - 1];
    if is_run(&samples[at..samples.len().min(at + RUN_MIN)]) {
        return right;
    }
    if is_run(&samples[at.saturating_sub(RUN_MIN)..at]) {
        return right.min(left.saturating_add(extent.shown));
    }
    left + (right - left + 1) / 2
}

/// The cuts that lie inside, on the gateway's units, in order.
fn keep(cuts: Vec<i64>, extent: Extent) -> Vec<i64> {
    let unit = extent.unit.max(1);
    let mut cuts: Vec<i64> = cuts.into_iter().map(|cut| cut.div_euclid(unit) * unit).collect();
    cuts.retain(|&cut| extent.low < cut && cut <= extent.high);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent = Extent { low: 0, high: 1000, unit: 1, shown: 1 };

    #[test]
    fn parts_hold_the_same_number_of_samples() {
        let samples: Vec<i64> = (1..=100).map(|at| at * 10).collect();
        assert_eq!(by_samples(&samples, 4, EXTENT), [255, 505, 755]);
    }

    #[test]
    fn a_run_of_equal_times_becomes_a_part_of_its_own() {
        let mut samples = vec![100, 200];
        samples.extend([500; 10]);
        samples.extend([700, 800]);
        assert_eq!(by_samples(&samples, 3, EXTENT), [500, 501]);
        assert_eq!(by_samples(&samples, 3, Extent { shown: 100, ..EXTENT }), [500, 600]);
        assert_eq!(by_samples(&[500; 10], 3, EXTENT), Vec::<i64>::new());
        assert_eq!(around(500, EXTENT), [500, 501]);
    }

    #[test]
    fn every_cut_lies_inside_on_a_unit_and_a_single_unit_is_not_cut() {
        let extent = Extent { low: 1000, high: 5000, unit: 1000, shown: 1000 };
        assert_eq!(by_samples(&[500, 1500, 2600, 9000], 4, extent), [2000, 5000]);
        assert_eq!(blind(extent), [3000]);
        assert_eq!(blind(Extent { high: 1999, ..extent }), Vec::<i64>::new());
        assert_eq!(around(1000, Extent { high: 1999, ..extent }), Vec::<i64>::new());
    }

    #[test]
    fn a_long_span_without_times_is_cut_towards_its_end() {
        let year = 365 * 86_400_000;
        let cuts = blind(Extent { high: 20 * year, ..EXTENT });
        assert_eq!(cuts.len(), 4);
        assert_eq!(cuts[0], 17 * year);
    }
}
