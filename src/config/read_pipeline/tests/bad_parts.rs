//! Spoilt parts of a pipeline, each with the whole text it gets: accounts, fetch, state, alerts.

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

/// Replaces parts of a right pipeline, each once.
#[track_caller]
fn check(base: &str, changes: &[(&str, &str)], expected: &str) {
    let spoil = |text: String, (right, wrong): &(&str, &str)| {
        assert!(text.contains(right), "{right}");
        text.replacen(right, wrong, 1)
    };
    let text = changes.iter().fold(base.to_owned(), spoil);
    let text = load_with(&text, &[("mine.toml", MINE), ("other.toml", OTHER)]).unwrap_err();
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn words_that_are_no_choice() {
    check(
        RIGHT,
        &[(
            "shops   =",
            r#"on_quota = "wait"
account_choice = "random"
shops   ="#,
        )],
        r#"error: `wait` is no `on_quota`
 --> p.toml:3:12
  |
3 | on_quota = "wait"
  |            ^^^^^^
  |
  = help: one of `refuse`, `continue`

error: `random` is no `account_choice`
 --> p.toml:4:18
  |
4 | account_choice = "random"
  |                  ^^^^^^^^
  |
  = help: one of `drain`, `rotate`"#,
    );
}

#[test]
fn more_calls_a_second_than_the_gateway_takes() {
    check(
        TWO,
        &[(
            r#""personal""#,
            r#""personal"
calls_per_second = 9.5"#,
        )],
        r#"error: `calls_per_second` is 9.5; gateway `item-get` allows 8
  --> p.toml:15:20
   |
15 | calls_per_second = 9.5
   |                    ^^^
   |
   = help: at most 8: what the definition states holds for every account"#,
    );
}

#[test]
fn a_proxy_in_the_file() {
    check(
        RIGHT,
        &[(
            r#""paid""#,
            r#""paid"
proxy = "http://me:s3cr3t-Hunter2-value@127.0.0.1:8080""#,
        )],
        r#"error: the secret `proxy` is written into the file
 --> p.toml:9:9
  |
9 | proxy = "*********************************************"
  |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: name where it is: `proxy = "env:PROXY"` or `"file:PATH"`; change the secret if others have seen this file"#,
    );
}

#[test]
fn a_proxy_that_is_no_address() {
    check(
        RIGHT,
        &[(
            r#""paid""#,
            r#""paid"
proxy = "env:GOOD""#,
        )],
        r#"error: what `env:GOOD` names is no address for `proxy`
 --> p.toml:9:9
  |
9 | proxy = "env:GOOD"
  |         ^^^^^^^^^^
  |
  = help: it begins with one of `http://`, `https://`"#,
    );
}

#[test]
fn a_proxy_of_another_kind() {
    check(
        RIGHT,
        &[(
            r#""paid""#,
            r#""paid"
proxy = "env:REDIS""#,
        )],
        r#"error: what `env:REDIS` names is no address for `proxy`
 --> p.toml:9:9
  |
9 | proxy = "env:REDIS"
  |         ^^^^^^^^^^^
  |
  = help: it begins with one of `http://`, `https://`"#,
    );
}

#[test]
fn two_accounts_with_one_key() {
    check(
        RIGHT,
        &[(
            "[lake]",
            r#"[[accounts]]
name = "second"
credentials = { app_key = "12345678", app_secret = "env:GOOD" }
licence = "paid"
[lake]"#,
        )],
        r#"error: the accounts `main` and `second` have one key
  --> p.toml:12:1
   |
12 | credentials = { app_key = "12345678", app_secret = "env:GOOD" }
   | ^^^^^^^^^^^
   |
   = help: they share one quota and gain nothing: remove one, or give it its own app"#,
    );
}

#[test]
fn white_space_in_a_secret() {
    check(
        RIGHT,
        &[("env:GOOD", "env:SPACED")],
        r#"error: the environment variable `SPACED` holds white space or an invisible character
 --> p.toml:7:52
  |
7 | credentials = { app_key = "12345678", app_secret = "env:SPACED" }
  |                                                    ^^^^^^^^^^^^
  |
  = help: copy the value again, without what stands around it; white space at its ends is ignored"#,
    );
}

#[test]
fn a_line_break_in_a_secret() {
    check(
        RIGHT,
        &[("env:GOOD", "env:BROKEN")],
        r#"error: the environment variable `BROKEN` holds a line break
 --> p.toml:7:52
  |
7 | credentials = { app_key = "12345678", app_secret = "env:BROKEN" }
  |                                                    ^^^^^^^^^^^^
  |
  = help: copy the value again, without what stands around it; white space at its ends is ignored"#,
    );
}

#[test]
fn an_invisible_character_in_a_secret() {
    check(
        RIGHT,
        &[("env:GOOD", "env:UNSEEN")],
        r#"error: the environment variable `UNSEEN` holds white space or an invisible character
 --> p.toml:7:52
  |
7 | credentials = { app_key = "12345678", app_secret = "env:UNSEEN" }
  |                                                    ^^^^^^^^^^^^
  |
  = help: copy the value again, without what stands around it; white space at its ends is ignored"#,
    );
}

#[test]
fn white_space_in_a_key() {
    check(
        RIGHT,
        &[(r#""12345678""#, r#""1234 5678""#)],
        r#"error: `app_key` holds white space or an invisible character
 --> p.toml:7:27
  |
7 | credentials = { app_key = "1234 5678", app_secret = "env:GOOD" }
  |                           ^^^^^^^^^^^
  |
  = help: copy the value again, without what stands around it; white space at its ends is ignored"#,
    );
}

#[test]
fn an_account_for_a_gateway_nobody_asks() {
    check(
        RIGHT,
        &[(
            r#""main""#,
            r#""main"
gateway = "item-get""#,
        )],
        r#"error: this pipeline asks no gateway `item-get`
 --> p.toml:7:11
  |
7 | gateway = "item-get"
  |           ^^^^^^^^^^
  |
  = help: add `details_gateway = "item-get"` to `[fetch]`, or remove the line"#,
    );
}

#[test]
fn an_account_whose_gateway_is_misspelt() {
    check(
        TWO,
        &[(r#"gateway     = "item-get""#, r#"gateway     = "item-gte""#)],
        r#"error: this pipeline asks no gateway `item-gte`
  --> p.toml:12:15
   |
12 | gateway     = "item-gte"
   |               ^^^^^^^^^^
   |
   = help: did you mean `item-get`?"#,
    );
}

#[test]
fn no_account_for_the_details() {
    check(
        TWO,
        &[
            (
                r#"gateway     = "item-get"
credentials = { app_key = "12345678""#,
                r#"credentials = { app_key = "2""#,
            ),
            (r#""personal""#, r#""test""#),
        ],
        r#"error: no account asks gateway `item-get`
  --> p.toml:18:19
   |
18 | details_gateway = "item-get"
   |                   ^^^^^^^^^^
   |
   = help: add `[[accounts]]` with `gateway = "item-get"` and its credentials"#,
    );
}

#[test]
fn no_account_for_the_listing() {
    check(
        TWO,
        &[
            (
                r#"name        = "main"
"#,
                r#"name        = "main"
gateway = "item-get"
"#,
            ),
            (r#""paid""#, r#""company""#),
            (r#""12345678""#, r#""2""#),
        ],
        r#"error: no account asks gateway `portals`
 --> p.toml:2:11
  |
2 | gateway = "portals"
  |           ^^^^^^^^^
  |
  = help: add an `[[accounts]]` block without the line `gateway`"#,
    );
}

#[test]
fn a_licence_of_the_other_gateway() {
    check(
        TWO,
        &[(r#""personal""#, r#""paid""#)],
        r#"error: there is no licence `paid`
  --> p.toml:14:15
   |
14 | licence     = "paid"
   |               ^^^^^^
   |
   = help: the licences of `item-get`: `company` (5000 calls a day), `personal` (100 calls a day)"#,
    );
}

#[test]
fn a_listing_that_cannot_tell_what_changed() {
    check(
        RIGHT,
        &[
            (
                r#"gateway = "portals""#,
                r#"gateway = "shop-search"
url = "http://127.0.0.1/""#,
            ),
            (
                r#"licence     = "paid"
"#,
                "",
            ),
            (r#""https://shop12345678.1688.com", "#, ""),
            (
                "[lake]",
                r#"[fetch]
listing = "changed"
[lake]"#,
            ),
        ],
        r#"error: gateway `shop-search` cannot list what changed
  --> p.toml:11:11
   |
11 | listing = "changed"
   |           ^^^^^^^^^
   |
   = help: `all`; `changed` needs a `window` with `field = "modified_at"` in the gateway's endpoint `listing`"#,
    );
}

#[test]
fn a_window_that_speaks_of_another_time() {
    check(
        RIGHT,
        &[
            (r#""portals""#, r#""./other.toml""#),
            (
                "[lake]",
                r#"[fetch]
listing = "changed"
[lake]"#,
            ),
        ],
        r#"error: gateway `other` cannot list what changed
  --> p.toml:11:11
   |
11 | listing = "changed"
   |           ^^^^^^^^^
   |
   = help: `all`; `changed` needs a `window` with `field = "modified_at"` in the gateway's endpoint `listing`"#,
    );
}

#[test]
fn a_listing_without_a_count() {
    check(
        RIGHT,
        &[
            (r#""portals""#, r#""./mine.toml""#),
            (
                "[lake]",
                r#"[fetch]
listing = "changed"
[lake]"#,
            ),
        ],
        r#"error: gateway `mine` does not tell how many offers a shop has
  --> p.toml:11:11
   |
11 | listing = "changed"
   |           ^^^^^^^^^
   |
   = help: `all`; `changed` needs an endpoint `count`, or `total` in endpoint `listing`, to prove that nothing is lost"#,
    );
}

#[test]
fn full_days_out_of_range() {
    check(
        RIGHT,
        &[(
            "[lake]",
            r#"[fetch]
full_days = 0
[lake]"#,
        )],
        r#"error: `full_days` is `0`, outside of 1 to 365
  --> p.toml:11:13
   |
11 | full_days = 0
   |             ^"#,
    );
}

#[test]
fn skus_that_the_gateway_cannot_look_up() {
    check(
        RIGHT,
        &[
            (r#"gateway = "portals""#, r#"gateway = "tmapi""#),
            (r#""https://shop12345678.1688.com", "#, ""),
            (r#"app_key = "12345678", app_secret"#, "api_token"),
            (
                r#"licence     = "paid"
"#,
                "",
            ),
            (
                "[lake]",
                r#"[fetch]
skus = "missing"
[lake]"#,
            ),
        ],
        r#"error: gateway `tmapi` cannot look up SKUs
  --> p.toml:10:8
   |
10 | skus = "missing"
   |        ^^^^^^^^^
   |
   = help: `off`: what its answers hold about SKUs is loaded anyway"#,
    );
}

#[test]
fn details_that_the_gateway_cannot_look_up() {
    check(
        RIGHT,
        &[(
            "[lake]",
            r#"[fetch]
details = "changed"
[lake]"#,
        )],
        r#"error: gateway `portals` cannot look up single offers
  --> p.toml:11:11
   |
11 | details = "changed"
   |           ^^^^^^^^^
   |
   = help: `off`, or name one that can: `details_gateway = "item-get"`"#,
    );
}

#[test]
fn details_of_an_unknown_kind() {
    check(
        RIGHT,
        &[(
            "[lake]",
            r#"[fetch]
details = "new"
[lake]"#,
        )],
        r#"error: `new` is no `details`
  --> p.toml:11:11
   |
11 | details = "new"
   |           ^^^^^
   |
   = help: one of `off`, `missing`, `changed`, `all`"#,
    );
}

#[test]
fn a_details_gateway_that_is_misspelt() {
    check(
        TWO,
        &[(r#"details_gateway = "item-get""#, r#"details_gateway = "item-gte""#)],
        r#"error: there is no gateway `item-gte`
  --> p.toml:19:19
   |
19 | details_gateway = "item-gte"
   |                   ^^^^^^^^^^
   |
   = help: did you mean `item-get`? A definition file is named by its path: `./item-gte.toml`"#,
    );
}

#[test]
fn a_details_gateway_that_is_the_pipelines_own() {
    check(
        RIGHT,
        &[
            (r#"gateway = "portals""#, r#"gateway = "tmapi""#),
            (r#""https://shop12345678.1688.com", "#, ""),
            (r#"app_key = "12345678", app_secret"#, "api_token"),
            (
                r#"licence     = "paid"
"#,
                "",
            ),
            (
                "[lake]",
                r#"[fetch]
details_gateway = "tmapi"
[lake]"#,
            ),
        ],
        r#"error: `tmapi` is the pipeline's gateway already
  --> p.toml:10:19
   |
10 | details_gateway = "tmapi"
   |                   ^^^^^^^
   |
   = help: remove the line: its endpoint `item` is asked anyway"#,
    );
}

#[test]
fn a_details_gateway_without_single_offers() {
    check(
        TWO,
        &[
            (r#"details_gateway = "item-get""#, r#"details_gateway = "shop-search""#),
            (r#"gateway     = "item-get""#, r#"gateway     = "shop-search""#),
            (
                r#"licence     = "personal"
"#,
                "",
            ),
            (
                r#"[fetch.options]
lang = "en"
"#,
                "",
            ),
        ],
        r#"error: gateway `shop-search` cannot look up single offers
  --> p.toml:18:19
   |
18 | details_gateway = "shop-search"
   |                   ^^^^^^^^^^^^^
   |
   = help: name one that has an endpoint `item`: `item-get`"#,
    );
}

#[test]
fn a_details_gateway_that_asks_nobody() {
    check(
        RIGHT,
        &[(
            "[lake]",
            r#"[fetch]
details_gateway = "page-state"
[lake]"#,
        )],
        r#"error: gateway `page-state` reads files and asks nobody
  --> p.toml:11:19
   |
11 | details_gateway = "page-state"
   |                   ^^^^^^^^^^^^
   |
   = help: name one that has an endpoint `item`: `item-get`"#,
    );
}

#[test]
fn a_details_gateway_without_an_address() {
    check(
        TWO,
        &[(
            r#"details_url     = "https://details.example.com/api"
"#,
            "",
        )],
        r#"error: gateway `item-get` has no address of its own
  --> p.toml:19:19
   |
19 | details_gateway = "item-get"
   |                   ^^^^^^^^^^
   |
   = help: add the one you were given: `details_url = "https://…"`"#,
    );
}

#[test]
fn an_address_of_no_details_gateway() {
    check(
        RIGHT,
        &[(
            "[lake]",
            r#"[fetch]
details_url = "https://example.com/"
[lake]"#,
        )],
        r#"error: `details_url` is the address of no gateway
  --> p.toml:11:1
   |
11 | details_url = "https://example.com/"
   | ^^^^^^^^^^^
   |
   = help: add `details_gateway`, or remove the line: `url` is the pipeline's gateway's"#,
    );
}

#[test]
fn a_flag_that_is_a_word() {
    check(
        RIGHT,
        &[(
            "[lake]",
            r#"[fetch]
cache = "no"
[lake]"#,
        )],
        r#"error: `cache` must be `true` or `false`, not a string
  --> p.toml:11:9
   |
11 | cache = "no"
   |         ^^^^"#,
    );
}

#[test]
fn an_option_the_gateways_do_not_have() {
    check(
        TWO,
        &[(r#"lang = "en""#, r#"language = "en""#)],
        r#"error: gateway `portals` or `item-get` has no option `language`
  --> p.toml:23:1
   |
23 | language = "en"
   | ^^^^^^^^
   |
   = help: did you mean `lang`?"#,
    );
}

#[test]
fn an_option_where_there_are_none() {
    check(
        RIGHT,
        &[(
            "[lake]",
            r#"[fetch]
options = { lang = "en" }
[lake]"#,
        )],
        r#"error: gateway `portals` has no option `lang`
  --> p.toml:11:13
   |
11 | options = { lang = "en" }
   |             ^^^^
   |
   = help: remove the line"#,
    );
}

#[test]
fn options_with_wrong_values() {
    check(
        RIGHT,
        &[
            (
                r#"gateway = "portals""#,
                r#"gateway = "shop-search"
url = "http://127.0.0.1/""#,
            ),
            (
                r#"licence     = "paid"
"#,
                "",
            ),
            (r#""https://shop12345678.1688.com", "#, ""),
            (
                "[lake]",
                r#"[fetch]
[fetch.options]
sort = "newest"
start_price = 10
q = " "
[lake]"#,
            ),
        ],
        r#"error: `newest` is no `sort`
  --> p.toml:12:8
   |
12 | sort = "newest"
   |        ^^^^^^^^
   |
   = help: one of `price`, `_price`, `sale`

error: `start_price` must be a string, not an integer
  --> p.toml:13:15
   |
13 | start_price = 10
   |               ^^
   |
   = help: put it in quotes

error: the option `q` is empty
  --> p.toml:14:5
   |
14 | q = " "
   |     ^^^
   |
   = help: remove the line: the definition's default holds, or the parameter is not sent"#,
    );
}

#[test]
fn a_password_in_the_state() {
    check(
        RIGHT,
        &[(
            r#"url = "lake"
"#,
            r#"url = "lake"

[state]
url = "redis://:s3cr3t-Hunter2-value@redis.example.com"
"#,
        )],
        r#"error: the address of the state store holds a user or a password
  --> p.toml:14:7
   |
14 | url = "***********************************************"
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: name where it is: `url = "env:REDIS_URL"` or `"file:PATH"`; change the password if others have seen this file"#,
    );
}

#[test]
fn a_password_in_a_state_that_is_no_address() {
    check(
        RIGHT,
        &[(
            r#"url = "lake"
"#,
            r#"url = "lake"

[state]
url = "redis://:s3cr3t#Hunter2-value@redis.example.com"
"#,
        )],
        r#"error: the address of the state store holds a user or a password
  --> p.toml:14:7
   |
14 | url = "***********************************************"
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: name where it is: `url = "env:REDIS_URL"` or `"file:PATH"`; change the password if others have seen this file"#,
    );
}

#[test]
fn a_state_store_of_another_kind() {
    check(
        RIGHT,
        &[(
            r#"url = "lake"
"#,
            r#"url = "lake"

[state]
url = "postgres://me:s3cr3t-Hunter2-value@db.example.com/huopan"
"#,
        )],
        r#"error: `postgres://` is no state store
  --> p.toml:14:7
   |
14 | url = "********************************************************"
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: a file, relative to this one: `url = "../data/state.sqlite"`; or a Redis: `url = "env:REDIS_URL"`"#,
    );
}

#[test]
fn a_state_reference_to_no_redis() {
    check(
        RIGHT,
        &[(
            r#"url = "lake"
"#,
            r#"url = "lake"

[state]
url = "env:HOOK"
"#,
        )],
        r#"error: what `env:HOOK` names is no address for `url`
  --> p.toml:14:7
   |
14 | url = "env:HOOK"
   |       ^^^^^^^^^^
   |
   = help: it begins with one of `redis://`, `rediss://`"#,
    );
}

#[test]
fn a_redis_without_a_host() {
    check(
        RIGHT,
        &[(
            r#"url = "lake"
"#,
            r#"url = "lake"

[state]
url = "redis:///1"
"#,
        )],
        r#"error: `redis:///1` is no address
  --> p.toml:14:7
   |
14 | url = "redis:///1"
   |       ^^^^^^^^^^^^
   |
   = help: `redis://HOST:PORT/DATABASE`, or `rediss://` with TLS"#,
    );
}

#[test]
fn an_empty_state() {
    check(
        RIGHT,
        &[(
            r#"url = "lake"
"#,
            r#"url = "lake"

[state]
url = ""
"#,
        )],
        r#"error: `url` is empty
  --> p.toml:14:7
   |
14 | url = ""
   |       ^^
   |
   = help: a file, relative to this one: `url = "../data/state.sqlite"`; or a Redis: `url = "env:REDIS_URL"`"#,
    );
}

#[test]
fn an_alert_without_anything() {
    check(
        RIGHT,
        &[(
            r#"url = "lake"
"#,
            r#"url = "lake"

[[alerts]]
"#,
        )],
        r#"error: `name` is missing
  --> p.toml:13:1
   |
13 | [[alerts]]
   | ^^^^^^^^^^
   |
   = help: what logs call it: `name = "ops"`

error: `kind` is missing
  --> p.toml:13:1
   |
13 | [[alerts]]
   | ^^^^^^^^^^
   |
   = help: `kind = "webhook"`: a JSON document is posted

error: `url` is missing
  --> p.toml:13:1
   |
13 | [[alerts]]
   | ^^^^^^^^^^
   |
   = help: where it is sent: `url = "env:ALERT_URL"`"#,
    );
}

#[test]
fn two_alerts_of_one_name() {
    check(
        RIGHT,
        &[(
            r#"url = "lake"
"#,
            r#"url = "lake"

[[alerts]]
name = "ops"
kind = "webhook"
url = "env:HOOK"
[[alerts]]
name = "ops"
kind = "webhook"
url = "env:HOOK"
"#,
        )],
        r#"error: two alerts are called `ops`
  --> p.toml:18:8
   |
18 | name = "ops"
   |        ^^^^^
   |
   = help: give each its own name: logs show it instead of the address"#,
    );
}

#[test]
fn a_chat_robot() {
    check(
        RIGHT,
        &[(
            r#"url = "lake"
"#,
            r#"url = "lake"

[[alerts]]
name = "ops"
kind = "dingtalk"
url = "env:HOOK"
sign = "s3cr3t-Hunter2-value"
"#,
        )],
        r#"error: `kind = "dingtalk"` is not in this version
  --> p.toml:15:8
   |
15 | kind = "dingtalk"
   |        ^^^^^^^^^^
   |
   = help: `webhook` posts a JSON document: to a relay of your own, for example

error: unknown key `sign`
  --> p.toml:17:1
   |
17 | sign = "********************"
   | ^^^^
   |
   = help: not in this version: remove it"#,
    );
}

#[test]
fn an_alert_whose_address_is_in_the_file() {
    check(
        RIGHT,
        &[(
            r#"url = "lake"
"#,
            r#"url = "lake"

[[alerts]]
name = "ops"
kind = "webhook"
url = "https://example.com/s3cr3t-Hunter2-value"
"#,
        )],
        r#"error: the secret `url` is written into the file
  --> p.toml:16:7
   |
16 | url = "****************************************"
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: name where it is: `url = "env:URL"` or `"file:PATH"`; change the secret if others have seen this file"#,
    );
}

#[test]
fn an_alert_that_is_told_what_there_is_not() {
    check(
        RIGHT,
        &[(
            r#"url = "lake"
"#,
            r#"url = "lake"

[[alerts]]
name = "ops"
kind = "webhook"
url = "env:HOOK"
on = ["failure", "quota"]
[[alerts]]
name = "none"
kind = "email"
url = "env:REDIS"
on = []
"#,
        )],
        r#"error: `failure` is no `on`
  --> p.toml:17:7
   |
17 | on = ["failure", "quota"]
   |       ^^^^^^^^^
   |
   = help: one of `failed`, `incomplete`, `quota`, `denied`, `held`, `published`

error: `email` is no `kind`
  --> p.toml:20:8
   |
20 | kind = "email"
   |        ^^^^^^^
   |
   = help: one of `webhook`

error: what `env:REDIS` names is no address for `url`
  --> p.toml:21:7
   |
21 | url = "env:REDIS"
   |       ^^^^^^^^^^^
   |
   = help: it begins with one of `http://`, `https://`

error: this alert is told nothing
  --> p.toml:22:6
   |
22 | on = []
   |      ^^
   |
   = help: remove the line: all but `published`; or remove the alert"#,
    );
}

#[test]
fn a_misspelt_gateway_hides_nothing_else() {
    check(
        RIGHT,
        &[
            (r#""portals""#, r#""portal""#),
            ("env:GOOD", "env:NO_SUCH"),
            (
                r#""paid""#,
                r#""paid"
calls_per_day = 0
proxy = "env:EMPTY""#,
            ),
            (
                "[lake]",
                r#"[fetch]
full_days = 400
[fetch.options]
lang = "en"
[lake]"#,
            ),
        ],
        r#"error: there is no gateway `portal`
 --> p.toml:2:11
  |
2 | gateway = "portal"
  |           ^^^^^^^^
  |
  = help: did you mean `portals`? A definition file is named by its path: `./portal.toml`

error: the environment variable `NO_SUCH` is not set
 --> p.toml:7:52
  |
7 | credentials = { app_key = "********", app_secret = "env:NO_SUCH" }
  |                                                    ^^^^^^^^^^^^^
  |
  = help: export NO_SUCH=…

error: `calls_per_day` is `0`, outside of 1 to 1000000000
 --> p.toml:9:17
  |
9 | calls_per_day = 0
  |                 ^

error: the environment variable `EMPTY` is empty
  --> p.toml:10:9
   |
10 | proxy = "env:EMPTY"
   |         ^^^^^^^^^^^
   |
   = help: export EMPTY=…

error: `full_days` is `400`, outside of 1 to 365
  --> p.toml:13:13
   |
13 | full_days = 400
   |             ^^^"#,
    );
}

#[test]
fn a_password_of_the_state_in_a_file_that_is_no_toml() {
    check(
        RIGHT,
        &[(
            r#"url = "lake"
"#,
            r#"url = "lake"

[state]
url = redis://:s3cr3t-Hunter2-value@r
"#,
        )],
        r#"error: this is not TOML
  --> p.toml:14:7
   |
14 | url = redis://*********************@r
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this is no value
   |
   = help: strings are written in quotes: `key = "value"`"#,
    );
}

#[test]
fn an_alerts_address_in_a_file_that_is_no_toml() {
    check(
        RIGHT,
        &[(
            r#"url = "lake"
"#,
            r#"url = "lake"

[[alerts]]
url = https://example.com/s3cr3t-Hunter2-value
"#,
        )],
        r#"error: this is not TOML
  --> p.toml:14:7
   |
14 | url = ****************************************
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this is no value
   |
   = help: strings are written in quotes: `key = "value"`"#,
    );
}

#[test]
fn a_proxy_in_a_file_that_is_no_toml() {
    check(
        RIGHT,
        &[(
            r#""paid""#,
            r#""paid"
proxy = "http://s3cr3t-Hunter2-value"#,
        )],
        r#"error: this is not TOML
 --> p.toml:9:36
  |
9 | proxy = "***************************
  |                                    ^ invalid basic string, expected `"`"#,
    );
}
