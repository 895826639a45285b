//! Spoilt parts of a pipeline, each with what is said of it: accounts, fetch, state, alerts.

use super::good::TWO;
use super::*;

/// A definition whose answers never say how many offers a shop has.
const MINE: &[u8] = b"name = 'mine'
title = 't'
seen = 'nowhere'
url = 'https://example.com/'
credentials = { app_key = 'plain', app_secret = 'secret' }
[limits]
calls_per_day = { paid = 1 }
[shop]
id_in_url = '/([^/]+)$'
[endpoints.listing]
params = { shop = '{shop_id}' }
list = '/items'
window = { start = 'start', field = 'modified_at' }
[offer]
offer_id = '/id'
";

/// A definition whose window is on the time of creation.
const OTHER: &[u8] = b"extends = 'portals'\nname = 'other'\nendpoints.listing.window.field = 'created_at'\n";

/// A case: its name, a right pipeline, what of it is replaced (each once), and what is said of the result.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

fn check(cases: &[Case]) {
    for (name, base, changes, expected) in cases {
        let spoil = |text: String, (right, wrong): &(&str, &str)| {
            assert!(text.contains(right), "{name}: {right}");
            text.replacen(right, wrong, 1)
        };
        let text = changes.iter().fold((*base).to_owned(), spoil);
        let text = load_with(&text, &[("mine.toml", MINE), ("other.toml", OTHER)]).unwrap_err();
        assert_eq!(text.split("\n\n").map(brief).collect::<Vec<_>>(), *expected, "{name}:\n{text}");
    }
}

/// `LINE:COLUMN MARKED · message · label · help` of a problem as it is shown, without what it does not have.
fn brief(shown: &str) -> String {
    let lines: Vec<&str> = shown.lines().collect();
    let [message, place, _, source, marks, rest @ ..] = &lines[..] else { panic!("{shown}") };
    let place = place.trim().strip_prefix("--> p.toml:").unwrap();
    let (at, mut columns) = (marks.find('^').unwrap(), marks.matches('^').count());
    let is_marked = |letter: &char| {
        let is_marked = columns > 0;
        // A Chinese letter is two columns wide.
        columns = columns.saturating_sub(if letter.is_ascii() { 1 } else { 2 });
        is_marked
    };
    let marked: String = source.chars().skip(at).take_while(is_marked).collect();
    let label = marks.rsplit('^').next().unwrap_or_default().trim();
    let help = rest.iter().find_map(|line| line.split_once("= help: ")).map_or("", |(_, help)| help);
    let place = format!("{place} {marked}");
    let parts = [place.trim(), message.strip_prefix("error: ").unwrap(), label, help];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

#[test]
fn what_is_wrong_with_accounts_and_their_secrets_is_said() {
    check(&[
        (
            "words that are no choice",
            RIGHT,
            &[("shops   =", "on_quota = \"wait\"\naccount_choice = \"random\"\nshops   =")],
            &[
                r#"3:12 "wait" · `wait` is no `on_quota` · one of `refuse`, `continue`"#,
                r#"4:18 "random" · `random` is no `account_choice` · one of `drain`, `rotate`"#,
            ],
        ),
        (
            "more calls a second than the licence allows",
            TWO,
            &[(r#""personal""#, "\"personal\"\ncalls_per_second = 10.5")],
            &[
                "15:20 10.5 · `calls_per_second` is 10.5; the licence `personal` allows 10 · at most 10, or another licence",
            ],
        ),
        (
            "a proxy in the file",
            RIGHT,
            &[(r#""paid""#, "\"paid\"\nproxy = \"http://me:s3cr3t-Hunter2-value@127.0.0.1:8080\"")],
            &[
                r#"9:9 "*********************************************" · the secret `proxy` is written into the file · name where it is: `proxy = "env:PROXY"` or `"file:PATH"`; change the secret if others have seen this file"#,
            ],
        ),
        (
            "a proxy that is no address",
            RIGHT,
            &[(r#""paid""#, "\"paid\"\nproxy = \"env:GOOD\"")],
            &[
                r#"9:9 "env:GOOD" · what `env:GOOD` names is no address for `proxy` · it begins with one of `http://`, `https://`, `socks5://`, `socks5h://`"#,
            ],
        ),
        (
            "a proxy of another kind",
            RIGHT,
            &[(r#""paid""#, "\"paid\"\nproxy = \"env:REDIS\"")],
            &[
                r#"9:9 "env:REDIS" · what `env:REDIS` names is no address for `proxy` · it begins with one of `http://`, `https://`, `socks5://`, `socks5h://`"#,
            ],
        ),
        (
            "two accounts with one key",
            RIGHT,
            &[(
                "[lake]",
                "[[accounts]]\nname = \"second\"\ncredentials = { app_key = \"12345678\", app_secret = \"env:GOOD\" }\nlicence = \"paid\"\n[lake]",
            )],
            &[
                "12:1 credentials · the accounts `main` and `second` have one key · they share one quota and gain nothing: remove one, or give it its own app",
            ],
        ),
        (
            "white space in a secret",
            RIGHT,
            &[("env:GOOD", "env:SPACED")],
            &[
                r#"7:52 "env:SPACED" · the environment variable `SPACED` holds white space or an invisible character · copy the value again, without what stands around it; white space at its ends is ignored"#,
            ],
        ),
        (
            "a line break in a secret",
            RIGHT,
            &[("env:GOOD", "env:BROKEN")],
            &[
                r#"7:52 "env:BROKEN" · the environment variable `BROKEN` holds a line break · copy the value again, without what stands around it; white space at its ends is ignored"#,
            ],
        ),
        (
            "an invisible character in a secret",
            RIGHT,
            &[("env:GOOD", "env:UNSEEN")],
            &[
                r#"7:52 "env:UNSEEN" · the environment variable `UNSEEN` holds white space or an invisible character · copy the value again, without what stands around it; white space at its ends is ignored"#,
            ],
        ),
        (
            "white space in a key",
            RIGHT,
            &[(r#""12345678""#, r#""1234 5678""#)],
            &[
                r#"7:27 "1234 5678" · `app_key` holds white space or an invisible character · copy the value again, without what stands around it; white space at its ends is ignored"#,
            ],
        ),
        (
            "an account for a gateway nobody asks",
            RIGHT,
            &[(r#""main""#, "\"main\"\ngateway = \"item-get\"")],
            &[
                r#"7:11 "item-get" · this pipeline asks no gateway `item-get` · add `details_gateway = "item-get"` to `[fetch]`, or remove the line"#,
            ],
        ),
        (
            "an account whose gateway is misspelt",
            TWO,
            &[(r#"gateway     = "item-get""#, r#"gateway     = "item-gte""#)],
            &[r#"12:15 "item-gte" · this pipeline asks no gateway `item-gte` · did you mean `item-get`?"#],
        ),
        (
            "no account for the details",
            TWO,
            &[
                (
                    "gateway     = \"item-get\"\ncredentials = { app_key = \"12345678\"",
                    r#"credentials = { app_key = "2""#,
                ),
                (r#""personal""#, r#""test""#),
            ],
            &[
                r#"18:19 "item-get" · no account asks gateway `item-get` · add `[[accounts]]` with `gateway = "item-get"` and its credentials"#,
            ],
        ),
        (
            "no account for the listing",
            TWO,
            &[
                ("name        = \"main\"\n", "name        = \"main\"\ngateway = \"item-get\"\n"),
                (r#""paid""#, r#""company""#),
                (r#""12345678""#, r#""2""#),
            ],
            &[
                r#"2:11 "portals" · no account asks gateway `portals` · add an `[[accounts]]` block without the line `gateway`"#,
            ],
        ),
        (
            "a licence of the other gateway",
            TWO,
            &[(r#""personal""#, r#""paid""#)],
            &[
                r#"14:15 "paid" · there is no licence `paid` · the licences of `item-get`: `company` (5000 calls a day), `personal` (100 calls a day)"#,
            ],
        ),
    ]);
}

#[test]
fn what_the_gateways_cannot_fetch_is_said() {
    check(&[
        (
            "a listing that cannot tell what changed",
            RIGHT,
            &[
                (r#"gateway = "portals""#, "gateway = \"shop-search\"\nurl = \"http://127.0.0.1/\""),
                ("licence     = \"paid\"\n", ""),
                (r#""https://shop12345678.1688.com", "#, ""),
                ("[lake]", "[fetch]\nlisting = \"changed\"\n[lake]"),
            ],
            &[
                r#"11:11 "changed" · gateway `shop-search` cannot list what changed · `all`; `changed` needs a `window` with `field = "modified_at"` in the gateway's endpoint `listing`"#,
            ],
        ),
        (
            "a window that speaks of another time",
            RIGHT,
            &[(r#""portals""#, r#""./other.toml""#), ("[lake]", "[fetch]\nlisting = \"changed\"\n[lake]")],
            &[
                r#"11:11 "changed" · gateway `other` cannot list what changed · `all`; `changed` needs a `window` with `field = "modified_at"` in the gateway's endpoint `listing`"#,
            ],
        ),
        (
            "a listing without a count",
            RIGHT,
            &[(r#""portals""#, r#""./mine.toml""#), ("[lake]", "[fetch]\nlisting = \"changed\"\n[lake]")],
            &[
                r#"11:11 "changed" · gateway `mine` does not tell how many offers a shop has · `all`; `changed` needs an endpoint `count`, or `total` in endpoint `listing`, to prove that nothing is lost"#,
            ],
        ),
        (
            "full days out of range",
            RIGHT,
            &[("[lake]", "[fetch]\nfull_days = 0\n[lake]")],
            &["11:13 0 · `full_days` is `0`, outside of 1 to 365"],
        ),
        (
            "skus that the gateway cannot look up",
            RIGHT,
            &[
                (r#"gateway = "portals""#, r#"gateway = "tmapi""#),
                (r#""https://shop12345678.1688.com", "#, ""),
                (r#"app_key = "12345678", app_secret"#, "api_token"),
                ("licence     = \"paid\"\n", ""),
                ("[lake]", "[fetch]\nskus = \"missing\"\n[lake]"),
            ],
            &[
                r#"10:8 "missing" · gateway `tmapi` cannot look up SKUs · `off`: what its answers hold about SKUs is loaded anyway"#,
            ],
        ),
        (
            "details that the gateway cannot look up",
            RIGHT,
            &[("[lake]", "[fetch]\ndetails = \"changed\"\n[lake]")],
            &[
                r#"11:11 "changed" · gateway `portals` cannot look up single offers · `off`, or name one that can: `details_gateway = "item-get"`"#,
            ],
        ),
        (
            "details of an unknown kind",
            RIGHT,
            &[("[lake]", "[fetch]\ndetails = \"new\"\n[lake]")],
            &[r#"11:11 "new" · `new` is no `details` · one of `off`, `missing`, `changed`, `all`"#],
        ),
        (
            "a details gateway that is misspelt",
            TWO,
            &[(r#"details_gateway = "item-get""#, r#"details_gateway = "item-gte""#)],
            &[
                r#"19:19 "item-gte" · there is no gateway `item-gte` · did you mean `item-get`? A definition file is named by its path: `./item-gte.toml`"#,
            ],
        ),
        (
            "a details gateway that is the pipelines own",
            RIGHT,
            &[
                (r#"gateway = "portals""#, r#"gateway = "tmapi""#),
                (r#""https://shop12345678.1688.com", "#, ""),
                (r#"app_key = "12345678", app_secret"#, "api_token"),
                ("licence     = \"paid\"\n", ""),
                ("[lake]", "[fetch]\ndetails_gateway = \"tmapi\"\n[lake]"),
            ],
            &[
                r#"10:19 "tmapi" · `tmapi` is the pipeline's gateway already · remove the line: its endpoint `item` is asked anyway"#,
            ],
        ),
        (
            "a details gateway without single offers",
            TWO,
            &[
                (r#"details_gateway = "item-get""#, r#"details_gateway = "shop-search""#),
                (r#"gateway     = "item-get""#, r#"gateway     = "shop-search""#),
                ("licence     = \"personal\"\n", ""),
                ("[fetch.options]\nlang = \"en\"\n", ""),
            ],
            &[
                r#"18:19 "shop-search" · gateway `shop-search` cannot look up single offers · name one that has an endpoint `item`: `item-get`"#,
            ],
        ),
        (
            "a details gateway that asks nobody",
            RIGHT,
            &[("[lake]", "[fetch]\ndetails_gateway = \"page-state\"\n[lake]")],
            &[
                r#"11:19 "page-state" · gateway `page-state` reads files and asks nobody · name one that has an endpoint `item`: `item-get`"#,
            ],
        ),
        (
            "a details gateway without an address",
            TWO,
            &[("details_url     = \"https://details.example.com/api\"\n", "")],
            &[
                r#"19:19 "item-get" · gateway `item-get` has no address of its own · add the one you were given: `details_url = "https://…"`"#,
            ],
        ),
        (
            "an address of no details gateway",
            RIGHT,
            &[("[lake]", "[fetch]\ndetails_url = \"https://example.com/\"\n[lake]")],
            &[
                "11:1 details_url · `details_url` is the address of no gateway · add `details_gateway`, or remove the line: `url` is the pipeline's gateway's",
            ],
        ),
        (
            "a flag that is a word",
            RIGHT,
            &[("[lake]", "[fetch]\ncache = \"no\"\n[lake]")],
            &[r#"11:9 "no" · `cache` must be `true` or `false`, not a string"#],
        ),
        (
            "an option the gateways do not have",
            TWO,
            &[(r#"lang = "en""#, r#"language = "en""#)],
            &["23:1 language · gateway `portals` or `item-get` has no option `language` · did you mean `lang`?"],
        ),
        (
            "an option where there are none",
            RIGHT,
            &[("[lake]", "[fetch]\noptions = { lang = \"en\" }\n[lake]")],
            &["11:13 lang · gateway `portals` has no option `lang` · remove the line"],
        ),
        (
            "options with wrong values",
            RIGHT,
            &[
                (r#"gateway = "portals""#, "gateway = \"shop-search\"\nurl = \"http://127.0.0.1/\""),
                ("licence     = \"paid\"\n", ""),
                (r#""https://shop12345678.1688.com", "#, ""),
                ("[lake]", "[fetch]\n[fetch.options]\nsort = \"newest\"\nstart_price = 10\nq = \" \"\n[lake]"),
            ],
            &[
                r#"12:8 "newest" · `newest` is no `sort` · one of `price`, `_price`, `sale`"#,
                "13:15 10 · `start_price` must be a string, not an integer · put it in quotes",
                r#"14:5 " " · the option `q` is empty · remove the line: the definition's default holds, or the parameter is not sent"#,
            ],
        ),
    ]);
}

#[test]
fn what_is_no_state_store_is_said() {
    check(&[
        (
            "a password in the state",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[state]\nurl = \"redis://:s3cr3t-Hunter2-value@redis.example.com\"\n",
            )],
            &[
                r#"14:7 "***********************************************" · the address of the state store holds a user or a password · name where it is: `url = "env:REDIS_URL"` or `"file:PATH"`; change the password if others have seen this file"#,
            ],
        ),
        (
            "a password in a state that is no address",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[state]\nurl = \"redis://:s3cr3t#Hunter2-value@redis.example.com\"\n",
            )],
            &[
                r#"14:7 "***********************************************" · the address of the state store holds a user or a password · name where it is: `url = "env:REDIS_URL"` or `"file:PATH"`; change the password if others have seen this file"#,
            ],
        ),
        (
            "a state store of another kind",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[state]\nurl = \"postgres://me:s3cr3t-Hunter2-value@db.example.com/huopan\"\n",
            )],
            &[
                r#"14:7 "********************************************************" · `postgres://` is no state store · a file, relative to this one: `url = "../data/state.sqlite"`; or a Redis: `url = "env:REDIS_URL"`"#,
            ],
        ),
        (
            "a state reference to no redis",
            RIGHT,
            &[("url = \"lake\"\n", "url = \"lake\"\n\n[state]\nurl = \"env:HOOK\"\n")],
            &[
                r#"14:7 "env:HOOK" · what `env:HOOK` names is no address for `url` · it begins with one of `redis://`, `rediss://`"#,
            ],
        ),
        (
            "a redis without a host",
            RIGHT,
            &[("url = \"lake\"\n", "url = \"lake\"\n\n[state]\nurl = \"redis:///1\"\n")],
            &[
                r#"14:7 "redis:///1" · `redis:///1` is no address · `redis://HOST:PORT/DATABASE`, or `rediss://` with TLS"#,
            ],
        ),
        (
            "an empty state",
            RIGHT,
            &[("url = \"lake\"\n", "url = \"lake\"\n\n[state]\nurl = \"\"\n")],
            &[
                r#"14:7 "" · `url` is empty · a file, relative to this one: `url = "../data/state.sqlite"`; or a Redis: `url = "env:REDIS_URL"`"#,
            ],
        ),
    ]);
}

#[test]
fn what_is_wrong_with_alerts_is_said() {
    check(&[
        (
            "an alert without anything",
            RIGHT,
            &[("url = \"lake\"\n", "url = \"lake\"\n\n[[alerts]]\n")],
            &[
                r#"13:1 [[alerts]] · `name` is missing · what logs call it: `name = "ops"`"#,
                r#"13:1 [[alerts]] · `kind` is missing · `kind = "webhook"` (a JSON document), or a robot: `dingtalk`, `wecom`, `feishu`"#,
                r#"13:1 [[alerts]] · `url` is missing · where it is sent: `url = "env:ALERT_URL"`"#,
            ],
        ),
        (
            "two alerts of one name",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[[alerts]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"env:HOOK\"\n[[alerts]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"env:HOOK\"\n",
            )],
            &[
                r#"18:8 "ops" · two alerts are called `ops` · give each its own name: logs show it instead of the address"#,
            ],
        ),
        (
            "a chat robot whose secret is in the file",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[[alerts]]\nname = \"ops\"\nkind = \"dingtalk\"\nurl = \"env:HOOK\"\nsign = \"s3cr3t-Hunter2-value\"\n",
            )],
            &[
                r#"17:8 "********************" · the secret `sign` is written into the file · name where it is: `sign = "env:SIGN"` or `"file:PATH"`; change the secret if others have seen this file"#,
            ],
        ),
        (
            "a signature that nobody asks for",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[[alerts]]\nname = \"ops\"\nkind = \"wecom\"\nurl = \"env:HOOK\"\nsign = \"env:GOOD\"\n",
            )],
            &[
                "17:1 sign · only `dingtalk` and `feishu` robots are signed for · remove it: the key in a WeCom robot's address is all it asks for",
            ],
        ),
        (
            "another robot's address",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[[alerts]]\nname = \"ops\"\nkind = \"feishu\"\nurl = \"env:DING\"\n",
            )],
            &[
                r#"15:8 "feishu" · `kind` is `feishu`, but `url` is an address of `dingtalk` · `kind = "dingtalk"`, or the other robot's address"#,
            ],
        ),
        (
            "an alert whose address is in the file",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[[alerts]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"https://example.com/s3cr3t-Hunter2-value\"\n",
            )],
            &[
                r#"16:7 "****************************************" · the secret `url` is written into the file · name where it is: `url = "env:URL"` or `"file:PATH"`; change the secret if others have seen this file"#,
            ],
        ),
        (
            "an alert that is told what there is not",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[[alerts]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"env:HOOK\"\non = [\"failure\", \"quota\"]\n[[alerts]]\nname = \"none\"\nkind = \"email\"\nurl = \"env:REDIS\"\non = []\n",
            )],
            &[
                r#"17:7 "failure" · `failure` is no `on` · one of `failed`, `incomplete`, `quota`, `denied`, `held`, `published`"#,
                r#"20:8 "email" · `email` is no `kind` · one of `webhook`, `dingtalk`, `wecom`, `feishu`"#,
                r#"21:7 "env:REDIS" · what `env:REDIS` names is no address for `url` · it begins with one of `http://`, `https://`"#,
                "22:6 [] · this alert is told nothing · remove the line: all but `published`; or name it in a watch; or remove the alert",
            ],
        ),
    ]);
}

#[test]
fn what_is_wrong_with_watches_is_said() {
    check(&[
        (
            "a watch without anything",
            RIGHT,
            &[("url = \"lake\"\n", "url = \"lake\"\n\n[[watches]]\n")],
            &[
                r#"13:1 [[watches]] · `name` is missing · what heads its message: `name = "price cuts of 5 %"`"#,
                r#"13:1 [[watches]] · `sql` is missing · `sql = "select * from price_changes where change_pct <= -5"`"#,
                r#"13:1 [[watches]] · `alert` is missing · the alert that hears of it: `alert = "ops"`"#,
            ],
        ),
        (
            "a watch whose alert is misspelt, or is not there",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[[alerts]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"env:HOOK\"\n[[watches]]\nname = \"a\"\nsql = \"select 1\"\nalert = [\"opps\", \"price-desk\"]\n",
            )],
            &[
                r#"20:10 "opps" · no alert is called `opps` · did you mean `ops`?"#,
                r#"20:18 "price-desk" · no alert is called `price-desk` · known here: `ops`"#,
            ],
        ),
        (
            "a watch without any alert",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[[watches]]\nname = \"a\"\nsql = \"select 1\"\nalert = \"ops\"\n",
            )],
            &[r#"16:9 "ops" · no alert is called `ops` · add one: `[[alerts]]` with `name = "ops"`, `kind` and `url`"#],
        ),
        (
            "watches that are no good",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[[alerts]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"env:HOOK\"\n[[watches]]\nname = \"a\"\nsql = \" \"\nalert = []\nrows = 0\n[[watches]]\nname = \"a\"\nsql = \"select 1\"\nalert = \"ops\"\n[[watches]]\nname = \"\"\nsql = \"select 1\"\nalerts = \"ops\"\n",
            )],
            &[
                r#"19:7 " " · `sql` is empty · one query; each of its rows is worth a message: `select … from …`"#,
                "20:9 [] · nobody hears of this watch · name an alert, or remove the watch",
                "21:8 0 · `rows` is `0`, outside of 1 to 100",
                r#"23:8 "a" · two watches are called `a` · give each its own name: messages tell them apart by it"#,
                r#"27:8 "" · this is no `name` for a watch · 1 to 60 letters in one line: it heads a message"#,
                "29:1 alerts · unknown key `alerts` · did you mean `alert`?",
            ],
        ),
    ]);
}

#[test]
fn what_is_wrong_with_metrics_is_said() {
    check(&[
        (
            "metrics that go nowhere",
            RIGHT,
            &[("url = \"lake\"\n", "url = \"lake\"\n\n[metrics]\n")],
            &[
                r#"13:1 [metrics] · `textfile` is missing · a file for the node exporter: `textfile = "../metrics/nightly.prom"`"#,
            ],
        ),
        (
            "a file that the node exporter does not read",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[metrics]\ntextfile = \"nightly.txt\"\notlp_headers = \"env:HEADERS\"\n",
            )],
            &[
                r#"14:12 "nightly.txt" · `nightly.txt` is no name for a `textfile` · the node exporter reads files that end with `.prom`, one for each pipeline"#,
                r#"15:1 otlp_headers · `otlp_headers` without `otlp` · name the collector: `otlp = "http://127.0.0.1:4318"`; or remove the line"#,
            ],
        ),
        (
            "a collector's secrets in the file",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[metrics]\notlp = \"https://me:s3cr3t-Hunter2-value@example.com\"\notlp_headers = \"Authorization=s3cr3t-Hunter2-value\"\n",
            )],
            &[
                r#"14:8 "*******************************************" · an address with a user, a password or a query is a secret · name where it is: `otlp = "env:OTLP_URL"`, or send `otlp_headers`"#,
                r#"15:16 "**********************************" · the secret `otlp_headers` is written into the file · name where it is: `otlp_headers = "env:OTLP_HEADERS"` or `"file:PATH"`; change the secret if others have seen this file"#,
            ],
        ),
        (
            "a collector that is none",
            RIGHT,
            &[(
                "url = \"lake\"\n",
                "url = \"lake\"\n\n[metrics]\notlp = \"s3cr3t-Hunter2-value\"\notlp_headers = \"env:GOOD\"\n",
            )],
            &[
                r#"14:8 "********************" · this is no address for `otlp` · OTLP over HTTP: `otlp = "http://127.0.0.1:4318"`, or `"env:NAME"`"#,
                "15:16 \"env:GOOD\" · what `env:GOOD` names is no list of headers · `Authorization=Bearer%20TOKEN,x-scope=ops`: values are percent-encoded",
            ],
        ),
    ]);
}

#[test]
fn a_broken_part_hides_nothing_else_and_shows_no_secret() {
    check(&[
        (
            "a misspelt gateway hides nothing that depends on it",
            RIGHT,
            &[
                (r#""portals""#, r#""portal""#),
                ("app_secret = \"env:GOOD\"", "app_secrt = \"s3cr3t-Hunter2-value\""),
                (r#"licence     = "paid""#, r#"licence     = "gold""#),
                ("b2b-2200733087881719de", "义乌小商品"),
            ],
            &[
                r#"2:11 "portal" · there is no gateway `portal` · did you mean `portals`? A definition file is named by its path: `./portal.toml`"#,
                r#"3:45 "义乌小商品" · `义乌小商品` is a shop's name, not its member id · open the shop in a browser and copy its address, or the `memberId` in it: `b2b-2200733087881719de`"#,
                "7:39 app_secrt · gateway `portals` has no credential `app_secrt` · did you mean `app_secret`?",
                r#"8:15 "gold" · there is no licence `gold` · the licences of `portals`: `paid` (3000 calls a day), `test` (30 calls a day)"#,
            ],
        ),
        (
            "a gateway that is none hides nothing that does not depend on it",
            RIGHT,
            &[
                (r#""portals""#, r#""everything""#),
                ("env:GOOD", "env:NO_SUCH"),
                (r#""paid""#, "\"paid\"\ncalls_per_day = 0\nproxy = \"env:EMPTY\""),
                ("[lake]", "[fetch]\nfull_days = 400\n[fetch.options]\nlang = \"en\"\n[lake]"),
            ],
            &[
                r#"2:11 "everything" · there is no gateway `everything` · known here: `portals`, `item-get`, `product-get`, `shop-search`, `aop`, `onebound`, `tmapi`, `page-state`. A definition file is named by its path: `./everything.toml`"#,
                r#"7:52 "env:NO_SUCH" · the environment variable `NO_SUCH` is not set · export NO_SUCH=…"#,
                "9:17 0 · `calls_per_day` is `0`, outside of 1 to 1000000000",
                r#"10:9 "env:EMPTY" · the environment variable `EMPTY` is empty · export EMPTY=…"#,
                "13:13 400 · `full_days` is `400`, outside of 1 to 365",
            ],
        ),
        (
            "authorities for a state without tls",
            RIGHT,
            &[("url = \"lake\"\n", "url = \"lake\"\n\n[state]\nurl = \"redis://127.0.0.1\"\nca = \"ca.pem\"\n")],
            &[
                r#"15:6 "ca.pem" · `ca` is of no use here: no certificate is asked for · remove the line, or ask a Redis with TLS: an address with `rediss://`"#,
            ],
        ),
        (
            "authorities that are not there",
            RIGHT,
            &[("url = \"lake\"\n", "url = \"lake\"\n\n[state]\nurl = \"env:REDIS\"\nca = \"ca.pem\"\n")],
            &[
                r#"15:6 "ca.pem" · cannot read `ca.pem`: No such file or directory (os error 2) · the path is relative to this file"#,
            ],
        ),
        (
            "authorities that are none",
            RIGHT,
            &[("url = \"lake\"\n", "url = \"lake\"\n\n[state]\nurl = \"env:REDIS\"\nca = \"p.toml\"\n")],
            &[
                r#"15:6 "p.toml" · `p.toml` holds no certificate · a PEM file: `-----BEGIN CERTIFICATE-----` and what follows"#,
            ],
        ),
        (
            "a password of the state in a file that is no toml",
            RIGHT,
            &[("url = \"lake\"\n", "url = \"lake\"\n\n[state]\nurl = redis://:s3cr3t-Hunter2-value@r\n")],
            &[
                r#"14:7 redis://*********************@r · this is not TOML · this is no value · strings are written in quotes: `key = "value"`"#,
            ],
        ),
        (
            "an alerts address in a file that is no toml",
            RIGHT,
            &[("url = \"lake\"\n", "url = \"lake\"\n\n[[alerts]]\nurl = https://example.com/s3cr3t-Hunter2-value\n")],
            &[
                r#"14:7 **************************************** · this is not TOML · this is no value · strings are written in quotes: `key = "value"`"#,
            ],
        ),
        (
            "a proxy in a file that is no toml",
            RIGHT,
            &[(r#""paid""#, "\"paid\"\nproxy = \"http://s3cr3t-Hunter2-value")],
            &[r#"9:36 * · this is not TOML · invalid basic string, expected `"`"#],
        ),
    ]);
}
