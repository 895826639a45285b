//! product-get (S1): one item by id, as JSON or XML (`format`, else the `Accept` header).

use serde_json::json;

use super::records::product_info;
use super::{Call, Refusal, aop};
use crate::sim::answer::{Answer, Outcome, XML};
use crate::sim::world::Day;
use crate::sim::xml::{Lists, document};

/// Answers `alibaba.product.get`.
pub(in crate::sim) fn answer(call: &Call, day: &Day) -> Result<Answer, Refusal> {
    match call.need("method")? {
        "alibaba.product.get" => {}
        other => return Err(Refusal::Method(other.to_owned())),
    }
    if call.need("v")? != "2.0" {
        return Err(Refusal::Bad("v"));
    }
    let id = call.id("productId")?;
    let (shop, offer) = day.offer(id).ok_or(Refusal::Gone)?;
    let body = json!({"productInfo": product_info(shop, offer)});
    if !wants_xml(call) {
        return Ok(Answer::json(Outcome::Ok, &body));
    }
    let lists = if id % 2 == 0 { Lists::Repeated } else { Lists::Wrapped };
    Ok(Answer::text(Outcome::Ok, XML, document("result", &body, lists)))
}

fn wants_xml(call: &Call) -> bool {
    match call.get("format") {
        Some(format) => format.eq_ignore_ascii_case("xml"),
        None => call.accepts_xml,
    }
}

/// The official codes, in the format that was asked for.
pub(in crate::sim) fn refuse(call: &Call, refusal: &Refusal) -> Answer {
    let mut answer = aop::refuse(refusal);
    if wants_xml(call) {
        let (_, code, message) = aop::code(refusal);
        let body = json!({"code": code, "msg": message, "error_code": code, "error_message": message});
        answer.body = document("error_response", &body, Lists::Repeated).into_bytes();
        answer.content_type = XML;
    }
    answer
}
