use std::collections::{HashMap, HashSet};

use super::*;
use crate::base::Money;
use crate::config::gateway::CallPrice;
use crate::config::pipeline::{DetailSource, Shop};
use crate::plan::price::AccountQuota;
use crate::plan::{Known, testing, work};
use crate::state::{Rest, RestKind, Resting};

fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
}

fn pipeline() -> Pipeline {
    let shops = vec![
        Shop { id: None, url: Some("https://shop1.1688.com".into()), name: Some("义乌小商品".into()) },
        testing::shop("b2b-2200733087881719de"),
    ];
    let mut pipeline = Pipeline { name: "nightly".into(), shops, ..testing::pipeline(testing::gateway("")) };
    pipeline.gateway.limits.calls_per_second = Some(1.0);
    pipeline.accounts = vec![testing::account("main"), testing::account("spare")];
    pipeline
}

fn survey(pipeline: &Pipeline, counts: &[(usize, u64)], calls_per_day: u64) -> Survey {
    let account = |name: &str| AccountQuota {
        name: name.into(),
        key: name.into(),
        calls_per_day: Some(calls_per_day),
        ..AccountQuota::default()
    };
    Survey {
        dt: day(20),
        today: day(20),
        start: Start::Begins,
        work: work(pipeline).unwrap(),
        known: Known::default(),
        picture: Known::default(),
        free_ids: HashSet::new(),
        ids_by_url: HashMap::new(),
        counts: counts.iter().copied().collect(),
        free_counts: HashSet::new(),
        earlier_counts: HashMap::new(),
        details: HashMap::new(),
        nights: HashMap::new(),
        answered: Default::default(),
        is_late: false,
        is_under_way: false,
        probe_calls: 0,
        probe_stopped: None,
        accounts: vec![account("main"), account("spare")],
        detail_accounts: Vec::new(),
    }
}

fn told(pipeline: &Pipeline, survey: &Survey) -> String {
    text(pipeline, survey, &price(pipeline, survey))
}

#[test]
fn a_price_is_told_in_one_screen() {
    let mut pipeline = pipeline();
    let amount = Money::parse("0.0035").unwrap();
    pipeline.gateway.limits.price_per_call = Some(CallPrice { amount, currency: "CNY".into() });
    let surveyed = Survey { probe_calls: 3, ..survey(&pipeline, &[(0, 7), (1, 4)], 6) };
    let expected = "\
pipeline `nightly`, 2026-11-20 · the probe made 3 calls

  shop                    offers  listed  calls  done
  义乌小商品                   7  whole       6  today
  b2b-2200733087881719de       4  whole       3  today

  endpoint  calls
  shop          1
  count         2
  listing       6

  account  calls a day  left today  takes
  main               6           6      6
  spare              6           6      3

in all 9 calls · about 9 s at the allowed pace · 0.0315 CNY
it fits into today

what the choices in [fetch] cost, in calls:
  details  = off            0  ← set
           = missing  ≈ 11–13
           = changed  ≈ 11–13
           = all      ≈ 11–13
  skus     = off            0  ← set
           = missing  unknown
           = changed  unknown
           = all      unknown

Calls that fail are made again: they are not in the price.
";
    assert_eq!(told(&pipeline, &surveyed), expected);
}

#[test]
fn what_is_not_counted_is_a_range_and_a_probe_is_named() {
    let pipeline = pipeline();
    let text = told(&pipeline, &survey(&pipeline, &[(1, 4)], 30));
    assert!(text.contains("\n  义乌小商品                   ?  whole     3–7  today\n"), "{text}");
    assert!(text.contains("\nin all 6–10 calls · about 10 s at the allowed pace\nit fits into today\n"), "{text}");
    assert!(text.ends_with("`--probe` asks for the shops' counts first and makes their listings exact.\n"), "{text}");
}

#[test]
fn what_does_not_fit_says_what_run_does() {
    let mut pipeline = pipeline();
    let counted = |pipeline: &Pipeline, calls| survey(pipeline, &[(0, 7), (1, 4)], calls);
    let verdict = |pipeline: &Pipeline, survey: &Survey| verdict(pipeline, survey, &price(pipeline, survey));
    let tomorrow = |pipeline: &Pipeline| {
        let mut survey = counted(pipeline, 6);
        survey.accounts[0].used = [(String::new(), 5)].into();
        survey
    };
    let goes_on = "`run` stops when the calls end and goes on at its next start, done by 2026-11-21";
    let never = "it is MORE THAN ANY DAY ALLOWS (9 of 6): ";
    let today = "it DOES NOT FIT into today, but on 2026-11-21: ";
    assert_eq!(verdict(&pipeline, &tomorrow(&pipeline)), format!("{today}{goes_on}"));
    assert_eq!(verdict(&pipeline, &counted(&pipeline, 3)), format!("{never}{goes_on}"));
    pipeline.on_quota = OnQuota::Refuse;
    let refuse = "`run` starts nothing before (on_quota = \"refuse\")";
    assert_eq!(verdict(&pipeline, &tomorrow(&pipeline)), format!("{today}{refuse}"));
    assert_eq!(
        verdict(&pipeline, &counted(&pipeline, 3)),
        format!("{never}`run` does not start it (on_quota = \"refuse\")")
    );
    assert_eq!(verdict(&pipeline, &survey(&pipeline, &[], 3)), "it MAY NOT FIT into today: only if it needs few calls");
    pipeline.fetch.skus = crate::config::pipeline::FetchDetails::All;
    assert_eq!(
        verdict(&pipeline, &survey(&pipeline, &[], 30)),
        "it MAY NOT FIT into today: nobody knows how many calls it needs at most"
    );
    let text = told(&pipeline, &survey(&pipeline, &[(1, 4)], 30));
    assert!(text.contains("whole   3 or more  unknown\n"), "{text}");
    assert!(
        text.contains("in all 6 or more calls · about 10 s at the allowed pace, without what is unknown\n"),
        "{text}"
    );
}

#[test]
fn a_verdict_says_what_it_rests_on() {
    let mut pipeline = pipeline();
    pipeline.on_quota = OnQuota::Refuse;
    let categories = testing::endpoint("categories");
    pipeline.gateway.endpoints.insert("categories".into(), categories);
    pipeline.gateway.endpoints.get_mut("listing").unwrap().category = Some("cid".into());
    let told = |survey: &Survey| {
        let price = price(&pipeline, survey);
        (verdict(&pipeline, survey, &price), json::document(&pipeline, survey, &price)["assumes"].clone())
    };
    let fits = "it fits into today";
    let blind = survey(&pipeline, &[], 30);
    let (says, document) = told(&blind);
    let condition = "each of the 2 shops that are not counted has fewer than 10 offers (`--probe` counts them)";
    assert_eq!(says, format!("{fits} if {condition}"));
    let smaller = |shops: usize| serde_json::json!({"assumption": "shops_smaller", "shops": shops, "offers_below": 10});
    assert_eq!(document, serde_json::json!([smaller(2)]));
    let earlier = Survey { earlier_counts: HashMap::from([(0, 7)]), ..blind };
    let (says, document) = told(&earlier);
    let condition = "the shop that is not counted has fewer than 10 offers and no shop has grown by more than 5 % since \
                     it was counted (`--probe` counts them)";
    assert_eq!(says, format!("{fits} if {condition}"));
    let grown = serde_json::json!({"assumption": "shops_hardly_grown", "shops": 1, "percent": 5});
    assert_eq!(document, serde_json::json!([smaller(1), grown]));
    assert_eq!(told(&survey(&pipeline, &[(0, 7), (1, 4)], 30)), (fits.to_owned(), serde_json::json!([])));
}

#[test]
fn the_days_of_shops_are_those_of_the_verdict_where_a_run_must_end_on_one_day() {
    let mut pipeline = pipeline();
    let used_up = |pipeline: &Pipeline, calls| {
        let mut surveyed = survey(pipeline, &[], calls);
        surveyed.accounts.iter_mut().for_each(|account| account.used = [(String::new(), calls)].into());
        surveyed
    };
    let told = |pipeline: &Pipeline, survey: &Survey| told(pipeline, survey);
    let text = told(&pipeline, &used_up(&pipeline, 5));
    assert!(text.contains("3–7  2026-11-21\n") && text.contains("2–6  2026-11-22\n"), "{text}");
    pipeline.on_quota = OnQuota::Refuse;
    let text = told(&pipeline, &used_up(&pipeline, 5));
    assert_eq!(text.matches("2026-11-21, if few\n").count(), 2, "{text}");
    assert!(
        text.contains("it DOES NOT FIT into today, but on 2026-11-21 if it needs few calls: `run` starts"),
        "{text}"
    );
    let text = told(&pipeline, &survey(&pipeline, &[], 5));
    assert_eq!(text.matches("today, if few\n").count(), 2, "{text}");
    let text = told(&pipeline, &survey(&pipeline, &[], 2));
    assert_eq!(text.matches("on no one day\n").count(), 2, "{text}");
    let text = told(&pipeline, &used_up(&pipeline, 7));
    assert_eq!(text.matches("2026-11-21\n").count(), 2, "{text}");
}

#[test]
fn an_account_that_takes_nothing_has_its_calls_left() {
    let mut pipeline = pipeline();
    let details = DetailSource { gateway: testing::gateway(""), accounts: vec![testing::account("items")] };
    pipeline.details = Some(details);
    let mut surveyed = survey(&pipeline, &[(0, 7), (1, 4)], 30);
    let used = [(String::new(), 12)].into();
    surveyed.detail_accounts = vec![AccountQuota { name: "items".into(), used, ..surveyed.accounts[0].clone() }];
    let account = &price(&pipeline, &surveyed).gateways[1].accounts[0];
    assert_eq!((account.left, account.takes), (Some(18), 0));
}

#[test]
fn accounts_that_rest_and_keys_that_are_shared_are_told() {
    let mut pipeline = pipeline();
    let mut surveyed = survey(&pipeline, &[(0, 7), (1, 4)], 30);
    let rest = Rest {
        kind: RestKind::Quota,
        until: testing::at("2026-11-20T07:30:00Z"),
        reason: "`429` 限流\u{1b}[2J".into(),
    };
    let resting = Resting { scope: String::new(), gateway: String::new(), credentials: String::new(), rest };
    surveyed.accounts.iter_mut().for_each(|account| account.rests.push(resting.clone()));
    let text = told(&pipeline, &surveyed);
    let expected = "
  rests  scope  until (Beijing)      why    what the gateway said
  main          2026-11-20 15:30:00  quota  `429` 限流 [2J
  spare         2026-11-20 15:30:00  quota  `429` 限流 [2J

in all 9 calls · about 9 s at the allowed pace
it fits into today; NOT BEFORE 2026-11-20 15:30:00 (Beijing): accounts rest until then
";
    assert!(text.contains(expected), "{text}");
    let document = json::document(&pipeline, &surveyed, &price(&pipeline, &surveyed));
    assert_eq!(document["not_before"], "2026-11-20T07:30:00Z");
    assert_eq!(document["gateways"][0]["accounts"][1]["rests"][0]["kind"], "quota");
    let details = DetailSource { gateway: testing::gateway(""), accounts: vec![testing::account("items")] };
    pipeline.details = Some(details);
    let text = told(&pipeline, &survey(&pipeline, &[(0, 7), (1, 4)], 30));
    assert!(text.contains("\n`main` and `items` have one key: their calls are counted together"), "{text}");
}

#[test]
fn a_published_day_and_an_unfinished_run_are_named() {
    let pipeline = pipeline();
    let head = |start| head(&pipeline, &Survey { start, ..survey(&pipeline, &[], 30) });
    assert_eq!(
        head(Start::Published),
        "pipeline `nightly`, 2026-11-20: published already, `run` makes no call; `run --refresh` costs\n\n"
    );
    assert_eq!(
        head(Start::Retries { shops: 2, items: 1 }),
        "pipeline `nightly`, 2026-11-20: published, but 2 shops and 1 single offer are incomplete; \
         they alone are asked for again\n\n"
    );
    assert_eq!(
        head(Start::GoesOn { run_id: "0198".into() }),
        "pipeline `nightly`, 2026-11-20: goes on with run 0198; what it was answered already is not asked again\n\n"
    );
}

#[test]
fn the_document_has_the_same_numbers() {
    let pipeline = pipeline();
    let surveyed = survey(&pipeline, &[(0, 7)], 30);
    let document = json::document(&pipeline, &surveyed, &price(&pipeline, &surveyed));
    let exact = |calls: u64| serde_json::json!({"least": calls, "most": calls, "exactness": "exact"});
    assert_eq!(document["total"], serde_json::json!({"least": 8, "most": 12, "exactness": "at_most"}));
    assert_eq!(document["endpoints"][0], serde_json::json!({"endpoint": "shop", "gateway": "test", "calls": exact(1)}));
    let shop = &document["shops"][0];
    assert_eq!((&shop["calls"], &shop["offers"], &shop["offers_from"]), (&exact(6), &7.into(), &"count".into()));
    assert_eq!((&shop["shop_name"], &shop["shop_id"]), (&"义乌小商品".into(), &serde_json::Value::Null));
    assert_eq!(document["shops"][1]["offers_from"], serde_json::Value::Null);
    assert_eq!(document["fits_most"], serde_json::json!({"when": "today", "day": "2026-11-20"}));
    let account = serde_json::json!({
        "name": "main",
        "calls_per_day": 30,
        "left": 30,
        "takes": 12,
        "counted_with": null,
        "rests": [],
    });
    assert_eq!(document["gateways"][0]["accounts"][0], account);
    let choice = serde_json::json!({"setting": "details", "value": "off", "calls": exact(0), "is_set": true});
    assert_eq!((&document["choices"][0], &document["items"]), (&choice, &serde_json::Value::Null));
}

#[test]
fn times_are_told_in_words() {
    for (seconds, expected) in [
        (0, "1 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "2 min"),
        (3599, "60 min"),
        (3600, "1 h 0 min"),
        (9000, "2 h 30 min"),
    ] {
        assert_eq!(duration(Duration::from_secs(seconds)), expected);
    }
}
