//! Judging: is this answer good, and if not, what is to be done about it (WIRE §1 and §5 "Errors")?
//!
//! Takes the definition, the endpoint, the attempt's record and the parsed body; gives a [`Judgement`]. The same
//! function judges during extraction and each time landed bytes are read again.
//!
//! | what came | judgement |
//! |---|---|
//! | no (whole) answer | retry; of HTTP 429 and 5xx, whose body says the least, what their status and headers say |
//! | "ban will last for N more seconds" | throttle for N when N ≤ 120, else quota |
//! | sub-code, code (exact, then `prefix.*`), or a code inside the message, with an entry in the definition | its class |
//! | … with a `prefix.*` only, which makes it final, where the rules below find it temporary | theirs |
//! | HTTP 3xx | param: the address is not the gateway's own |
//! | HTTP 429, 频率 限流 frequency | throttle; quota when `Retry-After`, or the definition's entry, says more than 120 s |
//! | 额度 配额 次数 quota | quota |
//! | HTTP 2xx in a `Content-Encoding` (none was asked for), and nothing that can be read | retry: it may not be the gateway's |
//! | HTTP 404, 405, 410 without a document | retry: the address may not be the gateway's |
//! | 不存在 已下架 not exist | gone |
//! | 权限 permission acl · 签名, the words sign and signature | auth |
//! | HTTP 5xx, a code that says busy, unavailable or time-out, broken or empty body | retry |
//! | any other code, status, false success flag, or an answer without what was asked for | item: this item or page fails |
//!
//! Invariant: pure, and an answer is good only if it holds what the endpoint is asked for: never an empty page by mistake.

use std::borrow::Cow;
use std::time::Duration;

use crate::base::json::{Pointers, Raw};
use crate::config::gateway::{CodeRule, Endpoint, ErrorClass, ErrorRules, Gateway, Refuses};

use super::answer::{self, List};
use super::body::{self, BodyError};
use super::record::Record;
use super::retry;
use super::words::{PLAIN_ANSWERS, wrong_address};

/// Letters of a gateway's message that are kept.
const MESSAGE_CHARS: usize = 300;

/// The name of a good answer.
pub const GOOD: &str = "good";

/// What an answer is.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It holds what was asked for.
    Good,
    /// It does not.
    Fault(Fault),
}

/// Why an answer is not good, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What to do. [`ErrorClass::Item`] means that this item or page fails.
    pub class: ErrorClass,
    /// The code it was classified by, else the first code in the answer.
    pub code: Option<String>,
    /// What the gateway said, or what was wrong.
    pub message: String,
    /// What the user can change.
    pub hint: Option<String>,
    /// How long the gateway wants us to wait.
    pub wait: Option<Duration>,
    /// Of a refusal ([`ErrorClass::Auth`]): it is about this endpoint, not about the account.
    pub permission: bool,
    /// Whatever answered is hardly the gateway: the address may be wrong, as the hint says. One try more tells.
    pub elsewhere: bool,
}

impl Judgement {
    /// The name of the class for logs and the `calls` table; a good answer is `good`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Judgement::Good => GOOD,
            Judgement::Fault(fault) => fault.class.name(),
        }
    }
}

/// A gateway's error rules, compiled: one pass over an answer finds every code, message and flag.
#[derive(Debug, Clone)]
pub struct Judge<'g> {
    gateway: &'g Gateway,
    pointers: Pointers,
}

impl<'g> Judge<'g> {
    /// Compiles the rules of a gateway.
    #[must_use]
    pub fn new(gateway: &'g Gateway) -> Self {
        let rules = &gateway.errors;
        let all = rules.sub_code.iter().chain(&rules.code).chain(&rules.message).chain(&rules.success);
        Self { gateway, pointers: Pointers::new(all.map(|pointer| pointer.parts())) }
    }

    /// Judges the parsed body of one attempt.
    pub fn judge(&self, endpoint: &Endpoint, record: &Record, json: Result<Raw<'_>, &BodyError>) -> Judgement {
        if let Some(judged) = &record.judged {
            return judged_before(judged, record);
        }
        if let Some(error) = &record.transport_error {
            return Judgement::Fault(broken_off(record, error));
        }
        let Some(status) = record.http_status else {
            return Judgement::Fault(retry_fault("no answer arrived".to_owned()));
        };
        let mut found = vec![None; self.pointers.len()];
        if let Ok(answer) = json {
            self.pointers.capture(answer, &mut found);
        }
        let signs = Signs::new(&self.gateway.errors, &found, json.err());
        let problem = match json {
            Err(error) => Some(Problem::Broken(error.to_string())),
            Ok(_) if !(200..300).contains(&status) => Some(Problem::Status),
            Ok(_) if signs.failed(&self.gateway.errors) => Some(Problem::Stated),
            Ok(answer) => missing(endpoint, answer),
        };
        let Some(problem) = problem else { return Judgement::Good };
        let evidence =
            Evidence { rules: &self.gateway.errors, endpoint, signs: &signs, record, status, problem: &problem };
        Judgement::Fault(evidence.classify())
    }

    /// Judges the bytes of one attempt: decodes and parses them first.
    pub fn judge_bytes(&self, endpoint: &Endpoint, record: &Record, body: &[u8]) -> Judgement {
        let json = body::to_json(body, record.content_type.as_deref());
        let parsed = json.as_ref().map_err(Clone::clone).and_then(|json| body::parse(json));
        self.judge(endpoint, record, parsed.as_ref().map(|raw| *raw))
    }
}

/// Judges the bytes of one attempt. For many answers of one gateway keep a [`Judge`].
pub fn judge(gateway: &Gateway, endpoint: &Endpoint, record: &Record, body: &[u8]) -> Judgement {
    Judge::new(gateway).judge_bytes(endpoint, record, body)
}

/// Why an answer is not good.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    /// No document.
    Broken(String),
    /// The HTTP status.
    Status,
    /// The answer itself says so.
    Stated,
    /// A document that says nothing: `{}`, `[]`, `""`, `null`.
    Empty,
    /// A document without what was asked for.
    Missing(String),
}

/// What an answer says about itself.
struct Signs<'a> {
    sub_codes: Vec<Cow<'a, str>>,
    codes: Vec<Cow<'a, str>>,
    messages: Vec<Cow<'a, str>>,
    success: bool,
}

impl<'a> Signs<'a> {
    fn new(rules: &ErrorRules, found: &[Option<Raw<'a>>], error: Option<&'a BodyError>) -> Self {
        let mut rest = found;
        let mut take = |count: usize| {
            let (these, others) = rest.split_at(count.min(rest.len()));
            rest = others;
            these.iter().flatten().copied().filter(|value| !value.is_empty_value())
        };
        let (sub_codes, codes) = (take(rules.sub_code.len()), take(rules.code.len()));
        let (messages, flags) = (take(rules.message.len()), take(rules.success.len()));
        let mut messages: Vec<_> = messages.filter_map(Raw::text).collect();
        if let Some(BodyError::Text(words)) = error {
            messages.push(Cow::Borrowed(words));
        }
        Self {
            sub_codes: sub_codes.filter_map(Raw::text).collect(),
            codes: codes.filter_map(Raw::text).collect(),
            messages,
            success: flags.filter_map(Raw::text).all(|flag| flag.eq_ignore_ascii_case("true") || flag == "1"),
        }
    }

    /// Whether the answer says that it is an error.
    fn failed(&self, rules: &ErrorRules) -> bool {
        let bad = |code: &Cow<'_, str>| !rules.ok.iter().any(|ok| ok == code.trim());
        !self.success || self.codes.iter().any(bad) || self.sub_codes.iter().any(bad)
    }
}

/// What the endpoint is asked for and the answer does not hold.
fn missing(endpoint: &Endpoint, answer: Raw<'_>) -> Option<Problem> {
    let absent =
        |what: &str| Some(if answer.is_empty_value() { Problem::Empty } else { Problem::Missing(what.to_owned()) });
    if !endpoint.list.is_empty() && answer::list(endpoint, answer) == List::Missing {
        // A stated total shows that the page was answered: TOP-type services leave an empty list out.
        return if answer::total(endpoint, answer).is_some() { None } else { absent("list") };
    }
    // Where a list is there, it is what was asked for: a call for several offers extends one for a single offer.
    if endpoint.list.is_empty() && !endpoint.one.is_empty() {
        let Some(one) = answer::first(&endpoint.one, answer) else { return absent("record") };
        if !endpoint.shop_id.is_empty() && answer::first(&endpoint.shop_id, one).and_then(Raw::text).is_none() {
            return absent("shop id");
        }
    }
    let only_total = endpoint.list.is_empty() && endpoint.one.is_empty() && !endpoint.total.is_empty();
    if only_total && answer::total(endpoint, answer).is_none() {
        return absent("total");
    }
    None
}

struct Evidence<'e> {
    rules: &'e ErrorRules,
    endpoint: &'e Endpoint,
    signs: &'e Signs<'e>,
    record: &'e Record,
    status: u16,
    problem: &'e Problem,
}

impl Evidence<'_> {
    fn classify(&self) -> Fault {
        let mut codes = self.signs.sub_codes.iter().chain(&self.signs.codes).map(|code| code.trim().to_owned());
        let mut fault = Fault {
            class: ErrorClass::Item,
            code: codes.find(|code| !self.rules.ok.contains(code)),
            message: self.message(),
            hint: None,
            wait: None,
            permission: false,
            elsewhere: false,
        };
        fault.wait = stated_wait(self.record);
        if let Some(seconds) = self.texts().find_map(ban_seconds) {
            fault.class = ErrorClass::Throttle;
            fault.wait = Some(Duration::from_secs(seconds));
        } else if let Some(Entry { code, rule, is_family }) = self.rule() {
            fault.class = if is_family { self.of_family(rule.class, &code) } else { rule.class };
            fault.code = Some(code);
            fault.hint.clone_from(&rule.hint);
            fault.wait = fault.wait.or(rule.wait_seconds.map(Duration::from_secs));
            fault.permission = rule.refuses.map_or_else(|| self.says_permission(), |what| what == Refuses::Endpoint);
        } else {
            (fault.class, fault.hint) = self.general();
            fault.permission = self.says_permission();
        }
        // Whoever must wait longer has no calls left until then, whatever says so (WIRE §5, TOP code 7).
        if fault.class == ErrorClass::Throttle && fault.wait.is_some_and(|wait| wait > retry::WAIT_MAX) {
            fault.class = ErrorClass::Quota;
        }
        fault.permission &= fault.class == ErrorClass::Auth;
        fault.elsewhere = fault.class == ErrorClass::Retry && (self.is_elsewhere() || self.coding().is_some());
        fault
    }

    /// What a code means of which only the family has an entry. Nobody has listed the code: what shows itself to be
    /// temporary is not made final by what its family usually means.
    fn of_family(&self, class: ErrorClass, code: &str) -> ErrorClass {
        use ErrorClass::{Auth, Gone, Item, Param, Quota, Retry, Throttle};
        match (class, self.general().0) {
            (Retry | Throttle | Quota, _) => class,
            (_, temporary @ (Retry | Throttle | Quota)) => temporary,
            (Auth | Param | Item | Gone, _) if says_temporary(code) => Retry,
            _ => class,
        }
    }

    /// Whether whatever answered knows nothing of this address: no document, and a status that says so. Where the address
    /// names the offer, it may be the offer that is not there.
    fn is_elsewhere(&self) -> bool {
        matches!(self.problem, Problem::Broken(_)) && is_no_address(self.status, self.endpoint)
    }

    /// The coding that an answer cannot be read in. The next one will hardly come in another.
    fn coding(&self) -> Option<&str> {
        let is_unread = (200..300).contains(&self.status) && matches!(self.problem, Problem::Broken(_));
        self.record.coding().filter(|_| is_unread)
    }

    /// Whether the answer speaks of a permission rather than of the key.
    fn says_permission(&self) -> bool {
        let of_key = ["无效", "invalid signature", "unknown"];
        self.texts().any(is_of_permission) && !self.texts().any(|text| contains(text, &of_key))
    }

    /// The definition's entry for the answer's codes: sub-codes first, exact before prefix, then codes inside messages.
    fn rule(&self) -> Option<Entry<'_>> {
        let mut codes = self.signs.sub_codes.iter().chain(&self.signs.codes);
        let found = codes.find_map(|code| {
            let code = code.trim();
            exact(self.rules, code).or_else(|| family(self.rules, code))
        });
        found.or_else(|| self.signs.messages.iter().find_map(|message| inside(self.rules, message)))
    }

    /// The general rules of WIRE §5 "Errors", in their order.
    fn general(&self) -> (ErrorClass, Option<String>) {
        let says = |parts: &[&str]| self.texts().any(|text| contains(text, parts));
        let says_word = |is: fn(&str) -> bool| self.texts().any(|text| words(text).any(is));
        let signature = || Some("signature: check the secret, the account's app key and the clock".to_owned());
        if self.redirects() {
            let hint =
                "redirects are not followed, they would carry signed calls elsewhere: correct the gateway's `url`";
            (ErrorClass::Param, Some(hint.to_owned()))
        } else if self.status == 429 || says(&["频率", "限流", "frequency", "too many requests"]) {
            (ErrorClass::Throttle, None)
        } else if says(&["额度", "配额", "次数", "quota"]) {
            (ErrorClass::Quota, None)
        } else if self.coding().is_some() {
            (ErrorClass::Retry, Some(PLAIN_ANSWERS.to_owned()))
        } else if self.is_elsewhere() {
            (ErrorClass::Retry, Some(wrong_address(self.endpoint)))
        } else if says(&["不存在", "已下架", "not exist"]) {
            (ErrorClass::Gone, None)
        } else if self.texts().any(is_of_permission) {
            (
                ErrorClass::Auth,
                Some("permission: the account may not call this: apply for it in the app's console".to_owned()),
            )
        } else if says(&["签名"]) || says_word(is_signature) {
            (ErrorClass::Auth, signature())
        } else if self.status >= 500
            || self.is_temporary()
            || matches!(self.problem, Problem::Broken(_) | Problem::Empty)
        {
            (ErrorClass::Retry, None)
        } else {
            (ErrorClass::Item, None)
        }
    }

    /// Whether a code says so itself.
    fn is_temporary(&self) -> bool {
        self.signs.sub_codes.iter().chain(&self.signs.codes).any(|code| says_temporary(code))
    }

    fn redirects(&self) -> bool {
        self.record.redirects()
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let signs = self.signs;
        signs.messages.iter().chain(&signs.sub_codes).chain(&signs.codes).map(AsRef::as_ref)
    }

    fn message(&self) -> String {
        let said = self.signs.messages.join("; ");
        let said: String = said.trim().chars().take(MESSAGE_CHARS).collect();
        match self.problem {
            // What a redirect's page says is addressed to browsers.
            _ if self.redirects() && self.signs.codes.is_empty() => format!("HTTP {}: a redirect", self.status),
            Problem::Broken(_) if self.coding().is_some() => {
                format!("HTTP {}: the answer is coded as `{}`", self.status, self.coding().unwrap_or_default())
            }
            Problem::Broken(what) if said.is_empty() => format!("HTTP {}: {what}", self.status),
            Problem::Empty => "the answer is empty".to_owned(),
            Problem::Missing(what) if said.is_empty() => format!("the answer holds no {what} and no error"),
            // A reseller's `success` is not why the answer is of no use.
            Problem::Missing(what) => format!("the answer holds no {what} and says: {said}"),
            _ if said.is_empty() && self.signs.codes.is_empty() && self.signs.sub_codes.is_empty() => {
                format!("HTTP {}", self.status)
            }
            _ => said,
        }
    }
}

/// The judgement of this name, of an answer that is kept nowhere.
fn judged_before(name: &str, record: &Record) -> Judgement {
    let class = ErrorClass::ALL.into_iter().find(|class| class.name() == name);
    let wait = stated_wait(record);
    let fault = |class| Fault { class, wait, ..retry_fault("the answer is kept nowhere".to_owned()) };
    class.map_or(Judgement::Good, |class| Judgement::Fault(fault(class)))
}

/// An answer that did not arrive whole. That it is a refusal for now, and for how long, its head says.
fn broken_off(record: &Record, error: &str) -> Fault {
    let fault = |status: u16| Fault { wait: stated_wait(record), ..retry_fault(format!("HTTP {status}: {error}")) };
    match record.http_status {
        Some(status @ 429) => {
            let fault = fault(status);
            let is_ban = fault.wait.is_some_and(|wait| wait > retry::WAIT_MAX);
            Fault { class: if is_ban { ErrorClass::Quota } else { ErrorClass::Throttle }, ..fault }
        }
        Some(status) if status >= 500 => fault(status),
        _ => retry_fault(error.to_owned()),
    }
}

fn retry_fault(message: String) -> Fault {
    Fault { class: ErrorClass::Retry, code: None, message, hint: None, wait: None, permission: false, elsewhere: false }
}

fn stated_wait(record: &Record) -> Option<Duration> {
    retry::stated_wait(record.retry_after.as_deref(), record.date.as_deref(), record.received_at)
}

/// Whether a status says that nothing answers at an endpoint's address. Where the address is made of what the call asks
/// about, that may be what is missing.
pub(super) fn is_no_address(status: u16, endpoint: &Endpoint) -> bool {
    const ASKED_ABOUT: [&str; 6] = ["shop_url", "shop_id", "offer_id", "offer_ids", "sku_id", "category_id"];
    let is_of_call = |place: &str| ASKED_ABOUT.contains(&place);
    matches!(status, 404 | 405 | 410) && !endpoint.path.as_ref().is_some_and(|path| path.places().any(is_of_call))
}

/// The definition's entry for a code.
struct Entry<'r> {
    code: String,
    rule: &'r CodeRule,
    /// It is that of a `prefix.*`: the code itself has none.
    is_family: bool,
}

fn exact<'r>(rules: &'r ErrorRules, code: &str) -> Option<Entry<'r>> {
    rules.codes.get(code).map(|rule| Entry { code: code.to_owned(), rule, is_family: false })
}

/// The entry `prefix.*` with the longest prefix of `code`.
fn family<'r>(rules: &'r ErrorRules, code: &str) -> Option<Entry<'r>> {
    let prefixes = rules.codes.iter().filter_map(|(name, rule)| Some((name.strip_suffix('*')?, rule)));
    let longest = prefixes.filter(|(prefix, _)| code.starts_with(prefix)).max_by_key(|(prefix, _)| prefix.len());
    longest.map(|(_, rule)| Entry { code: code.to_owned(), rule, is_family: true })
}

/// Shorter codes (TOP's 7, 25) are too common as plain numbers to be searched for in messages.
const CODE_INSIDE_MIN: usize = 3;

/// The first word of a message that is a code with an entry.
fn inside<'r>(rules: &'r ErrorRules, message: &str) -> Option<Entry<'r>> {
    let words = tokens(message).filter(|(_, word)| word.len() >= CODE_INSIDE_MIN);
    let entry = |word: &str| exact(rules, word).or_else(|| word.contains('.').then(|| family(rules, word)).flatten());
    words.map(|(_, word)| word).find_map(entry)
}

/// The words of a text that could be codes: runs of ASCII letters, digits, `.`, `-`, `_`, without dots at their ends.
fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let split = |char: char| !(char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_'));
    text.split(split).map(|word| word.trim_matches(['.', '-'])).enumerate().filter(|(_, word)| !word.is_empty())
}

fn contains(text: &str, parts: &[&str]) -> bool {
    let lower = text.to_lowercase();
    parts.iter().any(|part| lower.contains(part))
}

/// The words of a text: runs of ASCII letters, cut where a capital begins a word of its own (`gw.APIACLDecline`).
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|char: char| !char.is_ascii_alphabetic()).flat_map(|run| {
        let (letters, mut rest) = (run.as_bytes(), run);
        let is_upper = |at: usize| letters.get(at).is_some_and(u8::is_ascii_uppercase);
        let is_lower = |at: usize| letters.get(at).is_some_and(u8::is_ascii_lowercase);
        let begins = move |at: &usize| is_upper(*at) && (is_lower(at - 1) || is_lower(at + 1));
        let mut cuts = (1..run.len()).filter(begins).chain([run.len()]);
        std::iter::from_fn(move || {
            let (word, after) = rest.split_at(cuts.next()? - (run.len() - rest.len()));
            rest = after;
            Some(word)
        })
    })
}

/// `acl`, also at the end of an abbreviation (`APIACL`); `ORACLE` is none.
fn is_acl(word: &str) -> bool {
    word.eq_ignore_ascii_case("acl") || word.ends_with("ACL")
}

/// The words, not their letters within others: a design may be assigned to whoever signed up.
fn is_signature(word: &str) -> bool {
    ["sign", "signature", "signatures"].iter().any(|sign| word.eq_ignore_ascii_case(sign))
}

/// `gw.ServiceUnavailable`, `isp.remote-service-timeout`, `SYSTEM_BUSY`: whoever asks again may be answered.
fn says_temporary(code: &str) -> bool {
    let letters: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    contains(&letters, &["busy", "unavailable", "timeout", "timedout", "overload", "temporar", "internalerror"])
}

fn is_of_permission(text: &str) -> bool {
    contains(text, &["权限", "permission"]) || words(text).any(is_acl)
}

/// N of "This ban will last for N more seconds".
fn ban_seconds(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (_, rest) = lower.split_once("ban will last for ")?;
    let digits: &str = rest.split(|char: char| !char.is_ascii_digit()).next()?;
    rest[digits.len()..].trim_start().starts_with("more second").then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
