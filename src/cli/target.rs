//! Which lake a command is about.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::base::{Error, Result};
use crate::load::Snapshot;
use crate::query::{Options, Session};
use crate::store::Store;

use super::{Environment, check};

/// The lake to read.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Target {
    /// The lake's folder [default: $HUOPAN_LAKE, else the lake of --pipeline, else ./data/lake]
    #[arg(long, value_name = "DIR", help_heading = "Lake", global = true)]
    lake: Option<PathBuf>,
    /// Read the lake of this pipeline
    #[arg(long, value_name = "FILE", help_heading = "Lake", conflicts_with = "lake", global = true)]
    pipeline: Option<PathBuf>,
}

/// Where a lake is looked for at last.
const DEFAULT_LAKE: &str = "data/lake";

impl Target {
    /// Opens the lake.
    pub(super) fn store(&self) -> Result<Store> {
        Store::open_existing(&self.root()?)
    }

    /// Opens a session over what is published.
    pub(super) async fn session(&self) -> Result<Session> {
        let store = self.store()?;
        let snapshot = Snapshot::load(&store).await?;
        Session::open(&store, snapshot, &Options::default())
    }

    /// The pipeline's file, where one is named.
    pub(super) fn pipeline(&self) -> Option<&Path> {
        self.pipeline.as_deref()
    }

    fn root(&self) -> Result<PathBuf> {
        if let Some(lake) = &self.lake {
            return Ok(lake.clone());
        }
        if let Some(pipeline) = &self.pipeline {
            return Ok(check::load(pipeline)?.lake.root);
        }
        if let Some(lake) = Environment::get("HUOPAN_LAKE") {
            return Ok(lake.into());
        }
        let default = PathBuf::from(DEFAULT_LAKE);
        if default.join("_huopan").is_dir() {
            return Ok(default);
        }
        Err(Error::config(format!("no lake is named, and `{DEFAULT_LAKE}` is none"))
            .with_hint("say `--lake DIR` or `--pipeline FILE`, set HUOPAN_LAKE, or try `huopan demo` first"))
    }
}
