//! Kills while a run writes: the process is sent SIGKILL as soon as the n-th file of a kind stands in the lake, from the
//! first segment that lands to the last one that is cleared away.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::NaiveDate;

use super::course::{Course, Undisturbed};
use super::scenario::{self, Dice, Scenario};
use crate::support::ended;

/// What a killer waits for, in the order in which a run brings it forth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// A segment is being written.
    SegmentBegun,
    /// A segment has its name.
    Segment,
    /// The extraction has ended.
    Facts,
    /// A file of a table.
    TableFile,
    /// The publication is decided.
    Decision,
    /// A Delta commit.
    Commit,
    /// A segment is cleared away.
    SegmentGone,
}

impl Sign {
    const ALL: [Self; 7] = [
        Self::SegmentBegun,
        Self::Segment,
        Self::Facts,
        Self::TableFile,
        Self::Decision,
        Self::Commit,
        Self::SegmentGone,
    ];

    /// How many of them every run brings forth, at the least.
    fn least(self) -> u64 {
        match self {
            // One group holds at most the calls in flight.
            Sign::SegmentBegun | Sign::Segment | Sign::SegmentGone => 2,
            Sign::Facts | Sign::Decision => 1,
            // Offers, tiers, shops, calls, raw pages, runs.
            Sign::TableFile | Sign::Commit => 6,
        }
    }

    /// How many there are now.
    fn count(self, lake: &Path, dt: NaiveDate) -> usize {
        let landing = format!("_huopan/landing/test/{dt}");
        let ends = |name: &str, end: &str| name.ends_with(end);
        match self {
            Sign::SegmentBegun => count(&lake.join(landing), |_, name| name.starts_with(".huopan-tmp-")),
            Sign::Segment | Sign::SegmentGone => count(&lake.join(landing), |_, name| ends(name, ".seg")),
            Sign::Facts => count(&lake.join(landing), |_, name| name == "facts.json"),
            Sign::TableFile => count(lake, |_, name| ends(name, ".parquet")),
            Sign::Decision => count(&lake.join("_huopan/publish/test"), |_, name| ends(name, ".json")),
            Sign::Commit => count(lake, |folder, name| folder.ends_with("_delta_log") && ends(name, ".json")),
        }
    }
}

fn count(folder: &Path, is_meant: impl Fn(&Path, &str) -> bool) -> usize {
    // Files go while we look.
    let entries = walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok);
    let named = |entry: &walkdir::DirEntry| {
        let folder = entry.path().parent().unwrap_or(Path::new(""));
        entry.file_name().to_str().is_some_and(|name| is_meant(folder, name))
    };
    entries.filter(|entry| entry.file_type().is_file()).filter(named).count()
}

/// Returns as soon as the sign has shown itself `times` times since `before`, or when told to.
fn watch(sign: Sign, times: usize, before: usize, (lake, dt): (&Path, NaiveDate), over: &AtomicBool) -> bool {
    let (mut seen, mut last, mut most) = (0, before, before);
    while !over.load(Ordering::Relaxed) {
        let now = sign.count(lake, dt);
        seen += match sign {
            // They come and go one by one.
            Sign::SegmentBegun => now.saturating_sub(last),
            _ => 0,
        };
        (last, most) = (now, most.max(now));
        let shown = match sign {
            Sign::SegmentBegun => seen,
            Sign::SegmentGone => most - now,
            _ => now.saturating_sub(before),
        };
        if shown >= times {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

/// Ends a watch, however the test ends.
#[derive(Default)]
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Course<'_> {
    /// Starts the run and kills it at a sign; whether it was in time.
    async fn killed_at(&mut self, sign: Sign, times: u64, dt: NaiveDate) -> bool {
        let (lake, over) = (self.place.lake(), Over::default());
        let before = sign.count(&lake, dt);
        let mut process = self.start();
        let told = Arc::clone(&over.0);
        let times = usize::try_from(times).unwrap();
        let mut watching = tokio::task::spawn_blocking(move || watch(sign, times, before, (&lake, dt), &told));
        tokio::select! {
            seen = &mut watching => assert!(seen.unwrap()),
            _ = process.wait() => {}
        }
        drop(over);
        // It may have ended meanwhile.
        let _ = process.start_kill();
        let ended = ended(process).await;
        assert!([-1, 0].contains(&ended.code), "{ended:?}");
        let in_time = ended.code == -1;
        if in_time {
            self.killed().await;
        } else {
            self.ended().await;
        }
        in_time
    }
}

/// What the kills at one sign came to.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    tried: u64,
    killed: u64,
    more: u64,
}

async fn all_kills(scenario: Scenario, seed: u64) -> (&'static str, Vec<(Sign, Sum)>) {
    let sim = scenario.simulator().await;
    let undisturbed = Undisturbed::of(&scenario, &sim).await;
    let mut dice = Dice(seed);
    let mut sums = Vec::new();
    for sign in Sign::ALL {
        let mut sum = Sum::default();
        for _ in 0..RUNS {
            let mut course = Course::begin(&scenario, &sim, &undisturbed, dice.throw(2) == 1);
            sum.tried += 1;
            sum.killed += u64::from(course.killed_at(sign, dice.throw(sign.least()), scenario.dt()).await);
            // And once more, wherever the next start is by then.
            let again = Sign::ALL[usize::try_from(dice.throw(7)).unwrap() - 1];
            if dice.throw(2) == 1 {
                course.killed_at(again, dice.throw(again.least()), scenario.dt()).await;
            }
            let end = course.end().await;
            sum.more = sum.more.max(end.more);
        }
        sums.push((sign, sum));
    }
    (scenario.name, sums)
}

/// Runs for each sign.
const RUNS: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_killed_while_it_writes_publishes_what_an_undisturbed_run_does() {
    let scenarios = [scenario::sku_details(vec![14, 9]), scenario::night_of_changes()];
    let running = scenarios.into_iter().zip(101..).map(|(scenario, seed)| all_kills(scenario, seed));
    let head = ("scenario", "killed at", "runs", "in time", "worst extra");
    let mut table = format!("{:<36} {:<14} {:>6} {:>7} {:>12}\n", head.0, head.1, head.2, head.3, head.4);
    let (mut all, mut in_time) = (0, 0);
    for (name, sums) in futures::future::join_all(running).await {
        for (sign, Sum { tried, killed, more }) in sums {
            writeln!(table, "{name:<36} {:<14} {tried:>6} {killed:>7} {more:>12}", format!("{sign:?}")).unwrap();
            (all, in_time) = (all + tried, in_time + killed);
        }
    }
    println!("{table}");
    // On a busy machine a run may be through before the killer has looked.
    assert!(in_time * 2 >= all, "{in_time} of {all} kills were in time");
}
