use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Utc};

use super::*;
use crate::base::Secret;
use crate::store::Store;

const SECRET: &str = "s3cr3t-of-the-app";

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_019_400, 0).unwrap()
}

fn zone() -> (tempfile::TempDir, Zone, RunId) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let zone = Zone::new(store, "nightly", NaiveDate::from_ymd_opt(2026, 11, 19).unwrap());
    (folder, zone, RunId::new(at(), [7; 10]))
}

fn writer(zone: &Zone, run_id: RunId, first_number: i64) -> Writer {
    Writer::start(zone.clone(), WriterOptions { run_id, first_number, mask: Mask::new([Secret::new(SECRET)]) })
}

fn attempt(page: u32, body: impl Into<Bytes>) -> Attempt {
    let record = Record {
        run_id: "run".to_owned(),
        number: 0,
        attempt: 1,
        account: "main".to_owned(),
        endpoint: "listing".to_owned(),
        shop_id: None,
        offer_id: None,
        sku_id: None,
        page: Some(page),
        request: BTreeMap::new(),
        http_status: Some(200),
        content_type: None,
        retry_after: None,
        transport_error: None,
        wait_ms: 0,
        latency_ms: 0,
        sent_at: at(),
        received_at: at(),
        body_bytes: 0,
        digest: String::new(),
        redacted: false,
        ..Record::default()
    };
    Attempt { record, body: body.into() }
}

async fn landed(zone: &Zone, run: &RunId) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for segment in zone.segments(run).await.unwrap() {
        attempts.extend(zone.read_segment(&segment).await.unwrap());
    }
    attempts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_readable_at_that_moment_and_numbers_are_unique() {
    let (_folder, zone, run) = zone();
    let writer = Arc::new(writer(&zone, run, 1));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..16_u32 {
        let (writer, zone) = (Arc::clone(&writer), zone.clone());
        callers.spawn(async move {
            let mut numbers = Vec::new();
            for page in 0..8 {
                let kept = writer.land(attempt(caller * 100 + page, format!("{caller}/{page}"))).await.unwrap();
                let on_disk = landed(&zone, &run).await;
                let same = |found: &Attempt| found.record == kept.record && found.body == kept.body;
                assert!(on_disk.iter().any(same), "acknowledged before it was durable");
                numbers.push(kept.record.number);
            }
            numbers
        });
    }
    let numbers: Vec<i64> = callers.join_all().await.into_iter().flatten().collect();
    writer.close().await.unwrap();
    assert_eq!(BTreeSet::from_iter(numbers), BTreeSet::from_iter(1..=128));
    let read: Vec<i64> = landed(&zone, &run).await.iter().map(|attempt| attempt.record.number).collect();
    assert_eq!(read, Vec::from_iter(1..=128), "segments are in the order of numbers");
    assert_eq!(zone.last_number(&run).await.unwrap(), 128);
    assert_eq!(zone.runs().await.unwrap(), [run]);
    assert_eq!(Zone::days(zone.store(), "nightly").await.unwrap(), [NaiveDate::from_ymd_opt(2026, 11, 19).unwrap()]);
}

/// On this runtime the committer runs only when the test waits, so what was submitted before is one group.
#[tokio::test]
async fn all_that_waits_shares_a_segment_and_the_first_waits_for_nobody() {
    let (_folder, zone, run) = zone();
    let writer = writer(&zone, run, 1);
    writer.land(attempt(0, "alone")).await.unwrap();
    assert_eq!(zone.segments(&run).await.unwrap().len(), 1);
    let mut landings = Vec::new();
    for page in 1..=10 {
        landings.push(writer.submit(attempt(page, "together")).await.unwrap());
    }
    for landing in landings {
        landing.wait().await.unwrap();
    }
    let segments = zone.segments(&run).await.unwrap();
    let names: Vec<_> = segments.iter().filter_map(|segment| segment.path.rsplit('/').next()).collect();
    assert_eq!(names, ["000000000001.seg", "000000000002.seg"]);
    let pages: Vec<_> = zone.records(&run).await.unwrap().iter().filter_map(|record| record.page).collect();
    assert_eq!(pages, Vec::from_iter(0..=10), "in the order of submission");
}

#[tokio::test]
async fn a_group_is_bounded_by_its_bytes() {
    let (_folder, zone, run) = zone();
    let writer = writer(&zone, run, 1);
    let body = Bytes::from(vec![b'x'; GROUP_BYTES_MAX / 2]);
    let mut landings = Vec::new();
    for page in 0..6 {
        landings.push(writer.submit(attempt(page, body.clone())).await.unwrap());
    }
    for landing in landings {
        landing.wait().await.unwrap();
    }
    assert_eq!(zone.segments(&run).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_continued_run_continues_its_numbers() {
    let (_folder, zone, run) = zone();
    let first = writer(&zone, run, 1);
    first.land(attempt(1, "a")).await.unwrap();
    first.close().await.unwrap();
    assert!(first.land(attempt(2, "late")).await.is_err());
    let second = writer(&zone, run, zone.last_number(&run).await.unwrap() + 1);
    assert_eq!(second.land(attempt(2, "b")).await.unwrap().record.number, 2);
    assert_eq!(landed(&zone, &run).await.len(), 2);
}

#[tokio::test]
async fn closing_lands_what_nobody_waits_for() {
    let (_folder, zone, run) = zone();
    let writer = writer(&zone, run, 1);
    for page in 0..5 {
        drop(writer.submit(attempt(page, "x")).await.unwrap());
    }
    writer.close().await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(landed(&zone, &run).await.len(), 5);
}

#[tokio::test]
async fn a_failed_write_fails_its_group_and_everything_after_it() {
    let (folder, zone, run) = zone();
    let writer = writer(&zone, run, 1);
    writer.land(attempt(0, "kept")).await.unwrap();
    let run_folder = folder.path().join(format!("_huopan/landing/nightly/2026-11-19/{run}"));
    let aside = folder.path().join("aside");
    std::fs::rename(&run_folder, &aside).unwrap();
    std::fs::write(&run_folder, b"a file where the folder was").unwrap();
    let mut landings = Vec::new();
    for page in 1..=3 {
        landings.push(writer.submit(attempt(page, "lost")).await.unwrap());
    }
    for landing in landings {
        assert_eq!(landing.wait().await.unwrap_err().kind(), Kind::Storage);
    }
    std::fs::remove_file(&run_folder).unwrap();
    std::fs::rename(&aside, &run_folder).unwrap();
    let late = writer.land(attempt(4, "late")).await.unwrap_err();
    assert!(late.to_string().starts_with("cannot write `"), "{late}");
    assert!(std::error::Error::source(&late).is_some());
    assert_eq!(writer.close().await.unwrap_err().kind(), Kind::Storage);
    assert_eq!(landed(&zone, &run).await.len(), 1);
}

#[tokio::test]
async fn two_writers_of_one_run_conflict_instead_of_overwriting() {
    let (_folder, zone, run) = zone();
    let (first, second) = (writer(&zone, run, 1), writer(&zone, run, 1));
    first.land(attempt(1, "first")).await.unwrap();
    assert_eq!(second.land(attempt(1, "second")).await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(landed(&zone, &run).await[0].body, "first");
}

#[tokio::test]
async fn secrets_never_land_and_a_body_with_one_is_flagged() {
    let (folder, zone, run) = zone();
    let writer = writer(&zone, run, 1);
    let clean = writer.land(attempt(1, "{\"ok\":true}")).await.unwrap();
    assert!(!clean.record.redacted);
    // Whoever submits may have masked what the writer does not know: a token that was given meanwhile.
    let mut masked = attempt(1, "{\"echo\":\"*****\"}");
    masked.record.redacted = true;
    assert!(writer.land(masked).await.unwrap().record.redacted);
    let mut telling = attempt(2, format!("{{\"echo\":\"{SECRET}\"}}"));
    telling.record.transport_error = Some(format!("error sending request for url (http://x/?secret={SECRET})"));
    telling.record.request.insert("session".to_owned(), SECRET.to_owned());
    let kept = writer.land(telling).await.unwrap();
    assert!(kept.record.redacted);
    assert_eq!(kept.body, format!("{{\"echo\":\"{}\"}}", "*".repeat(SECRET.len())));
    assert_eq!(kept.record.request["session"], "***");
    assert_eq!(kept.record.digest, digest(&kept.body));
    writer.close().await.unwrap();
    for file in walkdir::WalkDir::new(folder.path()).into_iter().filter_map(|entry| entry.ok()) {
        let Ok(bytes) = std::fs::read(file.path()) else { continue };
        let plain = zstd::stream::decode_all(&bytes[..]).unwrap_or(bytes);
        assert!(memchr::memmem::find(&plain, SECRET.as_bytes()).is_none(), "{}", file.path().display());
    }
}

#[tokio::test]
async fn a_damaged_segment_is_reported_with_its_path() {
    let (folder, zone, run) = zone();
    writer(&zone, run, 1).land(attempt(1, "body")).await.unwrap();
    let segment = zone.segments(&run).await.unwrap().remove(0);
    let file = folder.path().join(&segment.path);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 9]).unwrap();
    for error in [zone.read_segment(&segment).await.unwrap_err(), zone.last_number(&run).await.unwrap_err()] {
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().contains(&segment.path), "{error}");
    }
}

#[tokio::test]
async fn facts_stay_when_the_segments_of_a_run_are_deleted() {
    let (_folder, zone, run) = zone();
    writer(&zone, run, 1).land(attempt(1, "body")).await.unwrap();
    assert_eq!(zone.read_facts(&run).await.unwrap(), None);
    let facts = crate::extract::RunFacts {
        run_id: run.to_string(),
        shops: Vec::new(),
        items_unanswered: vec![1],
        calls_used: 1,
        retries: 0,
        throttles: 0,
        bytes_received: 4,
        stopped: None,
        started_at: at(),
        finished_at: at(),
        ..crate::extract::RunFacts::default()
    };
    zone.write_facts(&run, &facts).await.unwrap();
    let segment = zone.segments(&run).await.unwrap().remove(0);
    let records = zone.read_records_if_there(&segment).await.unwrap();
    assert_eq!(records.unwrap(), zone.records(&run).await.unwrap());
    assert_eq!(zone.read_segment_if_there(&segment).await.unwrap().unwrap().len(), 1);
    zone.delete_segments(&run).await.unwrap();
    // Whoever has listed it before finds it gone, which is an error for those who need it.
    assert!(zone.read_segment_if_there(&segment).await.unwrap().is_none());
    assert!(zone.read_records_if_there(&segment).await.unwrap().is_none());
    assert_eq!(zone.read_segment(&segment).await.unwrap_err().kind(), Kind::Storage);
    assert_eq!(zone.segments(&run).await.unwrap(), []);
    assert_eq!(zone.read_facts(&run).await.unwrap(), Some(facts));
    assert_eq!(zone.runs().await.unwrap(), [run]);
}
