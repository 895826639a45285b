//! From an accepted socket to a logged-in client: TLS, the startup message, the password.
//!
//! Invariant: nothing is asked, and nothing but a refusal is said, before the connection is as safe as the server wants it;
//! a refusal does not tell whether a name is known.

use std::net::SocketAddr;
use std::sync::Arc;

use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey};
use pgwire::tokio::TlsAcceptor;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failure::{Failure, code};
use super::interrupt::{Interrupts, Registered};
use super::message::{Message, Opening, sasl_initial};
use super::scram::{Exchange, MECHANISM, Refused, Verifier};
use super::settings::Settings;
use super::tls::ALPN;
use super::users::Users;
use super::wire::{Ended, Wire};

/// Requests for encryption that a client may make before it starts.
const OPENINGS_MAX: usize = 3;
/// Protocol 3.0, the one that is spoken here.
const PROTOCOL: i32 = 3 << 16;

/// What lets clients in.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) users: Arc<Users>,
    /// Since the server started: a users' file that is emptied later lets nobody in.
    pub(super) asks_passwords: bool,
    pub(super) tls: Option<Tls>,
    pub(super) settings: Settings,
    pub(super) interrupts: Arc<Interrupts>,
    /// Places for clients that are logged in.
    pub(super) places: Arc<Semaphore>,
    pub(super) connections_max: usize,
    /// From which the answers to unknown names are made.
    pub(super) secret: [u8; 32],
}

/// TLS that has a certificate: then there is nothing without it.
pub(super) struct Tls(pub(super) TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// A client that is logged in.
pub(super) struct Entered {
    pub(super) wire: Wire,
    pub(super) user: String,
    pub(super) settings: Settings,
    pub(super) registered: Registered,
    pub(super) place: OwnedSemaphorePermit,
}

/// What a client says of itself.
struct Start {
    minor: u16,
    parameters: Vec<(String, String)>,
}

impl Start {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

impl Door {
    /// Lets a client in; `None`: it was refused, has gone, or only wanted to cancel something.
    pub(super) async fn enter(&self, socket: TcpStream, address: SocketAddr) -> Option<Entered> {
        let mut is_tls = false;
        let mut wire = match self.is_direct_tls(&socket).await? {
            true => {
                is_tls = true;
                self.direct_tls(socket).await?
            }
            false => Wire::new(Box::new(socket)),
        };
        for _ in 0..OPENINGS_MAX {
            let start = match wire.opening().await {
                Ok(Opening::Ssl) if !is_tls && self.tls.is_some() => {
                    wire = self.negotiated_tls(wire).await?;
                    is_tls = true;
                    continue;
                }
                Ok(Opening::Ssl | Opening::Gss) => {
                    wire.answer(b'N').await.ok()?;
                    continue;
                }
                Ok(Opening::Cancel { pid, key }) => {
                    let is_known = self.interrupts.cancel(pid, key);
                    tracing::debug!(%address, is_known, "a statement was to be cancelled");
                    return None;
                }
                Ok(Opening::Start { major: 3, minor, parameters }) => Ok(Start { minor, parameters }),
                Ok(Opening::Start { major, minor, .. }) => Err(Ended::Wrong(Failure::protocol(format!(
                    "unsupported protocol {major}.{minor}: 3.0 is spoken here"
                )))),
                Err(ended) => Err(ended),
            };
            let entered = match start {
                Ok(start) => self.start(&mut wire, is_tls, &start, address).await,
                Err(ended) => Err(ended),
            };
            return match entered {
                Ok((user, settings, registered, place)) => Some(Entered { wire, user, settings, registered, place }),
                Err(Ended::Gone) => None,
                Err(Ended::Wrong(failure)) => {
                    wire.put(&failure.message());
                    wire.close().await;
                    None
                }
            };
        }
        None
    }

    async fn start(
        &self,
        wire: &mut Wire,
        is_tls: bool,
        start: &Start,
        address: SocketAddr,
    ) -> Result<(String, Settings, Registered, OwnedSemaphorePermit), Ended> {
        if self.tls.is_some() && !is_tls {
            let failure = Failure::fatal(code::INVALID_AUTHORIZATION, "this server takes connections with TLS only");
            return Err(Ended::Wrong(failure.with_hint("connect with `sslmode=require`, or better `verify-full`")));
        }
        let is_unknown = |name: &&String| name.starts_with("_pq_.");
        let unknown: Vec<String> = start.parameters.iter().map(|(name, _)| name).filter(is_unknown).cloned().collect();
        if start.minor > 0 || !unknown.is_empty() {
            let negotiated = NegotiateProtocolVersion::new(PROTOCOL, unknown);
            wire.put(&PgWireBackendMessage::NegotiateProtocolVersion(negotiated));
        }
        let Some(user) = start.get("user") else {
            return Err(Ended::Wrong(Failure::fatal(code::INVALID_AUTHORIZATION, "no user name was sent")));
        };
        let full = || {
            let failure = Failure::fatal(code::TOO_MANY_CONNECTIONS, "sorry, too many clients already");
            let hint =
                format!("{} are the most; whoever runs the server sets `--max-connections`", self.connections_max);
            Ended::Wrong(failure.with_hint(hint))
        };
        if self.places.available_permits() == 0 {
            return Err(full());
        }
        let mut settings = self.settings.clone();
        settings.start(&start.parameters).map_err(|failure| Ended::Wrong(Failure { is_fatal: true, ..failure }))?;
        if self.asks_passwords {
            self.authenticate(wire, user, address).await?;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| full())?;
        let registered = self.interrupts.register(rand::random());
        wire.is_logged_in();
        wire.put(&PgWireBackendMessage::Authentication(Authentication::Ok));
        let told = settings.told_at_start().into_iter().chain([("session_authorization", user.to_owned())]);
        for (name, value) in told {
            wire.put(&PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.to_owned(), value)));
        }
        let key = BackendKeyData::new(registered.pid, SecretKey::I32(registered.key));
        wire.put(&PgWireBackendMessage::BackendKeyData(key));
        Ok((user.to_owned(), settings, registered, place))
    }

    async fn authenticate(&self, wire: &mut Wire, user: &str, address: SocketAddr) -> Result<(), Ended> {
        let refused = |why: Refused| {
            tracing::warn!(user = ?user, %address, %why, "a login was refused");
            match why {
                Refused::WrongProof => {
                    Failure::fatal(code::INVALID_PASSWORD, format!("password authentication failed for user `{user}`"))
                }
                why => Failure::protocol(why.to_string()),
            }
        };
        let known = self.users.verifier(user);
        let verifier = known.unwrap_or_else(|| Verifier::of_nobody(user, &self.secret));
        wire.put(&PgWireBackendMessage::Authentication(Authentication::SASL(vec![MECHANISM.to_owned()])));
        let body = password(wire).await?;
        let (mechanism, first) = sasl_initial(body).ok_or_else(|| Ended::Wrong(refused(Refused::Malformed)))?;
        if mechanism != MECHANISM {
            return Err(Ended::Wrong(refused(Refused::ChannelBinding)));
        }
        let nonce: [u8; 18] = rand::random();
        let nonce = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, nonce);
        let (exchange, answer) = Exchange::begin(verifier, &first, &nonce).map_err(|why| Ended::Wrong(refused(why)))?;
        wire.put(&PgWireBackendMessage::Authentication(Authentication::SASLContinue(answer.into())));
        let last = password(wire).await?;
        let answer = exchange.end(&last).map_err(|why| Ended::Wrong(refused(why)))?;
        wire.put(&PgWireBackendMessage::Authentication(Authentication::SASLFinal(answer.into())));
        Ok(())
    }

    /// Newer clients may begin with TLS itself.
    async fn is_direct_tls(&self, socket: &TcpStream) -> Option<bool> {
        /// How a TLS handshake begins.
        const HANDSHAKE: u8 = 0x16;
        let mut first = [0];
        let read = socket.peek(&mut first).await.ok()?;
        (read > 0).then_some(first == [HANDSHAKE])
    }

    async fn direct_tls(&self, socket: TcpStream) -> Option<Wire> {
        let stream = self.tls.as_ref()?.0.accept(socket).await.ok()?;
        // Else it may be a browser that a hostile page has sent here.
        let is_ours = stream.get_ref().1.alpn_protocol() == Some(ALPN);
        is_ours.then(|| Wire::new(Box::new(stream)))
    }

    async fn negotiated_tls(&self, mut wire: Wire) -> Option<Wire> {
        wire.answer(b'S').await.ok()?;
        let stream = self.tls.as_ref()?.0.accept(wire.into_socket()?).await.ok()?;
        Some(Wire::new(Box::new(stream)))
    }
}

/// The next part of a login, after what was written is sent.
async fn password(wire: &mut Wire) -> Result<bytes::Bytes, Ended> {
    wire.flush().await?;
    match wire.message().await? {
        Message::Password(body) => Ok(body),
        Message::Terminate => Err(Ended::Gone),
        _ => Err(Ended::Wrong(Failure::protocol("a password was expected"))),
    }
}
