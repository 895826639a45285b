//! What the tests of whole runs share: simulators, pipelines as users write them, rows as text, the built binary.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a failed test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::NaiveDate;
use huopan::base::{Clock as _, Result, SystemClock};
use huopan::config::{Pipeline, load_pipeline};
use huopan::extract::progress::Silent;
use huopan::load::Snapshot;
use huopan::load::verify::{Depth, Problem, verify};
use huopan::query::Session;
use huopan::run::{Options as RunOptions, Outcome, Report, Surroundings, run};
use huopan::sim::{Gateway, Options, Sim, WorldTruth};
use huopan::store::Store;
use huopan::transform::contract::Table;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// The value of a missing one in [`Row`].
pub(crate) const NULL: &str = "∅";
/// One row: column → value as text.
pub(crate) type Row = BTreeMap<String, String>;
/// The tables that a day's publication replaces.
pub(crate) const PICTURES: [&str; 5] = ["offers", "price_tiers", "skus", "shops", "quarantine"];

/// A day of November 2026.
pub(crate) fn day(number: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, number).unwrap()
}

/// A simulator without limits and slow answers.
pub(crate) fn quick() -> Options {
    Options {
        day: Some(day(20)),
        limits: BTreeMap::new(),
        shop_sizes: vec![60, 45],
        slow_millis_max: 0,
        ..Options::default()
    }
}

/// A folder of its own with a pipeline's files and the lake it fills. When it is dropped its lake is verified: a test that
/// leaves it unwell on purpose says so.
#[derive(Debug)]
pub(crate) struct Place {
    folder: tempfile::TempDir,
    is_left_unwell: AtomicBool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_left_unwell.load(Ordering::Relaxed) && self.lake().is_dir() {
            is_well(&self.lake());
        }
    }
}

/// What `huopan lake verify` says is wrong with a lake.
pub(crate) async fn problems(lake: &Store) -> Vec<Problem> {
    let found = verify(lake, Depth::Full).await.unwrap().problems;
    if !found.is_empty() {
        return found;
    }
    let snapshot = Snapshot::load(lake).await.unwrap();
    let session = Session::open(lake, snapshot.clone(), &huopan::query::Options::default()).unwrap();
    huopan::query::verify::verify(&session, &snapshot).await.unwrap()
}

/// Verifies the lake in a folder, from code that cannot wait.
pub(crate) fn is_well(lake: &Path) {
    if std::thread::panicking() {
        return;
    }
    let lake = lake.to_owned();
    let verified = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { problems(&Store::open(&lake).unwrap()).await })
    });
    let found = verified.join().unwrap();
    assert!(found.is_empty(), "the lake is not well after the test: {found:#?}");
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), is_left_unwell: AtomicBool::new(false) }
    }

    /// The test leaves the lake in a state that `huopan lake verify` complains about.
    pub(crate) fn leave_unwell(&self) {
        self.is_left_unwell.store(true, Ordering::Relaxed);
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn lake(&self) -> PathBuf {
        self.path().join("lake")
    }

    /// Writes a file and gives its path.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes a pipeline on a simulated gateway as users write it, but without the gateway's rests.
    pub(crate) fn pipeline_file(&self, sim: &Sim, gateway: Gateway, lines: &str) -> PathBuf {
        self.pipeline_file_at(&sim.url(gateway), gateway, lines)
    }

    /// As [`Place::pipeline_file`], on any address.
    pub(crate) fn pipeline_file_at(&self, url: &str, gateway: Gateway, lines: &str) -> PathBuf {
        let name = gateway.name();
        let definition = format!("{name}-at-once.toml");
        self.write(
            &definition,
            format!(
                "extends = \"{name}\"\nname = \"{name}\"\n[limits]\ncalls_per_second = 1000\n\
                 pause_seconds = {{ success = 0, failure = 0, throttle = 0 }}\n"
            ),
        );
        let licence = match gateway {
            Gateway::Portals => "licence = \"paid\"",
            Gateway::ItemGet => "licence = \"company\"",
            _ => "",
        };
        let token = if gateway == Gateway::Aop { ", access_token = \"env:TOKEN\"" } else { "" };
        self.write(
            "pipeline.toml",
            format!(
                r#"name = "test"
gateway = "./{definition}"
url = "{url}"
{lines}
[[accounts]]
name = "main"
credentials = {{ app_key = "sim-app", app_secret = "env:SECRET"{token} }}
calls_per_day = 3000
{licence}
[lake]
url = "lake"
[state]
url = "state.sqlite"
"#
            ),
        )
    }

    /// The pipeline itself.
    pub(crate) fn pipeline(&self, sim: &Sim, gateway: Gateway, lines: &str) -> Pipeline {
        load(&self.pipeline_file(sim, gateway, lines))
    }

    /// Every shop of the simulated world.
    pub(crate) fn shops(&self, sim: &Sim, gateway: Gateway) -> Pipeline {
        self.pipeline(sim, gateway, &shop_lines(&sim.world(gateway)))
    }

    /// The rows of a query over what is published, in the query's order.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Row> {
        rows(&self.store(), sql).await
    }

    /// The only value of a query.
    pub(crate) async fn value(&self, sql: &str) -> String {
        let mut rows = self.rows(sql).await;
        assert_eq!(rows.len(), 1, "{sql}");
        rows.swap_remove(0).into_values().next().unwrap()
    }

    /// What a day's pictures say, without what differs from run to run: ids of the run, times of the fetch.
    pub(crate) async fn content(&self, dt: NaiveDate) -> BTreeMap<&'static str, Vec<Row>> {
        content(&self.store(), dt).await
    }

    /// Rows per table as a reader of the Delta tables, who knows nothing of the publish log, counts them.
    pub(crate) async fn delta_counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for table in Table::ALL {
            let url = url::Url::from_directory_path(self.lake().join(table.name())).unwrap();
            let delta = deltalake_core::open_table(url).await.unwrap();
            counts.insert(table.name().to_owned(), delta_rows(&delta));
        }
        counts
    }

    /// Rows per table as huopan counts them.
    pub(crate) async fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for table in Table::ALL {
            let count = self.value(&format!("select count(*) from {table}")).await;
            counts.insert(table.name().to_owned(), count.parse().unwrap());
        }
        counts
    }

    /// Every file below the lake.
    pub(crate) fn lake_files(&self) -> Vec<PathBuf> {
        let entries = walkdir::WalkDir::new(self.lake()).into_iter().map(|entry| entry.unwrap());
        entries.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path()).collect()
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.lake()).unwrap()
    }
}

/// The rows of a query over what is published in a lake, in the query's order.
pub(crate) async fn rows(lake: &Store, sql: &str) -> Vec<Row> {
    let session = Session::over(lake, &huopan::query::Options::default()).await.unwrap();
    let answer = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    answer.collect().await.unwrap().iter().flat_map(rows_of).collect()
}

/// Puts the rows of a query in the place of a table's in publication `seq` of pipeline `test`: the file is whole, and is
/// not what was published. Gives back the entry as it was.
pub(crate) async fn forge(lake: &Store, seq: u64, table: &str, sql: &str) -> bytes::Bytes {
    let session = Session::over(lake, &huopan::query::Options::default()).await.unwrap();
    let answer = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let batches = answer.collect().await.unwrap();
    let schema = table.parse::<Table>().unwrap().file_schema().unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), schema.clone(), None).unwrap();
    for batch in &batches {
        let column = |field: &Arc<arrow::datatypes::Field>| {
            arrow::compute::cast(batch.column_by_name(field.name()).unwrap(), field.data_type()).unwrap()
        };
        let columns = schema.fields().iter().map(column).collect();
        writer.write(&RecordBatch::try_new(schema.clone(), columns).unwrap()).unwrap();
    }
    let bytes = writer.into_inner().unwrap();
    let name = entry_path(seq);
    let before = lake.get(&name).await.unwrap().unwrap();
    let mut entry: serde_json::Value = serde_json::from_slice(&before).unwrap();
    let file = &mut entry["tables"][table][0];
    let mut digest = huopan::land::segment::digest(&bytes);
    digest.retain(|letter| letter.is_ascii_alphanumeric());
    let path = file["path"].as_str().unwrap().replace(".parquet", &format!("-{digest}.parquet"));
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    (file["path"], file["bytes"], file["rows"]) = (path.clone().into(), bytes.len().into(), rows.into());
    (file["digest"], file["stats"]) = (serde_json::Value::Null, serde_json::Value::Null);
    lake.put_durable(&path, bytes.into()).await.unwrap();
    lake.put_durable(&name, serde_json::to_vec(&entry).unwrap().into()).await.unwrap();
    before
}

/// Where an entry of the publish log of pipeline `test` stands.
pub(crate) fn entry_path(seq: u64) -> String {
    huopan::load::Entry::path("test", seq)
}

/// See [`Place::content`].
pub(crate) async fn content(lake: &Store, dt: NaiveDate) -> BTreeMap<&'static str, Vec<Row>> {
    let mut content = BTreeMap::new();
    for table in PICTURES {
        let mut rows = rows(lake, &format!("select * from {table} where dt = '{dt}'")).await;
        for row in &mut rows {
            for column in [
                "run_id",
                "raw_ref",
                "fetched_at",
                "detail_fetched_at",
                "started_at",
                "finished_at",
                "watermark_at",
                "calls_used",
            ] {
                row.remove(column);
            }
        }
        rows.sort();
        content.insert(table, rows);
    }
    content
}

/// The rows of a table as its Delta log counts them.
pub(crate) fn delta_rows(delta: &deltalake_core::DeltaTable) -> usize {
    let adds = delta.snapshot().unwrap().add_actions_table(true).unwrap();
    let rows = adds.column_by_name("num_records").unwrap();
    let rows = arrow::compute::cast(rows, &arrow::datatypes::DataType::Int64).unwrap();
    let rows = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&rows).clone();
    usize::try_from(rows.iter().flatten().sum::<i64>()).unwrap()
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(target).unwrap();
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Starts a Redis server in a folder, which listens at a free port by the option `listens` (`--port`, `--tls-port`); `None`,
/// and a line that says so, where none is installed.
#[expect(clippy::print_stderr, reason = "a test that tests nothing says so")]
pub(crate) async fn redis(folder: &Path, listens: &str, more: &[&str]) -> Option<(Child, u16)> {
    let program = std::env::var_os("HUOPAN_REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let server = Command::new(&program)
        .args([listens, &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(more)
        .current_dir(folder)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let Ok(mut server) = server else {
        eprintln!("SKIPPED: `{}` is not installed", program.display());
        return None;
    };
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains("Ready to accept connections") {
            return Some((server, port));
        }
    }
    panic!("redis-server does not start");
}

/// Makes every file below a folder look as if it had been written so long ago.
pub(crate) fn age(folder: &Path, days: u32) {
    let then = SystemClock.now() - chrono::TimeDelta::days(days.into());
    for entry in walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap()) {
        if entry.file_type().is_file() {
            std::fs::File::options().write(true).open(entry.path()).unwrap().set_modified(then.into()).unwrap();
        }
    }
}

/// Loads a pipeline with the simulator's secrets.
pub(crate) fn load(path: &Path) -> Pipeline {
    let env = |name: &str| Some(if name == "TOKEN" { "sim-token" } else { "sim-secret" }.to_owned());
    load_pipeline(path, &env).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The line that names every shop of the world.
pub(crate) fn shop_lines(world: &WorldTruth) -> String {
    let ids: Vec<String> = world.shops.iter().map(|shop| format!("\"{}\"", shop.shop_id)).collect();
    format!("shops = [{}]", ids.join(", "))
}

/// The line that names every offer of the world, off sale or not.
pub(crate) fn item_lines(world: &WorldTruth) -> String {
    let offers = world.shops.iter().flat_map(|shop| &shop.offers);
    let ids: Vec<String> = offers.map(|offer| format!("\"{}\"", offer.offer_id)).collect();
    format!("items = [{}]", ids.join(", "))
}

/// Runs a pipeline.
pub(crate) async fn attempt(pipeline: &Pipeline, options: RunOptions) -> Result<Outcome> {
    let around =
        Surroundings { clock: Arc::new(SystemClock), progress: &Silent, cancel: CancellationToken::new(), seed: 7 };
    run(pipeline, options, &around).await
}

/// Runs a pipeline for a day, published or not.
pub(crate) async fn publish(pipeline: &Pipeline, dt: NaiveDate) -> Report {
    let options = RunOptions { dt: Some(dt), refresh: true, ..RunOptions::default() };
    match attempt(pipeline, options).await.unwrap_or_else(|error| panic!("{error}: {:?}", error.hint())) {
        Outcome::Published(mut reports) if reports.len() == 1 => reports.swap_remove(0),
        other => panic!("not published: {other:?}"),
    }
}

/// A batch as rows of text.
pub(crate) fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let options = FormatOptions::default().with_null(NULL);
    let schema = batch.schema();
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| (field.name().clone(), ArrayFormatter::try_new(column.as_ref(), &options).unwrap()))
        .collect();
    let row = |row| columns.iter().map(|(name, values)| (name.clone(), values.value(row).to_string())).collect();
    (0..batch.num_rows()).map(row).collect()
}

/// How a command of the built binary ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the built binary with the simulator's secrets and nothing else in its environment.
pub(crate) async fn huopan(folder: &Path, arguments: &[&str]) -> Ended {
    huopan_with(folder, arguments, &[("SECRET", "sim-secret"), ("TOKEN", "sim-token")]).await
}

/// Runs the built binary with this environment.
pub(crate) async fn huopan_with(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Ended {
    ended(spawn(folder, arguments, env)).await
}

/// Starts the built binary with this environment. What it says to people is asked for as text, unless the arguments
/// choose otherwise.
pub(crate) fn spawn(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Child {
    let chooses = arguments.iter().any(|argument| argument.starts_with("--log"));
    let text: &[&str] = if chooses { &[] } else { &["--log", "text"] };
    spawn_as_is(folder, &[text, arguments].concat(), env)
}

/// Starts the built binary with this environment and nothing else said.
pub(crate) fn spawn_as_is(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_huopan"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Waits for the end of a process; -1 stands for the code of one that was killed.
pub(crate) async fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}
