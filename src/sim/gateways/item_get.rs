//! item-get (S0): one item by id, POST form, HMAC-SHA1 over `k=v&k=v`.
//!
//! `alibaba.items.get` is the simulator's own: no document describes a call for several items, and resellers' calls for
//! several are all-or-nothing, so this one is too. `item_ids=1,2,3`, at most [`BATCH_MAX`];
//! `items_get_response.items.item[]`; one id that is wrong or gone fails the whole call.

use serde_json::{Value, json};

use super::records::flat;
use super::{Call, Refusal};
use crate::sim::answer::{Answer, Outcome};
use crate::sim::offers::Offer;
use crate::sim::titles::CATEGORY_NAMES_ENGLISH;
use crate::sim::world::{Day, Shop};

/// Items of one `alibaba.items.get`.
const BATCH_MAX: usize = 20;

/// Answers `alibaba.item.get` and `alibaba.items.get`.
pub(in crate::sim) fn answer(call: &Call, day: &Day) -> Result<Answer, Refusal> {
    let found = |id| day.offer(id).filter(|(_, offer)| offer.is_on_sale).ok_or(Refusal::Gone);
    match call.need("method")? {
        "alibaba.item.get" => {
            let (shop, offer) = found(call.id("item_id")?)?;
            Ok(Answer::json(Outcome::Ok, &json!({"item_get_response": {"item": item(call, shop, offer)}})))
        }
        "alibaba.items.get" => {
            let ids = call.need("item_ids")?.split(',').map(|id| id.trim().parse::<i64>());
            let ids: Vec<i64> = ids.collect::<Result<_, _>>().map_err(|_| Refusal::Bad("item_ids"))?;
            if ids.len() > BATCH_MAX {
                return Err(Refusal::Bad("item_ids"));
            }
            let offers = ids.into_iter().map(found).collect::<Result<Vec<_>, _>>()?;
            let items: Vec<Value> = offers.into_iter().map(|(shop, offer)| item(call, shop, offer)).collect();
            Ok(Answer::json(Outcome::Ok, &json!({"items_get_response": {"items": {"item": items}}})))
        }
        other => Err(Refusal::Method(other.to_owned())),
    }
}

fn item(call: &Call, shop: &Shop, offer: &Offer) -> Value {
    let mut record = flat(shop, offer, "priceRange");
    if let Some(stock) = record.remove("stock") {
        record.insert("quantity".to_owned(), stock);
    }
    record.insert("provider_id".to_owned(), json!(shop.id));
    record.insert("modified_time".to_owned(), json!(offer.modified_at.timestamp_millis()));
    if let (Some(title), Some(lang)) = (&offer.title, call.get("lang").filter(|&lang| lang != "zh")) {
        let title = if lang == "en" { english(offer) } else { format!("[{lang}] {title}") };
        record.insert("title".to_owned(), json!(title));
    }
    record.insert("country".to_owned(), json!(call.get("country").unwrap_or("CN")));
    if let Some(fields) = call.get("fields") {
        let fields: Vec<&str> = fields.split(',').map(str::trim).collect();
        record.retain(|name, _| name == "item_id" || fields.contains(&name.as_str()));
    }
    Value::Object(record)
}

/// A title for `lang=en`; what the Chinese one says of packs stays.
fn english(offer: &Offer) -> String {
    let goods = CATEGORY_NAMES_ENGLISH[offer.category];
    let pack = offer.quantity.title_suffix().map(|pack| format!(" {pack}")).unwrap_or_default();
    format!("Wholesale {goods}, model {:03}{pack}", offer.id % 1000)
}

/// `{code, msg}`, with HTTP 200.
pub(in crate::sim) fn refuse(refusal: &Refusal) -> Answer {
    let (outcome, code, message) = match refusal {
        Refusal::Missing(name) => (Outcome::Param, 3001, format!("missing parameter {name}")),
        Refusal::Bad(name) => (Outcome::Param, 3001, format!("invalid parameter {name}")),
        Refusal::Method(name) => (Outcome::Param, 3001, format!("invalid method {name}")),
        Refusal::Unsigned | Refusal::Signature => (Outcome::Signature, 3002, "sign check failed".to_owned()),
        Refusal::Time => (Outcome::Skew, 3001, "invalid timestamp: more than 3 minutes off".to_owned()),
        Refusal::Key | Refusal::Token | Refusal::Permission => (Outcome::Denied, 4001, "no permission".to_owned()),
        Refusal::Throttled => (Outcome::Throttled, 429, "call frequency limited".to_owned()),
        Refusal::Quota { .. } => (Outcome::Quota, 5003, "今日调用次数超限，24小时内禁止调用".to_owned()),
        Refusal::Busy => (Outcome::Busy, 5000, "系统繁忙，请稍后重试".to_owned()),
        Refusal::Gone => (Outcome::Gone, 4004, "商品不存在或已下架".to_owned()),
    };
    let status = match refusal {
        Refusal::Throttled => 429,
        Refusal::Busy => 503,
        _ => 200,
    };
    Answer::json(outcome, &json!({"code": code, "msg": message})).with_status(status)
}
