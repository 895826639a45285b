//! Building a call: from definition, endpoint, account and values to what is sent.
//!
//! What is sent and what is kept are two different values: [`Request::url`] and [`Request::form`] hold
//! credentials, time and signature and print stars; [`Request::identity`] holds none of them and is landed.
//!
//! Invariant: no credential, and nothing derived from one, enters the identity.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use crate::base::Secret;
use crate::base::time::BEIJING;
use crate::config::Template;
use crate::config::gateway::{Answer, Endpoint, Gateway, Http, Skip, TimeFormat, Window};
use crate::config::pipeline::{Account, Credential};
use crate::config::template::Part;

use super::sign::{self, MASKED, SignError, Signable};

/// One call to build.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The definition.
    pub gateway: &'a Gateway,
    /// One of its endpoints.
    pub endpoint: &'a Endpoint,
    /// Who asks.
    pub account: &'a Account,
    /// What the endpoint's places stand for.
    pub values: &'a Values,
    /// The signing time, already corrected by the measured skew.
    pub now: DateTime<Utc>,
}

/// What an endpoint's places stand for in one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// `{shop_id}`
    pub shop_id: Option<String>,
    /// `{shop_url}`
    pub shop_url: Option<String>,
    /// `{offer_id}` and `{item_id}`
    pub offer_id: Option<i64>,
    /// `{sku_id}`
    pub sku_id: Option<i64>,
    /// `{offer_ids}`: the offers that one call asks about.
    pub offer_ids: Vec<i64>,
    /// `{category_id}`; also the category parameter of the endpoint.
    pub category_id: Option<String>,
    /// The span of time that the endpoint's window parameters narrow to, both ends inclusive.
    pub span: Option<Span>,
    /// A smaller span can be asked for instead: patience with an answer that takes too long ends early.
    pub can_be_halved: bool,
    /// `{page}`; also the page parameter of the endpoint.
    pub page: Option<u32>,
    /// `{answer}` and `{format}`: `json` or `xml`.
    pub answer: Option<Answer>,
    /// An answer that came before this moment (by the gateway's clock) is too old to stand for it.
    pub fresh_since: Option<DateTime<Utc>>,
    /// Anything else, by the name of its place; goes before the definition's `options`.
    pub more: BTreeMap<String, String>,
}

/// A span of time, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its start; `None`: the beginning, written as 2005 where a window needs a start.
    pub start_at: Option<DateTime<Utc>>,
    /// Its end; `None`: none is sent.
    pub end_at: Option<DateTime<Utc>>,
}

/// A call as it is sent and as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// How the parameters travel.
    pub http: Http,
    /// The whole address; with [`Http::Get`] it carries the parameters.
    pub url: Secret,
    /// The URL-encoded form of [`Http::Post`].
    pub form: Option<Secret>,
    /// The parameters without credentials, time and signature: `Record.request`.
    pub identity: BTreeMap<String, String>,
}

/// Why a call cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A template has a place that nothing fills.
    #[error("nothing fills `{{{place}}}` in `{param}` of endpoint `{endpoint}`")]
    Place {
        /// The endpoint.
        endpoint: String,
        /// The parameter, or `path`.
        param: String,
        /// The place.
        place: String,
    },
    /// The time pattern is no `strftime` pattern.
    #[error("`time = \"{0}\"` is not a time pattern")]
    Time(String),
    /// The account lacks the signing secret.
    #[error("account `{account}` has no credential `{credential}`, which signs")]
    Credential {
        /// The account.
        account: String,
        /// The credential.
        credential: String,
    },
    /// The signing template.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Why a parameter is there, which decides whether it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Says what is asked.
    Identity,
    /// Holds the time or a plain credential.
    Envelope,
    /// Holds a secret.
    Secret,
}

struct Param<'a> {
    name: &'a str,
    value: Cow<'a, str>,
    role: Role,
}

/// Builds and signs a call.
///
/// # Errors
/// [`RequestError`]: always a fault of the definition or the account, never of the gateway.
pub fn build(call: Call<'_>) -> Result<Request, RequestError> {
    let places = Places::new(call)?;
    let params = places.params()?;
    let path = places.path()?;
    let mut sent: Vec<(&str, &str)> = params.iter().map(|param| (param.name, param.value.as_ref())).collect();
    let signature = match &call.gateway.sign {
        None => None,
        Some(rules) => {
            let secret = call.account.credentials.get(&rules.secret).map(Credential::expose).ok_or_else(|| {
                RequestError::Credential { account: call.account.name.clone(), credential: rules.secret.clone() }
            })?;
            let signature = sign::signature(rules, secret, Signable { path: &path, params: &sent })?;
            Some((rules.into.as_str(), signature))
        }
    };
    if let Some((name, value)) = &signature {
        sent.push((name, value));
    }
    let identity = params.iter().filter(|param| param.role == Role::Identity);
    let identity = identity.map(|param| (param.name.to_owned(), param.value.clone().into_owned())).collect();
    let address = format!("{}{path}", call.gateway.url);
    let encoded = encode(&sent);
    let http = call.endpoint.http;
    Ok(match http {
        Http::Get if encoded.is_empty() => Request { http, url: Secret::new(address), form: None, identity },
        Http::Get => {
            let mark = if address.contains('?') { '&' } else { '?' };
            Request { http, url: Secret::new(format!("{address}{mark}{encoded}")), form: None, identity }
        }
        Http::Post => Request { http, url: Secret::new(address), form: Some(Secret::new(encoded)), identity },
    })
}

/// What a call says, without building it: `Record.request`, but for the masking of known secrets.
///
/// # Errors
/// [`RequestError`].
pub fn identity(call: Call<'_>) -> Result<BTreeMap<String, String>, RequestError> {
    let places = Places::new(call)?;
    let params = places.params()?;
    let identity = params.into_iter().filter(|param| param.role == Role::Identity);
    Ok(identity.map(|param| (param.name.to_owned(), param.value.into_owned())).collect())
}

/// The text a call would sign and its signature, for people to compare with the gateway's: every secret is
/// masked in the text. `None` for gateways without a signature.
///
/// # Errors
/// [`RequestError`].
pub fn explain_signature(call: Call<'_>) -> Result<Option<(String, String)>, RequestError> {
    let Some(rules) = &call.gateway.sign else { return Ok(None) };
    let places = Places::new(call)?;
    let (params, path) = (places.params()?, places.path()?);
    let masked: Vec<(&str, &str)> = params
        .iter()
        .map(|param| (param.name, if param.role == Role::Secret { MASKED } else { param.value.as_ref() }))
        .collect();
    let text = sign::masked_text(rules, Signable { path: &path, params: &masked })?;
    let open: Vec<(&str, &str)> = params.iter().map(|param| (param.name, param.value.as_ref())).collect();
    let secret = call.account.credentials.get(&rules.secret).map_or("", Credential::expose);
    Ok(Some((text, sign::signature(rules, secret, Signable { path: &path, params: &open })?)))
}

/// `now` as the gateway wants it.
///
/// # Errors
/// [`RequestError::Time`].
pub fn write_time(format: &TimeFormat, now: DateTime<Utc>) -> Result<String, RequestError> {
    match format {
        TimeFormat::UnixMillis => Ok(now.timestamp_millis().to_string()),
        TimeFormat::UnixSeconds => Ok(now.timestamp().to_string()),
        TimeFormat::Pattern(pattern) => {
            let mut text = String::new();
            write!(text, "{}", now.with_timezone(&BEIJING).format(pattern))
                .map_err(|_| RequestError::Time(pattern.clone()))?;
            Ok(text)
        }
    }
}

fn encode(params: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(params.iter().map(|(name, value)| name.len() + value.len() * 2 + 2).sum());
    for (name, value) in params {
        if !out.is_empty() {
            out.push('&');
        }
        sign::push_percent(&mut out, name);
        out.push('=');
        sign::push_percent(&mut out, value);
    }
    out
}

/// Every place's value in one call.
struct Places<'a> {
    call: Call<'a>,
    now: String,
    fields: String,
    numbers: Numbers,
}

struct Numbers {
    offer_id: Option<String>,
    offer_ids: Option<String>,
    sku_id: Option<String>,
    page: Option<String>,
    page_size: Option<String>,
    window_start: Option<String>,
    window_end: Option<String>,
}

/// A place's value, and what it makes of the parameter it stands in.
enum Place<'a> {
    Value(&'a str, Role),
    /// Not given, and allowed not to be: the parameter is left out.
    Absent,
    Unknown,
}

impl<'a> Places<'a> {
    fn new(call: Call<'a>) -> Result<Self, RequestError> {
        let values = call.values;
        let paging = call.endpoint.page.as_ref().filter(|_| values.page.is_some());
        let (window_start, window_end) = match (&call.endpoint.window, values.span) {
            (Some(window), Some(span)) => window_times(call.gateway, window, span)?,
            _ => (None, None),
        };
        Ok(Self {
            call,
            now: write_time(&call.gateway.time, call.now)?,
            fields: call.endpoint.fields.join(","),
            numbers: Numbers {
                offer_id: values.offer_id.map(|id| id.to_string()),
                offer_ids: (!values.offer_ids.is_empty()).then(|| joined(&values.offer_ids)),
                sku_id: values.sku_id.map(|id| id.to_string()),
                page: values.page.map(|page| page.to_string()),
                page_size: paging.map(|paging| paging.size_max.to_string()),
                window_start,
                window_end,
            },
        })
    }

    fn get(&self, name: &str) -> Place<'_> {
        let values = self.call.values;
        let value = match name {
            "now" => return Place::Value(&self.now, Role::Envelope),
            "fields" => Some(self.fields.as_str()),
            "shop_id" => values.shop_id.as_deref(),
            "shop_url" => values.shop_url.as_deref(),
            "offer_id" | "item_id" => self.numbers.offer_id.as_deref(),
            "offer_ids" => self.numbers.offer_ids.as_deref(),
            "category_id" => values.category_id.as_deref(),
            "sku_id" => self.numbers.sku_id.as_deref(),
            "page" => self.numbers.page.as_deref(),
            "page_size" => self.numbers.page_size.as_deref(),
            "answer" | "format" => Some(match values.answer {
                Some(Answer::Xml) => "xml",
                Some(Answer::Json) | None => "json",
            }),
            _ => return self.credential(name),
        };
        value.map_or(Place::Unknown, |value| Place::Value(value, Role::Identity))
    }

    fn credential(&self, name: &str) -> Place<'_> {
        if let Some(value) = self.call.values.more.get(name) {
            return Place::Value(value, Role::Identity);
        }
        let option = self.call.gateway.options.iter().find(|option| option.name == name);
        if let Some(option) = option {
            return option.default.as_deref().map_or(Place::Absent, |value| Place::Value(value, Role::Identity));
        }
        match self.call.account.credentials.get(name) {
            Some(Credential::Plain(value)) => Place::Value(value, Role::Envelope),
            Some(Credential::Secret(secret)) => Place::Value(secret.expose(), Role::Secret),
            None if is_optional(self.call.gateway, name) => Place::Absent,
            None => Place::Unknown,
        }
    }

    /// The parameters that are sent, in byte order of their names; an endpoint's own win over the common ones.
    fn params(&self) -> Result<Vec<Param<'_>>, RequestError> {
        let call = self.call;
        let mut params: BTreeMap<&str, Param<'_>> = BTreeMap::new();
        let skip = call.gateway.sign.as_ref().map_or(Skip::Null, |sign| sign.skip);
        let window = call.endpoint.window.as_ref().filter(|_| call.values.span.is_some());
        let window_params = window.map(|window| window.params.as_slice()).unwrap_or_default();
        for (name, template) in call.gateway.params.iter().chain(&call.endpoint.params).chain(window_params) {
            params.remove(name.as_str());
            let Some((value, role)) = self.fill(name, template)? else { continue };
            if sign::kept(skip, Some(&value)).is_some() {
                params.insert(name, Param { name, value, role });
            }
        }
        if let Some(window) = window {
            for name in &window.drop {
                params.remove(name.as_str());
            }
            let ends =
                [(Some(&window.start), &self.numbers.window_start), (window.end.as_ref(), &self.numbers.window_end)];
            for (name, value) in ends {
                if let (Some(name), Some(value)) = (name, value) {
                    params.insert(name, identity_param(name, value));
                }
            }
        }
        if let (Some(name), Some(id)) = (&call.endpoint.category, &call.values.category_id) {
            params.insert(name, identity_param(name, id));
        }
        if let (Some(paging), Some(page)) = (&call.endpoint.page, &self.numbers.page) {
            // A page number inside a JSON-valued parameter is a place of its template instead.
            let templated =
                |place| call.endpoint.params.iter().any(|(_, text)| text.places().any(|name| name == place));
            if !paging.number.is_empty() && !templated("page") {
                params.insert(&paging.number, identity_param(&paging.number, page));
            }
            if let (Some(name), Some(size)) = (&paging.size, &self.numbers.page_size)
                && !templated("page_size")
            {
                params.insert(name, identity_param(name, size));
            }
        }
        Ok(params.into_values().collect())
    }

    fn path(&self) -> Result<String, RequestError> {
        let Some(template) = &self.call.endpoint.path else { return Ok(String::new()) };
        Ok(self.fill("path", template)?.map(|(path, _)| path.into_owned()).unwrap_or_default())
    }

    /// The template filled in; `None` when an optional credential in it is not given.
    fn fill<'s>(&'s self, param: &str, template: &'s Template) -> Result<Option<(Cow<'s, str>, Role)>, RequestError> {
        // JSON-valued parameters are written once, here, and signed and sent as written.
        let json = matches!(template.parts().first(), Some(Part::Text(text)) if text.starts_with(['{', '[']));
        let mut filled = Cow::Borrowed("");
        let mut role = Role::Identity;
        for part in template.parts() {
            match part {
                Part::Text(text) => push(&mut filled, text),
                Part::Place(name) => match self.get(name) {
                    Place::Value(value, of) => {
                        if of == Role::Secret || role == Role::Identity {
                            role = of;
                        }
                        if json { push_json(filled.to_mut(), value) } else { push(&mut filled, value) }
                    }
                    Place::Absent => return Ok(None),
                    Place::Unknown => {
                        return Err(RequestError::Place {
                            endpoint: self.call.endpoint.name.clone(),
                            param: param.to_owned(),
                            place: name.clone(),
                        });
                    }
                },
            }
        }
        Ok(Some((filled, role)))
    }
}

fn identity_param<'a>(name: &'a str, value: &'a str) -> Param<'a> {
    Param { name, value: Cow::Borrowed(value), role: Role::Identity }
}

/// No platform of this kind is older; the first moments of the epoch have fewer than the 13 digits that S2 wants.
const EARLIEST: DateTime<Utc> = match DateTime::from_timestamp(1_104_537_600, 0) {
    Some(at) => at,
    None => panic!("2005 is a valid year"),
};

/// Both ends of a window as the gateway wants them. A window without a start starts in 2005; an end is sent only
/// where the gateway has one.
fn window_times(
    gateway: &Gateway,
    window: &Window,
    span: Span,
) -> Result<(Option<String>, Option<String>), RequestError> {
    let format = window.time.as_ref().unwrap_or(&gateway.time);
    let start = write_time(format, span.start_at.unwrap_or(EARLIEST))?;
    let end = window.end.as_ref().and(span.end_at).map(|at| write_time(format, at)).transpose()?;
    Ok((Some(start), end))
}

/// The offers that a landed call asked about, where it asked about several.
#[must_use]
pub fn offers_asked(gateway: &Gateway, endpoint: &Endpoint, request: &BTreeMap<String, String>) -> Option<Vec<i64>> {
    const IDS: &str = "\0";
    let around = |text: &Template| text.fill(|place| (place == "offer_ids").then_some(IDS));
    let mut params = endpoint.params.iter().chain(&gateway.params);
    let (name, around) =
        params.find_map(|(name, text)| Some((name, around(text).filter(|text| text.contains(IDS))?)))?;
    let (before, after) = around.split_once(IDS)?;
    let ids = request.get(name)?.strip_prefix(before)?.strip_suffix(after)?;
    let ids: Option<Vec<i64>> = ids.split(',').map(|id| id.parse().ok()).collect();
    ids.filter(|ids| ids.len() > 1)
}

fn joined(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

fn is_optional(gateway: &Gateway, name: &str) -> bool {
    gateway.credentials.iter().any(|spec| spec.name == name && spec.optional)
}

fn push<'a>(filled: &mut Cow<'a, str>, text: &'a str) {
    if filled.is_empty() {
        *filled = Cow::Borrowed(text);
    } else {
        filled.to_mut().push_str(text);
    }
}

/// Appends a value as the inside of a JSON string (also right for numbers).
fn push_json(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests;
