//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL speaks it: a verifier that is kept instead of a password, and the
//! server's half of a login. Pure: salts and nonces come in as arguments.
//!
//! Invariant: from a verifier nobody can log in; neither it nor a password is in an error.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::base::Secret;

/// The mechanism's name on the wire and at the beginning of a verifier.
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// Rounds of a new verifier: RFC 7677 asks for at least as many.
pub const ITERATIONS: u32 = 15_000;
/// More rounds than this keep a client busy for longer than it waits.
const ITERATIONS_MAX: u32 = 10_000_000;
/// Bytes of a new verifier's salt, as in PostgreSQL.
pub const SALT_BYTES: usize = 16;

type Key = [u8; 32];

/// What is kept of a password: `SCRAM-SHA-256$iterations:salt$stored:server`, the form of PostgreSQL's `pg_authid`.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

/// A text that is no verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no `{MECHANISM}$iterations:salt$stored:server`")]
pub struct NoVerifier;

/// Why a login is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A message that is none of SCRAM's.
    #[error("malformed SCRAM message")]
    Malformed,
    /// The client binds the login to a TLS channel, which was not offered.
    #[error("channel binding was not offered")]
    ChannelBinding,
    /// The proof does not fit the verifier.
    #[error("the password is wrong")]
    WrongProof,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(***)")
    }
}

impl Verifier {
    /// The verifier of a password.
    #[must_use]
    pub fn of(password: &Secret, salt: &[u8], iterations: u32) -> Self {
        let salted = salted(&prepared(password.expose()), salt, iterations);
        let stored_key = Sha256::digest(hmac(&salted, b"Client Key")).into();
        Self { iterations, salt: salt.to_owned(), stored_key, server_key: hmac(&salted, b"Server Key") }
    }

    /// One that no password fits: so that a name that is not known is answered like one that is.
    #[must_use]
    pub fn of_nobody(name: &str, secret: &Key) -> Self {
        let salt = hmac(secret, name.as_bytes())[..SALT_BYTES].to_owned();
        Self { iterations: ITERATIONS, salt, stored_key: *secret, server_key: *secret }
    }

    /// As it is written into a file of users.
    #[must_use]
    pub fn to_line(&self) -> String {
        let Self { iterations, salt, stored_key, server_key } = self;
        let [salt, stored, server] = [salt.as_slice(), stored_key, server_key].map(|bytes| BASE64.encode(bytes));
        format!("{MECHANISM}${iterations}:{salt}${stored}:{server}")
    }
}

impl FromStr for Verifier {
    type Err = NoVerifier;

    fn from_str(text: &str) -> Result<Self, NoVerifier> {
        let parse = || {
            let (head, keys) = text.strip_prefix(MECHANISM)?.strip_prefix('$')?.split_once('$')?;
            let ((iterations, salt), (stored, server)) = (head.split_once(':')?, keys.split_once(':')?);
            let key = |text: &str| Key::try_from(BASE64.decode(text).ok()?).ok();
            let iterations = iterations.parse().ok().filter(|rounds| (1..=ITERATIONS_MAX).contains(rounds))?;
            let salt = BASE64.decode(salt).ok().filter(|salt| !salt.is_empty())?;
            Some(Self { iterations, salt, stored_key: key(stored)?, server_key: key(server)? })
        };
        parse().ok_or(NoVerifier)
    }
}

/// A login after the server's first message.
pub struct Exchange {
    verifier: Verifier,
    /// What the client's channel binding must be: its own header, in Base64.
    binding: String,
    nonce: String,
    first_messages: String,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange(***)")
    }
}

impl Exchange {
    /// Answers the client's first message; the answer is to be sent.
    ///
    /// # Errors
    /// [`Refused`]: the message is none, or asks for what was not offered.
    pub fn begin(verifier: Verifier, client_first: &[u8], server_nonce: &str) -> Result<(Self, String), Refused> {
        let message = std::str::from_utf8(client_first).map_err(|_| Refused::Malformed)?;
        let mut parts = message.splitn(3, ',');
        let (flag, authorization) = (parts.next().unwrap_or_default(), parts.next().ok_or(Refused::Malformed)?);
        let bare = parts.next().ok_or(Refused::Malformed)?;
        if flag.starts_with("p=") {
            return Err(Refused::ChannelBinding);
        }
        if !matches!(flag, "n" | "y") || !(authorization.is_empty() || authorization.starts_with("a=")) {
            return Err(Refused::Malformed);
        }
        // The name in here is ignored, as PostgreSQL does: the startup message has said it.
        let (name, rest) = bare.split_once(',').ok_or(Refused::Malformed)?;
        let client_nonce = rest.split(',').next().and_then(|nonce| nonce.strip_prefix("r="));
        let client_nonce = client_nonce.filter(|nonce| name.starts_with("n=") && !nonce.is_empty());
        let nonce = format!("{}{server_nonce}", client_nonce.ok_or(Refused::Malformed)?);
        let first = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        let binding = BASE64.encode(format!("{flag},{authorization},"));
        let first_messages = format!("{bare},{first}");
        Ok((Self { verifier, binding, nonce, first_messages }, first))
    }

    /// Checks the client's last message; the answer proves that the server has the verifier.
    ///
    /// # Errors
    /// [`Refused`]: the message is none, or the password is wrong.
    pub fn end(self, client_final: &[u8]) -> Result<String, Refused> {
        let message = std::str::from_utf8(client_final).map_err(|_| Refused::Malformed)?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(Refused::Malformed)?;
        let mut parts = without_proof.split(',');
        let binding = parts.next().and_then(|part| part.strip_prefix("c="));
        let nonce = parts.next().and_then(|part| part.strip_prefix("r="));
        if binding != Some(&self.binding) || nonce != Some(&self.nonce) {
            return Err(Refused::Malformed);
        }
        let proof: Key = BASE64.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or(Refused::Malformed)?;
        let all = format!("{},{without_proof}", self.first_messages);
        let signature = hmac(&self.verifier.stored_key, all.as_bytes());
        let mut client_key = proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        let stored: Key = Sha256::digest(client_key).into();
        let difference = stored.iter().zip(self.verifier.stored_key).fold(0, |found, (a, b)| found | (a ^ b));
        if difference != 0 {
            return Err(Refused::WrongProof);
        }
        Ok(format!("v={}", BASE64.encode(hmac(&self.verifier.server_key, all.as_bytes()))))
    }
}

/// The password as clients prepare it (SASLprep); one that cannot be prepared is taken as it is, as PostgreSQL does.
fn prepared(password: &str) -> String {
    stringprep::saslprep(password).map_or_else(|_| password.to_owned(), |prepared| prepared.into_owned())
}

/// PBKDF2 with one block: the salted password.
fn salted(password: &str, salt: &[u8], iterations: u32) -> Key {
    let keyed = keyed(password.as_bytes());
    let round = |parts: &[&[u8]]| -> Key {
        let mut mac = keyed.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    };
    let mut last = round(&[salt, &1_u32.to_be_bytes()]);
    let mut sum = last;
    for _ in 1..iterations {
        last = round(&[&last]);
        sum.iter_mut().zip(last).for_each(|(byte, mask)| *byte ^= mask);
    }
    sum
}

fn hmac(key: &[u8], message: &[u8]) -> Key {
    let mut mac = keyed(key);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // A key of any length is one; longer ones are hashed first, as the standard says.
    let hashed: Key = Sha256::digest(key).into();
    let key = if key.len() > 64 { &hashed[..] } else { key };
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    <Hmac<Sha256> as KeyInit>::new(&block.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_exchange_of_the_standard_succeeds() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::of(&Secret::new("pencil"), &salt, 4096);
        let (exchange, first) =
            Exchange::begin(verifier, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0").unwrap();
        assert_eq!(first, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(exchange.end(last).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    fn attempt(first: &str, last: impl Fn(&str) -> String) -> Result<String, Refused> {
        let verifier = Verifier::of(&Secret::new("pencil"), b"0123456789abcdef", 2);
        let (exchange, answer) = Exchange::begin(verifier, first.as_bytes(), "server")?;
        exchange.end(last(&answer).as_bytes())
    }

    #[test]
    fn what_is_no_exchange_or_has_the_wrong_proof_is_refused() {
        let zero = BASE64.encode([0; 32]);
        let last = |_: &str| format!("c=biws,r=clientserver,p={zero}");
        for (first, expected) in [
            ("n,,n=user,r=client", Refused::WrongProof),
            ("p=tls-server-end-point,,n=user,r=client", Refused::ChannelBinding),
            ("x,,n=user,r=client", Refused::Malformed),
            ("n,,n=user,r=", Refused::Malformed),
            ("n,,n=user", Refused::Malformed),
            ("", Refused::Malformed),
        ] {
            assert_eq!(attempt(first, last), Err(expected), "{first}");
        }
        for last in ["", "c=biws,r=clientserver", "c=eSws,r=clientserver,p=AA==", "c=biws,r=other,p=AA=="] {
            assert_eq!(attempt("n,,n=user,r=client", |_| last.to_owned()), Err(Refused::Malformed), "{last}");
        }
    }

    #[test]
    fn a_verifier_is_written_and_read_and_never_shown() {
        let verifier = Verifier::of(&Secret::new("mot de passe \u{2168}"), b"0123456789abcdef", 3);
        let line = verifier.to_line();
        assert_eq!(line.parse::<Verifier>(), Ok(verifier.clone()));
        assert_eq!(verifier, Verifier::of(&Secret::new("mot de passe IX"), b"0123456789abcdef", 3), "prepared alike");
        assert_eq!(format!("{verifier:?}"), "Verifier(***)");
        for text in ["", "hunter2", "SCRAM-SHA-256$0:AA==$AA==:AA==", &line[..line.len() - 4], "md5abc"] {
            assert_eq!(text.parse::<Verifier>(), Err(NoVerifier), "{text}");
        }
    }

    #[test]
    fn long_passwords_are_hashed_first() {
        let long = "x".repeat(65);
        let expected = <Hmac<Sha256> as KeyInit>::new_from_slice(long.as_bytes()).unwrap();
        assert_eq!(hmac(long.as_bytes(), b"m"), Key::from(expected.chain_update(b"m").finalize().into_bytes()));
    }
}
