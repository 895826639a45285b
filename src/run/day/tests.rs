//! Landed segments and facts → published days, on a real lake in a temporary folder, without a gateway.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use chrono::TimeZone;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::base::secret::Mask;
use crate::base::{Clock, SystemClock};
use crate::config::gateway::FieldSource;
use crate::config::location::Location;
use crate::config::pipeline::{DetailSource, FetchDetails, OnIncomplete};
use crate::extract::progress::Silent;
use crate::extract::{Listed, Record, ShopFacts, Sink, testing};
use crate::land::{Writer, WriterOptions};
use crate::load::Snapshot;
use crate::plan::known::KnownOffer;
use crate::query::{self, Session};
use crate::run::previous;
use crate::store::PipelineLock;

fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
}

/// Noon of a day, when everything of it is fetched.
fn noon(day: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, day, 12, 0, 0).unwrap()
}

fn run_id(number: u8) -> RunId {
    RunId::new(noon(1), [number; 10])
}

fn endpoint_record(endpoint: &str, dt: u32) -> Record {
    let at = noon(dt);
    Record { endpoint: endpoint.into(), sent_at: at, received_at: at, ..testing::record(200) }
}

fn attempt(record: Record, body: &str) -> Attempt {
    Attempt { record, body: Bytes::from(body.to_owned()) }
}

/// A page of shop `a` with these records.
fn page(dt: u32, items: &[&str]) -> Attempt {
    let record = Record { shop_id: Some("a".into()), page: Some(1), ..endpoint_record("listing", dt) };
    attempt(record, &format!(r#"{{"list_response":{{"items":{{"item":[{}]}}}}}}"#, items.join(",")))
}

/// An offer of a listing: its id, when it was modified, the SKUs it names.
fn item(id: i64, modified: &str, skus: &str) -> String {
    let time = format!("2026-11-{modified} 08:00:00");
    format!(
        r#"{{"item_id":{id},"title":"listed {id}","price":"9.00","channelPrice":"8.00","cid":"c{id}","modified_time":"{time}","skuIds":"{skus}"}}"#
    )
}

fn sku(dt: u32, offer_id: i64, sku_id: i64, price: &str) -> Attempt {
    let record = Record { offer_id: Some(offer_id), sku_id: Some(sku_id), ..endpoint_record("sku", dt) };
    attempt(record, &format!(r#"{{"sku_get_response":{{"sku":{{"sku_id":{sku_id},"price":"{price}"}}}}}}"#))
}

/// Shop `a` as an extraction leaves it.
fn shop_facts(dt: u32, listing: Listed, official_count: i64) -> ShopFacts {
    ShopFacts {
        shop_id: "a".into(),
        official_count: Some(official_count),
        listing,
        watermark_at: Some(noon(dt)),
        started_at: noon(dt),
        finished_at: noon(dt),
        ..ShopFacts::default()
    }
}

fn facts(shops: Vec<ShopFacts>) -> RunFacts {
    RunFacts { shops, started_at: noon(1), finished_at: noon(1), ..RunFacts::default() }
}

/// A lake and the pipeline that fills it.
struct Lake {
    _folder: tempfile::TempDir,
    store: Store,
    pipeline: Pipeline,
}

impl Lake {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut gateway = testing::gateway("http://127.0.0.1:1/");
        let field = |at: &str| FieldSource { at: vec![testing::pointer(at)], ..FieldSource::default() };
        for (name, at) in [
            ("title", "/title"),
            ("price", "/price"),
            ("channel_price", "/channelPrice"),
            ("category_id", "/cid"),
            ("modified_at", "/modified_time"),
        ] {
            gateway.offer.insert(name.into(), field(at));
        }
        gateway.sku = [("sku_id", "/sku_id"), ("price", "/price")].map(|(name, at)| (name.into(), field(at))).into();
        gateway.endpoints.insert("off_sale".into(), {
            crate::config::gateway::Endpoint { name: "off_sale".into(), ..gateway.endpoints["listing"].clone() }
        });
        (gateway.completeness.count_tolerance, gateway.unit) = (0, Some("件".into()));
        let mut pipeline = testing::pipeline(gateway);
        pipeline.lake.location = Location::Folder(folder.path().to_owned());
        Self { store: Store::open(folder.path()).unwrap(), _folder: folder, pipeline }
    }

    /// Lands these attempts as the next ones of a run.
    async fn land(&self, start: &Start, attempts: Vec<Attempt>) -> Zone {
        let zone = Zone::new(self.store.clone(), &self.pipeline.name, start.dt);
        let first_number = zone.last_number(&start.run_id).await.unwrap() + 1;
        let options = WriterOptions { run_id: start.run_id, first_number, mask: Mask::new([]) };
        let writer = Writer::start(zone.clone(), options);
        for Attempt { mut record, body } in attempts {
            record.run_id = start.run_id.to_string();
            writer.land(Attempt { record, body }).await.unwrap();
        }
        writer.close().await.unwrap();
        zone
    }

    /// Lands and publishes a day in one go; the day of a refresh gets another run.
    async fn lock(&self) -> PipelineLock {
        self.store.lock(&self.pipeline.name, "test").await.unwrap()
    }

    async fn turn<'l>(&self, lock: &'l PipelineLock, around: &Surroundings<'_>) -> Turn<'l> {
        Turn::take(&self.store, &self.pipeline.name, lock, around.clock.now()).await.unwrap()
    }

    fn place<'p>(&'p self, around: &'p Surroundings<'p>, turn: &'p Turn<'p>) -> Place<'p> {
        Place { pipeline: &self.pipeline, around, store: &self.store, turn }
    }

    async fn publish(&self, dt: u32, run: u8, attempts: Vec<Attempt>, facts: RunFacts) -> Report {
        let start = Start { dt: day(dt), run_id: run_id(run), attempt: 1, started_at: noon(dt) };
        let zone = self.land(&start, attempts).await;
        let (lock, around) = (self.lock().await, around());
        let turn = self.turn(&lock, &around).await;
        publish(self.place(&around, &turn), &zone, &start, facts).await.unwrap()
    }

    /// The rows of a query, their values joined by blanks.
    async fn rows(&self, sql: &str) -> Vec<String> {
        let session = Session::at(self.store.root(), &query::Options::default()).await.unwrap();
        let batches = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).collect().await.unwrap();
        batches.iter().flat_map(texts).collect()
    }
}

fn texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let columns: Vec<_> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" ");
    (0..batch.num_rows()).map(row).collect()
}

fn around() -> Surroundings<'static> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Surroundings { clock, progress: &Silent, cancel: CancellationToken::new(), seed: 7 }
}

#[tokio::test]
async fn a_night_of_changes_carries_the_rest_and_delists_what_the_gateway_lists_as_off_sale() {
    let lake = Lake::new();
    let items = [item(1, "01", ""), item(2, "01", ""), item(3, "01", "")];
    let whole = facts(vec![shop_facts(19, Listed::Whole, 3)]);
    lake.publish(19, 1, vec![page(19, &[&items[0], &items[1], &items[2]])], whole).await;

    let mut off_sale = page(20, &[&items[2], r#"{"item_id":"no id"}"#]);
    off_sale.record.endpoint = "off_sale".into();
    let mut shop = shop_facts(20, Listed::Changed, 3);
    shop.off_sale = vec![3];
    let attempts = vec![page(20, &[&item(1, "20", ""), &item(4, "20", "")]), off_sale];
    let report = lake.publish(20, 2, attempts, facts(vec![shop])).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.received, report.loaded, report.carried), (2, 2, 1), "an off-sale record is no offer");
    let rows = lake.rows("select offer_id, status, observed_dt from offers where dt = '2026-11-20' order by 1").await;
    assert_eq!(rows, ["1 on_sale 2026-11-20", "2 on_sale 2026-11-19", "3 delisted 2026-11-19", "4 on_sale 2026-11-20"]);
    let counts = "select offer_count, new_count, changed_count, carried_count, delisted_count, quarantined_count,
        watermark_at from shops where dt = '2026-11-20'";
    assert_eq!(lake.rows(counts).await, ["3 1 1 1 1 0 2026-11-20T12:00:00Z"]);

    // What is no longer listed has no price that could be asked for.
    let delisted = |dt: u32| {
        format!(
            "select ladder_status, price_source, tier_count, sku_count, min_piece_price, max_piece_price, price,
             (select count(*) from price_tiers t where t.dt = o.dt and t.offer_id = 3) from offers o
             where offer_id = 3 and dt = '2026-11-{dt}'"
        )
    };
    assert_eq!(lake.rows(&delisted(19)).await, ["single channel 1 0 8.000000 8.000000 9.0000 1"]);
    assert_eq!(lake.rows(&delisted(20)).await, ["missing none 0 0 ∅ ∅ 9.0000 0"]);

    // The next night nothing happens: what was called delisted is gone.
    let idle = facts(vec![shop_facts(21, Listed::Changed, 3)]);
    let report = lake.publish(21, 3, Vec::new(), idle).await;
    assert_eq!((report.received, report.carried, report.is_complete()), (0, 3, true));
    assert_eq!(lake.rows("select offer_id from offers where dt = '2026-11-21' order by 1").await, ["1", "2", "4"]);
}

#[tokio::test]
async fn the_picture_before_tells_what_need_not_be_asked() {
    let mut lake = Lake::new();
    lake.pipeline.fetch.skus = FetchDetails::All;
    let items = [item(1, "01", "11,12"), item(2, "02", "21")];
    let mut shop = shop_facts(19, Listed::Whole, 2);
    (shop.shop_url, shop.whole_dt) = (Some("https://a.example".into()), Some(day(19)));
    let facts = facts(vec![shop]);
    let attempts =
        vec![page(19, &[&items[0], &items[1]]), sku(19, 1, 11, "1"), sku(19, 1, 12, "2"), sku(19, 2, 21, "3")];
    lake.publish(19, 1, attempts, facts.clone()).await;
    let entry = Snapshot::load(&lake.store).await.unwrap().picture("test", day(19)).unwrap().clone();
    let store = lake.store.clone();
    let read = |entry: Entry, facts: Option<RunFacts>| {
        let store = store.clone();
        off_reactor(move || previous::known(&store, &entry, facts.as_ref()))
    };
    let known = read(entry.clone(), Some(facts)).await.unwrap();
    assert_eq!(known.ids_by_url["https://a.example"], "a");
    let shop = &known.shops["a"];
    assert_eq!((shop.watermark_at, shop.whole_dt, shop.official_count), (Some(noon(19)), Some(day(19)), Some(2)));
    assert_eq!(shop.finished_at, Some(noon(19)));
    let modified_at = Some(testing::at("2026-11-01T08:00:00+08:00"));
    assert_eq!(shop.offers.get(1), Some(KnownOffer { modified_at, sku_ids: vec![11, 12], ..KnownOffer::default() }));
    assert_eq!((shop.offers.len(), shop.offers.get(2).unwrap().sku_ids), (2, vec![21]));
    assert_eq!(read(entry, None).await.unwrap().shops["a"].whole_dt, None);
}

#[tokio::test]
async fn skus_that_nobody_asked_for_again_keep_their_rows() {
    let mut lake = Lake::new();
    lake.pipeline.fetch.skus = FetchDetails::Missing;
    let whole = |dt| facts(vec![shop_facts(dt, Listed::Whole, 1)]);
    let first = vec![page(19, &[&item(1, "01", "11,12,13")]), sku(19, 1, 11, "1"), sku(19, 1, 12, "2")];
    let report = lake.publish(19, 1, first, whole(19)).await;
    assert!(!report.is_complete(), "a SKU it names has no row");
    // 11 and 13 are still named, 12 is not; 13 is asked for, 11 is not.
    lake.publish(20, 2, vec![page(20, &[&item(1, "01", "11,13")]), sku(20, 1, 13, "3")], whole(20)).await;
    let skus = |dt: u32| {
        format!("select sku_id, price, cast(fetched_at as date) from skus where dt = '2026-11-{dt}' order by 1")
    };
    assert_eq!(lake.rows(&skus(20)).await, ["11 1.0000 2026-11-19", "13 3.0000 2026-11-20"]);
    let report = lake.publish(21, 3, vec![page(21, &[&item(1, "01", "11,13")])], whole(21)).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(lake.rows(&skus(21)).await, ["11 1.0000 2026-11-19", "13 3.0000 2026-11-20"]);
    let hashes = "select count(distinct content_hash), min(sku_count), max(sku_count) from offers
        where dt >= '2026-11-20'";
    assert_eq!(lake.rows(hashes).await, ["1 2 2"]);
    // A SKU that is said to be gone does not go on.
    let mut gone = sku(22, 1, 11, "1");
    gone.body = Bytes::from_static("{\"error_response\":{\"code\":\"1\",\"msg\":\"商品不存在\"}}".as_bytes());
    lake.publish(22, 4, vec![page(22, &[&item(1, "01", "11,13")]), gone], whole(22)).await;
    assert_eq!(lake.rows(&skus(22)).await, ["13 3.0000 2026-11-20"]);
    // Where every SKU is asked for, one without an answer goes on, and the offer is not complete.
    lake.pipeline.fetch.skus = FetchDetails::All;
    let report = lake.publish(23, 5, vec![page(23, &[&item(1, "01", "11,13")])], whole(23)).await;
    assert!(!report.is_complete());
    assert_eq!(lake.rows(&skus(23)).await, ["13 3.0000 2026-11-20"]);
    // So it is where one is asked for again and refused.
    lake.pipeline.fetch.skus = FetchDetails::Missing;
    let page = |dt| page(dt, &[&item(1, "01", "13")]);
    let report = lake.publish(24, 6, vec![page(24)], whole(24)).await;
    assert!(report.is_complete(), "{report:?}");
    let mut refused = sku(25, 1, 13, "1");
    refused.body = Bytes::from_static(b"{\"error_response\":{\"code\":\"99\",\"msg\":\"?\"}}");
    let report = lake.publish(25, 7, vec![page(25), refused.clone()], whole(25)).await;
    assert!(!report.is_complete());
    assert_eq!(lake.rows(&skus(25)).await, ["13 3.0000 2026-11-20"]);
    let answered = Attempt { record: Record { number: 3, ..sku(26, 1, 13, "4").record }, ..sku(26, 1, 13, "4") };
    let refused = Attempt { record: sku(26, 1, 13, "4").record, ..refused };
    let report = lake.publish(26, 8, vec![page(26), refused, answered], whole(26)).await;
    assert!(report.is_complete(), "it was answered in the end: {report:?}");
    assert_eq!(lake.rows(&skus(26)).await, ["13 4.0000 2026-11-26"]);
    // One that lacks a SKU still lacks it on the night that carries it forward.
    let two = self::page(27, &[&item(1, "01", "13,14")]);
    let report = lake.publish(27, 9, vec![two], whole(27)).await;
    assert!(!report.is_complete());
    let report = lake.publish(28, 10, Vec::new(), facts(vec![shop_facts(28, Listed::Changed, 1)])).await;
    let shop = &report.shops[0];
    assert_eq!((report.carried, shop.sku_complete_rate, report.is_complete()), (1, Some(0), false));
    assert_eq!(lake.rows("select sku_named_count from offers where dt = '2026-11-28'").await, ["2"]);
}

/// A lake whose details come from another gateway, where an offer's fields have other names.
fn with_details() -> Lake {
    let mut lake = Lake::new();
    let mut other = testing::gateway("http://127.0.0.1:2/");
    let field = |at: &str| FieldSource { at: vec![testing::pointer(at)], ..FieldSource::default() };
    let fields = [("offer_id", "/num_iid"), ("price", "/price"), ("brand", "/brand"), ("title", "/name")];
    (other.name, other.offer) = ("other".into(), fields.map(|(name, at)| (name.into(), field(at))).into());
    lake.pipeline.details = Some(DetailSource { gateway: other, accounts: vec![testing::account("other")] });
    lake.pipeline.fetch.details = FetchDetails::Changed;
    lake.pipeline.gateway.completeness.price = false;
    lake
}

fn detail(dt: u32, id: i64, body: &str) -> Attempt {
    let gateway = Some("other".to_owned());
    let record = Record { gateway, shop_id: Some("a".into()), offer_id: Some(id), ..endpoint_record("item", dt) };
    attempt(record, body)
}

const OFFERS: &str = "select offer_id, gateway, title, brand, category_id, price, cast(modified_at as date),
    detail_fetched_at is not null, observed_dt from offers";

#[tokio::test]
async fn what_only_a_detail_says_goes_on_with_an_offer_that_changes_where_missing_details_are_asked_for() {
    let mut lake = with_details();
    lake.pipeline.fetch.details = FetchDetails::Missing;
    let whole = |dt| facts(vec![shop_facts(dt, Listed::Whole, 2)]);
    let listed = |dt, modified: &str| page(dt, &[&item(1, modified, ""), &item(2, "02", "")]);
    let bought = detail(19, 1, r#"{"item":{"num_iid":1,"price":"7.50","brand":"甲"}}"#);
    lake.publish(19, 1, vec![listed(19, "01"), bought], whole(19)).await;
    lake.publish(20, 2, vec![listed(20, "03")], whole(20)).await;
    lake.publish(21, 3, vec![listed(21, "03")], whole(21)).await;
    let rows = |dt| {
        format!(
            "select offer_id, brand, price, cast(modified_at as date), cast(detail_fetched_at as date), \
             cast(fetched_at as date) from offers where dt = '2026-11-{dt}' order by 1"
        )
    };
    assert_eq!(lake.rows(&rows(19)).await[0], "1 甲 7.5000 2026-11-01 2026-11-19 2026-11-19");
    // The price is that of the listing.
    let listing = |dt: u32| format!("1 甲 9.0000 2026-11-03 2026-11-19 2026-11-{dt}");
    assert_eq!(lake.rows(&rows(20)).await[0], listing(20));
    assert_eq!(lake.rows(&rows(21)).await[0], listing(20), "its row stands: it has not changed since");
    let changed = lake.rows("select changed_count from shops order by dt").await;
    assert_eq!(changed, ["0", "1", "0"]);
    let entry = Snapshot::load(&lake.store).await.unwrap().picture("test", day(20)).unwrap().clone();
    let store = lake.store.clone();
    let known = off_reactor(move || previous::known(&store, &entry, None)).await.unwrap();
    let offers: Vec<KnownOffer> = known.shops["a"].offers.values().collect();
    let seen: Vec<_> = offers.iter().map(|offer| (offer.detailed, offer.outdated)).collect();
    assert_eq!(seen, [(true, true), (false, false)]);
    // Whoever asks for what has changed gets it anew, and the older detail says nothing.
    lake.pipeline.fetch.details = FetchDetails::Changed;
    lake.publish(22, 4, vec![listed(22, "04")], whole(22)).await;
    assert!(lake.rows(&rows(22)).await[0].starts_with("1 ∅ 9.0000 2026-11-04 ∅"), "{:?}", lake.rows(&rows(22)).await);
}

#[tokio::test]
async fn a_detail_counts_for_its_offer_until_the_offer_is_modified() {
    let lake = with_details();
    let whole = |dt| facts(vec![shop_facts(dt, Listed::Whole, 2)]);
    let listed = |dt, modified: &str| page(dt, &[&item(1, modified, ""), &item(2, "02", "")]);
    // Details stand before the listing here: the order of the answers does not matter.
    let attempts = vec![
        detail(19, 1, r#"{"item":{"num_iid":1,"price":"7.50","brand":"甲"}}"#),
        detail(19, 2, r#"{"item":{"num_iid":"x","price":"7.50"}}"#),
        listed(19, "01"),
    ];
    let report = lake.publish(19, 1, attempts, whole(19)).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.received, report.loaded, report.duplicates, report.quarantined), (2, 2, 0, 0));
    let on = |dt: u32| format!("{OFFERS} where dt = '2026-11-{dt}' order by 1");
    let first = ["1 other listed 1 甲 c1 7.5000 2026-11-01 true", "2 test listed 2 ∅ c2 9.0000 2026-11-02 false"];
    assert_eq!(lake.rows(&on(19)).await, first.map(|row| format!("{row} 2026-11-19")));
    let quarantine = "select gateway, offer_id, stage, reason from quarantine where dt = '2026-11-19'";
    assert_eq!(lake.rows(quarantine).await, ["other ∅ transform_detail id_invalid"]);

    let report = lake.publish(20, 2, vec![listed(20, "01")], whole(20)).await;
    assert_eq!((report.received, report.loaded, report.carried), (2, 2, 0));
    let [kept, listing] = first;
    assert_eq!(lake.rows(&on(20)).await, [format!("{kept} 2026-11-19"), format!("{listing} 2026-11-20")]);
    let counts = "select offer_count, new_count, changed_count, carried_count from shops where dt = '2026-11-20'";
    assert_eq!(lake.rows(counts).await, ["2 0 0 0"]);

    lake.publish(21, 3, vec![listed(21, "21")], whole(21)).await;
    let row = "1 test listed 1 ∅ c1 9.0000 2026-11-21 false 2026-11-21";
    assert_eq!(lake.rows(&on(21)).await[0], row, "modified, and its detail was not asked");
}

#[tokio::test]
async fn details_of_several_offers_in_one_answer_find_their_listings() {
    let lake = with_details();
    let mut both = detail(19, 0, r#"{"item":[{"num_iid":1,"name":"own"},{"num_iid":"2"},{"num_iid":9}]}"#);
    both.record.offer_id = None;
    let attempts = vec![page(19, &[&item(1, "01", ""), &item(2, "02", "")]), both];
    let report = lake.publish(19, 1, attempts, facts(vec![shop_facts(19, Listed::Whole, 3)])).await;
    assert_eq!((report.received, report.loaded, report.duplicates), (3, 3, 0), "one of them was not listed");
    let titles = "select offer_id, title, category_id from offers order by 1";
    assert_eq!(lake.rows(titles).await, ["1 own c1", "2 listed 2 c2", "9 ∅ ∅"]);
}

#[tokio::test]
async fn a_detail_that_is_refused_leaves_its_offer_as_listed() {
    let lake = with_details();
    let refused = r#"{"error_response":{"code":"77777","msg":"?"}}"#;
    let attempts = vec![page(19, &[&item(1, "01", "")]), detail(19, 1, refused)];
    let report = lake.publish(19, 1, attempts, facts(vec![shop_facts(19, Listed::Whole, 1)])).await;
    assert_eq!((report.received, report.loaded, report.quarantined, report.is_complete()), (1, 1, 0, true));
    assert_eq!(lake.rows("select stage, offer_id from quarantine").await, ["transform_detail 1"]);
    assert_eq!(lake.rows("select title from offers").await, ["listed 1"]);
}

#[tokio::test]
async fn a_run_that_stopped_and_failed_before_it_published_journals_each_call_once() {
    let lake = Lake::new();
    let start = |attempt| Start { dt: day(19), run_id: run_id(1), attempt, started_at: noon(19) };
    let counted = |calls_used| {
        let facts = facts(vec![shop_facts(19, Listed::Whole, 2)]);
        RunFacts { calls_used, calls_saved: 4, quota_left: Some(70), ..facts }
    };
    lake.land(&start(1), vec![page(19, &[&item(1, "01", "")])]).await;
    let stop = RunFacts { stopped: Some("a signal".into()), ..counted(1) };
    let (lock, around) = (lake.lock().await, around());
    let turn = lake.turn(&lock, &around).await;
    let place = lake.place(&around, &turn);
    publish_stop(place, &start(1), &stop).await.unwrap();

    let mut copy = page(18, &[&item(2, "01", "")]);
    copy.record.copied_from = Some("earlier/9".into());
    lake.land(&start(2), vec![copy, page(19, &[&item(1, "01", "")])]).await;
    let error = Error::storage("full");
    publish_failure(place, &start(2), &error).await.unwrap();
    // Told twice, it is one row.
    publish_failure(place, &start(2), &error).await.unwrap();

    let zone = lake.land(&start(3), vec![page(19, &[&item(2, "02", "")])]).await;
    let report = publish(place, &zone, &start(3), counted(1)).await.unwrap();
    assert_eq!((report.received, report.loaded, report.duplicates, report.is_complete()), (4, 2, 2, true));
    assert_eq!(lake.rows("select number from calls order by 1").await, ["1", "3", "4"]);
    assert_eq!(lake.rows("select number from raw_pages order by 1").await, ["1", "2", "3", "4"]);
    let runs = "select attempt, status, calls_used, calls_saved, quota_left from runs order by 1";
    assert_eq!(lake.rows(runs).await, ["1 stopped 1 4 70", "2 failed 1 0 ∅", "3 published 1 4 70"]);
    let entries = crate::load::log::read_span(&lake.store, "test", 1..=3).await.unwrap();
    let calls_to: Vec<i64> = entries.iter().map(|entry| entry.calls_to).collect();
    assert_eq!(calls_to, [1, 3, 4]);
}

#[tokio::test]
async fn a_copy_counts_as_if_it_had_been_answered_when_it_was() {
    let lake = Lake::new();
    let mut copy = page(18, &[&item(1, "01", "")]);
    copy.record.copied_from = Some("earlier/9".into());
    lake.publish(19, 1, vec![copy], facts(vec![shop_facts(19, Listed::Whole, 1)])).await;
    let row = "select cast(fetched_at as date), observed_dt, raw_ref from offers";
    assert_eq!(lake.rows(row).await, [format!("2026-11-18 2026-11-19 {}/1", run_id(1))]);
    assert_eq!(lake.rows("select count(*) from calls").await, ["0"]);
}

#[tokio::test]
async fn a_shop_that_a_retry_does_not_touch_stays_as_it_was() {
    let lake = Lake::new();
    let of_b = |mut page: Attempt| {
        page.record.shop_id = Some("b".into());
        page
    };
    let b = |incomplete_reason: Option<&str>| {
        let incomplete_reason = incomplete_reason.map(str::to_owned);
        ShopFacts { shop_id: "b".into(), incomplete_reason, ..shop_facts(20, Listed::Whole, 1) }
    };
    let before = vec![page(19, &[&item(1, "01", ""), &item(2, "01", "")])];
    lake.publish(19, 1, before, facts(vec![shop_facts(19, Listed::Whole, 2)])).await;
    let attempts = vec![page(20, &[&item(1, "01", ""), r#"{"item_id":"x"}"#]), of_b(page(20, &[]))];
    let mut shop_a = shop_facts(20, Listed::Whole, 2);
    shop_a.calls_used = 3;
    let report = lake.publish(20, 2, attempts, facts(vec![shop_a, b(Some("a page failed"))])).await;
    assert!(!report.is_complete());
    let of_a =
        |table: &str| format!("select * exclude (run_id) from {table} where dt = '2026-11-20' and shop_id = 'a'");
    let tables = ["offers", "price_tiers", "shops", "quarantine"];
    let mut rows = Vec::new();
    for table in tables {
        rows.push(lake.rows(&of_a(table)).await);
        assert!(!rows.last().unwrap().is_empty(), "{table}");
    }

    let shops = vec![shop_facts(20, Listed::Untouched, 99), b(None)];
    let report = lake.publish(20, 3, vec![of_b(page(20, &[&item(7, "01", "")]))], facts(shops)).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.received, report.loaded), (1, 1));
    for (table, before) in tables.into_iter().zip(rows) {
        assert_eq!(lake.rows(&of_a(table)).await, before, "{table}");
    }
    let delisted = "select offer_id from offers where dt = '2026-11-20' and status = 'delisted'";
    assert_eq!(lake.rows(delisted).await, ["2"]);
    let runs = "select distinct run_id from shops where dt = '2026-11-20'";
    assert_eq!(lake.rows(runs).await, [run_id(3).to_string()]);
}

#[tokio::test]
async fn a_retry_needs_the_picture_it_completes_and_a_whole_fetch_does_not() {
    let lake = Lake::new();
    let items = [item(1, "01", ""), item(2, "01", "")];
    let whole = || facts(vec![shop_facts(20, Listed::Whole, 2)]);
    lake.publish(20, 1, vec![page(20, &[&items[0], &items[1]])], whole()).await;
    let entry = Snapshot::load(&lake.store).await.unwrap().picture(&lake.pipeline.name, day(20)).unwrap().clone();
    lake.store.delete(&entry.files(Table::Offers)[0].path).await.unwrap();
    let start = Start { dt: day(20), run_id: run_id(2), attempt: 2, started_at: noon(20) };
    let zone = lake.land(&start, Vec::new()).await;
    let (lock, around) = (lake.lock().await, around());
    let turn = lake.turn(&lock, &around).await;
    let untouched = facts(vec![shop_facts(20, Listed::Untouched, 2)]);
    let error = publish(lake.place(&around, &turn), &zone, &start, untouched).await.unwrap_err();
    assert!(error.to_string().ends_with("is missing or damaged"), "{error}");
    assert!(error.hint().unwrap().contains("`huopan replay PIPELINE --dt 2026-11-20`"), "{error:?}");
    lock.release().await.unwrap();
    let report = lake.publish(20, 3, vec![page(20, &[&items[0], &items[1]])], whole()).await;
    assert_eq!((report.loaded, report.is_complete()), (2, true), "{report:?}");
}

#[tokio::test]
async fn a_run_whose_items_were_all_refused_with_an_unknown_code_is_not_complete() {
    let refused = |id, code: &str| {
        let record = Record { offer_id: Some(id), ..endpoint_record("item", 19) };
        attempt(record, &format!(r#"{{"error_response":{{"code":"{code}","msg":"?"}}}}"#))
    };
    let known = "isp.item-hidden";
    for (codes, with_shop, complete) in [
        (["77777", "77777"], false, false),
        (["77777", known], false, true),
        // A shop that was listed says nothing about the items.
        (["77777", "77777"], true, false),
        (["77777", known], true, true),
    ] {
        let mut lake = Lake::new();
        lake.pipeline.items = vec![1, 2];
        let mut attempts = vec![refused(1, codes[0]), refused(2, codes[1])];
        let mut shops = Vec::new();
        if with_shop {
            attempts.push(page(19, &[&item(7, "01", "")]));
            shops.push(shop_facts(19, Listed::Whole, 1));
        }
        let report = lake.publish(19, 1, attempts, facts(shops)).await;
        let counts = (report.received - report.loaded, report.quarantined, report.is_complete());
        assert_eq!(counts, (2, 2, complete), "{codes:?} {with_shop}");
        let status =
            if complete { "published ∅" } else { "published_incomplete each of the 2 items was refused with" };
        assert!(lake.rows("select status, error from runs").await[0].starts_with(status), "{codes:?}");
    }
}

mod large;
