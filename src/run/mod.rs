//! Run: the one place that joins the stages, for one pipeline and one day (or, for captured files, the days in them).
//!
//! ```text
//! lock ─► roll forward ─► extract (or files) ─► land ─► collect ─► judge ─► merge ─► files ─► guard ─► entry ─► Delta ─► fold
//!      ─► upkeep
//! ```
//!
//! * `begin`: which run a start goes on with, or begins.
//! * `abandon`: an unfinished run given up.
//! * `files`: captured answers instead of calls.
//! * `ledger`: the quota ledger rebuilt from landed attempts.
//! * `hear`: who is told how an attempt ended; `watch`: and what its watches found.
//! * `metrics`: a start's numbers, for those who watch machines.
//! * `doctor`: what keeps a run from working, asked for one by one.
//! * `day`: one landed day → files → publication.
//! * `replay`: days rebuilt from landed answers; `kept`: what of them is kept; `differences`: between two pictures.
//! * `guard`: what looks wrong about a day, and holds it back; `pull`: two pictures side by side.
//! * `survey`: what is known before a run, for its price.
//! * `previous`: what of the picture before goes on into today's.
//! * `write`: batches → the files of all tables.
//! * `tail`: the lake's upkeep after a publication.
//!
//! Invariant: received = loaded + duplicates + quarantined, or nothing is published.

pub mod abandon;
mod begin;
mod day;
pub mod differences;
pub mod doctor;
mod files;
mod guard;
mod hear;
mod kept;
mod ledger;
mod metrics;
mod ours;
mod previous;
mod pull;
pub mod replay;
pub mod survey;
mod tail;
pub mod watch;
mod write;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::NaiveDate;
use tokio_util::sync::CancellationToken;

use crate::base::time::beijing_day;
use crate::base::{Clock, Error, Kind, Result, RunId};
use crate::config::Pipeline;
use crate::config::pipeline::OnQuota;
use crate::extract::driver::{Gate, Learned};
use crate::extract::{self, Event, Job, Note, Progress, RunFacts};
use crate::land::{AskedAgain, Counts, HeldRun, Resumed, Writer, WriterOptions, Zone};
use crate::load::Turn;
use crate::plan;
use crate::plan::price::{Start, Survey, refusal};
use crate::state::{self, StateStore};
use crate::store::{Store, describe_holder};
use crate::transform::rows::ShopRow;

use begin::{Begin, Begun};
use day::{Looked, Place};
use ours::Ours;
use survey::Found;

pub use ledger::rebuild_from_lake;

/// What a run takes from outside.
pub struct Surroundings<'a> {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who listens.
    pub progress: &'a dyn Progress,
    /// Cancelled by a signal: answers in flight are landed, then the run stops.
    pub cancel: CancellationToken,
    /// For run ids and jitter.
    pub seed: u64,
}

/// What to run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The day; default: today in Beijing.
    pub dt: Option<NaiveDate>,
    /// Fetch and publish a day anew that is published.
    pub refresh: bool,
    /// Stop after landing.
    pub until_landed: bool,
    /// Use no cached answer.
    pub no_cache: bool,
    /// Publish what is held, from what has landed: no call is made.
    pub publish_anyway: bool,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The day is published already: nothing was asked for.
    AlreadyPublished {
        /// The day.
        dt: NaiveDate,
    },
    /// Landed, as asked: nothing is published.
    Landed {
        /// The run.
        run_id: RunId,
        /// Calls made.
        calls: i64,
    },
    /// Stopped before its work was done: it published nothing.
    Stopped {
        /// The day.
        dt: NaiveDate,
        /// Why.
        reason: String,
        /// Whether a later start can go on.
        kind: Kind,
        /// The day stays as an earlier attempt published it.
        stands: bool,
    },
    /// A day looks wrong: nothing of it is published until somebody says so.
    Held(Held),
    /// Published, a report per day.
    Published(Vec<Report>),
}

/// A day that is held back.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The run, its day and what looks wrong.
    pub run: HeldRun,
    /// Days that the same start has published.
    pub published: Vec<Report>,
}

/// What one publication holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The day.
    pub dt: NaiveDate,
    /// The run.
    pub run_id: RunId,
    /// Its number in the publish log.
    pub seq: u64,
    /// Records that should become offers.
    pub received: i64,
    /// Records that did.
    pub loaded: i64,
    /// Records that lost against another record of the same offer.
    pub duplicates: i64,
    /// Records set aside.
    pub quarantined: i64,
    /// Offers carried forward.
    pub carried: i64,
    /// Calls made.
    pub calls: i64,
    /// Single offers nobody answered for.
    pub items_unanswered: usize,
    /// Why the whole of it is not proven complete, whatever its shops are.
    pub incomplete_reason: Option<String>,
    /// Its shops.
    pub shops: Vec<ShopRow>,
}

impl Report {
    /// Whether everything asked for is proven complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let whole = self.items_unanswered == 0 && self.incomplete_reason.is_none();
        whole && self.shops.iter().all(|shop| shop.incomplete_reason.is_none())
    }
}

/// Runs a pipeline: goes on with its newest unfinished run, else starts the day's. An unfinished run of an earlier day is
/// followed by today's.
///
/// # Errors
/// Everything that keeps the run from publishing; an attempt that got as far as calling leaves a row in `runs`.
pub async fn run(pipeline: &Pipeline, options: Options, around: &Surroundings<'_>) -> Result<Outcome> {
    run_days(pipeline, None, options, around, &mut Vec::new()).await
}

/// As [`run`], on a lake that is open already (`None`: on the pipeline's own). The days' reports are added to `published`
/// one by one: what was published stays so, whatever becomes of the day after it.
///
/// # Errors
/// As [`run`].
pub async fn run_days(
    pipeline: &Pipeline,
    lake: Option<&Store>,
    options: Options,
    around: &Surroundings<'_>,
    published: &mut Vec<Report>,
) -> Result<Outcome> {
    let started_at = around.clock.now();
    let mut so_far = SoFar { published, is_told: false, store: None };
    let outcome = start(pipeline, lake, options, around, &mut so_far).await;
    if let (Err(error), false) = (&outcome, so_far.is_told) {
        hear::tell_of_no_start(pipeline, around, error, so_far.published).await;
    }
    let ended = metrics::Ended { started_at, store: so_far.store.as_ref(), outcome: &outcome };
    metrics::tell(pipeline, around, &ended).await;
    outcome
}

/// What a start has come to so far.
struct SoFar<'p> {
    published: &'p mut Vec<Report>,
    /// Whether its alerts have heard how its last attempt ended.
    is_told: bool,
    /// The lake, once it is open.
    store: Option<Store>,
}

impl SoFar<'_> {
    /// How the start ended that has published these days, and held one back.
    fn ended(&self, held: Option<HeldRun>) -> Outcome {
        let published = self.published.clone();
        match held {
            None => Outcome::Published(published),
            Some(run) => Outcome::Held(Held { run, published }),
        }
    }
}

async fn start(
    pipeline: &Pipeline,
    lake: Option<&Store>,
    options: Options,
    around: &Surroundings<'_>,
    so_far: &mut SoFar<'_>,
) -> Result<Outcome> {
    let today = beijing_day(around.clock.now());
    if let Some(dt) = options.dt.filter(|dt| *dt > today) {
        return Err(Error::config(format!("the day {dt} has not begun in Beijing, where it is {today}"))
            .with_hint("a run stands for the day on which it fetches, or an earlier one"));
    }
    pipeline.cautions().iter().for_each(|caution| around.progress.on(Event::Warning(caution)));
    let store = match lake {
        Some(lake) => lake.clone(),
        None => Store::writable(&pipeline.lake.location).await?,
    };
    so_far.store = Some(store.clone());
    let lock = store.lock(&pipeline.name, &describe_holder(around.clock.now())).await?;
    let outcome = async {
        let turn = Turn::take(&store, &pipeline.name, &lock, around.clock.now()).await?;
        let outcome = under_lock(pipeline, options, around, so_far, &store, &turn).await;
        // Also where a day after it was held or failed.
        if !so_far.published.is_empty() {
            tail::tidy(pipeline, around, &store, &turn).await;
        }
        outcome
    };
    let outcome = outcome.await;
    if let Err(error) = lock.release().await {
        tracing::warn!(pipeline = pipeline.name, %error, "cannot let go of the lock: it expires");
    }
    outcome
}

/// Runs a pipeline whose lock is held.
async fn under_lock(
    pipeline: &Pipeline,
    options: Options,
    around: &Surroundings<'_>,
    so_far: &mut SoFar<'_>,
    store: &Store,
    turn: &Turn<'_>,
) -> Result<Outcome> {
    let today = beijing_day(around.clock.now());
    let place = Place { pipeline, around, store, turn };
    day::forget_landing(store, &pipeline.name).await?;
    watch::settle(place).await;
    if options.publish_anyway {
        return publish_held(place, options, so_far).await;
    }
    tell_of_held(place, options).await?;
    if let Some(files) = &pipeline.files {
        return files::load(files::Start { place, files, options }, so_far).await;
    }
    let state = state::open(&pipeline.state).await?;
    let holder = format!("{}{}", store.url(), pipeline.name);
    // The pipeline's lock is ours: whoever held places under this name is dead.
    state.release(&holder).await?;
    ledger::rebuild(store, pipeline, state.as_ref(), today).await?;
    let mut held = None;
    loop {
        so_far.is_told = false;
        let begun = match begin::begin(place, options).await? {
            Begin::Published(dt) if so_far.published.is_empty() && held.is_none() => {
                return Ok(Outcome::AlreadyPublished { dt });
            }
            Begin::Published(_) => return Ok(so_far.ended(held)),
            Begin::Held(run) => return Ok(so_far.ended(Some(run))),
            Begin::Run(begun) => *begun,
        };
        let (start, stands) = (begun.start.clone(), begun.stands);
        // What goes on is not what `--refresh` asks for: that follows.
        let is_retry = begun.frozen.retry.is_some();
        let attempt = Attempt {
            place,
            pipeline,
            options,
            around,
            store,
            state: state.as_ref(),
            holder: &holder,
            begun,
            notes: Mutex::default(),
        };
        let outcome = recorded(place, &start, attempt.run().await).await;
        attempt.forget_if_vain(&outcome).await?;
        let notes = attempt.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let noted = hear::Noted { notes: &notes, state: state.as_ref(), holder: &holder };
        let ended = hear::Ended { start: &start, stands, noted: Some(noted) };
        hear::tell(pipeline, around, &ended, &outcome).await;
        so_far.is_told = true;
        watch::ended(place, start.run_id, &outcome).await;
        match outcome {
            Ok(Outcome::Published(published)) => so_far.published.extend(published),
            // A day that is held does not keep today's from being fetched.
            Ok(Outcome::Held(of)) => held = Some(of.run),
            other => return other,
        }
        let is_asked_for = options.dt.is_some() || start.dt >= today;
        if is_asked_for && !(options.refresh && is_retry) {
            return Ok(so_far.ended(held));
        }
    }
}

/// Says which day before the one that is asked for waits for somebody's word.
async fn tell_of_held(place: Place<'_>, options: Options) -> Result<()> {
    let Place { pipeline, around, store, turn } = place;
    let dt = options.dt.unwrap_or_else(|| beijing_day(around.clock.now()));
    let snapshot = turn.snapshot(store, &pipeline.name).await?;
    let latest = snapshot.latest_dt(&pipeline.name);
    for HeldRun { dt: held, .. } in begin::held(pipeline, store, &snapshot).await? {
        // Once a later day is published, the held one is history.
        if held < dt && latest.is_none_or(|latest| latest < held) {
            let file = pipeline.path.display();
            around.progress.on(Event::Warning(&format!(
                "{held} is held and waits for your word: `huopan run {file} --dt {held} --publish-anyway`"
            )));
        }
    }
    Ok(())
}

/// Publishes the newest run that is held (of the stated day, where one is stated) from what has landed of it.
async fn publish_held(place: Place<'_>, options: Options, so_far: &mut SoFar<'_>) -> Result<Outcome> {
    let Place { pipeline, around, store, turn } = place;
    let snapshot = turn.snapshot(store, &pipeline.name).await?;
    let mut held = begin::held(pipeline, store, &snapshot).await?;
    held.retain(|run| options.dt.is_none_or(|dt| dt == run.dt));
    let Some(HeldRun { dt, run_id, .. }) = held.pop() else {
        if let Some(dt) = begin::forget_published_hold(pipeline, store, &snapshot, options.dt).await? {
            return Ok(Outcome::AlreadyPublished { dt });
        }
        let day = options.dt.map(|dt| format!(" of {dt}")).unwrap_or_default();
        return Err(Error::config(format!("no run{day} of pipeline `{}` is held", pipeline.name))
            .with_hint("`huopan runs` lists them; without `--publish-anyway` a run is started as ever"));
    };
    let zone = Zone::new(store.clone(), &pipeline.name, dt);
    let facts = zone.read_facts(&run_id).await?.ok_or_else(|| {
        Error::data(format!("what run `{run_id}` knew at its end is no longer there"))
            .with_hint(format!("fetch the day anew: `huopan run {} --refresh`", pipeline.path.display()))
    })?;
    let start =
        day::Start { dt, run_id, attempt: snapshot.attempts(&pipeline.name, dt) + 1, started_at: around.clock.now() };
    let stands = snapshot.picture(&pipeline.name, dt).is_some();
    // Its calls were those of the start that was held.
    let facts = RunFacts { calls_used: 0, calls_saved: 0, ..facts };
    watch::expect(place, &start).await;
    let published = day::publish(place, &zone, &start, facts).await;
    let outcome = recorded(place, &start, published.map(|report| Outcome::Published(vec![report]))).await;
    if outcome.is_ok() {
        zone.forget_hold(&run_id).await?;
    }
    hear::tell(pipeline, around, &hear::Ended { start: &start, stands, noted: None }, &outcome).await;
    so_far.is_told = true;
    watch::ended(place, run_id, &outcome).await;
    if let Ok(Outcome::Published(reports)) = &outcome {
        so_far.published.extend_from_slice(reports);
    }
    outcome
}

/// Passes an attempt's outcome on; one that failed before anything was decided leaves a row in `runs`.
async fn recorded<T>(place: Place<'_>, start: &day::Start, outcome: Result<T>) -> Result<T> {
    if let Err(error) = &outcome {
        // The attempt's own failure is what the user needs to hear; a journal that cannot be written is logged.
        if let Err(journal) = day::publish_failure(place, start, error).await {
            tracing::error!(error = %journal, "cannot record the failed attempt in `runs`");
        }
    }
    outcome
}

/// What came of an extraction.
enum Extracted {
    Facts(Box<RunFacts>),
    /// It was not begun, or not gone on with: calls are short.
    Refused {
        refusal: Error,
        /// Nothing was listed: neither by an earlier start nor by this one.
        is_new: bool,
    },
}

/// One attempt of a run.
struct Attempt<'a> {
    place: Place<'a>,
    pipeline: &'a Pipeline,
    options: Options,
    around: &'a Surroundings<'a>,
    store: &'a Store,
    state: &'a dyn StateStore,
    holder: &'a str,
    begun: Begun,
    /// What its extraction noted.
    notes: Mutex<Vec<Note>>,
}

impl Attempt<'_> {
    /// A run that ended without a single answer worth keeping is no unfinished run: the next start begins anew, on its own
    /// day, instead of filling an old day with what is there much later.
    async fn forget_if_vain(&self, outcome: &Result<Outcome>) -> Result<()> {
        if matches!(
            outcome,
            Ok(Outcome::Published(_) | Outcome::Held(_) | Outcome::Landed { .. } | Outcome::AlreadyPublished { .. })
        ) {
            return Ok(());
        }
        let start = &self.begun.start;
        let zone = Zone::new(self.store.clone(), &self.pipeline.name, start.dt);
        let gateways = survey::gateways(self.pipeline);
        let frozen = &self.begun.frozen;
        let read = async |again: Option<&AskedAgain>| Resumed::read(&zone, &start.run_id, gateways, again).await;
        // A damaged segment is the user's to mend first; it is what the outcome says.
        let Ok(resumed) = read(frozen.asked_again.as_ref()).await else { return Ok(()) };
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let repeated = notes.into_iter().find_map(|note| match note {
            Note::Repeated { shops, .. } => Some(AskedAgain { shops, until: resumed.last_number }),
            _ => None,
        });
        let repeated = repeated.map(|again| again.and(frozen.asked_again.as_ref()));
        let is_vain = match &repeated {
            None => resumed.settled() == 0,
            Some(again) => read(Some(again)).await?.settled() == 0,
        };
        match repeated {
            _ if is_vain => zone.forget_start(&start.run_id).await,
            // Used again, the same pages would end every later start in the same way.
            Some(again) => zone.ask_again(&start.run_id, frozen.clone(), again).await,
            None => Ok(()),
        }
    }

    /// Extracts, lands and publishes one day.
    async fn run(&self) -> Result<Outcome> {
        let Self { pipeline, options, store, begun, .. } = self;
        let start = &begun.start;
        let zone = Zone::new((*store).clone(), &pipeline.name, start.dt);
        let facts = match self.extract(&zone).await? {
            Extracted::Facts(facts) => *facts,
            Extracted::Refused { refusal, is_new } => {
                // Nothing was listed: the next start begins anew, on its own day.
                if is_new {
                    zone.forget_start(&start.run_id).await?;
                }
                return Err(refusal);
            }
        };
        if options.until_landed && facts.stopped.is_none() {
            return Ok(Outcome::Landed { run_id: start.run_id, calls: facts.calls_used });
        }
        if let Some(reason) = facts.stopped.clone() {
            day::publish_stop(self.place, start, &facts).await?;
            let (dt, stands) = (start.dt, begun.stands);
            return Ok(Outcome::Stopped { dt, reason, kind: Kind::Unavailable, stands });
        }
        watch::expect(self.place, start).await;
        let looked = day::publish_if_sound(self.place, &zone, start, facts).await?;
        if let Looked::Published(_) = looked {
            zone.forget_start(&start.run_id).await?;
        }
        Ok(looked.outcome(start))
    }

    async fn extract(&self, zone: &Zone) -> Result<Extracted> {
        let Self { pipeline, options, around, begun, store, .. } = self;
        let start = &begun.start;
        let again = begun.frozen.asked_again.as_ref();
        let resumed = Arc::new(Resumed::read(zone, &start.run_id, survey::gateways(pipeline), again).await?);
        zone.note_segments(&start.run_id, resumed.first_numbers()).await?;
        if resumed.settled() > 0 {
            let (dt, settled) = (start.dt, resumed.settled());
            around.progress.on(Event::Resumed { dt, answers: settled });
        }
        let mut found = Found {
            dt: start.dt,
            start: Start::Begins,
            work: begun.work(plan::work(pipeline)?),
            known: survey::known_before(pipeline, store, start.dt).await?,
            until: begun.frozen.started_at,
            resumed: Some(Arc::clone(&resumed)),
            details: HashMap::new(),
            is_refresh: begun.frozen.refresh,
            picture: survey::picture_of(pipeline, store, start.dt).await?,
            options: *options,
        };
        let refuses = pipeline.on_quota == OnQuota::Refuse;
        // What an earlier start was answered must not be lost.
        let is_new = resumed.settled() == 0;
        if refuses {
            found.details = survey::details_left(pipeline, &found, self.state, &around.clock).await?;
            let survey = survey::of_run(pipeline, &found, self.state, around.clock.now()).await?;
            if let Some(refusal) = refusal(pipeline, &survey) {
                return Ok(Extracted::Refused { refusal, is_new });
            }
        }
        let clock = around.clock.as_ref();
        let gate = Within { pipeline, state: self.state, clock, found: &found, refusal: Mutex::default() };
        let mask = extract::driver::mask(pipeline);
        // A number in the journal is never given again, also when the segment that held it was removed.
        let snapshot = self.place.turn.snapshot(store, &pipeline.name).await?;
        let journalled = snapshot.calls_to(&pipeline.name, &start.run_id.to_string());
        let first_number = resumed.last_number.max(journalled) + 1;
        let writing = WriterOptions { run_id: start.run_id, first_number, mask };
        let writer = Writer::start(zone.clone(), writing);
        let run_id = start.run_id.to_string();
        let job = Job {
            pipeline,
            work: found.work.clone(),
            known: &found.known,
            run_id: &run_id,
            dt: start.dt,
            until: begun.frozen.started_at,
            answered: resumed.as_ref(),
            earlier_calls: resumed.calls_by_shop.clone(),
            state: self.state,
            holder: self.holder,
            clocks: resumed.clocks,
            reuse: found.reuse(pipeline),
            gate: if refuses { Some(&gate) } else { None },
            clock: Arc::clone(&around.clock),
            sink: &Ours { sink: &writer, turn: self.place.turn },
            progress: around.progress,
            notes: &self.notes,
            cancel: around.cancel.clone(),
            seed: around.seed,
        };
        let extracted = extract::extract(job).await;
        // What has landed stays landed, also when the extraction failed.
        let closed = writer.close().await;
        let mut facts = extracted?;
        closed?;
        if let Some((refusal, has_listed)) = gate.refusal.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Extracted::Refused { refusal, is_new: is_new && !has_listed });
        }
        let mut counts = Counts::default();
        counts.extend(&resumed.ledger);
        counts.extend(&facts.ledger);
        facts.ledger = counts.ledger();
        facts.unused = resumed.unused();
        let has_changed = begun.frozen.config_hash != pipeline.config_hash;
        if has_changed && !facts.unused.is_empty() && facts.stopped.is_none() {
            let unused = facts.unused.len();
            around.progress.on(Event::Warning(&format!(
                "the pipeline has changed since the run began: {unused} landed answers are kept, and make no rows"
            )));
        }
        facts.unused.extend(resumed.asked_again());
        begun.complete(&mut facts, pipeline);
        zone.write_facts(&start.run_id, &facts).await?;
        Ok(Extracted::Facts(Box::new(facts)))
    }
}

/// Lets a run go on that can finish today.
struct Within<'a> {
    pipeline: &'a Pipeline,
    state: &'a dyn StateStore,
    clock: &'a dyn Clock,
    found: &'a Found,
    /// Why it was not let go on, and whether it has listed anything.
    refusal: Mutex<Option<(Error, bool)>>,
}

#[async_trait::async_trait]
impl Gate for Within<'_> {
    async fn refusal(&self, learned: Learned, ended: Option<&str>) -> Result<Option<String>> {
        if ended.is_some() {
            // It stops anyway, and goes on another day.
            return Ok(None);
        }
        // What the run has asked for so far is in the ledger by now.
        let survey = survey::of_run(self.pipeline, self.found, self.state, self.clock.now()).await?;
        let Learned { counts, ids_by_url, details } = learned;
        let has_listed = !details.is_empty();
        let details = if has_listed { details } else { survey.details };
        let survey = Survey { is_under_way: true, counts, ids_by_url, details, ..survey };
        let Some(refusal) = refusal(self.pipeline, &survey) else {
            return Ok(None);
        };
        let reason = refusal.to_string();
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some((refusal, has_listed));
        Ok(Some(reason))
    }
}

/// The error of a run that a signal stopped outside the extraction.
fn stopped() -> Error {
    Error::new(Kind::Unavailable, "stopped by a signal before the day was published")
}

/// Run ids of one process differ by day also when they start in the same millisecond.
fn new_run_id(around: &Surroundings<'_>, dt: NaiveDate) -> RunId {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    let now = around.clock.now();
    let salt = u64::try_from(now.timestamp_nanos_opt().unwrap_or_default()).unwrap_or_default();
    let day = u64::try_from(chrono::Datelike::num_days_from_ce(&dt)).unwrap_or_default();
    let mut bytes = [0; 10];
    StdRng::seed_from_u64(around.seed ^ salt.rotate_left(17) ^ day).fill_bytes(&mut bytes);
    RunId::new(now, bytes)
}

/// The error of a run whose records do not add up.
fn not_conserved(report: &Report) -> Error {
    Error::internal(format!(
        "records do not add up: received {} ≠ loaded {} + duplicates {} + quarantined {}; nothing was published",
        report.received, report.loaded, report.duplicates, report.quarantined
    ))
}
