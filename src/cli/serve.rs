//! `huopan serve`: the tables for BI tools, over PostgreSQL's protocol.

mod adduser;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::net::TcpListener;

use crate::base::{Error, Kind, Result};
use crate::query;
use crate::serve::{self, Options, Server, Users};

use super::output::Talk;
use super::run::cancelled_by_signals;
use super::target::{Target, View};
use super::{Environment, Outcome};

/// More users, in lines as the file has them.
const USERS_VARIABLE: &str = "HUOPAN_SERVE_USERS";

/// `huopan serve`
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  huopan serve                                     this machine only, without passwords
  psql -h 127.0.0.1 -p 5433 -d huopan -c 'select * from price_at(500) limit 10'
  huopan serve adduser ann --users users           asks for a password; only its verifier is kept
  huopan serve --users users                       this machine only, with passwords
  huopan serve --listen 0.0.0.0:5433 --users u --tls-cert c.pem --tls-key k.pem

Users are also read from HUOPAN_SERVE_USERS, in lines as the file has them. Who logs in may read every table and write
none. What is published while it runs is seen by the next statement, or by the next transaction."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where to listen; anywhere but on this machine TLS and users are required
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5433")]
    listen: SocketAddr,
    /// Who may log in: a file that `adduser` writes, read again when it changes
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// The server's certificate and those that signed it (PEM): with it, only TLS is spoken
    #[arg(long, value_name = "PEM", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "PEM", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Memory for each connection's queries: K, M or G; those that need more use temporary files or end with an error
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = size)]
    memory: usize,
    /// How long a statement may take (ms, s, min, h); 0: as long as it wants. Clients can shorten it
    #[arg(long, value_name = "TIME", default_value = "10min", value_parser = time)]
    statement_timeout: Duration,
    /// Clients that are logged in at a time
    #[arg(long, value_name = "N", default_value = "100")]
    max_connections: NonZeroUsize,
    /// Your own views: a folder of .sql files, one query each [default: `views` beside --pipeline, else pipelines/views]
    #[arg(long, value_name = "DIR", help_heading = "Lake")]
    views: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a user to a file, or change a user's password
    Adduser(adduser::Arguments),
}

pub(super) async fn main(arguments: Arguments, talk: &Talk) -> Result<Outcome> {
    match &arguments.command {
        Some(Command::Adduser(adduser)) => adduser::main(adduser, talk),
        None => serve(arguments, talk).await,
    }
}

async fn serve(arguments: Arguments, talk: &Talk) -> Result<Outcome> {
    let users = Users::load(arguments.users.as_deref(), Environment::get(USERS_VARIABLE).as_deref())?;
    let tls = arguments.tls_cert.as_deref().zip(arguments.tls_key.as_deref());
    let tls = tls.map(|(certificate, key)| serve::acceptor(certificate, key)).transpose()?;
    let (has_users, has_tls) = (!users.is_empty(), tls.is_some());
    check_door(arguments.listen, has_users, has_tls)?;
    if arguments.users.is_some() && !has_users {
        return Err(Error::config("the users' file names nobody")
            .with_hint("add somebody: `huopan serve adduser NAME --users FILE`"));
    }
    if users.is_readable_by_others() {
        talk.say("warning: others on this machine may read the users' file (chmod 600 keeps them out)");
    }
    let options = Options {
        users,
        tls,
        connections_max: arguments.max_connections,
        statement_timeout: Some(arguments.statement_timeout).filter(|limit| !limit.is_zero()),
        query: query::Options {
            memory_bytes_max: arguments.memory,
            ..arguments.target.options(&View::with_views(arguments.views.clone()))?
        },
    };
    let store = arguments.target.store().await?;
    let lake = store.url().to_string();
    let server = Server::open(store, options).await?;
    let listener = listen(arguments.listen).await?;
    let address = listener.local_addr().unwrap_or(arguments.listen);
    talk.say(&format!("serving {lake} on {address}: {}; Ctrl-C ends it", manner(has_users, has_tls)));
    server.serve(listener, cancelled_by_signals(talk, "the server ends")).await?;
    Ok(Outcome::Done)
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let kind = if error.kind() == std::io::ErrorKind::AddrInUse { Kind::Conflict } else { Kind::Config };
        Error::new(kind, format!("cannot listen on `{address}`"))
            .with_hint("another port: `--listen 127.0.0.1:5434`")
            .caused_by(error)
    })
}

/// Who else can reach the port must know a password, and nobody may read along.
fn check_door(listen: SocketAddr, has_users: bool, has_tls: bool) -> Result<()> {
    let missing = match (has_users, has_tls) {
        _ if listen.ip().is_loopback() => return Ok(()),
        (true, true) => return Ok(()),
        (true, false) => "without TLS",
        (false, true) => "without users",
        (false, false) => "without TLS and users",
    };
    Err(Error::config(format!("`{listen}` can be reached from other machines: not {missing}")).with_hint(
        "say `--users FILE` (`huopan serve adduser` makes it) and `--tls-cert PEM --tls-key PEM`, or listen on 127.0.0.1",
    ))
}

fn manner(has_users: bool, has_tls: bool) -> &'static str {
    match (has_users, has_tls) {
        (true, true) => "passwords and TLS",
        (true, false) => "passwords, no TLS",
        (false, true) => "TLS, NO PASSWORDS: whoever is on this machine may read",
        (false, false) => "NO PASSWORDS: whoever is on this machine may read",
    }
}

/// `512M`, `2G`; at least what a query needs to begin with.
fn size(text: &str) -> Result<usize, String> {
    const MIN: usize = 16 << 20;
    let text = text.trim().to_ascii_uppercase();
    let text = text.strip_suffix("IB").or_else(|| text.strip_suffix('B')).unwrap_or(&text);
    let (digits, shift) = match text.chars().last() {
        Some('K') => (&text[..text.len() - 1], 10),
        Some('M') => (&text[..text.len() - 1], 20),
        Some('G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let bytes = digits.trim().parse::<usize>().ok().and_then(|number| number.checked_mul(1 << shift));
    match bytes {
        Some(bytes) if bytes >= MIN => Ok(bytes),
        Some(_) => Err("at least 16M".to_owned()),
        None => Err("a size is a number and K, M or G, as in 512M".to_owned()),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    serve::duration(text).ok_or_else(|| "a time is a number and ms, s, min or h, as in 90s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_is_open_to_this_machine_only_unless_it_is_locked() {
        for (listen, has_users, has_tls, is_fine) in [
            ("127.0.0.1:1", false, false, true),
            ("[::1]:1", false, false, true),
            ("0.0.0.0:1", false, false, false),
            ("0.0.0.0:1", true, false, false),
            ("0.0.0.0:1", false, true, false),
            ("[::]:1", true, true, true),
            ("192.168.1.2:1", true, true, true),
        ] {
            let checked = check_door(listen.parse().unwrap(), has_users, has_tls);
            assert_eq!(checked.is_ok(), is_fine, "{listen} {has_users} {has_tls}");
        }
    }

    #[test]
    fn sizes_and_times_are_read_as_they_are_written() {
        for (text, expected) in [
            ("512M", Some(512 << 20)),
            ("2GiB", Some(2 << 30)),
            ("33554432", Some(32 << 20)),
            ("1K", None),
            ("x", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert!(time("soon").is_err());
    }
}
