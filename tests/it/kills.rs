//! Runs whose process is killed, again and again, until one start publishes: at exact calls, and while it writes.
//!
//! A run is killed one to four times: the simulator holds the k-th answer, the process is sent SIGKILL while it waits, and
//! `huopan run` is started again. k is seeded over the whole range of calls. Half of the runs go on on a machine that has
//! the lake only. However a run was killed, nothing may differ from a run that was not: the tables, and the calls but for
//! those in flight at a kill.
//!
//! * `scenario`: what is run.
//! * `course`: one run, and what must hold after each kill.
//! * `files`: kills at files of the lake instead of calls.

mod course;
mod files;
mod scenario;

use std::fmt::Write as _;

use crate::support::ended;
use course::{Course, Undisturbed};
use scenario::{Dice, Scenario};

/// What the kills of a scenario came to.
#[derive(Default)]
struct Sum {
    points: u64,
    kills_max: u64,
    undisturbed: u64,
    /// The most calls more than undisturbed, with the bound of that run.
    worst: (u64, u64),
    lost: u64,
}

async fn all_kills(scenario: Scenario, seed: u64) -> (&'static str, Sum) {
    let sim = scenario.simulator().await;
    let undisturbed = Undisturbed::of(&scenario, &sim).await;
    let mut sum = Sum { undisturbed: undisturbed.calls, ..Sum::default() };
    let mut dice = Dice(seed);
    for _ in 0..scenario.runs {
        let (kills, moves) = (dice.throw(4), dice.throw(2) == 1);
        let mut course = Course::begin(&scenario, &sim, &undisturbed, moves);
        for _ in 0..kills {
            let at = sim.traffic().arrived + dice.throw(course.left());
            sim.hold_from(Some(at));
            let mut process = course.start();
            tokio::select! {
                _ = sim.until(|traffic| traffic.held > 0) => {}
                status = process.wait() => panic!("{}: ended before call {at}: {status:?}", scenario.name),
            }
            process.start_kill().unwrap();
            assert_eq!(ended(process).await.code, -1);
            sim.hold_from(None);
            course.killed().await;
        }
        let end = course.end().await;
        sum.points += kills;
        sum.kills_max = sum.kills_max.max(kills);
        sum.lost += end.lost;
        if end.more >= sum.worst.0 {
            sum.worst = (end.more, end.bound);
        }
    }
    (scenario.name, sum)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_killed_at_any_call_publishes_what_an_undisturbed_run_does() {
    let running = scenario::all().into_iter().zip(1..).map(|(scenario, seed)| all_kills(scenario, seed));
    let mut table = format!(
        "{:<36} {:>6} {:>9} {:>12} {:>12} {:>6} {:>6}\n",
        "scenario", "points", "in a row", "calls", "worst extra", "bound", "lost"
    );
    let mut points = 0;
    for (name, sum) in futures::future::join_all(running).await {
        let Sum { points: of, kills_max, undisturbed, worst: (more, bound), lost } = sum;
        writeln!(table, "{name:<36} {of:>6} {kills_max:>9} {undisturbed:>12} {more:>12} {bound:>6} {lost:>6}").unwrap();
        points += of;
    }
    println!("{table}");
    assert!(points >= 100, "{points} points");
}
