//! shop-search (S3): a shop's listing with headline prices. Counts are texts; page size ≤ 100.

use serde_json::{Value, json};

use super::records::{detail_url, id, picture_url};
use super::{Call, Context, Refusal, list};
use crate::sim::answer::{Answer, Outcome};
use crate::sim::offers::Offer;
use crate::sim::shapes::yuan;
use crate::sim::world::{Day, Shop};

const PAGE_SIZE_MAX: u32 = 100;

/// Answers `item_search_shop`.
pub(in crate::sim) fn answer(call: &Call, day: &Day, context: &Context) -> Result<Answer, Refusal> {
    match call.need("method")? {
        "item_search_shop" => {}
        other => return Err(Refusal::Method(other.to_owned())),
    }
    let shop = day.shop(call.need("seller_nick")?).ok_or(Refusal::Gone)?;
    let size = call.number("page_size", 40, PAGE_SIZE_MAX)?;
    let page = context.page(call.number("page", 1, u32::MAX)?);
    let offers = selected(call, shop)?;
    let items: Vec<Value> = offers.iter().skip((page - 1) * size).take(size).map(|offer| item(shop, offer)).collect();
    let outcome = if items.is_empty() { Outcome::Empty } else { Outcome::Ok };
    let body = json!({"items": {
        "page": page.to_string(),
        "real_total_results": offers.len().to_string(),
        "total_results": offers.len().to_string(),
        "page_size": size,
        "pagecount": offers.len().div_ceil(size).to_string(),
        "item": list(items, context.odd_lists, call.identity()),
    }});
    Ok(Answer::json(outcome, &body).of_selected(offers.len()))
}

fn selected<'a>(call: &Call, shop: &'a Shop) -> Result<Vec<&'a Offer>, Refusal> {
    let bound =
        |name: &'static str| call.get(name).map(|text| ten_thousandths(text).ok_or(Refusal::Bad(name))).transpose();
    let (low, high) = (bound("start_price")?, bound("end_price")?);
    let words = call.get("q").unwrap_or("");
    let takes = |offer: &&Offer| {
        let price = offer.headline_fen * 100;
        offer.is_on_sale
            && offer.title.as_deref().unwrap_or("").contains(words)
            && low.is_none_or(|low| price >= low)
            && high.is_none_or(|high| price <= high)
    };
    let mut offers: Vec<&Offer> = shop.by_sales.iter().map(|&at| &shop.offers[at]).filter(takes).collect();
    match call.get("sort") {
        None | Some("sale") => {}
        Some("price") => offers.sort_by_key(|offer| (offer.headline_fen, offer.id)),
        Some("_price") => offers.sort_by_key(|offer| (std::cmp::Reverse(offer.headline_fen), offer.id)),
        Some(_) => return Err(Refusal::Bad("sort")),
    }
    Ok(offers)
}

/// Yuan with at most four decimals, in ten-thousandths.
fn ten_thousandths(text: &str) -> Option<i64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + decimals.len() == 0 || decimals.len() > 4 || !is_digits(whole) || !is_digits(decimals) {
        return None;
    }
    format!("0{whole}{decimals:0<4}").parse().ok()
}

fn item(shop: &Shop, offer: &Offer) -> Value {
    let mut item = json!({
        "num_iid": id(offer.id_form, offer.id),
        "pic_url": picture_url(offer),
        "price": yuan(offer.headline_fen),
        "detail_url": detail_url(offer),
        "shop_name": shop.name,
        "shop_url": shop.url,
    });
    if let (Some(title), Value::Object(item)) = (&offer.title, &mut item) {
        item.insert("title".to_owned(), json!(title));
    }
    item
}

/// `error_response{code,msg,sub_code,sub_msg}`, with HTTP 200.
pub(in crate::sim) fn refuse(refusal: &Refusal) -> Answer {
    let (outcome, code, message, sub_code, sub_message) = match refusal {
        Refusal::Missing(name) => {
            (Outcome::Param, 40, "Missing required arguments", "isv.param-error", format!("missing {name}"))
        }
        Refusal::Bad(name) => (Outcome::Param, 41, "Invalid arguments", "isv.param-error", format!("invalid {name}")),
        Refusal::Method(name) => {
            (Outcome::Param, 22, "Invalid method", "isv.param-error", format!("invalid method {name}"))
        }
        Refusal::Unsigned | Refusal::Signature => {
            (Outcome::Signature, 25, "Invalid signature", "isv.invalid-signature", "invalid sign".to_owned())
        }
        Refusal::Time => {
            (Outcome::Skew, 31, "Invalid timestamp", "isv.param-error", "timestamp is out of range".to_owned())
        }
        Refusal::Key | Refusal::Token | Refusal::Permission => (
            Outcome::Denied,
            11,
            "Insufficient isv permissions",
            "isv.invalid-permission",
            "permission denied".to_owned(),
        ),
        Refusal::Throttled => (
            Outcome::Throttled,
            7,
            "App Call Limited",
            "accesscontrol.limited-by-api-access-count",
            "This ban will last for 1 more seconds".to_owned(),
        ),
        Refusal::Quota { seconds, .. } => (
            Outcome::Quota,
            7,
            "App Call Limited",
            "accesscontrol.limited-by-app-access-count",
            format!("This ban will last for {seconds} more seconds"),
        ),
        Refusal::Busy => {
            (Outcome::Busy, 15, "Remote service error", "isp.remote-service-timeout", "服务繁忙".to_owned())
        }
        Refusal::Gone => (Outcome::Gone, 15, "Remote service error", "isv.item-not-exist", "店铺不存在".to_owned()),
    };
    let error = json!({"code": code, "msg": message, "sub_code": sub_code, "sub_msg": sub_message});
    Answer::json(outcome, &json!({"error_response": error}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_bound_is_read_exactly_or_not_at_all() {
        let cases = [
            ("5", Some(50_000)),
            ("12.5", Some(125_000)),
            ("0.29", Some(2900)),
            (".5", Some(5000)),
            ("1.2345", Some(12_345)),
        ];
        for (text, expected) in cases {
            assert_eq!(ten_thousandths(text), expected, "{text}");
        }
        for text in ["", ".", "-1", "1e3", "1.23456", "五", "99999999999999999999"] {
            assert_eq!(ten_thousandths(text), None, "{text}");
        }
    }
}
