//! What is no query: settings, transactions, cursors, cleaning up.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use bytes::{BufMut as _, BytesMut};
use pgwire::api::results::FieldInfo;

use super::portal::{Answer, Open, Portal, Source, What};
use super::simple::tag;
use super::{Connection, Limits, Stop, Transaction};
use crate::serve::failure::{Failure, code};
use crate::serve::rows;
use crate::serve::settings::Scope;
use crate::serve::statement::{Action, Parsed};

/// Cursors and portals of one connection.
const PORTALS_MAX: usize = 100;

impl Connection {
    /// In a failed transaction only its end is taken.
    pub(super) fn check_transaction(&self, action: &Action) -> Result<(), Stop> {
        let ends = matches!(action, Action::Commit | Action::Rollback | Action::Savepoint);
        if self.transaction == Transaction::Failed && !ends {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Failure::new(code::IN_FAILED_TRANSACTION, message).with_hint("send ROLLBACK").into());
        }
        Ok(())
    }

    /// Does a command and says so. `formats` are those of the extended protocol, in which columns are described apart.
    pub(super) async fn command(
        &mut self,
        limits: &Limits,
        parsed: Parsed,
        source: Option<Source>,
        formats: Option<&[i16]>,
    ) -> Result<(), Stop> {
        let Parsed { action, tag: name } = parsed;
        let mut name = name;
        match action {
            Action::Query(_) | Action::Nothing => {}
            Action::Set(values, scope) => self.set(&values, scope)?,
            Action::Reset(Some(setting)) => {
                let told = self.settings.reset(&setting)?;
                self.settings_changed(told);
            }
            Action::Reset(None) => {
                let told = self.settings.reset_all();
                self.settings_changed(told);
            }
            Action::Show(setting) => self.show(setting.as_deref(), formats)?,
            Action::Begin => self.begin(),
            Action::Commit | Action::Rollback => {
                // The end of what failed is a rollback, whatever it is called.
                let failed = self.transaction == Transaction::Failed;
                name = if failed || matches!(action, Action::Rollback) { "ROLLBACK" } else { "COMMIT" };
                self.end_transaction();
            }
            Action::Savepoint => self.savepoint(name)?,
            Action::Declare { cursor, is_binary, is_held, .. } => {
                let Some(source) = source else {
                    return Err(Failure::new(code::INTERNAL, "a cursor without a query").into());
                };
                self.declare(cursor, source, is_binary, is_held)?;
            }
            Action::Fetch { cursor, rows } => return self.fetch(limits, &cursor, rows, formats).await,
            Action::Close(Some(cursor)) => {
                if self.portals.remove(&cursor).is_none() {
                    return Err(unknown_cursor(&cursor).into());
                }
            }
            Action::Close(None) => self.portals.clear(),
            Action::Deallocate(Some(statement)) => {
                if self.statements.remove(&statement).is_none() {
                    let message = format!("prepared statement `{statement}` does not exist");
                    return Err(Failure::new(code::UNKNOWN_STATEMENT, message).into());
                }
            }
            Action::Deallocate(None) => self.statements.clear(),
            Action::DiscardAll => {
                self.statements.clear();
                self.portals.clear();
                let told = self.settings.reset_all();
                self.settings_changed(told);
            }
        }
        self.complete(name.to_owned());
        Ok(())
    }

    fn set(&mut self, values: &[(String, String)], scope: Scope) -> Result<(), Stop> {
        for (name, value) in values {
            // Outside of a transaction it would hold for nothing.
            if scope == Scope::Transaction && self.transaction == Transaction::None {
                self.settings.clone().set(name, value, scope)?;
                continue;
            }
            let told = self.settings.set(name, value, scope)?;
            self.settings_changed(told);
        }
        Ok(())
    }

    fn settings_changed(&mut self, told: impl IntoIterator<Item = (&'static str, String)>) {
        told.into_iter().for_each(|setting| self.tell_setting(setting));
        self.settings_version += 1;
        if let Some(tables) = &self.tables {
            tables.set(&self.settings);
        }
    }

    fn show(&mut self, setting: Option<&str>, formats: Option<&[i16]>) -> Result<(), Stop> {
        let columns = self.show_columns(setting, formats.unwrap_or_default())?;
        let rows = match setting {
            Some(name) => vec![vec![self.shown(name)?.1]],
            None => {
                let all = self.settings.all().into_iter();
                all.map(|(name, value)| vec![name.to_owned(), value, String::new()]).collect()
            }
        };
        if formats.is_none() {
            self.tell_columns(&columns);
        }
        for row in rows {
            let mut values = BytesMut::new();
            for value in &row {
                values.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
                values.put_slice(value.as_bytes());
            }
            self.wire.put_row(u16::try_from(row.len()).unwrap_or(u16::MAX), &values);
        }
        Ok(())
    }

    /// The columns of `SHOW`: that of one setting is called like it.
    pub(super) fn show_columns(&self, setting: Option<&str>, formats: &[i16]) -> Result<Vec<FieldInfo>, Failure> {
        let names = match setting {
            Some(name) => vec![self.shown(name)?.0],
            None => ["name", "setting", "description"].map(str::to_owned).to_vec(),
        };
        let fields: Vec<Field> = names.into_iter().map(|name| Field::new(name, DataType::Utf8, false)).collect();
        rows::columns(&Schema::new(fields), formats, &Arc::new(self.settings.formats()))
    }

    fn shown(&self, name: &str) -> Result<(String, String), Failure> {
        if name == "session_authorization" {
            return Ok((name.to_owned(), self.user.clone()));
        }
        let found = self.settings.show(name).map(|(name, value)| (name.to_owned(), value));
        found.ok_or_else(|| {
            Failure::new(code::UNKNOWN_SETTING, format!("unrecognized configuration parameter `{name}`"))
                .with_hint("`SHOW ALL` lists what there is; `SHOW TABLES` lists tables")
        })
    }

    fn begin(&mut self) {
        if self.transaction == Transaction::None {
            self.transaction = Transaction::Open;
        }
    }

    fn end_transaction(&mut self) {
        self.transaction = Transaction::None;
        self.has_snapshot = false;
        let told = self.settings.end_transaction();
        self.settings_changed(told);
        self.end_of_statement();
    }

    /// Going back to a savepoint undoes a failure, and nothing else: nothing is ever written.
    fn savepoint(&mut self, name: &str) -> Result<(), Stop> {
        if self.transaction == Transaction::None {
            let message = format!("{name} can only be used in transaction blocks");
            return Err(Failure::new(code::NO_TRANSACTION, message).into());
        }
        if self.transaction == Transaction::Failed {
            if name != "ROLLBACK" {
                return self.check_transaction(&Action::Nothing);
            }
            self.transaction = Transaction::Open;
        }
        Ok(())
    }

    fn declare(&mut self, cursor: String, source: Source, is_binary: bool, is_held: bool) -> Result<(), Stop> {
        if self.transaction == Transaction::None && !is_held {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(Failure::new(code::NO_TRANSACTION, message)
                .with_hint("send BEGIN first, or use WITH HOLD")
                .into());
        }
        let formats = vec![i16::from(is_binary)];
        let answer = self.answer_of(source, &formats, "FETCH")?;
        self.add_portal(cursor, Portal { what: What::Answer(Box::new(answer)), formats, is_held })
    }

    pub(super) fn answer_of(&self, source: Source, formats: &[i16], tag: &'static str) -> Result<Answer, Failure> {
        let options = Arc::new(self.settings.formats());
        let columns = rows::columns(&source.schema(), formats, &options)?;
        Ok(Answer { source, columns, tag, open: None, is_done: false })
    }

    /// The one without a name takes the place of the last; another's name must be free.
    pub(super) fn add_portal(&mut self, name: String, portal: Portal) -> Result<(), Stop> {
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(Failure::new(code::DUPLICATE_CURSOR, format!("cursor `{name}` already exists")).into());
        }
        if self.portals.len() >= PORTALS_MAX {
            let message = format!("a connection has at most {PORTALS_MAX} open cursors");
            return Err(Failure::new(code::LIMIT_EXCEEDED, message).into());
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    async fn fetch(
        &mut self,
        limits: &Limits,
        cursor: &str,
        rows: Option<usize>,
        formats: Option<&[i16]>,
    ) -> Result<(), Stop> {
        let columns = self.cursor_columns(cursor, formats)?;
        if formats.is_none() {
            self.tell_columns(&columns);
        }
        // It is out of the way while it is read, and gone if that fails.
        let mut portal = self.portals.remove(cursor).ok_or_else(|| unknown_cursor(cursor))?;
        let mut sent = 0;
        if let What::Answer(answer) = &mut portal.what
            && rows != Some(0)
        {
            sent = self.send_answer(limits, answer, &columns, rows.unwrap_or(0)).await?.0;
        }
        self.portals.insert(cursor.to_owned(), portal);
        self.complete(tag("FETCH", sent));
        Ok(())
    }

    /// The columns of a cursor in these formats; without any, as it was declared.
    pub(super) fn cursor_columns(&self, cursor: &str, formats: Option<&[i16]>) -> Result<Vec<FieldInfo>, Failure> {
        let portal = self.portals.get(cursor).ok_or_else(|| unknown_cursor(cursor))?;
        let What::Answer(answer) = &portal.what else { return Err(unknown_cursor(cursor)) };
        let schema = answer.source.schema();
        rows::columns(&schema, formats.unwrap_or(&portal.formats), &Arc::new(self.settings.formats()))
    }

    /// Sends the next rows of an answer, which begins if it has not; how many, and whether there may be more.
    pub(super) async fn send_answer(
        &mut self,
        limits: &Limits,
        answer: &mut Answer,
        columns: &[FieldInfo],
        rows_max: usize,
    ) -> Result<(usize, bool), Stop> {
        if answer.is_done {
            return Ok((0, false));
        }
        let open = match &mut answer.open {
            Some(open) => open,
            none => none.insert(Open::new(&answer.source)?),
        };
        let (sent, is_more) = self.send_rows(limits, open, columns, rows_max).await?;
        if !is_more {
            (answer.open, answer.is_done) = (None, true);
        }
        Ok((sent, is_more))
    }
}

fn unknown_cursor(name: &str) -> Failure {
    Failure::new(code::UNKNOWN_CURSOR, format!("cursor `{name}` does not exist"))
}
