//! Two pipelines publish into one lake again and again and are killed at random while they do, and a reader keeps looking:
//! it never sees a run in part, or the offers of one run with the tiers of another.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use huopan::sim::Gateway;
use huopan::store::Store;
use huopan::transform::contract::Table;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::{self, PICTURES, Place, day};

/// Starts of each pipeline.
const STARTS: usize = 100;
/// The days that are published again and again.
const DAYS: [u32; 2] = [20, 21];
/// How often a killer looks.
const LOOKS_EVERY: Duration = Duration::from_millis(2);

/// What has been written for a pipeline so far: files of its landing zone, its publications and its partitions, and
/// commits of all tables.
fn written(lake: &Path, pipeline: &str, night: u32) -> usize {
    let dt = day(night);
    let count = |folder: std::path::PathBuf| std::fs::read_dir(folder).map_or(0, Iterator::count);
    let landed = walkdir::WalkDir::new(lake.join(format!("_huopan/landing/{pipeline}/{dt}")));
    let mut files = landed.into_iter().filter(Result::is_ok).count();
    files += count(lake.join(format!("_huopan/publish/{pipeline}")));
    for table in Table::ALL {
        files += count(lake.join(format!("{table}/dt={dt}/pipeline={pipeline}")));
        files += count(lake.join(format!("{table}/_delta_log")));
    }
    files
}

/// Starts a pipeline and kills it once it has written `files` more; whether it was in time.
async fn start(place: &Place, pipeline: &str, night: u32, files: Option<usize>) -> bool {
    let (lake, dt) = (place.lake(), day(night).to_string());
    let before = written(&lake, pipeline, night);
    let file = format!("{pipeline}.toml");
    let arguments = ["run", &file, "--dt", &dt, "--refresh"];
    let mut process = support::spawn(place.path(), &arguments, &[("SECRET", "sim-secret")]);
    let killer = async {
        let Some(files) = files else { return std::future::pending().await };
        while written(&lake, pipeline, night) < before + files {
            tokio::time::sleep(LOOKS_EVERY).await;
        }
    };
    tokio::select! {
        () = killer => {}
        _ = process.wait() => {}
    }
    let _ = process.start_kill();
    let ended = support::ended(process).await;
    assert!([-1, 0].contains(&ended.code), "{ended:?}");
    ended.code == -1
}

/// One look: every picture of a day comes from one run and is whole.
async fn look(lake: &Store, seen: &mut BTreeMap<(String, String), u64>) {
    let mut unions = Vec::new();
    for table in PICTURES {
        unions
            .push(format!("select pipeline, dt, run_id, '{table}' as t, count(*) as n from {table} group by 1, 2, 3"));
    }
    unions.push(
        "select pipeline, dt, run_id, 'tiers said' as t, sum(tier_count) as n from offers group by 1, 2, 3".into(),
    );
    unions
        .push("select pipeline, dt, run_id, 'skus said' as t, sum(sku_count) as n from offers group by 1, 2, 3".into());
    unions.push(
        "select pipeline, dt, run_id, 'offers said' as t, sum(offer_count + carried_count + delisted_count) as n \
         from shops group by 1, 2, 3"
            .into(),
    );
    let mut pictures: BTreeMap<(String, String), BTreeMap<String, (String, u64)>> = BTreeMap::new();
    for mut row in support::rows(lake, &unions.join(" union all ")).await {
        let mut take = |name: &str| row.remove(name).unwrap();
        let (key, run, count) = ((take("pipeline"), take("dt")), take("run_id"), take("n").parse().unwrap());
        let table = take("t");
        let double = pictures.entry(key.clone()).or_default().insert(table.clone(), (run, count));
        assert_eq!(double, None, "{table} of {key:?} holds rows of two runs");
    }
    for known in seen.keys() {
        assert!(pictures.contains_key(known), "{known:?} is gone");
    }
    for (key, tables) in pictures {
        let (run, offers) = tables["offers"].clone();
        for (table, (other, _)) in &tables {
            assert_eq!(*other, run, "{table} of {key:?} comes from another run than its offers");
        }
        let count = |table: &str| tables.get(table).map_or(0, |(_, count)| *count);
        assert_eq!(count("price_tiers"), count("tiers said"), "{key:?}");
        assert_eq!(count("skus"), count("skus said"), "{key:?}");
        assert_eq!(offers, count("offers said"), "{key:?}");
        *seen.entry(key).or_default() += 1;
    }
}

/// Publishes the days again and again; how many starts were killed.
async fn publisher(place: &Place, pipeline: &str, most: usize, seed: u64) -> usize {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut killed = 0;
    for number in 0..STARTS {
        let files = dice.random_range(1..=most);
        let in_time = start(place, pipeline, DAYS[number % DAYS.len()], Some(files)).await;
        killed += usize::from(in_time);
    }
    killed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_never_sees_a_mixed_or_partial_run() {
    let options = huopan::sim::Options { shop_sizes: vec![6, 5], ..support::quick() };
    let sim = huopan::sim::start(options).await.unwrap();
    let place = Place::new();
    let lines = support::shop_lines(&sim.world(Gateway::Portals));
    let text = std::fs::read_to_string(place.pipeline_file(&sim, Gateway::Portals, &lines)).unwrap();
    let mut most = 0;
    for pipeline in ["a", "b"] {
        let own = text.replace("name = \"test\"", &format!("name = \"{pipeline}\""));
        place.write(&format!("{pipeline}.toml"), own.replace("state.sqlite", &format!("{pipeline}.sqlite")));
        for night in DAYS {
            let before = written(&place.lake(), pipeline, night);
            assert!(!start(&place, pipeline, night, None).await);
            most = written(&place.lake(), pipeline, night) - before;
        }
    }
    let over = AtomicBool::new(false);
    let reader = async {
        let (lake, mut seen, mut looks) = (place.store(), BTreeMap::new(), 0_u32);
        while !over.load(Ordering::Relaxed) {
            look(&lake, &mut seen).await;
            looks += 1;
        }
        assert_eq!(seen.len(), 4, "two pipelines, two days");
        looks
    };
    let publishers = async {
        let publishers = [("a", 31), ("b", 32)].map(|(name, seed)| publisher(&place, name, most, seed));
        let killed: usize = futures::future::join_all(publishers).await.into_iter().sum();
        over.store(true, Ordering::Relaxed);
        killed
    };
    let (looks, killed) = tokio::join!(reader, publishers);
    println!("{} starts of two pipelines, {killed} killed, {looks} looks", 2 * STARTS);
    assert!(killed > STARTS && looks > 100, "{killed} kills, {looks} looks");
    for pipeline in ["a", "b"] {
        assert!(!start(&place, pipeline, DAYS[0], None).await);
    }
    let mut seen = BTreeMap::new();
    look(&place.store(), &mut seen).await;
    assert_eq!(place.delta_counts().await["offers"], place.counts().await["offers"]);
}
