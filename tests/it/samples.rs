//! Captured answers of real gateways through the files source, against a person's reading of them.
//!
//! The answers are third parties' and stand beside the project, not in it: in the folder `HUOPAN_SAMPLES` names, else in
//! `../shared/samples`. Without them each test says that it is skipped, and passes. Texts and addresses are compared with
//! the answer itself at the place where a person finds them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

mod readings;

const DAY: &str = "2026-11-20";

/// The day's columns as [`readings`] writes them; a null is an empty cell.
const OFFERS: &str = "select offer_id, '|' o, price, price_max, promotion_price, '|' a, unit, pieces_per_unit, pack_source, '|' b,
    moq_raw, moq_quantity, moq_pieces, moq_status, moq_source, '|' c, stock_pieces, stock_status, '|' d,
    case when sales_is_lower_bound then cast(sales_count as varchar) || '+' else cast(sales_count as varchar) end, '|' e,
    repurchase_rate, '|' f, ladder_status, price_source || ':' from offers";

const TIERS: &str =
    "select offer_id, sku_id, min_quantity, max_quantity, unit_price, min_pieces, max_pieces, piece_price,
    price_source, ladder_status from price_tiers order by offer_id, sku_id, tier_no";

/// The folder of captured answers, or a word on stderr that `test` cannot say anything.
fn folder(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("HUOPAN_SAMPLES").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/samples"));
    if folder.is_dir() {
        return Some(folder);
    }
    // Past the test harness, which keeps what passing tests print.
    let _ = writeln!(std::io::stderr(), "SKIPPED samples::{test}: no captured answers in `{}`", folder.display());
    None
}

/// The answer whose file name starts with `number_`.
fn file(folder: &Path, number: &str) -> PathBuf {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let prefix = format!("{number}_");
    let starts = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(&prefix);
    names.into_iter().find(starts).unwrap_or_else(|| panic!("no capture {number} in `{}`", folder.display()))
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Whose answers a pipeline loads.
struct Load<'a> {
    gateway: &'a str,
    endpoint: &'a str,
    answers: &'a Path,
    /// More lines of `[files]`.
    lines: &'a str,
}

/// A lake with one pipeline, loaded once.
struct Lake {
    folder: TempDir,
    exit: Option<i32>,
    report: Value,
}

impl Lake {
    fn load(load: &Load<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "name = \"captured\"\ngateway = \"{}\"\n[files]\npaths = [{:?}]\nendpoint = \"{}\"\n{}\n[lake]\nurl = \"lake\"\n",
            load.gateway, load.answers, load.endpoint, load.lines
        );
        std::fs::write(folder.path().join("captured.toml"), text).unwrap();
        let mut lake = Self { folder, exit: None, report: Value::Null };
        let output = lake.huopan(&["run", "captured.toml", "--dt", DAY, "--json"]);
        lake.exit = output.status.code();
        lake.report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        lake
    }

    fn of(folder: &Path, number: &str, gateway: &str, endpoint: &str) -> Self {
        Self::load(&Load { gateway, endpoint, answers: &file(folder, number), lines: "" })
    }

    fn huopan(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_huopan"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("HUOPAN_LAKE").output().unwrap()
    }

    /// The rows of a query: cells as written, numbers without trailing zeros, nulls as `-`.
    fn rows(&self, query: &str) -> Vec<Vec<String>> {
        let output = self.huopan(&["sql", "--lake", "lake", "--format", "csv", "-c", query]);
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        let mut reader = csv::Reader::from_reader(output.stdout.as_slice());
        reader.records().map(|row| row.unwrap().iter().map(cell).collect()).collect()
    }

    fn lines(&self, query: &str) -> Vec<String> {
        self.rows(query).iter().map(|row| row.join(" ")).collect()
    }

    /// The offers as [`readings`] writes them.
    fn offers(&self) -> Vec<String> {
        let tiers = self.rows(TIERS);
        let line = |row: &Vec<String>| {
            let own = tiers.iter().filter(|tier| tier[0] == row[0]);
            let own = own.inspect(|tier| {
                let (status, source) = (&row[row.len() - 2], row[row.len() - 1].trim_end_matches(':'));
                assert_eq!((tier[9].as_str(), tier[8].as_str()), (status.as_str(), source), "{}", row[0]);
            });
            own.fold(row.join(" "), |line, tier| format!("{line} {}", show_tier(tier)))
        };
        self.rows(OFFERS).iter().map(line).collect()
    }

    fn check_offers(&self, expected: &[&str]) {
        let offers = self.offers();
        for line in expected {
            let id = line.split(' ').next().unwrap();
            let found = offers.iter().find(|offer| offer.split(' ').next() == Some(id));
            assert_eq!(found.map(String::as_str), Some(*line), "offer {id}");
        }
    }

    fn check_skus(&self, expected: &[&str]) {
        let query = "select sku_id, price, promotion_price, stock_pieces, stock_status from skus order by sku_id";
        assert_eq!(self.lines(query), expected);
        let counted =
            self.rows("select sum(sku_count), (select count(*) from price_tiers) = sum(tier_count) from offers");
        assert_eq!(counted, [[expected.len().to_string(), "true".to_owned()]]);
    }

    /// Checks exit code and `received = loaded + duplicates + quarantined`, in the report and in `runs`.
    fn check_run(&self, exit: i32, received: u64, quarantined: u64) {
        assert_eq!(self.exit, Some(exit), "{}", self.report);
        let publication = &self.report["publications"][0];
        let number = |name: &str| publication[name].as_u64().unwrap();
        assert_eq!(publication["dt"], DAY);
        let counts = [number("received"), number("loaded"), number("duplicates"), number("quarantined")];
        assert_eq!(counts, [received, received - quarantined, 0, quarantined]);
        let counts = counts.map(|count| count.to_string()).join(" ");
        assert_eq!(self.lines("select received, loaded, duplicates, quarantined from runs"), [counts]);
        let status = if exit == 3 { "published_incomplete" } else { "published" };
        assert_eq!(self.lines("select status from runs"), [status]);
    }

    /// A text column, in the order of the offers' ids, without nulls.
    fn texts(&self, column: &str) -> Vec<String> {
        self.lines(&format!("select {column} from offers where {column} is not null order by offer_id"))
    }
}

fn cell(text: &str) -> String {
    let is_decimal = text.parse::<f64>().is_ok() && text.contains('.');
    match text {
        "" => "-".to_owned(),
        _ if is_decimal => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => text.to_owned(),
    }
}

fn show_tier(tier: &[String]) -> String {
    let [_, sku, min, max, price, min_pieces, max_pieces, piece_price, ..] = tier else { panic!("{tier:?}") };
    let open = |end: &str| if end == "-" { String::new() } else { end.to_owned() };
    let sku = if sku == "-" { String::new() } else { format!("[{sku}]") };
    let pieces = match (min_pieces.as_str(), piece_price.as_str()) {
        ("-", "-") if max_pieces == "-" => "(?)".to_owned(),
        _ if (min_pieces, max_pieces, piece_price) == (min, max, price) => String::new(),
        _ => format!("({min_pieces}-{}={piece_price})", open(max_pieces)),
    };
    format!("{sku}{min}-{}={price}{pieces}", open(max))
}

/// The texts at `pointer` in the records, those that are there, in the order of `/item_id`.
fn texts_of(records: &[&Value], pointer: &str) -> Vec<String> {
    let mut records = records.to_vec();
    records.sort_by_key(|record| record["item_id"].as_str().unwrap().parse::<i64>().unwrap());
    records.iter().filter_map(|record| record.pointer(pointer)?.as_str()).map(str::to_owned).collect()
}

#[test]
fn a_search_answer_reads_as_by_hand() {
    let Some(folder) = folder("a_search_answer_reads_as_by_hand") else { return };
    let lake = Lake::of(&folder, "10", "tmapi", "listing");
    // Nothing in it says how many offers each of its shops has.
    lake.check_run(3, 20, 0);
    lake.check_offers(&readings::SEARCH);
    assert_eq!(lake.offers().len(), 20);
    let answer = json(&file(&folder, "10"));
    let records: Vec<&Value> = answer.as_array().unwrap().iter().collect();
    for (column, pointer) in [
        ("title", "/title"),
        ("image_url", "/img"),
        ("detail_url", "/product_url"),
        ("shop_id", "/shop_info/member_id"),
        ("shop_name", "/shop_info/company_name"),
        ("category_id", "/category_path/0"),
    ] {
        assert_eq!(lake.texts(column), texts_of(&records, pointer), "{column}");
    }
    // Two shops have two offers each.
    assert_eq!(
        lake.lines("select count(*), sum(offer_count), sum(listed_count), bool_or(is_complete) from shops"),
        ["18 20 20 false"]
    );
    assert_eq!(lake.lines("select ship_from from offers where offer_id = 702908099881"), ["福建 晋江市"]);
}

#[test]
fn a_global_search_answer_reads_as_by_hand() {
    let Some(folder) = folder("a_global_search_answer_reads_as_by_hand") else { return };
    let lake = Lake::of(&folder, "13", "tmapi", "global");
    lake.check_run(0, 200, 0);
    lake.check_offers(&readings::GLOBAL);
    let answer = json(&file(&folder, "13"));
    let pages = answer.as_array().unwrap().iter();
    let records: Vec<&Value> = pages.flat_map(|page| page.as_array().unwrap()).collect();
    for (column, pointer) in [("title", "/title_origin"), ("image_url", "/img"), ("detail_url", "/product_url")] {
        assert_eq!(lake.texts(column), texts_of(&records, pointer), "{column}");
    }
    // Every offer with a greatest price above its price is a spread.
    let spreads = "select count(*), bool_and(ladder_status = 'sku_spread' and tier_count = 0) from offers where price_max > price";
    let above = |record: &&&Value| record["price_info"]["price_max"] != record["price_info"]["price_min"];
    assert_eq!(lake.lines(spreads), [format!("{} true", records.iter().filter(above).count())]);
    assert_eq!(lake.lines("select count(*) from offers where shop_id is not null or unit is not null"), ["0"]);
}

#[test]
fn a_detail_answer_reads_as_by_hand() {
    let Some(folder) = folder("a_detail_answer_reads_as_by_hand") else { return };
    let lake = Lake::of(&folder, "15", "tmapi", "item");
    lake.check_run(0, 1, 0);
    lake.check_offers(&[readings::DETAIL]);
    lake.check_skus(&readings::DETAIL_SKUS);
    let answer = json(&file(&folder, "15"));
    let record = &answer["data"];
    for (column, pointer) in [
        ("title", "/title"),
        ("detail_url", "/product_url"),
        ("video_url", "/video_url"),
        ("image_url", "/main_imgs/0"),
        ("image_urls[2]", "/main_imgs/1"),
        ("shop_id", "/shop_info/seller_member_id"),
        ("shop_name", "/shop_info/shop_name"),
        ("ship_from", "/delivery_info/location"),
    ] {
        assert_eq!(lake.texts(column), [record.pointer(pointer).unwrap().as_str().unwrap()], "{column}");
    }
    assert_eq!(lake.lines("select category_id, cardinality(image_urls), quote_type from offers"), ["1037924 2 -"]);
    let spec = lake.lines("select spec from skus where sku_id = 5674557541674");
    assert_eq!(spec, [record["skus"][0]["props_names"].as_str().unwrap()]);
    assert_eq!(lake.lines("select offer_count, official_count, is_complete from shops"), ["1 - true"]);
}

#[test]
fn a_pages_state_reads_as_by_hand() {
    let Some(folder) = folder("a_pages_state_reads_as_by_hand") else { return };
    let lake = Lake::of(&folder, "20", "page-state", "item");
    lake.check_run(0, 1, 0);
    lake.check_offers(&[readings::PAGE]);
    lake.check_skus(&readings::PAGE_SKUS);
    let answer = json(&file(&folder, "20"));
    let state = &answer["globalData"];
    for (column, pointer) in [
        ("title", "/tempModel/offerTitle"),
        ("shop_id", "/tempModel/sellerMemberId"),
        ("shop_name", "/tempModel/companyName"),
        ("image_url", "/images/0/fullPathImageURI"),
        ("image_urls[15]", "/images/14/fullPathImageURI"),
    ] {
        assert_eq!(lake.texts(column), [state.pointer(pointer).unwrap().as_str().unwrap()], "{column}");
    }
    assert_eq!(lake.lines("select category_id, cardinality(image_urls) from offers"), ["1042655 15"]);
    let specs = lake.lines("select spec from skus order by spec");
    let mut expected: Vec<&String> = state["skuModel"]["skuInfoMap"].as_object().unwrap().keys().collect();
    expected.sort();
    assert_eq!(specs.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn official_and_reseller_details_read_as_by_hand() {
    let Some(folder) = folder("official_and_reseller_details_read_as_by_hand") else { return };
    let lake = Lake::of(&folder, "32", "aop", "item");
    lake.check_run(0, 1, 0);
    lake.check_offers(&[readings::STRUCTURE]);
    lake.check_skus(&readings::STRUCTURE_SKUS);
    let apart = "select dropship_price, retail_price, quote_type, stock_raw, category_id, status, shop_id from offers";
    assert_eq!(lake.lines(apart), ["1.23 1.23 - 1.23 1048182 on_sale -"]);

    let lake = Lake::of(&folder, "41", "onebound", "item");
    lake.check_run(0, 1, 0);
    lake.check_offers(&[readings::ARRAYS]);
    lake.check_skus(&readings::ARRAYS_SKUS);
    let record = &json(&file(&folder, "41"))["item"];
    for (column, pointer) in [
        ("title", "/cn_source/item/cn_title"),
        ("detail_url", "/detail_url"),
        ("image_url", "/pic_url"),
        ("image_urls[1]", "/item_imgs/0/url"),
        ("ship_from", "/location"),
    ] {
        assert_eq!(lake.texts(column), [record.pointer(pointer).unwrap().as_str().unwrap()], "{column}");
    }
    // `""` stands for null everywhere in it.
    let nulls = "select shop_id, shop_name, brand, video_url, created_at, modified_at, comment_count from offers";
    assert_eq!(lake.lines(nulls), ["- - - - - - -"]);
}

#[test]
fn official_cross_border_examples_read_as_by_hand() {
    let Some(folder) = folder("official_cross_border_examples_read_as_by_hand") else { return };
    let lake = Lake::of(&folder, "30", "aop", "seller_item");
    lake.check_run(0, 1, 0);
    lake.check_offers(&[readings::CROSS_BORDER]);
    lake.check_skus(&readings::CROSS_BORDER_SKUS);
    let apart = "select dropship_price, quote_type, created_at, modified_at, shop_id from offers";
    assert_eq!(lake.lines(apart), ["1 1 2024-05-23T16:00:00Z - 23tsdvcdsjngp3oj4j3i5"]);

    let lake = Lake::of(&folder, "31", "aop", "seller_listing");
    lake.check_run(0, 1, 0);
    lake.check_offers(&[readings::CROSS_BORDER_LISTING]);
    let apart = "select dropship_price, created_at, modified_at from offers";
    assert_eq!(lake.lines(apart), ["10 2021-04-08T00:00:00Z 2021-04-08T00:00:00Z"]);
}

#[test]
fn an_own_shop_listing_without_numeric_ids_is_set_aside_whole() {
    let Some(folder) = folder("an_own_shop_listing_without_numeric_ids_is_set_aside_whole") else { return };
    let lake = Lake::of(&folder, "34", "aop", "listing");
    lake.check_run(0, 1, 1);
    let quarantine = lake.rows("select reason, field, value, record from quarantine");
    assert_eq!(quarantine[0][..3], ["id_invalid", "offer_id", "\"PRODUCT-REAL\""]);
    let record = &json(&file(&folder, "34"))["result"]["pageResult"]["resultList"][0];
    assert_eq!(serde_json::from_str::<Value>(&quarantine[0][3]).unwrap(), *record);

    // The same answer with numbers for its ids.
    let numbered = tempfile::tempdir().unwrap();
    let answers = numbered.path().join("34.json");
    let text = std::fs::read_to_string(file(&folder, "34")).unwrap();
    let text = text.replace("PRODUCT-REAL", "700000000034").replace("SKU-REAL", "4000000000034");
    std::fs::write(&answers, text).unwrap();
    let lake = Lake::load(&Load { gateway: "aop", endpoint: "listing", answers: &answers, lines: "" });
    lake.check_run(0, 1, 0);
    lake.check_offers(&[readings::OWN_SHOP]);
    lake.check_skus(&readings::OWN_SHOP_SKUS);
    assert_eq!(lake.lines("select modified_at, quote_type, status from offers"), ["2026-09-02T04:00:00Z 3 on_sale"]);
}

#[test]
fn captured_error_answers_are_set_aside_with_their_class() {
    let Some(folder) = folder("captured_error_answers_are_set_aside_with_their_class") else { return };
    let lines = tempfile::tempdir().unwrap();
    let answers = lines.path().join("70.jsonl");
    let envelopes = json(&file(&folder, "70"));
    let text: String = envelopes.as_array().unwrap().iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&answers, text).unwrap();
    let lake = Lake::load(&Load { gateway: "aop", endpoint: "item", answers: &answers, lines: "answer = \"/body\"" });
    lake.check_run(0, 6, 6);
    let classes = lake.lines("select split_part(reason, ':', 1) from quarantine order by 1");
    assert_eq!(classes, ["auth", "auth", "auth", "auth", "param", "throttle"]);

    let answers = lines.path().join("tmapi.jsonl");
    let codes = [417, 422, 439, 499, 503];
    let text: String = codes.iter().map(|code| format!("{{\"code\":{code},\"msg\":\"no\",\"data\":null}}\n")).collect();
    std::fs::write(&answers, text).unwrap();
    let lake = Lake::load(&Load { gateway: "tmapi", endpoint: "item", answers: &answers, lines: "" });
    lake.check_run(0, 5, 5);
    let reasons = lake
        .lines("select split_part(reason, ' (', 1) || ' (' || split_part(reason, ' (', 2) from quarantine order by 1");
    assert_eq!(reasons, ["item: no (422)", "param: no (417)", "quota: no (439)", "retry: no (499)", "retry: no (503)"]);
}

/// What ships with the project, so that this much is held without the captured answers.
#[test]
fn the_shipped_sample_loads_and_each_offer_can_be_explained() {
    let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample/listing.jsonl");
    let lines = "answer = \"/answer\"\nshop_id = \"/shop_id\"\nfetched_at = \"/fetched_at\"";
    let lake = Lake::load(&Load { gateway: "portals", endpoint: "listing", answers: &answers, lines });
    let offer = lake.lines("select min(offer_id) from offers").remove(0);
    let explained = lake.huopan(&["explain", &offer, "--lake", "lake", "--dt", DAY]);
    assert!(explained.status.success(), "{}", String::from_utf8_lossy(&explained.stderr));
    let told = String::from_utf8(explained.stdout).unwrap();
    assert!(told.starts_with(&format!("offer {offer} · {DAY} · pipeline captured · gateway portals")), "{told}");
    assert!(told.contains("\nprice_tiers            = tier 1"), "{told}");
    let other = lake.huopan(&["explain", "1", "--lake", "lake"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("offer 1 is in no published picture"));
}

#[test]
fn explain_and_check_tell_where_captured_values_come_from() {
    let Some(folder) = folder("explain_and_check_tell_where_captured_values_come_from") else { return };
    let lake = Lake::of(&folder, "10", "tmapi", "listing");
    let explained = lake.huopan(&["explain", "692796387514", "--lake", "lake"]);
    assert!(explained.status.success(), "{}", String::from_utf8_lossy(&explained.stderr));
    let explained = String::from_utf8(explained.stdout).unwrap();
    let said = |line: &str| assert!(explained.lines().any(|found| found.trim() == line), "{line}\n{explained}");
    said("unit                   = 双");
    said("no unit field: the unit on the ladder's bounds");
    said("repurchase_rate        =");
    said("price_tiers            = tier 3: 1000– at 46.0000, 46.000000 a piece");
    said("/sale_info/sale_quantity  \"已售10+件\"");

    for (number, gateway, endpoint, records) in [
        ("10", "tmapi", "listing", "20 records"),
        ("13", "tmapi", "listing", "200 records"),
        ("15", "tmapi", "item", "1 record"),
        ("20", "page-state", "item", "1 record"),
        ("30", "aop", "item", "1 record"),
        ("31", "aop", "listing", "1 record"),
        ("32", "aop", "item", "1 record"),
        ("41", "onebound", "item", "1 record"),
    ] {
        let path = file(&folder, number);
        let sample = path.to_str().unwrap();
        let checked = lake.huopan(&["gateways", "check", gateway, "--sample", sample]);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let told = String::from_utf8(checked.stdout).unwrap();
        let found = format!("as an answer of endpoint `{endpoint}`: {records}");
        assert_eq!(told.lines().next(), Some(found.as_str()), "{number}");
        assert!(told.contains("price_tiers") && told.contains("moq_quantity"), "{told}");
    }
}
