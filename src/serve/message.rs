//! What clients send, from its bytes: every length is checked, so that no bytes make it panic.
//!
//! Source: "Message Formats" of PostgreSQL's documentation, protocol 3.0 (and 3.2, which differs in keys only).

use bytes::{Buf as _, Bytes};

/// `SSLRequest`, `GSSENCRequest` and `CancelRequest` in place of a protocol's version.
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
const CANCEL: u32 = 80_877_102;

/// What may come before a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opening {
    Ssl,
    Gss,
    Cancel { pid: i32, key: i32 },
    Start { major: u16, minor: u16, parameters: Vec<(String, String)> },
}

/// A message of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind {
        portal: String,
        statement: String,
        formats: Vec<i16>,
        values: Vec<Option<Bytes>>,
        results: Vec<i16>,
    },
    Describe(Target),
    Execute {
        portal: String,
        rows_max: usize,
    },
    Close(Target),
    Flush,
    Sync,
    Terminate,
    /// Of `COPY`, which is not there.
    Copy,
    /// `PasswordMessage`, `SASLInitialResponse` and `SASLResponse`, which their bytes do not tell apart.
    Password(Bytes),
}

/// A statement or portal by its name; that without a name has an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Statement(String),
    Portal(String),
}

impl Opening {
    /// From the bytes after the length.
    pub(super) fn parse(body: Bytes) -> Option<Self> {
        let mut body = Reader(body);
        match body.u32()? {
            SSL => Some(Self::Ssl),
            GSS => Some(Self::Gss),
            CANCEL => Some(Self::Cancel { pid: body.i32()?, key: body.i32()? }),
            version => {
                let mut parameters = Vec::new();
                loop {
                    let name = body.text()?;
                    if name.is_empty() {
                        break;
                    }
                    parameters.push((name, body.text()?));
                }
                let [major, minor] = [version >> 16, version & 0xFFFF].map(|half| half as u16);
                Some(Self::Start { major, minor, parameters })
            }
        }
    }
}

impl Message {
    /// From a message's letter and the bytes after its length; `None`: it is none.
    pub(super) fn parse(letter: u8, body: Bytes) -> Option<Self> {
        let mut body = Reader(body);
        let message = match letter {
            b'Q' => Self::Query(body.text()?),
            b'P' => {
                let (name, sql) = (body.text()?, body.text()?);
                Self::Parse { name, sql, types: body.list(Reader::u32)? }
            }
            b'B' => {
                let (portal, statement) = (body.text()?, body.text()?);
                let formats = body.list(Reader::i16)?;
                let values = body.list(Reader::value)?;
                Self::Bind { portal, statement, formats, values, results: body.list(Reader::i16)? }
            }
            b'D' => Self::Describe(body.target()?),
            b'C' => Self::Close(body.target()?),
            b'E' => {
                let portal = body.text()?;
                // None, and any that is no number of rows, is all of them.
                Self::Execute { portal, rows_max: usize::try_from(body.i32()?).unwrap_or(0) }
            }
            b'H' => Self::Flush,
            b'S' => Self::Sync,
            b'X' => Self::Terminate,
            b'd' | b'c' | b'f' => Self::Copy,
            b'p' => return Some(Self::Password(body.0)),
            _ => return None,
        };
        Some(message)
    }
}

/// A mechanism's name and its first message, from the bytes of a first answer to SASL.
pub(super) fn sasl_initial(body: Bytes) -> Option<(String, Bytes)> {
    let mut body = Reader(body);
    Some((body.text()?, body.value()??))
}

struct Reader(Bytes);

impl Reader {
    fn u32(&mut self) -> Option<u32> {
        self.0.try_get_u32().ok()
    }

    fn i32(&mut self) -> Option<i32> {
        self.0.try_get_i32().ok()
    }

    fn i16(&mut self) -> Option<i16> {
        self.0.try_get_i16().ok()
    }

    /// Up to a zero byte. What is no UTF-8 cannot be a query or a name.
    fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        String::from_utf8(text.into()).ok()
    }

    /// A count and so many of them: as many as there are bytes for.
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.0.try_get_u16().ok()?;
        (0..count).map(|_| item(self)).collect()
    }

    /// A length and so many bytes; -1 stands for null.
    fn value(&mut self) -> Option<Option<Bytes>> {
        match self.i32()? {
            -1 => Some(None),
            length => {
                let length = usize::try_from(length).ok().filter(|length| *length <= self.0.len())?;
                Some(Some(self.0.split_to(length)))
            }
        }
    }

    fn target(&mut self) -> Option<Target> {
        let kind = self.0.try_get_u8().ok()?;
        let name = self.text()?;
        match kind {
            b'S' => Some(Target::Statement(name)),
            b'P' => Some(Target::Portal(name)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(letter: u8, body: &[u8]) -> Option<Message> {
        Message::parse(letter, Bytes::copy_from_slice(body))
    }

    #[test]
    fn messages_are_read_as_they_are_documented() {
        assert_eq!(parse(b'Q', b"select 1\0"), Some(Message::Query("select 1".into())));
        let parsed = Message::Parse { name: "s".into(), sql: "select $1".into(), types: vec![23] };
        assert_eq!(parse(b'P', b"s\0select $1\0\0\x01\0\0\0\x17"), Some(parsed));
        let bound = Message::Bind {
            portal: String::new(),
            statement: "s".into(),
            formats: vec![1],
            values: vec![Some(Bytes::from_static(b"ab")), None],
            results: vec![0],
        };
        assert_eq!(parse(b'B', b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\0"), Some(bound));
        assert_eq!(parse(b'E', b"\0\0\0\0\x05"), Some(Message::Execute { portal: String::new(), rows_max: 5 }));
        assert_eq!(parse(b'D', b"Sx\0"), Some(Message::Describe(Target::Statement("x".into()))));
        let opening = Opening::parse(Bytes::from_static(b"\0\x03\0\0user\0ann\0\0"));
        let parameters = vec![("user".to_owned(), "ann".to_owned())];
        assert_eq!(opening, Some(Opening::Start { major: 3, minor: 0, parameters }));
    }

    #[test]
    fn what_is_cut_or_lies_about_its_length_is_no_message() {
        for (letter, body) in [
            (b'Q', &b"select 1"[..]),
            (b'Q', b"\xff\0"),
            (b'P', b"s\0select 1\0\0\x02\0\0\0\x17"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe"),
            (b'D', b"Xx\0"),
            (b'z', b""),
        ] {
            assert_eq!(parse(letter, body), None, "{}", letter as char);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(letter: u8, body: Vec<u8>) {
            let body = Bytes::from(body);
            let _ = (Opening::parse(body.clone()), sasl_initial(body.clone()), Message::parse(letter, body));
        }
    }
}
