//! Bodies: from the bytes a gateway sent to JSON text that can be judged and decoded.
//!
//! Takes bytes and the `Content-Type`; gives UTF-8 JSON, borrowed where it was that already: a byte-order mark is
//! stripped, GBK/GB18030 decoded, XML turned into JSON with element names as keys.
//!
//! Invariant: what is landed is never changed; this makes a reading copy, and only where one is needed.

use std::borrow::Cow;

use encoding_rs::GB18030;

use crate::base::json::{self, JsonError, Raw};

mod xml;

/// Why bytes hold no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Nothing, or only white space.
    #[error("the body is empty")]
    Empty,
    /// Neither UTF-8 nor GB18030.
    #[error("the body is neither UTF-8 nor GBK")]
    Encoding,
    /// Not JSON.
    #[error("the body is not JSON: {0}")]
    Json(#[from] JsonError),
    /// Not XML, or not data.
    #[error("the body is not XML data: {0}")]
    Xml(String),
    /// A page for people: a log-in, a notice, an error page of a server in between.
    #[error("the body is a web page, not data")]
    WebPage,
    /// Words instead of a document; error pages of load balancers are such.
    #[error("the body is text: `{0}`")]
    Text(String),
}

/// Letters of a text body that are kept in [`BodyError::Text`].
const EXCERPT_CHARS: usize = 200;

/// The body as JSON text, ready for [`json::parse`]. Valid UTF-8 JSON is borrowed.
///
/// The syntax of JSON is not checked here; XML is.
///
/// # Errors
/// [`BodyError`], all but [`BodyError::Json`].
pub fn to_json<'a>(body: &'a [u8], content_type: Option<&str>) -> Result<Cow<'a, [u8]>, BodyError> {
    let text = to_utf8(body, content_type)?;
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err(BodyError::Empty),
        Some(b'<') => xml::to_json(&text).map(|json| Cow::Owned(json.into_bytes())),
        Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9') => Ok(text),
        Some(_) if json::parse(&text).is_ok() => Ok(text),
        Some(_) => {
            let words = String::from_utf8_lossy(&text);
            Err(BodyError::Text(words.trim().chars().take(EXCERPT_CHARS).collect()))
        }
    }
}

/// The document in a body that [`to_json`] gave.
///
/// # Errors
/// [`BodyError::Json`].
pub fn parse(json: &[u8]) -> Result<Raw<'_>, BodyError> {
    Ok(json::parse(json)?)
}

/// The body in UTF-8, without a byte-order mark.
fn to_utf8<'a>(body: &'a [u8], content_type: Option<&str>) -> Result<Cow<'a, [u8]>, BodyError> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let utf8 = std::str::from_utf8(body);
    let gbk_stated = content_type.is_some_and(states_gbk);
    // Servers that say GBK and send UTF-8 exist; three-byte sequences never occur by chance in GBK text.
    if utf8.is_ok_and(|text| !gbk_stated || text.is_ascii() || text.chars().any(|char| char >= '\u{800}')) {
        return Ok(Cow::Borrowed(body));
    }
    match GB18030.decode_without_bom_handling_and_without_replacement(body) {
        Some(text) => Ok(Cow::Owned(text.into_owned().into_bytes())),
        None if utf8.is_ok() => Ok(Cow::Borrowed(body)),
        None => Err(BodyError::Encoding),
    }
}

fn states_gbk(content_type: &str) -> bool {
    let lower = content_type.to_ascii_lowercase();
    lower.split_once("charset=").is_some_and(|(_, charset)| charset.trim_start_matches('"').starts_with("gb"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &[u8], content_type: Option<&str>, expected: &str) {
        let json = to_json(body, content_type).unwrap();
        assert_eq!(std::str::from_utf8(&json).unwrap(), expected);
    }

    #[test]
    fn utf8_json_is_borrowed_and_a_byte_order_mark_is_stripped() {
        let body = "{\"a\":\"货盘\"}".as_bytes();
        assert!(matches!(to_json(body, Some("application/json")).unwrap(), Cow::Borrowed(_)));
        check(b"\xEF\xBB\xBF{}", None, "{}");
    }

    #[test]
    fn gbk_is_read_by_its_charset_or_when_it_is_no_utf8() {
        let (gbk, _, _) = encoding_rs::GBK.encode("{\"error\":\"频率限制\"}");
        check(&gbk, Some("text/html; charset=GBK"), "{\"error\":\"频率限制\"}");
        check(&gbk, Some("application/json;charset=\"gb2312\""), "{\"error\":\"频率限制\"}");
        check(&gbk, None, "{\"error\":\"频率限制\"}");
        check(&gbk, Some("application/json; charset=utf-8"), "{\"error\":\"频率限制\"}");
        // Valid as UTF-8 by chance: only the header tells.
        let (chance, _, _) = encoding_rs::GBK.encode("\"小\"");
        assert!(std::str::from_utf8(&chance).is_ok());
        check(&chance, Some("text/plain; charset=gbk"), "\"小\"");
    }

    #[test]
    fn utf8_under_a_false_gbk_header_stays_utf8() {
        check("{\"a\":\"货盘\"}".as_bytes(), Some("text/html; charset=gbk"), "{\"a\":\"货盘\"}");
    }

    #[test]
    fn what_is_no_document_says_so() {
        assert_eq!(to_json(b" \r\n", None), Err(BodyError::Empty));
        assert_eq!(to_json(b"\xEF\xBB\xBF", None), Err(BodyError::Empty));
        assert_eq!(to_json(b"Too many requests", None), Err(BodyError::Text("Too many requests".into())));
        assert_eq!(to_json(b"{\"a\":\"\xFF\xFF\"}", None), Err(BodyError::Encoding));
        assert!(matches!(to_json(b"<html><body>busy</body></html>", None), Err(BodyError::WebPage)));
        assert!(matches!(parse(b"{\"a\":"), Err(BodyError::Json(_))));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>, kind in 0..3_usize) {
            let content_type = [None, Some("text/html;charset=gbk"), Some("application/xml")][kind];
            if let Ok(json) = to_json(&body, content_type) {
                let _ = parse(&json);
            }
        }

        #[test]
        fn no_xml_like_text_makes_it_panic_or_give_broken_json(body in "(<[ab]>|</[ab]>|<[ab]/>|&lt;|&#x4e00;|&x;|[\"\\\\a货 ]|<!--x-->|<!\\[CDATA\\[<\\]\\]>){0,20}") {
            if let Ok(json) = to_json(body.as_bytes(), None) && body.trim_start().starts_with('<') {
                parse(&json).unwrap();
            }
        }
    }
}
