//! The ledger where several share it or lose it: lakes, pipelines, gateways and accounts with one key, and a state that is
//! gone.

use std::path::{Path, PathBuf};

use huopan::sim::{self, Gateway, Key, Options, Sim};
use serde_json::Value;

use crate::support::{Ended, Place, copy, huopan, huopan_with, quick, shop_lines};

/// Pipelines on one simulator that share a state file.
struct Bench {
    place: Place,
    sim: Sim,
}

impl Bench {
    async fn new(options: Options) -> Self {
        Self { place: Place::new(), sim: sim::start(options).await.unwrap() }
    }

    /// A pipeline called `name` on portals, into a lake of its own, with more lines before and after its account.
    fn pipeline(&self, name: &str, lake: &str, (lines, after): (&str, &str)) -> PathBuf {
        let shops = shop_lines(&self.sim.world(Gateway::Portals));
        let path = self.place.pipeline_file(&self.sim, Gateway::Portals, &format!("{shops}\n{lines}"));
        let text = std::fs::read_to_string(path).unwrap();
        let text = text.replace("name = \"test\"", &format!("name = \"{name}\""));
        let text =
            text.replace("url = \"lake\"", &format!("url = \"{lake}\"")).replace("[lake]", &format!("{after}[lake]"));
        self.place.write(&format!("{name}.toml"), text)
    }

    async fn huopan(&self, arguments: &[&str]) -> Ended {
        huopan(self.place.path(), arguments).await
    }

    async fn run(&self, pipeline: &str, code: i32) -> Ended {
        let ended = self.huopan(&["run", pipeline]).await;
        assert_eq!(ended.code, code, "{ended:?}");
        ended
    }

    /// The accounts of a pipeline, as JSON.
    async fn accounts(&self, pipeline: &str) -> Vec<Value> {
        let ended = self.huopan(&["accounts", pipeline, "--json"]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        let shown: Value = serde_json::from_str(&ended.stdout).unwrap();
        shown["accounts"].as_array().unwrap().clone()
    }

    /// Calls counted today of a pipeline's first account.
    async fn counted(&self, pipeline: &str) -> u64 {
        self.accounts(pipeline).await[0]["scopes"][0]["calls"].as_u64().unwrap()
    }

    fn lose_state(&self) {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.path().join(format!("state.sqlite{suffix}")));
        }
    }

    /// The state's files as they are now.
    fn state(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let paths = ["", "-wal"].map(|suffix| self.path().join(format!("state.sqlite{suffix}")));
        paths.into_iter().filter_map(|path| Some((path.clone(), std::fs::read(path).ok()?))).collect()
    }

    /// Puts them back as they were.
    fn put_back(&self, state: Vec<(PathBuf, Vec<u8>)>) {
        self.lose_state();
        state.into_iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    }

    fn calls(&self) -> u64 {
        self.sim.stats().calls
    }

    fn path(&self) -> &Path {
        self.place.path()
    }
}

#[tokio::test]
async fn runs_of_several_pipelines_and_lakes_are_added_up_when_their_state_is_lost() {
    let bench = Bench::new(quick()).await;
    for (name, lake) in [("one", "lake"), ("two", "lake"), ("three", "another")] {
        bench.pipeline(name, lake, ("", ""));
        bench.run(&format!("{name}.toml"), 0).await;
    }
    let calls = bench.calls();
    assert_eq!(bench.counted("one.toml").await, calls, "nothing was lost: nothing is rebuilt");
    bench.lose_state();
    assert_eq!(bench.counted("two.toml").await, calls * 2 / 3, "what its own lake shows");
    assert_eq!(bench.counted("three.toml").await, calls, "the other lake comes on top");
    for name in ["one.toml", "two.toml", "three.toml"] {
        assert_eq!(bench.counted(name).await, calls, "and nobody is added twice");
    }
    let plan = bench.huopan(&["plan", "one.toml", "--json"]).await;
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["gateways"][0]["accounts"][0]["left"], 3000 - calls);
}

#[tokio::test]
async fn a_plan_knows_what_a_lost_state_had_counted() {
    let bench = Bench::new(quick()).await;
    bench.pipeline("one", "lake", ("", ""));
    bench.run("one.toml", 0).await;
    bench.lose_state();
    let plan = bench.huopan(&["plan", "one.toml", "--json"]).await;
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["gateways"][0]["accounts"][0]["left"], 3000 - bench.calls());
}

#[tokio::test]
async fn a_state_that_comes_back_as_it_was_a_while_ago_learns_what_was_called_since() {
    let bench = Bench::new(quick()).await;
    let with_limit = |calls: u64| {
        let path = bench.pipeline("one", "lake", ("on_quota = \"continue\"", ""));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("calls_per_day = 3000", &format!("calls_per_day = {calls}"))).unwrap();
    };
    bench.pipeline("two", "lake", ("", ""));
    bench.run("two.toml", 0).await;
    let calls = bench.calls();
    with_limit(calls + 2);
    bench.run("one.toml", 75).await;
    let earlier = bench.state();
    // A run that has not ended, and what its earlier start landed was seen before.
    with_limit(calls + 3);
    bench.run("one.toml", 75).await;
    bench.put_back(earlier);
    assert_eq!((bench.counted("one.toml").await, bench.calls()), (calls + 3, calls + 3));
    // Runs that have published.
    let earlier = bench.state();
    with_limit(3000);
    bench.run("one.toml", 0).await;
    assert_eq!(bench.huopan(&["run", "two.toml", "--refresh"]).await.code, 0);
    assert!(bench.calls() > calls + 4);
    bench.put_back(earlier);
    assert_eq!(bench.counted("one.toml").await, bench.calls());
    for name in ["one.toml", "two.toml"] {
        assert_eq!(bench.counted(name).await, bench.calls(), "and nobody is added twice");
    }
}

#[tokio::test]
async fn a_lake_that_was_moved_counts_nothing_again_and_a_correction_stays() {
    let bench = Bench::new(quick()).await;
    bench.pipeline("one", "lake", ("", ""));
    bench.run("one.toml", 0).await;
    let set = ["accounts", "set", "main", "--calls", "1000", "--pipeline", "one.toml"];
    assert_eq!(bench.huopan(&set).await.code, 0);
    copy(&bench.place.lake(), &bench.path().join("moved"));
    bench.pipeline("one", "moved", ("", ""));
    assert_eq!(bench.counted("one.toml").await, 1000);
    // A lake whose calls the state has not counted comes on top of what was said.
    let elsewhere = Bench::new(quick()).await;
    elsewhere.pipeline("other", "lake", ("", ""));
    elsewhere.run("other.toml", 0).await;
    copy(&elsewhere.place.lake(), &bench.path().join("brought"));
    bench.pipeline("other", "brought", ("", ""));
    assert_eq!(bench.counted("other.toml").await, 1000 + elsewhere.calls());
}

#[tokio::test]
async fn a_block_that_still_holds_is_found_again_when_the_state_is_lost() {
    let options = Options { keys: vec![Key::new("sim-app", 9)], shop_sizes: vec![300, 280], ..quick() };
    let bench = Bench::new(options).await;
    bench.pipeline("one", "lake", ("on_quota = \"continue\"", ""));
    bench.run("one.toml", 75).await;
    let calls = bench.calls();
    let before = bench.accounts("one.toml").await[0]["rests"].clone();
    assert_eq!((before.as_array().unwrap().len(), &before[0]["kind"]), (1, &"quota".into()), "{before}");
    bench.lose_state();
    let again = bench.run("one.toml", 75).await;
    assert!(again.stderr.contains("`main`: blocked until"), "{again:?}");
    assert_eq!(bench.calls(), calls, "no call is made to hear it again");
    let after = bench.accounts("one.toml").await[0]["rests"].clone();
    assert_eq!((&after[0]["until"], &after[0]["reason"]), (&before[0]["until"], &before[0]["reason"]));
}

#[tokio::test]
async fn a_refusal_that_still_holds_is_found_again_when_the_state_is_lost_and_a_woken_account_sleeps_no_more() {
    let bench = Bench::new(quick()).await;
    bench.pipeline("one", "lake", ("", ""));
    let refused = async || huopan_with(bench.path(), &["run", "one.toml"], &[("SECRET", "not-the-secret")]).await;
    assert_eq!(refused().await.code, 1);
    let calls = bench.calls();
    bench.lose_state();
    let again = refused().await;
    assert_eq!((again.code, bench.calls()), (1, calls), "{again:?}");
    assert!(again.stderr.contains("`main`: denied until"), "{again:?}");
    // The state knows of it, and that it was ended: another address of the lake tells nothing new.
    let wake = ["accounts", "wake", "main", "--pipeline", "one.toml"];
    assert_eq!(bench.huopan(&wake).await.code, 0);
    copy(&bench.place.lake(), &bench.path().join("moved"));
    bench.pipeline("one", "moved", ("", ""));
    bench.run("one.toml", 0).await;
}

#[tokio::test]
async fn a_published_run_leaves_the_blocks_it_met() {
    let keys = vec![Key::new("first", 3), Key::new("sim-app", 1000)];
    let bench = Bench::new(Options { keys, ..quick() }).await;
    let first = "[[accounts]]\nname = \"first\"\nlicence = \"paid\"\n\
                 credentials = { app_key = \"first\", app_secret = \"env:SECRET\" }\n";
    bench.pipeline("one", "lake", (first, ""));
    bench.run("one.toml", 0).await;
    let rests = async || bench.accounts("one.toml").await[0]["rests"].clone();
    let before = rests().await;
    assert_eq!(before.as_array().unwrap().len(), 1, "{before}");
    bench.lose_state();
    assert_eq!(rests().await, before);
}

/// Two accounts, of which the first may not ask for SKUs.
async fn without_permission(more: &str) -> Bench {
    let refused = Key { denied_methods: vec!["alibaba.sku.get".to_owned()], ..Key::new("sim-app", 1000) };
    let bench = Bench::new(Options { keys: vec![refused, Key::new("second", 1000)], ..quick() }).await;
    bench.pipeline("one", "lake", ("[fetch]\nskus = \"all\"", more));
    bench
}

#[tokio::test]
async fn an_account_without_permission_for_one_endpoint_goes_on_with_the_others() {
    let second = "[[accounts]]\nname = \"second\"\nlicence = \"paid\"\n\
                  credentials = { app_key = \"second\", app_secret = \"env:SECRET\" }\n";
    let bench = without_permission(second).await;
    let ended = bench.run("one.toml", 0).await;
    assert!(ended.stderr.contains("account `main` at endpoint `sku` is denied until"), "{ended:?}");
    let by_account =
        "select account || ' ' || endpoint as who, cast(count(*) as varchar) as calls from calls group by 1";
    let rows = bench.place.rows(by_account).await;
    let calls = |who: &str| rows.iter().find(|row| row["who"] == who).map_or(0, |row| row["calls"].parse().unwrap());
    assert!(calls("main listing") >= 4 && calls("second listing") == 0, "{rows:?}");
    assert!((1..=4).contains(&calls("main sku")) && calls("second sku") > 50, "{rows:?}");
    let accounts = bench.accounts("one.toml").await;
    assert_eq!(
        (&accounts[0]["rests"][0]["scope"], &accounts[1]["rests"]),
        (&"endpoint:sku".into(), &Value::Array(vec![]))
    );
}

#[tokio::test]
async fn a_permission_that_no_account_has_ends_the_run_and_keeps_what_was_listed() {
    let bench = without_permission("").await;
    let ended = bench.run("one.toml", 1).await;
    assert!(ended.stderr.contains("refuses account `main` at endpoint `sku`"), "{ended:?}");
    assert!(ended.stderr.contains("permission"), "{ended:?}");
    let calls = bench.calls();
    let again = bench.run("one.toml", 1).await;
    assert!(
        again.stderr.contains("the gateway refuses every account for endpoint sku (`main`: denied until"),
        "{again:?}"
    );
    assert!(
        again.stderr.contains("apply for the permission") && again.stderr.contains("accounts wake main"),
        "{again:?}"
    );
    // What is not refused may be asked, and was answered before.
    let listed = bench.sim.journal().iter().filter(|entry| entry.method.ends_with("items.list.get")).count();
    assert!(bench.calls() - calls <= 3 && listed <= 4, "{} and {calls}: {listed}", bench.calls());
    // Without SKUs the same run goes on and publishes.
    bench.pipeline("one", "lake", ("", ""));
    bench.run("one.toml", 0).await;
}

/// Portals' listing and item-get's details as one app, with so many calls a day at each.
async fn one_key(listing: u64, details: u64) -> Bench {
    one_key_of(Key::new("sim-app", 1_000_000), listing, details).await
}

async fn one_key_of(key: Key, listing: u64, details: u64) -> Bench {
    let bench = Bench::new(Options { shop_sizes: vec![40, 30], keys: vec![key], ..quick() }).await;
    let at_once = "extends = \"item-get\"\nname = \"item-get\"\n[limits]\ncalls_per_second = 1000\n\
                   pause_seconds = { success = 0, failure = 0, throttle = 0 }\n";
    bench.place.write("item-get-at-once.toml", at_once);
    let fetch = format!(
        "[fetch]\ndetails = \"all\"\ndetails_gateway = \"./item-get-at-once.toml\"\ndetails_url = \"{}\"\n",
        bench.sim.url(Gateway::ItemGet)
    );
    let account = format!(
        "[[accounts]]\nname = \"items\"\ngateway = \"item-get\"\nlicence = \"company\"\ncalls_per_day = {details}\n\
         credentials = {{ app_key = \"sim-app\", app_secret = \"env:SECRET\" }}\n"
    );
    let path = bench.pipeline("one", "lake", (&fetch, &account));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("calls_per_day = 3000", &format!("calls_per_day = {listing}"))).unwrap();
    bench
}

#[tokio::test]
async fn a_detail_that_a_cache_holds_answers_whoever_asks_that_gateway_for_it() {
    for order in [["one.toml", "items.toml"], ["items.toml", "one.toml"]] {
        let bench = one_key(3000, 5000).await;
        let shops = bench.sim.world(Gateway::Portals).shops;
        let on_sale = shops.iter().flat_map(|shop| &shop.offers).filter(|offer| offer.is_on_sale);
        let ids: Vec<String> = on_sale.map(|offer| format!("\"{}\"", offer.offer_id)).collect();
        bench.place.write(
            "items.toml",
            format!(
                "name = \"items\"\ngateway = \"./item-get-at-once.toml\"\nurl = \"{}\"\nitems = [{}]\n\
             [[accounts]]\nname = \"main\"\nlicence = \"company\"\n\
             credentials = {{ app_key = \"sim-app\", app_secret = \"env:SECRET\" }}\n\
             [lake]\nurl = \"items\"\n[state]\nurl = \"state.sqlite\"\n",
                bench.sim.url(Gateway::ItemGet),
                ids.join(", ")
            ),
        );
        for pipeline in order {
            bench.run(pipeline, 0).await;
        }
        let asked = bench.sim.journal().iter().filter(|call| call.method.ends_with("item.get")).count();
        assert_eq!(asked, ids.len(), "{order:?}");
        for lake in ["lake", "items"] {
            let sql =
                ["sql", "--lake", lake, "--format", "csv", "-c", "select count(detail_fetched_at) as n from offers"];
            assert_eq!(bench.huopan(&sql).await.stdout.trim(), format!("n\n{}", ids.len()), "{order:?} {lake}");
        }
    }
}

/// What it needs: a count and the pages of each shop, and a call for each offer.
fn needs(bench: &Bench) -> u64 {
    let of = |offers: u64| 1 + offers.div_ceil(40) + offers;
    bench.sim.world(Gateway::Portals).shops.iter().map(|shop| of(shop.on_sale as u64)).sum()
}

#[tokio::test]
async fn a_plan_adds_up_what_one_key_is_used_for_at_two_gateways() {
    let bench = one_key(3000, 5000).await;
    let ended = bench.huopan(&["check", "one.toml"]).await;
    assert_eq!((ended.code, &*ended.stderr), (0, ""), "{ended:?}");
    let note = "note: two accounts have one key (`main` at gateway `portals`, 3000 calls a day; `items` at gateway \
                `item-get`, 5000 calls a day): their calls are counted together";
    assert!(ended.stdout.contains(note), "{ended:?}");
    let needs = needs(&bench);
    // One call less than both need: each limit alone would suffice.
    let bench = one_key(needs - 1, needs - 1).await;
    let plan = bench.huopan(&["plan", "one.toml", "--probe", "--json"]).await;
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(
        (&plan["total"]["least"], &plan["fits_least"]["when"]),
        (&(needs - 2).into(), &"no_day".into()),
        "{plan}"
    );
    let accounts = |of: usize| plan["gateways"][of]["accounts"][0].clone();
    assert_eq!((&accounts(0)["counted_with"], &accounts(1)["counted_with"]), (&"items".into(), &"main".into()));
    assert_eq!((&accounts(0)["left"], &accounts(1)["left"]), (&(needs - 3).into(), &(needs - 3).into()), "{plan}");
    let text = bench.huopan(&["plan", "one.toml"]).await.stdout;
    assert!(text.contains("`main` and `items` have one key: their calls are counted together"), "{text}");
    let refused = bench.run("one.toml", 1).await;
    assert!(refused.stderr.contains("more than any day allows"), "{refused:?}");
    assert_eq!(bench.calls(), 2, "the counts of the probe");
    // What is enough is enough, to the last call.
    let bench = one_key(needs, needs).await;
    bench.run("one.toml", 0).await;
    assert_eq!((bench.calls(), bench.counted("one.toml").await), (needs, needs));
}

#[tokio::test]
async fn each_gateways_own_limit_holds_for_the_calls_of_both() {
    let needs = needs(&one_key(3000, 5000).await);
    let bench = one_key(needs, needs - 1).await;
    let path = bench.path().join("one.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("name = \"one\"", "name = \"one\"\non_quota = \"continue\"")).unwrap();
    let ended = bench.run("one.toml", 75).await;
    assert_eq!(bench.calls(), needs - 1, "{ended:?}");
    let reason = format!("no account has calls left (`items`: its {} calls of the day are used up)", needs - 1);
    assert!(ended.stderr.contains(&reason), "{ended:?}");
}

#[tokio::test]
async fn what_one_gateway_refuses_a_key_keeps_it_from_no_other_and_is_not_forgotten() {
    let key = Key { denied: vec![Gateway::ItemGet], ..Key::new("sim-app", 1_000_000) };
    let bench = one_key_of(key, 3000, 5000).await;
    let asked = || bench.sim.journal().iter().filter(|entry| entry.gateway == Gateway::ItemGet).count();
    let ended = bench.run("one.toml", 1).await;
    assert!(ended.stderr.contains("gateway `item-get` refuses account `items` at endpoint `item`"), "{ended:?}");
    let refused = asked();
    assert!((1..=10).contains(&refused), "{refused}");
    bench.pipeline("two", "another", ("", ""));
    bench.run("two.toml", 0).await;
    let again = bench.run("one.toml", 1).await;
    assert!(again.stderr.contains("for endpoint item (`items`: denied until"), "{again:?}");
    assert_eq!(asked(), refused, "{again:?}");
    let accounts = bench.accounts("one.toml").await;
    assert_eq!(
        (&accounts[0]["rests"], &accounts[1]["rests"][0]["scope"]),
        (&Value::Array(vec![]), &"endpoint:item".into())
    );
}
