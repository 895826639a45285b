//! The report of a real lake: what it shows is what the tables say, cut at its limits and no further.

use chrono::{DateTime, Utc};
use huopan::base::Kind;
use huopan::query::Session;
use huopan::report::{self, Language, Options, Page};
use huopan::sim::{self, Gateway};
use serde_json::Value;

use crate::support::{Place, day, forge, huopan, huopan_with, publish, quick};

/// Goods that every shop of the simulated world sells.
const GOODS: &str = "304不锈钢保温杯500ml";

fn options() -> Options {
    Options {
        groups: vec![],
        titles: vec![],
        pieces: None,
        days: 30,
        language: Language::English,
        now: "2026-11-21T00:00:00Z".parse::<DateTime<Utc>>().unwrap(),
        lake: "lake".into(),
    }
}

async fn made(place: &Place, options: Options) -> Page {
    let session = Session::over(&place.store(), &huopan::query::Options::default()).await.unwrap();
    report::build(&session, &options).await.unwrap_or_else(|error| panic!("{error}"))
}

/// What the charts draw.
fn data(page: &Page) -> Value {
    let text = page.html.split("<script type=\"application/json\" id=\"data\">").nth(1).unwrap();
    serde_json::from_str(text.split("</script>").next().unwrap()).unwrap()
}

/// Two published nights of the simulated world.
async fn two_nights() -> Place {
    two_nights_of(quick()).await
}

async fn two_nights_of(world: sim::Options) -> Place {
    let (sim, place) = (sim::start(world).await.unwrap(), Place::new());
    let pipeline = place.shops(&sim, Gateway::Portals);
    for night in [19, 20] {
        sim.set_day(day(night));
        publish(&pipeline, day(night)).await;
    }
    place
}

#[tokio::test]
async fn a_group_by_title_shows_ranks_ladders_days_and_changes_as_the_tables_have_them() {
    let place = two_nights().await;
    let page = made(&place, Options { titles: vec!["不锈钢 保温杯".into()], pieces: Some(500), ..options() }).await;
    assert_eq!((page.sections, page.has_groups), (1, true));
    let matching = "strpos(title, '不锈钢') > 0 and strpos(title, '保温杯') > 0";
    let ranked = place
        .rows(&format!(
            "select offer_id, sku_id, price_per_piece, total, moq_pieces from price_at(500)
             where buyable and {matching} order by price_per_piece, offer_id, sku_id"
        ))
        .await;
    assert!(ranked.len() > 2, "the world has competitors");
    let all = place.value(&format!("select count(*) from price_at(500) where {matching}")).await;
    assert!(page.html.contains(&format!("{all} quotes of 2 shops · {} can be bought", ranked.len())));
    let cheapest = ranked[0]["price_per_piece"].trim_end_matches('0');
    assert!(page.html.contains(&format!("Cheapest: </span><b>¥{cheapest}")), "{cheapest}");

    let data = data(&page);
    let lines = data[0]["lines"].as_array().unwrap();
    assert_eq!(lines.len(), ranked.len().min(8));
    let offer = &ranked[0]["offer_id"];
    let steps = place
        .rows(&format!(
            "select min_pieces, max(piece_price) as piece_price from latest_price_tiers
             where offer_id = {offer} and sku_id is null group by min_pieces order by min_pieces"
        ))
        .await;
    let drawn: Vec<(String, &str)> = lines[0]["steps"].as_array().unwrap().iter().map(step).collect();
    let stored: Vec<(String, &str)> =
        steps.iter().map(|row| (row["min_pieces"].clone(), row["piece_price"].as_str())).collect();
    assert_eq!(drawn, stored);
    for drawn in lines[0]["days"].as_array().unwrap() {
        let dt = drawn[0].as_str().unwrap();
        let price = format!("select price_per_piece from price_at(500, '{dt}') where offer_id = {offer}");
        assert_eq!(drawn[1].as_str().unwrap(), place.value(&price).await, "{dt}");
    }
    assert_eq!(lines[0]["days"].as_array().unwrap().last().unwrap()[0], "2026-11-20");

    let cuts = place
        .value(&format!(
            "select count(*) from (select * from price_at(500) where {matching}) as n
             join price_at(500, '2026-11-19') as e on e.offer_id = n.offer_id and coalesce(e.sku_id, 0) = coalesce(n.sku_id, 0)
             where n.price_per_piece < e.price_per_piece
               and coalesce(n.reason, '') = coalesce(e.reason, '') and coalesce(n.reason, 'below_moq') = 'below_moq'"
        ))
        .await;
    let tile = format!("<span lang=\"en\">price cuts</span></dt><dd>{cuts}</dd>");
    assert!(page.html.contains(&tile), "{tile}");
}

fn step(step: &Value) -> (String, &str) {
    (step[0].to_string(), step[1].as_str().unwrap())
}

/// Loads a groups file.
async fn load_groups(place: &Place, lines: &str) {
    place.write("groups.csv", format!("group,offer_id,title,quantity,pack_size\n{lines}"));
    let loaded = huopan(place.path(), &["groups", "load", "groups.csv", "--lake", "lake"]).await;
    assert_eq!(loaded.code, 0, "{}", loaded.stderr);
}

#[tokio::test]
async fn words_that_no_title_has_are_told_beside_the_page() {
    let place = two_nights().await;
    let words = ["report", "--title", "不锈钢 保温杯", "--title", "nosuchthing", "--lake", "lake"];
    let ended = huopan(place.path(), &words).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let warning = "warning: `nosuchthing`: no offer of the last published day has all these words in its title\n";
    assert!(ended.stderr.starts_with(warning) && ended.stderr.matches("warning").count() == 1, "{ended:?}");
    load_groups(&place, "cups,,不锈钢 保温杯,500,\n").await;
    let ended = huopan(place.path(), &["report", "--group", "nosuch", "--lake", "lake"]).await;
    assert!(ended.code == 1 && ended.stderr.contains("`huopan groups show` lists them"), "{ended:?}");
}

#[tokio::test]
async fn a_group_without_a_quantity_is_shown_at_the_default_and_the_page_says_so() {
    let place = two_nights().await;
    load_groups(&place, "a stated,,不锈钢 保温杯,500,\nb unstated,,不锈钢 保温杯,,\n").await;
    let page = made(&place, options()).await;
    let default = "100 pieces is the default: the groups file states no quantity for this group.";
    assert_eq!(page.html.matches(default).count(), 1);
    let shown = data(&page);
    assert_eq!((&shown[0]["pieces"], &shown[1]["pieces"]), (&Value::from(500), &Value::from(100)));
    for (group, pieces) in [("a stated", 500), ("b unstated", 100)] {
        let of_group = format!("from competitor_position({pieces}) where group_name = '{group}'");
        let ranked = format!("select offer_id, price_per_piece {of_group} and buyable order by position, offer_id");
        let ranked = place.rows(&ranked).await;
        let all = place.value(&format!("select count(*) {of_group}")).await;
        assert!(ranked.len() > 2, "the world has competitors");
        let lead = format!("at {pieces} pieces · {all} quotes of 2 shops · {} can be bought", ranked.len());
        assert!(page.html.contains(&lead), "{lead}");
        let lines = shown[usize::from(pieces == 100)]["lines"].as_array().unwrap();
        assert_eq!(lines.len(), ranked.len().min(8));
        let days = lines[0]["days"].as_array().unwrap();
        assert_eq!(days.last().unwrap()[1].as_str().unwrap(), ranked[0]["price_per_piece"]);
        for drawn in days {
            let (dt, offer) = (drawn[0].as_str().unwrap(), &ranked[0]["offer_id"]);
            let price = format!("select price_per_piece from price_at({pieces}, '{dt}') where offer_id = {offer}");
            assert_eq!(drawn[1].as_str().unwrap(), place.value(&price).await, "{dt}");
        }
    }

    let asked = made(&place, Options { pieces: Some(20), ..options() }).await;
    let shown = data(&asked);
    assert_eq!((&shown[0]["pieces"], &shown[1]["pieces"]), (&Value::from(20), &Value::from(20)));
    assert!(!asked.html.contains(" is the default"));
}

#[tokio::test]
async fn a_pack_size_of_the_groups_file_prices_ladders_and_days_as_it_does_the_ranking() {
    let place = two_nights_of(sim::Options { shop_sizes: vec![200, 160], ..quick() }).await;
    let offer = place
        .value(
            "select min(offer_id) from (
               select t.offer_id from price_tiers as t
               join offers as o on o.dt = t.dt and o.pipeline = t.pipeline and o.offer_id = t.offer_id
               where o.pieces_per_unit is null and o.moq_status = 'unknown_pack' and o.status = 'on_sale'
                 and o.ladder_status = 'ok' and t.sku_id is null
               group by t.offer_id having count(distinct t.dt) = 2 and count(distinct t.min_quantity) > 1)",
        )
        .await;
    load_groups(&place, &format!("a of 7,{offer},,500,7\nb of 11,{offer},,,11\n")).await;
    let page = made(&place, options()).await;
    assert_eq!(page.html.matches("pack size of the groups file").count(), 2);
    let stored = "select min_quantity, unit_price from latest_price_tiers";
    let stored = place.rows(&format!("{stored} where offer_id = {offer} order by min_quantity")).await;
    let shown = data(&page);
    for (place_of_group, group, pack) in [(0, "a of 7", 7), (1, "b of 11", 11)] {
        let line = &shown[place_of_group]["lines"][0];
        let drawn: Vec<(String, String)> =
            line["steps"].as_array().unwrap().iter().map(|drawn| (step(drawn).0, step(drawn).1.to_owned())).collect();
        let expected = stored.iter().map(|row| {
            let start: i64 = row["min_quantity"].parse().unwrap();
            ((start * pack).to_string(), a_piece(&row["unit_price"], pack))
        });
        assert_eq!(drawn, expected.collect::<Vec<_>>(), "{group}");

        let days = line["days"].as_array().unwrap();
        assert_eq!(days.len(), 2, "{group}");
        for drawn in days {
            let dt = drawn[0].as_str().unwrap();
            let pieces = if pack == 7 { "" } else { "100" };
            let price =
                format!("select price_per_piece from competitor_position({pieces}) where group_name = '{group}'");
            let asked = ["sql", "--lake", "lake", "--as-of", dt, "--format", "csv", "-c", &price];
            let answer = huopan(place.path(), &asked).await;
            assert_eq!(answer.stdout.lines().nth(1), drawn[1].as_str(), "{dt}: {}", answer.stderr);
        }
    }
}

/// `unit_price / pack` to six places, in whole millionths.
fn a_piece(unit_price: &str, pack: i64) -> String {
    let (whole, places) = unit_price.split_once('.').unwrap();
    let millionths: i64 = format!("{whole}{places:0<6}").parse().unwrap();
    let rounded = (2 * millionths + pack) / (2 * pack);
    format!("{}.{:06}", rounded / 1_000_000, rounded % 1_000_000)
}

#[tokio::test]
async fn without_groups_the_shops_are_shown_and_the_page_says_what_to_do() {
    let place = two_nights().await;
    let page = made(&place, options()).await;
    assert_eq!((page.sections, page.has_groups), (2, false));
    assert!(page.html.contains("huopan groups load groups.csv") && page.html.contains("--title"));
    for shop in place.rows("select shop_name, offer_count from shops where dt = '2026-11-20'").await {
        assert!(page.html.contains(&shop["shop_name"]));
    }
    assert!(page.html.contains("All 2 shops are complete."));
    assert!(page.html.contains("the 10 best sold offers, priced at 100 pieces"));
}

#[tokio::test]
async fn a_page_of_everything_ends_at_its_limits_and_counts_the_rest() {
    let place = two_nights().await;
    // No word is in every title.
    let page = made(&place, Options { titles: vec![String::new()], ..options() }).await;
    let all: usize = place.value("select count(*) from price_at(100)").await.parse().unwrap();
    assert!(page.html.contains(&format!("{} more rows are not listed.", all - 20)));
    assert_eq!(data(&page)[0]["lines"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn a_group_that_nobody_loaded_and_a_lake_without_days_are_told() {
    let place = Place::new();
    std::fs::create_dir_all(place.lake().join("_huopan")).unwrap();
    let page = made(&place, options()).await;
    assert!(page.html.contains("Nothing is published in this lake yet."));
    let session = Session::over(&place.store(), &huopan::query::Options::default()).await.unwrap();
    let asked = Options { groups: vec!["马克杯".into()], ..options() };
    let error = report::build(&session, &asked).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (Kind::Config, "there is no group `马克杯`".to_owned()));
    assert!(error.hint().unwrap().contains("huopan groups load"));
}

#[tokio::test]
async fn titles_that_are_markup_are_shown_as_text() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    publish(&place.shops(&sim, Gateway::Portals), day(20)).await;
    let nasty = "</script><script>document.title = \"x\"</script><img src=x onerror=alert(1)>";
    let sql = format!(
        "select * replace ('{nasty}' as title, '<b>shop' as shop_name, 'javascript:alert(1)' as detail_url)
         from offers where dt = '2026-11-20'"
    );
    forge(&place.store(), 1, "offers", &sql).await;
    place.leave_unwell();
    let asked = Options { titles: vec!["<script>".into()], pieces: Some(10), ..options() };
    let page = made(&place, asked).await;
    assert_eq!(page.html.matches("<script").count(), 4, "the data and the page's own scripts");
    assert!(!page.html.contains("<img") && !page.html.contains("<b>shop") && !page.html.contains("href=\"javascript:"));
    assert!(page.html.contains("&lt;img src=x onerror=alert(1)&gt;"));
    assert!(data(&page)[0]["lines"][0]["title"].as_str().unwrap().starts_with("</script><script>"));
}

#[tokio::test]
async fn the_command_writes_the_page_whole_or_to_standard_output() {
    let place = two_nights().await;
    let asked = ["report", "--lake", "lake", "--title", GOODS, "--pieces", "500"];
    let ended = huopan(place.path(), &asked).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("report.html: 1 group,"), "{}", ended.stderr);
    let page = std::fs::read_to_string(place.path().join("report.html")).unwrap();
    assert!(page.contains("<html lang=\"en\"") && page.ends_with("</html>\n"));
    let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".report-")), "{left:?}");

    let to_stdout = [&asked[..], &["-o", "-"]].concat();
    let chinese = huopan_with(place.path(), &to_stdout, &[("LANG", "zh_CN.UTF-8")]).await;
    assert!(chinese.stdout.starts_with("<!doctype html>\n<html lang=\"zh-CN\""), "{}", chinese.stderr);

    let lost = huopan(place.path(), &[&asked[..], &["-o", "no/such/folder/page.html"]].concat()).await;
    assert_eq!(lost.code, 1);
    assert!(lost.stderr.contains("cannot write `no/such/folder/page.html`"), "{}", lost.stderr);
    let zero = huopan(place.path(), &["report", "--lake", "lake", "--pieces", "0"]).await;
    assert_eq!(zero.code, 2);
}
