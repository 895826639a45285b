//! Which lake a command is about.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::base::{Error, Result};
use crate::config::Pipeline;
use crate::config::location::Location;
use crate::query::ledger::LedgerSource;
use crate::query::{AsOf, Options, Session, user_views};
use crate::store::Store;

use super::accounts::DEFAULT_STATE;
use super::{Environment, check};

/// The lake to read.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Target {
    /// The lake: a folder or s3://bucket/prefix [default: $HUOPAN_LAKE, else that of --pipeline, else ./data/lake]
    #[arg(long, value_name = "URL", help_heading = "Lake", global = true)]
    lake: Option<String>,
    /// Read the lake of this pipeline
    #[arg(long, value_name = "FILE", help_heading = "Lake", conflicts_with = "lake", global = true)]
    pipeline: Option<PathBuf>,
}

/// What of the lake a query sees.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct View {
    /// Read the lake as it stood after this run (the beginning of its id, or `latest`), or before a later day than this
    /// was published
    #[arg(long, value_name = "RUN|DATE", help_heading = "Lake", value_parser = as_of)]
    as_of: Option<AsOf>,
    /// Your own views: a folder of .sql files, one query each [default: `views` beside --pipeline, else pipelines/views]
    #[arg(long, value_name = "DIR", help_heading = "Lake")]
    views: Option<PathBuf>,
}

impl View {
    /// What is published now, with the views of this folder, else the usual ones.
    pub(super) fn with_views(views: Option<PathBuf>) -> Self {
        Self { as_of: None, views }
    }
}

fn as_of(text: &str) -> Result<AsOf, String> {
    text.parse()
}

/// Where users' own views are looked for at last.
const DEFAULT_VIEWS: &str = "pipelines/views";

/// Where a lake is looked for at last.
const DEFAULT_LAKE: &str = "data/lake";

impl Target {
    /// Opens the lake.
    pub(super) async fn store(&self) -> Result<Store> {
        Store::readable(&self.location()?).await
    }

    /// The pipeline that is named, with how long it keeps things.
    pub(super) fn pipeline(&self) -> Result<Option<Pipeline>> {
        self.pipeline.as_deref().map(check::load).transpose()
    }

    /// Opens a session over what is published.
    pub(super) async fn session(&self) -> Result<Session> {
        Session::over(&self.store().await?, &Options::default()).await
    }

    /// Opens a session over what is published now or was earlier, with the user's own views.
    pub(super) async fn session_as(&self, view: &View) -> Result<Session> {
        Session::over(&self.store().await?, &self.options(view)?).await
    }

    /// What a session is opened with.
    pub(super) fn options(&self, view: &View) -> Result<Options> {
        let views = match (&view.views, &self.pipeline) {
            (Some(folder), _) if !folder.is_dir() => {
                return Err(Error::config(format!("`{}` is no folder", folder.display()))
                    .with_hint("`--views` names a folder of .sql files"));
            }
            (Some(folder), _) => user_views::load(folder)?.views_or_warned(),
            (None, Some(pipeline)) => {
                user_views::load(&pipeline.parent().unwrap_or(Path::new("")).join("views"))?.views_or_warned()
            }
            (None, None) => user_views::load(Path::new(DEFAULT_VIEWS))?.views_or_warned(),
        };
        let ledger = match self.pipeline()? {
            Some(pipeline) => Some(LedgerSource::of_pipeline(&pipeline)),
            None => Some(Path::new(DEFAULT_STATE)).filter(|path| path.is_file()).map(LedgerSource::of_file),
        };
        Ok(Options { as_of: view.as_of.clone(), views, ledger, ..Options::default() })
    }

    /// The pipeline's file, where one is named.
    pub(super) fn pipeline_file(&self) -> Option<&Path> {
        self.pipeline.as_deref()
    }

    /// The words that name this lake to another command, each after a space; none where none were said.
    pub(super) fn words(&self) -> String {
        let lake = self.lake.as_deref().map(|lake| format!(" --lake {}", quoted(lake)));
        let pipeline = || Some(format!(" --pipeline {}", quoted(&self.pipeline.as_ref()?.display().to_string())));
        lake.or_else(pipeline).unwrap_or_default()
    }

    /// The lake as messages name it.
    pub(super) fn name(&self) -> Result<String> {
        Ok(self.location()?.to_string())
    }

    fn location(&self) -> Result<Location> {
        if let Some(lake) = &self.lake {
            return parse(lake);
        }
        if let Some(pipeline) = &self.pipeline {
            return Ok(check::load_without_secrets(pipeline)?.lake.location);
        }
        if let Some(lake) = Environment::get("HUOPAN_LAKE") {
            return parse(&lake);
        }
        if Path::new(DEFAULT_LAKE).join("_huopan").is_dir() {
            return parse(DEFAULT_LAKE);
        }
        Err(Error::config(format!("no lake is named, and `{DEFAULT_LAKE}` is none"))
            .with_hint("say `--lake URL` or `--pipeline FILE`, set HUOPAN_LAKE, or try `huopan demo` first"))
    }
}

/// An address as it was typed. A folder stays as it is, relative to the working directory: messages repeat it so.
pub(super) fn parse(address: &str) -> Result<Location> {
    let is_of_bucket = address.contains("://") || address.starts_with("s3:") || address.starts_with("s3a:");
    if !address.trim().is_empty() && !is_of_bucket {
        return Ok(Location::Folder(address.into()));
    }
    Location::parse(address, Path::new("/"), &|name| Environment::get(name))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_./:=@%+,".contains(letter);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lake_is_named_to_another_command_as_it_was_named_to_this_one() {
        let lake = |lake: &str| Target { lake: Some(lake.to_owned()), pipeline: None }.words();
        assert_eq!(lake("s3://lake/here"), " --lake s3://lake/here");
        assert_eq!(lake("what's here"), r" --lake 'what'\''s here'");
        let pipeline = Target { lake: None, pipeline: Some("nightly.toml".into()) };
        assert_eq!(
            (pipeline.words(), Target::default().words()),
            (" --pipeline nightly.toml".to_owned(), String::new())
        );
    }
}
