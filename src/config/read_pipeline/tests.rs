mod bad;
mod bad_parts;
mod good;

use std::path::Path;

use super::*;
use crate::base::{Error, Kind};
use crate::config::Color;
use crate::config::gateway::Answer;
use crate::config::location::Location;
use crate::config::pipeline::{Credential, DtFrom, FetchDetails, Pack, Shop};

const SECRET: &str = "s3cr3t-Hunter2-value";

fn environment(name: &str) -> Option<String> {
    match name {
        "GOOD" => Some(format!(" {SECRET}\n")),
        "SHORT" => Some("k3y5!".into()),
        "EMPTY" => Some("  \n".into()),
        "SPACED" => Some(format!("{SECRET} {SECRET}")),
        "BROKEN" => Some(format!("{SECRET}\r\n{SECRET}")),
        "UNSEEN" => Some(format!("{SECRET}\u{200b}{SECRET}")),
        "PROXY" => Some(format!("http://me:{SECRET}@127.0.0.1:1080")),
        "REDIS" => Some(format!("rediss://:{SECRET}@redis.example.com:6379/2\n")),
        "HOOK" => Some(format!("https://example.com/hook?key={SECRET}")),
        "HEADERS" => Some(format!("Authorization=Bearer%20{SECRET}+/%3D,X-Scope=ops")),
        "DING" => Some(format!("https://oapi.dingtalk.com/robot/send?access_token={SECRET}")),
        _ => None,
    }
}

/// Writes a pipeline and its neighbours into a folder and loads it.
fn load_with(text: &str, neighbours: &[(&str, &[u8])]) -> Result<Pipeline, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in neighbours {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let path = folder.path().join("p.toml");
    std::fs::write(&path, text).unwrap();
    let loaded = load_pipeline(&path, &environment);
    loaded.map_err(|problems| {
        let debug = format!("{problems:?} {}", problems.render(Color::Always));
        assert!(!debug.contains(SECRET), "a secret is in a message");
        problems.render(Color::Never).replace(&format!("{}/", folder.path().display()), "")
    })
}

fn load(text: &str) -> Result<Pipeline, String> {
    load_with(text, &[])
}

/// A small right pipeline, to be spoilt line by line.
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

#[test]
fn a_right_pipeline_becomes_values_with_their_defaults() {
    let pipeline = load(RIGHT).unwrap();
    assert_eq!(pipeline.name, "nightly");
    assert_eq!(pipeline.gateway.name, "portals");
    assert_eq!(pipeline.shops[0].url.as_deref(), Some("https://shop12345678.1688.com"));
    assert_eq!(pipeline.shops[0].id, None, "to be looked up");
    assert_eq!(pipeline.shops[1].id.as_deref(), Some("b2b-2200733087881719de"));
    assert_eq!(pipeline.on_incomplete, OnIncomplete::Publish);
    let account = &pipeline.accounts[0];
    assert_eq!(account.calls_per_day, Some(3000));
    assert_eq!(account.credentials["app_key"], Credential::Plain("12345678".into()));
    assert_eq!(account.credentials["app_secret"].expose(), SECRET, "white space at its ends is ignored");
    assert_eq!(pipeline.fetch.skus, FetchDetails::Off);
    assert_eq!(pipeline.fetch.answer, Answer::Json);
    let Location::Folder(lake) = &pipeline.lake.location else { panic!("{:?}", pipeline.lake) };
    assert!(lake.is_absolute() && lake.ends_with("lake"));
    assert_eq!(pipeline.lake.memory_bytes_max, 512 << 20);
    assert!(pipeline.files.is_none() && pipeline.items.is_empty());
}

#[test]
fn a_secret_that_is_too_short_to_be_looked_for_is_worth_a_word() {
    assert_eq!(load(RIGHT).unwrap().cautions(), [""; 0]);
    let cautions = load(&RIGHT.replace("env:GOOD", "env:SHORT")).unwrap().cautions();
    let [caution] = &cautions[..] else { panic!("{cautions:?}") };
    assert!(caution.starts_with("the secret `app_secret` of account `main` is so short"), "{caution}");
    assert!(!caution.contains("k3y5!"));
}

#[test]
fn an_address_that_shows_the_shop_id_fills_it_in() {
    let url = "https://winport.m.1688.com/page/index.html?memberId=b2b-1&spm=a";
    let pipeline = load(&RIGHT.replace("https://shop12345678.1688.com", url)).unwrap();
    assert_eq!(pipeline.shops[0].id.as_deref(), Some("b2b-1"));
    let pipeline = load(&RIGHT.replace("https://shop12345678.1688.com", "https://m.1688.com/shop/b2b-2.html")).unwrap();
    assert_eq!(pipeline.shops[0].id.as_deref(), Some("b2b-2"));
}

#[test]
fn a_pipeline_may_name_another_address_and_a_definition_file() {
    let text = RIGHT.replace("\"portals\"", "\"./mine.toml\"\nurl = \"http://127.0.0.1:1688/portals/api\"");
    let mine: &[u8] = b"extends = 'portals'\nname = 'mine'\n[endpoints.time]\npath = 'time'\n";
    let pipeline = load_with(&text, &[("mine.toml", mine)]).unwrap();
    assert_eq!(pipeline.gateway.name, "mine");
    assert_eq!(pipeline.gateway.url, "http://127.0.0.1:1688/portals/api/", "paths are appended to it");
}

#[test]
fn the_hash_follows_meaning_and_not_layout_or_secrets() {
    let hash = |text: &str| load(text).unwrap().config_hash;
    assert_eq!(hash(RIGHT), hash(&RIGHT.replace("name    = \"nightly\"", "# tonight\nname = 'nightly'")));
    assert_ne!(hash(RIGHT), hash(&RIGHT.replace("b2b-22", "b2b-23")));
    assert_eq!(hash(RIGHT).len(), 16);
    let file =
        |secret: &[u8]| load_with(&RIGHT.replace("env:GOOD", "file:key"), &[("key", secret)]).unwrap().config_hash;
    assert_eq!(file(b"one"), file(b"two"));
}

const SHOPS: &str = "shop_id,url,name,paused\n\
b2b-1,https://shop1.1688.com,义乌小商品,\n\
,https://m.1688.com/shop/b2b-2.html,鞋厂,否\n\
b2b-3,,停用的店,是\n";

#[test]
fn a_shops_file_is_read_as_utf_8_and_as_gbk() {
    let text = RIGHT.replace(
        "shops   = [\"https://shop12345678.1688.com\", \"b2b-2200733087881719de\"]",
        "shops_file = \"shops.csv\"",
    );
    let shop =
        |id: &str, url: &str, name: &str| Shop { id: Some(id.into()), url: Some(url.into()), name: Some(name.into()) };
    let expected = [
        shop("b2b-1", "https://shop1.1688.com", "义乌小商品"),
        shop("b2b-2", "https://m.1688.com/shop/b2b-2.html", "鞋厂"),
    ];
    let gbk = encoding_rs::GBK.encode(SHOPS).0.into_owned();
    let windows = [b"\xef\xbb\xbf", SHOPS.replace('\n', "\r\n").as_bytes()].concat();
    for bytes in [SHOPS.as_bytes(), &gbk, &windows] {
        assert_eq!(load_with(&text, &[("shops.csv", bytes)]).unwrap().shops, expected);
    }
}

#[test]
fn items_are_ids_or_addresses_in_the_file_or_beside_it() {
    let text = r#"
name = "items"
gateway = "product-get"
items = ["582896733162", "https://detail.1688.com/offer/859086919394.html?x=1", "582896733162"]
items_file = "items.txt"
fetch.answer = "xml"
[[accounts]]
name = "main"
credentials = { app_key = "1", app_secret = "env:GOOD" }
"#;
    let file: &[u8] = b"offer_id\r\n# shoes\r\n789972898410\r\n\r\n582896733162\r\n";
    let pipeline = load_with(text, &[("items.txt", file)]).unwrap();
    assert_eq!(pipeline.items, [582_896_733_162, 859_086_919_394, 789_972_898_410]);
    assert_eq!(pipeline.fetch.answer, Answer::Xml);
    assert_eq!(pipeline.accounts[0].calls_per_day, None, "no limit is known");
}

#[test]
fn captured_files_need_neither_accounts_nor_shops() {
    let text = r#"
name = "old"
gateway = "page-state"
[files]
paths = ["*.json", "more"]
answer = "/body"
fetched_at = "/at"
dt_from = "fetched_at"
"#;
    let pipeline = load_with(text, &[("more", b"{}")]).unwrap();
    let files = pipeline.files.unwrap();
    assert!(files.paths.iter().all(|path| Path::new(path).is_absolute()));
    assert_eq!((files.endpoint.as_str(), files.dt_from), ("item", DtFrom::FetchedAt));
    assert_eq!(files.answer.unwrap().to_string(), "/body");
}

#[test]
fn packs_are_read_the_most_specific_first() {
    let text = format!("{RIGHT}[units]\npacks_file = \"packs.csv\"\npieces = {{ 件 = \"pack\", 双 = 1 }}\n");
    let packs: &[u8] = "shop_id,offer_id,unit,pieces\nb2b-1,,箱,24\nb2b-1,582896733162,箱,12\n".as_bytes();
    let units = load_with(&text, &[("packs.csv", packs)]);
    // A bare key of TOML is ASCII.
    assert!(units.unwrap_err().contains("this is not TOML"));
    let text = text.replace("件 =", "\"件\" =").replace("双 =", "\"双\" =");
    let units = load_with(&text, &[("packs.csv", packs)]).unwrap().units;
    let pack = |offer_id, pieces| Pack { shop_id: "b2b-1".into(), offer_id, unit: "箱".into(), pieces };
    assert_eq!(units.packs, [pack(Some(582_896_733_162), 12), pack(None, 24)]);
    assert_eq!(units.pieces["件"], None);
    assert_eq!(units.pieces["双"], Some(1));
}

#[test]
fn a_missing_pipeline_is_an_error_of_kind_config() {
    let problems = load_pipeline(Path::new("no/such.toml"), &environment).unwrap_err();
    let text = problems.render(Color::Never);
    assert!(text.starts_with("error: cannot read the pipeline `no/such.toml`: No such file"), "{text}");
    assert_eq!(Error::from(problems).kind(), Kind::Config);
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = RIGHT.replace("portals", "portal").replace("nightly", "Nightly").replace("[lake]", "[lke]");
    let problems = load(&text).unwrap_err();
    assert_eq!(problems.matches("error: ").count(), 3, "{problems}");
}

#[test]
fn every_shipped_pipeline_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let env = |name: &str| matches!(name, "HUOPAN_APP_SECRET" | "HUOPAN_ACCESS_TOKEN").then(|| SECRET.to_owned());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let pipeline = load_pipeline(&path, &env).unwrap_or_else(|problems| panic!("{problems}"));
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert_eq!(pipeline.name, stem, "the partition is called as the file");
        assert!(pipeline.files.is_some() || pipeline.gateway.url.starts_with("http://127.0.0.1:1688/"));
        assert!(pipeline.lake.location.to_string().ends_with("data/lake"));
        names.push(stem);
    }
    names.sort();
    assert_eq!(names, ["aop", "files", "item-get", "portals", "product-get", "shop-search"]);
}

#[test]
fn the_reference_of_the_format_is_right_where_it_is_commented_too() {
    let folder = tempfile::tempdir().unwrap();
    let shipped =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/portals.toml")).unwrap();
    std::fs::write(folder.path().join("portals.toml"), read_gateway::tests::uncommented(&shipped)).unwrap();
    std::fs::write(folder.path().join("shops.csv"), SHOPS).unwrap();
    std::fs::write(folder.path().join("packs.csv"), "shop_id,unit,pieces\nb2b-1,箱,24\n").unwrap();
    let env = |name: &str| match name {
        "HUOPAN_APP_SECRET" => Some(SECRET.to_owned()),
        name => environment(name.trim_start_matches("ALERT_").replace("URL", "HOOK").replace("SIGN", "GOOD").as_str()),
    };
    let pipeline =
        load_pipeline(&folder.path().join("portals.toml"), &env).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((pipeline.on_quota, pipeline.account_choice), (OnQuota::Continue, AccountChoice::Rotate));
    assert_eq!(pipeline.details.unwrap().accounts.len(), 1);
    assert_eq!((pipeline.fetch.details, pipeline.fetch.options.len()), (FetchDetails::Missing, 1));
    assert!(pipeline.accounts[0].proxy.is_some() && pipeline.alerts.len() == 1);
    assert!(pipeline.watches.len() == 1 && pipeline.metrics.textfile.is_some());

    // Who calls and tells nobody needs none of its secrets; whoever calls needs them all.
    let path = folder.path().join("portals.toml");
    let bare = load_without_secrets(&path, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((bare.watches, bare.lake.location), (pipeline.watches, pipeline.lake.location));
    assert!(load_pipeline(&path, &|_| None).is_err());
    assert_eq!(watches_of(&path), load_without_secrets(&path, &|_| None).unwrap().watches);
}

#[test]
fn a_listing_of_the_own_shop_takes_one_shop() {
    let text = RIGHT.replace("\"portals\"", "\"aop\"").replace("licence     = \"paid\"\n", "");
    let text = text.replace("https://shop12345678.1688.com", "b2b-1");
    let problems = load(&text).unwrap_err();
    assert!(
        problems.starts_with("error: gateway `aop` lists the account's own shop only\n --> p.toml:3:11"),
        "{problems}"
    );
}

#[test]
fn programs_get_file_line_and_column_in_characters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    std::fs::write(&path, RIGHT.replace(r#""b2b-2200733087881719de""#, r#""鞋厂", "b 2""#)).unwrap();
    let problems = load_pipeline(&path, &environment).unwrap_err();
    let places: Vec<_> = problems.problems().iter().filter_map(|problem| problems.location(problem)).collect();
    assert_eq!(
        places.iter().map(|place| (place.line, place.column)).collect::<Vec<_>>(),
        [(Some(3), Some(45)), (Some(3), Some(51)),]
    );
    assert_eq!(places[0].file, path.display().to_string());
}
