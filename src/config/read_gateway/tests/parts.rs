//! Options, tokens, prices, batches, windows: right ones and wrong ones.

use super::*;
use crate::config::gateway::OptionSpec;

/// The small definition with more in it.
#[track_caller]
fn with(changes: &[(&str, &str)]) -> Gateway {
    let text = changes.iter().fold(SMALL.to_owned(), |text, (right, other)| {
        assert!(text.contains(right), "{right}");
        text.replace(right, other)
    });
    load(&[("small.toml", &text)]).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn options_are_places_of_templates() {
    let options = "[options]\nlang = { default = \"zh\" }\nq = { narrows = true }\nsort = { default = \"up\", one_of = [\"up\", \"down\"] }\n[sign]";
    let gateway = with(&[("[sign]", options), ("{shop_id}", "{shop_id}-{lang}-{q}-{sort}")]);
    let option = |name: &str, default: Option<&str>, one_of: &[&str]| OptionSpec {
        name: name.into(),
        default: default.map(Into::into),
        one_of: one_of.iter().map(|value| (*value).to_owned()).collect(),
        narrows: name == "q",
    };
    let expected =
        [option("lang", Some("zh"), &[]), option("q", None, &[]), option("sort", Some("up"), &["up", "down"])];
    assert_eq!(gateway.options, expected);
}

#[test]
fn a_token_a_price_a_batch_and_a_lifetime_are_read() {
    let token = "[token]\npath = \"token/{key}\"\nhttp = \"post\"\nparams = { grant = \"{again}\" }\n\
                 credential = \"token\"\nneeds = \"again\"\ntoken = \"/t\"\nexpires = [\"/e\", \"/ttl\"]\n\
                 [limits]\nprice_per_call = { amount = \"0.0125\", currency = \"CNY\" }\n[sign]";
    let item = "[endpoints.item]\nbatch = 20\nlist = \"/items\"\nparams = { ids = \"{offer_ids}\" }\ncache_minutes = 10\n[offer]";
    let secrets = "pin = \"secret\", token = \"secret?\", again = \"secret?\" }";
    let gateway = with(&[("pin = \"secret\" }", secrets), ("[sign]", token), ("[offer]", item)]);
    let token = gateway.token.unwrap();
    assert_eq!((token.credential.as_str(), token.needs.as_str(), token.endpoint.http), ("token", "again", Http::Post));
    assert_eq!(token.endpoint.path.unwrap().to_string(), "token/{key}");
    assert_eq!((token.endpoint.params.len(), token.token.len(), token.expires.len()), (1, 1, 2));
    let price = gateway.limits.price_per_call.unwrap();
    assert_eq!((price.amount.units(), price.currency.as_str()), (125, "CNY"));
    let item = &gateway.endpoints["item"];
    assert_eq!((item.batch, item.cache_seconds), (Some(20), Some(600)));
    assert_eq!(gateway.endpoints["listing"].cache_seconds, None);
}

#[test]
fn an_endpoint_is_not_called_as_the_section_of_tokens() {
    let text = SMALL.replace("[endpoints.listing]", "[endpoints.token]\n[endpoints.listing]");
    let said = load(&[("small.toml", &text)]).unwrap_err();
    assert!(said.contains("access tokens have a section of their own"), "{said}");
}

#[test]
fn a_window_may_bring_parameters_and_reach_back() {
    let window = "list = \"/items\"\nwindow = { start = \"from\", field = \"modified_at\", drop = [\"shop\"], params = { shop = \"x\", order = \"{key}\" }, overlap_minutes = 30 }";
    let listing = |window| with(&[("list = \"/items\"", window)]).endpoints["listing"].window.clone().unwrap();
    let window = listing(window);
    assert_eq!(window.overlap_seconds, 1800);
    let names: Vec<_> = window.params.iter().map(|(name, value)| (name.as_str(), value.to_string())).collect();
    assert_eq!(names, [("shop", "x".to_owned()), ("order", "{key}".to_owned())]);
    let plain = listing("list = \"/items\"\nwindow = { start = \"from\", field = \"modified_at\" }");
    assert_eq!((plain.overlap_seconds, plain.params.len()), (600, 0));
}

#[test]
fn what_is_wrong_with_options_is_said() {
    let taken = "use `a-z`, `0-9`, `_`, and no name of a credential or of what huopan fills in itself";
    for name in ["page", "pin", "Sort"] {
        let problem = format!("error: an option cannot be called `{name}`\n→ {taken}");
        spoilt("[sign]", &format!("[options]\n{name} = {{}}\n[sign]"), &problem);
    }
    let one = |option: &str, message: &str| spoilt("[sign]", &format!("[options]\nsort = {option}\n[sign]"), message);
    one("\"price\"", "error: `sort` must be a table, not a string");
    one("{ defualt = \"a\" }", "error: unknown key `defualt`\n→ did you mean `default`?");
    one("{ default = \"a\", one_of = [\"b\", \"c\"] }", "error: `a` is not in `one_of`\n→ one of `b`, `c`");
    one(
        "{ one_of = [] }",
        "error: the option `sort` may have no value at all\n→ list its values, or remove the line: then it may have any",
    );
    spoilt(
        "{shop_id}",
        "{srot}",
        "error: nothing is called `{srot}` here\n→ known here: `now`, `format`, `fields`, `shop_url`, `shop_id`, `offer_id`, `offer_ids`, `sku_id`, `category_id`, `page`, `page_size`, `key`, `pin`",
    );
}

#[test]
fn a_pace_may_differ_by_licence() {
    let limits =
        |rates: &str| format!("[limits]\ncalls_per_day = {{ a = 10, b = 20 }}\ncalls_per_second = {rates}\n[sign]");
    let gateway = with(&[("[sign]", &limits("{ a = 1.5, b = 8 }"))]);
    assert_eq!(gateway.limits.calls_per_second, None);
    assert_eq!(gateway.limits.calls_per_second_of, [("a".to_owned(), 1.5), ("b".to_owned(), 8.0)].into());
    let gateway = with(&[("[sign]", &limits("{ a = 1.5 }"))]);
    assert_eq!(gateway.limits.calls_per_second_of["b"], 1.5, "nothing is known of it");
    let one = |rates: &str, message: &str| spoilt("[sign]", &limits(rates), message);
    one(
        "{ a = 1, c = 0 }",
        "error: there is no licence `c`\n→ the licences are those of `calls_per_day`\n\
         error: `c` is `0`, outside of 0.001 to 10000",
    );
    one("\"fast\"", "error: `calls_per_second` must be a number, not a string");
}

#[test]
fn what_is_wrong_with_a_token_is_said() {
    spoilt(
        "[sign]",
        "[token]\n[sign]",
        "error: `params` is missing\n→ what is sent: `params = { grant_type = \"refresh_token\", refresh_token = \"{refresh_token}\" }`\n\
         error: `credential` is missing\n→ the credential that is renewed: `credential = \"access_token\"`\n\
         error: `needs` is missing\n→ the credential without which it cannot be asked: `needs = \"refresh_token\"`\n\
         error: `token` is missing\n→ the JSON pointer of the new token in the answer\n\
         error: `expires` is missing\n→ the JSON pointer of its lifetime in seconds",
    );
    spoilt(
        "[sign]",
        "[token]\nparams = { a = \"{tokn}\" }\ncredential = \"key\"\nneeds = \"pin\"\ntoken = \"t\"\nexpires = \"/e\"\n[sign]",
        "error: nothing is called `{tokn}` here\n→ known here: `now`, `format`, `fields`, `shop_url`, `shop_id`, `offer_id`, `offer_ids`, `sku_id`, `category_id`, `page`, `page_size`, `key`, `pin`\n\
         error: `key` is no secret of `credentials`\n→ add `key = \"secret\"` to `credentials`\n\
         error: `t`: a JSON pointer is empty or starts with `/`\n→ write `/t`",
    );
}

#[test]
fn what_is_wrong_with_a_price_is_said() {
    let price = |price: &str, message: &str| {
        spoilt("[sign]", &format!("[limits]\nprice_per_call = {price}\n[sign]"), message);
    };
    let decimal = "→ a decimal with at most four places: `\"0.01\"`";
    price(
        "{ amount = 0.01, currency = \"CNY\" }",
        "error: `amount` must be a string, not a number\n→ put it in quotes",
    );
    for wrong in ["-1", "1e-2", "0.00001", "one", "", "."] {
        price(
            &format!("{{ amount = \"{wrong}\", currency = \"CNY\" }}"),
            &format!("error: `{wrong}` is no price\n{decimal}"),
        );
    }
    price("{ amount = \"1\" }", "error: `currency` is missing\n→ of the amount: `currency = \"CNY\"`");
    price(
        "{ amount = \"1\", currency = \"yuan\" }",
        "error: `yuan` is no currency\n→ three capital letters (ISO 4217): `CNY`",
    );
}

#[test]
fn what_is_wrong_with_an_endpoint_is_said() {
    let item = |text: &str, message: &str| spoilt("[offer]", &format!("[endpoints.item]\n{text}\n[offer]"), message);
    let right = "batch = 20\nlist = \"/items\"\nparams = { ids = \"{offer_ids}\" }";
    load(&[("small.toml", &SMALL.replace("[offer]", &format!("[endpoints.item]\n{right}\n[offer]")))]).unwrap();
    item(
        &right.replace("list = \"/items\"", ""),
        "error: `list` is missing\n→ endpoint `item` needs it: the JSON pointer in its answer",
    );
    item(&right.replace("20", "1001"), "error: `batch` is `1001`, outside of 1 to 1000");
    item(
        &right.replace("{offer_ids}", "{offer_id}"),
        "error: no parameter says which offers a call for several asks about\n→ put `{offer_ids}` into `params`: their ids, joined by commas",
    );
    item(
        &right.replace("{offer_ids}", "{offer_ids} {offer_id}"),
        "error: `{offer_id}` stands for one offer, `batch` asks about several\n→ write `{offer_ids}`: their ids, joined by commas",
    );
    item(
        &right.replace("batch = 20\nlist", "one"),
        "error: `{offer_ids}` stands for several offers\n→ say how many a call may ask about: `batch = 20`; or write `{offer_id}`",
    );
    item(
        "one = \"/item\"\ncache_hours = 1\ncache_minutes = 10",
        "error: the lifetime is stated twice\n→ `cache_hours` or `cache_minutes`: remove one",
    );
    spoilt(
        "[offer]",
        "[endpoints.off_sale]\n[offer]",
        "error: `list` is missing\n→ endpoint `off_sale` needs it: the JSON pointer in its answer",
    );
    let window =
        |text: &str| format!("list = \"/items\"\nwindow = {{ start = \"from\", field = \"modified_at\", {text} }}");
    spoilt(
        "list = \"/items\"",
        &window("params = { shop = \"x\" }"),
        "error: `shop` is sent twice with a window\n→ `drop = [\"shop\"]`: the window's value then takes its place",
    );
    spoilt(
        "list = \"/items\"",
        &window("overlap_minutes = -1"),
        "error: `overlap_minutes` is `-1`, outside of 0 to 10080",
    );
}
