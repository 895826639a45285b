//! aop, the official gateway: the path names the call and is signed; errors are `gw.*` with HTTP 400.

use serde_json::{Value, json};

use super::records::{compact_text, cross_border, cross_border_listed, product_info};
use super::{Call, Context, Refusal, list};
use crate::sim::answer::{Answer, Outcome};
use crate::sim::offers::Offer;
use crate::sim::world::{Day, Shop};

const OWN_PAGE_SIZE_MAX: u32 = 20;
const SELLER_PAGE_SIZE_MAX: u64 = 50;
/// Needs neither token nor permission.
pub(in crate::sim) const CURRENT_TIME: &str = "system/currentTime";
/// Renews an access token: neither signed nor counted.
pub(in crate::sim) const GET_TOKEN: &str = "system.oauth2/getToken";

/// Answers one of the gateway's methods.
pub(in crate::sim) fn answer(call: &Call, day: &Day, context: &Context) -> Result<Answer, Refusal> {
    match call.method().as_str() {
        CURRENT_TIME => Ok(Answer::json(Outcome::Ok, &json!(compact_text(context.now)))),
        "com.alibaba.product/alibaba.product.get" => {
            let (shop, offer) = day.offer(call.id("productID")?).ok_or(Refusal::Gone)?;
            let success = if offer.id % 2 == 0 { json!(true) } else { json!("true") };
            let body = json!({"success": success, "productInfo": product_info(shop, offer), "bizGroupInfos": []});
            Ok(Answer::json(Outcome::Ok, &body))
        }
        "com.alibaba.product/alibaba.product.list.get" => own_listing(call, day, context),
        "com.alibaba.fenxiao.crossborder/product.search.querySellerOfferList" => seller_listing(call, day, context),
        "com.alibaba.fenxiao.crossborder/product.search.queryProductDetail" => {
            let query = query(call)?;
            let id = number(&query, &["offerId"]).and_then(|id| i64::try_from(id).ok());
            let found = day.offer(id.ok_or(Refusal::Missing("offerId"))?);
            let Some((shop, offer)) = found.filter(|(_, offer)| offer.is_on_sale) else {
                let inner =
                    json!({"success": false, "errorCode": "OFFER_NOT_FOUND", "errorMsg": "商品不存在", "code": "404"});
                return Ok(Answer::json(Outcome::Gone, &json!({"result": inner})));
            };
            Ok(nested(Outcome::Ok, cross_border(shop, offer)))
        }
        other => Err(Refusal::Method(other.to_owned())),
    }
}

/// The listing of the token's own shop: the first one.
fn own_listing(call: &Call, day: &Day, context: &Context) -> Result<Answer, Refusal> {
    let shop = day.shops.first().ok_or(Refusal::Gone)?;
    let size = call.number("pageSize", 20, OWN_PAGE_SIZE_MAX)?;
    let page = context.page(call.number("pageNo", 1, u32::MAX)?);
    let bound = |name: &'static str| call.get(name).map(|text| compact(text).ok_or(Refusal::Bad(name))).transpose();
    let (start, end) = (bound("startModifyTime")?, bound("endModifyTime")?);
    let takes = |offer: &&Offer| {
        let at = offer.modified_at.timestamp();
        offer.is_on_sale && start.is_none_or(|start| at >= start) && end.is_none_or(|end| at <= end)
    };
    let offers: Vec<&Offer> = shop.by_modified.iter().map(|&at| &shop.offers[at]).filter(takes).collect();
    let records: Vec<Value> =
        offers.iter().skip((page - 1) * size).take(size).map(|offer| product_info(shop, offer)).collect();
    let outcome = if records.is_empty() { Outcome::Empty } else { Outcome::Ok };
    let body = json!({"success": true, "total": offers.len(), "result": {"pageResult": {
        "pageIndex": page,
        "sizePerPage": size,
        "totalRecords": offers.len(),
        "resultList": list(records, context.odd_lists, call.identity()),
    }}});
    Ok(Answer::json(outcome, &body).of_selected(offers.len()))
}

/// Seconds of `20180717174002000+0800`; the zone is read as Beijing's.
fn compact(text: &str) -> Option<i64> {
    let digits = text.get(..14)?;
    let local = chrono::NaiveDateTime::parse_from_str(digits, "%Y%m%d%H%M%S").ok()?;
    Some(local.and_utc().timestamp() - 8 * 3600)
}

fn seller_listing(call: &Call, day: &Day, context: &Context) -> Result<Answer, Refusal> {
    let query = query(call)?;
    let shop: &Shop = day.shop(seller(&query).ok_or(Refusal::Missing("sellerOpenId"))?).ok_or(Refusal::Gone)?;
    let size = number(&query, &["pageSize"]).unwrap_or(20);
    if !(1..=SELLER_PAGE_SIZE_MAX).contains(&size) {
        return Err(Refusal::Bad("pageSize"));
    }
    let page = number(&query, &["beginPage", "currentPage", "pageNo", "page"]).unwrap_or(1).max(1);
    let (size, page) = (usize::try_from(size).unwrap_or(20), context.page(usize::try_from(page).unwrap_or(usize::MAX)));
    let offers: Vec<&Offer> =
        shop.by_sales.iter().map(|&at| &shop.offers[at]).filter(|offer| offer.is_on_sale).collect();
    let from = (page - 1).saturating_mul(size);
    let records: Vec<Value> = offers.iter().skip(from).take(size).map(|offer| cross_border_listed(offer)).collect();
    let outcome = if records.is_empty() { Outcome::Empty } else { Outcome::Ok };
    let result = json!({
        "totalRecords": offers.len(),
        "totalPage": offers.len().div_ceil(size),
        "pageSize": size,
        "currentPage": page,
        "data": list(records, context.odd_lists, call.identity()),
    });
    Ok(nested(outcome, result).of_selected(offers.len()))
}

fn nested(outcome: Outcome, result: Value) -> Answer {
    let body = json!({"result": {"success": true, "code": "200", "message": "成功", "result": result}});
    Answer::json(outcome, &body)
}

/// The one JSON-valued parameter of the cross-border calls, whatever it is called.
fn query(call: &Call) -> Result<Value, Refusal> {
    let text =
        call.params.values().find(|value| value.trim_start().starts_with('{')).ok_or(Refusal::Missing("param"))?;
    serde_json::from_str(text).map_err(|_| Refusal::Bad("param"))
}

/// A number or a text of digits, under the first of `names` that is there.
fn number(query: &Value, names: &[&str]) -> Option<u64> {
    let value = names.iter().find_map(|&name| query.get(name))?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn seller(query: &Value) -> Option<&str> {
    ["sellerOpenId", "memberId", "sellerLoginId", "shopId"].iter().find_map(|&name| query.get(name)?.as_str())
}

/// The shop that a call is about, where it can be told.
pub(in crate::sim) fn shop_of<'a>(call: &Call, day: &'a Day) -> Option<&'a Shop> {
    let of_offer = |id| day.offer(id).map(|(shop, _)| shop);
    match call.method().as_str() {
        "com.alibaba.product/alibaba.product.list.get" => day.shops.first(),
        "com.alibaba.product/alibaba.product.get" => of_offer(call.id("productID").ok()?),
        _ => {
            let query = query(call).ok()?;
            let offer = number(&query, &["offerId"]).and_then(|id| i64::try_from(id).ok());
            offer.and_then(of_offer).or_else(|| day.shop(seller(&query)?))
        }
    }
}

/// The answer to a refresh token that holds: the lifetime is a text, as in the official documents.
pub(in crate::sim) fn token_answer(token: &str, seconds: i64) -> Answer {
    let body = json!({
        "access_token": token,
        "expires_in": seconds.to_string(),
        "aliId": "8888888888",
        "resource_owner": "sim",
    });
    Answer::json(Outcome::Ok, &body)
}

/// The answer to a request for a token that is refused. The words are OAuth's; HTTP 400.
pub(in crate::sim) fn token_refusal(error: &str) -> Answer {
    let body = json!({"error": error, "error_description": "the token request is refused"});
    Answer::json(Outcome::Denied, &body).with_status(400)
}

/// Outcome, code and message of a refusal.
pub(in crate::sim) fn code(refusal: &Refusal) -> (Outcome, &'static str, String) {
    match refusal {
        Refusal::Missing(name) => (Outcome::Param, "gw.ParamMissing", format!("Required argument {name}")),
        Refusal::Bad(name) => (Outcome::Param, "gw.ParamInvalid", format!("Invalid argument {name} (param error)")),
        Refusal::Method(name) => (Outcome::Param, "gw.APIUnsupported", format!("Request API {name} is not supported")),
        Refusal::Unsigned => (Outcome::Signature, "gw.SignatureMissing", "Request signature is missing".to_owned()),
        Refusal::Signature => (Outcome::Signature, "gw.SignatureInvalid", "Invalid signature".to_owned()),
        Refusal::Time => {
            (Outcome::Skew, "gw.TimestampInvalid", "Request timestamp is out of range, sign again".to_owned())
        }
        Refusal::Key => (Outcome::Denied, "gw.AppKeyMissing", "App key is missing or unknown".to_owned()),
        Refusal::Token => (Outcome::Denied, "401", "Request need user authorized".to_owned()),
        Refusal::Permission => (Outcome::Denied, "gw.APIACLDecline", "AppKey is not allowed(acl)".to_owned()),
        Refusal::Throttled => {
            (Outcome::Throttled, "gw.QosAppFrequencyLimit", "App call exceeds limited frequency".to_owned())
        }
        Refusal::Quota { .. } => {
            (Outcome::Quota, "gw.QosAppQuotaLimit", "App call quota of today is used up".to_owned())
        }
        Refusal::Busy => (Outcome::Busy, "gw.ServiceBusy", "系统繁忙，请稍后重试 (system busy)".to_owned()),
        Refusal::Gone => (Outcome::Gone, "gw.ObjectNotFound", "请求的商品不存在 (not exist)".to_owned()),
    }
}

/// `{error_code,error_message,exception,request_id}`, HTTP 400 (503 when busy).
pub(in crate::sim) fn refuse(refusal: &Refusal) -> Answer {
    let (outcome, code, message) = code(refusal);
    let body = json!({
        "error_code": code,
        "error_message": message,
        "exception": "",
        "request_id": format!("21e{:013x}", code.len() * message.len()),
    });
    let status = match refusal {
        Refusal::Busy => 503,
        Refusal::Gone => 200,
        _ => 400,
    };
    Answer::json(outcome, &body).with_status(status)
}
