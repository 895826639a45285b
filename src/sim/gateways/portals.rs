//! portals (S2): whole shops by member id. Page size ≤ 40, nothing past page 50, MD5 over percent-encoded values.

use serde_json::{Value, json};

use super::records::{Record, flat, sku};
use super::{Call, Context, ListingOrder, ListingTotals, Refusal, WindowEnd, list};
use crate::sim::answer::{Answer, Outcome};
use crate::sim::offers::Offer;
use crate::sim::options::QuotaScope;
use crate::sim::world::{Day, Shop};

const PAGE_SIZE_MAX: u32 = 40;
const PAGES: usize = 50;
/// Absent unless `fields` names them (WIRE §1 "Requests").
const ON_REQUEST: [&str; 4] = ["skuIds", "wholesalePrice", "moq", "channelPrice"];

/// Answers one of the gateway's methods.
pub(in crate::sim) fn answer(call: &Call, day: &Day, context: &Context) -> Result<Answer, Refusal> {
    match call.need("method")? {
        "alibaba.shop.get" => {
            let shop = day.shop(call.need("shop_url")?).ok_or(Refusal::Gone)?;
            let record = json!({"member_id": shop.id, "shop_name": shop.name, "shop_url": shop.url});
            Ok(envelope("shop_get_response", "shop", record))
        }
        "alibaba.seller.items.count.get" => {
            let count = selected(call, shop(call, day)?, (&Narrow::default(), context)).count();
            let body = json!({"seller_items_count_get_response": {"total_count": count}});
            Ok(Answer::json(Outcome::Ok, &body))
        }
        "alibaba.shop.categories.get" => {
            let shop = shop(call, day)?;
            let categories: Vec<Value> =
                shop.categories().map(|(cid, name)| json!({"cid": cid, "name": name})).collect();
            Ok(envelope("shop_categories_get_response", "categories", json!({"category": categories})))
        }
        "alibaba.sku.get" => {
            let (offer, number) = day.sku(call.id("sku_id")?).ok_or(Refusal::Gone)?;
            Ok(envelope("sku_get_response", "sku", sku(offer, &offer.skus[number])))
        }
        "alibaba.seller.items.list.get" => items(call, day, context),
        other => Err(Refusal::Method(other.to_owned())),
    }
}

fn envelope(response: &str, name: &str, value: Value) -> Answer {
    Answer::json(Outcome::Ok, &json!({response: {name: value}}))
}

fn shop<'a>(call: &Call, day: &'a Day) -> Result<&'a Shop, Refusal> {
    let id = call.need("member_id")?;
    day.shops.iter().find(|shop| shop.id == id).ok_or(Refusal::Gone)
}

/// What narrows a listing.
#[derive(Debug, Default)]
struct Narrow {
    start_ms: Option<i64>,
    end_ms: Option<i64>,
    cid: Option<i64>,
    is_lost: bool,
}

impl Narrow {
    fn of(call: &Call, context: &Context) -> Result<Self, Refusal> {
        let time = |name| call.get(name).map(|text| text.parse::<i64>().map_err(|_| Refusal::Bad(name))).transpose();
        let start_ms = time("start_time")?;
        let end_ms = if context.window_end == WindowEnd::Honoured { time("end_time")? } else { None };
        let cid = call.get("cid").map(|cid| cid.parse().map_err(|_| Refusal::Bad("cid"))).transpose()?;
        // Seconds "lose data": an answer without an error and without items.
        let is_lost = call.get("start_time").is_some_and(|text| text.len() != 13);
        Ok(Self { start_ms, end_ms, cid, is_lost })
    }

    fn takes(&self, offer: &Offer) -> bool {
        let at = offer.modified_at.timestamp_millis();
        !self.is_lost
            && self.start_ms.is_none_or(|start| at >= start)
            && self.end_ms.is_none_or(|end| at <= end)
            && self.cid.is_none_or(|cid| offer.cid() == cid)
    }
}

/// The shop's offers that the call asks for, in the order it asks for.
fn selected<'a>(
    call: &Call,
    shop: &'a Shop,
    (narrow, context): (&'a Narrow, &Context),
) -> impl Iterator<Item = &'a Offer> {
    let on_sale = match call.get("offline") {
        Some("false") => Some(true),
        Some("true") => Some(false),
        _ => None,
    };
    let order = match (call.get("sortType"), context.listings.order) {
        (Some("volume_desc"), _) => &shop.by_sales,
        (Some("modified_asc"), _) | (_, ListingOrder::Modified) => &shop.by_modified,
        (_, ListingOrder::Unordered) => &shop.by_nothing,
    };
    order
        .iter()
        .map(|&at| &shop.offers[at])
        .filter(move |offer| on_sale.is_none_or(|on_sale| offer.is_on_sale == on_sale) && narrow.takes(offer))
}

fn items(call: &Call, day: &Day, context: &Context) -> Result<Answer, Refusal> {
    let shop = shop(call, day)?;
    let size = call.number("pageSize", 20, PAGE_SIZE_MAX)?;
    let page = context.page(call.number("pageNum", 1, u32::MAX)?);
    let fields: Option<Vec<&str>> = call.get("fields").map(|fields| fields.split(',').map(str::trim).collect());
    let narrow = Narrow::of(call, context)?;
    let offers: Vec<&Offer> = selected(call, shop, (&narrow, context)).collect();
    let mut items = Vec::new();
    if page <= PAGES {
        let offers = offers.iter().skip((page - 1) * size).take(size);
        items.extend(offers.map(|offer| chosen(flat(shop, offer, "wholesalePrice"), fields.as_deref())));
    }
    let outcome = if items.is_empty() { Outcome::Empty } else { Outcome::Ok };
    let mut response = json!({"items": {"item": list(items, context.odd_lists, call.identity())}});
    if context.listings.totals == ListingTotals::Stated {
        response["total_results"] = json!(offers.len());
    }
    let body = json!({"seller_items_list_get_response": response});
    Ok(Answer::json(outcome, &body).of_selected(offers.len()))
}

/// The fields that were asked for; the id always.
fn chosen(mut record: Record, fields: Option<&[&str]>) -> Value {
    record.retain(|name, _| match fields {
        Some(fields) => name == "item_id" || fields.contains(&name.as_str()),
        None => !ON_REQUEST.contains(&name.as_str()),
    });
    Value::Object(record)
}

/// `error_response{code,msg}`, with HTTP 200.
pub(in crate::sim) fn refuse(refusal: &Refusal) -> Answer {
    let (outcome, code, message) = match refusal {
        Refusal::Missing(name) => (Outcome::Param, 1001, format!("参数错误: {name} 不能为空")),
        Refusal::Bad(name) => (Outcome::Param, 1001, format!("参数错误: {name}")),
        Refusal::Method(name) => (Outcome::Param, 1001, format!("参数错误: method {name} 无效")),
        Refusal::Unsigned | Refusal::Signature => (Outcome::Signature, 10_002, "签名错误".to_owned()),
        Refusal::Time => {
            (Outcome::Skew, 10_002, "签名错误: timestamp 应为13位毫秒且与服务器相差不超过3分钟".to_owned())
        }
        Refusal::Key => (Outcome::Denied, 10_001, "app_key 无效或无权限".to_owned()),
        Refusal::Token | Refusal::Permission => (Outcome::Denied, 10_003, "无权限调用该接口".to_owned()),
        Refusal::Throttled => (Outcome::Throttled, 429, "请求频率过高".to_owned()),
        Refusal::Quota { scope, .. } => {
            let counted = match scope {
                QuotaScope::Account => "",
                QuotaScope::Endpoint => "该接口",
                QuotaScope::Shop => "该店铺",
            };
            (Outcome::Quota, 10_006, format!("{counted}今日调用次数已达上限，配额次日零点恢复"))
        }
        Refusal::Busy => (Outcome::Busy, 5002, "系统繁忙，请稍后重试".to_owned()),
        Refusal::Gone => (Outcome::Gone, 1004, "请求的对象不存在".to_owned()),
    };
    Answer::json(outcome, &json!({"error_response": {"code": code, "msg": message}}))
}
