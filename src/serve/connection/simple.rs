//! Texts of statements, answered one after the other until one fails.

use std::sync::Arc;

use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::EmptyQueryResponse;

use super::portal::{Open, Source};
use super::{Connection, Limits, Stop};
use crate::serve::rows;
use crate::serve::statement::{Action, Parsed};

impl Connection {
    pub(super) async fn simple(&mut self, sql: String) -> Result<(), Stop> {
        // As in PostgreSQL, a whole text ends the statement without a name.
        self.statements.remove("");
        let sql: Arc<str> = sql.into();
        let limits = self.limits();
        let statements = self.read(&limits, &sql).await?;
        if statements.is_empty() {
            self.wire.put(&PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()));
        }
        for parsed in statements {
            let limits = self.limits();
            self.simple_one(&limits, parsed, &sql).await?;
        }
        self.end_of_statement();
        self.ready();
        Ok(())
    }

    /// The statements of a text.
    pub(super) async fn read(&mut self, limits: &Limits, sql: &Arc<str>) -> Result<Vec<Parsed>, Stop> {
        let (shared, sql) = (Arc::clone(&self.shared), Arc::clone(sql));
        let read = self.on_engine(limits, async move { shared.reader.parse(&sql) });
        Ok(read.await??)
    }

    async fn simple_one(&mut self, limits: &Limits, parsed: Parsed, sql: &Arc<str>) -> Result<(), Stop> {
        self.check_transaction(&parsed.action)?;
        self.statements_run += 1;
        let Action::Query(statement) = &parsed.action else {
            let source = match &parsed.action {
                Action::Declare { query, .. } => Some(self.source(limits, query, sql).await?),
                _ => None,
            };
            return self.command(limits, parsed, source, None).await;
        };
        let source = self.source(limits, statement, sql).await?;
        let formats = Arc::new(self.settings.formats());
        let columns = rows::columns(&source.schema(), &[], &formats)?;
        self.tell_columns(&columns);
        let mut open = Open::new(&source)?;
        let (sent, _) = self.send_rows(limits, &mut open, &columns, 0).await?;
        self.complete(tag(parsed.tag, sent));
        Ok(())
    }

    async fn source(
        &mut self,
        limits: &Limits,
        statement: &datafusion::sql::sqlparser::ast::Statement,
        sql: &Arc<str>,
    ) -> Result<Source, Stop> {
        let tables = self.tables(limits).await?;
        let query = self.plan(limits, &tables, statement, sql).await?;
        Ok(Source { tables, plan: query.typed, headings: query.headings, sql: Arc::clone(sql) })
    }
}

/// `SELECT 5`; what is no query is only named.
pub(super) fn tag(tag: &str, rows: usize) -> String {
    match tag {
        "SELECT" | "FETCH" => format!("{tag} {rows}"),
        tag => tag.to_owned(),
    }
}
