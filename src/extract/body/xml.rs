//! XML answers as JSON: "XML carries the same names as elements" (WIRE §1).
//!
//! An element without children is a string (its trimmed text, `""` when it has none); one with children is an object,
//! its own text dropped; elements that repeat within a parent become a list, in order. Attributes, comments and
//! processing instructions are ignored. The root's name is a key, and its children also stand beside it, so that a
//! pointer fits whether the gateway wraps the JSON names in a root of its own (`<response><productInfo>…`) or not:
//!
//! `<r><a>1</a><b>2</b><b>3</b></r>` → `{"r":{"a":"1","b":["2","3"]},"a":"1","b":["2","3"]}`
//!
//! Invariant: work and output are linear in the input, and nesting is bounded: no entity is expanded but the
//! five of XML and character references.

use std::fmt::Write as _;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

use super::BodyError;

/// Deeper documents are refused.
const DEPTH_MAX: usize = 64;

#[derive(Default)]
struct Element {
    name: String,
    text: String,
    /// By name, in order of first appearance: the JSON of each.
    children: Vec<(String, Vec<String>)>,
}

/// The document as JSON text.
pub(super) fn to_json(text: &[u8]) -> Result<String, BodyError> {
    let mut reader = Reader::from_reader(text);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Element> = Vec::new();
    loop {
        match reader.read_event().map_err(|error| broken(error.to_string()))? {
            Event::Start(start) => {
                if open.len() >= DEPTH_MAX {
                    return Err(broken(format!("nested deeper than {DEPTH_MAX}")));
                }
                let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                if open.is_empty() && name.eq_ignore_ascii_case("html") {
                    return Err(BodyError::WebPage);
                }
                open.push(Element { name, ..Element::default() });
            }
            Event::End(_) => {
                let Some(element) = open.pop() else { return Err(broken("an element closes twice")) };
                match open.last_mut() {
                    Some(parent) => parent.add(element),
                    None => return finish(&mut reader, element),
                }
            }
            Event::Text(words) => append(&mut open, &words.xml_content().unwrap_or_default()),
            Event::CData(words) => append(&mut open, &String::from_utf8_lossy(&words)),
            Event::GeneralRef(reference) => append(&mut open, &resolve(&reference)?),
            Event::Eof => return Err(broken("the document is cut")),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

/// Writes the root once nothing but white space and comments follows it.
fn finish(reader: &mut Reader<&[u8]>, root: Element) -> Result<String, BodyError> {
    loop {
        match reader.read_event().map_err(|error| broken(error.to_string()))? {
            Event::Eof => break,
            Event::Comment(_) | Event::PI(_) => {}
            Event::Text(words) if words.iter().all(u8::is_ascii_whitespace) => {}
            _ => return Err(broken("text after the document")),
        }
    }
    let mut out = String::from("{");
    push_string(&mut out, &root.name);
    out.push(':');
    out.push_str(&root.json());
    for (name, values) in root.children.iter().filter(|(name, _)| *name != root.name) {
        out.push(',');
        push_member(&mut out, name, values);
    }
    out.push('}');
    Ok(out)
}

impl Element {
    fn add(&mut self, child: Element) {
        let json = child.json();
        // Elements of one name follow each other: the last group is nearly always the right one.
        match self.children.iter_mut().rev().find(|(name, _)| *name == child.name) {
            Some((_, values)) => values.push(json),
            None => self.children.push((child.name, vec![json])),
        }
    }

    fn json(&self) -> String {
        let mut out = String::new();
        if self.children.is_empty() {
            push_string(&mut out, self.text.trim());
            return out;
        }
        out.push('{');
        for (index, (name, values)) in self.children.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            push_member(&mut out, name, values);
        }
        out.push('}');
        out
    }
}

fn push_member(out: &mut String, name: &str, values: &[String]) {
    push_string(out, name);
    out.push(':');
    match values {
        [one] => out.push_str(one),
        many => {
            out.push('[');
            for (index, value) in many.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(value);
            }
            out.push(']');
        }
    }
}

fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

fn append(open: &mut [Element], words: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(words);
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<String, BodyError> {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Ok(character.to_string());
    }
    let name = String::from_utf8_lossy(reference);
    quick_xml::escape::resolve_predefined_entity(&name)
        .map(str::to_owned)
        .ok_or_else(|| broken(format!("the entity `&{name};` is not defined")))
}

fn broken(what: impl Into<String>) -> BodyError {
    BodyError::Xml(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(xml: &str, expected: &str) {
        let json = to_json(xml.as_bytes()).unwrap_or_else(|error| panic!("{xml}: {error}"));
        assert_eq!(json, expected, "{xml}");
    }

    #[test]
    fn names_become_keys_and_repeated_elements_lists() {
        check(
            "<?xml version=\"1.0\"?><r><a>1</a><b>2</b><c/><b> 3 </b></r>",
            r#"{"r":{"a":"1","b":["2","3"],"c":""},"a":"1","b":["2","3"],"c":""}"#,
        );
        check(
            "<productInfo x='1'><productID>9</productID></productInfo>",
            r#"{"productInfo":{"productID":"9"},"productID":"9"}"#,
        );
    }

    #[test]
    fn text_is_unescaped_trimmed_and_written_as_json() {
        check("<a> &lt;\"棉\\&#x4e00;&gt; <![CDATA[<&>]]></a>", r#"{"a":"<\"棉\\一> <&>"}"#);
    }

    #[test]
    fn what_is_cut_deep_or_strange_is_refused() {
        for xml in ["<a><b>1</b>", "<a></b>", "<a>&evil;</a>", "<a/>x", "<!-- only -->", "<HTML/>"] {
            assert!(to_json(xml.as_bytes()).is_err(), "{xml}");
        }
        let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
        assert!(to_json(deep.as_bytes()).is_err());
    }
}
