use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;

use super::*;
use crate::base::Kind;
use crate::state::{State, conformance};

async fn state(path: &Path) -> State {
    Arc::new(Sqlite::open(path).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_does_what_every_store_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/state.db");
    conformance::check(state(&path).await, state(&path).await).await;
}

#[tokio::test]
async fn memory_does_what_every_store_does() {
    let memory = crate::state::in_memory().await.unwrap();
    conformance::check(memory.clone(), memory).await;
}

#[tokio::test]
async fn a_file_keeps_what_it_was_told_and_only_its_owner_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let day = NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
    let counted = Counted { account: "key".to_owned(), scope: String::new(), day, calls: 7 };
    assert!(state(&path).await.raise(&counted, "run").await.unwrap());
    let store = state(&path).await;
    assert_eq!(store.counts(day).await.unwrap(), [counted]);
    #[cfg(unix)]
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let mode = std::os::unix::fs::PermissionsExt::mode(&entry.unwrap().metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn no_call_leaves_once_the_file_is_gone_or_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let bounds = crate::state::Bounds {
        calls_per_day: None,
        calls_per_second: None,
        calls_in_flight: 9,
        lease: std::time::Duration::ZERO,
    };
    let (account, run, holder, now) = ("key", "run", "holder", SystemClock.now());
    let ask = Ask {
        account,
        gateway: "",
        credentials: "",
        endpoint: "",
        scope: "",
        run,
        day: beijing_day(now),
        now,
        bounds,
        holder,
        held: None,
        gateway_day: beijing_day(now),
        lead: chrono::TimeDelta::zero(),
        unsure: chrono::TimeDelta::zero(),
    };
    let store = state(&path).await;
    assert!(matches!(store.reserve(&ask).await.unwrap(), Reserved::Granted { used: 1, .. }));
    std::fs::remove_file(&path).unwrap();
    let removed = store.reserve(&ask).await.expect_err("removed");
    let other = state(&path).await;
    let replaced = store.reserve(&ask).await.expect_err("replaced");
    let mut errors = vec![removed, replaced];
    for suffix in ["-wal", "-shm"] {
        let path = folder.path().join("state.db");
        assert!(matches!(other.reserve(&ask).await.unwrap(), Reserved::Granted { .. }));
        std::fs::rename(format!("{}{suffix}", path.display()), folder.path().join("kept")).unwrap();
        errors.push(other.reserve(&ask).await.expect_err("alone"));
        std::fs::rename(folder.path().join("kept"), format!("{}{suffix}", path.display())).unwrap();
    }
    for error in errors {
        assert_eq!(error.kind(), Kind::Unavailable);
        let message =
            format!("state file `{}`, or a file beside it, was removed or replaced while it was used", path.display());
        assert_eq!(error.to_string(), message);
    }
    assert!(matches!(other.reserve(&ask).await.unwrap(), Reserved::Granted { used: 3, .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_may_create_the_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let path = path.clone();
        tasks.spawn(async move { Sqlite::open(&path).await.map(drop) });
    }
    for opened in tasks.join_all().await {
        opened.unwrap();
    }
}

async fn refused(path: &Path) -> Error {
    Sqlite::open(path).await.expect_err("refused")
}

#[tokio::test]
async fn a_file_that_is_none_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (text, other) = (folder.path().join("notes.txt"), folder.path().join("other.db"));
    std::fs::write(&text, "notes ".repeat(1000)).unwrap();
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    for path in [&text, &other] {
        let before = std::fs::read(path).unwrap();
        let error = refused(path).await;
        assert_eq!(error.kind(), Kind::Storage);
        assert_eq!(error.to_string(), format!("`{}` is not a state file", path.display()));
        assert!(error.hint().unwrap().contains("delete it"));
        assert_eq!(std::fs::read(path).unwrap(), before);
    }
    let below = text.join("state.db");
    let error = refused(&below).await;
    assert_eq!(error.to_string(), format!("state file `{}` cannot be written", below.display()));
}

#[tokio::test]
async fn a_newer_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    drop(state(&path).await);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 3).unwrap();
    let error = refused(&path).await;
    assert_eq!(error.kind(), Kind::Storage);
    assert!(error.to_string().ends_with("has version 3; this huopan knows version 2"), "{error}");
    assert!(error.hint().unwrap().contains("counted again from landed answers"));
}

#[tokio::test]
async fn a_damaged_page_of_the_ledger_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = state(&path).await;
    store.wake("key").await.unwrap();
    Connection::open(&path).unwrap().execute("UPDATE accounts SET ledger = '{'", []).unwrap();
    let error = store.wake("key").await.expect_err("damaged");
    assert_eq!(error.to_string(), format!("state file `{}` is damaged", path.display()));
    assert!(error.hint().unwrap().starts_with("delete it"));
    // The transaction is over: others can go on.
    store.wake("another key").await.unwrap();
}

#[tokio::test]
async fn answers_that_expired_and_counts_long_past_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = state(&path).await;
    let now = store.now().await.unwrap();
    let today = beijing_day(now);
    let [kept, past] = [40, 41].map(|days| today - TimeDelta::days(days));
    for day in [kept, past] {
        store.raise(&Counted { account: "key".to_owned(), scope: String::new(), day, calls: 1 }, "run").await.unwrap();
    }
    let answer = |seconds| Cached { value: Bytes::from_static(b"{}"), expires_at: now + TimeDelta::seconds(seconds) };
    for key in 0..PURGE_EVERY {
        store.cache(&format!("old {key}"), &answer(-1)).await.unwrap();
    }
    store.cache("new", &answer(3600)).await.unwrap();
    let count: i64 =
        Connection::open(&path).unwrap().query_row("SELECT count(*) FROM answers", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
    assert_eq!(store.counts(kept).await.unwrap().len(), 1);
    assert_eq!(store.counts(past).await.unwrap(), []);
    let parts: i64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT count(*) FROM counts_of_runs", [], |row| row.get(0))
        .unwrap();
    assert_eq!(parts, 1);
}

/// The tables as version 1 had them.
const VERSION_1: &str = "
    CREATE TABLE accounts (account TEXT PRIMARY KEY, ledger TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE counts (
        day TEXT, account TEXT, scope TEXT, calls INTEGER NOT NULL, PRIMARY KEY (day, account, scope)
    ) WITHOUT ROWID;
    CREATE TABLE answers (key TEXT PRIMARY KEY, expires_at INTEGER NOT NULL, value BLOB NOT NULL);
    CREATE INDEX answers_by_expiry ON answers (expires_at);
    INSERT INTO counts VALUES ('2026-11-21', 'key', '', 7);
    PRAGMA application_id = 1752526958;
    PRAGMA user_version = 1;
";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_of_version_1_keeps_its_counts_whoever_opens_it_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    Connection::open(&path).unwrap().execute_batch(VERSION_1).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let path = path.clone();
        tasks.spawn(async move { Sqlite::open(&path).await });
    }
    let day = NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
    let counted = Counted { account: "key".to_owned(), scope: String::new(), day, calls: 7 };
    for store in tasks.join_all().await {
        assert_eq!(store.unwrap().counts(day).await.unwrap(), std::slice::from_ref(&counted));
    }
    // Which run made its calls is not known: whoever has made some made those first.
    let store = state(&path).await;
    for (run, calls, lacked, sum) in
        [("one", 4, false, 7), ("one", 4, false, 7), ("another", 5, true, 9), ("one", 6, true, 11)]
    {
        let of_run = Counted { calls, ..counted.clone() };
        assert_eq!(store.raise(&of_run, run).await.unwrap(), lacked, "{run} {calls}");
        assert_eq!(store.counts(day).await.unwrap()[0].calls, sum, "{run} {calls}");
    }
}
