//! Which calls were made: a bounded journal and what sums up over all of them.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::answer::Outcome;
use super::gateways::Gateway;

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts calls from 1, in the order they ended.
    pub number: u64,
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// Which gateway.
    pub gateway: Gateway,
    /// The method, or `namespace/api`.
    pub method: String,
    /// Who called; empty when nobody said.
    pub app_key: String,
    /// Of a listing.
    pub page: Option<u32>,
    /// The parameters without time, key, token and signature; at most 500 bytes.
    pub request: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The HTTP status.
    pub status: u16,
    /// Calls of the same account at once, this one included, when it arrived.
    pub in_flight: u32,
}

/// What all calls come to, since the start or the last reset.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// All calls.
    pub calls: u64,
    /// By gateway and method.
    pub methods: Vec<MethodStats>,
    /// By outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// By gateway and key.
    pub accounts: Vec<AccountStats>,
}

/// One method's calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodStats {
    /// Which gateway.
    pub gateway: Gateway,
    /// The method, or `namespace/api`.
    pub method: String,
    /// Its calls.
    pub calls: u64,
}

/// One account's calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStats {
    /// Which gateway.
    pub gateway: Gateway,
    /// Who called.
    pub app_key: String,
    /// Its calls, refused ones included.
    pub calls: u64,
    /// Most arrivals in any one-second window, both its ends included, over all connections.
    pub calls_per_second_max: usize,
    /// Most of those that were admitted.
    pub admitted_per_second_max: usize,
    /// Most at once.
    pub in_flight_max: u32,
    /// Calls that arrived as one too many: for a second, or at once. (Refused is a call only when it comes a tenth
    /// closer than that, for the network's jitter.)
    pub breaches: u64,
}

/// The newest calls and the sums over all.
#[derive(Debug)]
pub(super) struct Journal {
    entries: VecDeque<Entry>,
    entries_max: usize,
    /// Numbers go on over a reset.
    numbered: u64,
    calls: u64,
    methods: BTreeMap<(Gateway, String), u64>,
    outcomes: BTreeMap<Outcome, u64>,
}

/// Different methods that are counted; callers choose the names, so there must be an end.
const METHODS_MAX: usize = 1000;

impl Journal {
    pub(super) fn new(entries_max: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            entries_max,
            numbered: 0,
            calls: 0,
            methods: BTreeMap::new(),
            outcomes: BTreeMap::new(),
        }
    }

    /// Numbers the entry and keeps it.
    pub(super) fn record(&mut self, mut entry: Entry) {
        self.calls += 1;
        self.numbered += 1;
        entry.number = self.numbered;
        let method = (entry.gateway, entry.method.clone());
        if self.methods.len() < METHODS_MAX || self.methods.contains_key(&method) {
            *self.methods.entry(method).or_default() += 1;
        }
        *self.outcomes.entry(entry.outcome).or_default() += 1;
        if self.entries.len() >= self.entries_max {
            self.entries.pop_front();
        }
        if self.entries_max > 0 {
            self.entries.push_back(entry);
        }
    }

    /// Forgets entries and sums.
    pub(super) fn reset(&mut self) {
        *self = Self { numbered: self.numbered, ..Self::new(self.entries_max) };
    }

    /// Up to `limit` entries after number `after`, oldest first.
    pub(super) fn after(&self, after: u64, limit: usize) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.number > after).take(limit).cloned().collect()
    }

    /// The sums, without accounts.
    pub(super) fn stats(&self) -> Stats {
        let method = |((gateway, method), &calls): (&(Gateway, String), &u64)| MethodStats {
            gateway: *gateway,
            method: method.clone(),
            calls,
        };
        Stats {
            calls: self.calls,
            methods: self.methods.iter().map(method).collect(),
            outcomes: self.outcomes.clone(),
            accounts: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(method: &str) -> Entry {
        Entry {
            number: 0,
            at: DateTime::UNIX_EPOCH,
            gateway: Gateway::Portals,
            method: method.to_owned(),
            app_key: "k".to_owned(),
            page: None,
            request: String::new(),
            outcome: Outcome::Ok,
            status: 200,
            in_flight: 1,
        }
    }

    #[test]
    fn the_journal_keeps_the_newest_and_the_sums_count_all() {
        let mut journal = Journal::new(2);
        for method in ["a", "b", "b"] {
            journal.record(entry(method));
        }
        assert_eq!(journal.after(0, 10).iter().map(|entry| entry.number).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(journal.after(2, 10).len(), 1);
        let stats = journal.stats();
        assert_eq!((stats.calls, stats.outcomes[&Outcome::Ok]), (3, 3));
        assert_eq!(stats.methods.iter().map(|method| method.calls).collect::<Vec<_>>(), [1, 2]);
        journal.reset();
        assert_eq!((journal.stats(), journal.after(0, 10)), (Stats::default(), Vec::new()));
        journal.record(entry("c"));
        assert_eq!((journal.stats().calls, journal.after(0, 10)[0].number), (1, 4));
    }
}
