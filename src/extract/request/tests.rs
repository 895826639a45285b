use super::*;
use crate::config::gateway::Sign;
use crate::extract::testing;

fn values() -> Values {
    Values { shop_id: Some("b2b-1 圆".into()), page: Some(3), ..Values::default() }
}

fn build_with(gateway: &Gateway, endpoint: &str, account: &Account, values: &Values) -> Result<Request, RequestError> {
    let now = testing::at("2026-11-20T04:05:06.789Z");
    build(Call { gateway, endpoint: &gateway.endpoints[endpoint], account, values, now })
}

#[test]
fn a_listing_is_asked_for_with_its_page_and_a_signature() {
    let gateway = testing::gateway("http://gw/api/");
    let request = build_with(&gateway, "listing", &testing::account("main"), &values()).unwrap();
    let (address, query) = request.url.expose().split_once('?').unwrap();
    assert_eq!(address, "http://gw/api/");
    let (signed, sign) = query.rsplit_once("&sign=").unwrap();
    assert_eq!(
        signed,
        "app_key=1000000&fields=item_id%2CskuIds&member_id=b2b-1%20%E5%9C%86&method=listing&pageNum=3&pageSize=2\
         &timestamp=1763611506789&v=2.0"
            .replace("1763611506789", &testing::at("2026-11-20T04:05:06.789Z").timestamp_millis().to_string())
    );
    assert_eq!(sign.len(), 32);
}

#[test]
fn the_identity_holds_no_credential_time_or_signature_and_the_rest_prints_stars() {
    let mut gateway = testing::gateway("http://gw/");
    gateway.params.push(("mixed".into(), testing::template("{shop_id}-{app_secret}")));
    let request = build_with(&gateway, "listing", &testing::account("main"), &values()).unwrap();
    let names: Vec<_> = request.identity.keys().map(String::as_str).collect();
    assert_eq!(names, ["fields", "member_id", "method", "pageNum", "pageSize", "v"]);
    assert!(!format!("{request:?}").contains("test123secret"));
    assert!(request.url.expose().contains("test123secret"));
}

#[test]
fn a_form_carries_the_parameters_of_a_post() {
    let gateway = testing::gateway("http://gw/");
    let values = Values { offer_id: Some(123), ..Values::default() };
    let request = build_with(&gateway, "item", &testing::account("main"), &values).unwrap();
    assert_eq!(request.url.expose(), "http://gw/");
    assert!(request.form.unwrap().expose().contains("item_id=123&method=item"));
}

#[test]
fn a_reseller_without_a_signature_sends_its_secret_and_keeps_it_out_of_the_identity() {
    let mut gateway = testing::gateway("http://gw/");
    gateway.sign = None;
    gateway.params =
        vec![("key".into(), testing::template("{app_key}")), ("secret".into(), testing::template("{app_secret}"))];
    let request = build_with(&gateway, "listing", &testing::account("main"), &values()).unwrap();
    assert!(request.url.expose().contains("key=1000000") && request.url.expose().contains("secret=test123secret"));
    assert!(!request.identity.contains_key("key") && !request.identity.contains_key("secret"));
}

#[test]
fn an_optional_credential_that_is_not_given_leaves_its_parameter_out() {
    let gateway = testing::gateway("http://gw/");
    let mut account = testing::account("main");
    let url = |account: &Account| build_with(&gateway, "listing", account, &values()).unwrap().url;
    assert!(!url(&account).expose().contains("session="));
    account.credentials.insert("access_token".into(), Credential::Secret(Secret::new("token-123")));
    assert!(url(&account).expose().contains("session=token-123"));
}

#[test]
fn a_json_parameter_is_written_once_and_its_page_is_a_place() {
    let mut gateway = testing::gateway("http://gw/");
    let endpoint = gateway.endpoints.get_mut("listing").unwrap();
    endpoint.params =
        vec![("q".into(), testing::template(r#"{{"shop":"{shop_id}","page":{page},"size":{page_size}}}"#))];
    let values = Values { shop_id: Some("a\"b\\".into()), page: Some(2), ..Values::default() };
    let request = build_with(&gateway, "listing", &testing::account("main"), &values).unwrap();
    assert_eq!(request.identity["q"], r#"{"shop":"a\"b\\","page":2,"size":2}"#);
    assert!(!request.identity.contains_key("pageNum") && !request.identity.contains_key("pageSize"));
}

#[test]
fn the_path_is_sent_and_signed() {
    let mut gateway = testing::gateway("http://gw/openapi/");
    let sign = gateway.sign.take().unwrap();
    gateway.sign = Some(Sign { text: testing::template("{path}{params}"), ..sign });
    gateway.endpoints.get_mut("count").unwrap().path = Some(testing::template("param2/1/ns/api/{app_key}"));
    let (account, values) = (testing::account("main"), values());
    let request = build_with(&gateway, "count", &account, &values).unwrap();
    assert!(request.url.expose().starts_with("http://gw/openapi/param2/1/ns/api/1000000?"));
    let call = Call {
        gateway: &gateway,
        endpoint: &gateway.endpoints["count"],
        account: &account,
        values: &values,
        now: testing::at("2026-11-20T00:00:00Z"),
    };
    let (text, _) = explain_signature(call).unwrap().unwrap();
    assert!(text.starts_with("param2/1/ns/api/1000000app_key=1000000&member_id="), "{text}");
}

#[test]
fn the_explained_text_masks_every_secret_and_its_signature_is_the_one_sent() {
    let gateway = testing::gateway("http://gw/");
    let mut account = testing::account("main");
    account.credentials.insert("access_token".into(), Credential::Secret(Secret::new("token-123")));
    let values = values();
    let call = Call {
        gateway: &gateway,
        endpoint: &gateway.endpoints["listing"],
        account: &account,
        values: &values,
        now: testing::at("2026-11-20T00:00:00Z"),
    };
    let (text, signature) = explain_signature(call).unwrap().unwrap();
    assert!(text.starts_with("***app_key=1000000&") && text.ends_with("***"), "{text}");
    // `*` is percent-encoded like any other value.
    assert!(
        text.contains("session=%2A%2A%2A") && !text.contains("token-123") && !text.contains("test123secret"),
        "{text}"
    );
    assert!(build(call).unwrap().url.expose().ends_with(&format!("&sign={signature}")));
}

#[test]
fn a_place_without_a_value_is_an_error_and_not_a_wrong_question() {
    let gateway = testing::gateway("http://gw/");
    let error = build_with(&gateway, "listing", &testing::account("main"), &Values::default()).unwrap_err();
    assert_eq!(error.to_string(), "nothing fills `{shop_id}` in `member_id` of endpoint `listing`");
}

#[test]
fn times_are_written_as_the_gateway_wants_them() {
    let now = testing::at("2024-06-01T02:00:00.5Z");
    assert_eq!(write_time(&TimeFormat::UnixMillis, now).unwrap(), "1717207200500");
    assert_eq!(write_time(&TimeFormat::UnixSeconds, now).unwrap(), "1717207200");
    assert_eq!(write_time(&TimeFormat::Pattern("%Y-%m-%d %H:%M:%S".into()), now).unwrap(), "2024-06-01 10:00:00");
    assert!(write_time(&TimeFormat::Pattern("%Q%".into()), now).is_err());
}
