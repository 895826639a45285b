//! Days of many offers: whatever memory they may take, the tables are the same.
//!
//! `HUOPAN_LARGE_OFFERS=1000000 cargo test --release --lib large:: -- --nocapture` measures two nights of that many
//! offers instead, each in a process of its own: whole, then 1 % changed. It prints processor seconds, and the process's
//! greatest memory while the tables were made, beside what it held before (what landing the answers has left).

use super::*;

/// Offers of a shop: what 50 pages of 40 show.
const SHOP_OFFERS: i64 = 2_000;
const PAGE_OFFERS: i64 = 40;
const TABLES: [&str; 5] = ["offers", "price_tiers", "skus", "shops", "quarantine"];

/// A catalogue: its offers by number, in shops of equal size.
#[derive(Clone, Copy)]
struct Catalogue {
    offers: i64,
    shop_offers: i64,
}

impl Catalogue {
    fn shops(self) -> i64 {
        (self.offers + self.shop_offers - 1) / self.shop_offers
    }

    fn shop(shop: i64) -> String {
        format!("b2b-{:010}", (shop * 7_919) % 10_007)
    }

    /// The numbers of a shop's offers.
    fn of(self, shop: i64) -> std::ops::Range<i64> {
        shop * self.shop_offers..((shop + 1) * self.shop_offers).min(self.offers)
    }

    /// An offer's id: not in the order in which pages show it.
    fn id(number: i64) -> i64 {
        600_000_000_000 + (number * 2_654_435_761) % 4_294_967_291
    }
}

/// The record of an offer as a listing shows it.
fn record(number: i64, modified: &str) -> String {
    let id = Catalogue::id(number);
    let (price, step) = (200 + number % 9_000, number % 7 + 2);
    let ladder = (0..number % 3 + 1).map(|tier| {
        let price = price * (20 - tier) / 20;
        format!(
            r#"{{"startQuantity":"{}","price":"{}.{:02}"}}"#,
            step * 10_i64.pow(tier as u32),
            price / 100,
            price % 100
        )
    });
    let skus = (0..number % 4).map(|sku| {
        let sku_id = id * 10 + sku;
        format!(
            r#"{{"sku_id":{sku_id},"spec":"颜色:第{sku}色;尺码:均码","price":"{}.{:02}","stock":{}}}"#,
            price / 100,
            price % 100,
            number % 977
        )
    });
    format!(
        r#"{{"item_id":{id},"title":"{number} 春秋新款男女通用加厚纯棉长袖圆领卫衣 厂家直销一件代发","price":"{}.{:02}","wholesalePrice":[{}],"moq":"{step}件起批","unit":"件","sales":{},"stock":{},"skus":[{}],"cid":"{}","modified_time":"2026-11-{modified} 08:00:00","shop_name":"义乌市第{}服饰厂","detail_url":"https://detail.1688.com/offer/{id}.html","pic_url":"https://cbu01.alicdn.com/img/ibank/O1CN01{:016x}_!!{}-0-cib.jpg"}}"#,
        price / 100,
        price % 100,
        ladder.collect::<Vec<_>>().join(","),
        number % 5_000,
        number % 977 * 3,
        skus.collect::<Vec<_>>().join(","),
        number % 300,
        number / SHOP_OFFERS,
        id.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed()),
        id * 31 % 10_000_000_000,
    )
}

fn listing(dt: u32, shop: &str, records: &[String], at: usize) -> Attempt {
    let page = u32::try_from(at + 1).unwrap();
    let record = Record { shop_id: Some(shop.into()), page: Some(page), ..endpoint_record("listing", dt) };
    attempt(record, &format!(r#"{{"list_response":{{"items":{{"item":[{}]}}}}}}"#, records.join(",")))
}

/// The pages that show these offers of a shop.
fn pages(dt: u32, shop: &str, numbers: impl Iterator<Item = i64>, modified: &str) -> Vec<Attempt> {
    let records: Vec<String> = numbers.map(|number| record(number, modified)).collect();
    let pages = records.chunks(usize::try_from(PAGE_OFFERS).unwrap()).enumerate();
    pages.map(|(at, records)| listing(dt, shop, records, at)).collect()
}

fn large_lake(memory_bytes_max: usize) -> Lake {
    let mut lake = Lake::new();
    let field = |at: &str| FieldSource { at: vec![testing::pointer(at)], ..FieldSource::default() };
    for (name, at) in [
        ("ladder", "/wholesalePrice"),
        ("moq", "/moq"),
        ("unit", "/unit"),
        ("sales", "/sales"),
        ("stock", "/stock"),
        ("skus", "/skus"),
        ("shop_name", "/shop_name"),
        ("detail_url", "/detail_url"),
        ("image_url", "/pic_url"),
    ] {
        lake.pipeline.gateway.offer.insert(name.into(), field(at));
    }
    for (name, at) in [("spec", "/spec"), ("stock", "/stock")] {
        lake.pipeline.gateway.sku.insert(name.into(), field(at));
    }
    let completeness = &mut lake.pipeline.gateway.completeness;
    (completeness.sku, completeness.price) = (false, false);
    lake.pipeline.lake.memory_bytes_max = memory_bytes_max;
    lake
}

fn large_shop(dt: u32, shop: i64, listing: Listed, official_count: i64) -> ShopFacts {
    ShopFacts { shop_id: Catalogue::shop(shop), ..shop_facts(dt, listing, official_count) }
}

/// What was landed of a night, and how the extraction ended.
struct Night {
    start: Start,
    facts: RunFacts,
}

impl Lake {
    /// Lands a night of all shops, shop by shop.
    async fn night(&self, dt: u32, shops: impl Iterator<Item = (Vec<Attempt>, ShopFacts)>) -> Night {
        let start = Start { dt: day(dt), run_id: run_id(u8::try_from(dt).unwrap()), attempt: 1, started_at: noon(dt) };
        let (mut facts, mut waiting) = (facts(Vec::new()), Vec::new());
        for (attempts, shop) in shops {
            facts.shops.push(shop);
            waiting.extend(attempts);
            if waiting.len() > 400 {
                self.land(&start, std::mem::take(&mut waiting)).await;
            }
        }
        self.land(&start, waiting).await;
        Night { start, facts }
    }

    async fn publish_night(&self, night: Night) -> Report {
        let zone = Zone::new(self.store.clone(), &self.pipeline.name, night.start.dt);
        let (lock, around) = (self.lock().await, around());
        let turn = self.turn(&lock, &around).await;
        publish(self.place(&around, &turn), &zone, &night.start, night.facts).await.unwrap()
    }
}

/// Three nights in which everything happens that may happen to an offer; what the tables hold after them.
async fn eventful(memory_bytes_max: usize) -> (Vec<Vec<String>>, Vec<(i64, i64, i64, i64, i64)>) {
    let mut lake = large_lake(memory_bytes_max);
    let catalogue = Catalogue { offers: 900, shop_offers: 300 };
    let shop = Catalogue::shop;
    let whole = |dt, reason: Option<&'static str>| {
        move |number: i64| {
            // Each third offer of the next shop is shown here, too; of the first shop a tenth is gone on the second day.
            let own = catalogue.of(number).filter(|offer| dt == 19 || number > 0 || offer % 10 != 0);
            let shown: Vec<i64> = own.chain(catalogue.of(number + 1).step_by(3)).collect();
            let mut facts = large_shop(dt, number, Listed::Whole, row::length(shown.len()));
            facts.incomplete_reason = reason.filter(|_| number == 1).map(str::to_owned);
            (pages(dt, &shop(number), shown.into_iter(), if dt == 19 { "01" } else { "02" }), facts)
        }
    };
    let mut reports = Vec::new();
    let first = lake.night(19, (0..3).map(whole(19, None))).await;
    reports.push(lake.publish_night(first).await);
    // The second shop is incomplete, the third is not asked for.
    let second = lake.night(20, (0..2).map(whole(20, Some("a page failed")))).await;
    reports.push(lake.publish_night(second).await);
    let changes = |number: i64| {
        let mut facts = large_shop(21, number, Listed::Changed, 300);
        facts.incomplete_reason = (number == 1).then(|| "a page failed".to_owned());
        facts.off_sale = catalogue.of(number).step_by(50).map(Catalogue::id).collect();
        // What was in one shop has moved to the next.
        let moved = catalogue.of((number + 1) % 3).step_by(11);
        (pages(21, &shop(number), catalogue.of(number).skip(1).step_by(7).chain(moved), "21"), facts)
    };
    lake.pipeline.on_incomplete = OnIncomplete::Hold;
    lake.pipeline.gateway.completeness.count_tolerance = 1_000;
    let third = lake.night(21, (0..3).map(changes)).await;
    reports.push(lake.publish_night(third).await);
    let mut rows = Vec::new();
    for table in TABLES {
        // The clock of the machine stands in no picture.
        let mut found = lake.rows(&format!("select * from {table}")).await;
        found.sort();
        rows.push(found);
    }
    let counts =
        |report: &Report| (report.received, report.loaded, report.duplicates, report.quarantined, report.carried);
    (rows, reports.iter().map(counts).collect())
}

#[tokio::test]
async fn any_budget_gives_the_same_tables() {
    let (tables, counts) = eventful(1 << 30).await;
    assert!(tables.iter().all(|rows| rows.len() > 2), "{:?}", tables.iter().map(Vec::len).collect::<Vec<_>>());
    assert!(counts.iter().all(|(.., duplicates, _, _)| *duplicates > 0), "{counts:?}");
    for budget in [0, 1 << 20] {
        let (again, counts_again) = eventful(budget).await;
        assert_eq!(counts_again, counts);
        for ((table, rows), again) in TABLES.iter().zip(&tables).zip(again) {
            let differs = rows.iter().zip(&again).find(|(row, again)| row != again);
            assert!(*rows == again, "`{table}` with {budget} bytes: {differs:?}");
        }
    }
}

#[tokio::test]
async fn two_nights_of_many_offers_are_measured() {
    let Some(offers) = asked("OFFERS") else {
        let (lake, catalogue) = (large_lake(512 << 20), Catalogue { offers: 400, shop_offers: SHOP_OFFERS });
        first(&lake, catalogue).await;
        second(&lake, catalogue).await;
        return;
    };
    let catalogue = Catalogue { offers, shop_offers: SHOP_OFFERS };
    if let Some(night) = asked("NIGHT") {
        let folder = std::env::current_dir().unwrap();
        let mut lake = large_lake(512 << 20);
        lake.pipeline.lake.location = Location::Folder(folder.clone());
        lake.store = Store::open(&folder).unwrap();
        let seconds = if night == 1 { first(&lake, catalogue).await } else { second(&lake, catalogue).await };
        std::fs::write(format!("night-{night}"), seconds.to_string()).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let seconds = |night: i64| -> f64 {
        let name = "run::day::tests::large::two_nights_of_many_offers_are_measured";
        let mut process = std::process::Command::new(std::env::current_exe().unwrap());
        process.args(["--exact", name, "--nocapture"]).env("HUOPAN_LARGE_NIGHT", night.to_string());
        assert!(process.current_dir(folder.path()).status().unwrap().success());
        std::fs::read_to_string(folder.path().join(format!("night-{night}"))).unwrap().parse().unwrap()
    };
    let (first, second) = (seconds(1), seconds(2));
    println!("second / first: {:.0} %", second / first * 100.0);
}

/// The night on which everything is new; processor seconds from the landed answers to the published tables.
async fn first(lake: &Lake, catalogue: Catalogue) -> f64 {
    let count = |shop| catalogue.of(shop).end - catalogue.of(shop).start;
    let whole = (0..catalogue.shops()).map(|shop| {
        (pages(19, &Catalogue::shop(shop), catalogue.of(shop), "01"), large_shop(19, shop, Listed::Whole, count(shop)))
    });
    let night = lake.night(19, whole).await;
    let (seconds, report) = measured("first night", lake.publish_night(night)).await;
    assert_eq!((report.received, report.loaded, report.is_complete()), (catalogue.offers, catalogue.offers, true));
    seconds
}

/// The night on which every hundredth offer has changed.
async fn second(lake: &Lake, catalogue: Catalogue) -> f64 {
    let count = |shop| catalogue.of(shop).end - catalogue.of(shop).start;
    let changes = (0..catalogue.shops()).map(|shop| {
        let changed = catalogue.of(shop).step_by(100);
        (pages(20, &Catalogue::shop(shop), changed, "20"), large_shop(20, shop, Listed::Changed, count(shop)))
    });
    let night = lake.night(20, changes).await;
    let (seconds, report) = measured("second night", lake.publish_night(night)).await;
    assert_eq!((report.loaded + report.carried, report.is_complete()), (catalogue.offers, true));
    seconds
}

#[expect(clippy::disallowed_methods, reason = "how large a measurement is, is said to the test and to nothing else")]
fn asked(what: &str) -> Option<i64> {
    std::env::var(format!("HUOPAN_LARGE_{what}")).ok()?.parse().ok()
}

async fn measured(name: &str, work: impl Future<Output = Report>) -> (f64, Report) {
    reset_peak();
    let (began, before, held) = (std::time::Instant::now(), processor_seconds(), peak_mib());
    let report = work.await;
    let seconds = processor_seconds() - before;
    let (wall, peak) = (began.elapsed().as_secs_f64(), peak_mib());
    println!("{name}: {seconds:.1} processor seconds, {wall:.1} s, {peak} MiB at most, {held} before");
    (seconds, report)
}

/// Processor time of this process, in seconds; Linux counts it in hundredths.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks / 100.0
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0) / 1024
}

/// The greatest memory counts from now on.
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
