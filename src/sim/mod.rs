//! Sim: a simulator of all the gateways, for tests, the demo, and trying a pipeline without credentials.
//!
//! [`start`] serves one deterministic world on localhost as five gateways speak it: portals, item-get, product-get,
//! shop-search and aop, with their signatures, limits, error envelopes and messy fields (the wire rules).
//! The world is a function of a seed and a date; days evolve. Faults come on request, also from the seed.
//!
//! ```text
//! server ─► desk ─► verify · limits · faults ─► gateways ─► world ─► offers ─► shapes, lives, history
//! (HTTP)    (judges each call)                  (envelopes)  (one day)          (each with its truth)
//! ```
//!
//! Invariant: imports nothing of the product but `base`; what it verifies and what it means by a field is
//! an independent reading of the rules.

mod answer;
mod control;
mod desk;
mod faults;
mod gate;
mod gateways;
mod history;
mod journal;
mod limits;
mod lives;
mod offers;
mod options;
mod random;
mod server;
mod shapes;
mod switches;
mod titles;
mod truth;
mod verify;
mod world;
mod xml;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use answer::Outcome;
pub use gate::Traffic;
pub use gateways::{Gateway, ListingOrder, ListingTotals, Listings, PageNumbers, SlowListing, WindowEnd};
pub use history::{History, Import, Spread};
pub use journal::{AccountStats, Entry, MethodStats, Stats};
pub use options::{Faults, Key, Limits, Options, QuotaBlock, QuotaScope, RetryAfter, Storm};
pub use truth::{CategoryTruth, OfferTruth, ShopTruth, SkuTruth, TierTruth, WorldTruth};
pub use verify::{Scheme, Signed};

use crate::base::{Error, Kind, Result};

/// Connections still open this long after a shutdown are dropped.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// A running simulator. Dropping it stops it as well, without waiting.
#[derive(Debug)]
pub struct Sim {
    addr: SocketAddr,
    desk: Arc<desk::Desk>,
    stop: CancellationToken,
    server: Option<JoinHandle<io::Result<()>>>,
}

/// Builds the world and starts to listen.
///
/// # Errors
/// [`Kind::Unavailable`] when the address cannot be listened on.
pub async fn start(options: Options) -> Result<Sim> {
    let cannot = |error: io::Error| {
        Error::new(Kind::Unavailable, format!("the simulator cannot listen on `{}`", options.listen))
            .with_hint("another program has the port: choose another one, or 0 for any")
            .caused_by(error)
    };
    let listener = TcpListener::bind(options.listen).await.map_err(cannot)?;
    let addr = listener.local_addr().map_err(cannot)?;
    let built = tokio::task::spawn_blocking(move || desk::Desk::new(options)).await;
    let desk =
        Arc::new(built.map_err(|error| Error::internal("the simulator's world cannot be built").caused_by(error))?);
    let stop = CancellationToken::new();
    let server = tokio::spawn(server::serve(listener, desk.clone(), stop.clone()));
    Ok(Sim { addr, desk, stop, server: Some(server) })
}

impl Sim {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base address of a gateway: what a pipeline writes as its `url`.
    #[must_use]
    pub fn url(&self, gateway: Gateway) -> String {
        format!("http://{}{}", self.addr, gateway.base_path())
    }

    /// The day the world stands at.
    #[must_use]
    pub fn day(&self) -> NaiveDate {
        self.desk.day().date
    }

    /// Moves the world to another day, forward or back; counters and quotas keep running on the clock.
    pub fn set_day(&self, date: NaiveDate) {
        self.desk.set_day(date);
    }

    /// The truth about the day, as far as this gateway's answers can tell it.
    #[must_use]
    pub fn world(&self, gateway: Gateway) -> WorldTruth {
        self.desk.world(gateway)
    }

    /// The truth about any day; the world stays where it is.
    #[must_use]
    pub fn world_on(&self, gateway: Gateway, date: NaiveDate) -> WorldTruth {
        self.desk.world_on(gateway, date)
    }

    /// Begins a storm of 429s, or ends it.
    pub fn set_storm(&self, storm: Option<Storm>) {
        self.desk.switches().set_storm(storm);
    }

    /// Changes what a key signs with.
    pub fn set_secret(&self, app_key: &str, secret: &str) {
        self.desk.switches().set_secret(app_key, secret);
    }

    /// Moves the gateways' own clock.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.desk.switches().set_clock_offset(seconds);
    }

    /// From now on no access token is good but those that are given anew.
    pub fn expire_tokens(&self) {
        self.desk.switches().expire_tokens();
    }

    /// Holds the answers of all calls from the one with this number on (the first call is 1); `None` lets all go.
    pub fn hold_from(&self, number: Option<u64>) {
        self.desk.gate().hold_from(number);
    }

    /// The calls up to now.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.desk.gate().traffic()
    }

    /// Waits until the traffic is like this.
    pub async fn until(&self, is_so: impl Fn(Traffic) -> bool) -> Traffic {
        self.desk.gate().until(is_so).await
    }

    /// Forgets the journal, its sums, the most that was seen of each account, and which attempts have failed, so that the
    /// same calls fail again; quotas go on.
    pub fn reset(&self) {
        self.desk.reset();
    }

    /// What all calls come to.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.desk.stats()
    }

    /// The newest calls, oldest first.
    #[must_use]
    pub fn journal(&self) -> Vec<Entry> {
        self.desk.journal(0, usize::MAX)
    }

    /// Stops listening, finishes the calls in flight, and returns when nothing runs any more.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the server had failed.
    pub async fn shutdown(mut self) -> Result<()> {
        self.stop.cancel();
        let Some(mut server) = self.server.take() else { return Ok(()) };
        let failed = |error: io::Error| Error::internal("the simulator's server failed").caused_by(error);
        match tokio::time::timeout(SHUTDOWN_MAX, &mut server).await {
            Ok(Ok(served)) => served.map_err(failed),
            Ok(Err(joined)) => Err(failed(io::Error::other(joined))),
            Err(_) => {
                server.abort();
                Ok(())
            }
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
