//! The lake as a server sees it: sessions over what is published now, and whether there is something newer.
//!
//! Invariant: a session shows one snapshot for as long as it lives.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::catalog::{self, PgCatalog};
use super::settings::Settings;
use super::users::Users;
use crate::base::{Error, Result};
use crate::load::log::{self, Names};
use crate::query::{Options, Session};
use crate::store::Store;

/// A bucket is listed no more often: each listing is a request.
const BUCKET_LISTED_EVERY: Duration = Duration::from_secs(1);

/// A lake that is served.
pub(super) struct Lake {
    store: Store,
    options: Options,
    catalog: PgCatalog,
    seen: Mutex<Seen>,
}

impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lake").field("url", self.store.url()).finish_non_exhaustive()
    }
}

/// The publish log as it was seen last.
struct Seen {
    at: Instant,
    names: BTreeMap<String, Names>,
    /// How often it has changed since the server started.
    generation: u64,
    /// The session whose tables the system catalog lists.
    listed: Session,
}

/// A session of one connection.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) session: Session,
    /// Which state of the lake it shows.
    pub(super) generation: u64,
    /// What the connection has set.
    settings: Arc<RwLock<Settings>>,
}

impl Tables {
    /// Makes the session know its connection's settings.
    pub(super) fn set(&self, settings: &Settings) {
        self.settings.write().unwrap_or_else(PoisonError::into_inner).clone_from(settings);
        catalog::set(self.session.context(), settings);
    }
}

impl Lake {
    /// Opens it, so that a lake that cannot be read is found when the server starts.
    pub(super) async fn open(store: Store, options: Options, users: Arc<Users>) -> Result<Self> {
        let catalog = PgCatalog::new(users)
            .map_err(|error| Error::internal("cannot set up the system catalog").caused_by(error))?;
        let names = log::names(&store).await?;
        let listed = Self::listed(&store, &options, &catalog).await?;
        let seen = Mutex::new(Seen { at: Instant::now(), names, generation: 0, listed });
        Ok(Self { store, options, catalog, seen })
    }

    async fn listed(store: &Store, options: &Options, catalog: &PgCatalog) -> Result<Session> {
        let session = Session::over(store, options).await?;
        catalog.install(session.context(), "", &Settings::new(None));
        catalog.list(&session).await?;
        Ok(session)
    }

    /// Which state of the lake is the newest.
    pub(super) async fn generation(&self) -> Result<u64> {
        let mut seen = self.seen.lock().await;
        if self.store.folder().is_none() && seen.at.elapsed() < BUCKET_LISTED_EVERY {
            return Ok(seen.generation);
        }
        let names = log::names(&self.store).await?;
        if names != seen.names {
            seen.listed = Self::listed(&self.store, &self.options, &self.catalog).await?;
            seen.names = names;
            seen.generation += 1;
        }
        seen.at = Instant::now();
        Ok(seen.generation)
    }

    /// A session for a connection, over what is published now; `generation` was asked just before.
    pub(super) async fn tables(&self, generation: u64, user: &str, settings: &Settings) -> Result<Tables> {
        let session = Session::over(&self.store, &self.options).await?;
        let settings = self.catalog.install(session.context(), user, settings);
        Ok(Tables { session, generation, settings })
    }
}
