//! Markup that cannot be broken by what is put into it.
//!
//! Invariant: only texts of this program's own source become markup; every other text is escaped on its way in. The types
//! see to it: markup is `&'static str`.

use std::fmt::Write as _;

/// A page under construction.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup of our own.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// An element's start; the values of attributes are escaped.
    pub(super) fn open(&mut self, element: &'static str, attributes: &[(&'static str, &str)]) -> &mut Self {
        self.0.push('<');
        self.0.push_str(element);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.text(value);
            self.0.push('"');
        }
        self.0.push('>');
        self
    }

    /// An element's end.
    pub(super) fn close(&mut self, element: &'static str) -> &mut Self {
        self.0.push_str("</");
        self.0.push_str(element);
        self.0.push('>');
        self
    }

    /// Text.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Neither may it turn the direction of what follows, nor hide in it.
                letter if is_unseen(letter) => self.0.push(' '),
                letter => self.0.push(letter),
            }
        }
        self
    }

    /// A text in both languages; the page shows one.
    pub(super) fn say(&mut self, zh: &str, en: &str) -> &mut Self {
        if zh == en {
            return self.text(zh);
        }
        self.raw("<span lang=\"zh\">").text(zh).raw("</span><span lang=\"en\">").text(en).raw("</span>")
    }

    /// An element that holds a text in both languages.
    pub(super) fn says(&mut self, element: &'static str, class: &str, zh: &str, en: &str) -> &mut Self {
        self.begin(element, class).say(zh, en).close(element)
    }

    /// An element that holds a text.
    pub(super) fn holds(&mut self, element: &'static str, class: &str, text: &str) -> &mut Self {
        self.begin(element, class).text(text).close(element)
    }

    /// An element's start, with a class unless that is empty.
    pub(super) fn begin(&mut self, element: &'static str, class: &str) -> &mut Self {
        if class.is_empty() { self.open(element, &[]) } else { self.open(element, &[("class", class)]) }
    }

    /// A link to a page of the web, where `address` is one; else only its text.
    pub(super) fn link(&mut self, address: Option<&str>, text: &str) -> &mut Self {
        match address.filter(|address| is_web(address)) {
            Some(address) => {
                let attributes = [("href", address), ("target", "_blank"), ("rel", "noopener noreferrer")];
                self.open("a", &attributes).text(text).close("a")
            }
            None => self.text(text),
        }
    }

    /// Data for the page's own script: JSON in a block that no browser runs, and that no text in it can end.
    pub(super) fn data(&mut self, id: &'static str, json: &serde_json::Value) -> &mut Self {
        self.open("script", &[("type", "application/json"), ("id", id)]);
        for letter in json.to_string().chars() {
            match letter {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    let _ = write!(self.0, "\\u{:04x}", u32::from(letter));
                }
                letter if is_unseen(letter) => self.0.push(' '),
                letter => self.0.push(letter),
            }
        }
        self.close("script")
    }

    /// The page.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Control characters, and those that turn the direction of writing.
fn is_unseen(letter: char) -> bool {
    (letter.is_control() && letter != '\n' && letter != '\t')
        || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether an address is one of the web: nothing else (`javascript:`, `data:`, `file:`) becomes a link.
fn is_web(address: &str) -> bool {
    let begins = |scheme: &str| address.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    begins("https://") || begins("http://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(make: impl FnOnce(&mut Html)) -> String {
        let mut html = Html::default();
        make(&mut html);
        html.finish()
    }

    #[test]
    fn no_text_becomes_markup() {
        let nasty = "<script>alert('1')</script> \"&amp; \u{202e}";
        let harmless = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &quot;&amp;amp;  ";
        assert_eq!(made(|html| _ = html.text(nasty)), harmless);
        assert_eq!(made(|html| _ = html.open("p", &[("title", nasty)])), format!("<p title=\"{harmless}\">"));
    }

    #[test]
    fn only_addresses_of_the_web_are_links() {
        let link = |address: &str| made(|html| _ = html.link(Some(address), "x"));
        for address in ["javascript:alert(1)", " https://a", "data:text/html,x", "//a", "", "file:///etc/passwd"] {
            assert_eq!(link(address), "x");
        }
        assert!(
            link("HTTPS://a.example/?q=\"><b>").starts_with("<a href=\"HTTPS://a.example/?q=&quot;&gt;&lt;b&gt;\"")
        );
    }

    #[test]
    fn no_data_ends_its_block() {
        let json = serde_json::json!({ "title": "</script><!--\u{2028}&" });
        let text = made(|html| _ = html.data("data", &json));
        let inner = text.strip_prefix("<script type=\"application/json\" id=\"data\">").unwrap();
        let inner = inner.strip_suffix("</script>").unwrap();
        assert!(!inner.contains(['<', '>', '&', '\u{2028}']), "{inner}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(inner).unwrap(), json);
    }
}
