use super::*;
use crate::config::gateway::{CallPrice, QuotaScope};
use crate::config::pipeline::{AccountChoice, DetailSource, FetchDetails, FetchListing, OnQuota};
use crate::plan::testing::{self, at};
use crate::plan::{KnownOffer, KnownShop, work};

fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
}

/// A pipeline of these shops on the test gateway: pages of 2, at most 5, nothing goes on past them.
fn pipeline(shops: &[&str]) -> Pipeline {
    let shop = |name: &&str| match name.strip_prefix("https://") {
        Some(_) => Shop { id: None, url: Some((*name).to_owned()), name: None },
        None => testing::shop(name),
    };
    Pipeline { shops: shops.iter().map(shop).collect(), ..testing::pipeline(testing::gateway("")) }
}

fn survey(pipeline: &Pipeline) -> Survey {
    Survey {
        dt: day(20),
        today: day(20),
        start: Start::Begins,
        work: work(pipeline).unwrap(),
        known: Known::default(),
        picture: Known::default(),
        free_ids: HashSet::new(),
        ids_by_url: HashMap::new(),
        counts: HashMap::new(),
        free_counts: HashSet::new(),
        earlier_counts: HashMap::new(),
        details: HashMap::new(),
        nights: HashMap::new(),
        answered: Default::default(),
        is_late: false,
        is_under_way: false,
        probe_calls: 0,
        probe_stopped: None,
        accounts: pipeline.accounts.iter().map(|account| AccountQuota::new(account, &[], Vec::new())).collect(),
        detail_accounts: Vec::new(),
    }
}

fn counted(pipeline: &Pipeline, counts: &[u64]) -> Survey {
    Survey { counts: counts.iter().copied().enumerate().collect(), ..survey(pipeline) }
}

/// `endpoint calls` in one line.
fn told(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{} {}", line.endpoint, line.calls)).collect::<Vec<_>>().join(", ")
}

fn quota(name: &str, calls_per_day: u64, used: u64) -> AccountQuota {
    let used = [(String::new(), used)].into();
    let calls_per_day = Some(calls_per_day);
    AccountQuota { name: name.into(), key: name.into(), calls_per_day, used, ..AccountQuota::default() }
}

#[test]
fn an_address_costs_a_call_unless_its_id_is_known() {
    let pipeline = pipeline(&["https://a.1688.com", "b2b-2"]);
    let unknown = survey(&pipeline);
    assert_eq!(told(&price(&pipeline, &unknown).endpoints), "shop 1, count 2, listing 2–10");
    let ids = HashMap::from([("https://a.1688.com".to_owned(), "b2b-1".to_owned())]);
    let cached = Survey { ids_by_url: ids.clone(), free_ids: ids.keys().cloned().collect(), ..unknown.clone() };
    assert_eq!(told(&price(&pipeline, &cached).endpoints), "count 2, listing 2–10");
    // The picture before knows what an address was: enough to say how large the shop is, not to save the call.
    let shops = [known("b2b-1", 1, "2026-11-19T18:00:00Z")].into();
    let seen = Survey { known: Known { ids_by_url: ids, shops }, ..unknown };
    assert_eq!(told(&price(&pipeline, &seen).endpoints), "shop 1, count 2, listing ≈ 2–6");
}

#[test]
fn a_shop_that_is_named_twice_is_paid_for_once_when_that_is_certain() {
    let pipeline = pipeline(&["https://a.1688.com", "https://b.1688.com", "b2b-1", "https://c.1688.com"]);
    let ids = [("https://a.1688.com", "b2b-1"), ("https://b.1688.com", "b2b-2"), ("https://c.1688.com", "b2b-2")];
    let ids: HashMap<_, _> = ids.map(|(url, id)| (url.to_owned(), id.to_owned())).into();
    let told_again = |price: &Price| {
        let told = |again: &Again| format!("{} {}", again.shop.url.clone().unwrap_or_default(), again.id);
        price.again.iter().map(told).collect::<Vec<_>>()
    };
    let free_ids = ids.keys().cloned().collect();
    let certain = Survey { ids_by_url: ids.clone(), free_ids, ..counted(&pipeline, &[7, 3, 7, 3]) };
    let certain = price(&pipeline, &certain);
    assert_eq!(told(&certain.endpoints), "count 2, listing 6");
    assert_eq!(told_again(&certain), ["https://a.1688.com b2b-1", "https://c.1688.com b2b-2"]);
    let before = Survey { known: Known { ids_by_url: ids, ..Known::default() }, ..counted(&pipeline, &[7, 3, 7, 3]) };
    let before = price(&pipeline, &before);
    assert_eq!(told(&before.endpoints), "shop 3, count 4, listing 12", "addresses may lead elsewhere by now");
    assert_eq!(told_again(&before), [""; 0]);
}

#[test]
fn a_run_that_has_its_counts_pays_only_for_the_rest() {
    let pipeline = pipeline(&["https://a.1688.com", "b2b-2"]);
    let surveyed = Survey { is_under_way: true, ..counted(&pipeline, &[7, 3]) };
    assert_eq!(told(&price(&pipeline, &surveyed).endpoints), "listing 6");
}

#[test]
fn what_was_answered_already_is_not_in_the_price() {
    let mut pipeline = pipeline(&["https://a.1688.com", "b2b-2"]);
    pipeline.items = vec![1, 2, 3];
    let about = |endpoint: &str, shop: Option<&str>| (Source::Listing, endpoint.to_owned(), shop.map(str::to_owned));
    let answered: Answered = [
        (about("shop", None), 1),
        (about("count", Some("b2b-1")), 1),
        (about("listing", Some("b2b-1")), 3),
        (about("item", None), 2),
    ]
    .into();
    let ids_by_url = HashMap::from([("https://a.1688.com".to_owned(), "b2b-1".to_owned())]);
    let left = Survey { answered, ids_by_url, ..counted(&pipeline, &[7, 3]) };
    assert_eq!(told(&price(&pipeline, &left).endpoints), "count 1, listing 3, item 1");
    // Of a number that is not known it is taken off both ends, and never more than there is.
    let blind = Survey { counts: HashMap::new(), ..left.clone() };
    assert_eq!(told(&price(&pipeline, &blind).endpoints), "count 1, listing 1–7, item 1");
    let all = left.answered.keys().map(|key| (key.clone(), 1000)).collect();
    let nothing = price(&pipeline, &Survey { answered: all, ..left });
    assert_eq!(told(&nothing.endpoints), "count 1, listing 2", "the other shop's");
}

#[test]
fn what_listings_have_named_is_priced_by_it() {
    let mut pipeline = pipeline(&["b2b-1", "b2b-2"]);
    pipeline.items = vec![1, 2];
    pipeline.fetch.skus = FetchDetails::Missing;
    let counted = counted(&pipeline, &[7, 3]);
    assert_eq!(told(&price(&pipeline, &counted).endpoints), "count 2, listing 6, item 2, sku unknown");
    let left = |items, skus, is_all| DetailsLeft { items, offers: items, named: items, skus, is_all };
    let some = [(Some(0), left(0, 12, true)), (Some(1), left(0, 5, false))].into();
    let priced = price(&pipeline, &Survey { details: some, ..counted.clone() });
    assert_eq!(told(&priced.endpoints), "count 1, listing 2, item 2, sku 17 or more", "the first shop is listed");
    let all = [(Some(0), left(0, 12, true)), (Some(1), left(0, 5, true)), (None, left(0, 4, true))].into();
    let priced = price(&pipeline, &Survey { details: all, ..counted });
    assert_eq!((told(&priced.endpoints).as_str(), priced.is_rest), ("sku 21", true));
    let choices = priced.alternatives.iter().filter(|choice| choice.setting == "skus");
    let choices: Vec<String> = choices.map(|choice| format!("{} {}", choice.value, choice.calls)).collect();
    assert_eq!(choices, ["off 0", "missing 21", "changed 21", "all 21"]);
}

#[test]
fn the_rest_of_a_listing_past_the_cap_is_never_nothing_while_the_run_goes_on() {
    let pipeline = windowed(pipeline(&["b2b-1"]));
    let about = (Source::Listing, "listing".to_owned(), Some("b2b-1".to_owned()));
    // 15 pages are needed, and 18 are reckoned with.
    let left = |pages| {
        let answered = [(about.clone(), pages)].into();
        let survey = Survey { answered, is_under_way: true, ..counted(&pipeline, &[30]) };
        let survey = Survey { accounts: vec![quota("main", 30, 30)], ..survey };
        let price = price(&pipeline, &survey);
        (told(&price.endpoints), price.gateways[0].accounts[0].left, price.fits_most.is_some())
    };
    assert_eq!(left(10), ("listing ≈ 5–8".to_owned(), Some(0), true));
    assert_eq!(left(17), ("listing ≈ 0–1".to_owned(), Some(0), true));
    for pages in [18, 40] {
        assert_eq!(left(pages), ("listing unknown".to_owned(), Some(0), false));
    }
}

#[test]
fn an_account_that_has_nothing_to_do_has_what_its_day_allows() {
    let pipeline = pipeline(&["b2b-1"]);
    let about = (Source::Listing, "listing".to_owned(), Some("b2b-1".to_owned()));
    let survey = Survey { answered: [(about, 2)].into(), is_under_way: true, ..counted(&pipeline, &[3]) };
    let price = price(&pipeline, &Survey { accounts: vec![quota("main", 30, 10)], ..survey });
    assert_eq!((price.total, price.gateways[0].accounts[0].left), (Calls::ZERO, Some(20)));
}

#[test]
fn the_first_page_that_gave_a_total_is_not_paid_twice() {
    let mut pipeline = pipeline(&["b2b-1", "b2b-2"]);
    pipeline.gateway.endpoints.remove("count");
    // A full page that states its total need not be the last: four pages, and one.
    let under_way = Survey { is_under_way: true, ..counted(&pipeline, &[7, 1]) };
    assert_eq!(told(&price(&pipeline, &under_way).endpoints), "listing 3");
    // An earlier start has landed it: it is spared once.
    let landed = (Source::Listing, "listing".to_owned(), Some("b2b-1".to_owned()));
    let again = Survey { answered: [(landed, 2)].into(), ..under_way };
    assert_eq!(told(&price(&pipeline, &again).endpoints), "listing 2");
}

#[test]
fn what_is_counted_today_is_exact_by_endpoint_by_shop_and_in_all() {
    let pipeline = pipeline(&["b2b-1", "b2b-2", "b2b-3"]);
    let price = price(&pipeline, &counted(&pipeline, &[3, 0, 900]));
    assert_eq!(told(&price.endpoints), "count 3, listing 8");
    let shops: Vec<String> = price.subjects.iter().map(|subject| told(&subject.lines)).collect();
    assert_eq!(shops, ["count 1, listing 2", "count 1, listing 1", "count 1, listing 5"]);
    assert_eq!((price.total, price.total.exactness()), (Calls::exact(11), Exactness::Exact));
}

#[test]
fn a_gateway_without_a_count_needs_no_call_for_it_and_is_no_more_exact_than_its_pages() {
    let mut pipeline = pipeline(&["b2b-1"]);
    pipeline.gateway.endpoints.remove("count");
    assert_eq!(told(&price(&pipeline, &survey(&pipeline)).endpoints), "listing 1–5");
    let listing = pipeline.gateway.endpoints.get_mut("listing").unwrap();
    listing.page.as_mut().unwrap().last = None;
    let price = price(&pipeline, &survey(&pipeline));
    assert_eq!((told(&price.endpoints).as_str(), price.fits_most), ("listing 1 or more", None));
}

/// A shop that was listed whole yesterday, with `offers` offers of two SKUs each, all detailed.
fn known(shop: &str, offers: i64, finished_at: &str) -> (String, KnownShop) {
    let offer = |id: i64| KnownOffer { detailed: true, sku_ids: vec![id * 10, id * 10 + 1], ..KnownOffer::default() };
    let known = KnownShop {
        named_skus: (0, 0),
        pages: 0,
        watermark_at: Some(at("2026-11-19T10:00:00Z")),
        whole_dt: Some(day(19)),
        official_count: u64::try_from(offers).ok(),
        short: 0,
        finished_at: Some(at(finished_at)),
        offers: (1..=offers).map(|id| (id, offer(id))).collect(),
    };
    (shop.to_owned(), known)
}

fn windowed(mut pipeline: Pipeline) -> Pipeline {
    let endpoints = &mut pipeline.gateway.endpoints;
    let window = crate::config::gateway::Window {
        start: "start".into(),
        end: None,
        time: None,
        field: "modified_at".into(),
        drop: Vec::new(),
        params: Vec::new(),
        overlap_seconds: 0,
    };
    endpoints.get_mut("listing").unwrap().window = Some(window.clone());
    let off_sale = crate::config::gateway::Endpoint { window: Some(window), ..testing::endpoint("off_sale") };
    endpoints.insert("off_sale".into(), off_sale);
    pipeline
}

#[test]
fn an_incremental_night_costs_a_few_calls_or_the_whole_listing_besides() {
    let mut pipeline = windowed(pipeline(&["b2b-1", "b2b-2"]));
    pipeline.fetch.listing = FetchListing::Changed;
    pipeline.on_quota = OnQuota::Refuse;
    let known = Known { shops: [known("b2b-1", 4, "2026-11-19T18:00:00Z")].into(), ..Known::default() };
    let surveyed = Survey { known, ..survey(&pipeline) };
    let priced = price(&pipeline, &surveyed);
    let shops: Vec<String> = priced.subjects.iter().map(|subject| told(&subject.lines)).collect();
    assert_eq!(shops, ["count 1, listing ≈ 1–7, off_sale ≈ 1–4", "count 1, listing ≈ 1–5"]);
    let changes_only = |subject: &SubjectPrice| matches!(subject.subject, Subject::Shop { changes_only: true, .. });
    assert_eq!(priced.subjects.iter().map(changes_only).collect::<Vec<_>>(), [true, false]);
    // Without a count nothing proves that an incremental listing missed nothing.
    let mut uncounted = pipeline.clone();
    uncounted.gateway.endpoints.remove("count");
    let surveyed_uncounted = Survey { work: work(&uncounted).unwrap(), ..surveyed.clone() };
    assert_eq!(told(&price(&uncounted, &surveyed_uncounted).subjects[0].lines), "listing ≈ 1–3");
    // A week later the shop is listed whole again.
    let later = price(&pipeline, &Survey { dt: day(26), ..surveyed });
    assert_eq!(told(&later.subjects[0].lines), "count 1, listing ≈ 1–3");
}

#[test]
fn the_last_nights_tell_what_an_incremental_night_may_well_cost() {
    let mut pipeline = windowed(pipeline(&["b2b-1"]));
    pipeline.fetch.listing = FetchListing::Changed;
    let known = Known { shops: [known("b2b-1", 4, "2026-11-19T18:00:00Z")].into(), ..Known::default() };
    let night = |changes_only, calls| Night { changes_only, calls };
    let with = |nights: &[Night]| Survey {
        known: known.clone(),
        nights: [("b2b-1".to_owned(), nights.to_vec())].into(),
        ..survey(&pipeline)
    };
    let expected = |survey: &Survey| {
        let price = price(&pipeline, survey);
        assert_eq!(price.expected, price.subjects[0].expected);
        (price.total, price.expected)
    };
    // A count, a page of changes, what went off sale; at most all of it has changed, and the whole listing comes besides.
    let all = Calls::estimate(3, 12);
    assert_eq!(expected(&with(&[])), (all, None));
    let usual = [night(true, 3), night(true, 5), night(true, 4), night(false, 90)];
    assert_eq!(expected(&with(&usual)), (all, Some(4)), "the median, without the night of the whole listing");
    assert_eq!(expected(&with(&[night(true, 1)])), (all, Some(3)), "never less than the least");
    assert_eq!(expected(&with(&[night(true, 70)])), (all, Some(12)), "nor more than the most");
    let probed = Survey { is_under_way: true, counts: [(0, 4)].into(), ..with(&usual) };
    assert_eq!(expected(&probed), (Calls::estimate(2, 8), Some(3)), "the count is paid");
    let goes_on = Survey { start: Start::GoesOn { run_id: "r".into() }, ..with(&usual) };
    assert_eq!(expected(&goes_on).1, None, "nobody knows how far it was");
    let exact = Survey { counts: [(0, 3)].into(), dt: day(26), ..with(&usual) };
    assert_eq!(expected(&exact), (Calls::exact(3), Some(3)), "what is known needs no night");
}

#[test]
fn another_day_pays_for_counts_that_were_bought_today() {
    let pipeline = Pipeline { on_quota: OnQuota::Refuse, ..pipeline(&["b2b-1", "b2b-2"]) };
    let bought = Survey { free_counts: [0, 1].into(), ..counted(&pipeline, &[3, 3]) };
    for (calls_per_day, fits, kind) in [(4, Fits::NoDay, Kind::Config), (6, Fits::On(day(21)), Kind::Quota)] {
        let survey = Survey { accounts: vec![quota("a", calls_per_day, calls_per_day)], ..bought.clone() };
        let price = price(&pipeline, &survey);
        assert_eq!((price.total, price.fits_least), (Calls::exact(4), fits), "today's price, and the day of another's");
        assert_eq!(price.too_many.is_some(), fits == Fits::NoDay);
        assert_eq!(refusal(&pipeline, &survey).map(|error| error.kind()), Some(kind), "as `run` says");
    }
}

#[test]
fn a_shop_that_is_listed_on_a_later_day_may_be_counted_again() {
    let pipeline = Pipeline { on_quota: OnQuota::Continue, ..pipeline(&["b2b-1", "b2b-2"]) };
    let bought = Survey { free_counts: [0, 1].into(), ..counted(&pipeline, &[3, 3]) };
    for (calls_per_day, total) in [(2, Calls::between(4, 5)), (4, Calls::exact(4))] {
        let survey = Survey { accounts: vec![quota("a", calls_per_day, 0)], ..bought.clone() };
        assert_eq!(price(&pipeline, &survey).total, total, "{calls_per_day}");
    }
}

#[test]
fn a_count_of_earlier_today_bounds_the_price_from_below_too() {
    let pipeline = pipeline(&["b2b-1"]);
    let accounts = vec![quota("a", 4, 0)];
    let earlier = |count| {
        let accounts = accounts.clone();
        price(&pipeline, &Survey { earlier_counts: [(0, count)].into(), accounts, ..survey(&pipeline) })
    };
    // 7 offers, one more or less: three or four pages, and the count is asked for once more.
    assert_eq!(told(&earlier(7).endpoints), "count 1, listing ≈ 3–4");
    assert_eq!((earlier(7).fits_least, earlier(7).fits_most), (Fits::Today, Some(Fits::NoDay)));
    assert_eq!(earlier(9).refusal().map(|error| error.kind()), Some(Kind::Config), "four pages and a count");
    let counted = Survey { earlier_counts: [(0, 100)].into(), ..counted(&pipeline, &[3]) };
    assert_eq!(told(&price(&pipeline, &counted).endpoints), "count 1, listing 2", "what is counted now counts");
}

#[test]
fn a_count_that_was_bought_is_free_today_and_paid_for_on_another_day() {
    let pipeline = pipeline(&["b2b-1"]);
    let bought = |calls_per_day, used| Survey {
        free_counts: [0].into(),
        accounts: vec![quota("a", calls_per_day, used)],
        ..counted(&pipeline, &[7])
    };
    assert_eq!(told(&price(&pipeline, &bought(5, 1)).endpoints), "listing 4");
    assert!(refusal(&pipeline, &bought(5, 1)).is_none());
    let kind = |survey| refusal(&pipeline, &survey).map(|error| (error.kind(), error.to_string()));
    let (of_day, text) = kind(bought(5, 2)).unwrap();
    assert_eq!((of_day, text.contains("the run needs 5 calls")), (Kind::Quota, true), "{text}");
    assert_eq!(kind(bought(4, 1)).unwrap().0, Kind::Config, "four pages fit tomorrow, but not with a count");
    // Where the first page gives the count, it is that page.
    let mut uncounted = pipeline.clone();
    uncounted.gateway.endpoints.remove("count");
    let surveyed = Survey { work: work(&uncounted).unwrap(), ..bought(5, 1) };
    assert_eq!(told(&price(&uncounted, &surveyed).endpoints), "listing 3");
}

#[test]
fn an_id_that_a_cache_holds_is_paid_for_on_another_day() {
    let pipeline = pipeline(&["https://a.1688.com"]);
    let cached = |calls_per_day, used| {
        let url = || "https://a.1688.com".to_owned();
        let (ids_by_url, free_ids) = ([(url(), "b2b-1".to_owned())].into(), [url()].into());
        let accounts = vec![quota("a", calls_per_day, used)];
        refusal(&pipeline, &Survey { ids_by_url, free_ids, accounts, ..counted(&pipeline, &[7]) })
    };
    // A count and four pages today; on any other day an id besides.
    assert!(cached(5, 0).is_none());
    assert_eq!(cached(5, 1).map(|error| error.kind()), Some(Kind::Config));
    let another_day = cached(6, 2).unwrap();
    assert_eq!((another_day.kind(), another_day.to_string().contains("6 calls")), (Kind::Quota, true), "{another_day}");
}

#[test]
fn every_choice_in_fetch_has_its_price_beside_the_one_that_is_set() {
    let mut pipeline = windowed(pipeline(&["b2b-1"]));
    pipeline.fetch.skus = FetchDetails::Missing;
    let known = Known { shops: [known("b2b-1", 4, "2026-11-19T18:00:00Z")].into(), ..Known::default() };
    let surveyed = Survey { known, ..counted(&pipeline, &[4]) };
    let priced = price(&pipeline, &surveyed);
    let told: Vec<String> = priced
        .alternatives
        .iter()
        .map(|choice| {
            let set = if choice.is_set { " *" } else { "" };
            format!("{} {}: {}{set}", choice.setting, choice.value, choice.calls)
        })
        .collect();
    let expected = [
        "listing all: 3–4 *",
        "listing changed: ≈ 3–9",
        "details off: 0 *",
        "details missing: ≈ 0–1",
        "details changed: ≈ 0–5",
        "details all: ≈ 4–5",
        "skus off: 0",
        "skus missing: ≈ 0–2 *",
        "skus changed: ≈ 0–10",
        "skus all: ≈ 0–10",
    ];
    assert_eq!(told, expected);
}

#[test]
fn single_offers_cost_a_call_each_or_share_calls() {
    let mut pipeline = Pipeline { items: (1..=45).collect(), ..pipeline(&[]) };
    assert_eq!(told(&price(&pipeline, &survey(&pipeline)).endpoints), "item 45");
    pipeline.gateway.endpoints.get_mut("item").unwrap().batch = Some(20);
    assert_eq!(
        told(&price(&pipeline, &survey(&pipeline)).endpoints),
        "item ≈ 3–33",
        "three of 45 in five halvings each"
    );
    assert_eq!(price(&pipeline, &survey(&pipeline)).assumes, [Assumption::HardlyOpen]);
    let retried = Survey { start: Start::Retries { shops: 0, items: 45 }, ..survey(&pipeline) };
    let retried = price(&pipeline, &retried);
    assert_eq!(
        (told(&retried.endpoints).as_str(), &*retried.assumes),
        ("item 3–87", &[][..]),
        "each of them may be bad"
    );
    pipeline.fetch.skus = FetchDetails::All;
    let known = Known { shops: [known("b2b-1", 50, "2026-11-19T18:00:00Z")].into(), ..Known::default() };
    let surveyed = Survey { known, ..survey(&pipeline) };
    assert_eq!(told(&price(&pipeline, &surveyed).endpoints), "item ≈ 3–33, sku ≈ 0–96");
}

#[test]
fn money_is_exact_and_only_where_a_price_is_stated() {
    let mut pipeline = pipeline(&["b2b-1"]);
    assert_eq!(price(&pipeline, &survey(&pipeline)).gateways[0].cost, None);
    let amount = Money::parse("0.0035").unwrap();
    pipeline.gateway.limits.price_per_call = Some(CallPrice { amount, currency: "CNY".into() });
    let cost = price(&pipeline, &survey(&pipeline)).gateways[0].cost.clone().unwrap();
    let most = cost.most.map(|most| most.to_string());
    assert_eq!((cost.least.to_string(), most.as_deref()), ("0.0070".to_owned(), Some("0.0210")));
}

#[test]
fn details_of_another_gateway_are_priced_against_its_own_accounts() {
    let mut pipeline = pipeline(&["b2b-1"]);
    let mut gateway = testing::gateway("");
    gateway.name = "item-get".into();
    gateway.limits.calls_per_second = Some(1.0);
    pipeline.details = Some(DetailSource { gateway, accounts: vec![testing::account("items")] });
    pipeline.fetch.details = FetchDetails::All;
    let surveyed = Survey { detail_accounts: vec![quota("items", 2, 0)], ..counted(&pipeline, &[4]) };
    let priced = price(&pipeline, &surveyed);
    let gateways: Vec<(&str, Calls)> = priced.gateways.iter().map(|one| (one.name.as_str(), one.calls)).collect();
    assert_eq!(gateways, [("test", Calls::exact(3)), ("item-get", Calls::estimate(4, 5))]);
    assert_eq!(priced.assumes, [Assumption::HardlyGrown { shops: 1 }], "a listing may show more than is counted");
    assert_eq!(priced.gateways[1].accounts[0].takes, 2);
    assert_eq!(priced.gateways[1].time.as_secs_f64().round(), 5.0);
    assert_eq!((priced.fits_least, priced.fits_most), (Fits::NoDay, Some(Fits::NoDay)));
    assert_eq!(priced.subjects[0].done_on, Some(day(22)));
}

#[test]
fn one_key_at_two_gateways_has_one_days_calls() {
    let mut pipeline = pipeline(&["b2b-1"]);
    let mut gateway = testing::gateway("");
    gateway.name = "item-get".into();
    pipeline.details = Some(DetailSource { gateway, accounts: vec![testing::account("items")] });
    pipeline.fetch.details = FetchDetails::All;
    let key = &pipeline.accounts[0].key;
    let quota = |name, used| AccountQuota { key: key.clone(), ..quota(name, 8, used) };
    let surveyed = |used| Survey {
        accounts: vec![quota("main", used)],
        detail_accounts: vec![quota("items", used)],
        ..counted(&pipeline, &[4])
    };
    // A count, two pages and about four details.
    let priced = price(&pipeline, &surveyed(0));
    assert_eq!((priced.total, priced.fits_most), (Calls::estimate(7, 8), Some(Fits::Today)));
    let account = |price: &Price, gateway: usize| {
        let account = &price.gateways[gateway].accounts[0];
        (account.left, account.takes, account.counted_with.clone().unwrap())
    };
    assert_eq!(account(&priced, 0), (Some(8), 3, "items".to_owned()));
    assert_eq!(account(&priced, 1), (Some(8), 5, "main".to_owned()));
    let priced = price(&pipeline, &surveyed(3));
    assert_eq!((account(&priced, 0).0, account(&priced, 1).1), (Some(5), 2));
    assert_eq!(priced.subjects[0].done_on, Some(day(21)));
    let refusal = priced.refusal().unwrap();
    assert_eq!(refusal.to_string(), "the run needs ≈ 7–8 calls, more than are left today; they fit on 2026-11-21");
    // What each gateway counts by endpoint never meets the other's.
    for gateway in [true, false] {
        let mut pipeline = pipeline.clone();
        let limits = match gateway {
            true => &mut pipeline.gateway.limits,
            false => &mut pipeline.details.as_mut().unwrap().gateway.limits,
        };
        limits.quota_scope = QuotaScope::Endpoint;
        assert!(pipeline.shared_keys().is_empty());
        assert_eq!(price(&pipeline, &surveyed(0)).gateways[0].accounts[0].counted_with, None);
    }
}

#[test]
fn accounts_that_rest_are_named_with_the_moment_from_which_it_fits() {
    let pipeline = pipeline(&["b2b-1"]);
    let until = at("2026-11-20T07:30:00Z");
    let accounts = vec![resting("a", until)];
    let priced = price(&pipeline, &Survey { accounts: accounts.clone(), ..counted(&pipeline, &[4]) });
    assert_eq!((priced.fits_most, priced.not_before), (Some(Fits::Today), Some(until)));
    assert_eq!(priced.gateways[0].accounts[0].rests, accounts[0].rests);
    assert!(priced.refusal().is_none());
    let spare = vec![resting("a", until), quota("b", 20, 0)];
    assert_eq!(price(&pipeline, &Survey { accounts: spare, ..counted(&pipeline, &[4]) }).not_before, None);
}

#[test]
fn a_run_that_is_refused_because_the_gateway_blocks_everybody_says_so() {
    let pipeline = pipeline(&["b2b-1"]);
    let mut blocked = resting("a", at("2026-11-20T16:00:00Z"));
    blocked.rests[0].rest.reason = "`4016` (the balance is used up: recharge the account)".into();
    let refused = |accounts: Vec<AccountQuota>| {
        let error = price(&pipeline, &Survey { accounts, ..counted(&pipeline, &[4]) }).refusal().unwrap();
        (error.to_string(), error.hint().unwrap().to_owned())
    };
    let told = "more than are left today: `a` is blocked until 2026-11-21 00:00 (Beijing): `4016` (the balance is used up: \
                recharge the account); they fit on 2026-11-21";
    let (said, hint) = refused(vec![blocked.clone()]);
    assert!(said.ends_with(told) && !hint.contains("continue"), "{said}: {hint}");
    let (said, hint) = refused(vec![blocked, quota("b", 20, 19)]);
    assert!(said.ends_with(told) && hint.contains("continue"), "{said}: {hint}");
}

/// One that rests until then.
fn resting(name: &str, until: chrono::DateTime<chrono::Utc>) -> AccountQuota {
    let rest = crate::state::Rest { kind: crate::state::RestKind::Quota, until, reason: String::new() };
    let resting = Resting { scope: String::new(), gateway: String::new(), credentials: String::new(), rest };
    AccountQuota { rests: vec![resting], ..quota(name, 20, 0) }
}

#[test]
fn what_does_not_fit_is_named_with_its_day_and_refused_only_when_it_cannot_fit() {
    let pipeline = pipeline(&["b2b-1", "b2b-2", "b2b-3"]);
    let counts = [10, 8, 6];
    let with = |accounts: &[AccountQuota]| {
        price(&pipeline, &Survey { accounts: accounts.to_vec(), ..counted(&pipeline, &counts) })
    };
    // 6 + 5 + 4 calls.
    let days = |price: &Price| price.subjects.iter().map(|subject| subject.done_on).collect::<Vec<_>>();
    let fits = with(&[quota("a", 20, 5)]);
    assert_eq!((days(&fits), fits.fits_most), (vec![Some(day(20)); 3], Some(Fits::Today)));
    assert!(fits.refusal().is_none());
    let tomorrow = with(&[quota("a", 20, 9)]);
    assert_eq!(days(&tomorrow), [day(20), day(20), day(21)].map(Some));
    let refusal = tomorrow.refusal().unwrap();
    assert_eq!((tomorrow.fits_least, refusal.kind()), (Fits::On(day(21)), Kind::Quota));
    assert_eq!(refusal.to_string(), "the run needs 15 calls, more than are left today; they fit on 2026-11-21");
    let never = with(&[quota("a", 7, 0)]);
    assert_eq!(days(&never), [day(20), day(21), day(22)].map(Some));
    assert_eq!((never.fits_least, never.refusal().map(|error| error.kind())), (Fits::NoDay, Some(Kind::Config)));
    assert_eq!(days(&with(&[quota("a", 0, 0)])), [None; 3]);
    let split = with(&[quota("a", 20, 16), quota("b", 20, 0)]);
    let accounts = &split.gateways[0].accounts;
    let takes: Vec<_> = accounts.iter().map(|account| (account.left, account.takes)).collect();
    assert_eq!(takes, [(Some(4), 4), (Some(20), 11)]);
}

#[test]
fn the_shop_or_endpoint_that_is_too_much_for_a_day_is_named() {
    let mut pipeline = pipeline(&["b2b-1", "b2b-2"]);
    let refusal = |pipeline: &Pipeline, accounts: &[AccountQuota]| {
        let surveyed = Survey { accounts: accounts.to_vec(), ..counted(pipeline, &[4, 10]) };
        price(pipeline, &surveyed).refusal().map(|error| error.to_string())
    };
    // 3 and 6 calls.
    let needs = "the run needs 9 calls, more than any day allows";
    for (counted_by, allowed, expected) in [
        (QuotaScope::Account, 5, Some(needs.to_owned())),
        (QuotaScope::Shop, 5, Some(format!("{needs}: shop `b2b-2` needs at least 6 calls, and a day allows it 5"))),
        (
            QuotaScope::Endpoint,
            5,
            Some(format!("{needs}: endpoint `listing` needs at least 7 calls, and a day allows it 5")),
        ),
        (QuotaScope::Shop, 6, None),
        (QuotaScope::Endpoint, 7, None),
    ] {
        pipeline.gateway.limits.quota_scope = counted_by;
        assert_eq!(refusal(&pipeline, &[quota("a", allowed, 0)]), expected, "{counted_by:?}");
    }
    pipeline.gateway.limits.quota_scope = QuotaScope::Shop;
    assert_eq!(refusal(&pipeline, &[quota("a", 3, 0), quota("b", 3, 0)]), None, "two accounts share a shop's calls");
}

#[test]
fn what_may_fit_is_not_refused() {
    let pipeline = pipeline(&["b2b-1"]);
    let price = price(&pipeline, &Survey { accounts: vec![quota("a", 5, 0)], ..survey(&pipeline) });
    assert_eq!(
        (price.total, price.fits_least, price.fits_most),
        (Calls::between(2, 6), Fits::Today, Some(Fits::NoDay))
    );
    assert!(price.refusal().is_none());
}

#[test]
fn the_stalest_shops_go_first_where_a_run_may_go_on_another_day() {
    let mut pipeline = pipeline(&["b2b-1", "b2b-2", "b2b-3"]);
    let shops = [known("b2b-1", 4, "2026-11-19T18:00:00Z"), known("b2b-3", 4, "2026-11-18T18:00:00Z")];
    let surveyed = Survey { known: Known { shops: shops.into(), ..Known::default() }, ..survey(&pipeline) };
    let order = |pipeline: &Pipeline| {
        let id = |subject: SubjectPrice| match subject.subject {
            Subject::Shop { id, .. } => id.unwrap(),
            Subject::Items | Subject::Tokens => unreachable!(),
        };
        price(pipeline, &surveyed).subjects.into_iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(order(&pipeline), ["b2b-2", "b2b-3", "b2b-1"]);
    pipeline.on_quota = OnQuota::Refuse;
    assert_eq!(order(&pipeline), ["b2b-1", "b2b-2", "b2b-3"]);
}

#[test]
fn calls_that_are_counted_by_shop_or_endpoint_have_a_day_each() {
    let mut pipeline = pipeline(&["b2b-1", "b2b-2"]);
    pipeline.account_choice = AccountChoice::Drain;
    let counts = [8, 10];
    let accounts = vec![quota("a", 5, 0)];
    for (counted_by, expected) in [
        (QuotaScope::Account, [day(20), day(22)]),
        (QuotaScope::Shop, [day(20), day(21)]),
        (QuotaScope::Endpoint, [day(20), day(21)]),
    ] {
        pipeline.gateway.limits.quota_scope = counted_by;
        let surveyed = Survey { accounts: accounts.clone(), ..counted(&pipeline, &counts) };
        let days: Vec<_> = price(&pipeline, &surveyed).subjects.iter().map(|subject| subject.done_on).collect();
        assert_eq!(days, expected.map(Some), "{counted_by:?}");
    }
}
