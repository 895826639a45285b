//! One offer as the record of each family: flat fields, the official structure, the cross-border structure.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::base::time::BEIJING;
use crate::sim::offers::{IdForm, Offer, Sku};
use crate::sim::random::Dice;
use crate::sim::shapes::counts::{sales_value, stock_number, stock_value};
use crate::sim::shapes::{yuan, yuan_number};
use crate::sim::titles::CATEGORIES;
use crate::sim::world::Shop;

/// A record whose fields are by name.
pub(in crate::sim) type Record = Map<String, Value>;

/// `2026-11-20 12:00:00`, Beijing.
pub(in crate::sim) fn beijing_text(at: DateTime<Utc>) -> String {
    at.with_timezone(&BEIJING).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `20261120120000000+0800`.
pub(in crate::sim) fn compact_text(at: DateTime<Utc>) -> String {
    at.with_timezone(&BEIJING).format("%Y%m%d%H%M%S000+0800").to_string()
}

/// An id in the offer's way of writing.
pub(in crate::sim) fn id(form: IdForm, id: i64) -> Value {
    match form {
        IdForm::Number => json!(id),
        IdForm::Text => json!(id.to_string()),
    }
}

/// The address of an offer's page.
pub(in crate::sim) fn detail_url(offer: &Offer) -> String {
    format!("https://detail.1688.com/offer/{}.html", offer.id)
}

/// The address of an offer's picture.
pub(in crate::sim) fn picture_url(offer: &Offer) -> String {
    format!("https://cbu01.alicdn.com/img/ibank/O1CN01{}_!!0-0-cib.jpg", offer.id)
}

/// Every field of a flat record; `ladder_name` is the field of the price ladder.
pub(in crate::sim) fn flat(shop: &Shop, offer: &Offer, ladder_name: &str) -> Record {
    let mut dice = Dice::new(offer.writing, &[1]);
    let unit = offer.quantity.sale_unit();
    let mut record = Record::new();
    let mut put = |name: &str, value: Value| record.insert(name.to_owned(), value);
    put("item_id", id(offer.id_form, offer.id));
    if let Some(title) = &offer.title {
        put("title", json!(title));
    }
    let as_text = dice.chance(300);
    put("price", if as_text { json!(yuan(offer.headline_fen)) } else { yuan_number(offer.headline_fen) });
    if let Some(ladder) = offer.ladder.value(unit, &mut dice) {
        put(ladder_name, ladder);
    }
    put("channelPrice", offer.channel_fen.map_or_else(|| json!(""), |fen| json!(yuan(fen))));
    for (name, value) in offer.quantity.flat() {
        put(name, value);
    }
    put("quoteType", json!(offer.quote_type));
    put("sales", sales_value(offer.sales_form, offer.sales));
    put("stock", stock_value(offer.stock_form, offer.stock, unit));
    put("skuIds", json!(offer.skus.iter().map(|sku| sku.id.to_string()).collect::<Vec<_>>().join(",")));
    put("modified_time", json!(beijing_text(offer.modified_at)));
    put("cid", json!(offer.cid()));
    put("shop_name", json!(shop.name));
    put("detail_url", json!(detail_url(offer)));
    put("pic_url", json!(picture_url(offer)));
    record
}

/// `sku{sku_id,spec,price,stock}`.
pub(in crate::sim) fn sku(offer: &Offer, sku: &Sku) -> Value {
    json!({
        "sku_id": id(offer.id_form, sku.id),
        "spec": sku.spec,
        "price": sku.fen.map_or_else(|| json!(""), |fen| json!(yuan(fen))),
        "stock": sku.stock,
    })
}

/// The official `productInfo` (the structure of WIRE §1 "Answers").
pub(in crate::sim) fn product_info(shop: &Shop, offer: &Offer) -> Value {
    let mut sale = Record::new();
    sale.insert("supportOnlineTrade".into(), json!(true));
    sale.insert("mixWholeSale".into(), json!(offer.writing.is_multiple_of(2)));
    if let Some(ranges) = offer.ladder.ranges() {
        sale.insert("priceRanges".into(), ranges);
    }
    sale.insert("amountOnSale".into(), stock_number(offer.stock_form, offer.stock));
    sale.extend(offer.quantity.sale_info().into_iter().map(|(name, value)| (name.to_owned(), value)));
    sale.insert("quoteType".into(), json!(offer.quote_type));
    if let Some(fen) = offer.consign_fen {
        sale.insert("consignPrice".into(), yuan_number(fen));
    }
    let mut info = Record::new();
    info.insert("productID".into(), id(offer.id_form, offer.id));
    info.insert("productType".into(), json!("wholesale"));
    info.insert("memberId".into(), json!(shop.id));
    info.insert("supplierLoginId".into(), json!(shop.name));
    info.insert("categoryID".into(), json!(offer.cid()));
    info.insert(
        "attributes".into(),
        json!([{"attributeID": 100_000_691, "attributeName": "货源类别", "value": "现货"}]),
    );
    info.insert("status".into(), json!(if offer.is_on_sale { "published" } else { "member expired" }));
    if let Some(title) = &offer.title {
        info.insert("subject".into(), json!(title));
    }
    info.insert("image".into(), json!({"images": [picture_url(offer)]}));
    info.insert("skuInfos".into(), Value::Array(offer.skus.iter().map(sku_info).collect()));
    info.insert("saleInfo".into(), Value::Object(sale));
    info.insert("createTime".into(), json!(compact_text(offer.created_at)));
    info.insert("lastUpdateTime".into(), json!(compact_text(offer.modified_at)));
    Value::Object(info)
}

fn attributes(sku: &Sku, id_name: &str, value_name: &str) -> Value {
    let pairs = sku.spec.split(';').filter_map(|pair| pair.split_once(':'));
    pairs
        .enumerate()
        .map(|(at, (name, value))| json!({id_name: 3216 + at, "attributeName": name, value_name: value}))
        .collect()
}

fn sku_info(sku: &Sku) -> Value {
    let ranges: Vec<Value> =
        sku.steps.iter().map(|step| json!({"startQuantity": step.start, "price": step.fen.map(yuan_number)})).collect();
    json!({
        "skuId": sku.id,
        "specId": format!("{:032x}", u128::from(sku.id.unsigned_abs()) << 40),
        "attributes": attributes(sku, "attributeID", "attributeValue"),
        "cargoNumber": format!("H{}", sku.id % 100_000),
        "amountOnSale": sku.stock,
        "price": sku.fen.map(yuan_number),
        "priceRange": ranges,
    })
}

/// The `result` of `queryProductDetail`.
pub(in crate::sim) fn cross_border(shop: &Shop, offer: &Offer) -> Value {
    let steps = offer.ladder.ranges().unwrap_or(Value::Null);
    let skus: Vec<Value> = offer
        .skus
        .iter()
        .map(|sku| {
            json!({
                "skuId": sku.id, "amountOnSale": sku.stock, "price": sku.fen.map(yuan),
                "skuAttributes": attributes(sku, "attributeId", "value"), "cargoNumber": format!("H{}", sku.id % 100_000),
            })
        })
        .collect();
    json!({
        "offerId": offer.id,
        "categoryId": offer.cid(),
        "categoryName": CATEGORIES[offer.category].1,
        "subject": offer.title,
        "productImage": {"images": [picture_url(offer)]},
        "productSkuInfos": skus,
        "productSaleInfo": {
            "amountOnSale": stock_number(offer.stock_form, offer.stock),
            "priceRangeList": steps,
            "quoteType": offer.quote_type,
            "consignPrice": offer.consign_fen.map(yuan),
            "unitInfo": {"unit": offer.quantity.sale_unit()},
        },
        "minOrderQuantity": offer.quantity.moq,
        "status": if offer.is_on_sale { "published" } else { "member expired" },
        "sellerOpenId": shop.id,
        "companyName": shop.name,
        "sellerDataInfo": {"repeatPurchasePercent": format!("0.{:04}", offer.writing % 10_000)},
        "soldOut": offer.sales.to_string(),
        "createDate": beijing_text(offer.created_at),
        "promotionUrl": detail_url(offer),
    })
}

/// One record of `querySellerOfferList`.
pub(in crate::sim) fn cross_border_listed(offer: &Offer) -> Value {
    json!({
        "imageUrl": picture_url(offer),
        "subject": offer.title,
        "offerId": offer.id,
        "repurchaseRate": format!("{}%", offer.writing % 100),
        "monthSold": offer.sales / 12,
        "priceInfo": {"price": yuan(offer.headline_fen), "consignPrice": offer.consign_fen.map(yuan)},
        "createDate": beijing_text(offer.created_at),
        "modifyDate": beijing_text(offer.modified_at),
        "promotionURL": detail_url(offer),
    })
}
