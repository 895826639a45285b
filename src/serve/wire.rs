//! One client's socket: whole messages in, messages out, both within limits.
//!
//! Invariant: no more than one message's limit, and what a client sends ahead while it is served, is ever held.

use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::failure::Failure;
use super::message::{Message, Opening};

/// Bytes of a message before the login, as in PostgreSQL.
const BEFORE_LOGIN_BYTES_MAX: usize = 10_000;
/// Bytes of a message after it: a query, or the values of one.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// What a client may send ahead while its query runs.
const AHEAD_BYTES_MAX: usize = 64 << 10;
/// From so many bytes on, what is written is sent.
const SEND_BYTES: usize = 64 << 10;

/// A plain or a TLS stream.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// Why no message came.
#[derive(Debug)]
pub(super) enum Ended {
    /// The client has gone, or the network.
    Gone,
    /// It sent what is no message.
    Wrong(Failure),
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// A client's socket with what has been read and what is to be sent.
pub(super) struct Wire {
    socket: Box<dyn Socket>,
    incoming: BytesMut,
    outgoing: BytesMut,
    message_bytes_max: usize,
}

impl Wire {
    pub(super) fn new(socket: Box<dyn Socket>) -> Self {
        let message_bytes_max = BEFORE_LOGIN_BYTES_MAX;
        Self { socket, incoming: BytesMut::new(), outgoing: BytesMut::new(), message_bytes_max }
    }

    /// From here on messages may be long.
    pub(super) fn is_logged_in(&mut self) {
        self.message_bytes_max = MESSAGE_BYTES_MAX;
    }

    /// The next message before a session.
    pub(super) async fn opening(&mut self) -> Result<Opening, Ended> {
        let body = self.frame(0).await?;
        Opening::parse(body).ok_or_else(|| Ended::Wrong(Failure::protocol("invalid startup message")))
    }

    /// The next message of a session.
    pub(super) async fn message(&mut self) -> Result<Message, Ended> {
        self.at_least(1).await?;
        let letter = self.incoming[0];
        let body = self.frame(1).await?;
        Message::parse(letter, body).ok_or_else(|| {
            let letter = char::from(letter).escape_default().to_string();
            Ended::Wrong(Failure::protocol(format!("invalid message of type `{letter}`")))
        })
    }

    /// A message's bytes after its length, which stands after `before` bytes.
    async fn frame(&mut self, before: usize) -> Result<Bytes, Ended> {
        self.at_least(before + 4).await?;
        let length = (&self.incoming[before..]).get_u32() as usize;
        if !(4..=self.message_bytes_max).contains(&length) {
            let message = format!("a message of {length} bytes is not taken: {} are the most", self.message_bytes_max);
            return Err(Ended::Wrong(Failure::protocol(message)));
        }
        self.at_least(before + length).await?;
        self.incoming.advance(before + 4);
        let body = self.incoming.split_to(length - 4).freeze();
        if self.incoming.is_empty() {
            // A long message's memory is not kept for the next.
            self.incoming = BytesMut::new();
        }
        Ok(body)
    }

    async fn at_least(&mut self, bytes: usize) -> Result<(), Ended> {
        while self.incoming.len() < bytes {
            if self.socket.read_buf(&mut self.incoming).await? == 0 {
                return Err(Ended::Gone);
            }
        }
        Ok(())
    }

    /// Ends when the client has gone. What it sends ahead is kept for later.
    pub(super) async fn gone(&mut self) {
        while self.incoming.len() < AHEAD_BYTES_MAX {
            match self.socket.read_buf(&mut self.incoming).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        std::future::pending().await
    }

    /// Adds a message to what is to be sent.
    pub(super) fn put(&mut self, message: &PgWireBackendMessage) {
        if let Err(error) = message.encode(&mut self.outgoing) {
            tracing::error!(%error, "a message cannot be written");
        }
    }

    /// Adds one row to what is to be sent: `fields` values, each with its length.
    pub(super) fn put_row(&mut self, fields: u16, values: &[u8]) {
        self.outgoing.reserve(7 + values.len());
        self.outgoing.put_u8(b'D');
        self.outgoing.put_u32(u32::try_from(values.len() + 6).unwrap_or(u32::MAX));
        self.outgoing.put_u16(fields);
        self.outgoing.put_slice(values);
    }

    /// Whether there is enough to be worth sending.
    pub(super) fn is_full(&self) -> bool {
        self.outgoing.len() >= SEND_BYTES
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            if self.socket.write_buf(&mut self.outgoing).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        self.socket.flush().await
    }

    /// Sends what is left and says goodbye.
    pub(super) async fn close(mut self) {
        if self.flush().await.is_ok() {
            // The other side may have gone already.
            let _ = self.socket.shutdown().await;
        }
    }

    /// Sends one byte: the answer to a request for TLS.
    pub(super) async fn answer(&mut self, byte: u8) -> io::Result<()> {
        self.socket.write_all(&[byte]).await?;
        self.socket.flush().await
    }

    /// The socket, with nothing read ahead: what came before TLS must not count as having come in it.
    pub(super) fn into_socket(self) -> Option<Box<dyn Socket>> {
        self.incoming.is_empty().then_some(self.socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Result<Message, Ended> {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(bytes).await.unwrap();
        drop(client);
        Wire::new(Box::new(server)).message().await
    }

    #[tokio::test]
    async fn messages_come_whole_or_not_at_all() {
        assert!(matches!(read(b"Q\0\0\0\x06x\0").await, Ok(Message::Query(sql)) if sql == "x"));
        assert!(matches!(read(b"Q\0\0\0\x06x").await, Err(Ended::Gone)));
        assert!(matches!(read(b"Q\0\0\0\x03").await, Err(Ended::Wrong(_))));
        assert!(matches!(read(b"Q\x7f\xff\xff\xff").await, Err(Ended::Wrong(_))), "too long before the login");
        assert!(matches!(read(b"~\0\0\0\x04").await, Err(Ended::Wrong(_))));
    }
}
