//! `huopan plan`: what a run costs, before it spends a call.

mod json;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use clap::Args;

use crate::base::{Result, SystemClock};
use crate::config::Pipeline;
use crate::config::pipeline::OnQuota;
use crate::plan::price::{
    AccountPrice, Again, Alternative, Assumption, Calls, Cost, Exactness, Fits, Line, Offers, Price, Source, Start,
    Subject, SubjectPrice, Survey, TooMany, price,
};
use crate::run::survey::{Asks, survey};
use crate::run::{Options, Surroundings};

use super::accounts::{beijing, resting};
use super::output::Talk;
use super::progress::Bars;
use super::run::cancelled_by_signals;
use super::table::{Align, Table, thousands};
use super::{EXIT_LATER, Outcome, check, written};

/// `huopan plan`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan plan pipelines/portals.toml            tonight's calls, minutes, accounts
  huopan plan pipelines/portals.toml --probe    ask for the counts first: exact
  huopan plan pipelines/portals.toml --json     the same as JSON

Numbers: 12 is exact, if counts are right · 3–50 is proven, from the least to the
most · ≈ 3–50 is reckoned from the day before or from a count of earlier today, or
holds for shops that fit into the gateway's pages: the verdict says on what it
rests · `unknown` until an answer says it · ~5 may well be: the median of the last
nights, no bound.

`done` is the day of the last call; where a run must finish on one day
(on_quota = \"refuse\"), the day that allows all of it.

Not in the price: calls that fail and are made again; answers that the caches still
hold, which cost nothing.

Exit codes: 0 priced · 1 something must change · 75 try again later, also where a
probe could not ask for everything")]
pub(super) struct Arguments {
    /// The pipeline's file
    #[arg(value_name = "PIPELINE")]
    pipeline: PathBuf,
    /// The day the run stands for [default: as `run` chooses it]
    #[arg(long, value_name = "YYYY-MM-DD")]
    dt: Option<NaiveDate>,
    /// Ask for shops' ids and official counts first; these calls count, and a run within ten minutes uses the answers
    #[arg(long)]
    probe: bool,
    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What the user hears when a signal stops a probe.
const STOPPING: &str = "stopping: what was asked stays counted";

pub(super) async fn main(arguments: &Arguments, talk: &Talk) -> Result<Outcome> {
    let pipeline = check::load(&arguments.pipeline)?;
    let mut out = std::io::stdout().lock();
    if pipeline.files.is_some() {
        written(match arguments.json {
            true => {
                writeln!(out, "{}", serde_json::json!({"pipeline": pipeline.name, "total": json::calls(Calls::ZERO)}))
            }
            false => writeln!(out, "pipeline `{}` loads captured files: no call is made", pipeline.name),
        })?;
        return Ok(Outcome::Done);
    }
    drop(out);
    let bars = Bars::new(talk);
    let around = Surroundings {
        clock: Arc::new(SystemClock),
        progress: &bars,
        cancel: cancelled_by_signals(talk, STOPPING),
        seed: rand::random(),
    };
    let options = Options { dt: arguments.dt, ..Options::default() };
    let asks = if arguments.probe { Asks::Counts } else { Asks::Nothing };
    let surveyed = survey(&pipeline, options, asks, &around).await;
    bars.clear();
    let surveyed = surveyed?;
    let price = price(&pipeline, &surveyed);
    let mut out = std::io::stdout().lock();
    written(match arguments.json {
        true => writeln!(out, "{}", json::document(&pipeline, &surveyed, &price)),
        false => write!(out, "{}", text(&pipeline, &surveyed, &price)),
    })?;
    Ok(if surveyed.probe_stopped.is_some() { Outcome::Code(EXIT_LATER) } else { Outcome::Done })
}

fn text(pipeline: &Pipeline, survey: &Survey, price: &Price) -> String {
    let mut text = head(pipeline, survey);
    let gateways = price.gateways.len() > 1;
    text.push_str(&subjects(pipeline, price).render("  "));
    text.push('\n');
    text.push_str(&endpoints(price, gateways).render("  "));
    text.push('\n');
    text.push_str(&accounts(price, gateways).render("  "));
    text.push('\n');
    text.push_str(&conditions(pipeline, price));
    _ = writeln!(text, "{}", sum(price));
    _ = writeln!(text, "{}", verdict(pipeline, survey, price));
    text.push_str(&choices(&price.alternatives));
    text.push_str(&notes(pipeline, survey, price));
    text
}

fn head(pipeline: &Pipeline, survey: &Survey) -> String {
    let mut text = format!("pipeline `{}`, {}", pipeline.name, survey.dt);
    match &survey.start {
        Start::Begins => {}
        Start::GoesOn { run_id } => {
            _ = write!(text, ": goes on with run {run_id}; what it was answered already is not asked again");
        }
        Start::Retries { shops, items } => {
            _ = write!(text, ": published, but {}", retried(*shops, *items));
        }
        Start::Published => {
            text.push_str(": published already, `run` makes no call; `run --refresh` costs");
        }
        Start::Held => {
            text.push_str(": held, `run` makes no call, nor does `run --publish-anyway`; `run --refresh` costs");
        }
    }
    if survey.dt < survey.today && matches!(survey.start, Start::GoesOn { .. }) {
        text.push_str(" · then the run of today follows, which is not in this price");
    }
    if survey.probe_calls > 0 {
        _ = write!(text, " · the probe made {} calls", survey.probe_calls);
    }
    if let Some(reason) = &survey.probe_stopped {
        _ = write!(text, " · THE PROBE HAS NOT ASKED FOR EVERYTHING: {reason}");
    }
    text.push_str("\n\n");
    text
}

fn retried(shops: usize, items: usize) -> String {
    let count = |number: usize, name: &str| match number {
        0 => None,
        1 => Some(format!("1 {name}")),
        _ => Some(format!("{number} {name}s")),
    };
    let named: Vec<String> = [count(shops, "shop"), count(items, "single offer")].into_iter().flatten().collect();
    let named = named.join(" and ");
    match shops + items {
        1 => format!("{named} is incomplete; it alone is asked for again"),
        _ => format!("{named} are incomplete; they alone are asked for again"),
    }
}

fn subjects(pipeline: &Pipeline, price: &Price) -> Table {
    // Nights tell nothing where every number is known, and on the first one.
    let expects = price.subjects.iter().any(|subject| expected(subject).is_some());
    let mut columns = vec![
        ("shop", Align::Left),
        ("offers", Align::Right),
        ("listed", Align::Left),
        ("calls", Align::Right),
        ("done", Align::Left),
    ];
    if expects {
        columns.insert(4, ("expected", Align::Right));
    }
    let mut table = Table::new(&columns);
    for subject in &price.subjects {
        let offers = match subject.offers {
            _ if subject.subject == Subject::Tokens => String::new(),
            Offers::Counted(offers) => thousands(offers),
            Offers::Earlier(offers) | Offers::Before(offers) => format!("≈ {}", thousands(offers)),
            Offers::Unknown => "?".into(),
        };
        let listed = match subject.subject {
            Subject::Shop { changes_only: true, .. } => "changed",
            Subject::Shop { .. } => "whole",
            Subject::Items | Subject::Tokens => "",
        };
        let done = done(subject, price, pipeline);
        let mut cells = vec![name(&subject.subject), offers, listed.into(), subject.calls.to_string(), done];
        if expects {
            cells.insert(4, expected(subject).map(|calls| format!("~{}", thousands(calls))).unwrap_or_default());
        }
        table.row(cells);
    }
    table
}

/// What the last nights let one expect of a subject whose number is not known.
fn expected(subject: &SubjectPrice) -> Option<u64> {
    subject.expected.filter(|_| subject.calls.exactness() != Exactness::Exact)
}

fn name(subject: &Subject) -> String {
    match subject {
        Subject::Shop { shop, id, .. } => {
            let names = [&shop.name, id, &shop.url].into_iter().flatten();
            names.map(String::as_str).next().unwrap_or("?").to_owned()
        }
        Subject::Items => "(single offers)".into(),
        Subject::Tokens => "(access tokens)".into(),
    }
}

fn done(subject: &SubjectPrice, price: &Price, pipeline: &Pipeline) -> String {
    let today = price.today;
    match (subject.done_on, subject.calls.most()) {
        (None, _) if pipeline.on_quota == OnQuota::Refuse => match price.fits_least {
            Fits::Today => "today, if few".into(),
            Fits::On(day) => format!("{day}, if few"),
            Fits::NoDay => "on no one day".into(),
        },
        (None, _) => "not in a year".into(),
        (Some(day), None) if day == today => "unknown".into(),
        (Some(day), None) => format!("not before {day}"),
        (Some(day), Some(_)) if day == today => "today".into(),
        (Some(day), Some(_)) => day.to_string(),
    }
}

fn endpoints(price: &Price, gateways: bool) -> Table {
    let columns = [("endpoint", Align::Left), ("calls", Align::Right), ("gateway", Align::Left)];
    let mut table = Table::new(&columns[..if gateways { 3 } else { 2 }]);
    for line in &price.endpoints {
        table.row([line.endpoint.to_owned(), line.calls.to_string(), gateway(price, line).to_owned()]);
    }
    table
}

/// The gateway whose endpoint a line is about.
fn gateway<'p>(price: &'p Price, line: &Line) -> &'p str {
    price.gateways.iter().find(|gateway| gateway.source == line.source).map_or("", |gateway| &gateway.name)
}

fn accounts(price: &Price, gateways: bool) -> Table {
    let columns = [
        ("account", Align::Left),
        ("calls a day", Align::Right),
        ("left today", Align::Right),
        ("takes", Align::Right),
        ("gateway", Align::Left),
    ];
    let mut table = Table::new(&columns[..if gateways { 5 } else { 4 }]);
    let limit = |calls: Option<u64>| calls.map_or_else(|| "no limit".to_owned(), thousands);
    for gateway in &price.gateways {
        for AccountPrice { name, calls_per_day, left, takes, .. } in &gateway.accounts {
            table.row([name.clone(), limit(*calls_per_day), limit(*left), thousands(*takes), gateway.name.clone()]);
        }
    }
    table
}

/// What the calls of accounts depend on beside their number: who rests, and which calls are counted together.
fn conditions(pipeline: &Pipeline, price: &Price) -> String {
    let accounts = price.gateways.iter().flat_map(|gateway| &gateway.accounts);
    let rests = accounts.flat_map(|account| account.rests.iter().map(|resting| (&*account.name, resting)));
    let table = resting(rests);
    let mut text = if table.is_empty() { String::new() } else { format!("{}\n", table.render("  ")) };
    for shared in pipeline.shared_keys() {
        let (listing, details) = (&shared.listing.name, &shared.details.name);
        _ = writeln!(
            text,
            "`{listing}` and `{details}` have one key: their calls are counted together, and each limit holds for all of them"
        );
    }
    text
}

fn sum(price: &Price) -> String {
    let mut text = format!("in all {}", calls(price.total));
    let by_nights = price.subjects.iter().any(|subject| expected(subject).is_some());
    if let Some(expected) = price.expected.filter(|_| by_nights) {
        _ = write!(text, ", {} to be expected from the last nights", thousands(expected));
    }
    let time: Duration = price.gateways.iter().map(|gateway| gateway.time).sum();
    let without = if price.total.most().is_some() { "" } else { ", without what is unknown" };
    _ = write!(text, " · about {} at the allowed pace{without}", duration(time));
    for cost in price.gateways.iter().filter_map(|gateway| gateway.cost.as_ref()) {
        _ = write!(text, " · {}", money(cost));
    }
    text
}

fn calls(calls: Calls) -> String {
    match calls.exactness() {
        Exactness::Unknown => "an unknown number of calls".into(),
        _ => format!("{calls} calls"),
    }
}

fn money(Cost { currency, least, most }: &Cost) -> String {
    match most {
        Some(most) if most == least => format!("{least} {currency}"),
        Some(most) => format!("{least}–{most} {currency}"),
        None => format!("{least} {currency} or more"),
    }
}

fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{} s", seconds.max(1)),
        seconds @ 60..3600 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Whether it fits into today, and what `run` does if not.
fn verdict(pipeline: &Pipeline, survey: &Survey, price: &Price) -> String {
    let fits = fits(pipeline, survey, price);
    match price.not_before {
        None => fits,
        Some(from) => format!("{fits}; NOT BEFORE {} (Beijing): accounts rest until then", beijing(from)),
    }
}

fn fits(pipeline: &Pipeline, survey: &Survey, price: &Price) -> String {
    let then = match pipeline.on_quota {
        OnQuota::Refuse => "`run` starts nothing before (on_quota = \"refuse\")".to_owned(),
        OnQuota::Continue => {
            format!("`run` stops when the calls end and goes on at its next start, {}", done_by(price))
        }
    };
    match (price.fits_least, price.fits_most) {
        (Fits::Today, Some(Fits::Today)) => format!("it fits into today{}", granted(survey, price)),
        (Fits::Today, Some(Fits::On(_) | Fits::NoDay)) => {
            "it MAY NOT FIT into today: only if it needs few calls".into()
        }
        (Fits::Today, None) => "it MAY NOT FIT into today: nobody knows how many calls it needs at most".into(),
        (Fits::On(day), most) => {
            let few = match most {
                Some(Fits::On(most)) if most == day => granted(survey, price),
                Some(Fits::On(most)) => format!(" if it needs few calls, else on {most}"),
                _ => " if it needs few calls".to_owned(),
            };
            format!("it DOES NOT FIT into today, but on {day}{few}: {then}")
        }
        (Fits::NoDay, _) => {
            let part = |too_many: &TooMany| match &too_many.of {
                Some(_) => format!(" ({too_many})"),
                // Whatever was bought today must be bought on that day, too.
                None => format!(" ({} of {})", thousands(too_many.calls), thousands(too_many.calls_per_day)),
            };
            let part = price.too_many.as_ref().map(part).unwrap_or_default();
            let then = match pipeline.on_quota {
                OnQuota::Refuse => "`run` does not start it (on_quota = \"refuse\")",
                OnQuota::Continue => &then,
            };
            format!("it is MORE THAN ANY DAY ALLOWS{part}: {then}")
        }
    }
}

/// On which conditions the greatest number of calls is one.
fn granted(survey: &Survey, price: &Price) -> String {
    let condition = |assumption: &Assumption| match assumption {
        Assumption::Smaller { shops: 1, offers } => {
            format!("the shop that is not counted has fewer than {} offers", thousands(*offers))
        }
        Assumption::Smaller { shops, offers } => {
            format!("each of the {shops} shops that are not counted has fewer than {} offers", thousands(*offers))
        }
        Assumption::Unsplit { shops: 1, offers } => {
            format!("the shop of {} offers or more need not be split by category", thousands(*offers))
        }
        Assumption::Unsplit { shops, offers } => {
            format!("none of the {shops} shops of {} offers or more has to be split by category", thousands(*offers))
        }
        Assumption::HardlyGrown { .. } => "no shop has grown by more than 5 % since it was counted".to_owned(),
        Assumption::HardlyOpen => {
            "no more than 5 % of the offers spoil the calls that they share with others".to_owned()
        }
    };
    let conditions: Vec<String> = price.assumes.iter().map(condition).collect();
    let unknown = price.assumes.iter().any(|assumption| matches!(assumption, Assumption::Smaller { .. }));
    let probe = if unknown && survey.probe_calls == 0 { " (`--probe` counts them)" } else { "" };
    match conditions.is_empty() {
        true => String::new(),
        false => format!(" if {}{probe}", conditions.join(" and ")),
    }
}

fn done_by(price: &Price) -> String {
    let days: Option<Vec<NaiveDate>> = price.subjects.iter().map(|subject| subject.done_on).collect();
    match days.map(|days| days.into_iter().max()) {
        Some(Some(day)) => format!("done by {day}"),
        Some(None) => "done today".into(),
        None => "not done within a year".into(),
    }
}

/// One line for each setting: what each of its values costs.
fn choices(alternatives: &[Alternative]) -> String {
    if alternatives.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    let mut last = "";
    for Alternative { setting, value, calls, is_set } in alternatives {
        let shown = if *setting == last { "" } else { setting };
        let set = if *is_set { "← set" } else { "" };
        table.row([shown.to_owned(), format!("= {value}"), calls.to_string(), set.to_owned()]);
        last = setting;
    }
    let rows = table.render("  ");
    let rows = rows.split_once('\n').map_or("", |(_, rows)| rows);
    format!("\nwhat the choices in [fetch] cost, in calls:\n{rows}")
}

fn notes(pipeline: &Pipeline, survey: &Survey, price: &Price) -> String {
    let mut text = String::from("\nCalls that fail are made again: they are not in the price.\n");
    for Again { shop, id } in &price.again {
        let called = [&shop.name, &shop.url].into_iter().flatten().next().unwrap_or(id);
        _ = writeln!(text, "`{called}` is shop `{id}`, which the pipeline names otherwise, too: it is listed once.");
    }
    // What an unfinished run has named is looked up in the caches.
    let is_looked_up = !survey.details.is_empty() && survey.details.values().all(|left| left.is_all);
    if pipeline.fetch.cache && !is_looked_up && price.endpoints.iter().any(|line| is_cached(pipeline, line)) {
        text.push_str("Details that the caches still hold cost nothing: they are not taken off the price.\n");
    }
    let uncounted = price.subjects.iter().any(|subject| !matches!(subject.offers, Offers::Counted(_)));
    if uncounted && (survey.probe_calls == 0 || survey.probe_stopped.is_some()) {
        text.push_str("`--probe` asks for the shops' counts first and makes their listings exact.\n");
    }
    text
}

/// Whether the answers of a line of details may be used again.
fn is_cached(pipeline: &Pipeline, line: &Line) -> bool {
    let gateway = match (line.source, &pipeline.details) {
        (Source::Details, Some(details)) => &details.gateway,
        _ => &pipeline.gateway,
    };
    let endpoint = gateway.endpoints.get(line.endpoint);
    matches!(line.endpoint, "item" | "sku") && endpoint.is_some_and(|endpoint| endpoint.cache_seconds.is_some())
}

#[cfg(test)]
mod tests;
