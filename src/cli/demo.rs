//! `huopan demo`: the whole job on a simulated gateway, in a minute, without credentials.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use chrono::Days;
use clap::Args;

use crate::base::time::beijing_day;
use crate::base::{Clock, Error, Result, SystemClock};
use crate::config::groups::load_groups;
use crate::config::load_pipeline;
use crate::groups::{self, Groups};
use crate::query::output::Layout;
use crate::query::{Format, Session};
use crate::run::{Options, Outcome as Ended, Surroundings, run};
use crate::sim::{self, Gateway, Sim};
use crate::store::Store;

use super::output::Talk;
use super::progress::Bars;
use super::run::{STOPPING, cancelled_by_signals, report_text};
use super::sql::print;
use super::{EXIT_LATER, Outcome, written};

/// `huopan demo`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  huopan demo --lake /tmp/demo-lake\n
All shops, offers and prices are simulated. A second demo publishes the same days anew.")]
pub(super) struct Arguments {
    /// Where the tables go
    #[arg(long, value_name = "DIR", default_value = "data/lake")]
    lake: PathBuf,
}

/// Nights to run.
const NIGHTS: u64 = 3;
/// The pieces a buyer of the demo needs.
const PIECES: u32 = 500;
/// A group of the sample: goods that every shop of the simulated world sells.
const GROUP: &str = "保温杯500ml";

pub(super) async fn main(arguments: Arguments, talk: &Talk) -> Result<Outcome> {
    let started = Instant::now();
    let cancel = cancelled_by_signals(talk, STOPPING);
    let sim = sim::start(sim::Options::default()).await?;
    say("This demo asks a gateway SIMULATED on this machine: no shop, offer or price below is real.\n")?;
    let folder =
        tempfile::tempdir().map_err(|error| Error::storage("cannot create a temporary folder").caused_by(error))?;
    let file = folder.path().join("demo.toml");
    std::fs::write(&file, pipeline_text(&sim, &arguments.lake)?)
        .map_err(|error| Error::storage(format!("cannot write `{}`", file.display())).caused_by(error))?;
    let mut pipeline = load_pipeline(&file, &|_| Some("sim-secret".to_owned()))?;
    // The real gateway's rhythm is a courtesy that the simulator does not need.
    pipeline.gateway.limits.pause.success = 0.05;

    let today = beijing_day(SystemClock.now());
    for night in (0..NIGHTS).rev() {
        let dt = today.checked_sub_days(Days::new(night)).unwrap_or(today);
        sim.set_day(dt);
        let bars = Bars::new(talk);
        let around = Surroundings {
            clock: Arc::new(SystemClock),
            progress: &bars,
            cancel: cancel.clone(),
            seed: rand::random(),
        };
        talk.say(&format!("night of {dt}: listing four shops"));
        let ended = run(&pipeline, Options { dt: Some(dt), refresh: true, ..Options::default() }, &around).await;
        bars.clear();
        match ended? {
            Ended::Published(reports) => reports.iter().try_for_each(|report| say(&report_text(report)))?,
            Ended::Stopped { reason, .. } => {
                say(&format!("The demo is stopped: {reason}.\n"))?;
                sim.shutdown().await?;
                return Ok(Outcome::Code(EXIT_LATER));
            }
            other => return Err(Error::internal(format!("the demo's night did not publish: {other:?}"))),
        }
    }
    sim.shutdown().await?;
    let store = Store::readable(&pipeline.lake.location).await?;
    load_groups_into(&store, folder.path()).await?;
    compare(&store, &arguments.lake, talk).await?;
    say(&format!("\nDone in {:.1} s.\n", started.elapsed().as_secs_f64()))?;
    Ok(Outcome::Done)
}

fn pipeline_text(sim: &Sim, lake: &std::path::Path) -> Result<String> {
    let lake = std::path::absolute(lake)
        .map_err(|error| Error::config(format!("`{}` is no folder", lake.display())).caused_by(error))?;
    let shops: Vec<String> = sim.world(Gateway::Portals).shops.iter().map(|shop| shop.shop_url.clone()).collect();
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    Ok(format!(
        "name = \"demo\"\ngateway = \"portals\"\nurl = {}\nshops = [{}]\n\n[[accounts]]\nname = \"demo\"\n\
         credentials = {{ app_key = \"sim-app\", app_secret = \"env:DEMO\" }}\nlicence = \"paid\"\n\n[state]\nurl = \"state.sqlite\"\n\n[lake]\nurl = {}\n",
        quoted(&sim.url(Gateway::Portals)),
        shops.iter().map(|shop| quoted(shop)).collect::<Vec<_>>().join(", "),
        quoted(&lake.to_string_lossy()),
    ))
}

/// The sample's groups, unless the lake has some: its offers compete from now on.
async fn load_groups_into(store: &Store, folder: &std::path::Path) -> Result<()> {
    if !groups::read(store).await?.lines.is_empty() {
        return Ok(());
    }
    let file = folder.join("groups.csv");
    std::fs::write(&file, super::groups::EXAMPLE)
        .map_err(|error| Error::storage(format!("cannot write `{}`", file.display())).caused_by(error))?;
    let lines = load_groups(&file)?;
    groups::write(store, &Groups::new("data/sample/groups.csv", SystemClock.now(), lines)).await
}

/// What the tables answer, and what to type next.
async fn compare(store: &Store, lake: &std::path::Path, talk: &Talk) -> Result<()> {
    let session = Session::over(store, &crate::query::Options::default()).await?;
    let cheapest = format!(
        "select position, shop_name, title, units, price_per_piece, gap_pct, moq_pieces from competitor_position({PIECES})
         where pipeline = 'demo' and group_name = '{GROUP}' and buyable order by position limit 5"
    );
    let moves = format!(
        "select kind, shop_name, title, old_price_per_piece, new_price_per_piece, change_pct from price_moves({PIECES})
         where pipeline = 'demo' and change_pct is not null order by change_pct limit 5"
    );
    say(&format!("\nWho is cheapest for {PIECES} pieces of {GROUP}?\n"))?;
    show(&session, &cheapest, talk).await?;
    say(&format!("\nWhat costs less for {PIECES} pieces than the day before?\n"))?;
    show(&session, &moves, talk).await?;
    say("\nWas every shop complete?\n")?;
    show(
        &session,
        "select dt, shop_name, official_count, offer_count, is_complete, incomplete_reason from shops
         where pipeline = 'demo' and dt = (select max(dt) from shops where pipeline = 'demo') order by shop_name",
        talk,
    )
    .await?;
    let lake_option =
        if lake == std::path::Path::new("data/lake") { String::new() } else { format!(" --lake {}", lake.display()) };
    let me = std::env::args_os().next().unwrap_or_default();
    let me = me.to_string_lossy();
    say(&format!(
        "\nThe tables are Delta tables under {}/. Next, for example:\n  \
         {me} sql{lake_option} -c \"select * from price_at(100) where buyable order by price_per_piece limit 10\"\n  \
         {me} groups show{lake_option}   # which offers compete: data/sample/groups.csv\n  \
         {me} report{lake_option}     # report.html: the same to look at\n  \
         {me} runs{lake_option}\n  {me} schema offers\n  {me} sim     # then: {me} run pipelines/portals.toml\n",
        lake.display()
    ))
}

async fn show(session: &Session, query: &str, talk: &Talk) -> Result<()> {
    print(session.sql(query).await?, Format::Table, Layout { cell_width_max: 36, ..Layout::default() }, talk).await
}

fn say(text: &str) -> Result<()> {
    written(write!(std::io::stdout(), "{text}"))
}
