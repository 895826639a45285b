use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use super::*;
use crate::state::{State, conformance};

/// A server of its own for a test.
struct Server {
    child: Child,
    /// Kept open: the server writes its log there.
    _log: BufReader<ChildStdout>,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Server {
    /// `None`, and a line that says so, where `redis-server` is not installed.
    fn start(test: &str, options: &[&str]) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "tests take the server's place from the environment")]
        let program = std::env::var("HUOPAN_REDIS_SERVER").map_or_else(|_| OsString::from("redis-server"), Into::into);
        for _ in 0..10 {
            match Self::try_start(&program, options) {
                Ok(Some(server)) => return Some(server),
                // Somebody else took the port.
                Ok(None) => {}
                Err(error) => {
                    // Not by a macro: the harness would keep it to itself.
                    let line = format!("SKIPPED {test}: {}: {error}\n", program.display());
                    std::io::stderr().write_all(line.as_bytes()).unwrap();
                    return None;
                }
            }
        }
        panic!("redis-server does not start");
    }

    fn try_start(program: &OsString, options: &[&str]) -> std::io::Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut child = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no", "--dir"])
            .arg(folder.path())
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        while log.read_line(&mut line)? > 0 {
            if line.contains("Ready to accept connections") {
                return Ok(Some(Self { child, _log: log, port, _folder: folder }));
            }
            line.clear();
        }
        child.wait()?;
        Ok(None)
    }

    fn address(&self, user: &str) -> Secret {
        Secret::new(format!("redis://{user}127.0.0.1:{}", self.port))
    }

    async fn state(&self) -> State {
        Arc::new(Redis::open(&self.address("")).await.unwrap())
    }

    async fn tell<T: FromRedisValue>(&self, command: &str) -> T {
        let client = redis::Client::open(self.address("").expose()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut words = command.split(' ');
        redis::cmd(words.next().unwrap()).arg(words.collect::<Vec<_>>()).query_async(&mut connection).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_does_what_every_store_does() {
    let Some(server) = Server::start("a_server_does_what_every_store_does", &[]) else { return };
    conformance::check(server.state().await, server.state().await).await;
    let keys: Vec<String> = server.tell("KEYS *").await;
    assert!(keys.iter().all(|key| key.starts_with("huopan:")), "{keys:?}");
    for key in keys.iter().filter(|key| key.starts_with("huopan:counts:")) {
        let seconds: i64 = server.tell(&format!("TTL {key}")).await;
        assert!((COUNTS_KEPT_SECONDS - 60..=COUNTS_KEPT_SECONDS).contains(&seconds), "{key}: {seconds}");
    }
}

#[tokio::test]
async fn a_lost_connection_is_made_anew() {
    let Some(server) = Server::start("a_lost_connection_is_made_anew", &[]) else { return };
    let store = server.state().await;
    for _ in 0..3 {
        let _: i64 = server.tell("CLIENT KILL TYPE normal").await;
        store.wake("key").await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_password_is_named_and_not_shown() {
    let name = "a_wrong_password_is_named_and_not_shown";
    let Some(server) = Server::start(name, &["--requirepass", "right-password"]) else { return };
    for user in ["", ":wrong-password@", "somebody:wrong-password@"] {
        let error = Redis::open(&server.address(user)).await.expect_err("refused");
        assert_eq!(error.kind(), Kind::Denied, "{error:?}");
        assert_eq!(error.to_string(), format!("redis at `127.0.0.1:{}` refuses user or password", server.port));
        assert!(error.hint().is_some());
        assert!(!format!("{error:?}").contains("wrong-password"), "{error:?}");
    }
    let store = Redis::open(&server.address(":right-password@")).await.unwrap();
    assert!(!format!("{store:?}").contains("right-password"), "{store:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let address = Secret::new(format!("redis://user:hidden-password@{server}/2"));
    let check = |error: Error| {
        assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
        assert_eq!(error.to_string(), format!("redis at `{server}` does not answer"));
        assert!(!format!("{error:?}").contains("hidden-password"), "{error:?}");
    };
    // It takes connections and says nothing.
    check(Redis::connect(&address, Duration::from_millis(20)).await.expect_err("silent"));
    drop(listener);
    check(Redis::connect(&address, PATIENCE).await.expect_err("refused"));
    for none in ["", "redis://", "state.db", "http://somewhere/"] {
        let error = Redis::open(&Secret::new(none)).await.expect_err("no address");
        assert_eq!(error.kind(), Kind::Config, "{none}: {error:?}");
    }
}

#[tokio::test]
async fn keys_of_a_newer_version_are_refused_and_damaged_ones_named() {
    let name = "keys_of_a_newer_version_are_refused_and_damaged_ones_named";
    let Some(server) = Server::start(name, &[]) else { return };
    let store = server.state().await;
    let () = server.tell("SET huopan:account:key {").await;
    let error = store.wake("key").await.expect_err("damaged");
    let at = format!("redis at `127.0.0.1:{}`", server.port);
    assert_eq!(error.to_string(), format!("key `huopan:account:key` of {at} is damaged"));
    let () = server.tell("SET huopan:version 2").await;
    let error = Redis::open(&server.address("")).await.expect_err("newer");
    assert_eq!(error.kind(), Kind::Storage);
    assert_eq!(error.to_string(), format!("{at} keeps state of version 2; this huopan knows version 1"));
}
