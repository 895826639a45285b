//! Identifiers that must not be mixed up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::error::{Error, Result};

/// One attempt of a run: UUIDv7, so that run ids sort by start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(Uuid);

impl RunId {
    /// A new id for a run that starts at `at`; `random` are 10 bytes from the caller's generator.
    #[must_use]
    pub fn new(at: chrono::DateTime<chrono::Utc>, random: [u8; 10]) -> Self {
        let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// When it began, to the millisecond; `None`: the id was not made here.
    #[must_use]
    pub fn began_at(self) -> Option<chrono::DateTime<chrono::Utc>> {
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        chrono::DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Uuid::from_str(text).map(Self)
    }
}

/// A run as people name it: its id, the beginning of its id, or `latest`. Case and hyphens do not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunName {
    /// The one that began last.
    Latest,
    /// Lower-case hexadecimal digits and hyphens, as they were typed.
    Beginning(String),
}

impl RunName {
    /// Whether a run's id is meant, perhaps among others; `latest` fits each.
    #[must_use]
    pub fn fits(&self, id: &str) -> bool {
        match self {
            Self::Latest => true,
            Self::Beginning(typed) => id.replace('-', "").starts_with(&typed.replace('-', "")),
        }
    }

    /// The one run that is meant of these ids, each with a word about it; `None`: there is none.
    ///
    /// # Errors
    /// [`Kind::Config`](super::Kind::Config): several begin so.
    pub fn one_of<'a>(&self, runs: &'a BTreeMap<String, String>) -> Result<Option<&'a str>> {
        const SHOWN_MAX: usize = 10;
        let meant: Vec<(&String, &String)> = runs.iter().filter(|(id, _)| self.fits(id)).collect();
        // Ids sort by start.
        let ([(id, _)] | [.., (id, _)]) = meant.as_slice() else { return Ok(None) };
        if meant.len() == 1 || *self == Self::Latest {
            return Ok(Some(id));
        }
        let length = short_id_length(meant.iter().map(|(id, _)| id.as_str()));
        let say = |(id, about): &(&String, &String)| {
            format!("`{}` {about}", id.get(..length).unwrap_or(id)).trim_end().to_owned()
        };
        let newest = meant.iter().rev().take(SHOWN_MAX).map(say).collect::<Vec<_>>().join(", ");
        let more = meant.len().saturating_sub(SHOWN_MAX);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        Err(Error::config(format!("the ids of {} runs begin with `{self}`", meant.len()))
            .with_hint(format!("say which: {newest}{more}")))
    }
}

impl FromStr for RunName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text.eq_ignore_ascii_case("latest") {
            return Ok(Self::Latest);
        }
        let digits = text.replace('-', "").to_ascii_lowercase();
        match !digits.is_empty() && digits.len() <= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Ok(Self::Beginning(text.to_ascii_lowercase())),
            false => {
                Err(format!("`{text}` is no run: say `latest`, or the beginning of an id (`huopan runs` lists them)"))
            }
        }
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Beginning(typed) => f.write_str(typed),
        }
    }
}

/// How much of each id tells them apart: at least 8 letters, and no hyphen at the end.
#[must_use]
pub fn short_id_length<'a>(ids: impl IntoIterator<Item = &'a str>) -> usize {
    const LEAST: usize = 8;
    let ids: BTreeSet<&str> = ids.into_iter().collect();
    let common = |(one, next): (&&str, &&str)| one.bytes().zip(next.bytes()).take_while(|(a, b)| a == b).count();
    let longest = ids.iter().zip(ids.iter().skip(1)).map(common).max().unwrap_or(0);
    let length = (longest + 1).max(LEAST);
    let ends_badly = ids.iter().any(|id| id.as_bytes().get(length - 1) == Some(&b'-'));
    if ends_badly { length + 1 } else { length }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 3] = [
        "01a22df9-f6c8-7211-99bc-d077f2414d0a",
        "01a22df9-fa6d-772c-a62e-6ec4cd7b86c5",
        "01a32df9-fe1c-783f-911f-c393bc70ddd8",
    ];

    fn runs() -> BTreeMap<String, String> {
        IDS.iter().zip(["of 2026-11-20", "of 2026-11-21", ""]).map(|(id, about)| ((*id).into(), about.into())).collect()
    }

    #[test]
    fn a_run_is_named_by_the_beginning_of_its_id_or_as_the_latest() {
        let cases = [
            ("latest", Some(2)),
            ("01a3", Some(2)),
            ("01A22DF9-FA", Some(1)),
            ("01a22df9fa", Some(1)),
            (IDS[0], Some(0)),
            ("ff", None),
        ];
        for (word, expected) in cases {
            let found = word.parse::<RunName>().unwrap().one_of(&runs()).unwrap().map(str::to_owned);
            assert_eq!(found.as_deref(), expected.map(|place| IDS[place]), "{word}");
        }
        for word in ["", "-", "latest run", "01x", "019a9b1c-8c00-7a51-b2a4-3f5d7c1e9a10/17"] {
            assert!(word.parse::<RunName>().is_err(), "{word}");
        }
        assert_eq!("latest".parse::<RunName>().unwrap().one_of(&BTreeMap::new()).unwrap(), None);
    }

    #[test]
    fn a_name_that_fits_several_runs_is_refused_with_what_they_are() {
        let error = "01a22".parse::<RunName>().unwrap().one_of(&runs()).unwrap_err();
        assert_eq!(error.to_string(), "the ids of 2 runs begin with `01a22`");
        assert_eq!(error.hint(), Some("say which: `01a22df9-fa` of 2026-11-21, `01a22df9-f6` of 2026-11-20"));
    }

    #[test]
    fn short_ids_are_as_long_as_it_takes_to_tell_them_apart() {
        assert_eq!(short_id_length(IDS), 11);
        assert_eq!(short_id_length([IDS[0], IDS[2]]), 8);
        assert_eq!(short_id_length([IDS[0], IDS[0]]), 8, "one run, twice");
        assert_eq!(short_id_length(["01a22df9-f", "01a22dfa-f", "01a22dfa-e"]), 10);
        assert_eq!(short_id_length(["01a22df9-f6c8-7", "01a22df9-f6c88"]), 15, "no hyphen at the end");
    }

    #[test]
    fn an_id_tells_when_its_run_began() {
        let at = chrono::DateTime::from_timestamp_millis(1_795_190_400_123).unwrap();
        let id = RunId::new(at, [7; 10]);
        assert_eq!(id.began_at(), Some(at));
        assert_eq!(id.to_string().parse::<RunId>().unwrap().began_at(), Some(at));
        assert_eq!("00000000-0000-0000-0000-000000000000".parse::<RunId>().unwrap().began_at(), None);
    }
}
