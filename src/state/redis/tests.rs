use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

use super::*;
use crate::base::Secret;
use crate::state::{Bounds, Rest, RestKind, State, conformance};

/// A server of its own for a test.
struct Server {
    child: Child,
    /// Kept open: the server writes its log there.
    _log: BufReader<ChildStdout>,
    scheme: &'static str,
    port: u16,
    _folder: tempfile::TempDir,
}

fn config(address: impl Into<String>) -> RedisConfig {
    RedisConfig { address: Secret::new(address), ca: None }
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
        let speaks_tls = options.contains(&"--tls-cert-file");
        let (scheme, at) = if speaks_tls { ("rediss", "--tls-port") } else { ("redis", "--port") };
        let mut child = Command::new(program)
            .args(if speaks_tls { &["--port", "0"][..] } else { &[] })
            .args(["--bind", "127.0.0.1", at, &port.to_string(), "--save", "", "--appendonly", "no", "--dir"])
            .arg(folder.path())
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        while log.read_line(&mut line)? > 0 {
            if line.contains("Ready to accept connections") {
                return Ok(Some(Self { child, _log: log, scheme, port, _folder: folder }));
            }
            line.clear();
        }
        child.wait()?;
        Ok(None)
    }

    fn address(&self, user: &str) -> RedisConfig {
        config(format!("{}://{user}127.0.0.1:{}", self.scheme, self.port))
    }

    async fn state(&self) -> State {
        Arc::new(Redis::open(&self.address("")).await.unwrap())
    }

    async fn tell<T: FromRedisValue>(&self, command: &str) -> T {
        let client = redis::Client::open(self.address("").address.expose()).unwrap();
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
async fn a_server_that_became_a_replica_is_no_fault_of_the_run() {
    let Some(server) = Server::start("redis", &[]) else { return };
    let state = server.state().await;
    state.wake("key").await.unwrap();
    let counted = Counted { account: "key".into(), scope: String::new(), day: NaiveDate::default(), calls: 2 };
    () = server.tell("REPLICAOF 127.0.0.1 1").await;
    for error in [state.rest("key", &rest()).await.unwrap_err(), state.raise(&counted, "run").await.unwrap_err()] {
        assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
        assert!(error.to_string().ends_with("takes no writes: it is a replica"), "{error}");
        assert!(error.hint().is_some());
    }
    () = server.tell("REPLICAOF NO ONE").await;
    state.rest("key", &rest()).await.unwrap();
}

fn rest() -> Resting {
    let rest = Rest { kind: RestKind::Quota, until: DateTime::UNIX_EPOCH, reason: String::new() };
    Resting { scope: String::new(), gateway: String::new(), credentials: String::new(), rest }
}

#[tokio::test]
async fn a_server_that_forgets_what_a_run_was_granted_grants_it_no_more() {
    let Some(server) = Server::start("redis", &[]) else { return };
    let (state, other) = (server.state().await, server.state().await);
    let now = state.now().await.unwrap();
    let bounds =
        Bounds { calls_per_day: Some(9), calls_per_second: None, calls_in_flight: 9, lease: Duration::from_secs(60) };
    let ask = conformance::asking("account", now.date_naive(), now, bounds);
    for _ in 0..2 {
        assert!(matches!(state.reserve(&ask).await, Ok(Reserved::Granted { .. })));
    }
    () = server.tell("FLUSHALL").await;
    let error = state.reserve(&ask).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("no longer knows the calls that this run has made"), "{error}");
    // A start that counts from what has landed, and whoever has called nothing yet, go on.
    let landed = Counted { account: "account".into(), scope: String::new(), day: now.date_naive(), calls: 2 };
    assert!(other.raise(&landed, ask.run).await.unwrap());
    assert!(matches!(other.reserve(&ask).await, Ok(Reserved::Granted { used: 3, .. })));
    assert!(matches!(state.reserve(&ask).await, Ok(Reserved::Granted { used: 4, .. })), "its calls are known again");
}

#[tokio::test]
async fn a_count_and_its_parts_are_lost_together() {
    let Some(server) = Server::start("redis", &[]) else { return };
    let state = server.state().await;
    let now = state.now().await.unwrap();
    let bounds =
        Bounds { calls_per_day: Some(9), calls_per_second: None, calls_in_flight: 9, lease: Duration::from_secs(60) };
    let ask = conformance::asking("account", now.date_naive(), now, bounds);
    assert!(matches!(state.reserve(&ask).await, Ok(Reserved::Granted { used: 1, .. })));
    let keys: Vec<String> = server.tell("KEYS huopan:counts:*").await;
    let [key] = &*keys else { panic!("{keys:?}") };
    // As a server does that makes room.
    let _: u32 = server.tell(&format!("DEL {key}")).await;
    let error = state.reserve(&ask).await.unwrap_err();
    assert!(error.to_string().contains("no longer knows the calls that this run has made"), "{error}");
    let landed = Counted { account: "account".into(), scope: String::new(), day: now.date_naive(), calls: 1 };
    assert!(state.raise(&landed, ask.run).await.unwrap());
    assert_eq!(state.counts(landed.day).await.unwrap(), [landed]);
}

#[tokio::test]
async fn a_server_that_makes_room_is_known() {
    let Some(server) = Server::start("redis", &["--maxmemory-policy", "volatile-lru"]) else { return };
    let state = server.state().await;
    assert_eq!(state.may_forget().await, None, "there is room for everything");
    () = server.tell("CONFIG SET maxmemory 100mb").await;
    assert_eq!(state.may_forget().await.as_deref(), Some("volatile-lru"));
    () = server.tell("CONFIG SET maxmemory-policy noeviction").await;
    assert_eq!(state.may_forget().await, None);
    () = server.tell("CONFIG SET maxmemory 1").await;
    let error = state.rest("key", &rest()).await.unwrap_err();
    assert!(error.to_string().ends_with("has no memory left"), "{error}");
    assert!(error.hint().unwrap().contains("maxmemory"));
}

#[tokio::test]
async fn keys_of_version_1_keep_their_counts_and_parts() {
    let Some(server) = Server::start("redis", &[]) else { return };
    let day = beijing_day(server.state().await.now().await.unwrap());
    () = server.tell("SET huopan:version 1").await;
    let _: u32 = server.tell(&format!(r#"HSET huopan:counts:{day} ["key",""] 7"#)).await;
    let _: u32 = server.tell(&format!(r#"HSET huopan:counts:{day}:runs ["key","","run"] 5"#)).await;
    let lost = day.pred_opt().unwrap();
    let _: u32 = server.tell(&format!(r#"HSET huopan:counts:{lost}:runs ["key","","run"] 5"#)).await;
    let state = server.state().await;
    let count = |day, calls| Counted { account: "key".into(), scope: String::new(), day, calls };
    assert!(!state.raise(&count(day, 5), "run").await.unwrap(), "they were counted");
    assert_eq!(state.counts(day).await.unwrap(), [count(day, 7)]);
    assert!(state.raise(&count(lost, 5), "run").await.unwrap(), "their count is gone");
    assert_eq!(state.counts(lost).await.unwrap(), [count(lost, 5)]);
    let keys: Vec<String> = server.tell("KEYS *:runs").await;
    assert_eq!(keys, [""; 0]);
    assert_eq!(server.tell::<u32>("GET huopan:version").await, 2);
}

#[tokio::test]
async fn a_server_that_pauses_is_asked_again() {
    let Some(server) = Server::start("redis", &[]) else { return };
    let state = Redis::connect(&server.address(""), Duration::from_millis(300)).await.unwrap();
    let now = state.now().await.unwrap();
    let bounds =
        Bounds { calls_per_day: Some(9), calls_per_second: None, calls_in_flight: 9, lease: Duration::from_secs(60) };
    let ask = conformance::asking("account", now.date_naive(), now, bounds);
    for _ in 0..2 {
        () = server.tell("CLIENT PAUSE 700 ALL").await;
        let reserved = state.reserve(&ask).await.unwrap();
        assert!(matches!(reserved, Reserved::Granted { .. }), "{reserved:?}");
    }
}

#[tokio::test]
async fn a_user_who_may_not_choose_a_database_is_told_what_is_lacking() {
    let Some(server) = Server::start("redis", &[]) else { return };
    let may = "resetkeys ~huopan:* nocommands +@read +@write +@scripting +@transaction +time";
    () = server.tell(&format!("ACL SETUSER somebody on >password {may}")).await;
    let address = server.address("somebody:password@").address.expose().to_owned();
    Redis::open(&config(&address)).await.unwrap();
    let (kind, said) = refused(&config(format!("{address}/3"))).await;
    assert!(kind == Kind::Denied && said.contains("does not let this user") && said.contains("`+select`"), "{said}");
    () = server.tell("ACL SETUSER somebody +select").await;
    let state = Redis::open(&config(format!("{address}/3"))).await.unwrap();
    assert_eq!(state.may_forget().await, None, "who may not ask is told nothing");
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
    let address = config(format!("redis://user:hidden-password@{server}/2"));
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
        let error = Redis::open(&config(none)).await.expect_err("no address");
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
    let () = server.tell("SET huopan:version 3").await;
    let error = Redis::open(&server.address("")).await.expect_err("newer");
    assert_eq!(error.kind(), Kind::Storage);
    assert_eq!(error.to_string(), format!("{at} keeps state of version 3; this huopan knows version 2"));
}

/// A folder with the certificate of a server, its key, and the authority that signed it.
struct Certificates {
    folder: tempfile::TempDir,
    /// The authority's own, in PEM.
    ca: String,
}

impl Certificates {
    /// A certificate of this name, not valid after this year.
    fn of(name: &str, year: i32) -> Self {
        // What `main` does for the binary.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = tempfile::tempdir().unwrap();
        // Two authorities are told apart by their names.
        authority.distinguished_name.push(DnType::CommonName, folder.path().display().to_string());
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &authority).unwrap();
        let certificates = Self { folder, ca: authority.pem() };
        for (file, pem) in [("own.pem", own.pem()), ("key.pem", key.serialize_pem()), ("ca.pem", authority.pem())] {
            std::fs::write(certificates.folder.path().join(file), pem).unwrap();
        }
        certificates
    }

    fn path(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }

    /// A server that speaks nothing but TLS.
    fn serve(&self, test: &str, clients: &str) -> Option<Server> {
        let [own, key, ca] = ["own.pem", "key.pem", "ca.pem"].map(|file| self.path(file));
        let files = ["--tls-cert-file", &own, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
        Server::start(test, &[&files[..], &["--tls-auth-clients", clients]].concat())
    }

    /// Its address, and who is trusted to have signed its certificate.
    fn trusted(&self, server: &Server) -> RedisConfig {
        RedisConfig { ca: Some(self.ca.clone()), ..server.address("") }
    }
}

/// Why a server is not asked: the message and the hint.
async fn refused(config: &RedisConfig) -> (Kind, String) {
    let error = Redis::open(config).await.expect_err("refused");
    (error.kind(), format!("{error}; {}", error.hint().unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_with_tls_does_what_every_store_does() {
    let certificates = Certificates::of("127.0.0.1", 2100);
    let name = "a_server_with_tls_does_what_every_store_does";
    let Some(server) = certificates.serve(name, "no") else { return };
    let config = certificates.trusted(&server);
    let (one, another) = (Redis::open(&config).await.unwrap(), Redis::open(&config).await.unwrap());
    conformance::check(Arc::new(one), Arc::new(another)).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_ends_the_talk() {
    let certificates = Certificates::of("127.0.0.1", 2100);
    let name = "a_certificate_that_is_not_trusted_ends_the_talk";
    let Some(server) = certificates.serve(name, "no") else { return };
    let at = format!("redis at `127.0.0.1:{}`", server.port);
    // Signed by nobody whom this machine, or the pipeline, knows.
    let strangers = Certificates::of("127.0.0.1", 2100);
    for config in [server.address(""), strangers.trusted(&server)] {
        let (kind, said) = refused(&config).await;
        let says =
            format!("the certificate of {at} is not trusted: UnknownIssuer; name who signed it: `ca = \"FILE\"`");
        assert!(kind == Kind::Config && said.starts_with(&says), "{said}");
    }
    // `#insecure` asks the client not to look.
    let address = format!("{}/#insecure", server.address("").address.expose());
    assert_eq!(refused(&config(address)).await.0, Kind::Config);
    let broken = RedisConfig {
        ca: Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into()),
        ..server.address("")
    };
    let (kind, said) = refused(&broken).await;
    assert!(kind == Kind::Config && said.starts_with("a certificate of `ca` in `[state]` cannot be read"), "{said}");
}

#[tokio::test]
async fn a_certificate_of_another_name_or_year_is_not_trusted() {
    let name = "a_certificate_of_another_name_or_year_is_not_trusted";
    for (certificates, says, todo) in [
        (
            Certificates::of("redis.example.com", 2100),
            "not valid for name \"127.0.0.1\"",
            "write the address with a name",
        ),
        (Certificates::of("127.0.0.1", 2020), "certificate expired", "renew the certificate"),
    ] {
        let Some(server) = certificates.serve(name, "no") else { return };
        let (kind, said) = refused(&certificates.trusted(&server)).await;
        assert!(kind == Kind::Config && said.contains(says) && said.contains(todo), "{said}");
    }
}

#[tokio::test]
async fn a_server_that_wants_certificates_of_its_clients_is_named() {
    let certificates = Certificates::of("127.0.0.1", 2100);
    let name = "a_server_that_wants_certificates_of_its_clients_is_named";
    let Some(server) = certificates.serve(name, "yes") else { return };
    let (kind, said) = refused(&certificates.trusted(&server)).await;
    assert!(kind == Kind::Config && said.contains("asks its clients for certificates"), "{kind:?} {said}");
}

#[tokio::test]
async fn a_server_with_nothing_but_tls_is_hinted_at() {
    // What OpenSSL says to whoever does not begin with a handshake.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 512]).await;
            let _ = stream.write_all(&[0x15, 3, 3, 0, 2, 2, 70]).await;
        }
    });
    let (kind, said) = refused(&config(format!("redis://{at}"))).await;
    assert!(kind == Kind::Unavailable && said.contains("`rediss://`"), "{kind:?} {said}");
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart() {
    let certificates = Certificates::of("127.0.0.1", 2100);
    // It answers whatever comes as a Redis without TLS answers what is no command.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 512]).await;
            let _ = stream.write_all(b"-ERR unknown command\r\n").await;
        }
    });
    let plain = RedisConfig { ca: Some(certificates.ca.clone()), ..config(format!("rediss://{at}")) };
    let (kind, said) = refused(&plain).await;
    assert!(kind == Kind::Config && said.starts_with(&format!("redis at `{at}` does not speak TLS")), "{said}");
}
