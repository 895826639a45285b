//! Spoilt pipelines and the whole text each of them gets: file, line, column, caret, what to change.

use super::*;

/// Replaces `right` by `wrong` in the right pipeline.
#[track_caller]
fn check(right: &str, wrong: &str, expected: &str) {
    assert!(RIGHT.contains(right), "{right}");
    let text = load(&RIGHT.replacen(right, wrong, 1)).unwrap_err();
    assert_eq!(text, expected, "\n{text}");
}

const SHOPS: &str = "shops   = [\"https://shop12345678.1688.com\", \"b2b-2200733087881719de\"]";

#[test]
fn a_key_with_a_slip_of_the_keyboard() {
    check(
        "gateway =",
        "gatway  =",
        r#"error: unknown key `gatway`
 --> p.toml:2:1
  |
2 | gatway  = "*******"
  | ^^^^^^
  |
  = help: did you mean `gateway`?"#,
    );
}

#[test]
fn a_key_that_no_other_resembles() {
    check(
        "[lake]",
        "[zzz]\n[lake]",
        r#"error: unknown key `zzz`
  --> p.toml:10:2
   |
10 | [zzz]
   |  ^^^
   |
   = help: known here: `name`, `gateway`, `url`, `shops`, `shops_file`, `items`, `items_file`, `files`, `on_quota`, `on_incomplete`, `guard`, `account_choice`, `accounts`, `fetch`, `units`, `lake`, `state`, `alerts`, `watches`, `metrics`"#,
    );
}

#[test]
fn answers_that_are_kept_for_less_long_than_offers_go_without_one() {
    check(
        r#"url = "lake""#,
        r#"url = "lake"
raw_days = 7"#,
        r#"error: `full_days` is 7, and `raw_days` of `[lake]` is 7: it must be more
  --> p.toml:12:12
   |
12 | raw_days = 7
   |            ^
   |
   = help: answers must be kept for longer than an offer may go without one, or its rows cannot be rebuilt from them"#,
    );
    check(
        "[lake]",
        r#"[fetch]
full_days = 90
[lake]"#,
        r#"error: `full_days` is 90, and `raw_days` of `[lake]` is 90: it must be more
  --> p.toml:11:13
   |
11 | full_days = 90
   |             ^^
   |
   = help: answers must be kept for longer than an offer may go without one, or its rows cannot be rebuilt from them"#,
    );
}

#[test]
fn days_that_nothing_could_be_kept_for() {
    check(
        r#"url = "lake""#,
        r#"url = "lake"
retain_days = 0"#,
        r#"error: `retain_days` is `0`, outside of 1 to 36500
  --> p.toml:12:15
   |
12 | retain_days = 0
   |               ^"#,
    );
}

#[test]
fn no_toml() {
    check(
        r#"name    = "nightly""#,
        "name    = nightly",
        r#"error: this is not TOML
 --> p.toml:1:11
  |
1 | name    = nightly
  |           ^^^^^^^ this is no value
  |
  = help: strings are written in quotes: `key = "value"`"#,
    );
}

#[test]
fn a_wrong_type() {
    check(
        r#"name    = "nightly""#,
        "name    = 5",
        r#"error: `name` must be a string, not an integer
 --> p.toml:1:11
  |
1 | name    = 5
  |           ^
  |
  = help: put it in quotes"#,
    );
}

#[test]
fn a_name_that_is_no_partition() {
    check(
        r#""nightly""#,
        r#""Every Night""#,
        r#"error: `Every Night` is no `name`
 --> p.toml:1:11
  |
1 | name    = "Every Night"
  |           ^^^^^^^^^^^^^
  |
  = help: 1 to 40 of `a-z`, `0-9`, `_`, `-`"#,
    );
}

#[test]
fn an_unknown_gateway() {
    check(
        r#""portals""#,
        r#""portal""#,
        r#"error: there is no gateway `portal`
 --> p.toml:2:11
  |
2 | gateway = "portal"
  |           ^^^^^^^^
  |
  = help: did you mean `portals`? A definition file is named by its path: `./portal.toml`"#,
    );
}

#[test]
fn a_definition_file_that_is_not_there() {
    check(
        r#""portals""#,
        r#""./mine.toml""#,
        r#"error: cannot read `./mine.toml`: No such file or directory (os error 2)
 --> p.toml:2:11
  |
2 | gateway = "./mine.toml"
  |           ^^^^^^^^^^^^^
  |
  = help: the path is relative to the file that names it"#,
    );
}

#[test]
fn nothing_to_fetch() {
    check(
        SHOPS,
        "",
        r#"error: `shops` is missing
--> p.toml
 = help: name what to fetch: `shops`, `shops_file`, `items` or `items_file`"#,
    );
}

#[test]
fn no_shop_at_all() {
    check(
        SHOPS,
        "shops   = []",
        r#"error: there is no shop in here
 --> p.toml:3:11
  |
3 | shops   = []
  |           ^^
  |
  = help: list at least one that is not paused"#,
    );
}

#[test]
fn a_shops_name_given_as_a_member_id() {
    check(
        SHOPS,
        r#"shops   = ["义乌市小商品批发"]"#,
        r#"error: `义乌市小商品批发` is a shop's name, not its member id
 --> p.toml:3:12
  |
3 | shops   = ["义乌市小商品批发"]
  |            ^^^^^^^^^^^^^^^^^^
  |
  = help: open the shop in a browser and copy its address, or the `memberId` in it: `b2b-2200733087881719de`"#,
    );
}

#[test]
fn a_shop_id_without_quotes() {
    check(
        SHOPS,
        "shops   = [2200733087881719]",
        r#"error: the shop id `2200733087881719` must be a string, never a number
 --> p.toml:3:12
  |
3 | shops   = [2200733087881719]
  |            ^^^^^^^^^^^^^^^^
  |
  = help: write `"2200733087881719"`"#,
    );
}

#[test]
fn an_address_that_is_none() {
    check(
        SHOPS,
        r#"shops   = ["https://"]"#,
        r#"error: `https://` is no shop address: empty host
 --> p.toml:3:12
  |
3 | shops   = ["https://"]
  |            ^^^^^^^^^^
  |
  = help: write it as in a browser: `https://shop12345678.1688.com`"#,
    );
}

#[test]
fn an_address_of_another_kind() {
    check(
        SHOPS,
        r#"shops   = ["ftp://shop1.1688.com"]"#,
        r#"error: `ftp://shop1.1688.com` is no shop address: `ftp://` is not `https://`
 --> p.toml:3:12
  |
3 | shops   = ["ftp://shop1.1688.com"]
  |            ^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write it as in a browser: `https://shop12345678.1688.com`"#,
    );
}

#[test]
fn an_address_without_its_https() {
    check(
        SHOPS,
        r#"shops   = ["shop1.1688.com"]"#,
        r#"error: `shop1.1688.com` is neither an address nor a member id
 --> p.toml:3:12
  |
3 | shops   = ["shop1.1688.com"]
  |            ^^^^^^^^^^^^^^^^
  |
  = help: write `https://shop1.1688.com`"#,
    );
}

#[test]
fn the_address_of_an_offer() {
    check(
        SHOPS,
        r#"shops   = ["https://detail.1688.com/offer/582896733162.html"]"#,
        r#"error: `https://detail.1688.com/offer/582896733162.html` is the address of an offer, not of a shop
 --> p.toml:3:12
  |
3 | shops   = ["https://detail.1688.com/offer/582896733162.html"]
  |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: offers go into `items`"#,
    );
}

#[test]
fn the_same_shop_twice() {
    check(
        SHOPS,
        r#"shops   = ["https://shop1.1688.com",
  "https://shop1.1688.com/"]"#,
        r#"error: the shop `https://shop1.1688.com` is listed twice
 --> p.toml:4:3
  |
4 |   "https://shop1.1688.com/"]
  |   ^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: it is already in line 3: remove one"#,
    );
}

#[test]
fn the_same_address_spelt_differently() {
    check(
        SHOPS,
        r#"shops   = ["https://shop1.1688.com",
  "http://Shop1.1688.com:80/#top"]"#,
        r#"error: the shop `http://Shop1.1688.com:80/#top` is listed twice
 --> p.toml:4:3
  |
4 |   "http://Shop1.1688.com:80/#top"]
  |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: it is already in line 3: remove one"#,
    );
}

#[test]
fn items_where_only_shops_can_be_listed() {
    check(
        SHOPS,
        r#"items   = ["582896733162"]"#,
        r#"error: gateway `portals` cannot look up single offers
 --> p.toml:3:1
  |
3 | items   = ["582896733162"]
  | ^^^^^
  |
  = help: name shops with `shops` or `shops_file`"#,
    );
}

#[test]
fn an_item_that_is_none() {
    check(
        SHOPS,
        r#"items   = ["58289673x"]"#,
        r#"error: gateway `portals` cannot look up single offers
 --> p.toml:3:1
  |
3 | items   = ["58289673x"]
  | ^^^^^
  |
  = help: name shops with `shops` or `shops_file`

error: `58289673x` is no offer
 --> p.toml:3:12
  |
3 | items   = ["58289673x"]
  |            ^^^^^^^^^^^
  |
  = help: an id of digits, or an address like `https://detail.1688.com/offer/582896733162.html`"#,
    );
}

#[test]
fn a_list_file_that_is_not_there() {
    check(
        SHOPS,
        r#"shops_file = "shops.csv""#,
        r#"error: cannot read `shops.csv`: No such file or directory (os error 2)
 --> p.toml:3:14
  |
3 | shops_file = "shops.csv"
  |              ^^^^^^^^^^^
  |
  = help: the path is relative to this file"#,
    );
}

#[test]
fn a_bad_address_of_the_gateway() {
    check(
        r#"gateway = "portals""#,
        r#"gateway = "portals"
url     = "gw.open.1688.com""#,
        r#"error: the address `gw.open.1688.com` is no `http(s)://` address
 --> p.toml:3:11
  |
3 | url     = "gw.open.1688.com"
  |           ^^^^^^^^^^^^^^^^^^"#,
    );
}

#[test]
fn a_password_in_an_address() {
    check(
        r#"gateway = "portals""#,
        r#"gateway = "portals"
url     = "https://me:s3cr3t-Hunter2-value@x.com/""#,
        r#"error: an address must not hold a user or a password
 --> p.toml:3:11
  |
3 | url     = "**************************************"
  |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: credentials belong into `credentials`"#,
    );
}

#[test]
fn a_password_in_what_is_no_address() {
    for address in [
        "https://me:s3cr3t-Hunter2-value#@x.com/",
        "me:s3cr3t-Hunter2-value@x.com",
        "ftp://me:s3cr3t-Hunter2-value@x.com",
    ] {
        let text = RIGHT.replace("gateway = \"portals\"", &format!("gateway = \"portals\"\nurl = \"{address}\""));
        // `load` looks for the secret in what is said.
        let problems = load(&text).unwrap_err();
        assert!(
            problems.starts_with("error: an address must not hold a user or a password\n --> p.toml:3:7"),
            "{problems}"
        );
    }
}

#[test]
fn no_account() {
    check(
        r#"[[accounts]]
name        = "main"
credentials = { app_key = "12345678", app_secret = "env:GOOD" }
licence     = "paid"
"#,
        "",
        r#"error: `accounts` is missing
--> p.toml
 = help: add `[[accounts]]` with `name` and `credentials`"#,
    );
}

#[test]
fn one_table_instead_of_an_array_of_tables() {
    check(
        "[[accounts]]",
        "[accounts]",
        r#"error: `accounts` is a table, not an array of tables
 --> p.toml:5:2
  |
5 | [accounts]
  |  ^^^^^^^^
  |
  = help: write `[[accounts]]`, one block for each"#,
    );
}

#[test]
fn a_secret_in_the_file() {
    check(
        r#""env:GOOD""#,
        r#""s3cr3t-Hunter2-value""#,
        r#"error: the secret `app_secret` is written into the file
 --> p.toml:7:52
  |
7 | credentials = { app_key = "12345678", app_secret = "********************" }
  |                                                    ^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: name where it is: `app_secret = "env:APP_SECRET"` or `"file:PATH"`; change the secret if others have seen this file"#,
    );
}

#[test]
fn a_secret_under_a_wrong_name() {
    check(
        r#"app_secret = "env:GOOD""#,
        r#"app_secrt = "s3cr3t-Hunter2-value""#,
        r#"error: gateway `portals` has no credential `app_secrt`
 --> p.toml:7:39
  |
7 | credentials = { app_key = "12345678", app_secrt = "********************" }
  |                                       ^^^^^^^^^
  |
  = help: did you mean `app_secret`?"#,
    );
}

#[test]
fn a_secret_in_a_file_that_is_no_toml() {
    check(
        r#"app_secret = "env:GOOD""#,
        "app_secret = s3cr3t-Hunter2-value",
        r#"error: this is not TOML
 --> p.toml:7:52
  |
7 | credentials = { app_key = "********", app_secret = ******************** }
  |                                                    ^^^^^^^^^^^^^^^^^^^^ this is no value
  |
  = help: strings are written in quotes: `key = "value"`"#,
    );
}

#[test]
fn a_secret_in_a_string_that_is_not_closed() {
    check(
        r#"app_secret = "env:GOOD""#,
        r#"app_secret = "s3cr3t-Hunter2-value"#,
        r#"error: this is not TOML
 --> p.toml:7:74
  |
7 | credentials = { app_key = "********", app_secret = "**********************
  |                                                                          ^ invalid basic string, expected `"`"#,
    );
}

#[test]
fn a_secret_in_the_wrong_place() {
    check(
        "[[accounts]]",
        r#"app_secret = "s3cr3t-Hunter2-value"
[[accounts]]"#,
        r#"error: unknown key `app_secret`
 --> p.toml:5:1
  |
5 | app_secret = "********************"
  | ^^^^^^^^^^
  |
  = help: known here: `name`, `gateway`, `url`, `shops`, `shops_file`, `items`, `items_file`, `files`, `on_quota`, `on_incomplete`, `guard`, `account_choice`, `accounts`, `fetch`, `units`, `lake`, `state`, `alerts`, `watches`, `metrics`"#,
    );
}

#[test]
fn a_variable_that_is_not_set() {
    check(
        r#""env:GOOD""#,
        r#""env:NO_SUCH""#,
        r#"error: the environment variable `NO_SUCH` is not set
 --> p.toml:7:52
  |
7 | credentials = { app_key = "12345678", app_secret = "env:NO_SUCH" }
  |                                                    ^^^^^^^^^^^^^
  |
  = help: export NO_SUCH=…"#,
    );
}

#[test]
fn a_variable_that_is_empty() {
    check(
        r#""env:GOOD""#,
        r#""env:EMPTY""#,
        r#"error: the environment variable `EMPTY` is empty
 --> p.toml:7:52
  |
7 | credentials = { app_key = "12345678", app_secret = "env:EMPTY" }
  |                                                    ^^^^^^^^^^^
  |
  = help: export EMPTY=…"#,
    );
}

#[test]
fn a_secret_file_that_is_not_there() {
    check(
        r#""env:GOOD""#,
        r#""file:keys/portals""#,
        r#"error: cannot read the secret file `keys/portals`: No such file or directory (os error 2)
 --> p.toml:7:52
  |
7 | credentials = { app_key = "12345678", app_secret = "file:keys/portals" }
  |                                                    ^^^^^^^^^^^^^^^^^^^
  |
  = help: the path is relative to this file"#,
    );
}

#[test]
fn no_licence() {
    check(
        r#"licence     = "paid"
"#,
        "",
        r#"error: `licence` is missing
 --> p.toml:5:1
  |
5 | [[accounts]]
  | ^^^^^^^^^^^^
  |
  = help: the licences of `portals`: `paid` (3000 calls a day), `test` (30 calls a day)"#,
    );
}

#[test]
fn an_unknown_licence() {
    check(
        r#""paid""#,
        r#""free""#,
        r#"error: there is no licence `free`
 --> p.toml:8:15
  |
8 | licence     = "free"
  |               ^^^^^^
  |
  = help: the licences of `portals`: `paid` (3000 calls a day), `test` (30 calls a day)"#,
    );
}

#[test]
fn more_calls_than_the_licence_allows() {
    check(
        r#""paid""#,
        r#""paid"
calls_per_day = 5000"#,
        r#"error: `calls_per_day` is 5000; the licence `paid` allows 3000
 --> p.toml:9:17
  |
9 | calls_per_day = 5000
  |                 ^^^^
  |
  = help: at most 3000, or another licence"#,
    );
}

#[test]
fn calls_out_of_range() {
    check(
        r#""paid""#,
        r#""paid"
calls_per_day = 0"#,
        r#"error: `calls_per_day` is `0`, outside of 1 to 1000000000
 --> p.toml:9:17
  |
9 | calls_per_day = 0
  |                 ^"#,
    );
}

#[test]
fn a_credential_that_is_no_table() {
    check(
        r#"credentials = { app_key = "12345678", app_secret = "env:GOOD" }"#,
        r#"credentials = "s3cr3t-Hunter2-value""#,
        r#"error: `credentials` must be a table, not a string
 --> p.toml:7:15
  |
7 | credentials = "********************"
  |               ^^^^^^^^^^^^^^^^^^^^^^"#,
    );
}

#[test]
fn a_secret_under_a_name_nobody_knows() {
    check(
        r#"licence     = "paid""#,
        r#"licence     = "paid"
pin = "s3cr3t-Hunter2-value""#,
        r#"error: unknown key `pin`
 --> p.toml:9:1
  |
9 | pin = "********************"
  | ^^^
  |
  = help: known here: `gateway`, `name`, `credentials`, `licence`, `calls_per_day`, `calls_per_second`, `proxy`"#,
    );
}

#[test]
fn a_secret_that_is_a_number() {
    check(
        r#""env:GOOD""#,
        "88776655",
        r#"error: the secret `app_secret` is written into the file
 --> p.toml:7:52
  |
7 | credentials = { app_key = "12345678", app_secret = ******** }
  |                                                    ^^^^^^^^
  |
  = help: name where it is: `app_secret = "env:APP_SECRET"` or `"file:PATH"`; change the secret if others have seen this file"#,
    );
}

#[test]
fn a_gateway_that_has_no_address() {
    check(
        r#"gateway = "portals"
shops   = ["https://shop12345678.1688.com", "b2b-2200733087881719de"]"#,
        r#"gateway = "shop-search"
shops   = ["b2b-1"]"#,
        r#"error: gateway `shop-search` has no address of its own
 --> p.toml:2:11
  |
2 | gateway = "shop-search"
  |           ^^^^^^^^^^^^^
  |
  = help: add the one you were given: `url = "https://…"`

error: gateway `shop-search` has no licences
 --> p.toml:8:15
  |
8 | licence     = "paid"
  |               ^^^^^^
  |
  = help: remove the line; `calls_per_day` limits an account"#,
    );
}

#[test]
fn a_gateway_that_only_reads_files() {
    check(
        r#"gateway = "portals"
shops   = ["https://shop12345678.1688.com", "b2b-2200733087881719de"]"#,
        r#"gateway = "page-state"
items   = ["582896733162"]"#,
        r#"error: gateway `page-state` reads files and asks nobody
 --> p.toml:2:11
  |
2 | gateway = "page-state"
  |           ^^^^^^^^^^^^
  |
  = help: add `[files]` with the `paths` of captured answers

error: gateway `page-state` has no credential `app_key`
 --> p.toml:7:17
  |
7 | credentials = { app_key = "********", app_secret = "env:GOOD" }
  |                 ^^^^^^^
  |
  = help: remove the account: nobody is asked

error: gateway `page-state` has no credential `app_secret`
 --> p.toml:7:39
  |
7 | credentials = { app_key = "********", app_secret = "env:GOOD" }
  |                                       ^^^^^^^^^^
  |
  = help: remove the account: nobody is asked

error: gateway `page-state` has no licences
 --> p.toml:8:15
  |
8 | licence     = "paid"
  |               ^^^^^^
  |
  = help: remove the line; `calls_per_day` limits an account"#,
    );
}

#[test]
fn two_accounts_of_one_name() {
    check(
        "[lake]",
        r#"[[accounts]]
name = "main"
credentials = { app_key = "2", app_secret = "env:GOOD" }
licence = "test"
[lake]"#,
        r#"error: two accounts are called `main`
  --> p.toml:11:8
   |
11 | name = "main"
   |        ^^^^^^
   |
   = help: give each its own name: logs and `calls` show it instead of the key"#,
    );
}

#[test]
fn a_format_the_gateway_does_not_speak() {
    check(
        "[lake]",
        r#"[fetch]
answer = "xml"
[lake]"#,
        r#"error: gateway `portals` does not answer in this format
  --> p.toml:11:10
   |
11 | answer = "xml"
   |          ^^^^^
   |
   = help: remove the line"#,
    );
}

#[test]
fn a_word_that_is_no_choice() {
    check(
        "[lake]",
        r#"[units]
pieces = { "件" = "many" }
[lake]"#,
        r#"error: `many` is no number of pieces
  --> p.toml:11:18
   |
11 | pieces = { "件" = "many" }
   |                   ^^^^^^
   |
   = help: a number, or `"pack"`: only with a stated size"#,
    );
}

#[test]
fn an_unknown_choice() {
    check(
        "shops   =",
        r#"on_incomplete = "wait"
shops   ="#,
        r#"error: `wait` is no `on_incomplete`
 --> p.toml:3:17
  |
3 | on_incomplete = "wait"
  |                 ^^^^^^
  |
  = help: one of `publish`, `hold`"#,
    );
}

#[test]
fn a_lake_on_a_store_of_another_kind() {
    check(
        r#""lake""#,
        r#""gs://bucket/prefix""#,
        r#"error: `gs://` is no lake
  --> p.toml:11:7
   |
11 | url = "gs://bucket/prefix"
   |       ^^^^^^^^^^^^^^^^^^^^
   |
   = help: a folder (`data/lake`) or a prefix of a bucket (`s3://bucket/prefix`)"#,
    );
}

#[test]
fn a_lake_on_s3_over_plain_http() {
    check(
        r#""lake""#,
        r#""s3://bucket/prefix"
endpoint = "http://127.0.0.1:9000""#,
        r#"error: the lake's endpoint `http://127.0.0.1:9000` is not encrypted
  --> p.toml:12:12
   |
12 | endpoint = "http://127.0.0.1:9000"
   |            ^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: use `https://`, or say `allow_http = true` in `[lake]` (AWS_ALLOW_HTTP=true without a pipeline)"#,
    );
}

#[test]
fn a_folder_with_keys_of_s3() {
    check(
        r#""lake""#,
        r#""lake"
region = "us-east-1""#,
        r#"error: `region` is for a lake on S3, this one is a folder
  --> p.toml:12:10
   |
12 | region = "us-east-1"
   |          ^^^^^^^^^^^
   |
   = help: remove it, or name a bucket: `url = "s3://bucket/prefix"`"#,
    );
}

#[test]
fn captured_files_that_are_not_there() {
    check(
        "[lake]",
        r#"[files]
paths = ["captures/a.json"]
endpoint = "lists"
answer = "data.body"
[lake]"#,
        r#"error: there is no file or folder `captures/a.json`
  --> p.toml:11:10
   |
11 | paths = ["captures/a.json"]
   |          ^^^^^^^^^^^^^^^^^
   |
   = help: the path is relative to this file

error: gateway `portals` has no endpoint `lists`
  --> p.toml:12:12
   |
12 | endpoint = "lists"
   |            ^^^^^^^
   |
   = help: did you mean `listing`?

error: `data.body`: a JSON pointer is empty or starts with `/`
  --> p.toml:13:10
   |
13 | answer = "data.body"
   |          ^^^^^^^^^^^
   |
   = help: write `/data/body`"#,
    );
}

/// The whole rendered text of one spoilt `shops.csv`.
#[track_caller]
fn check_shops(csv: &str, expected: &str) {
    let text = RIGHT.replace(SHOPS, "shops_file = \"shops.csv\"");
    let text = load_with(&text, &[("shops.csv", csv.as_bytes())]).unwrap_err();
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn a_shops_file_with_an_unknown_column() {
    check_shops(
        "shopid,nmae\nb2b-1,鞋厂\n",
        r#"error: unknown column `shopid`
 --> shops.csv:1:1
  |
1 | shopid,nmae
  | ^^^^^^
  |
  = help: did you mean `shop_id`?

error: unknown column `nmae`
 --> shops.csv:1:8
  |
1 | shopid,nmae
  |        ^^^^
  |
  = help: did you mean `name`?"#,
    );
}

#[test]
fn a_shops_file_without_shops() {
    check_shops(
        "name,paused\n鞋厂,\n",
        r#"error: the column `url` or `shop_id` is missing
 --> shops.csv:1:1
  |
1 | name,paused
  | ^^^^^^^^^^^
  |
  = help: the first line names the columns: `url,shop_id,name,paused`"#,
    );
}

#[test]
fn a_shops_file_with_bad_rows() {
    check_shops(
        "shop_id,name,paused\n鞋厂,,\n,没有编号,\nb2b-1,,maybe\nb2b-2,a,no,b\nb2b-3,,\nb2b-3,,\n",
        r#"error: `鞋厂` is a shop's name, not its member id
 --> shops.csv:2:1
  |
2 | 鞋厂,,
  | ^^^^
  |
  = help: open the shop in a browser and copy its address, or the `memberId` in it: `b2b-2200733087881719de`

error: this shop has neither `url` nor `shop_id`
 --> shops.csv:3:1
  |
3 | ,没有编号,
  | ^^^^^^^^^^

error: `maybe` is neither yes nor no
 --> shops.csv:4:8
  |
4 | b2b-1,,maybe
  |        ^^^^^
  |
  = help: write `yes` (`1`, `true`, `是`), or leave it empty

error: this line has 4 cells, the header 3
 --> shops.csv:5:1
  |
5 | b2b-2,a,no,b
  | ^^^^^^^^^^^^
  |
  = help: put quotes around a cell with a comma

error: the shop `b2b-3` is listed twice
 --> shops.csv:7:1
  |
7 | b2b-3,,
  | ^^^^^
  |
  = help: it is already in line 6: remove one"#,
    );
}

#[test]
fn a_shop_by_its_id_and_by_the_address_that_stands_beside_that_id() {
    check_shops(
        "shop_id,url\nb2b-1,https://shop1.1688.com\n,https://shop1.1688.com/\n",
        r#"error: the shop `https://shop1.1688.com` is listed twice
 --> shops.csv:3:2
  |
3 | ,https://shop1.1688.com/
  |  ^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: it is already in line 2: remove one"#,
    );
}

#[test]
fn a_shops_file_where_all_pause() {
    check_shops(
        "shop_id,paused\nb2b-1,1\n",
        r#"error: there is no shop in here
 --> p.toml:3:14
  |
3 | shops_file = "shops.csv"
  |              ^^^^^^^^^^^
  |
  = help: list at least one that is not paused"#,
    );
}
