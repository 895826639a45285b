use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn to_value(raw: Raw<'_>) -> Value {
    match raw.kind() {
        Kind::Null => Value::Null,
        Kind::Bool => Value::Bool(raw.json() == "true"),
        Kind::Number => serde_json::from_str(raw.json()).unwrap_or_default(), // serde_json has no room for 1e999
        Kind::String => Value::String(raw.text().unwrap().into_owned()),
        Kind::Array => Value::Array(raw.elements().map(to_value).collect()),
        Kind::Object => {
            Value::Object(raw.entries().map(|(name, value)| (name.into_owned(), to_value(value))).collect())
        }
    }
}

fn parts(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(str::to_owned).collect()
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((".{0,10}", inner), 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_serde_writes(value in any_json()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            prop_assert_eq!(to_value(parse(text.as_bytes()).unwrap()), value.clone());
        }
    }

    #[test]
    fn no_bytes_make_it_panic_and_it_accepts_all_that_serde_accepts(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let ours = parse(&bytes);
        if let Ok(value) = serde_json::from_slice::<Value>(&bytes) {
            prop_assert_eq!(to_value(ours.unwrap()), value);
        }
    }

    #[test]
    fn a_cut_document_is_refused_at_its_end(value in any_json(), cut in 0.0..1.0_f64) {
        let text = Value::Array(vec![value]).to_string();
        let mut at = (text.len() as f64 * cut) as usize;
        while !text.is_char_boundary(at) { at -= 1; }
        prop_assert!(parse(&text.as_bytes()[..at]).is_err());
    }

    #[test]
    fn damaged_documents_never_panic(value in any_json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = value.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(raw) = parse(&bytes) {
            to_value(raw);
        }
    }

    #[test]
    fn pointers_find_in_one_pass_what_get_finds(value in any_json(), paths in prop::collection::vec(prop::collection::vec("[a-c0-2]?", 0..3), 1..6)) {
        let text = value.to_string();
        let raw = parse(text.as_bytes()).unwrap();
        let pointers = Pointers::new(paths.iter().map(Vec::as_slice));
        let mut found = vec![None; pointers.len()];
        pointers.capture(raw, &mut found);
        for (path, found) in paths.iter().zip(found) {
            prop_assert_eq!(found, raw.get(path));
        }
    }
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    let check = |text: &str, offset, what| {
        assert_eq!(parse(text.as_bytes()), Err(JsonError { offset, what }), "{text}");
    };
    check("", 0, "the document is cut");
    check("{\"a\":1", 6, "the document is cut");
    check("[1,]", 3, "not a value");
    check("{\"a\" 1}", 5, "not `:`");
    check("{a:1}", 1, "not a name");
    check("[1 2]", 3, "not `,` nor the end of a list or object");
    check("01", 0, "not a number");
    check("1.", 2, "not a number");
    check("tru", 3, "the document is cut");
    check("trux", 0, "not a value");
    check("\"\\x\"", 1, "not an escape");
    check("\"abc", 4, "the document is cut");
    check("1 2", 2, "text after the document");
    check("{}]", 2, "text after the document");
    check(&"[".repeat(200), 128, "nested too deeply");
    assert_eq!(parse(b"\"\xff\"").unwrap_err().what, "not UTF-8");
}

#[test]
fn numbers_keep_their_digits_and_control_characters_their_place() {
    let raw = parse(b" {\"price\" : 28.0, \"t\":\"a\tb\\ud83d\\ude00\\ud83d\"} ").unwrap();
    assert_eq!(raw.get(&parts("/price")).unwrap().json(), "28.0");
    assert_eq!(raw.get(&parts("/t")).unwrap().text().unwrap(), "a\tb😀\u{fffd}");
}

#[test]
fn of_repeated_names_the_last_one_counts() {
    let raw = parse(br#"{"a":1,"a":2}"#).unwrap();
    let path = parts("/a");
    let pointers = Pointers::new([path.as_slice()]);
    let mut found = [None];
    pointers.capture(raw, &mut found);
    assert_eq!(found[0].unwrap().json(), "2");
    assert_eq!(raw.get(&path).unwrap().json(), "2");
}

#[test]
fn nothing_is_written_in_many_ways() {
    for text in ["null", "\"\"", "\"null\"", "[]", "{}", "[ ]", "\" \""] {
        assert!(parse(text.as_bytes()).unwrap().is_empty_value(), "{text}");
    }
    for text in ["0", "false", "[0]", "{\"a\":1}", "\"x\""] {
        assert!(!parse(text.as_bytes()).unwrap().is_empty_value(), "{text}");
    }
}
