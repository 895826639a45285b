//! The numbers as metrics: named, described, labelled. All are gauges: they tell of one run, and may fall with the next.
//!
//! Invariant: names and meanings stay; new ones may be added.

use chrono::{DateTime, Utc};

use super::numbers::{Numbers, STATUSES};

/// A metric and its values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Family {
    /// As Prometheus names it: base units, `_seconds` and `_bytes` at the end.
    pub(super) name: &'static str,
    /// What it says.
    pub(super) help: &'static str,
    /// As OTLP names the unit (UCUM).
    pub(super) unit: &'static str,
    pub(super) values: Vec<Value>,
}

/// One value with its labels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) number: f64,
}

pub(super) const LAST_PUBLISHED: &str = "huopan_run_last_published_timestamp_seconds";
pub(super) const LAST_COMPLETE: &str = "huopan_run_last_complete_timestamp_seconds";

/// The metrics of a pipeline. Those of which nothing is known are not there.
pub(super) fn of(pipeline: &str, numbers: &Numbers) -> Vec<Family> {
    let mut families = Families { pipeline, list: Vec::new() };
    families.status(numbers.status);
    families.time("huopan_run_start_timestamp_seconds", "When the last run began.", Some(numbers.started_at));
    families.time("huopan_run_end_timestamp_seconds", "When the last run ended.", Some(numbers.ended_at));
    families.time(LAST_PUBLISHED, "When a run last published, complete or not.", numbers.last_published_at);
    families.time(LAST_COMPLETE, "When a run last published everything it was asked for.", numbers.last_complete_at);
    if let Some(counts) = numbers.counts {
        families.count(
            "huopan_run_records_received",
            "Records that should become offers, in the last run.",
            counts.received,
        );
        families.count("huopan_run_records_loaded", "Records that became offers.", counts.loaded);
        families.count(
            "huopan_run_records_duplicate",
            "Records that lost against another one of the same offer.",
            counts.duplicates,
        );
        families.count("huopan_run_records_quarantined", "Records set aside.", counts.quarantined);
        families.count("huopan_run_offers_carried", "Offers carried forward from the day before.", counts.carried);
        families.count("huopan_run_calls_used", "Calls made.", counts.calls_used);
        families.count("huopan_run_calls_saved", "Calls that kept answers saved.", counts.calls_saved);
        families.count("huopan_run_calls_retried", "Calls that repeated a failed one.", counts.retries);
        families.count("huopan_run_calls_throttled", "Calls that the gateway throttled.", counts.throttles);
        families.one("huopan_run_received_bytes", "Bytes of answers received.", "By", Some(counts.bytes_received));
        families.one("huopan_run_publish_sequence", "The run's number in the publish log.", "1", counts.publish_seq);
    }
    families.one("huopan_shops", "Shops of the last published day.", "1", numbers.shops);
    families.one(
        "huopan_shops_incomplete",
        "Shops of the last published day that are not complete.",
        "1",
        numbers.shops_incomplete,
    );
    families.accounts(numbers);
    families.list
}

struct Families<'a> {
    pipeline: &'a str,
    list: Vec<Family>,
}

impl Families<'_> {
    fn labels(&self) -> Vec<(&'static str, String)> {
        vec![("pipeline", self.pipeline.to_owned())]
    }

    fn count(&mut self, name: &'static str, help: &'static str, number: i64) {
        self.one(name, help, "1", Some(number));
    }

    fn one(&mut self, name: &'static str, help: &'static str, unit: &'static str, number: Option<i64>) {
        let value = number.map(|number| Value { labels: self.labels(), number: number as f64 });
        self.add(name, help, unit, value.into_iter().collect());
    }

    fn time(&mut self, name: &'static str, help: &'static str, at: Option<DateTime<Utc>>) {
        let seconds = |at: DateTime<Utc>| at.timestamp_millis() as f64 / 1000.0;
        let value = at.map(|at| Value { labels: self.labels(), number: seconds(at) });
        self.add(name, help, "s", value.into_iter().collect());
    }

    /// One value for each way to end: 1 for the one that it was.
    fn status(&mut self, status: &str) {
        let value = |known: &'static str| {
            let mut labels = self.labels();
            labels.push(("status", known.to_owned()));
            Value { labels, number: f64::from(u8::from(known == status)) }
        };
        let values = STATUSES.into_iter().map(value).collect();
        self.add("huopan_run_status", "How the last run ended: 1 for its status, 0 for the others.", "1", values);
    }

    fn accounts(&mut self, numbers: &Numbers) {
        let labels = |name: &str, scope: &str| {
            let mut labels = self.labels();
            labels.extend([("account", name.to_owned()), ("scope", scope.to_owned())]);
            labels
        };
        let (mut used, mut left) = (Vec::new(), Vec::new());
        for account in &numbers.accounts {
            let labels = labels(&account.name, &account.scope);
            left.extend(account.calls_per_day.map(|allowed| {
                let number = allowed.saturating_sub(account.used) as f64;
                Value { labels: labels.clone(), number }
            }));
            used.push(Value { labels, number: account.used as f64 });
        }
        self.add("huopan_account_calls_used", "Calls of the account today (Beijing), whoever made them.", "1", used);
        self.add("huopan_account_calls_left", "Calls that the account has left today (Beijing).", "1", left);
    }

    fn add(&mut self, name: &'static str, help: &'static str, unit: &'static str, values: Vec<Value>) {
        if !values.is_empty() {
            self.list.push(Family { name, help, unit, values });
        }
    }
}
