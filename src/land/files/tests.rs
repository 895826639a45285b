use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::TimeZone;

use super::*;
use crate::base::Kind;
use crate::base::time::{BEIJING, ManualClock, beijing_day};
use crate::config::Pointer;
use crate::config::pipeline::{DtFrom, Files};
use crate::extract::Record;

fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.path("captures")).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn files(&self, pattern: &str) -> Files {
        Files {
            paths: vec![self.path(pattern).display().to_string()],
            endpoint: "listing".to_owned(),
            answer: None,
            shop_id: None,
            fetched_at: None,
            dt_from: DtFrom::Run,
        }
    }

    /// The envelope of one wrapper line: `{"shop": …, "at": …, "body": …}`.
    fn wrapped(&self, pattern: &str, dt_from: DtFrom) -> Files {
        let pointer = |text: &str| Some(Pointer::parse(text).unwrap());
        Files {
            answer: pointer("/body"),
            shop_id: pointer("/shop"),
            fetched_at: pointer("/at"),
            dt_from,
            ..self.files(pattern)
        }
    }
}

fn read(files: &Files) -> Vec<Capture> {
    Captures::open(files, day(20)).unwrap().collect::<Result<_>>().unwrap()
}

fn bodies(files: &Files) -> Vec<String> {
    read(files).iter().map(|capture| String::from_utf8_lossy(&capture.attempt.body).into_owned()).collect()
}

fn first_error(files: &Files) -> Error {
    Captures::open(files, day(20)).and_then(Iterator::collect::<Result<Vec<_>>>).unwrap_err()
}

fn place(capture: &Capture) -> String {
    let request = &capture.attempt.record.request;
    format!("{}:{}", request["file"], request["line"])
}

#[test]
fn folders_globs_and_all_kinds_of_files_are_read_in_the_order_of_path_and_line() {
    let folder = Folder::new();
    folder.write("captures/b.jsonl", "{\"n\":3}\r\n\n{\"n\":4}");
    folder.write("captures/a/one.json", "{\n  \"n\": 1\n}\n");
    folder.write("captures/c.jsonl.zst", zstd::encode_all(&b"{\"n\":5}\n{\"n\":6}\n"[..], 1).unwrap());
    folder.write("captures/a/two.json.zst", zstd::encode_all(&b"{\"n\":2}"[..], 1).unwrap());
    folder.write("captures/notes.txt", "not ours");
    folder.write("captures/.hidden/x.json", "{}");
    let files = folder.files("captures");
    assert_eq!(bodies(&files), ["{\n  \"n\": 1\n}\n", "{\"n\":2}", "{\"n\":3}", "{\"n\":4}", "{\"n\":5}", "{\"n\":6}"]);
    let places: Vec<_> = read(&files).iter().map(place).collect();
    let expected = ["a/one.json:1", "a/two.json.zst:1", "b.jsonl:1", "b.jsonl:3", "c.jsonl.zst:1", "c.jsonl.zst:2"];
    assert_eq!(places, expected.map(|place| format!("captures/{place}")));
    assert_eq!(bodies(&folder.files("captures/*.jsonl")), ["{\"n\":3}", "{\"n\":4}"]);
    assert_eq!(bodies(&folder.files("captures/?/*.json")), ["{\n  \"n\": 1\n}\n"]);
    assert_eq!(bodies(&folder.files("captures/**/*.zst")).len(), 3);
    assert_eq!(place(&read(&folder.files("captures/**/*.zst"))[0]), "captures/a/two.json.zst:1");
    assert_eq!(place(&read(&folder.files("captures/b.jsonl"))[0]), "captures/b.jsonl:1");
}

#[test]
fn a_file_that_several_patterns_name_is_read_once() {
    let folder = Folder::new();
    folder.write("captures/a[1].jsonl", "{}");
    let mut files = folder.files("captures/a[1].jsonl");
    files.paths.extend(folder.files("captures").paths);
    assert_eq!(bodies(&files), ["{}"]);
}

#[test]
fn a_path_without_captured_answers_is_a_configuration_error_that_names_it() {
    let folder = Folder::new();
    folder.write("captures/notes.txt", "x");
    for pattern in ["captures/*.jsonl", "captures", "nowhere/x.json", "captures/*"] {
        let error = first_error(&folder.files(pattern));
        assert_eq!(error.kind(), Kind::Config);
        let expected = format!("no captured answers match `{}`", folder.path(pattern).display());
        assert_eq!(error.to_string(), expected);
    }
    let error = first_error(&folder.files("captures/notes.txt"));
    assert!(error.to_string().ends_with("is not a file of captured answers"), "{error}");
    let error = first_error(&folder.files("captures/[.json"));
    assert!(error.to_string().ends_with("is not a pattern of paths"), "{error}");
}

#[test]
fn the_body_is_the_exact_slice_and_the_envelope_gives_shop_and_time() {
    let folder = Folder::new();
    let line = r#"{"shop": 2282456210847, "at": "2026-11-18T16:30:00.282Z", "body": {"a" : 1.50,  "题":"\u4fdd"} }"#;
    folder.write("captures/x.jsonl", line);
    let capture = read(&folder.wrapped("captures", DtFrom::FetchedAt)).remove(0);
    assert_eq!(capture.attempt.body, r#"{"a" : 1.50,  "题":"\u4fdd"}"#);
    assert_eq!(capture.dt, day(19), "half past midnight in Beijing");
    let record = &capture.attempt.record;
    assert_eq!(record.shop_id.as_deref(), Some("2282456210847"));
    assert_eq!(record.received_at.timestamp_millis(), 1_795_019_400_282);
    assert_eq!((record.http_status, record.endpoint.as_str(), record.attempt), (Some(200), "listing", 1));
}

#[test]
fn an_answer_kept_as_text_is_its_text() {
    let folder = Folder::new();
    folder.write("captures/x.jsonl", r#"{"body": "<a>\n\u4fdd</a>"}"#);
    assert_eq!(bodies(&folder.wrapped("captures", DtFrom::Run)), ["<a>\n保</a>"]);
}

#[test]
fn what_is_not_json_or_has_no_answer_is_landed_whole() {
    let folder = Folder::new();
    let gbk = encoding_rs::GBK.encode("{\"body\":\"保温杯\"}").0.into_owned();
    let good = br#"{"at":"2026-11-18T16:30:00Z","body":{}}"#;
    let lines = [&good[..], b"{\"body\": {\"cut", &gbk, br#"{"at":"2026-11-19T17:00:00Z","other":1}"#].join(&b'\n');
    folder.write("captures/x.jsonl", lines);
    let captures = read(&folder.wrapped("captures", DtFrom::FetchedAt));
    let bodies: Vec<&[u8]> = captures.iter().map(|capture| &capture.attempt.body[..]).collect();
    let other = br#"{"at":"2026-11-19T17:00:00Z","other":1}"#;
    assert_eq!(bodies, [b"{}", &b"{\"body\": {\"cut"[..], &gbk, other]);
    let days: Vec<_> = captures.iter().map(|capture| capture.dt).collect();
    assert_eq!(days, [day(19), day(19), day(19), day(20)], "a broken line is of the day of the line before it");
}

#[test]
fn a_time_that_cannot_be_read_names_file_and_line() {
    let folder = Folder::new();
    folder.write("captures/x.jsonl", "{\"at\":\"2026-11-18 10:00:00\",\"body\":1}\n{\"at\":\"soon\",\"body\":1}\n");
    let path = folder.path("captures/x.jsonl");
    for dt_from in [DtFrom::Run, DtFrom::FetchedAt] {
        let error = first_error(&folder.wrapped("captures", dt_from));
        assert_eq!(error.kind(), Kind::Data);
        assert_eq!(error.to_string(), format!("`{}` line 2: `soon` at `/at` is not a time", path.display()));
    }
    folder.write("captures/x.jsonl", "{\"body\":1}");
    let error = first_error(&folder.wrapped("captures", DtFrom::FetchedAt));
    assert!(error.to_string().ends_with("line 1: there is no time at `/at`, so its day is unknown"), "{error}");
    assert_eq!(read(&folder.wrapped("captures", DtFrom::Run))[0].dt, day(20));
}

#[test]
fn a_byte_order_mark_is_the_files_and_not_the_answers() {
    let folder = Folder::new();
    folder.write("captures/x.jsonl", "\u{feff}{\"body\":{\"a\":1}}\r\n");
    assert_eq!(bodies(&folder.wrapped("captures", DtFrom::Run)), ["{\"a\":1}"]);
}

fn lines(path: &Path, bytes_max: usize) -> Result<Vec<(i64, Vec<u8>)>> {
    let file = find::find(&[path.display().to_string()])?.remove(0);
    let mut lines = lines::Lines::open(&file, bytes_max)?;
    std::iter::from_fn(|| lines.next().transpose()).collect()
}

#[test]
fn a_line_that_is_too_long_names_file_and_line_and_one_that_just_fits_is_read() {
    let folder = Folder::new();
    folder.write("x.jsonl", "123\n123456789\n1\n");
    let path = folder.path("x.jsonl");
    assert_eq!(lines(&path, 10).unwrap().len(), 3);
    let error = lines(&path, 9).unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    assert_eq!(error.to_string(), format!("`{}` line 2 is longer than 9 bytes", path.display()));
    folder.write("x.json", "1234567890");
    assert_eq!(lines(&folder.path("x.json"), 10).unwrap().len(), 1);
    assert!(lines(&folder.path("x.json"), 9).is_err());
}

#[test]
fn a_damaged_packed_file_names_file_and_line() {
    let folder = Folder::new();
    let packed = zstd::encode_all(&b"{\"n\":1}\n".repeat(1000)[..], 1).unwrap();
    folder.write("x.jsonl.zst", &packed[..packed.len() - 6]);
    let error = lines(&folder.path("x.jsonl.zst"), 100).unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    assert!(error.to_string().contains("x.jsonl.zst` at line"), "{error}");
    folder.write("y.jsonl.zst", "not zstd at all");
    assert_eq!(lines(&folder.path("y.jsonl.zst"), 100).unwrap_err().kind(), Kind::Data);
}

fn target(folder: &Folder) -> FilesTarget {
    let clock = ManualClock::new(BEIJING.with_ymd_and_hms(2026, 11, 22, 3, 0, 0).unwrap().to_utc());
    FilesTarget {
        store: Store::open(&folder.path("lake")).unwrap(),
        pipeline: "exports".to_owned(),
        clock: Arc::new(clock),
    }
}

fn run_of(dt: NaiveDate) -> RunId {
    use chrono::Datelike;
    RunId::new(DateTime::UNIX_EPOCH, [u8::try_from(dt.ordinal() % 200).unwrap(); 10])
}

/// Lands 2400 answers, several batches, of `days` interleaved days.
async fn check_days(days: u32) {
    let folder = Folder::new();
    let mut file = std::fs::File::create(folder.path("captures/x.jsonl")).unwrap();
    for answer in 0..2400 {
        let (day, shop) = (1 + answer % days, answer % 5);
        writeln!(file, r#"{{"shop":"s{shop}","at":"2026-11-{day:02} 08:00:00","body":{{"n":{answer}}}}}"#).unwrap();
    }
    let target = target(&folder);
    let captures = Captures::open(&folder.wrapped("captures", DtFrom::FetchedAt), day(22)).unwrap();
    let landed = land_files(captures, target.clone(), run_of).await.unwrap();
    assert_eq!(landed.iter().map(|landed| landed.dt).collect::<Vec<_>>(), (1..=days).map(day).collect::<Vec<_>>());
    for LandedDay { dt, run_id, facts } in &landed {
        let zone = Zone::new(target.store.clone(), "exports", *dt);
        assert_eq!(zone.read_facts(run_id).await.unwrap().as_ref(), Some(facts));
        assert_eq!((facts.shops.len(), facts.calls_used), (5, 0));
        let records = zone.records(run_id).await.unwrap();
        let numbers: Vec<_> = records.iter().map(|record| record.number).collect();
        assert_eq!(numbers, (1..=i64::from(2400 / days)).collect::<Vec<_>>());
        let of_the_day = |record: &Record| record.run_id == run_id.to_string() && beijing_day(record.sent_at) == *dt;
        assert!(records.iter().all(of_the_day), "{dt}");
        let bytes: u64 = records.iter().map(|record| record.body_bytes).sum();
        assert_eq!(facts.bytes_received, i64::try_from(bytes).unwrap());
        let segments = zone.segments(run_id).await.unwrap().len();
        assert!(segments <= 8, "interleaved days share segments: {segments}");
    }
}

#[tokio::test]
async fn each_day_lands_in_its_own_zone_with_facts() {
    check_days(4).await;
}

#[tokio::test]
async fn more_days_than_are_open_at_once_land_the_same_way() {
    check_days(u32::try_from(OPEN_DAYS_MAX).unwrap() + 4).await;
}

#[tokio::test]
async fn an_error_in_the_middle_leaves_no_facts() {
    let folder = Folder::new();
    let good = "{\"at\":\"2026-11-19 08:00:00\",\"body\":{}}\n".repeat(3000);
    folder.write("captures/x.jsonl", format!("{good}{{\"at\":\"never\",\"body\":{{}}}}\n"));
    let target = target(&folder);
    let captures = Captures::open(&folder.wrapped("captures", DtFrom::FetchedAt), day(22)).unwrap();
    let error = land_files(captures, target.clone(), run_of).await.unwrap_err();
    assert!(error.to_string().contains("line 3001"), "{error}");
    let zone = Zone::new(target.store, "exports", day(19));
    assert_eq!(zone.read_facts(&run_of(day(19))).await.unwrap(), None);
}

#[tokio::test]
async fn a_lake_that_cannot_be_written_stops_the_landing() {
    let folder = Folder::new();
    folder.write("captures/x.jsonl", "{\"n\":1}\n");
    let target = target(&folder);
    folder.write("lake/_huopan", "a file where the folder belongs");
    let captures = Captures::open(&folder.files("captures"), day(22)).unwrap();
    let error = land_files(captures, target, run_of).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Storage);
}
