//! Which answers let an account rest: for which calls, and until when (WIRE §5 "Quota").
//!
//! | answer | rests | for |
//! |---|---|---|
//! | quota | until the gateway says, else midnight or so many hours | the calls that are counted together |
//! | throttle or a failure, with a wait that no call bears | that long | the calls that are counted together |
//! | a permission refused | an hour, or until the credentials change | the calls to that endpoint |
//! | the key, its signature or its token refused | an hour, or until the credentials change | all its calls at the gateway |
//!
//! The same rules say, of answers that have landed, which rests still hold: [`Standing`].
//!
//! Invariant: pure; moments are arguments.

use std::collections::HashMap;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::base::time::{BEIJING, beijing_day};
use crate::config::Gateway;
use crate::config::gateway::{ErrorClass, QuotaBlocks};
use crate::plan::price;
use crate::state::{Rest, RestKind, covers};

use super::accounts::Asking;
use super::judge::{Fault, Judgement};
use super::record::Record;
use super::retry::{STATED_MAX, WAIT_MAX};
use super::words::explain;

/// A refused account rests this long, unless its credentials change.
const DENIED: TimeDelta = TimeDelta::hours(1);

/// For which calls an account rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of them.
    Everything,
    /// Those that are counted together.
    Scope,
    /// Those to the endpoint.
    Endpoint,
}

impl Extent {
    /// The scope of the rest, as [`Resting::scope`] names it.
    pub(super) fn scope(self, asking: Asking<'_>) -> String {
        match self {
            Extent::Everything => String::new(),
            Extent::Scope => asking.scope.to_owned(),
            Extent::Endpoint => format!("endpoint:{}", asking.endpoint),
        }
    }
}

/// The rest that an answer means for the account that asked; `None`: none.
pub(super) fn rest(gateway: &Gateway, fault: &Fault, now: DateTime<Utc>) -> Option<(Rest, Extent)> {
    rest_of_call(gateway, fault, now, midnight_after(now))
}

/// The same of a call whose day ends at `midnight`: an answer that comes after it speaks of the day before.
pub(super) fn rest_of_call(
    gateway: &Gateway,
    fault: &Fault,
    now: DateTime<Utc>,
    midnight: DateTime<Utc>,
) -> Option<(Rest, Extent)> {
    let quota = |gateway, fault, now| quota(gateway, fault, (now, midnight));
    match fault.class {
        ErrorClass::Quota => Some((quota(gateway, fault, now), Extent::Scope)),
        ErrorClass::Retry | ErrorClass::Throttle if is_ban(fault) => Some((quota(gateway, fault, now), Extent::Scope)),
        ErrorClass::Auth if fault.permission => Some((denied(explain(fault), now), Extent::Endpoint)),
        ErrorClass::Auth => Some((denied(explain(fault), now), Extent::Everything)),
        _ => None,
    }
}

/// Whether the gateway states a longer wait than lies between two tries of a call.
fn is_ban(fault: &Fault) -> bool {
    fault.wait.is_some_and(|wait| wait > WAIT_MAX)
}

/// The rest of an account whose credentials or permissions are refused.
pub(super) fn denied(reason: String, now: DateTime<Utc>) -> Rest {
    Rest { kind: RestKind::Denied, until: now + DENIED, reason }
}

/// The rest that a quota answer means, by the gateway's own word where it gives one.
fn quota(gateway: &Gateway, fault: &Fault, (now, midnight): (DateTime<Utc>, DateTime<Utc>)) -> Rest {
    let stated = fault.wait.filter(|wait| !wait.is_zero()).map(|wait| wait.min(STATED_MAX));
    let until = match (stated, gateway.limits.quota_blocks) {
        (Some(wait), _) => now + wait,
        (None, QuotaBlocks::Hours(hours)) => now + TimeDelta::hours(i64::from(hours)),
        (None, QuotaBlocks::Midnight) => midnight,
    };
    Rest { kind: RestKind::Quota, until, reason: explain(fault) }
}

/// The next midnight in Beijing.
pub(super) fn midnight_after(now: DateTime<Utc>) -> DateTime<Utc> {
    let tomorrow = beijing_day(now).succ_opt().unwrap_or(beijing_day(now));
    tomorrow.and_time(NaiveTime::MIN).and_local_timezone(BEIJING).single().map_or(now, |at| at.to_utc())
}

/// A rest as an answer, or the end of a run, showed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The account's key in the ledger.
    pub account: String,
    /// The gateway that was asked, by name.
    pub gateway: String,
    /// For which calls, as in [`crate::state::Resting::scope`].
    pub scope: String,
    /// When it was known.
    pub since: DateTime<Utc>,
    /// The rest.
    pub rest: Rest,
}

/// The rests that still hold, as far as landed answers and ended runs show them.
#[derive(Debug, Default)]
pub struct Standing {
    rests: Vec<Shown>,
    /// When the last call that was answered well was sent: by account, gateway, scope and endpoint.
    answered: HashMap<(String, String, String, String), DateTime<Utc>>,
}

impl Standing {
    /// Takes a landed answer, in any order.
    pub fn hear(&mut self, gateway: &Gateway, record: &Record, judgement: &Judgement) {
        if record.copied_from.is_some() || record.account_key.is_empty() {
            return;
        }
        let (account, name, since) = (record.account_key.clone(), gateway.name.clone(), record.received_at);
        let scope = price::scope(gateway, &record.endpoint, record.shop_id.as_deref());
        match judgement {
            Judgement::Good => {
                let sent_at = self.answered.entry((account, name, scope, record.endpoint.clone())).or_default();
                *sent_at = record.sent_at.max(*sent_at);
            }
            Judgement::Fault(fault) => {
                let midnight = midnight_after(record.sent_at);
                let Some((rest, extent)) = rest_of_call(gateway, fault, since, midnight) else { return };
                let scope = extent.scope(Asking { scope: &scope, endpoint: &record.endpoint });
                self.rests.push(Shown { account, gateway: name, scope, since, rest });
            }
        }
    }

    /// Takes what a run knew at its end.
    pub fn add(&mut self, shown: &[Shown]) {
        self.rests.extend_from_slice(shown);
    }

    /// Those that hold, the last word first: they have not ended, and the gateway has answered no such call since.
    #[must_use]
    pub fn holding(mut self, now: DateTime<Utc>) -> Vec<Shown> {
        let answered = self.answered;
        self.rests.retain(|shown| {
            let is_over = |((account, gateway, scope, endpoint), sent_at): (
                &(String, String, String, String),
                &DateTime<Utc>,
            )| {
                (account, gateway) == (&shown.account, &shown.gateway)
                    && *sent_at > shown.since
                    && covers(&shown.scope, scope, endpoint)
            };
            shown.rest.until > now && !answered.iter().any(is_over)
        });
        self.rests.sort_by_key(|shown| std::cmp::Reverse(shown.since));
        let mut last: Vec<Shown> = Vec::new();
        for shown in self.rests {
            let same = |kept: &Shown| {
                (&kept.account, &kept.gateway, &kept.scope, kept.rest.kind)
                    == (&shown.account, &shown.gateway, &shown.scope, shown.rest.kind)
            };
            if !last.iter().any(same) {
                last.push(shown);
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::extract::testing::{self, at};

    fn fault(class: ErrorClass) -> Fault {
        let (code, message) = (Some("4013".to_owned()), "over quota".to_owned());
        Fault { class, code, message, hint: None, wait: None, permission: false, elsewhere: false }
    }

    fn record(second: u32, endpoint: &str) -> Record {
        let sent_at = at(&format!("2026-11-20T12:00:{second:02}Z"));
        let received_at = sent_at + TimeDelta::milliseconds(300);
        Record { account_key: "key".into(), endpoint: endpoint.into(), sent_at, received_at, ..testing::record(200) }
    }

    #[test]
    fn an_answer_that_comes_after_midnight_blocks_the_day_before() {
        let gateway = testing::gateway("");
        let (sent_at, received_at) = (at("2026-11-20T15:59:59.9Z"), at("2026-11-20T16:00:00.2Z"));
        let late = Record { sent_at, received_at, ..record(0, "listing") };
        let mut standing = Standing::default();
        standing.hear(&gateway, &late, &Judgement::Fault(fault(ErrorClass::Quota)));
        assert_eq!(standing.rests[0].rest.until, at("2026-11-20T16:00:00Z"));
        assert_eq!(standing.holding(received_at), []);
        let midnight = at("2026-11-20T16:00:00Z");
        let rest = rest_of_call(&gateway, &fault(ErrorClass::Quota), received_at, midnight).unwrap().0;
        assert_eq!(rest.until, midnight);
    }

    #[test]
    fn an_answer_lets_its_account_rest_for_the_calls_that_it_is_about() {
        let gateway = testing::gateway("");
        let by_hours = {
            let mut gateway = gateway.clone();
            gateway.limits.quota_blocks = QuotaBlocks::Hours(24);
            gateway
        };
        let now = at("2026-11-20T12:00:00Z");
        let wait = |seconds, fault| Fault { wait: Some(Duration::from_secs(seconds)), ..fault };
        let (quota, throttle) = (fault(ErrorClass::Quota), fault(ErrorClass::Throttle));
        let retry = fault(ErrorClass::Retry);
        let (auth, permission) = (fault(ErrorClass::Auth), Fault { permission: true, ..fault(ErrorClass::Auth) });
        use RestKind::{Denied, Quota};
        for (gateway, fault, expected) in [
            (&gateway, &quota, Some((Quota, "2026-11-20T16:00:00Z", Extent::Scope))),
            (&by_hours, &quota, Some((Quota, "2026-11-21T12:00:00Z", Extent::Scope))),
            (&by_hours, &wait(600, quota.clone()), Some((Quota, "2026-11-20T12:10:00Z", Extent::Scope))),
            (&gateway, &wait(0, quota.clone()), Some((Quota, "2026-11-20T16:00:00Z", Extent::Scope))),
            (&gateway, &wait(120, throttle.clone()), None),
            (&gateway, &wait(121, throttle.clone()), Some((Quota, "2026-11-20T12:02:01Z", Extent::Scope))),
            (&gateway, &wait(u64::MAX, throttle.clone()), Some((Quota, "2026-12-21T12:00:00Z", Extent::Scope))),
            (&gateway, &wait(9_000_000_000_000, quota.clone()), Some((Quota, "2026-12-21T12:00:00Z", Extent::Scope))),
            (&gateway, &throttle, None),
            (&gateway, &auth, Some((Denied, "2026-11-20T13:00:00Z", Extent::Everything))),
            (&gateway, &permission, Some((Denied, "2026-11-20T13:00:00Z", Extent::Endpoint))),
            (&gateway, &wait(120, retry.clone()), None),
            (&gateway, &wait(121, retry.clone()), Some((Quota, "2026-11-20T12:02:01Z", Extent::Scope))),
            (&gateway, &retry, None),
            (&gateway, &fault(ErrorClass::Param), None),
        ] {
            let rests = rest(gateway, fault, now).map(|(rest, extent)| (rest.kind, rest.until, extent));
            assert_eq!(rests, expected.map(|(kind, until, extent)| (kind, at(until), extent)), "{fault:?}");
        }
    }

    /// The scopes of the rests that hold a minute later.
    fn holding(heard: &[(u32, &str, Judgement)]) -> Vec<String> {
        let gateway = testing::gateway("");
        let mut standing = Standing::default();
        for (second, endpoint, judgement) in heard {
            standing.hear(&gateway, &record(*second, endpoint), judgement);
        }
        standing.holding(at("2026-11-20T12:01:00Z")).into_iter().map(|shown| shown.scope).collect()
    }

    #[test]
    fn a_rest_holds_until_the_gateway_answers_such_a_call() {
        let refused = |permission| Judgement::Fault(Fault { permission, ..fault(ErrorClass::Auth) });
        let quota = || Judgement::Fault(fault(ErrorClass::Quota));
        let none: [String; 0] = [];
        assert_eq!(holding(&[(1, "listing", quota())]), [""]);
        assert_eq!(holding(&[(1, "listing", quota()), (1, "count", Judgement::Good)]), [""], "it was in flight");
        assert_eq!(holding(&[(2, "count", Judgement::Good), (1, "listing", quota())]), none, "in whatever order");
        assert_eq!(holding(&[(1, "item", refused(true)), (2, "listing", Judgement::Good)]), ["endpoint:item"]);
        assert_eq!(holding(&[(1, "item", refused(true)), (2, "item", Judgement::Good)]), none);
        assert_eq!(holding(&[(1, "item", refused(false)), (2, "listing", Judgement::Good)]), none);
        assert_eq!(holding(&[(1, "count", quota()), (2, "listing", quota())]), [""], "the last word");
    }

    #[test]
    fn what_was_copied_or_has_ended_is_no_rest() {
        let gateway = testing::gateway("");
        let refusal = Judgement::Fault(fault(ErrorClass::Auth));
        let mut standing = Standing::default();
        standing.hear(&gateway, &Record { copied_from: Some("run/1".into()), ..record(1, "item") }, &refusal);
        standing.hear(&gateway, &Record { account_key: String::new(), ..record(1, "item") }, &refusal);
        standing.hear(&gateway, &record(1, "item"), &refusal);
        assert_eq!(standing.holding(at("2026-11-20T13:00:02Z")), []);
    }
}
