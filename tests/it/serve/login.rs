//! Who gets in: passwords, TLS, and where a server listens at all.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use rcgen::generate_simple_self_signed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Served, lake, text};
use crate::support::{Place, ended, huopan_with};

const PASSWORD: &str = "correct horse battery";

/// Adds a user as a script does.
async fn add(place: &Place, name: &str, password: &str) {
    let env = [("HUOPAN_SERVE_PASSWORD", password)];
    let ended = huopan_with(place.path(), &["serve", "adduser", name, "--users", "users"], &env).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!ended.stderr.contains(password) && !ended.stdout.contains(password), "{ended:?}");
}

/// Writes a certificate and its key.
fn certificate(place: &Place) {
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    place.write("cert.pem", made.cert.pem());
    place.write("key.pem", made.signing_key.serialize_pem());
}

#[tokio::test]
async fn a_password_lets_in_and_a_wrong_one_or_an_unknown_name_does_not() {
    let place = lake().await;
    add(&place, "ann", PASSWORD).await;
    let mode = std::fs::metadata(place.path().join("users")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let served = Served::start(&place, &["--users", "users"]).await;
    let client = served.connect(&format!("user=ann password='{PASSWORD}'")).await.unwrap();
    assert_eq!(text(&client, "select session_user").await, "ann");
    let mut said = Vec::new();
    for words in ["user=ann password=wrong", "user=bob password=wrong", "user=ann password=''"] {
        let error = served.connect(words).await.err().unwrap();
        said.push(
            error.as_db_error().map(|error| (error.code().code().to_owned(), error.message().replace("bob", "ann"))),
        );
    }
    let expected = ("28P01".to_owned(), "password authentication failed for user `ann`".to_owned());
    assert_eq!(said[..2], [Some(expected.clone()), Some(expected)], "both in the same words");

    // A new user, and a changed password, need no restart.
    add(&place, "bob", "another").await;
    add(&place, "ann", "changed").await;
    assert!(served.connect("user=bob password=another").await.is_ok());
    assert!(served.connect(&format!("user=ann password='{PASSWORD}'")).await.is_err());
    assert!(served.connect("user=ann password=changed").await.is_ok());
    // A file that is emptied while the server runs opens no door.
    std::fs::write(place.path().join("users"), "").unwrap();
    assert!(served.connect("user=ann password=wrong").await.is_err());
    for words in ["user=ann", "user=nobody", "user=nobody password=''"] {
        assert!(served.connect(words).await.is_err(), "{words}");
    }
    let (_, said) = served.end().await;
    assert!(said.contains("a login was refused") && said.contains("bob"), "{said}");
    assert!(!said.contains(PASSWORD) && !said.contains("SCRAM-SHA-256$"), "{said}");
}

#[tokio::test]
async fn users_also_come_from_the_environment_and_passwords_from_standard_input() {
    let place = lake().await;
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_huopan"))
        .args(["serve", "adduser", "ann", "--users", "users"])
        .current_dir(place.path())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all("пароль\n".as_bytes()).await.unwrap();
    assert_eq!(ended(child).await.code, 0);
    let lines = std::fs::read_to_string(place.path().join("users")).unwrap();
    std::fs::remove_file(place.path().join("users")).unwrap();
    let env = [("HUOPAN_SERVE_USERS", lines.as_str())];
    let served = Served::start_with(place.path(), &["--lake", "lake"], &env).await;
    assert!(served.connect("user=ann password=пароль").await.is_ok());
    assert!(served.connect("user=ann password=parol").await.is_err());
}

#[tokio::test]
async fn where_tls_is_required_plain_text_is_refused_before_a_password_is_asked() {
    let place = lake().await;
    certificate(&place);
    add(&place, "ann", PASSWORD).await;
    let tls = ["--users", "users", "--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let served = Served::start(&place, &tls).await;
    let error = served.connect(&format!("user=ann password='{PASSWORD}'")).await.err().unwrap();
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!((error.code().code(), error.hint().is_some_and(|hint| hint.contains("sslmode"))), ("28000", true));

    // The first and only answer to a plain-text start is that refusal.
    let mut socket = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
    socket.write_all(b"\0\0\0\x11\0\x03\0\0user\0ann\0\0").await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.first(), Some(&b'E'), "{answer:?}");

    // What is sent ahead of the handshake must not count as sent within it.
    let mut socket = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
    let ssl: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
    socket.write_all(&[ssl, b"\0\0\0\x11\0\x03\0\0user\0ann\0\0"].concat()).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    assert!(answer.len() <= 1 || answer[..1] == *b"S", "{answer:?}");
    assert!(answer.len() <= 8, "nothing but the end of it: {answer:?}");
}

#[tokio::test]
async fn a_server_that_would_be_open_or_has_no_sound_certificate_does_not_start() {
    let place = lake().await;
    certificate(&place);
    add(&place, "ann", PASSWORD).await;
    place.write("other.pem", generate_simple_self_signed(["x".to_owned()]).unwrap().signing_key.serialize_pem());
    place.write("empty", "");
    let tls = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let anywhere = ["--listen", "0.0.0.0:0"];
    for (more, expected) in [
        (anywhere.to_vec(), "not without TLS and users"),
        ([&anywhere[..], &["--users", "users"]].concat(), "not without TLS"),
        ([&anywhere[..], &tls].concat(), "not without users"),
        (vec!["--tls-cert", "cert.pem", "--tls-key", "other.pem"], "does not belong to"),
        (vec!["--tls-cert", "cert.pem", "--tls-key", "nowhere.pem"], "no usable private key"),
        (vec!["--tls-cert", "empty", "--tls-key", "key.pem"], "no usable certificate"),
        (vec!["--users", "empty"], "names nobody"),
        (vec!["--users", "nowhere"], "cannot read the users"),
        (vec!["--lake", "nowhere"], "nowhere"),
    ] {
        let lake: &[&str] = if more.contains(&"--lake") { &[] } else { &["--lake", "lake"] };
        let ended = huopan_with(place.path(), &[&["serve"], lake, &more].concat(), &[]).await;
        assert_eq!(ended.code, 1, "{more:?}: {ended:?}");
        assert!(ended.stderr.contains(expected) && ended.stderr.contains("hint: "), "{more:?}: {ended:?}");
    }
}
