//! The whole pipeline on a bucket: an S3 server in this process, the built binary, concurrent writers.

use std::path::Path;

use huopan::config::location::Location;
use huopan::config::{Pipeline, load_pipeline};
use huopan::sim::{Gateway, Sim};
use huopan::store::Store;

use crate::s3_server::{BUCKET, KEY, Manners, S3Server};
use crate::support::{self, Place, day};

/// A server whose lakes are verified when it is dropped.
pub(crate) async fn server(manners: Manners) -> S3Server {
    S3Server::start_with(manners).await.looked_at_in_the_end(|bucket| {
        let entries = walkdir::WalkDir::new(bucket).max_depth(4).into_iter().filter_map(Result::ok);
        let logs = entries.filter(|entry| entry.path().ends_with("_huopan/publish"));
        logs.for_each(|log| support::is_well(log.path().ancestors().nth(2).unwrap()));
    })
}

/// A pipeline file whose lake is on the server.
fn on_bucket(place: &Place, server: &S3Server, sim: &Sim, name: &str) -> std::path::PathBuf {
    let file = pipeline_on_bucket(place, server, sim, &support::shop_lines(&sim.world(Gateway::Portals)));
    let text = std::fs::read_to_string(&file).unwrap();
    place.write(&format!("{name}.toml"), text.replace("name = \"test\"", &format!("name = \"{name}\"")))
}

/// As [`Place::pipeline_file`], but its lake is on the server.
pub(crate) fn pipeline_on_bucket(place: &Place, server: &S3Server, sim: &Sim, lines: &str) -> std::path::PathBuf {
    let file = place.pipeline_file(sim, Gateway::Portals, lines);
    let text = std::fs::read_to_string(&file).unwrap();
    let lake = format!("url = \"s3://{BUCKET}/team/lake\"\nendpoint = \"{}\"\nallow_http = true", server.address());
    place.write("pipeline.toml", text.replace("url = \"lake\"", &lake))
}

pub(crate) fn load(file: &Path, server: &S3Server) -> Pipeline {
    let env = |name: &str| {
        let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        if name.starts_with("AWS_") {
            return server.variable(name).filter(|_| keys.contains(&name));
        }
        Some("sim-secret".to_owned())
    };
    load_pipeline(file, &env).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(crate) async fn lake(server: &S3Server) -> Store {
    let env = |name: &str| server.variable(name);
    let location = Location::parse(&format!("s3://{BUCKET}/team/lake"), Path::new("/"), &env).unwrap();
    Store::readable(&location).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nights_on_a_bucket_give_the_tables_of_nights_on_disk() {
    let (server, sim) = (server(Manners::Good).await, huopan::sim::start(support::quick()).await.unwrap());
    let (place, disk) = (Place::new(), Place::new());
    let pipeline = load(&on_bucket(&place, &server, &sim, "test"), &server);
    let local = disk.shops(&sim, Gateway::Portals);
    for night in [20, 21] {
        sim.set_day(day(night));
        support::publish(&pipeline, day(night)).await;
        support::publish(&local, day(night)).await;
        assert_eq!(support::content(&lake(&server).await, day(night)).await, disk.content(day(night)).await);
    }
    let count = "select count(*) as n from offers";
    assert_eq!(support::rows(&lake(&server).await, count).await, disk.rows(count).await);
    for table in huopan::transform::contract::Table::ALL {
        let delta = huopan::load::delta::open(&lake(&server).await, table).await.unwrap();
        let rows = support::delta_rows(&delta);
        assert_eq!(rows, disk.delta_counts().await[table.name()], "{table}");
    }
    assert!(!place.lake().exists(), "nothing was written to disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_of_503s_and_lost_answers_is_a_night_like_others() {
    let (server, sim) = (server(Manners::Stormy(12)).await, huopan::sim::start(support::quick()).await.unwrap());
    let (place, disk) = (Place::new(), Place::new());
    support::publish(&load(&on_bucket(&place, &server, &sim, "test"), &server), day(20)).await;
    support::publish(&disk.shops(&sim, Gateway::Portals), day(20)).await;
    assert_eq!(support::content(&lake(&server).await, day(20)).await, disk.content(day(20)).await);
    let counts = disk.delta_counts().await;
    for table in huopan::transform::contract::Table::ALL {
        let delta = huopan::load::delta::open(&lake(&server).await, table).await.unwrap();
        assert_eq!(support::delta_rows(&delta), counts[table.name()], "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_takes_a_bucket_wherever_it_takes_a_folder() {
    let (server, sim) = (server(Manners::Good).await, huopan::sim::start(support::quick()).await.unwrap());
    let place = Place::new();
    let file = on_bucket(&place, &server, &sim, "test");
    let file = file.to_str().unwrap();
    let mut env = vec![("SECRET", "sim-secret"), ("AWS_ACCESS_KEY_ID", KEY.0), ("AWS_SECRET_ACCESS_KEY", KEY.1)];
    for command in [&["check", file][..], &["plan", file], &["doctor", file], &["run", file]] {
        let ended = support::huopan_with(place.path(), command, &env).await;
        assert_eq!(ended.code, 0, "{command:?}: {} {}", ended.stdout, ended.stderr);
        assert!(!ended.stdout.contains(KEY.1) && !ended.stderr.contains(KEY.1));
    }
    let again = support::huopan_with(place.path(), &["run", file], &env).await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    env.extend([("AWS_ENDPOINT_URL", server.address()), ("AWS_ALLOW_HTTP", "true")]);
    let lake = format!("s3://{BUCKET}/team/lake");
    let offers: usize = sim.world(Gateway::Portals).shops.iter().map(|shop| shop.offers.len()).sum();
    for arguments in
        [&["sql", "-c", "select count(*) from offers", "--format", "csv"][..], &["lake", "files", "offers"], &["runs"]]
    {
        let arguments = [arguments, &["--lake", &lake]].concat();
        let ended = support::huopan_with(place.path(), &arguments, &env).await;
        assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.stderr);
        match arguments[0] {
            "sql" => {
                assert!(ended.stdout.lines().nth(1).unwrap().parse::<usize>().unwrap() <= offers, "{}", ended.stdout)
            }
            "lake" => assert!(ended.stdout.starts_with("s3://lakes/team/lake/offers/dt="), "{}", ended.stdout),
            _ => {}
        }
    }
    let missing = support::huopan_with(place.path(), &["runs", "--lake", "s3://lakes/none"], &env).await;
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("there is no lake at `s3://lakes/none`"), "{}", missing.stderr);
    // What no later try mends is no outage.
    let secure = server.address().replace("http://", "https://");
    env.extend([("AWS_ENDPOINT_URL", &*secure)]);
    let refused = support::huopan_with(place.path(), &["runs", "--lake", &lake], &env).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("the endpoint does not speak TLS"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_kept_in_order_as_a_folder_is() {
    let (server, sim) = (server(Manners::Good).await, huopan::sim::start(support::quick()).await.unwrap());
    let place = Place::new();
    let pipeline = load(&on_bucket(&place, &server, &sim, "test"), &server);
    for _ in 0..3 {
        support::publish(&pipeline, day(20)).await;
    }
    std::fs::write(server.file("team/lake/offers/dt=2026-11-20/pipeline=test/orphan.parquet"), "orphan").unwrap();
    let long_ago =
        std::fs::metadata(place.path()).unwrap().modified().unwrap() - std::time::Duration::from_secs(40 * 86_400);
    for entry in walkdir::WalkDir::new(server.bucket()).into_iter().map(|entry| entry.unwrap()) {
        if entry.file_type().is_file() {
            std::fs::File::options().write(true).open(entry.path()).unwrap().set_modified(long_ago).unwrap();
        }
    }
    let content = support::content(&lake(&server).await, day(20)).await;
    let env = [
        ("AWS_ACCESS_KEY_ID", KEY.0),
        ("AWS_SECRET_ACCESS_KEY", KEY.1),
        ("AWS_ENDPOINT_URL", server.address()),
        ("AWS_ALLOW_HTTP", "true"),
    ];
    let url = format!("s3://{BUCKET}/team/lake");
    let commands: [(&[&str], &str); 6] = [
        (&["verify"], "all is well"),
        (&["optimize"], "test: 9 files"),
        (&["vacuum", "--yes"], "of runs that died before they published"),
        (&["vacuum"], "nothing to remove"),
        (&["verify"], "all is well"),
        (&["history"], "optimized"),
    ];
    for (command, expected) in commands {
        let arguments = [&["lake"], command, &["--lake", &url]].concat();
        let ended = support::huopan_with(place.path(), &arguments, &env).await;
        assert_eq!(ended.code, 0, "{command:?}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.contains(expected), "{command:?}: {}", ended.stdout);
    }
    assert!(!server.file("team/lake/offers/dt=2026-11-20/pipeline=test/orphan.parquet").exists());
    assert_eq!(support::content(&lake(&server).await, day(20)).await, content);
    support::publish(&pipeline, day(21)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_that_publish_at_once_share_a_bucket() {
    let (server, sim) = (server(Manners::Good).await, huopan::sim::start(support::quick()).await.unwrap());
    let place = Place::new();
    let pipelines: Vec<Pipeline> =
        ["a", "b", "c"].iter().map(|name| load(&on_bucket(&place, &server, &sim, name), &server)).collect();
    let runs = pipelines.iter().map(|pipeline| support::publish(pipeline, day(20)));
    let reports = futures::future::join_all(runs).await;
    let sql = "select pipeline, count(*) as n from offers group by pipeline order by pipeline";
    let rows = support::rows(&lake(&server).await, sql).await;
    assert_eq!(rows.len(), 3);
    for (row, report) in rows.iter().zip(&reports) {
        assert_eq!(row["n"], report.loaded.to_string());
    }
    let delta = huopan::load::delta::open(&lake(&server).await, huopan::transform::contract::Table::Offers).await;
    assert_eq!(
        i64::try_from(support::delta_rows(&delta.unwrap())).unwrap(),
        reports.iter().map(|report| report.loaded).sum::<i64>()
    );
}
