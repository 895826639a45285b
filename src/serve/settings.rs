//! What a client may set for its own connection, by name, and what `SHOW` says.
//!
//! Drivers set things when they connect. Those that change how values are written, how long a statement may take, or
//! nothing at all here, are taken; any other name, the engine's options among them, is refused.
//!
//! Invariant: pure. A client can shorten the server's statement timeout, never lengthen it.

mod checks;

use std::collections::BTreeMap;
use std::time::Duration;

use pgwire::types::format::FormatOptions;

use self::checks::{any, bytea, digits, interval, iso_dates, on, search_path, timeout, utf8, zone};
use super::failure::{Failure, code};

pub(super) use self::checks::duration;

/// The version that clients see: of PostgreSQL, whose catalog and protocol they expect.
pub(super) const SERVER_VERSION: &str = concat!("16.6 (huopan ", env!("CARGO_PKG_VERSION"), ")");
/// The same as a number.
const SERVER_VERSION_NUM: &str = "160006";

/// A setting that clients may change.
struct Known {
    /// As PostgreSQL writes it; looked up in lower case.
    name: &'static str,
    default: &'static str,
    /// Clients are told when it changes.
    is_reported: bool,
    check: fn(&str) -> Option<String>,
}

const fn free(name: &'static str, default: &'static str) -> Known {
    Known { name, default, is_reported: false, check: any }
}

const fn told(name: &'static str, default: &'static str, check: fn(&str) -> Option<String>) -> Known {
    Known { name, default, is_reported: true, check }
}

const fn checked(name: &'static str, default: &'static str, check: fn(&str) -> Option<String>) -> Known {
    Known { name, default, is_reported: false, check }
}

/// By name in lower case.
const KNOWN: &[Known] = &[
    told("application_name", "", any),
    checked("bytea_output", "hex", bytea),
    told("client_encoding", "UTF8", utf8),
    free("client_min_messages", "notice"),
    told("DateStyle", "ISO, MDY", iso_dates),
    free("default_transaction_isolation", "repeatable read"),
    checked("default_transaction_read_only", "on", on),
    checked("extra_float_digits", "1", digits),
    free("geqo", "on"),
    free("idle_in_transaction_session_timeout", "0"),
    free("idle_session_timeout", "0"),
    told("IntervalStyle", "postgres", interval),
    free("jit", "off"),
    free("lock_timeout", "0"),
    free("plan_cache_mode", "auto"),
    free("row_security", "on"),
    checked("search_path", "public", search_path),
    told("standard_conforming_strings", "on", on),
    checked("statement_timeout", "0", timeout),
    free("synchronize_seqscans", "on"),
    told("TimeZone", "UTC", zone),
    free("transaction_isolation", "repeatable read"),
    checked("transaction_read_only", "on", on),
];

/// What `SHOW` says and nobody can change.
const FIXED: &[(&str, &str)] = &[
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("is_superuser", "off"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", SERVER_VERSION_NUM),
];

/// A setting as `pg_settings` tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) default: &'static str,
    /// What `RESET` puts it back to.
    pub(super) at_start: String,
    pub(super) is_set: bool,
    /// Nobody can change it.
    pub(super) is_fixed: bool,
}

/// The settings of one connection.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    values: BTreeMap<&'static str, String>,
    /// What they were when the client had connected: `RESET` goes back to it.
    at_start: BTreeMap<&'static str, String>,
    /// What `SET LOCAL` replaced, until the transaction ends.
    before_local: BTreeMap<&'static str, Option<String>>,
    timeout_max: Option<Duration>,
}

/// What a client is told of a change.
pub(super) type Reported = Option<(&'static str, String)>;

impl Settings {
    /// With the server's limit for statements.
    pub(super) fn new(timeout_max: Option<Duration>) -> Self {
        let (values, at_start, before_local) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { values, at_start, before_local, timeout_max }
    }

    /// From a startup message: a name that is not known is no reason to refuse a connection, but a bad value is.
    pub(super) fn start(&mut self, parameters: &[(String, String)]) -> Result<(), Failure> {
        for (name, value) in parameters {
            if name == "options" {
                for (name, value) in command_line(value) {
                    self.set(&name, &value, Scope::Session)?;
                }
            } else if find(name).is_some() {
                self.set(name, value, Scope::Session)?;
            }
        }
        self.at_start = self.values.clone();
        Ok(())
    }

    /// Sets one.
    pub(super) fn set(&mut self, name: &str, value: &str, scope: Scope) -> Result<Reported, Failure> {
        let known = find(name).ok_or_else(|| unknown(name))?;
        let value = (known.check)(value).ok_or_else(|| {
            Failure::new(code::INVALID_VALUE, format!("`{}` cannot be `{value}` here", known.name)).with_hint(
                match known.name {
                    "search_path" => "name the schema in the query: `latest.offers`".to_owned(),
                    _ => format!("leave it at `{}`", known.default),
                },
            )
        })?;
        let before = self.values.insert(known.name, value);
        if scope == Scope::Transaction {
            self.before_local.entry(known.name).or_insert(before);
        }
        Ok(self.reported(known))
    }

    /// Puts one back to what it was when the client had connected.
    pub(super) fn reset(&mut self, name: &str) -> Result<Reported, Failure> {
        let known = find(name).ok_or_else(|| unknown(name))?;
        match self.at_start.get(known.name) {
            Some(value) => self.values.insert(known.name, value.clone()),
            None => self.values.remove(known.name),
        };
        Ok(self.reported(known))
    }

    /// Puts all back.
    pub(super) fn reset_all(&mut self) -> Vec<(&'static str, String)> {
        self.values.clone_from(&self.at_start);
        KNOWN.iter().filter_map(|known| self.reported(known)).collect()
    }

    /// What was set for the transaction is as it was before.
    pub(super) fn end_transaction(&mut self) -> Vec<(&'static str, String)> {
        let before = std::mem::take(&mut self.before_local);
        let mut reported = Vec::new();
        for (name, value) in before {
            match value {
                Some(value) => self.values.insert(name, value),
                None => self.values.remove(name),
            };
            reported.extend(find(name).and_then(|known| self.reported(known)));
        }
        reported
    }

    /// What `SHOW` says, with the name as it is written; `None`: no such setting.
    pub(super) fn show(&self, name: &str) -> Option<(&'static str, String)> {
        if let Some(known) = find(name) {
            return Some((known.name, self.value(known)));
        }
        let fixed = FIXED.iter().find(|(fixed, _)| fixed.eq_ignore_ascii_case(name));
        fixed.map(|(name, value)| (*name, (*value).to_owned()))
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> Vec<(&'static str, String)> {
        let mut all: Vec<_> = KNOWN.iter().map(|known| (known.name, self.value(known))).collect();
        all.extend(FIXED.iter().map(|(name, value)| (*name, (*value).to_owned())));
        all.sort_unstable_by_key(|(name, _)| name.to_ascii_lowercase());
        all
    }

    /// All of them, by name, with what else is known of each.
    pub(super) fn described(&self) -> Vec<Described> {
        let described = |(name, value): (&'static str, String)| match find(name) {
            Some(known) => Described {
                name,
                default: known.default,
                at_start: self.at_start.get(name).cloned().unwrap_or_else(|| known.default.to_owned()),
                is_set: self.values.contains_key(name),
                is_fixed: false,
                value,
            },
            None => {
                let default = FIXED.iter().find(|(fixed, _)| *fixed == name).map_or("", |(_, value)| value);
                Described { name, default, at_start: value.clone(), is_set: false, is_fixed: true, value }
            }
        };
        self.all().into_iter().map(described).collect()
    }

    /// What a client is told when it has connected.
    pub(super) fn told_at_start(&self) -> Vec<(&'static str, String)> {
        let fixed = FIXED.iter().filter(|(name, _)| !name.starts_with("lc_") && !name.starts_with("max_"));
        let fixed = fixed.filter(|(name, _)| *name != "server_version_num");
        let fixed = fixed.map(|(name, value)| (*name, (*value).to_owned()));
        KNOWN.iter().filter_map(|known| self.reported(known)).chain(fixed).collect()
    }

    /// How long a statement may take: what the client has set, within what the server allows.
    pub(super) fn statement_timeout(&self) -> Option<Duration> {
        let own = self.values.get("statement_timeout").and_then(|value| duration(value)).filter(|own| !own.is_zero());
        match (own, self.timeout_max) {
            (Some(own), Some(max)) => Some(own.min(max)),
            (own, max) => own.or(max),
        }
    }

    /// The zone that times with one are shown in.
    pub(super) fn time_zone(&self) -> String {
        self.show("timezone").map(|(_, value)| value).unwrap_or_default()
    }

    /// How values are written as text.
    pub(super) fn formats(&self) -> FormatOptions {
        let mut formats = FormatOptions::default();
        let value = |name: &str| self.show(name).map(|(_, value)| value).unwrap_or_default();
        formats.date_style = value("datestyle");
        formats.interval_style = value("intervalstyle");
        formats.bytea_output = value("bytea_output");
        formats.time_zone = value("timezone");
        formats.extra_float_digits = value("extra_float_digits").parse().unwrap_or(1);
        formats
    }

    fn value(&self, known: &Known) -> String {
        if known.name == "statement_timeout" {
            return self.statement_timeout().map_or_else(|| "0".to_owned(), |limit| format!("{}ms", limit.as_millis()));
        }
        self.values.get(known.name).cloned().unwrap_or_else(|| known.default.to_owned())
    }

    fn reported(&self, known: &Known) -> Reported {
        known.is_reported.then(|| (known.name, self.value(known)))
    }
}

/// How long a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Session,
    Transaction,
}

fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name.eq_ignore_ascii_case(name))
}

fn unknown(name: &str) -> Failure {
    if FIXED.iter().any(|(fixed, _)| fixed.eq_ignore_ascii_case(name)) {
        return Failure::new(code::FORBIDDEN, format!("`{name}` cannot be changed"));
    }
    if name.to_ascii_lowercase().starts_with("datafusion.") {
        return Failure::new(
            code::FORBIDDEN,
            format!("`{name}` is an option of the engine, which no client may change"),
        )
        .with_hint("`huopan serve --help` shows what whoever runs the server can set");
    }
    Failure::new(code::UNKNOWN_SETTING, format!("unrecognized configuration parameter `{name}`"))
        .with_hint("`SHOW ALL` lists what can be set")
}

/// `-c name=value` and `--name=value`, as `PGOPTIONS` has them; a backslash keeps the next letter.
fn command_line(options: &str) -> Vec<(String, String)> {
    let (mut words, mut word, mut letters) = (Vec::new(), String::new(), options.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => word.extend(letters.next()),
            space if space.is_whitespace() => words.push(std::mem::take(&mut word)),
            letter => word.push(letter),
        }
    }
    words.push(word);
    let pairs = words.iter().filter(|word| !word.is_empty() && *word != "-c").filter_map(|word| {
        let word = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).unwrap_or(word);
        let (name, value) = word.split_once('=')?;
        Some((name.replace('-', "_"), value.to_owned()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Reported, Failure>) -> &'static str {
        result.unwrap_err().code
    }

    #[test]
    fn drivers_settings_are_taken_and_others_are_refused() {
        let mut settings = Settings::new(None);
        let mut set = |name: &str, value: &str| settings.set(name, value, Scope::Session);
        assert_eq!(set("DATESTYLE", "ISO"), Ok(Some(("DateStyle", "ISO, MDY".to_owned()))));
        assert_eq!(set("extra_float_digits", "3"), Ok(None));
        assert_eq!(set("timezone", "Asia/Shanghai"), Ok(Some(("TimeZone", "Asia/Shanghai".to_owned()))));
        assert_eq!(set("client_encoding", "'utf-8'"), Ok(Some(("client_encoding", "UTF8".to_owned()))));
        assert_eq!(code(set("client_encoding", "GBK")), code::INVALID_VALUE);
        assert_eq!(code(set("datestyle", "German")), code::INVALID_VALUE);
        assert_eq!(code(set("timezone", "Mars")), code::INVALID_VALUE);
        assert_eq!(code(set("default_transaction_read_only", "off")), code::INVALID_VALUE);
        assert_eq!(code(set("datafusion.execution.batch_size", "1")), code::FORBIDDEN);
        assert_eq!(code(set("server_version", "1")), code::FORBIDDEN);
        assert_eq!(code(set("work_mem", "1")), code::UNKNOWN_SETTING);
    }

    #[test]
    fn a_statement_takes_no_longer_than_the_server_allows() {
        let of = |max: Option<u64>, own: &str| {
            let mut settings = Settings::new(max.map(Duration::from_secs));
            settings.set("statement_timeout", own, Scope::Session).unwrap();
            settings.statement_timeout().map(|limit| limit.as_millis())
        };
        assert_eq!(of(Some(60), "0"), Some(60_000));
        assert_eq!(of(Some(60), "2min"), Some(60_000));
        assert_eq!(of(Some(60), "1500"), Some(1_500));
        assert_eq!(of(None, "2s"), Some(2_000));
        assert_eq!(of(None, "0"), None);
        assert_eq!(duration("1 fortnight"), None);
    }

    #[test]
    fn what_is_set_for_a_transaction_ends_with_it_and_reset_goes_back_to_the_start() {
        let mut settings = Settings::new(None);
        let options = "-c statement_timeout=5s --application-name=a\\ b".to_owned();
        let parameters = [("user", "x"), ("TimeZone", "Asia/Shanghai"), ("unknown", "1")];
        let mut parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        parameters.push(("options".to_owned(), options));
        settings.start(&parameters).unwrap();
        let show = |settings: &Settings, name: &str| settings.show(name).unwrap().1;
        assert_eq!(show(&settings, "application_name"), "a b");
        assert_eq!(show(&settings, "statement_timeout"), "5000ms");
        settings.set("timezone", "UTC", Scope::Transaction).unwrap();
        settings.set("timezone", "Europe/Berlin", Scope::Transaction).unwrap();
        assert_eq!(settings.end_transaction(), [("TimeZone", "Asia/Shanghai".to_owned())]);
        settings.set("timezone", "UTC", Scope::Session).unwrap();
        settings.reset("TIMEZONE").unwrap();
        assert_eq!(settings.time_zone(), "Asia/Shanghai");
        assert!(settings.start(&[("options".to_owned(), "-c datafusion.x=1".to_owned())]).is_err());
    }

    #[test]
    fn the_known_ones_are_in_order() {
        let names: Vec<String> = KNOWN.iter().map(|known| known.name.to_ascii_lowercase()).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert!(KNOWN.iter().all(|known| (known.check)(known.default).is_some()), "a default must be allowed");
    }
}
