//! A price as JSON. Names and meanings stay; new names may be added.

use std::time::Duration;

use chrono::NaiveDate;

use crate::config::Pipeline;
use crate::plan::price::{
    AccountPrice, Again, Alternative, Assumption, Calls, CountedBy, Fits, GatewayPrice, Line, Offers, Price, Start,
    Subject, SubjectPrice, Survey, TooMany,
};

use crate::state::Resting;

use super::gateway;

/// The whole price.
pub(super) fn document(pipeline: &Pipeline, survey: &Survey, price: &Price) -> serde_json::Value {
    let (start, run_id) = match &survey.start {
        Start::Begins => ("begins", None),
        Start::GoesOn { run_id } => ("goes_on", Some(run_id)),
        Start::Retries { .. } => ("retries", None),
        Start::Published => ("published", None),
        Start::Held => ("held", None),
    };
    let time: Duration = price.gateways.iter().map(|gateway| gateway.time).sum();
    let shops = price.subjects.iter().filter(|subject| matches!(subject.subject, Subject::Shop { .. }));
    let items = price.subjects.iter().find(|subject| subject.subject == Subject::Items);
    serde_json::json!({
        "pipeline": pipeline.name,
        "dt": price.dt,
        "today": price.today,
        "start": start,
        "run_id": run_id,
        "probe_calls": survey.probe_calls,
        "probe_stopped": survey.probe_stopped,
        "total": calls(price.total),
        "expected": price.expected,
        "seconds": time.as_secs(),
        "fits_least": fits(price.fits_least, price.today),
        "fits_most": price.fits_most.map(|most| fits(most, price.today)),
        "assumes": price.assumes.iter().map(assumption).collect::<Vec<_>>(),
        "too_many": price.too_many.as_ref().map(too_many),
        "not_before": price.not_before,
        "endpoints": price.endpoints.iter().map(|of| line(price, of)).collect::<Vec<_>>(),
        "shops": shops.map(|shop| subject(price, shop)).collect::<Vec<_>>(),
        "items": items.map(|items| subject(price, items)),
        "shops_named_again": price.again.iter().map(again).collect::<Vec<_>>(),
        "gateways": price.gateways.iter().map(gateway_price).collect::<Vec<_>>(),
        "choices": price.alternatives.iter().map(choice).collect::<Vec<_>>(),
    })
}

/// `least`, `most` (or null), `exactness`: exact · at_most · estimate · at_least · unknown.
pub(super) fn calls(of: Calls) -> serde_json::Value {
    serde_json::json!({"least": of.least(), "most": of.most(), "exactness": of.exactness().name()})
}

fn fits(of: Fits, today: NaiveDate) -> serde_json::Value {
    let (when, day) = match of {
        Fits::Today => ("today", Some(today)),
        Fits::On(day) => ("another_day", Some(day)),
        Fits::NoDay => ("no_day", None),
    };
    serde_json::json!({"when": when, "day": day})
}

/// What must hold for the most to be the most.
fn assumption(of: &Assumption) -> serde_json::Value {
    match of {
        Assumption::Smaller { shops, offers } => {
            serde_json::json!({"assumption": "shops_smaller", "shops": shops, "offers_below": offers})
        }
        Assumption::Unsplit { shops, offers } => {
            serde_json::json!({"assumption": "shops_not_split_by_category", "shops": shops, "offers_from": offers})
        }
        Assumption::HardlyGrown { shops } => {
            serde_json::json!({"assumption": "shops_hardly_grown", "shops": shops, "percent": 5})
        }
        Assumption::HardlyOpen => serde_json::json!({"assumption": "offers_hardly_open", "percent": 5}),
    }
}

fn too_many(TooMany { of, calls, calls_per_day }: &TooMany) -> serde_json::Value {
    let (shop, endpoint) = match of {
        Some(CountedBy::Shop(shop)) => (Some(shop), None),
        Some(CountedBy::Endpoint(endpoint)) => (None, Some(endpoint)),
        None => (None, None),
    };
    serde_json::json!({"shop": shop, "endpoint": endpoint, "calls": calls, "calls_per_day": calls_per_day})
}

fn line(price: &Price, of: &Line) -> serde_json::Value {
    serde_json::json!({"endpoint": of.endpoint, "gateway": gateway(price, of), "calls": calls(of.calls)})
}

fn subject(price: &Price, of: &SubjectPrice) -> serde_json::Value {
    let offers_from = match of.offers {
        Offers::Counted(_) => Some("count"),
        Offers::Earlier(_) => Some("count_earlier_today"),
        Offers::Before(_) => Some("day_before"),
        Offers::Unknown => None,
    };
    let mut value = serde_json::json!({
        "offers": of.offers.number(),
        "offers_from": offers_from,
        "calls": calls(of.calls),
        "expected": of.expected,
        "endpoints": of.lines.iter().map(|of| line(price, of)).collect::<Vec<_>>(),
        "done_on": of.done_on,
    });
    if let Subject::Shop { shop, id, changes_only, .. } = &of.subject {
        value["shop_id"] = id.as_deref().into();
        value["shop_name"] = shop.name.as_deref().into();
        value["shop_url"] = shop.url.as_deref().into();
        value["listing"] = if *changes_only { "changed" } else { "all" }.into();
    }
    value
}

fn again(Again { shop, id }: &Again) -> serde_json::Value {
    serde_json::json!({"shop_id": id, "shop_name": shop.name, "shop_url": shop.url})
}

fn gateway_price(gateway: &GatewayPrice) -> serde_json::Value {
    let rest = |Resting { scope, rest, .. }: &Resting| serde_json::json!({"scope": scope, "kind": rest.kind, "until": rest.until, "reason": rest.reason});
    let account = |account: &AccountPrice| {
        serde_json::json!({
            "name": account.name,
            "calls_per_day": account.calls_per_day,
            "left": account.left,
            "takes": account.takes,
            "counted_with": account.counted_with,
            "rests": account.rests.iter().map(rest).collect::<Vec<_>>(),
        })
    };
    let cost = gateway.cost.as_ref().map(|cost| {
        let most = cost.most.map(|most| most.to_string());
        serde_json::json!({"currency": cost.currency, "least": cost.least.to_string(), "most": most})
    });
    serde_json::json!({
        "gateway": gateway.name,
        "calls": calls(gateway.calls),
        "cost": cost,
        "seconds": gateway.time.as_secs(),
        "accounts": gateway.accounts.iter().map(account).collect::<Vec<_>>(),
    })
}

fn choice(of: &Alternative) -> serde_json::Value {
    serde_json::json!({
        "setting": of.setting,
        "value": of.value,
        "calls": calls(of.calls),
        "is_set": of.is_set,
    })
}
