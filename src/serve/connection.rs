//! One logged-in client: reads its messages, answers each, keeps what belongs to it.
//!
//! [`simple`] answers whole texts, [`extended`] prepared statements, [`commands`] what is no query; [`portal`] holds answers
//! that are read piece by piece.
//!
//! Invariant: nothing of a connection outlives it, and nothing of it is shared with another.

mod commands;
mod extended;
mod portal;
mod simple;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use datafusion::sql::sqlparser::ast::Statement;
use pgwire::api::results::FieldInfo;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{FieldDescription, RowDescription};
use pgwire::messages::response::{CommandComplete, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::ParameterStatus;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use self::extended::Prepared;
use self::portal::{Open, Portal};
use super::failure::{Failure, code};
use super::interrupt::Interrupt;
use super::lake::{Lake, Tables};
use super::message::Message;
use super::planned::{Query, plan};
use super::rows::Rows;
use super::settings::Settings;
use super::statement::Reader;
use super::wire::{Ended, Wire};
use crate::query::engine;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) lake: Lake,
    pub(super) reader: Reader,
}

/// A logged-in client.
pub(super) struct Connection {
    wire: Wire,
    shared: Arc<Shared>,
    user: String,
    settings: Settings,
    /// How often they were changed: what was planned before may say something else.
    settings_version: u64,
    interrupt: Arc<Interrupt>,
    /// The server ends.
    stop: CancellationToken,
    tables: Option<Arc<Tables>>,
    transaction: Transaction,
    /// The transaction has chosen the tables that it sees.
    has_snapshot: bool,
    statements: HashMap<String, Arc<Prepared>>,
    portals: HashMap<String, Portal>,
    statements_run: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    None,
    Open,
    /// Something in it failed: only its end is taken.
    Failed,
}

/// Why an answer breaks off.
#[derive(Debug)]
enum Stop {
    Failed(Failure),
    /// Nobody is there to be told.
    Gone,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What ends a statement early.
struct Limits {
    cancelled: CancellationToken,
    timeout: Option<(Duration, Instant)>,
}

impl Limits {
    /// When it must end.
    async fn end(&self) -> Failure {
        let timed_out = async {
            match self.timeout {
                Some((limit, deadline)) => {
                    tokio::time::sleep_until(deadline).await;
                    limit
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.cancelled.cancelled() => Failure::new(code::CANCELLED, "canceling statement due to user request"),
            limit = timed_out => Failure::new(code::CANCELLED, "canceling statement due to statement timeout")
                .with_hint(format!("it took longer than {} ms; ask for fewer days or rows", limit.as_millis())),
        }
    }
}

fn shutdown() -> Failure {
    Failure::fatal(code::SHUTDOWN, "terminating connection: the server ends")
}

impl Connection {
    pub(super) fn new(
        wire: Wire,
        shared: Arc<Shared>,
        user: String,
        settings: Settings,
        interrupt: Arc<Interrupt>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            wire,
            shared,
            user,
            settings,
            settings_version: 0,
            interrupt,
            stop,
            tables: None,
            transaction: Transaction::None,
            has_snapshot: false,
            statements: HashMap::new(),
            portals: HashMap::new(),
            statements_run: 0,
        }
    }

    /// Serves the client until it goes, breaks the protocol, or the server ends; how many statements it ran.
    pub(super) async fn serve(mut self) -> u64 {
        self.ready();
        let mut skips_to_sync = false;
        while self.flush().await.is_ok() {
            let message = tokio::select! {
                biased;
                () = self.stop.cancelled() => Err(Ended::Wrong(shutdown())),
                message = self.wire.message() => message,
            };
            let message = match message {
                Ok(Message::Terminate) | Err(Ended::Gone) => break,
                Ok(message) => message,
                Err(Ended::Wrong(failure)) => {
                    self.wire.put(&failure.message());
                    break;
                }
            };
            // After a failure a client is told no more until it asks where it is.
            if skips_to_sync && message != Message::Sync {
                continue;
            }
            let is_simple = matches!(message, Message::Query(_));
            skips_to_sync = false;
            match self.answer(message).await {
                Ok(()) => {}
                Err(Stop::Gone) => break,
                Err(Stop::Failed(failure)) => {
                    self.failed(&failure);
                    if failure.is_fatal {
                        break;
                    }
                    skips_to_sync = !is_simple;
                    if is_simple {
                        self.ready();
                    }
                }
            }
        }
        let Self { wire, statements_run, .. } = self;
        // A client that reads nothing is not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(1), wire.close()).await;
        statements_run
    }

    async fn answer(&mut self, message: Message) -> Result<(), Stop> {
        match message {
            Message::Query(sql) => self.simple(sql).await,
            Message::Parse { name, sql, types } => self.parse(name, sql, types).await,
            Message::Bind { portal, statement, formats, values, results } => {
                self.bind(portal, &statement, &formats, &values, results).await
            }
            Message::Describe(target) => self.describe(&target),
            Message::Execute { portal, rows_max } => self.execute(&portal, rows_max).await,
            Message::Close(target) => {
                self.close(&target);
                Ok(())
            }
            // What is written is sent before the next message is read.
            Message::Flush => Ok(()),
            Message::Sync => {
                self.end_of_statement();
                self.ready();
                Ok(())
            }
            Message::Copy => Ok(()),
            Message::Password(_) | Message::Terminate => Err(Failure::protocol("unexpected message").into()),
        }
    }

    fn failed(&mut self, failure: &Failure) {
        tracing::debug!(user = self.user, code = failure.code, "a statement failed");
        self.wire.put(&failure.message());
        if self.transaction == Transaction::Open {
            self.transaction = Transaction::Failed;
        }
        self.end_of_statement();
    }

    /// Outside of a transaction, open answers end with the statement.
    fn end_of_statement(&mut self) {
        if self.transaction == Transaction::None {
            self.portals.retain(|_, portal| portal.is_held);
        }
    }

    fn ready(&mut self) {
        let status = match self.transaction {
            Transaction::None => TransactionStatus::Idle,
            Transaction::Open => TransactionStatus::Transaction,
            Transaction::Failed => TransactionStatus::Error,
        };
        self.wire.put(&PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status)));
    }

    fn complete(&mut self, tag: String) {
        self.wire.put(&PgWireBackendMessage::CommandComplete(CommandComplete::new(tag)));
    }

    fn tell_columns(&mut self, columns: &[FieldInfo]) {
        let fields = columns.iter().map(FieldDescription::from).collect();
        self.wire.put(&PgWireBackendMessage::RowDescription(RowDescription::new(fields)));
    }

    fn tell_setting(&mut self, (name, value): (&'static str, String)) {
        self.wire.put(&PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.to_owned(), value)));
    }

    /// Sends what is written; the end of the server is the end of that, too.
    async fn flush(&mut self) -> Result<(), Stop> {
        tokio::select! {
            biased;
            sent = self.wire.flush() => sent.map_err(|_| Stop::Gone),
            () = self.stop.cancelled() => Err(Stop::Gone),
        }
    }

    /// The limits of a statement that begins now.
    fn limits(&self) -> Limits {
        let timeout = self.settings.statement_timeout().map(|limit| (limit, Instant::now() + limit));
        Limits { cancelled: self.interrupt.begin(), timeout }
    }

    /// Waits for work that is done elsewhere, unless the statement must end before.
    async fn wait<T>(&mut self, limits: &Limits, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            failure = limits.end() => Err(failure.into()),
            () = self.stop.cancelled() => Err(shutdown().into()),
            done = work => Ok(done),
            () = self.wire.gone() => Err(Stop::Gone),
        }
    }

    /// Does something on the engine's threads.
    async fn on_engine<T: Send + 'static>(
        &mut self,
        limits: &Limits,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Stop> {
        let work = engine::spawn(work).map_err(|error| Failure::of(&error))?;
        let broke_off = |_| Failure::new(code::INTERNAL, "the statement broke off: this is a bug in huopan").into();
        self.wait(limits, work).await?.map_err(broke_off)
    }

    /// The tables as they are now; within a transaction as its first query saw them.
    async fn tables(&mut self, limits: &Limits) -> Result<Arc<Tables>, Stop> {
        if let Some(tables) = self.tables.as_ref().filter(|_| self.has_snapshot) {
            return Ok(Arc::clone(tables));
        }
        let (shared, known) = (Arc::clone(&self.shared), self.tables.clone());
        let (user, settings) = (self.user.clone(), self.settings.clone());
        let opened = self.on_engine(limits, async move {
            let generation = shared.lake.generation().await?;
            match known {
                Some(known) if known.generation == generation => Ok(known),
                _ => shared.lake.tables(generation, &user, &settings).await.map(Arc::new),
            }
        });
        let tables = opened.await?.map_err(|error| {
            tracing::warn!(%error, "the lake cannot be read");
            Failure::of(&error)
        })?;
        self.tables = Some(Arc::clone(&tables));
        self.has_snapshot = self.transaction != Transaction::None;
        Ok(tables)
    }

    /// Plans a query over these tables.
    async fn plan(
        &mut self,
        limits: &Limits,
        tables: &Arc<Tables>,
        statement: &Statement,
        sql: &Arc<str>,
    ) -> Result<Query, Stop> {
        let (shared, tables) = (Arc::clone(&self.shared), Arc::clone(tables));
        let (statement, sql) = (statement.clone(), Arc::clone(sql));
        let planned = self.on_engine(limits, async move { plan(&tables, &shared.reader, &statement, &sql).await });
        Ok(planned.await??)
    }

    /// Sends the next rows of an answer, `rows_max` at most (0: all); how many, and whether there may be more.
    async fn send_rows(
        &mut self,
        limits: &Limits,
        open: &mut Open,
        columns: &[FieldInfo],
        rows_max: usize,
    ) -> Result<(usize, bool), Stop> {
        let fields = u16::try_from(columns.len()).unwrap_or(u16::MAX);
        let (mut sent, mut row) = (0, BytesMut::new());
        while rows_max == 0 || sent < rows_max {
            let batch = match open.rest.take() {
                Some(batch) => batch,
                None => match self.wait(limits, open.running.next()).await? {
                    Some(Ok(batch)) => batch,
                    Some(Err(error)) => return Err(open.failure(error).into()),
                    None => return Ok((sent, false)),
                },
            };
            let mut rows = Rows::new(&batch, columns)?;
            let mut taken = 0;
            while (rows_max == 0 || sent < rows_max) && rows.write_next(&mut row)? {
                self.wire.put_row(fields, &row);
                row.clear();
                (sent, taken) = (sent + 1, taken + 1);
                if self.wire.is_full() {
                    self.send_within(limits).await?;
                }
            }
            if taken < batch.num_rows() {
                open.rest = Some(batch.slice(taken, batch.num_rows() - taken));
            }
        }
        Ok((sent, true))
    }

    /// Sends what is written while a statement runs: it ends although its reader does not read.
    async fn send_within(&mut self, limits: &Limits) -> Result<(), Stop> {
        tokio::select! {
            biased;
            sent = self.wire.flush() => sent.map_err(|_| Stop::Gone),
            failure = limits.end() => Err(failure.into()),
            () = self.stop.cancelled() => Err(Stop::Gone),
        }
    }
}
