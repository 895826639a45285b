//! One answer in words: how the endpoint is, what it says of the signature, what to do.
//!
//! | answer | endpoint | signature |
//! |---|---|---|
//! | good, or "no such offer" | ok (a warning where the offer is gone) | accepted |
//! | no permission | failed: apply for it | not told |
//! | any other refusal of key or signature | failed | refused |
//! | no document, and a status that knows no such address | failed: the address | not told |
//! | throttled | a warning | not told |
//! | quota, parameter, outage, not what was asked for | failed | not told |
//!
//! Invariant: pure.

use crate::base::Kind;
use crate::config::gateway::{Endpoint, ErrorClass};
use crate::extract::probe::{Answer, NotSent};
use crate::extract::schedule::Outcome;
use crate::extract::{Fault, Judgement, or_else};

use super::Status;

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) status: Status,
    pub(super) says: String,
    pub(super) todo: Option<String>,
    pub(super) signature: Signature,
}

/// What an answer says of the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signature {
    Accepted,
    /// Further questions would be refused, too.
    Refused,
    /// It was not what the answer was about; perhaps it was not even looked at.
    Untold,
    /// Signed with a wrong time, as it seems: the next question is signed with another.
    Misdated,
}

pub(super) fn verdict(endpoint: &Endpoint, answer: &Answer) -> Verdict {
    let transport = match answer.http_status {
        Some(status) => format!("HTTP {status} in {} ms", answer.latency_ms),
        None => format!("after {} ms", answer.latency_ms),
    };
    let says = |what: &str| format!("`{}`: {what} · {transport}", endpoint.name);
    let Judgement::Fault(fault) = &answer.judgement else {
        let says = says(&found(&answer.outcome));
        return Verdict { status: Status::Ok, says, todo: None, signature: Signature::Accepted };
    };
    let (status, todo, signature) = meaning(endpoint, fault);
    if answer.is_misdated && matches!(fault.class, ErrorClass::Auth | ErrorClass::Param | ErrorClass::Item) {
        let todo =
            "the clocks differ: of this machine's time and the gateway's the next question is signed with the other";
        let (status, signature) = (Status::Warning, Signature::Misdated);
        return Verdict { status, says: says(&answer.words), todo: Some(todo.to_owned()), signature };
    }
    Verdict { status, says: says(&answer.words), todo: Some(todo), signature }
}

/// What a good answer holds.
fn found(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Resolved(id) => format!("member id `{id}`"),
        Outcome::Counted(count) => format!("official count {count}"),
        Outcome::Categories(ids) => format!("{} categories", ids.len()),
        Outcome::Page(page, _) => match page.total {
            Some(total) => format!("{} of {total} offers", page.keys.len()),
            None => format!("{} offers", page.keys.len()),
        },
        _ => "answered".to_owned(),
    }
}

fn meaning(endpoint: &Endpoint, fault: &Fault) -> (Status, String, Signature) {
    let hint = |general: &str| fault.hint.clone().unwrap_or_else(|| general.to_owned());
    match fault.class {
        ErrorClass::Gone => {
            let todo = "the first one that the pipeline names is not there any more: name another";
            (Status::Warning, todo.to_owned(), Signature::Accepted)
        }
        ErrorClass::Auth if fault.permission => {
            let mut todo = hint("apply for its permission in the app's console");
            let method = endpoint.method();
            if !method.is_empty() && !todo.contains(&method) {
                todo = format!("{todo} (`{method}`)");
            }
            (Status::Failed(Kind::Denied), todo, Signature::Untold)
        }
        ErrorClass::Auth => (Status::Failed(Kind::Denied), hint("check the account's credentials"), Signature::Refused),
        ErrorClass::Param => (Status::Failed(Kind::Config), hint("correct the definition"), Signature::Untold),
        ErrorClass::Quota => {
            (Status::Failed(Kind::Quota), hint("the account rests until its block ends"), Signature::Untold)
        }
        ErrorClass::Throttle => {
            let todo = "another program uses this key, or the definition's pace is too fast";
            (Status::Warning, hint(todo), Signature::Untold)
        }
        ErrorClass::Retry if fault.elsewhere => {
            (Status::Failed(Kind::Config), hint("correct `url`"), Signature::Untold)
        }
        ErrorClass::Retry => {
            let todo = or_else("a run would ask again; try the doctor later", fault.hint.as_deref());
            (Status::Failed(Kind::Unavailable), todo, Signature::Untold)
        }
        ErrorClass::Item => {
            let todo = "is this definition the one of the gateway at `url`? What it answered has landed";
            (Status::Failed(Kind::Data), hint(todo), Signature::Untold)
        }
    }
}

/// Why a question was not sent.
pub(super) fn not_sent(why: &NotSent) -> (Status, String, Option<String>) {
    match why {
        NotSent::UsedUp => (
            Status::Failed(Kind::Quota),
            "not asked: the account's calls of the day are used up".to_owned(),
            Some("ask again after midnight in Beijing".to_owned()),
        ),
        NotSent::Resting(rest) => (Status::Failed(Kind::Quota), format!("not asked: the account is {rest}"), None),
        NotSent::Busy => (
            Status::Warning,
            "not asked: another process keeps all of the account's places".to_owned(),
            Some("ask again when its run has ended".to_owned()),
        ),
    }
}
