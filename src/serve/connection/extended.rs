//! Prepared statements: parsed once, bound to values, described, executed piece by piece.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::common::ParamValues;
use datafusion::sql::sqlparser::ast::Statement;
use pgwire::api::results::FieldInfo;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;

use super::portal::{Portal, Source, What};
use super::simple::tag;
use super::{Connection, Limits, Stop};
use crate::serve::arguments::{filled, sampled};
use crate::serve::failure::{Failure, code};
use crate::serve::lake::Tables;
use crate::serve::message::Target;
use crate::serve::planned::Query as PlannedQuery;
use crate::serve::rows;
use crate::serve::statement::{Action, Parsed};
use crate::serve::values::{Wanted, bound, wanted};

/// Prepared statements of one connection.
const STATEMENTS_MAX: usize = 1_000;

/// A statement that was parsed.
pub(super) struct Prepared {
    sql: Arc<str>,
    /// None: a text without a statement.
    parsed: Option<Parsed>,
    /// The types of values that the client named.
    stated: Vec<u32>,
    /// Of a query, over the tables and under the settings it was parsed for.
    planned: Option<Planned>,
}

#[derive(Clone)]
struct Planned {
    tables: Arc<Tables>,
    settings_version: u64,
    query: PlannedQuery,
    wanted: Vec<Wanted>,
    /// The columns that the client was told.
    described: SchemaRef,
    /// Functions take some of its values: it is planned again with them.
    has_arguments: bool,
}

/// What a statement would plan.
fn query_of(parsed: &Parsed) -> Option<&Statement> {
    match &parsed.action {
        Action::Query(statement) | Action::Declare { query: statement, .. } => Some(statement),
        _ => None,
    }
}

impl Connection {
    pub(super) async fn parse(&mut self, name: String, sql: String, stated: Vec<u32>) -> Result<(), Stop> {
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("prepared statement `{name}` already exists");
            return Err(Failure::new(code::DUPLICATE_STATEMENT, message).into());
        }
        if self.statements.len() >= STATEMENTS_MAX {
            let message = format!("a connection has at most {STATEMENTS_MAX} prepared statements");
            return Err(Failure::new(code::LIMIT_EXCEEDED, message).with_hint("send DEALLOCATE ALL").into());
        }
        let (limits, sql): (_, Arc<str>) = (self.limits(), sql.into());
        let mut statements = self.read(&limits, &sql).await?;
        if statements.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(Failure::new(code::SYNTAX, message).into());
        }
        let parsed = statements.pop();
        if let Some(parsed) = &parsed {
            self.check_transaction(&parsed.action)?;
        }
        let mut prepared = Prepared { sql, parsed, stated, planned: None };
        prepared.planned = self.planned(&limits, &prepared).await?;
        self.statements.insert(name, Arc::new(prepared));
        self.wire.put(&PgWireBackendMessage::ParseComplete(ParseComplete::new()));
        Ok(())
    }

    /// Plans a prepared query over the tables as they are now; `None`: it is no query.
    async fn planned(&mut self, limits: &Limits, prepared: &Prepared) -> Result<Option<Planned>, Stop> {
        let Some(query) = prepared.parsed.as_ref().and_then(query_of) else { return Ok(None) };
        let tables = self.tables(limits).await?;
        let settings_version = self.settings_version;
        let holds =
            |planned: &&Planned| Arc::ptr_eq(&planned.tables, &tables) && planned.settings_version == settings_version;
        if let Some(planned) = prepared.planned.as_ref().filter(holds) {
            return Ok(Some(planned.clone()));
        }
        let (arguments, sample) = sampled(query);
        let query = self.plan(limits, &tables, &sample, &prepared.sql).await?;
        let wanted = wanted(&query.typed, &prepared.stated, &arguments)?;
        let (described, has_arguments) = (query.described(&tables, &wanted), !arguments.is_empty());
        Ok(Some(Planned { tables, settings_version, query, wanted, described, has_arguments }))
    }

    /// A prepared query with its values.
    async fn with_values(
        &mut self,
        limits: &Limits,
        prepared: &Prepared,
        planned: Planned,
        values: Option<&ParamValues>,
    ) -> Result<Source, Stop> {
        let Planned { tables, mut query, described, has_arguments, .. } = planned;
        let sql = Arc::clone(&prepared.sql);
        if let (true, Some(values), Some(statement)) =
            (has_arguments, values, prepared.parsed.as_ref().and_then(query_of))
        {
            query = self.plan(limits, &tables, &filled(statement, values), &sql).await?;
        }
        let headings = query.headings.clone();
        let plan = query.with_values(&tables, values, &described, &sql)?;
        Ok(Source { tables, plan, headings, sql })
    }

    pub(super) async fn bind(
        &mut self,
        portal: String,
        statement: &str,
        formats: &[i16],
        values: &[Option<Bytes>],
        results: Vec<i16>,
    ) -> Result<(), Stop> {
        let prepared = self.prepared(statement)?;
        let limits = self.limits();
        let source = match self.planned(&limits, &prepared).await? {
            Some(planned) => {
                let values = bound(&planned.wanted, formats, values)?;
                Some(self.with_values(&limits, &prepared, planned, values.as_ref()).await?)
            }
            None => {
                bound(&[], formats, values)?;
                None
            }
        };
        let what = match (&prepared.parsed, source) {
            (None, _) => What::Empty,
            (Some(Parsed { action: Action::Query(_), tag }), Some(source)) => {
                What::Answer(Box::new(self.answer_of(source, &results, tag)?))
            }
            (Some(parsed), source) => What::Command(Box::new(parsed.clone()), source.map(Box::new)),
        };
        self.add_portal(portal, Portal { what, formats: results, is_held: false })?;
        self.wire.put(&PgWireBackendMessage::BindComplete(BindComplete::new()));
        Ok(())
    }

    pub(super) fn describe(&mut self, target: &Target) -> Result<(), Stop> {
        let columns = match target {
            Target::Statement(name) => {
                let prepared = self.prepared(name)?;
                let wanted = prepared.planned.iter().flat_map(|planned| &planned.wanted);
                let types = wanted.map(|wanted| wanted.pg_type.oid()).collect();
                self.wire.put(&PgWireBackendMessage::ParameterDescription(ParameterDescription::new(types)));
                self.statement_columns(&prepared)?
            }
            Target::Portal(name) => self.portal_columns(name)?,
        };
        match columns {
            Some(columns) => self.tell_columns(&columns),
            None => self.wire.put(&PgWireBackendMessage::NoData(NoData::new())),
        }
        Ok(())
    }

    fn statement_columns(&self, prepared: &Prepared) -> Result<Option<Vec<FieldInfo>>, Failure> {
        let Some(parsed) = &prepared.parsed else { return Ok(None) };
        match (&parsed.action, &prepared.planned) {
            (Action::Query(_), Some(planned)) => {
                let options = Arc::new(self.settings.formats());
                rows::columns(&planned.described, &[], &options).map(Some)
            }
            (action, _) => self.command_columns(action, &[]),
        }
    }

    fn portal_columns(&self, name: &str) -> Result<Option<Vec<FieldInfo>>, Failure> {
        let portal = self.portals.get(name).ok_or_else(|| unknown_portal(name))?;
        match &portal.what {
            What::Empty => Ok(None),
            What::Answer(answer) => Ok(Some(answer.columns.clone())),
            What::Command(parsed, _) => self.command_columns(&parsed.action, &portal.formats),
        }
    }

    /// The columns of a command that gives rows.
    fn command_columns(&self, action: &Action, formats: &[i16]) -> Result<Option<Vec<FieldInfo>>, Failure> {
        match action {
            Action::Show(setting) => self.show_columns(setting.as_deref(), formats).map(Some),
            Action::Fetch { cursor, .. } => self.cursor_columns(cursor, Some(formats)).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) async fn execute(&mut self, name: &str, rows_max: usize) -> Result<(), Stop> {
        // It is out of the way while it is read, and gone if that fails.
        let mut portal = self.portals.remove(name).ok_or_else(|| unknown_portal(name))?;
        let limits = self.limits();
        match &mut portal.what {
            What::Empty => self.wire.put(&PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())),
            What::Command(parsed, source) => {
                self.check_transaction(&parsed.action)?;
                self.statements_run += 1;
                let (parsed, source) = (Parsed::clone(parsed), source.take().map(|source| *source));
                return self.command(&limits, parsed, source, Some(&portal.formats)).await;
            }
            What::Answer(answer) => {
                self.check_transaction(&Action::Nothing)?;
                self.statements_run += u64::from(answer.open.is_none());
                let (columns, name_of_rows) = (answer.columns.clone(), answer.tag);
                let (sent, is_more) = self.send_answer(&limits, answer, &columns, rows_max).await?;
                match is_more {
                    true => self.wire.put(&PgWireBackendMessage::PortalSuspended(PortalSuspended::new())),
                    false => self.complete(tag(name_of_rows, sent)),
                }
            }
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    pub(super) fn close(&mut self, target: &Target) {
        match target {
            Target::Statement(name) => drop(self.statements.remove(name)),
            Target::Portal(name) => drop(self.portals.remove(name)),
        }
        self.wire.put(&PgWireBackendMessage::CloseComplete(CloseComplete::new()));
    }

    fn prepared(&self, name: &str) -> Result<Arc<Prepared>, Failure> {
        self.statements
            .get(name)
            .cloned()
            .ok_or_else(|| Failure::new(code::UNKNOWN_STATEMENT, format!("prepared statement `{name}` does not exist")))
    }
}

fn unknown_portal(name: &str) -> Failure {
    Failure::new(code::UNKNOWN_CURSOR, format!("portal `{name}` does not exist"))
}
