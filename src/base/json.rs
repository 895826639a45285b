//! JSON read in place: one validating pass over the bytes, then slices of them.
//!
//! Takes the bytes of a document; gives [`Raw`] values, each the exact text of one JSON value, so that a
//! number's digits reach the tables as they were sent and `explain` can show the bytes a column came from.
//!
//! Grammar: RFC 8259, with one leniency that hand-built answers need: control characters inside strings are
//! taken as they are. Lone surrogates in `\u` escapes become U+FFFD. Of repeated names the last one counts.
//!
//! Invariant: no input makes this panic, recurse or allocate in proportion to its nesting.

use std::borrow::Cow;

/// Deeper documents are refused.
pub const DEPTH_MAX: u32 = 128;

/// Where and why bytes are no JSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct JsonError {
    /// Offset of the first byte that does not fit.
    pub offset: usize,
    /// What was wrong there.
    pub what: &'static str,
}

/// The type of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number, as written.
    Number,
    /// A string, still escaped.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// The exact text of one valid JSON value, without surrounding white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a> {
    text: &'a str,
}

/// Validates a whole document once.
///
/// # Errors
/// [`JsonError`] with the offset of the first byte that is not UTF-8 or not JSON.
pub fn parse(bytes: &[u8]) -> Result<Raw<'_>, JsonError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Err(JsonError { offset: error.valid_up_to(), what: "not UTF-8" }),
    };
    let start = skip_space(bytes, 0);
    let end = validate(bytes, start)?;
    let rest = skip_space(bytes, end);
    if rest != bytes.len() {
        return Err(JsonError { offset: rest, what: "text after the document" });
    }
    Ok(Raw { text: &text[start..end] })
}

impl<'a> Raw<'a> {
    /// Its type.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.text.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// Its exact bytes.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// Its exact text.
    #[must_use]
    pub fn json(self) -> &'a str {
        self.text
    }

    /// The value at these pointer parts; numbers index arrays.
    #[must_use]
    pub fn get(self, parts: &[String]) -> Option<Raw<'a>> {
        parts.iter().try_fold(self, |value, part| value.child(part))
    }

    /// A string unescaped, a number or boolean as written; `None` for null, arrays and objects.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.kind() {
            Kind::String => Some(unescape(&self.text[1..self.text.len() - 1])),
            Kind::Number | Kind::Bool => Some(Cow::Borrowed(self.json())),
            Kind::Null | Kind::Array | Kind::Object => None,
        }
    }

    /// The elements of an array; none of anything else.
    #[must_use]
    pub fn elements(self) -> Elements<'a> {
        let text = if self.kind() == Kind::Array { self.text } else { "[" };
        Elements { text, at: 1 }
    }

    /// Names and values of an object; none of anything else.
    #[must_use]
    pub fn entries(self) -> Entries<'a> {
        let text = if self.kind() == Kind::Object { self.text } else { "{" };
        Entries { text, at: 1 }
    }

    /// Null, `""`, `"null"`, `[]` or `{}`: how PHP-type services write "nothing".
    #[must_use]
    pub fn is_empty_value(self) -> bool {
        match self.text.as_bytes() {
            b"null" | b"\"\"" | b"\"null\"" => true,
            [b'[', rest @ ..] | [b'{', rest @ ..] => matches!(rest.get(skip_space(rest, 0)), Some(b']' | b'}')),
            [b'"', middle @ .., b'"'] => middle.iter().all(u8::is_ascii_whitespace),
            _ => false,
        }
    }

    fn child(self, name: &str) -> Option<Raw<'a>> {
        match self.kind() {
            Kind::Object => self.entries().filter(|(key, _)| key == name).map(|(_, value)| value).last(),
            Kind::Array => name.parse().ok().and_then(|index| self.elements().nth(index)),
            _ => None,
        }
    }
}

/// Iterates over an array.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Raw<'a>;

    #[inline]
    fn next(&mut self) -> Option<Raw<'a>> {
        let bytes = self.text.as_bytes();
        let start = next_value(bytes, self.at)?;
        self.at = skip_value(bytes, start);
        Some(Raw { text: &self.text[start..self.at] })
    }
}

/// Iterates over an object.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Entries<'a> {
    /// The next name, still escaped and without its quotes, and value.
    #[inline]
    fn next_raw(&mut self) -> Option<(&'a str, Raw<'a>)> {
        let bytes = self.text.as_bytes();
        let name = next_value(bytes, self.at)?;
        let name_end = skip_value(bytes, name);
        let colon = skip_space(bytes, name_end);
        let start = skip_space(bytes, colon + 1);
        self.at = skip_value(bytes, start);
        Some((&self.text[name + 1..name_end - 1], Raw { text: &self.text[start..self.at] }))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (Cow<'a, str>, Raw<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.next_raw().map(|(name, value)| (unescape(name), value))
    }
}

/// Many pointers, looked up in one pass over a value.
///
/// Objects of one list name their members in the same order, so each node first looks where the last object
/// left off: a member costs one comparison.
#[derive(Debug, Clone)]
pub struct Pointers {
    nodes: Vec<Node>,
    slots: usize,
}

#[derive(Debug, Clone, Default)]
struct Node {
    slots: Vec<usize>,
    children: Vec<(String, usize)>,
}

impl Pointers {
    /// Compiles pointers, each given as its parts; the n-th fills the n-th slot.
    pub fn new<'p>(pointers: impl IntoIterator<Item = &'p [String]>) -> Self {
        let mut this = Self { nodes: vec![Node::default()], slots: 0 };
        for parts in pointers {
            let mut node = 0;
            for part in parts {
                let known = this.nodes[node].children.iter().find(|(name, _)| name == part).map(|(_, child)| *child);
                node = known.unwrap_or_else(|| {
                    let child = this.nodes.len();
                    this.nodes.push(Node::default());
                    this.nodes[node].children.push((part.clone(), child));
                    child
                });
            }
            this.nodes[node].slots.push(this.slots);
            this.slots += 1;
        }
        this
    }

    /// How many slots [`Pointers::capture`] fills.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots
    }

    /// Whether there is nothing to look up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots == 0
    }

    /// Fills `found[slot]` with the value each pointer points at; `found` must have [`Pointers::len`] slots.
    pub fn capture<'a>(&self, value: Raw<'a>, found: &mut [Option<Raw<'a>>]) {
        found.fill(None);
        self.visit(0, value, found);
    }

    fn visit<'a>(&self, node: usize, value: Raw<'a>, found: &mut [Option<Raw<'a>>]) {
        let node = &self.nodes[node];
        for &slot in &node.slots {
            if let Some(place) = found.get_mut(slot) {
                *place = Some(value);
            }
        }
        if node.children.is_empty() {
            return;
        }
        match value.kind() {
            Kind::Object => self.visit_object(node, value, found),
            Kind::Array => {
                for (name, child) in &node.children {
                    if let Some(element) = value.child(name) {
                        self.visit(*child, element, found);
                    }
                }
            }
            _ => {}
        }
    }

    fn visit_object<'a>(&self, node: &Node, value: Raw<'a>, found: &mut [Option<Raw<'a>>]) {
        let mut guess = 0;
        let mut entries = value.entries();
        while let Some((name, value)) = entries.next_raw() {
            let unescaped;
            let name = if memchr::memchr(b'\\', name.as_bytes()).is_some() {
                unescaped = unescape(name);
                &*unescaped
            } else {
                name
            };
            let (before, after) = node.children.split_at(guess);
            let hit = after.iter().chain(before).position(|(known, _)| known == name);
            if let Some(offset) = hit {
                let index = (guess + offset) % node.children.len();
                guess = (index + 1) % node.children.len();
                self.visit(node.children[index].1, value, found);
            }
        }
    }
}

/// The text of a string's inside, escapes resolved.
fn unescape(text: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', text.as_bytes()) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(escape) = rest.strip_prefix('\\') {
        let mut used = 1;
        match escape.as_bytes().first() {
            Some(b'n') => out.push('\n'),
            Some(b't') => out.push('\t'),
            Some(b'r') => out.push('\r'),
            Some(b'b') => out.push('\u{8}'),
            Some(b'f') => out.push('\u{c}'),
            Some(b'u') => {
                let (character, length) = unicode_escape(escape.as_bytes());
                out.push(character);
                used = length;
            }
            Some(&byte) => out.push(char::from(byte)),
            None => break,
        }
        rest = &escape[used..];
        let next = memchr::memchr(b'\\', rest.as_bytes()).unwrap_or(rest.len());
        out.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    Cow::Owned(out)
}

/// The character of `uXXXX` (or of a surrogate pair `uXXXX\uXXXX`) and its length.
fn unicode_escape(bytes: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        let digits = bytes.get(at..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        digits.and_then(|digits| u32::from_str_radix(digits, 16).ok())
    };
    let first = unit(1).unwrap_or(0xFFFD);
    let second = if bytes.get(5..7) == Some(b"\\u") { unit(7) } else { None };
    if let (0xD800..0xDC00, Some(second @ 0xDC00..0xE000)) = (first, second) {
        let scalar = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER), 11);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 5)
}

#[inline]
fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The start of the next value or name in a valid array or object, past commas; `None` at its end.
#[inline]
fn next_value(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = skip_space(bytes, at);
    if bytes.get(at) == Some(&b',') {
        at = skip_space(bytes, at + 1);
    }
    match bytes.get(at) {
        None | Some(b']' | b'}') => None,
        Some(_) => Some(at),
    }
}

/// The end of the string whose opening quote is at `start`, in valid JSON.
#[inline]
fn skip_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    // Names and short values end within a few bytes: a search call would cost more than the loop.
    let near = (at + 24).min(bytes.len());
    while at < near {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    while let Some(offset) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += offset;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

/// The end of the value that starts at `start`, in valid JSON.
#[inline]
fn skip_value(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start) {
        Some(b'"') => skip_string(bytes, start),
        Some(b'{' | b'[') => skip_nested(bytes, start),
        _ => {
            let mut at = start;
            while let Some(byte) = bytes.get(at) {
                if matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\n' | b'\r') {
                    break;
                }
                at += 1;
            }
            at
        }
    }
}

fn skip_nested(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_u32;
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = skip_string(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Checks the value at `start` and returns its end.
fn validate(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let mut at = start;
    let mut open: u128 = 0; // one bit a level, the lowest is the innermost: 1 = object
    let mut depth = 0_u32;
    loop {
        // A value is expected at `at`.
        match bytes.get(at) {
            Some(&byte @ (b'{' | b'[')) => {
                if depth == DEPTH_MAX {
                    return Err(JsonError { offset: at, what: "nested too deeply" });
                }
                let object = byte == b'{';
                open = (open << 1) | u128::from(object);
                depth += 1;
                at = skip_space(bytes, at + 1);
                if bytes.get(at) != Some(if object { &b'}' } else { &b']' }) {
                    if object {
                        at = validate_name(bytes, at)?;
                    }
                    continue;
                }
            }
            Some(b'"') => at = validate_string(bytes, at)?,
            Some(b't') => at = validate_word(bytes, at, b"true")?,
            Some(b'f') => at = validate_word(bytes, at, b"false")?,
            Some(b'n') => at = validate_word(bytes, at, b"null")?,
            Some(b'-' | b'0'..=b'9') => at = validate_number(bytes, at)?,
            Some(_) => return Err(JsonError { offset: at, what: "not a value" }),
            None => return Err(JsonError { offset: at, what: "the document is cut" }),
        }
        // After a value: close what ends here, or go on to the next member.
        loop {
            if depth == 0 {
                return Ok(at);
            }
            at = skip_space(bytes, at);
            let object = open & 1 == 1;
            match bytes.get(at) {
                Some(b',') => {
                    at = skip_space(bytes, at + 1);
                    if object {
                        at = validate_name(bytes, at)?;
                    }
                    break;
                }
                Some(b'}') if object => {}
                Some(b']') if !object => {}
                Some(_) => return Err(JsonError { offset: at, what: "not `,` nor the end of a list or object" }),
                None => return Err(JsonError { offset: at, what: "the document is cut" }),
            }
            open >>= 1;
            depth -= 1;
            at += 1;
        }
    }
}

/// Checks `"name" :` and returns where its value starts.
#[inline]
fn validate_name(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    match bytes.get(at) {
        Some(b'"') => {}
        Some(_) => return Err(JsonError { offset: at, what: "not a name" }),
        None => return Err(JsonError { offset: at, what: "the document is cut" }),
    }
    let colon = skip_space(bytes, validate_string(bytes, at)?);
    match bytes.get(colon) {
        Some(b':') => Ok(skip_space(bytes, colon + 1)),
        Some(_) => Err(JsonError { offset: colon, what: "not `:`" }),
        None => Err(JsonError { offset: colon, what: "the document is cut" }),
    }
}

#[inline]
fn validate_string(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let cut = JsonError { offset: bytes.len(), what: "the document is cut" };
    let mut at = start + 1;
    loop {
        let near = (at + 24).min(bytes.len());
        while at < near && !matches!(bytes[at], b'"' | b'\\') {
            at += 1;
        }
        if at == near {
            at += memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()).ok_or(cut)?;
        }
        if bytes[at] == b'"' {
            return Ok(at + 1);
        }
        match bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
            Some(b'u') => {
                let digits = bytes.get(at + 2..at + 6).ok_or(cut)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(JsonError { offset: at, what: "not an escape" });
                }
                at += 6;
            }
            Some(_) => return Err(JsonError { offset: at, what: "not an escape" }),
            None => return Err(cut),
        }
    }
}

fn validate_word(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, JsonError> {
    if bytes[at..].starts_with(word) {
        Ok(at + word.len())
    } else if word.starts_with(&bytes[at..]) {
        Err(JsonError { offset: bytes.len(), what: "the document is cut" })
    } else {
        Err(JsonError { offset: at, what: "not a value" })
    }
}

#[inline]
fn validate_number(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let bad = |offset| JsonError { offset, what: "not a number" };
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let whole = start + usize::from(bytes[start] == b'-');
    let mut at = digits(whole);
    if at == whole || (bytes[whole] == b'0' && at > whole + 1) {
        return Err(bad(whole));
    }
    if bytes.get(at) == Some(&b'.') {
        let fraction = at + 1;
        at = digits(fraction);
        if at == fraction {
            return Err(bad(at));
        }
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let exponent = at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at = digits(exponent);
        if at == exponent {
            return Err(bad(at));
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests;
