//! The command line as its users see it: what is said, where, with which exit code.
//!
//! The texts are whole where they are ours to write; of what others write (clap, the operating system) the telling part.

use huopan::sim::{self, Gateway, Options, Sim};
use serde_json::Value;

use crate::support::{Ended, Place, day, ended, huopan, huopan_with, publish, quick, spawn_as_is};

/// A pipeline in which nothing is wrong.
const RIGHT: &str = r#"name    = "nightly"
gateway = "portals"
shops   = ["https://shop12345678.1688.com", "b2b-2200733087881719de"]

[[accounts]]
name        = "main"
credentials = { app_key = "12345678", app_secret = "env:GOOD" }
licence     = "paid"

[lake]
url = "lake"
"#;

const GOOD: [(&str, &str); 1] = [("GOOD", "s3cr3t-Hunter2")];

/// `exit code`, stdout and stderr as one text; the test's folder is `<here>`.
fn said(place: &Place, ended: &Ended) -> String {
    let text = format!("exit {}\n{}{}", ended.code, ended.stdout, ended.stderr);
    assert!(!text.contains("Hunter2"), "a secret is said: {text}");
    text.replace(&place.path().display().to_string(), "<here>")
}

/// What `check` and `run` say of the right pipeline with one part replaced: both the same, on stderr, with exit 1.
async fn spoilt(change: (&str, &str), env: &[(&str, &str)], expected: &str) {
    let place = Place::new();
    assert!(RIGHT.contains(change.0), "{}", change.0);
    place.write("p.toml", RIGHT.replacen(change.0, change.1, 1));
    for command in ["check", "run"] {
        let ended = huopan_with(place.path(), &[command, "p.toml"], env).await;
        assert_eq!(ended.stdout, "");
        assert_eq!(said(&place, &ended), format!("exit 1\n{expected}\n"), "{command}");
    }
    assert!(!place.lake().exists(), "nothing is made before everything is right");
}

#[tokio::test]
async fn a_right_pipeline_is_told_in_one_line() {
    let place = Place::new();
    place.write("p.toml", RIGHT);
    let ended = huopan_with(place.path(), &["check", "p.toml"], &GOOD).await;
    assert_eq!(
        said(&place, &ended),
        "exit 0\n<here>/p.toml: pipeline `nightly` asks gateway `portals` for 2 shops, into <here>/lake\n"
    );
}

#[tokio::test]
async fn a_secret_that_is_too_short_is_right_and_worth_a_word() {
    let place = Place::new();
    place.write("p.toml", RIGHT);
    let ended = huopan_with(place.path(), &["check", "p.toml"], &[("GOOD", "k3y5!")]).await;
    let says = "warning: the secret `app_secret` of account `main` is so short that answers and messages that repeat it are \
                kept as they are: is it whole?\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (0, says), "{ended:?}");
}

#[tokio::test]
async fn an_unknown_gateway() {
    let expected = r#"error: there is no gateway `portal`
 --> p.toml:2:11
  |
2 | gateway = "portal"
  |           ^^^^^^^^
  |
  = help: did you mean `portals`? A definition file is named by its path: `./portal.toml`"#;
    spoilt(("\"portals\"", "\"portal\""), &GOOD, expected).await;
}

#[tokio::test]
async fn a_secret_that_is_not_set() {
    let expected = r#"error: the environment variable `GOOD` is not set
 --> p.toml:7:52
  |
7 | credentials = { app_key = "12345678", app_secret = "env:GOOD" }
  |                                                    ^^^^^^^^^^
  |
  = help: export GOOD=…"#;
    spoilt(("paid", "paid"), &[], expected).await;
    let empty = expected.replace("is not set", "is empty");
    spoilt(("paid", "paid"), &[("GOOD", " \n")], &empty).await;
}

#[tokio::test]
async fn a_secret_whose_file_is_missing() {
    let expected = r#"error: cannot read the secret file `nosuch`: No such file or directory (os error 2)
 --> p.toml:7:52
  |
7 | credentials = { app_key = "12345678", app_secret = "file:nosuch" }
  |                                                    ^^^^^^^^^^^^^
  |
  = help: the path is relative to this file"#;
    spoilt(("env:GOOD", "file:nosuch"), &[], expected).await;
}

#[tokio::test]
async fn a_secret_in_the_file_is_refused_and_not_repeated() {
    let expected = r#"error: the secret `app_secret` is written into the file
 --> p.toml:7:52
  |
7 | credentials = { app_key = "12345678", app_secret = "**************" }
  |                                                    ^^^^^^^^^^^^^^^^
  |
  = help: name where it is: `app_secret = "env:APP_SECRET"` or `"file:PATH"`; change the secret if others have seen this file"#;
    spoilt(("env:GOOD", "s3cr3t-Hunter2"), &[], expected).await;
}

#[tokio::test]
async fn a_shops_name_in_the_place_of_its_member_id() {
    let expected = r#"error: `义乌小商品` is a shop's name, not its member id
 --> p.toml:3:45
  |
3 | shops   = ["https://shop12345678.1688.com", "义乌小商品"]
  |                                             ^^^^^^^^^^^^
  |
  = help: open the shop in a browser and copy its address, or the `memberId` in it: `b2b-2200733087881719de`"#;
    spoilt(("b2b-2200733087881719de", "义乌小商品"), &GOOD, expected).await;
}

#[tokio::test]
async fn an_address_that_is_no_shops() {
    let expected = r#"error: `ftp://shop.1688.com` is no shop address: `ftp://` is not `https://`
 --> p.toml:3:12
  |
3 | shops   = ["ftp://shop.1688.com", "b2b-2200733087881719de"]
  |            ^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write it as in a browser: `https://shop12345678.1688.com`"#;
    spoilt(("https://shop12345678.1688.com", "ftp://shop.1688.com"), &GOOD, expected).await;
}

#[tokio::test]
async fn several_problems_are_said_at_once_each_with_its_place() {
    let place = Place::new();
    let text = RIGHT.replace("licence ", "license ").replace("name    = \"nightly\"", "name    = \"Nightly run\"");
    place.write("p.toml", text.replace("env:GOOD", "env:NOWHERE") + "colour = \"red\"\n");
    let ended = huopan_with(place.path(), &["run", "p.toml"], &[]).await;
    let lines: Vec<&str> =
        ended.stderr.lines().filter(|line| line.starts_with("error") || line.contains("-->")).collect();
    let expected = [
        "error: `Nightly run` is no `name`",
        " --> p.toml:1:11",
        "error: `licence` is missing",
        " --> p.toml:5:1",
        "error: the environment variable `NOWHERE` is not set",
        " --> p.toml:7:52",
        "error: unknown key `license`",
        " --> p.toml:8:1",
        "error: unknown key `colour`",
        "  --> p.toml:12:1",
    ];
    assert_eq!(lines, expected, "{}", ended.stderr);
    assert!(ended.stderr.contains("help: did you mean `licence`?"));
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
}

#[tokio::test]
async fn a_day_that_does_not_exist_is_a_usage_error() {
    let place = Place::new();
    place.write("p.toml", RIGHT);
    for date in ["2026-02-30", "tomorrow", "20261120", ""] {
        let ended = huopan_with(place.path(), &["run", "p.toml", "--dt", date], &GOOD).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{date}");
        assert!(ended.stderr.contains("--dt <YYYY-MM-DD>"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn other_usage_errors_name_the_option_and_what_it_takes() {
    let place = Place::new();
    for (arguments, part) in [
        (&["nonsense"][..], "unrecognized subcommand 'nonsense'"),
        (&["run"], "<PIPELINE>"),
        (&["run", "p.toml", "--until", "later"], "[possible values: land, publish]"),
        (&["schema", "offer"], "a similar value exists: 'offers'"),
        (&["explain", "x"], "<OFFER>"),
        (
            &["sql", "--format", "xls"],
            "[possible values: table, csv, json, jsonl, markdown, xlsx, parquet, arrow, arrows]",
        ),
        (&["-v", "-q", "schema"], "cannot be used with"),
    ] {
        let ended = huopan(place.path(), arguments).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ended.stderr.contains(part), "{arguments:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_lake_that_cannot_be_written_is_said_before_any_call() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    place.shops(&sim, Gateway::Portals);
    place.write("lake", "a file");
    let ended = huopan(place.path(), &["run", "pipeline.toml"]).await;
    assert_eq!(
        said(&place, &ended),
        "exit 1\nerror: the lake `<here>/lake` cannot be written\n  caused by: File exists (os error 17)\n\
         hint: a part of this path is a file: name another lake\n"
    );
    assert_eq!(sim.stats().calls, 0);
}

#[tokio::test]
async fn a_missing_lake_is_said_and_what_to_do_about_it() {
    let place = Place::new();
    let ended = huopan(place.path(), &["sql", "-c", "select 1"]).await;
    assert_eq!(
        said(&place, &ended),
        "exit 1\nerror: no lake is named, and `data/lake` is none\n\
         hint: say `--lake URL` or `--pipeline FILE`, set HUOPAN_LAKE, or try `huopan demo` first\n"
    );
    for command in [&["sql", "-c", "select 1"][..], &["runs"], &["explain", "1"], &["lake", "files", "offers"]] {
        let ended = huopan(place.path(), &[command, &["--lake", "nosuch"]].concat()).await;
        assert_eq!(
            said(&place, &ended),
            "exit 1\nerror: there is no lake at `nosuch`\nhint: run a pipeline first, or name another one\n"
        );
    }
    let ended = huopan(place.path(), &["run", "nosuch.toml"]).await;
    assert!(ended.stderr.starts_with("error: cannot read the pipeline `nosuch.toml`"), "{ended:?}");
}

/// A lake with one published night.
pub(crate) async fn one_night() -> (Place, Sim) {
    let (sim, place) = (sim::start(Options { shop_sizes: vec![20], ..quick() }).await.unwrap(), Place::new());
    publish(&place.shops(&sim, Gateway::Portals), day(20)).await;
    (place, sim)
}

#[tokio::test]
async fn questions_that_are_wrong_or_would_write_are_refused() {
    let (place, _sim) = one_night().await;
    let read_only = "error: only queries run here: the lake is read-only\n\
                     hint: use SELECT, WITH, VALUES, EXPLAIN, SHOW or DESCRIBE\n";
    for (query, expected) in [
        ("drop table offers", read_only),
        ("copy offers to 'offers.csv'", read_only),
        ("create external table t stored as csv location 'pipeline.toml'", read_only),
        ("set datafusion.execution.batch_size = 1", read_only),
        ("insert into shops select * from shops", read_only),
        ("delete from offers", read_only),
        (
            "select * from ofers",
            "error: there is no table `ofers`\n1 | select * from ofers\n  |               ^^^^^\nhint: did you mean `offers`?\n",
        ),
        (
            "select titel from offers",
            "error: there is no column `titel`\n1 | select titel from offers\n  |        ^^^^^\nhint: did you mean `title`?\n",
        ),
    ] {
        let ended = huopan(place.path(), &["sql", "--lake", "lake", "-c", query]).await;
        assert_eq!(said(&place, &ended), format!("exit 1\n{expected}"), "{query}");
    }
    for query in ["selec 1", "select", "select * from 'pipeline.toml'"] {
        let ended = huopan(place.path(), &["sql", "--lake", "lake", "-c", query]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{query}");
        assert!(ended.stderr.starts_with("error: "), "{ended:?}");
    }
    assert_eq!(place.value("select count(*) from shops").await, "1");
}

#[tokio::test]
async fn answers_are_on_stdout_in_every_format_and_the_lake_is_found_in_every_way() {
    let (place, _sim) = one_night().await;
    let query = "select shop_id, is_complete from shops";
    let id = "b2b-2224948475798841de";
    for (format, expected) in [
        ("csv", format!("shop_id,is_complete\n{id},true\n")),
        ("jsonl", format!("{{\"shop_id\":\"{id}\",\"is_complete\":true}}\n")),
        ("markdown", format!("| shop_id | is_complete |\n|---|---|\n| {id} | true |\n")),
    ] {
        let ended = huopan(place.path(), &["sql", "--lake", "lake", "-c", query, "--format", format]).await;
        assert_eq!((ended.code, ended.stdout, ended.stderr.as_str()), (0, expected, ""), "{format}");
    }
    place.write("q.sql", query);
    let env = [("SECRET", "sim-secret"), ("HUOPAN_LAKE", "lake")];
    for (arguments, env) in [
        (&["sql", "-f", "q.sql", "--format", "json", "--pipeline", "pipeline.toml"][..], &env[..1]),
        (&["sql", "-f", "q.sql", "--format", "json"], &env[1..]),
    ] {
        let ended = huopan_with(place.path(), arguments, env).await;
        let rows: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        assert_eq!(rows[0]["shop_id"], id);
    }
    let json = huopan(place.path(), &["runs", "--lake", "lake", "--format", "json"]).await;
    for words in [&["runs", "--json", "--lake", "lake"][..], &["runs", "list", "--json", "--lake", "lake"]] {
        assert_eq!(huopan(place.path(), words).await.stdout, json.stdout, "{words:?}");
    }
    let ended = huopan(place.path(), &["runs", "--lake", "lake", "--format", "jsonl"]).await;
    let row: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&row["status"], &row["received"]), (&"published".into(), &row["loaded"]));
    let run_id = row["run_id"].as_str().unwrap();
    let ended = huopan(place.path(), &["runs", "show", run_id, "--lake", "lake", "--format", "jsonl"]).await;
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["run_id"], &lines[1]["shop_id"]), (&run_id.into(), &id.into()));
    let ended = huopan(place.path(), &["lake", "files", "offers", "--lake", "lake"]).await;
    let path = std::path::Path::new(ended.stdout.trim());
    assert!(path.is_absolute() && path.is_file(), "{ended:?}");
    let ended = huopan(place.path(), &["lake", "files", "offers", "--lake", "lake", "--relative"]).await;
    assert!(place.lake().join(ended.stdout.trim()).is_file());
    assert!(ended.stdout.starts_with("offers/dt=2026-11-20/pipeline=test/"), "{ended:?}");
}

#[tokio::test]
async fn an_offer_is_explained_by_its_bytes_fields_rules_and_values() {
    let (place, sim) = one_night().await;
    let world = sim.world(Gateway::Portals);
    let offer = world.shops[0].offers.iter().find(|offer| offer.is_on_sale && offer.moq_source == "stated").unwrap();
    let id = offer.offer_id.to_string();
    let ended = huopan(place.path(), &["explain", &id, "--lake", "lake"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let row = place.rows(&format!("select moq_raw, moq_pieces, raw_ref from offers where offer_id = {id}")).await;
    for part in
        [&*id, &row[0]["raw_ref"], &row[0]["moq_raw"], &row[0]["moq_pieces"], "/moq", "/wholesalePrice", "moq_pieces"]
    {
        assert!(ended.stdout.contains(part), "no `{part}` in:\n{}", ended.stdout);
    }
    let ended = huopan(place.path(), &["explain", &id, "--lake", "lake", "--dt", "2026-11-20", "--json"]).await;
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(json.to_string().contains("/moq"), "{json}");
    let ended = huopan(place.path(), &["explain", &id, "--lake", "lake", "--dt", "2026-11-19"]).await;
    assert_eq!(
        said(&place, &ended),
        format!(
            "exit 1\nerror: offer {id} is in no published picture of 2026-11-19\n\
             hint: `huopan sql -c \"select * from quarantine\"` shows what could not be loaded\n"
        )
    );
}

#[tokio::test]
async fn gateways_are_listed_shown_and_checked() {
    let place = Place::new();
    let list = huopan(place.path(), &["gateways", "list"]).await;
    for name in huopan::config::builtins() {
        assert!(list.stdout.lines().any(|line| line == name), "no `{name}` in:\n{}", list.stdout);
        let shown = huopan(place.path(), &["gateways", "show", name]).await;
        assert_eq!((shown.code, Some(shown.stdout.as_str())), (0, huopan::config::builtin(name)));
    }
    let ended = huopan(place.path(), &["gateways", "show", "nope"]).await;
    assert_eq!(
        said(&place, &ended),
        "exit 1\nerror: there is no built-in gateway `nope`\n\
         hint: there are portals, item-get, product-get, shop-search, aop, onebound, tmapi, page-state\n"
    );
    let ended = huopan(place.path(), &["gateways", "show", "portal"]).await;
    assert!(ended.stderr.ends_with("hint: did you mean `portals`?\n"), "{ended:?}");
    // A definition of one's own: what is wrong with it, and what it makes of a saved answer.
    let spoilt = huopan::config::builtin("portals").unwrap().replacen("ladder        =", "lader         =", 1);
    place.write("mine.toml", spoilt);
    let ended = huopan(place.path(), &["gateways", "check", "./mine.toml"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(ended.stderr.starts_with("error: unknown field `lader`\n   --> ./mine.toml:"), "{}", ended.stderr);
    assert!(ended.stderr.ends_with("= help: did you mean `ladder`?\n"), "{}", ended.stderr);
    place.write("mine.toml", "extends = \"portals\"\nname = \"mine\"\n[offer]\nprice = \"/cost\"\n");
    let answer = r#"{"seller_items_list_get_response":{"items":{"item":[{"item_id":"712757874907","cost":"3.50","moq":"10件起批"}]}}}"#;
    place.write("answer.json", answer);
    let ended = huopan(place.path(), &["gateways", "check", "./mine.toml", "--sample", "answer.json"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    for part in ["712757874907", "/cost", "3.50", "10件起批"] {
        assert!(ended.stdout.contains(part), "no `{part}` in:\n{}", ended.stdout);
    }
    place.write("answer.json", "{\"error_response\":{\"code\":10002,\"msg\":\"签名错误\"}}");
    let ended = huopan(place.path(), &["gateways", "check", "portals", "--sample", "answer.json"]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("10002") && ended.stdout.contains("签名错误"), "{ended:?}");
}

#[tokio::test]
async fn the_signatures_of_all_vectors_come_out_and_their_secrets_do_not() {
    let place = Place::new();
    let vectors = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/signing.json");
    let vectors: Value = serde_json::from_slice(&std::fs::read(vectors).unwrap()).unwrap();
    let mut schemes = std::collections::BTreeSet::new();
    for vector in vectors["vectors"].as_array().unwrap() {
        let text = |name: &str| vector[name].as_str().unwrap_or_default();
        if huopan::config::builtin(text("scheme")).is_none() {
            continue;
        }
        schemes.insert(text("scheme").to_owned());
        let params = vector["params"].as_object().unwrap().iter();
        let params: Vec<String> =
            params.filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?))).collect();
        let mut arguments = vec!["gateways", "sign", text("scheme"), "--secret", "env:S", "--path", text("url_path")];
        arguments.extend(params.iter().map(String::as_str));
        let ended = huopan_with(place.path(), &arguments, &[("S", text("secret"))]).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{vector}");
        let lines: Vec<&str> = ended.stdout.lines().collect();
        assert!(lines[0].starts_with("text to sign: "), "{}", ended.stdout);
        assert!(lines[1].ends_with(&format!(": {}", text("expected"))), "{vector}: {}", ended.stdout);
        assert!(!ended.stdout.contains(text("secret")), "{}", ended.stdout);
        assert!(!ended.stdout.contains("UNIT-TEST-TOKEN") && !ended.stdout.contains("token-123"), "{}", ended.stdout);
    }
    assert_eq!(schemes.len(), 5, "{schemes:?}");
    for (secret, expected) in [
        (
            "s3cr3t-Hunter2",
            "error: the secret is named by a reference, never written itself\nhint: write `env:NAME` or `file:PATH`\n",
        ),
        ("env:EMPTY", "error: the secret at `env:EMPTY` is empty\n"),
    ] {
        let ended =
            huopan_with(place.path(), &["gateways", "sign", "portals", "a=1", "--secret", secret], &[("EMPTY", " ")])
                .await;
        assert_eq!(said(&place, &ended), format!("exit 1\n{expected}"));
    }
}

#[tokio::test]
async fn the_schema_names_every_table_and_column() {
    let place = Place::new();
    let all = huopan(place.path(), &["schema"]).await;
    assert_eq!((all.code, all.stderr.as_str()), (0, ""));
    for table in huopan::transform::contract::Table::ALL {
        let one = huopan(place.path(), &["schema", table.name()]).await;
        for field in table.file_schema().unwrap().fields() {
            let line = format!("| `{}` |", field.name());
            assert!(one.stdout.contains(&line) && all.stdout.contains(&line), "{table}: no {line}");
        }
    }
}

#[tokio::test]
async fn every_command_has_examples() {
    let place = Place::new();
    for command in
        ["demo", "check", "doctor", "run", "runs", "explain", "sql", "schema", "feed", "lake", "gateways", "sim"]
    {
        let ended = huopan(place.path(), &[command, "--help"]).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{command}");
        let example = ended.stdout.contains("Example") && ended.stdout.contains(&format!("huopan {command}"));
        assert!(example, "{command}: {}", ended.stdout);
    }
    let ended = huopan(place.path(), &["--help"]).await;
    assert!(ended.stdout.contains("Exit codes: 0 done"), "{}", ended.stdout);
}

#[tokio::test]
async fn stdout_is_data_and_logs_are_json_lines_where_stderr_is_no_terminal() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    place.shops(&sim, Gateway::Portals);
    let run = ["-vv", "run", "pipeline.toml", "--dt", "2026-11-20", "--json"];
    let ran = ended(spawn_as_is(place.path(), &run, &SECRET)).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let _: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(events(&ran.stderr).len() > 5, "{}", ran.stderr);
    let ended =
        huopan(place.path(), &["--log", "text", "-v", "run", "pipeline.toml", "--dt", "2026-11-20", "--refresh"]).await;
    assert!(ended.stderr.lines().all(|line| !line.starts_with('{')) && !ended.stderr.is_empty(), "{}", ended.stderr);
    let quiet = huopan(place.path(), &["-q", "run", "pipeline.toml", "--dt", "2026-11-20", "--refresh"]).await;
    assert_eq!(quiet.stderr, "");
}

const SECRET: [(&str, &str); 1] = [("SECRET", "sim-secret")];

/// Every line of stderr as an event of the log.
fn events(stderr: &str) -> Vec<Value> {
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(["timestamp", "level", "target"].iter().all(|name| event[name].is_string()), "{line}");
        assert!(event["fields"]["message"].is_string(), "{line}");
        assert_eq!(line.matches("\"message\":").count(), 1, "a field hides the message: {line}");
        event
    };
    stderr.lines().map(event).collect()
}

#[tokio::test]
async fn everything_on_stderr_is_json_lines_where_logs_are() {
    let place = Place::new();
    place.write("p.toml", RIGHT.replace("gateway =", "gatway  =").replace("\nurl = \"lake\"", "\nurl = 7"));
    place.write("lake", "a file");
    // A configuration has a line for each problem; others one for all.
    for (arguments, code, messages) in [
        (&["check", "p.toml"][..], 1, &["unknown key `gatway`", "`url` must be"][..]),
        (&["runs", "--lake", "nosuch"], 1, &["there is no lake at `nosuch`"]),
        (&["sql", "-c", "select 1", "--lake", "lake"], 1, &["there is no lake at `lake`"]),
        (&["run"], 2, &["the following required arguments were not provided"]),
        (&["nonsense"], 2, &["unrecognized subcommand 'nonsense'"]),
    ] {
        for log in [&[][..], &["--log", "json"], &["--log=json"]] {
            let ended = ended(spawn_as_is(place.path(), &[log, arguments].concat(), &GOOD)).await;
            assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{arguments:?}");
            let events = events(&ended.stderr);
            assert_eq!(events.len(), messages.len(), "{ended:?}");
            for (event, message) in events.iter().zip(messages) {
                assert!(event["fields"]["message"].as_str().unwrap().starts_with(message), "{event}");
                assert_eq!((&event["level"], &event["fields"]["exit_code"]), (&"ERROR".into(), &code.into()));
            }
        }
        let text = ended(spawn_as_is(place.path(), &[&["--log", "text"], arguments].concat(), &GOOD)).await;
        assert!(text.stderr.starts_with("error: "), "{text:?}");
    }
}

#[tokio::test]
async fn what_is_said_to_people_is_an_event_too_unless_they_asked_for_quiet() {
    let (sim, place) = (sim::start(Options { shop_sizes: vec![200], ..quick() }).await.unwrap(), Place::new());
    place.shops(&sim, Gateway::Portals);
    let run = ["run", "pipeline.toml", "--dt", "2026-11-20"];
    let land = ended(spawn_as_is(place.path(), &[&run[..], &["--until", "land"]].concat(), &SECRET)).await;
    assert_eq!((land.code, land.stderr.as_str()), (0, ""));
    let says = "going on with the run of 2026-11-20: ";
    let again = ended(spawn_as_is(place.path(), &[&run[..], &["--until", "land"]].concat(), &SECRET)).await;
    let events = events(&again.stderr);
    assert_eq!((events.len(), &events[0]["level"]), (1, &"INFO".into()), "{again:?}");
    assert!(events[0]["fields"]["message"].as_str().unwrap().starts_with(says), "{again:?}");
    let quiet = ended(spawn_as_is(place.path(), &[&run[..], &["-q"]].concat(), &SECRET)).await;
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""), "{quiet:?}");
}

#[tokio::test]
async fn a_command_that_was_asked_for_json_and_fails_prints_json_that_says_so() {
    let (sim, place) = (sim::start(quick()).await.unwrap(), Place::new());
    place.shops(&sim, Gateway::Portals);
    place.write("wrong.toml", RIGHT.replace("gateway =", "gatway  ="));
    let secret = |secret| [("SECRET", secret), ("GOOD", "s3cr3t-Hunter2")];
    for (arguments, kind, message) in [
        (&["run", "pipeline.toml", "--dt", "2026-11-20"][..], "denied", "gateway `portals` refuses account `main`"),
        (&["run", "wrong.toml"], "config", "1 problem in `wrong.toml`"),
        (&["run", "nosuch.toml"], "config", "1 problem in the configuration"),
        (&["plan", "wrong.toml"], "config", "1 problem in `wrong.toml`"),
        (&["doctor", "wrong.toml"], "config", "1 problem in `wrong.toml`"),
        (&["accounts", "wrong.toml"], "config", "1 problem in `wrong.toml`"),
        (&["explain", "1", "--lake", "nosuch"], "config", "there is no lake at `nosuch`"),
        (&["runs", "show", "0198", "--lake", "nosuch"], "config", "there is no lake at `nosuch`"),
        (&["runs", "abandon", "0198", "--lake", "nosuch"], "config", "a run is given up for its pipeline"),
        (&["gateways", "check", "nosuch", "--sample", "x"], "config", ""),
    ] {
        let ended = huopan_with(place.path(), &[arguments, &["--json"]].concat(), &secret("not-the-secret")).await;
        let said: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        assert_eq!((ended.code, &said["exit_code"], &said["outcome"]), (1, &1.into(), &"failed".into()), "{said}");
        assert_eq!(said["error"]["kind"], kind, "{said}");
        assert!(said["error"]["message"].as_str().unwrap().starts_with(message), "{said}");
        assert_eq!(said["publications"].is_array(), arguments[0] == "run", "{said}");
        let problems = said["error"]["problems"].as_array().unwrap();
        assert_eq!(
            problems.len(),
            usize::from(said["error"]["message"].as_str().unwrap().starts_with("1 problem")),
            "{said}"
        );
        assert!(ended.stderr.starts_with("error: "), "people are told on stderr as ever: {ended:?}");
    }
}

#[tokio::test]
async fn the_lake_may_be_named_before_or_after_what_is_asked_of_runs() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("lake")).unwrap();
    for words in [["runs", "--lake", "lake", "show", "0198"], ["runs", "show", "0198", "--lake", "lake"]] {
        let ended = huopan(folder.path(), &words).await;
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.starts_with("error: no run's id begins with `0198`"), "{ended:?}");
    }
}
