//! The first day that is kept: the day before, of which rows go on in it, has left the tables.

use huopan::config::Pipeline;
use huopan::sim::{self, Gateway, History, Options};

use super::{RULE, json, messy, night_of, replay};
use crate::support::{self, Place, day, shop_lines};

/// A pipeline whose tables keep two days before the newest, as the one file of its folder.
fn keeps_two_days(place: &Place, sim: &sim::Sim, lines: &str) -> Pipeline {
    let file = place.pipeline_file(sim, Gateway::Portals, lines);
    let text = std::fs::read_to_string(&file).unwrap();
    support::load(&place.write("pipeline.toml", text.replace("[lake]", "[lake]\nretain_days = 2")))
}

/// Details come from another gateway.
fn of_items(places: &[&Place], sim: &sim::Sim) -> String {
    for place in places {
        place.write(
            "items.toml",
            "extends = \"item-get\"\nname = \"item-get\"\n[limits]\ncalls_per_second = 1000\n\
             pause_seconds = { success = 0, failure = 0, throttle = 0 }\n",
        );
    }
    format!(
        "\ndetails_gateway = \"./items.toml\"\ndetails_url = \"{}\"\n[[accounts]]\nname = \"details\"\n\
         gateway = \"./items.toml\"\nlicence = \"company\"\n\
         credentials = {{ app_key = \"sim-app\", app_secret = \"env:SECRET\" }}",
        sim.url(Gateway::ItemGet)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_day_that_is_kept_is_rebuilt_upon_what_went_on_in_it() {
    // Rows of each offer that was not listed go on in the first case, those of offers that are gone in the second, and what
    // older details say of offers that were listed in the third.
    for (fetch, vanishing_per_mille) in
        [("listing = \"changed\"", 0), ("listing = \"all\"", 1000), ("details = \"missing\"", 1000)]
    {
        let history = History { changed_per_mille: 100, vanishing_per_mille, ..History::default() };
        let options = Options { shop_sizes: vec![120], skew_seconds_max: i64::MAX / 4, ..messy() };
        let sim = sim::start(options.with_history(history)).await.unwrap();
        let (place, other) = (Place::new(), Place::new());
        let mut lines = format!("{}\n[fetch]\n{fetch}", shop_lines(&sim.world(Gateway::Portals)));
        if fetch.starts_with("details") {
            lines += &of_items(&[&place, &other], &sim);
        }
        let ruled = format!("{lines}{RULE}");
        for dt in 16..=20 {
            night_of(&keeps_two_days(&place, &sim, &lines), &sim, day(dt)).await;
            night_of(&keeps_two_days(&other, &sim, &ruled), &sim, day(dt)).await;
        }
        assert_eq!(place.value("select min(dt) from offers").await, "2026-11-18");
        let went_on = "select count(*) > 0 from offers where dt = '2026-11-18' and observed_dt < dt and status";
        let is_delisted = if vanishing_per_mille == 0 { "<> 'delisted'" } else { "= 'delisted'" };
        assert_eq!(place.value(&format!("{went_on} {is_delisted}")).await, "true", "{fetch}");
        let mut published = Vec::new();
        for dt in 18..=20 {
            published.push(place.content(day(dt)).await);
        }

        let same = json(&replay(&place, "2026-11-18..2026-11-20", &["--json"]).await);
        for (index, dt) in (18..=20).enumerate() {
            assert_eq!(place.content(day(dt)).await, published[index], "{fetch}: {dt}");
        }
        let note = "the day before, of which rows go on in it, is no longer kept: they stay as published";
        assert_eq!(same["days"][0]["notes"], serde_json::json!([note]), "{fetch}");
        assert_eq!(same["days"][1]["notes"], serde_json::json!([]), "{fetch}");

        // What was fetched on that day follows a corrected rule, there and on the days after it.
        keeps_two_days(&place, &sim, &ruled);
        let ended = replay(&place, "2026-11-18..2026-11-20", &[]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        for dt in 18..=20 {
            let fetched = format!(
                "select * exclude (run_id, raw_ref, fetched_at, detail_fetched_at) from offers where dt = '{}' \
                and observed_dt >= '2026-11-18' order by offer_id",
                day(dt)
            );
            assert_eq!(place.rows(&fetched).await, other.rows(&fetched).await, "{fetch}: {dt}");
        }
    }
}
