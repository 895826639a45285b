//! Which publications follow a cursor; and rows that are missing from files of an older contract.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use chrono::{DateTime, NaiveDate};
use parquet::arrow::ArrowWriter;

use super::rows::Rows;
use super::steps::{Backlog, Replaced};
use super::{Cursor, steps};
use crate::base::Kind;
use crate::load::log::Change;
use crate::load::{DataFile, Entry, Retained, State};
use crate::store::Store;
use crate::transform::contract::Table;

fn day(number: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, number).unwrap()
}

/// A publication of a day, `second` seconds after all began; `None` for the day: an attempt without pictures.
fn entry(pipeline: &str, seq: u64, dt: Option<u32>, second: i64) -> Entry {
    Entry {
        seq,
        pipeline: pipeline.into(),
        dt: day(dt.unwrap_or(1)),
        run_id: format!("{pipeline}-{seq}"),
        attempt: 1,
        picture: dt.is_some(),
        published_at: DateTime::from_timestamp(second, 0).unwrap(),
        huopan_version: "0".into(),
        contract_version: "1.1.0".into(),
        calls_to: 0,
        change: Change::Run,
        tables: BTreeMap::new(),
    }
}

fn backlog<'s>(log: &'s Retained, since: &Cursor, steps_max: usize) -> crate::base::Result<Backlog<'s>> {
    steps::backlog(log, since, steps_max, &Replaced::new())
}

/// `a2@20<19`: publication 2 of `a`, of the 20th, compared with the 19th; `!` marks a correction.
fn shown(log: &Retained, since: &str, steps_max: usize) -> (String, String, usize) {
    shown_without(log, since, steps_max, &[]).unwrap()
}

/// The same where these publications (`a-3`) are lost and replaced; or the error.
fn shown_without(
    log: &Retained,
    since: &str,
    steps_max: usize,
    replaced: &[&str],
) -> Result<(String, String, usize), String> {
    let number = |text: &&str| text.split_once('-').map(|(pipeline, seq)| (pipeline.to_owned(), seq.parse().unwrap()));
    let replaced = replaced.iter().filter_map(number).collect();
    let backlog =
        steps::backlog(log, &since.parse().unwrap(), steps_max, &replaced).map_err(|error| error.to_string())?;
    let step = |step: &super::Step<'_>| {
        let before = step.before.map_or(String::new(), |before| format!("<{}.{}", before.dt.format("%d"), before.seq));
        let mark = if step.is_correction { "!" } else { "" };
        format!("{}{}@{}{before}{mark}", step.entry.pipeline, step.entry.seq, step.entry.dt.format("%d"))
    };
    let steps: Vec<String> = backlog.steps.iter().map(step).collect();
    Ok((steps.join(" "), backlog.cursor.to_string(), backlog.left))
}

/// What entries of pipeline `a` add up to.
fn after(entries: impl IntoIterator<Item = Entry>) -> State {
    let mut state = State::new("a");
    entries.into_iter().for_each(|entry| state.apply(entry));
    state
}

fn two_pipelines() -> Retained {
    Retained::of(
        [],
        [
            entry("a", 1, Some(19), 10),
            entry("a", 2, None, 20),
            entry("a", 3, Some(20), 30),
            entry("a", 4, Some(20), 40),
            entry("a", 5, Some(19), 50),
            entry("a", 6, Some(21), 60),
            entry("b", 1, Some(20), 35),
            entry("b", 2, Some(18), 70),
        ],
    )
}

#[test]
fn publications_come_in_the_order_of_their_decisions_each_with_the_picture_before() {
    let (steps, cursor, left) = shown(&two_pipelines(), "v1:", 100);
    assert_eq!(steps, "a1@19 a3@20<19.1 b1@20 a4@20<20.3 a5@19<19.1! a6@21<20.4 b2@18!");
    assert_eq!((cursor.as_str(), left), ("v1:a=6,b=2", 0));
    assert_eq!(steps::now(&two_pipelines()).to_string(), cursor);
}

#[test]
fn a_cursor_goes_on_after_what_it_has_taken_and_stops_before_what_is_left() {
    let snapshot = two_pipelines();
    assert_eq!(shown(&snapshot, "v1:a=3", 2), ("b1@20 a4@20<20.3".into(), "v1:a=4,b=1".into(), 3));
    assert_eq!(shown(&snapshot, "v1:a=4,b=1", 1), ("a5@19<19.1!".into(), "v1:a=5,b=1".into(), 2));
    assert_eq!(shown(&snapshot, "v1:a=6,b=2", 9), (String::new(), "v1:a=6,b=2".into(), 0));
    // Cut at every place, the parts are the whole; also of a log whose beginning is told no longer.
    let of_b = |seq, dt| Entry { pipeline: "b".into(), ..entry("b", seq, Some(dt), 5) };
    let mut base_of_b = State::new("b");
    [of_b(2, 18), of_b(3, 19)].into_iter().for_each(|entry| base_of_b.apply(entry));
    let bases = [after([entry("a", 3, Some(19), 1), entry("a", 4, None, 2)]), base_of_b];
    let later = [entry("a", 5, None, 6), entry("a", 6, Some(20), 7), entry("b", 4, Some(20), 8)];
    for snapshot in [snapshot, Retained::of(bases, later)] {
        let whole = shown(&snapshot, "v1:", 100).0;
        let (mut parts, mut cursor) = (Vec::new(), "v1:".to_owned());
        loop {
            let (steps, next, _) = shown(&snapshot, &cursor, 1);
            if steps.is_empty() {
                break;
            }
            parts.push(steps);
            cursor = next;
        }
        assert_eq!(parts.join(" "), whole);
    }
}

#[test]
fn a_clock_that_stepped_back_does_not_change_the_order_of_a_pipeline() {
    let snapshot =
        Retained::of([], [entry("a", 1, Some(19), 90), entry("a", 2, Some(20), 10), entry("b", 1, Some(20), 50)]);
    assert_eq!(shown(&snapshot, "v1:", 100).0, "b1@20 a1@19 a2@20<19.1");
}

#[test]
fn cursors_past_retention_or_of_another_lake_are_refused() {
    let retained = Retained::of([after([entry("a", 5, Some(20), 1)])], [entry("a", 6, Some(21), 2)]);
    for (cursor, message) in [
        ("v1:a=3", "retains publications from 5 on"),
        ("v1:a=7", "and the lake has 6"),
        ("v1:z=1", "and the lake has 0"),
    ] {
        let error = backlog(&retained, &cursor.parse::<Cursor>().unwrap(), 9).unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains(message) && error.hint().is_some(), "{error}");
    }
    assert_eq!(shown(&retained, "v1:a=5", 9).0, "a6@21<20.5");
    assert_eq!(shown(&retained, "v1:", 9).0, "a5@20 a6@21<20.5", "a start takes what is retained");
}

#[test]
fn after_a_long_pause_the_picture_before_is_the_last_one_however_old() {
    let paused = || {
        let base = after([entry("a", 1, Some(1), 1), entry("a", 4, Some(2), 2), entry("a", 9, None, 3)]);
        let attempts = (10..17).map(|seq| entry("a", seq, None, 4));
        Retained::of([base], attempts.chain([entry("a", 17, Some(20), 5)]))
    };
    assert_eq!(shown(&paused(), "v1:a=4", 9).0, "a17@20<02.4");
    assert_eq!(shown(&paused(), "v1:a=16", 9).0, "a17@20<02.4", "it has taken the attempts of the pause, too");
    assert_eq!(shown(&paused(), "v1:", 9).0, "a4@02 a17@20<02.4");
    assert_eq!(
        backlog(&paused(), &"v1:a=3".parse().unwrap(), 9).unwrap_err().kind(),
        Kind::Config,
        "publication 4 is told no longer"
    );
    // Nothing but what is no picture is left of the log.
    let left = Retained::of([after([entry("a", 4, Some(2), 2), entry("a", 6, None, 3)])], []);
    assert_eq!(backlog(&left, &"v1:a=1".parse().unwrap(), 9).unwrap_err().kind(), Kind::Config);
    assert_eq!(
        (shown(&left, "v1:a=4", 9), shown(&left, "v1:", 9).0),
        ((String::new(), "v1:a=6".into(), 0), "a4@02".into())
    );
}

#[test]
fn a_publication_that_is_lost_and_replaced_is_left_out_unless_it_was_taken() {
    let log = two_pipelines();
    let without = |since, replaced: &[&str]| shown_without(&log, since, 9, replaced).map(|shown| shown.0);
    assert_eq!(without("v1:b=2", &["a-3"]).unwrap(), "a1@19 a4@20<19.1 a5@19<19.1! a6@21<20.4");
    assert_eq!(without("v1:b=2", &["a-1"]).unwrap(), "a3@20 a4@20<20.3 a5@19! a6@21<20.4");
    assert_eq!(without("v1:a=1,b=2", &["a-3"]).unwrap(), "a4@20<19.1 a5@19<19.1! a6@21<20.4");
    let error = without("v1:a=3,b=2", &["a-3"]).unwrap_err();
    assert!(error.starts_with("publication 3 of `a`, which the cursor has taken, is lost, and its day 2026-11-20"));
    // The picture of the day after has replaced it for this reader.
    assert_eq!(without("v1:a=4,b=2", &["a-3"]).unwrap(), "a5@19<19.1! a6@21<20.4");
    // The cursor does not stop between it and what replaced it.
    assert_eq!(shown_without(&log, "v1:b=2", 1, &["a-3"]).unwrap().2, 0);
    // Also where it is told no longer.
    let base = || after([entry("a", 1, Some(18), 1), entry("a", 4, Some(19), 2)]);
    let log = Retained::of([base()], [entry("a", 5, Some(20), 3), entry("a", 6, Some(19), 4)]);
    assert_eq!(shown_without(&log, "v1:", 9, &["a-4"]).unwrap().0, "a1@18 a5@20<18.1 a6@19<18.1!");
}

#[tokio::test]
async fn a_file_of_an_older_contract_gives_nulls_for_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("offer_id", DataType::Int64, false)]));
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(&schema), None).unwrap();
    writer.write(&RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1, 2]))]).unwrap()).unwrap();
    writer.close().unwrap();
    let path = "offers/dt=2026-11-20/pipeline=a/1.parquet".to_owned();
    let file = DataFile {
        path: path.clone(),
        bytes: bytes.len() as u64,
        rows: 2,
        stats: serde_json::Value::Null,
        digest: None,
    };
    store.put_durable(&path, bytes.into()).await.unwrap();
    let mut rows = Rows::new(&store, Table::Offers, &[file], Some(&["title", "offer_id"])).unwrap();
    let batch = rows.next().await.unwrap().unwrap();
    assert_eq!((batch.num_rows(), batch.column(0).null_count(), batch.column(1).null_count()), (2, 2, 0));
    assert!(rows.next().await.unwrap().is_none());
}
