//! Identifiers that must not be mixed up.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

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

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::from_str(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_its_run_began() {
        let at = chrono::DateTime::from_timestamp_millis(1_795_190_400_123).unwrap();
        let id = RunId::new(at, [7; 10]);
        assert_eq!(id.began_at(), Some(at));
        assert_eq!(id.to_string().parse::<RunId>().unwrap().began_at(), Some(at));
        assert_eq!("00000000-0000-0000-0000-000000000000".parse::<RunId>().unwrap().began_at(), None);
    }
}
