//! A JSON value as XML: names become elements, lists become repeated elements.
//!
//! WIRE §5: "repeated elements are lists, with or without a wrapper element"; both occur here.

use serde_json::Value;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lists {
    /// `<priceRanges>…</priceRanges><priceRanges>…</priceRanges>`
    Repeated,
    /// `<priceRanges><priceRange>…</priceRange>…</priceRanges>`
    Wrapped,
}

/// The document `<root>…</root>`.
pub(super) fn document(root: &str, value: &Value, lists: Lists) -> String {
    let mut text = String::from(r#"<?xml version="1.0" encoding="UTF-8"?>"#);
    element(&mut text, root, value, lists);
    text
}

fn element(text: &mut String, name: &str, value: &Value, lists: Lists) {
    if let (Value::Array(items), Lists::Repeated) = (value, lists) {
        items.iter().for_each(|item| element(text, name, item, lists));
        return;
    }
    text.push_str(&format!("<{name}>"));
    match value {
        Value::Null => {}
        Value::Bool(flag) => text.push_str(&flag.to_string()),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(string) => escape(text, string),
        Value::Array(items) => {
            let one = name.strip_suffix('s').unwrap_or("item");
            items.iter().for_each(|item| element(text, one, item, lists));
        }
        Value::Object(map) => map.iter().for_each(|(name, value)| element(text, name, value, lists)),
    }
    text.push_str(&format!("</{name}>"));
}

fn escape(text: &mut String, string: &str) {
    for c in string.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_repeated_or_wrapped_and_text_is_escaped() {
        let value = serde_json::json!({"a": "<&>", "ranges": [{"p": 1.5}, {"p": 2.0}], "none": null});
        let head = r#"<?xml version="1.0" encoding="UTF-8"?>"#;
        assert_eq!(
            document("r", &value, Lists::Repeated),
            format!(
                "{head}<r><a>&lt;&amp;&gt;</a><none></none><ranges><p>1.5</p></ranges><ranges><p>2.0</p></ranges></r>"
            )
        );
        assert_eq!(
            document("r", &value, Lists::Wrapped),
            format!(
                "{head}<r><a>&lt;&amp;&gt;</a><none></none><ranges><range><p>1.5</p></range><range><p>2.0</p></range></ranges></r>"
            )
        );
    }
}
