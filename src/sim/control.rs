//! The control endpoint under `/_sim/`: what happened, the truth, and switches to change while it runs.
//!
//! | | |
//! |---|---|
//! | `GET day` · `POST day` | the world's day · moves it: `2026-11-20` or `next` |
//! | `GET world?gateway=NAME&date=D&shop=ID&offers=no` | the truth about a day (without `date`: this one), of one shop or all |
//! | `GET stats` · `GET journal?after=N&limit=N` | sums · the newest calls |
//! | `POST reset` | forgets journal, sums and attempts (the same calls fail again); quotas go on |
//! | `POST storm?calls=N&retry_after=S` | the next N calls (`all`, `none`) get 429; `retry_after`: seconds, `date:S`, `none` |
//! | `POST secret?app_key=K&secret=S` | changes what a key signs with |
//! | `POST clock?offset_seconds=N` | moves the gateways' clock |
//! | `POST expire-tokens` | from now on only new access tokens are good |
//!
//! Parameters stand in the query or in a form.
//!
//! Invariant: nothing here is journalled or counted.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use chrono::{Days, NaiveDate};
use serde::Serialize;

use super::desk::Desk;
use super::gateways::Gateway;
use super::options::{RetryAfter, Storm};
use super::server::{pairs, plain};

/// Journal entries of one answer, unless fewer are asked for.
const ENTRIES_MAX: usize = 10_000;
const USAGE: &str = "GET day, stats, journal?after=N&limit=N, world?gateway=NAME&date=D&shop=ID&offers=no; \
                     POST day, reset, storm?calls=N|all|none&retry_after=S|date:S|none, secret?app_key=K&secret=S, \
                     clock?offset_seconds=N, expire-tokens";

/// One request to the control endpoint.
pub(super) struct Control {
    path: String,
    method: Method,
    /// From the query and a form.
    params: BTreeMap<String, String>,
    body: Bytes,
}

impl Control {
    pub(super) fn new(path: &str, method: Method, (query, body): (&[u8], &Bytes)) -> Self {
        let mut params = pairs(query);
        if method == Method::POST {
            params.extend(pairs(body));
        }
        Self { path: path.to_owned(), method, params, body: body.clone() }
    }

    pub(super) fn answer(&self, desk: &Desk) -> Response {
        let answer = match (self.path.as_str(), &self.method) {
            ("day", &Method::GET) => Ok(day(desk)),
            ("day", &Method::POST) => self.set_day(desk),
            ("stats", &Method::GET) => Ok(json(&desk.stats())),
            ("journal", &Method::GET) => {
                let limit = self.number("limit").unwrap_or(ENTRIES_MAX);
                Ok(json(&desk.journal(self.number("after").unwrap_or(0), limit.min(ENTRIES_MAX))))
            }
            ("world", &Method::GET) => self.world(desk),
            ("reset", &Method::POST) => {
                desk.reset();
                Ok(done())
            }
            ("storm", &Method::POST) => self.storm().map(|storm| {
                desk.switches().set_storm(storm);
                done()
            }),
            ("secret", &Method::POST) => self.secret(desk),
            ("clock", &Method::POST) => match self.number("offset_seconds") {
                Some(seconds) => {
                    desk.switches().set_clock_offset(seconds);
                    Ok(done())
                }
                None => Err("`offset_seconds` is a number"),
            },
            ("expire-tokens", &Method::POST) => {
                desk.switches().expire_tokens();
                Ok(done())
            }
            _ => return plain(StatusCode::NOT_FOUND, USAGE),
        };
        answer.unwrap_or_else(|problem| plain(StatusCode::BAD_REQUEST, problem))
    }

    fn set_day(&self, desk: &Desk) -> Result<Response, &'static str> {
        let body = String::from_utf8_lossy(&self.body);
        let text = self.params.get("date").map_or(&*body, String::as_str);
        let date = read_date(text, desk.day().date).ok_or("a date is `2026-11-20`, or `next`")?;
        desk.set_day(date);
        Ok(day(desk))
    }

    fn world(&self, desk: &Desk) -> Result<Response, &'static str> {
        let name = self.params.get("gateway").map_or("portals", String::as_str);
        let gateway = Gateway::ALL.into_iter().find(|gateway| gateway.name() == name).ok_or("no such gateway")?;
        let today = desk.day().date;
        let date =
            self.params.get("date").map(|text| read_date(text, today).ok_or("a date is `2026-11-20`, or `next`"));
        let mut world = desk.world_on(gateway, date.transpose()?.unwrap_or(today));
        if let Some(id) = self.params.get("shop") {
            world.shops.retain(|shop| shop.shop_id == *id);
            if world.shops.is_empty() {
                return Err("no such shop");
            }
        }
        if self.params.get("offers").is_some_and(|wanted| wanted == "no") {
            world.shops.iter_mut().for_each(|shop| shop.offers.clear());
        }
        Ok(json(&world))
    }

    fn storm(&self) -> Result<Option<Storm>, &'static str> {
        let calls = match self.params.get("calls").map_or("all", String::as_str) {
            "none" => return Ok(None),
            "all" => None,
            number => Some(number.parse().map_err(|_| "`calls` is a number, `all` or `none`")?),
        };
        let retry_after = self.params.get("retry_after").map_or(Some(RetryAfter::Absent), |text| retry_after(text));
        let retry_after = retry_after.ok_or("`retry_after` is seconds, `date:SECONDS` or `none`")?;
        Ok(Some(Storm { calls, retry_after }))
    }

    fn secret(&self, desk: &Desk) -> Result<Response, &'static str> {
        let (Some(app_key), Some(secret)) = (self.params.get("app_key"), self.params.get("secret")) else {
            return Err("`app_key` and `secret` are needed");
        };
        if !desk.has_key(app_key) {
            return Err("no such key");
        }
        desk.switches().set_secret(app_key, secret);
        Ok(done())
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.params.get(name)?.parse().ok()
    }
}

/// `5`, `date:5`, `none`.
fn retry_after(text: &str) -> Option<RetryAfter> {
    match text.strip_prefix("date:") {
        Some(seconds) => seconds.parse().ok().map(RetryAfter::Date),
        None if text == "none" => Some(RetryAfter::Absent),
        None => text.parse().ok().map(RetryAfter::Seconds),
    }
}

fn done() -> Response {
    plain(StatusCode::OK, "done")
}

fn day(desk: &Desk) -> Response {
    json(&BTreeMap::from([("date", desk.day().date)]))
}

/// `2026-11-20`, alone or anywhere in a form or JSON; or `next`.
fn read_date(text: &str, today: NaiveDate) -> Option<NaiveDate> {
    if text.trim() == "next" {
        return today.checked_add_days(Days::new(1));
    }
    let start = text.find(|c: char| c.is_ascii_digit())?;
    NaiveDate::parse_from_str(text.get(start..start + 10)?, "%Y-%m-%d").ok()
}

fn json<T: Serialize>(value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let mut response = Response::new(Body::from(bytes));
            let value = header::HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, value);
            response
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "not serialisable"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_alone_in_a_form_and_in_json() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 20).expect("a date");
        for text in ["2026-11-20", "2026-11-20\n", "date=2026-11-20", r#"{"date":"2026-11-20"}"#] {
            assert_eq!(read_date(text, NaiveDate::default()), Some(day), "{text}");
        }
        assert_eq!(read_date("next", day), Some(day + Days::new(1)));
        assert_eq!(read_date("2026-11-99", day), None);
        assert_eq!(read_date("tomorrow", day), None);
    }

    #[test]
    fn a_storm_is_read_with_its_length_and_its_wait() {
        let read = |query: &str| Control::new("storm", Method::POST, (query.as_bytes(), &Bytes::new())).storm();
        let storm = |calls, retry_after| Ok(Some(Storm { calls, retry_after }));
        assert_eq!(read(""), storm(None, RetryAfter::Absent));
        assert_eq!(read("calls=3&retry_after=0"), storm(Some(3), RetryAfter::Seconds(0)));
        assert_eq!(read("calls=all&retry_after=date:9"), storm(None, RetryAfter::Date(9)));
        assert_eq!(read("calls=none"), Ok(None));
        assert!(read("calls=some").is_err() && read("retry_after=soon").is_err());
    }
}
