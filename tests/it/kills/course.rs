//! One run on its way through its kills, and what must hold after each of them: nothing that has landed is asked again, no
//! more is lost than was in flight, numbers are given once; at the end the tables are those of a run that was not killed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use huopan::config::Pipeline;
use huopan::config::gateway::ErrorClass;
use huopan::extract::{Attempt, Judgement, judge};
use huopan::land::Zone;
use huopan::sim::Sim;
use tokio::process::Child;

use crate::support::{Place, Row, copy, load, spawn};

use super::scenario::{Scenario, publish};

const ENV: [(&str, &str); 2] = [("SECRET", "sim-secret"), ("TOKEN", "sim-token")];

/// A run that nobody kills, and what all runs start from.
pub(super) struct Undisturbed {
    /// The days before are published.
    before: Place,
    pub(super) calls: u64,
    content: BTreeMap<&'static str, Vec<Row>>,
}

impl Undisturbed {
    pub(super) async fn of(scenario: &Scenario, sim: &Sim) -> Self {
        let before = scenario.begin(sim).await;
        let place = copied(&before);
        publish(&place, scenario.dt()).await;
        let (calls, content) = (sim.stats().calls, place.content(scenario.dt()).await);
        let whole = content["offers"].len() as u64 / 40;
        assert!(scenario.days.len() == 1 || calls < whole, "{calls} calls: by what changed");
        assert!(content["offers"].len() > 20 && content["shops"].iter().all(|shop| shop["is_complete"] == "true"));
        Self { before, calls, content }
    }
}

fn copied(place: &Place) -> Place {
    let other = Place::new();
    copy(place.path(), other.path());
    other
}

/// One run.
pub(super) struct Course<'s> {
    scenario: &'s Scenario,
    sim: &'s Sim,
    undisturbed: &'s Undisturbed,
    pub(super) place: Place,
    /// After each kill another machine goes on, which has the lake only.
    moves: bool,
    /// Calls that nobody needs to make again.
    settled: BTreeSet<String>,
    /// Everything that has landed, by its number; `None`: it was cleared away before somebody looked.
    landed: BTreeMap<i64, Option<String>>,
    /// Calls that the gateway had heard of when the last start began.
    heard: usize,
    pub(super) kills: u64,
}

/// What a run came to.
pub(super) struct End {
    /// Calls more than undisturbed.
    pub(super) more: u64,
    /// … and how many may be.
    pub(super) bound: u64,
    /// Calls whose answers never landed.
    pub(super) lost: u64,
}

impl<'s> Course<'s> {
    pub(super) fn begin(scenario: &'s Scenario, sim: &'s Sim, undisturbed: &'s Undisturbed, moves: bool) -> Self {
        sim.reset();
        let (settled, landed) = Default::default();
        let place = copied(&undisturbed.before);
        Self { scenario, sim, undisturbed, place, moves, settled, landed, heard: 0, kills: 0 }
    }

    /// Calls that are left to make, at the least.
    pub(super) fn left(&self) -> u64 {
        let made = if self.scenario.attempts == 1 { self.landed.len() } else { self.heard() };
        self.undisturbed.calls.saturating_sub(made as u64).max(1)
    }

    fn heard(&self) -> usize {
        journal(self.sim).len()
    }

    pub(super) fn start(&mut self) -> Child {
        self.heard = self.heard();
        let dt = self.scenario.dt().to_string();
        spawn(self.place.path(), &["run", "pipeline.toml", "--dt", &dt], &ENV)
    }

    /// After a kill.
    pub(super) async fn killed(&mut self) {
        self.kills += 1;
        self.ended().await;
        if self.moves {
            let machine = self.scenario.place(self.sim);
            copy(&self.place.lake(), &machine.lake());
            // Nobody goes on with what is left here.
            std::mem::replace(&mut self.place, machine).leave_unwell();
        }
    }

    /// After a start has ended, by itself or not: looks at what it leaves.
    pub(super) async fn ended(&mut self) {
        let name = self.scenario.name;
        self.sim.until(|traffic| traffic.inside == 0).await;
        self.assert_nothing_asked_again();
        let pipeline = load(&self.place.path().join("pipeline.toml"));
        let attempts = landed(&self.place, self.scenario.dt()).await;
        for attempt in &attempts {
            let call = said(&attempt.record.request);
            let before = self.landed.insert(attempt.record.number, Some(call.clone())).flatten();
            assert!(before.is_none_or(|before| before == call), "{name}: a number was given twice");
            if settles(&pipeline, attempt) {
                self.settled.insert(call);
            }
        }
        // Once a publication is decided, what has landed is cleared away.
        let sql = format!("select number from calls where dt = '{}'", self.scenario.dt());
        for row in self.place.rows(&sql).await {
            self.landed.entry(row["number"].parse().unwrap()).or_default();
        }
        let heard = journal(self.sim);
        assert!(self.settled.iter().all(|call| heard.contains(call)), "{name}: {:?}", self.settled);
        let most = self.scenario.workers * self.kills;
        let lost = heard.len() - self.landed.len();
        assert!(lost as u64 <= most, "{name}: {lost} of {} lost", heard.len());
    }

    fn assert_nothing_asked_again(&self) {
        let journal = journal(self.sim);
        let again: Vec<_> = journal[self.heard..].iter().filter(|call| self.settled.contains(*call)).collect();
        assert!(again.is_empty(), "{}: asked again though it had landed: {again:?}", self.scenario.name);
    }

    /// Lets the run publish.
    pub(super) async fn end(mut self) -> End {
        let (name, dt, undisturbed) = (self.scenario.name, self.scenario.dt(), self.undisturbed);
        let lost = self.heard() - self.landed.len();
        self.heard = self.heard();
        publish(&self.place, dt).await;
        self.assert_nothing_asked_again();
        let journal = journal(self.sim);
        let bound = self.scenario.workers * self.scenario.attempts * self.kills;
        let more = (journal.len() as u64).saturating_sub(undisturbed.calls);
        // Which pages a listing past the cap asks for depends a little on which answers come first; nothing that had landed
        // is asked again, and that is checked above.
        let calls = undisturbed.calls;
        assert!(more <= bound, "{name}: {more} calls more than {calls}, lost {lost}: {journal:#?}");
        assert_eq!(self.place.content(dt).await, undisturbed.content, "{name}");
        self.assert_journals(journal.len() - lost).await;
        End { more, bound, lost: lost as u64 }
    }

    /// The calls of the run's journals: each that landed, once.
    async fn assert_journals(&self, calls: usize) {
        let (place, dt) = (&self.place, self.scenario.dt());
        let rows = place.rows(&format!("select number from calls where dt = '{dt}'")).await;
        let journalled: BTreeSet<i64> = rows.iter().map(|row| row["number"].parse().unwrap()).collect();
        assert_eq!((rows.len(), journalled.len()), (calls, calls), "each call once");
        assert!(self.landed.keys().all(|number| journalled.contains(number)), "{:?} {journalled:?}", self.landed);
        let runs = place.rows(&format!("select status, attempt, calls_used from runs where dt = '{dt}'")).await;
        assert_eq!(runs.len(), 1, "a killed start leaves no row: {runs:?}");
        assert_eq!((&*runs[0]["status"], &*runs[0]["attempt"]), ("published", "1"));
        assert_eq!(runs[0]["calls_used"], calls.to_string());
        let raw = format!("select count(*) from raw_pages where dt = '{dt}'");
        assert_eq!(place.value(&raw).await, calls.to_string());
        assert_eq!(place.delta_counts().await, place.counts().await, "no reader sees what was not published");
        let left: Vec<_> = place.lake_files().into_iter().filter(|path| is_open(path)).collect();
        assert_eq!(left, [""; 0].map(std::path::PathBuf::from));
    }
}

fn is_open(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|end| end == "seg") || path.ends_with("start.json")
}

fn journal(sim: &Sim) -> Vec<String> {
    sim.journal().into_iter().map(|entry| entry.request).collect()
}

/// A journal entry or a landed record as the gateway was asked.
fn said(request: &BTreeMap<String, String>) -> String {
    let said = request.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    assert!(said.len() < 500, "longer than the journal keeps: {said}");
    said
}

/// What the run has landed that is still in the landing zone.
async fn landed(place: &Place, dt: NaiveDate) -> Vec<Attempt> {
    let zone = Zone::new(place.store(), "test", dt);
    let mut attempts = Vec::new();
    for run in &zone.runs().await.unwrap() {
        for segment in zone.segments(run).await.unwrap() {
            attempts.extend(zone.read_segment(&segment).await.unwrap());
        }
    }
    attempts.retain(|attempt| attempt.record.copied_from.is_none());
    let ids: BTreeSet<&str> = attempts.iter().map(|attempt| attempt.record.run_id.as_str()).collect();
    assert!(ids.len() <= 1, "one run, whoever goes on with it: {ids:?}");
    attempts
}

/// Whether an answer leaves nothing to ask.
fn settles(pipeline: &Pipeline, Attempt { record, body }: &Attempt) -> bool {
    let details = pipeline.details.as_ref().map(|details| &details.gateway);
    let gateway = if record.gateway.is_some() { details.unwrap() } else { &pipeline.gateway };
    match judge(gateway, &gateway.endpoints[record.endpoint.as_str()], record, body) {
        Judgement::Good => true,
        Judgement::Fault(fault) => matches!(fault.class, ErrorClass::Item | ErrorClass::Gone),
    }
}
