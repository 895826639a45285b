//! `huopan accounts`: the ledger and the health of accounts, shown and corrected, and what runs make of it.

use huopan::sim::{self, Gateway, Sim};
use serde_json::Value;

use crate::support::{Ended, Place, ended, huopan, huopan_with, quick, shop_lines, spawn};

async fn bench() -> (Place, Sim) {
    let (place, sim) = (Place::new(), sim::start(quick()).await.unwrap());
    place.pipeline_file(&sim, Gateway::Portals, &shop_lines(&sim.world(Gateway::Portals)));
    (place, sim)
}

async fn accounts(place: &Place, arguments: &[&str]) -> Ended {
    let ended = huopan(place.path(), &[&["accounts"], arguments].concat()).await;
    assert_eq!((ended.code, &*ended.stderr), (0, ""), "{ended:?}");
    ended
}

/// The only account, as JSON.
async fn account(place: &Place) -> Value {
    let shown = accounts(place, &["pipeline.toml", "--json"]).await.stdout;
    let mut shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["accounts"].as_array().unwrap().len(), 1, "{shown}");
    shown["accounts"][0].take()
}

#[tokio::test]
async fn calls_of_a_run_are_shown_by_name_and_by_key() {
    let (place, sim) = bench().await;
    assert_eq!(account(&place).await["scopes"], serde_json::json!([{"scope": "", "calls": 0, "left": 3000}]));
    assert_eq!(huopan(place.path(), &["run", "pipeline.toml"]).await.code, 0);
    let calls = sim.stats().calls;
    let shown = account(&place).await;
    assert_eq!(shown["scopes"], serde_json::json!([{"scope": "", "calls": calls, "left": 3000 - calls}]));
    assert_eq!(
        (&shown["name"], &shown["key"], &shown["gateway"]),
        (&"main".into(), &"sim-app".into(), &"portals".into())
    );
    assert_eq!(
        (&shown["in_flight"], &shown["rests"]),
        (&0.into(), &serde_json::json!([])),
        "every place is given back"
    );
    let text = accounts(&place, &["pipeline.toml"]).await.stdout;
    assert!(text.contains("(Beijing)") && text.contains("sim-app") && !text.contains("sim-secret"), "{text}");
    // Without a pipeline accounts go by their keys.
    let text = accounts(&place, &["--state", "state.sqlite", "--json"]).await.stdout;
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&shown["accounts"][0]["name"], &shown["accounts"][0]["scopes"][0]["calls"]),
        (&"sim-app".into(), &calls.into())
    );
}

#[tokio::test]
async fn what_another_program_has_used_is_respected_by_plan_and_run() {
    let (place, sim) = bench().await;
    let said = accounts(&place, &["set", "main", "--calls", "2998", "--pipeline", "pipeline.toml"]).await.stdout;
    assert!(said.starts_with("main: 2 998 calls counted on ") && said.ends_with("(before: 0)\n"), "{said}");
    let plan = huopan(place.path(), &["plan", "pipeline.toml", "--json"]).await;
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let shown = &plan["gateways"][0]["accounts"][0];
    assert_eq!((&shown["calls_per_day"], &shown["left"]), (&3000.into(), &2.into()), "{plan}");
    assert_eq!(plan["fits_least"]["when"], "another_day", "two counts and two pages at least: {plan}");
    let refused = huopan(place.path(), &["run", "pipeline.toml"]).await;
    assert_eq!((refused.code, sim.stats().calls), (75, 0), "{refused:?}");
    accounts(&place, &["set", "main", "--calls", "2000", "--pipeline", "pipeline.toml"]).await;
    assert_eq!(huopan(place.path(), &["run", "pipeline.toml"]).await.code, 0);
    let used = account(&place).await["scopes"][0]["calls"].as_u64().unwrap();
    assert_eq!(used, 2000 + sim.stats().calls);
    let wrong = huopan(place.path(), &["accounts", "set", "mian", "--calls", "1", "--pipeline", "pipeline.toml"]).await;
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("did you mean `main`?"), "{wrong:?}");
}

#[tokio::test]
async fn a_denied_account_rests_until_it_is_woken_or_its_secret_changes() {
    let (place, sim) = bench().await;
    let run = async |secret| huopan_with(place.path(), &["run", "pipeline.toml"], &[("SECRET", secret)]).await;
    assert_eq!(run("not-the-secret").await.code, 1);
    let calls = sim.stats().calls;
    let shown = account(&place).await;
    assert_eq!(shown["rests"][0]["kind"], "denied", "{shown}");
    let text = accounts(&place, &["pipeline.toml"]).await.stdout;
    assert!(text.contains("denied") && text.contains("`huopan accounts wake NAME` does it now"), "{text}");
    let again = run("not-the-secret").await;
    assert_ne!(again.code, 0, "{again:?}");
    assert_eq!(sim.stats().calls, calls, "it rests: no call is made");
    let said = accounts(&place, &["wake", "main", "--pipeline", "pipeline.toml"]).await.stdout;
    assert_eq!(said, "main: awake, at its full rate\n");
    assert_eq!(account(&place).await["rests"], serde_json::json!([]));
    assert_eq!(run("not-the-secret").await.code, 1);
    assert!(sim.stats().calls > calls, "it was asked again");
    assert_eq!(run("sim-secret").await.code, 0, "a changed secret needs no waking");
}

#[tokio::test]
async fn what_is_corrected_and_woken_is_told_as_json_too() {
    let (place, _sim) = bench().await;
    let said = async |arguments: &[&str]| {
        let ended = accounts(&place, &[arguments, &["--pipeline", "pipeline.toml", "--json"]].concat()).await;
        serde_json::from_str::<Value>(&ended.stdout).unwrap()
    };
    let set = said(&["set", "main", "--calls", "12"]).await;
    let told = (&set["name"], &set["key"], &set["scope"], &set["calls"], &set["calls_before"]);
    assert_eq!(told, (&"main".into(), &"sim-app".into(), &"".into(), &12.into(), &0.into()));
    assert_eq!(said(&["set", "main", "--calls", "9"]).await["calls_before"], 12);
    let woken = said(&["wake", "main"]).await;
    assert_eq!((&woken["name"], &woken["ended_rests"]), (&"main".into(), &Value::Array(vec![])));
    assert_eq!(woken["day"], set["day"]);
}

#[tokio::test]
async fn the_ledger_can_be_shown_and_corrected_while_a_run_is_at_work() {
    let (place, sim) = bench().await;
    sim.hold_from(Some(3));
    let env = [("SECRET", "sim-secret"), ("TOKEN", "sim-token")];
    let run = spawn(place.path(), &["run", "pipeline.toml"], &env);
    sim.until(|traffic| traffic.held > 0).await;
    let shown = account(&place).await;
    let counted = shown["scopes"][0]["calls"].as_u64().unwrap();
    assert!(counted >= 3 && shown["in_flight"].as_u64().unwrap() >= 1, "reserved before they are answered: {shown}");
    let more = (counted + 1000).to_string();
    accounts(&place, &["set", "main", "--calls", &more, "--pipeline", "pipeline.toml"]).await;
    sim.hold_from(None);
    let ended = ended(run).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let used = account(&place).await["scopes"][0]["calls"].as_u64().unwrap();
    assert_eq!(used, 1000 + sim.stats().calls, "what is set is counted on from");
}
