//! Calls for several offers: who shares one, what one bad offer costs, and what a start that goes on asks again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use huopan::base::{Kind, SystemClock};
use huopan::extract::progress::Silent;
use huopan::plan::price::{Calls, price};
use huopan::run::survey::{Asks, survey};
use huopan::run::{Options, Report, Surroundings};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::day;

use super::ask::{Call, Reply, Server, Trap, items, offer, plain, portals};

const BATCH: &str = "limits.calls_in_flight = 1\nendpoints.item.batch = 8\nendpoints.item.list = \"/items\"\n\
                     endpoints.item.params = { method = \"details\", item_ids = \"{offer_ids}\", item_id = false }";

fn asked(call: &Call) -> Vec<u64> {
    call.get("item_ids").split(',').filter_map(|id| id.parse().ok()).collect()
}

fn details(ids: &[u64]) -> Reply {
    let item = |id: &u64| json!({"item_id": id, "title": "保温杯", "price": "12.50", "member_id": "b2b-1"});
    Reply::json(&json!({"items": ids.iter().map(item).collect::<Vec<Value>>()}))
}

/// What each of these calls asked for, the earliest first.
fn batches(calls: &[Call]) -> Vec<Vec<u64>> {
    calls.iter().map(asked).filter(|ids| !ids.is_empty()).collect()
}

/// Eight offers, of which each bad one spoils its call.
async fn eight(bad: &'static [u64], spoilt: fn() -> Reply) -> (Server, Trap) {
    let server = Server::start(move |call| {
        let ids = asked(call);
        if ids.iter().any(|id| bad.contains(id)) { spoilt() } else { details(&ids) }
    })
    .await;
    let ids: Vec<i64> = (600_001..=600_008).collect();
    let trap = Trap::at(&server.url, "item-get").lines(&items(&ids)).define(BATCH);
    (server, trap)
}

#[tokio::test]
async fn an_offer_that_always_fails_is_found_and_is_no_outage() {
    for bad in [&[600_001][..], &[600_008], &[600_001, 600_008], &[600_001, 600_003, 600_005, 600_007]] {
        let (_server, trap) = eight(bad, || Reply::bytes("").status(500)).await;
        let report = trap.publish().await;
        assert_eq!((report.loaded, report.items_unanswered), (8 - i64::try_from(bad.len()).unwrap(), bad.len()));
    }
}

#[tokio::test]
async fn a_gateway_that_is_out_is_found_out_of_soon_also_by_calls_for_several_offers() {
    let (server, trap) = eight(&[600_001, 600_002, 600_003, 600_004, 600_005, 600_006, 600_007, 600_008], || {
        Reply::bytes("").status(500)
    })
    .await;
    let error = trap.fail().await;
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert_eq!(server.calls().len(), 40);
}

#[tokio::test]
async fn what_calls_for_several_leave_out_is_reckoned_with() {
    let server = Server::start(|call| {
        let ids = asked(call);
        let left_out = |id: &u64| ids.len() > 1 && id.is_multiple_of(20);
        details(&ids.iter().copied().filter(|id| !left_out(id)).collect::<Vec<_>>())
    })
    .await;
    let ids: Vec<i64> = (600_001..=600_060).collect();
    let trap = Trap::at(&server.url, "item-get").lines(&items(&ids)).define(&BATCH.replace("batch = 8", "batch = 20"));
    let (price, report) = (cost(&trap).await, trap.publish().await);
    assert_eq!((price, report.calls, report.loaded), (Calls::estimate(3, 3 + 4 * 10), 6, 60));
}

#[tokio::test]
async fn what_looking_for_bad_offers_costs_is_in_the_price() {
    for (count, batch, bad, calls) in [(20, 20, &[600_008][..], 9), (60, 7, &[600_012, 600_038], 21)] {
        let server = Server::start(move |call| {
            let ids = asked(call);
            let gone = || Reply::json(&json!({"error_response": {"code": "isv.item", "msg": "商品不存在"}}));
            if ids.iter().any(|id| bad.contains(id)) { gone() } else { details(&ids) }
        })
        .await;
        let ids: Vec<i64> = (600_001..600_001 + count).collect();
        let definition = BATCH.replace("batch = 8", &format!("batch = {batch}"));
        let trap = Trap::at(&server.url, "item-get").lines(&items(&ids)).define(&definition);
        let (price, report) = (cost(&trap).await, trap.publish().await);
        assert_eq!(report.calls, calls);
        assert!(price.most().is_some_and(|most| calls <= i64::try_from(most).unwrap()), "{price}");
    }
}

#[tokio::test]
async fn a_list_of_nothing_says_of_no_offer_that_it_is_not_there() {
    let (server, trap) = eight(&[600_002], || Reply::json(&json!({"items": null}))).await;
    let report = trap.publish().await;
    assert_eq!((report.loaded, report.items_unanswered), (7, 0));
    let sizes: Vec<usize> = batches(&server.calls()).iter().map(Vec::len).collect();
    assert_eq!(sizes, [8, 4, 4, 2, 2, 1, 1]);
}

#[tokio::test]
async fn a_parameter_that_is_refused_is_wrong_only_if_it_is_for_every_offer() {
    let refused = || Reply::json(&json!({"error_response": {"code": 3001, "msg": "item_ids invalid"}}));
    let (_server, trap) = eight(&[600_001], refused).await;
    let report = trap.publish().await;
    assert_eq!((report.loaded, report.quarantined, report.items_unanswered), (7, 1, 0));
    let (server, trap) =
        eight(&[600_001, 600_002, 600_003, 600_004, 600_005, 600_006, 600_007, 600_008], refused).await;
    let error = trap.fail().await;
    assert_eq!(error.kind(), Kind::Config, "{error}");
    assert!(server.calls().len() <= 8, "{}", server.calls().len());
}

/// A gateway that is out once it has answered so many calls for several offers, until it is let be well.
struct Out {
    is_over: AtomicBool,
    answers: AtomicUsize,
}

impl Out {
    fn after(answers: usize) -> Arc<Self> {
        Arc::new(Self { is_over: AtomicBool::new(false), answers: AtomicUsize::new(answers) })
    }

    fn holds(&self) -> bool {
        let left = |left: usize| left.checked_sub(1);
        !self.is_over.load(Ordering::SeqCst)
            && self.answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_err()
    }

    /// What is asked for by a start that the outage ends, and by the one that follows it; and what that one was to cost.
    async fn between(&self, server: &Server, trap: &Trap) -> (Vec<Vec<u64>>, Vec<Vec<u64>>, Report, Calls) {
        let error = trap.fail().await;
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        let mut first = batches(&server.calls());
        self.is_over.store(true, Ordering::SeqCst);
        let price = cost(trap).await;
        let report = trap.publish().await;
        let second = batches(&server.calls()).split_off(first.len());
        first.dedup();
        (first, second, report, price)
    }
}

/// What the next start costs.
async fn cost(trap: &Trap) -> Calls {
    let (pipeline, clock) = (trap.pipeline(), Arc::new(SystemClock));
    let around = Surroundings { clock, progress: &Silent, cancel: CancellationToken::new(), seed: 1 };
    let options = Options { dt: Some(day(20)), ..Options::default() };
    price(&pipeline, &survey(&pipeline, options, Asks::Nothing, &around).await.unwrap()).total
}

#[tokio::test]
async fn who_shares_a_call_does_not_depend_on_the_order_in_which_the_pages_came() {
    for on_quota in ["refuse", "continue"] {
        let (out, listing) = (Out::after(2), portals((0..150).map(offer).collect(), 150, plain));
        let outage = Arc::clone(&out);
        let server = Server::start(move |call| match asked(call) {
            // The first page comes last.
            _ if call.get("pageNum") == "1" && call.before < 4 => Reply::bytes("").status(503),
            ids if ids.is_empty() => listing(call),
            _ if outage.holds() => Reply::bytes("").status(503),
            ids => details(&ids),
        })
        .await;
        let definition = "limits.calls_in_flight = 4\nendpoints.item.batch = 30\nendpoints.item.list = \"/items\"\n\
                          endpoints.item.params = { method = \"details\", item_ids = \"{offer_ids}\" }";
        let lines = format!("shops = [\"b2b-1\"]\non_quota = \"{on_quota}\"\n[fetch]\ndetails = \"all\"");
        let trap = Trap::at(&server.url, "portals").define(definition).lines(&lines);
        let (_, second, report, price) = out.between(&server, &trap).await;
        assert_eq!((report.loaded, report.calls), (150, 3), "{second:?}");
        assert_eq!(second.concat().len(), 90, "what was answered is not asked for again");
        assert_eq!(price, Calls::estimate(3, 3 + 8 * 10), "a twentieth of 150 and one, in five halvings each");
    }
}

#[tokio::test]
async fn a_start_that_goes_on_asks_neither_a_failed_batch_again_nor_its_parts() {
    let out = Out::after(3);
    let outage = Arc::clone(&out);
    let server = Server::start(move |call| match asked(call) {
        ids if ids.contains(&600_001) || outage.holds() => Reply::bytes("").status(500),
        ids => details(&ids),
    })
    .await;
    let ids: Vec<i64> = (600_001..=600_016).collect();
    let trap = Trap::at(&server.url, "item-get").lines(&items(&ids)).define(BATCH);
    let (first, mut second, report, price) = out.between(&server, &trap).await;
    let sizes: Vec<usize> = first.iter().map(Vec::len).collect();
    assert_eq!(sizes[..8], [8, 4, 4, 2, 2, 1, 1, 8], "{first:?}");
    second.dedup();
    assert_eq!(second, [vec![600_001], (600_009..=600_016).collect()]);
    assert_eq!((report.loaded, report.items_unanswered), (15, 1));
    assert_eq!(price, Calls::estimate(2, 2 + 6));
}
