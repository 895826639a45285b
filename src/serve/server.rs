//! Accepts clients and keeps them within bounds.
//!
//! | bound | what happens beyond it |
//! |---|---|
//! | clients that are logged in | a refusal that says so (`53300`) |
//! | clients that are not yet | the oldest of them is dropped, so that who is in earnest gets in |
//! | time to log in | the client is dropped |
//!
//! Invariant: however many connect, memory and open files stay bounded, and those that are logged in go on.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pgwire::tokio::TlsAcceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Connection, Shared};
use super::interrupt::Interrupts;
use super::lake::Lake;
use super::settings::Settings;
use super::startup::{Door, Entered, Tls};
use super::statement::Reader;
use super::users::Users;
use crate::base::{Error, Result};
use crate::query;
use crate::store::Store;

/// Clients that have connected and not yet logged in.
const WAITING_MAX: usize = 200;
/// How long a login may take.
const LOGIN_WITHIN: Duration = Duration::from_secs(10);
/// How long connections have to end when the server does.
const END_WITHIN: Duration = Duration::from_secs(5);
/// After a failure to accept (no more open files) others get time to close theirs.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Threads that talk to clients.
const WIRE_THREADS: usize = 2;
/// Plans that nest deeply are dropped with recursion. Only what is used is taken.
const STACK_BYTES: usize = 64 << 20;

/// How a server serves.
pub struct Options {
    /// Who may log in; with nobody in it, everybody may.
    pub users: Users,
    /// With it, only TLS is spoken.
    pub tls: Option<TlsAcceptor>,
    /// Clients that are logged in at a time.
    pub connections_max: NonZeroUsize,
    /// How long a statement may take; none: as long as it wants.
    pub statement_timeout: Option<Duration>,
    /// What each connection's queries may use.
    pub query: query::Options,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { connections_max, statement_timeout, query, .. } = self;
        let mut shown = f.debug_struct("Options");
        shown.field("connections_max", connections_max).field("statement_timeout", statement_timeout);
        shown.field("query", query).finish_non_exhaustive()
    }
}

/// A server that can serve: its lake has been read.
#[derive(Debug)]
pub struct Server {
    door: Arc<Door>,
    shared: Arc<Shared>,
    wire: Threads,
}

impl Server {
    /// Opens a lake to serve it.
    ///
    /// # Errors
    /// `Storage` or `Data` if the lake cannot be read; [`Kind::Internal`](crate::base::Kind::Internal) without threads.
    pub async fn open(store: Store, options: Options) -> Result<Self> {
        let users = Arc::new(options.users);
        let lake = Lake::open(store, options.query, Arc::clone(&users)).await?;
        let wire = Threads::new("serve-wire", WIRE_THREADS)?;
        let shared = Shared { lake, reader: Reader::default() };
        let connections_max = options.connections_max.get();
        let door = Door {
            asks_passwords: !users.is_empty(),
            users,
            tls: options.tls.map(Tls),
            settings: Settings::new(options.statement_timeout),
            interrupts: Arc::new(Interrupts::default()),
            places: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
            connections_max,
            secret: rand::random(),
        };
        Ok(Self { door: Arc::new(door), shared: Arc::new(shared), wire })
    }

    /// Serves until `stop` is cancelled; connections are told and closed then.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::base::Kind::Internal) without threads.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> Result<()> {
        let (tasks, waiting, wire) = (TaskTracker::new(), Arc::new(Waiting::default()), self.wire.handle()?);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (socket, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                    continue;
                }
            };
            let (door, shared) = (Arc::clone(&self.door), Arc::clone(&self.shared));
            let (place, stop) = (waiting.enter(), stop.clone());
            tasks.spawn_on(async move { client(socket, address, &door, shared, place, stop).await }, &wire);
        }
        drop(listener);
        tasks.close();
        if tokio::time::timeout(END_WITHIN, tasks.wait()).await.is_err() {
            tracing::warn!(connections = tasks.len(), "connections did not end in time: they are dropped");
        }
        Ok(())
    }
}

/// One client from its first byte to its last.
async fn client(
    socket: TcpStream,
    address: SocketAddr,
    door: &Door,
    shared: Arc<Shared>,
    waiting: InLine,
    stop: CancellationToken,
) {
    // Without it small answers wait for the client's acknowledgement.
    let _ = socket.set_nodelay(true);
    let entered = tokio::select! {
        entered = tokio::time::timeout(LOGIN_WITHIN, door.enter(socket, address)) => entered,
        () = waiting.dropped.cancelled() => return tracing::debug!(%address, "dropped: too many wait to log in"),
        () = stop.cancelled() => return,
    };
    drop(waiting);
    let Ok(entered) = entered else { return tracing::debug!(%address, "dropped: it did not log in in time") };
    let Some(Entered { wire, user, settings, registered, place }) = entered else { return };
    let interrupt = Arc::clone(&registered.interrupt);
    let statements = Connection::new(wire, shared, user.clone(), settings, interrupt, stop).serve().await;
    tracing::info!(user = ?user, %address, statements, "a connection ended");
    drop((registered, place));
}

/// Those that are not yet logged in, the oldest first.
#[derive(Debug, Default)]
struct Waiting(Mutex<Line>);

#[derive(Debug, Default)]
struct Line {
    next: u64,
    clients: VecDeque<(u64, CancellationToken)>,
}

/// A client's place in the line, until it is dropped.
struct InLine {
    line: Arc<Waiting>,
    number: u64,
    /// Others came after it, and it has had its time.
    dropped: CancellationToken,
}

impl Waiting {
    fn enter(self: &Arc<Self>) -> InLine {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if line.clients.len() >= WAITING_MAX
            && let Some((_, oldest)) = line.clients.pop_front()
        {
            oldest.cancel();
        }
        let (number, dropped) = (line.next, CancellationToken::new());
        line.next += 1;
        line.clients.push_back((number, dropped.clone()));
        InLine { line: Arc::clone(self), number, dropped }
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let mut line = self.line.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.clients.retain(|(number, _)| *number != self.number);
    }
}

/// Threads of one purpose; dropped, they end with what they have not finished.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Threads {
    fn new(name: &str, count: usize) -> Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(count).thread_name(name).thread_stack_size(STACK_BYTES).enable_all();
        let runtime = builder.build().map_err(|error| Error::internal("cannot start threads").caused_by(error))?;
        Ok(Self(Some(runtime)))
    }

    fn handle(&self) -> Result<tokio::runtime::Handle> {
        let runtime = self.0.as_ref().ok_or_else(|| Error::internal("the threads have ended"))?;
        Ok(runtime.handle().clone())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A server may be dropped where nothing may block.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_for_the_newest() {
        let waiting = Arc::new(Waiting::default());
        let mut line: Vec<InLine> = (0..WAITING_MAX).map(|_| waiting.enter()).collect();
        assert!(line.iter().all(|client| !client.dropped.is_cancelled()));
        line.push(waiting.enter());
        assert!(line[0].dropped.is_cancelled() && !line[1].dropped.is_cancelled());
        line.remove(5);
        line.push(waiting.enter());
        assert!(!line[1].dropped.is_cancelled(), "one has gone: there was room");
    }
}
