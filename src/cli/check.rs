//! `huopan check`: everything that is wrong with a pipeline, at once.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::base::Result;
use crate::config::pipeline::{Account, SharedKey};
use crate::config::{Gateway, Pipeline, load_pipeline, watches_of};
use crate::run::watch;

use super::output::Talk;
use super::{EXIT_CHANGE, Environment, Outcome, written};

/// `huopan check`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  huopan check pipelines/portals.toml")]
pub(super) struct Arguments {
    /// The pipeline's file
    #[arg(value_name = "PIPELINE")]
    pipeline: PathBuf,
}

pub(super) async fn main(arguments: &Arguments, talk: &Talk) -> Result<Outcome> {
    let file = &arguments.pipeline;
    // What is wrong elsewhere in the file does not hide what is wrong with its watches.
    let wrong = watch::check(file, &watches_of(file)).await?;
    let pipeline = match load(file) {
        Ok(pipeline) if wrong.is_empty() => pipeline,
        Err(error) if wrong.is_empty() => return Err(error),
        loaded => {
            loaded.err().iter().chain(&wrong).for_each(|error| talk.error(error));
            return Ok(Outcome::Code(EXIT_CHANGE));
        }
    };
    pipeline.cautions().iter().for_each(|caution| talk.say(&format!("warning: {caution}")));
    let mut out = std::io::stdout().lock();
    written(writeln!(out, "{}", summary(&pipeline)))?;
    for note in notes(&pipeline) {
        written(writeln!(out, "note: {note}"))?;
    }
    Ok(Outcome::Done)
}

/// What is right, but perhaps not what somebody thinks.
fn notes(pipeline: &Pipeline) -> Vec<String> {
    let Some(source) = &pipeline.details else { return Vec::new() };
    let limit = |account: &Account, gateway: &Gateway| match account.calls_per_day {
        Some(calls) => format!("`{}` at gateway `{}`, {calls} calls a day", account.name, gateway.name),
        None => format!("`{}` at gateway `{}`, without a limit", account.name, gateway.name),
    };
    let note = |shared: SharedKey<'_>| {
        let (listing, details) = (limit(shared.listing, &pipeline.gateway), limit(shared.details, &source.gateway));
        format!(
            "two accounts have one key ({listing}; {details}): their calls are counted together, and each limit holds \
             for the calls of both; `huopan plan` reckons with that"
        )
    };
    pipeline.shared_keys().into_iter().map(note).collect()
}

/// Loads a pipeline for a command that needs one.
///
/// # Errors
/// All problems of the file, as one error.
pub(super) fn load(path: &Path) -> Result<Pipeline> {
    Ok(load_pipeline(path, &|name| Environment::get(name))?)
}

/// Loads a pipeline for a command that calls and tells nobody: secrets that are not set are not needed.
///
/// # Errors
/// As [`load`].
pub(super) fn load_without_secrets(path: &Path) -> Result<Pipeline> {
    Ok(crate::config::load_without_secrets(path, &|name| Environment::get(name))?)
}

fn summary(pipeline: &Pipeline) -> String {
    let what = match (&pipeline.files, pipeline.shops.len(), pipeline.items.len()) {
        (Some(files), _, _) => format!("captured files ({})", files.paths.join(", ")),
        (None, 0, items) => format!("{items} items"),
        (None, shops, 0) => format!("{shops} shops"),
        (None, shops, items) => format!("{shops} shops and {items} items"),
    };
    format!(
        "{}: pipeline `{}` asks gateway `{}` for {what}, into {}",
        pipeline.path.display(),
        pipeline.name,
        pipeline.gateway.name,
        pipeline.lake.location
    )
}
