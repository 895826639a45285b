//! Plain texts, lists of texts, and names with values (`attributes`, `spec`).
//!
//! Invariant: a text is borrowed from the record unless it had to be joined or unescaped.

use std::borrow::Cow;

use crate::base::json::{Kind, Raw};
use crate::config::Pointer;
use crate::extract::answer::unwrap;

/// A trimmed text that says something; of a list the first one.
#[must_use]
pub fn read(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    match raw.kind() {
        Kind::Array => raw.elements().find_map(|element| raw_text(element)),
        _ => raw_text(raw),
    }
}

/// A text, or the texts of a list joined (`["福建", "莆田市"]` → `福建 莆田市`).
#[must_use]
pub fn read_joined(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    if raw.kind() != Kind::Array {
        return raw_text(raw);
    }
    let mut parts = raw.elements().filter_map(raw_text);
    let first = parts.next()?;
    Some(parts.fold(first, |joined, part| Cow::Owned(format!("{joined} {part}"))))
}

/// Every text of a list (also in XML's wrapper), of a list of records (where `at` says, else `{url: …}`), or of a text
/// with commas, into `out`.
pub fn read_urls<'a>(raw: Raw<'a>, at: &[Pointer], out: &mut Vec<Cow<'a, str>>) {
    match raw.kind() {
        Kind::Array => out.extend(raw.elements().filter_map(|element| url(element, at))),
        Kind::Object => match unwrap(raw) {
            list if list.kind() == Kind::Array => read_urls(list, at, out),
            one => out.extend(url(one, at)),
        },
        _ => match raw_text(raw) {
            Some(Cow::Borrowed(text)) => out.extend(split(text).map(Cow::Borrowed)),
            Some(Cow::Owned(text)) => out.extend(split(&text).map(|part| Cow::Owned(part.to_owned()))),
            None => {}
        },
    }
}

/// A text; of a record the one that `at` names, else the first.
fn url<'a>(raw: Raw<'a>, at: &[Pointer]) -> Option<Cow<'a, str>> {
    let stated = || at.iter().find_map(|pointer| raw.get(pointer.parts()).and_then(raw_text));
    let inner = || raw.entries().map(|(_, value)| value).filter(|value| value.kind() == Kind::String);
    raw_text(raw).or_else(stated).or_else(|| inner().find_map(raw_text))
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ';', ' ', '\n']).map(str::trim).filter(|part| !part.is_empty())
}

/// A trimmed text that says something; `None` for lists and objects.
#[inline]
#[must_use]
pub fn raw_text(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    let text = trim(raw.text()?);
    (!text.is_empty() && text != "null").then_some(text)
}

/// Without white space at its ends, still borrowed if it was.
#[must_use]
pub fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// Where names and values stand in the records of a list.
#[derive(Debug, Clone, Default)]
pub struct Pairs {
    /// The first of these that is not empty is the name …
    pub name: Vec<Pointer>,
    /// … and of these the value.
    pub value: Vec<Pointer>,
}

impl Pairs {
    /// Calls `each` with every name and value: of a list of records, of one-key objects (`{"材质": "棉"}`), of an
    /// object, of texts `材质:棉` in a list or joined by `;`; of a list also in the wrapper that XML puts around it.
    pub fn visit<'a>(&self, raw: Raw<'a>, each: &mut dyn FnMut(Cow<'a, str>, Cow<'a, str>)) {
        let raw = unwrap(raw);
        match raw.kind() {
            Kind::Array => raw.elements().for_each(|element| self.visit_element(element, each)),
            Kind::Object => self.visit_element(raw, each),
            _ => visit_text(raw, each),
        }
    }

    fn visit_element<'a>(&self, raw: Raw<'a>, each: &mut dyn FnMut(Cow<'a, str>, Cow<'a, str>)) {
        if raw.kind() != Kind::Object {
            return visit_text(raw, each);
        }
        let first =
            |pointers: &[Pointer]| pointers.iter().filter_map(|pointer| raw.get(pointer.parts())).find_map(read);
        if self.name.is_empty() {
            for (name, value) in raw.entries() {
                if let Some(value) = read(value) {
                    each(trim(name), value);
                }
            }
        } else if let (Some(name), Some(value)) = (first(&self.name), first(&self.value)) {
            each(name, value);
        }
    }

    /// A SKU's specification: as sent, or `name:value` joined with `;` (WIRE §5 "Rows").
    #[must_use]
    pub fn spec<'a>(&self, raw: Raw<'a>) -> Option<Cow<'a, str>> {
        if !matches!(raw.kind(), Kind::Array | Kind::Object) {
            return raw_text(raw);
        }
        let raw = unwrap(raw);
        let mut joined = String::new();
        let mut add = |parts: [&str; 3]| {
            if !joined.is_empty() {
                joined.push(';');
            }
            joined.extend(parts);
        };
        let texts = raw.elements().all(|element| element.kind() != Kind::Object) && raw.kind() == Kind::Array;
        if texts {
            raw.elements().filter_map(raw_text).for_each(|text| add([&text, "", ""]));
        } else {
            self.visit(raw, &mut |name, value| add([&name, ":", &value]));
        }
        (!joined.is_empty()).then_some(Cow::Owned(joined))
    }
}

fn visit_text<'a>(raw: Raw<'a>, each: &mut dyn FnMut(Cow<'a, str>, Cow<'a, str>)) {
    let Some(text) = raw_text(raw) else { return };
    for part in text.split([';', '；', '\n']) {
        if let Some((name, value)) = part.split_once([':', '：']) {
            each(Cow::Owned(name.trim().to_owned()), Cow::Owned(value.trim().to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json;

    fn raw(text: &str) -> Raw<'_> {
        json::parse(text.as_bytes()).unwrap()
    }

    fn named() -> Pairs {
        let pointer = |text| Pointer::parse(text).unwrap();
        Pairs { name: vec![pointer("/attributeName")], value: vec![pointer("/customValueName"), pointer("/value")] }
    }

    #[test]
    fn texts_are_trimmed_and_empty_ones_are_none() {
        assert_eq!(read(raw(r#"" a ""#)).as_deref(), Some("a"));
        assert_eq!(read(raw("1036596")).as_deref(), Some("1036596"));
        assert_eq!(read(raw(r#"["","x","y"]"#)).as_deref(), Some("x"));
        for text in [r#""""#, r#"" ""#, r#""null""#, "null", "{}", "[]"] {
            assert_eq!(read(raw(text)), None, "{text}");
        }
        assert_eq!(read_joined(raw(r#"["福建","莆田市"]"#)).as_deref(), Some("福建 莆田市"));
    }

    #[test]
    fn pictures_come_in_lists_objects_and_texts() {
        for text in
            [r#"["a","b"]"#, r#"[{"url":"a"},{"id":1,"url":"b"}]"#, r#""a,b""#, r#""a;b;""#, r#"{"image":["a","b"]}"#]
        {
            let mut out = Vec::new();
            read_urls(raw(text), &[], &mut out);
            assert_eq!(out, ["a", "b"], "{text}");
        }
        for text in [r#""a""#, r#"["a"]"#, r#"{"image":"a"}"#, r#"{"url":"a","width":3}"#, r#"{"image":{"url":"a"}}"#] {
            let mut out = Vec::new();
            read_urls(raw(text), &[], &mut out);
            assert_eq!(out, ["a"], "{text}");
        }
        let sizes = r#"[{"small":"s","full":"a"},{"small":"b"}]"#;
        for text in [sizes.to_owned(), format!(r#"{{"image":{sizes}}}"#)] {
            let mut out = Vec::new();
            read_urls(raw(&text), &[Pointer::parse("/full").unwrap()], &mut out);
            assert_eq!(out, ["a", "b"], "the stated size, else the first there is: {text}");
        }
    }

    #[test]
    fn a_spec_is_as_sent_or_name_and_value_joined() {
        let plain = Pairs::default();
        assert_eq!(plain.spec(raw(r#""颜色:红;尺码:XL""#)).as_deref(), Some("颜色:红;尺码:XL"));
        assert_eq!(plain.spec(raw(r#"[{"颜色":"红"},{"尺码":"XL"}]"#)).as_deref(), Some("颜色:红;尺码:XL"));
        assert_eq!(plain.spec(raw(r#"{"颜色":"红","尺码":"XL"}"#)).as_deref(), Some("颜色:红;尺码:XL"));
        assert_eq!(plain.spec(raw(r#"["红","XL"]"#)).as_deref(), Some("红;XL"));
        let records = r#"[{"attributeName":"颜色","customValueName":"","value":"红"},{"attributeName":"","value":""}]"#;
        assert_eq!(named().spec(raw(records)).as_deref(), Some("颜色:红"));
        let one = r#"{"attributeName":"颜色","value":"红"}"#;
        for wrapper in [format!(r#"{{"attribute":{one}}}"#), format!(r#"{{"attributes":[{one}]}}"#), one.to_owned()] {
            assert_eq!(named().spec(raw(&wrapper)).as_deref(), Some("颜色:红"), "{wrapper}");
        }
        assert_eq!(plain.spec(raw(r#"{"value":["红","XL"]}"#)).as_deref(), Some("红;XL"));
        assert_eq!(plain.spec(raw("[]")), None);
    }

    #[test]
    fn attributes_come_as_records_objects_and_text() {
        for text in [
            r#"[{"品牌":"甲"},{"材质":"棉"}]"#,
            r#"{"品牌":"甲","材质":"棉"}"#,
            r#""品牌：甲；材质：棉""#,
            r#"["品牌:甲","材质:棉"]"#,
        ] {
            let mut seen = Vec::new();
            Pairs::default().visit(raw(text), &mut |name, value| seen.push(format!("{name}={value}")));
            assert_eq!(seen, ["品牌=甲", "材质=棉"], "{text}");
        }
    }
}
