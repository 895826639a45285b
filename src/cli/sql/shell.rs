//! What runs statements and commands, typed or read from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::text::nearest;
use crate::base::{Error, Result};
use crate::query::Session;
use crate::query::inspect::RelationKind;
use crate::query::output::{Format, Labels, Shape};

use super::super::output::Talk;
use super::super::target::{Target, View};
use super::ask::{Asked, Settings, Timing, ask};
use super::command::{self, Command, Switch};
use super::describe;
use super::pager::UsePager;
use super::params::Param;
use super::split::{Item, Piece, pieces};

/// Files that include files that include files: so deep, and no deeper.
const DEPTH_MAX: usize = 16;

/// Pipelines that are named in one line; of more, the number is said.
const PIPELINES_SHOWN: usize = 4;

/// A session with its settings.
pub(super) struct Shell<'t> {
    source: Source<'t>,
    pub(super) session: Arc<Session>,
    pub(super) settings: Settings,
    /// Where the next result goes, and how.
    once: Option<(PathBuf, Format)>,
    depth: usize,
    talk: &'t Talk,
}

/// What a session is opened over.
pub(super) struct Source<'t> {
    pub(super) target: &'t Target,
    pub(super) view: &'t View,
}

impl Source<'_> {
    async fn session(&self) -> Result<Session> {
        self.target.session_as(self.view).await
    }
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// The next statement.
    GoOn,
    /// Nothing: `\q`, or nobody reads any more.
    Stop,
    /// Nothing of this text: Ctrl-C.
    Interrupted,
}

impl<'t> Shell<'t> {
    /// Opens the lake.
    pub(super) async fn open(source: Source<'t>, settings: Settings, talk: &'t Talk) -> Result<Self> {
        let session = Arc::new(source.session().await?);
        Ok(Self { source, session, settings, once: None, depth: 0, talk })
    }

    /// `data/lake · nightly to 2026-11-20`
    pub(super) async fn about(&self) -> Result<String> {
        let store = self.source.target.store().await?;
        let place = store.folder().map_or_else(|| store.url().to_string(), |folder| folder.display().to_string());
        Ok(format!("{place} · {}", days(&self.session).await?))
    }

    /// Runs what a text says, up to the first failure; `name` is where the text is from.
    pub(super) async fn run(&mut self, text: &str, name: Option<&Path>) -> Result<Flow> {
        let pieces = pieces(text);
        for (number, piece) in pieces.iter().enumerate() {
            match self.piece(piece).await {
                Ok(Flow::GoOn) => {}
                Ok(flow) => return Ok(flow),
                Err(error) => {
                    if pieces.len() > 1 || name.is_some() {
                        self.talk.say(&place(number + 1, piece.line, name));
                    }
                    return Err(error);
                }
            }
        }
        Ok(Flow::GoOn)
    }

    async fn piece(&mut self, piece: &Piece<'_>) -> Result<Flow> {
        let sql = match piece.item {
            Item::Command(text) => return self.command(command::parse(text)?).await,
            Item::Statement(sql) => sql,
        };
        if let Some(command) = command::bare(sql) {
            return self.command(command).await;
        }
        let asked = match self.once.take() {
            None => ask(&self.session, sql, &self.settings, self.talk).await,
            Some((file, format)) => {
                let mut settings = Settings { file: Some(file), ..self.settings.clone() };
                settings.style.format = format;
                ask(&self.session, sql, &settings, self.talk).await
            }
        };
        Ok(match asked? {
            Asked::Done => Flow::GoOn,
            Asked::ReaderGone => Flow::Stop,
            Asked::Interrupted => {
                self.talk.say("interrupted");
                Flow::Interrupted
            }
        })
    }

    async fn command(&mut self, command: Command<'_>) -> Result<Flow> {
        match command {
            Command::Quit => return Ok(Flow::Stop),
            Command::Include(file) => return Box::pin(self.include(Path::new(file))).await,
            Command::Help => self.show(&describe::help())?,
            Command::Describe(None) => self.show(&describe::relations(&self.session, None).await?)?,
            Command::Describe(Some(name)) => self.show(&describe::one(&self.session, name).await?)?,
            Command::Tables => self.show(&describe::relations(&self.session, Some(RelationKind::Table)).await?)?,
            Command::Views => self.show(&describe::relations(&self.session, Some(RelationKind::View)).await?)?,
            Command::Functions(word) => self.show(&describe::functions(&self.session, word))?,
            Command::Questions => self.show(&describe::questions(&self.session).await?)?,
            Command::Refresh => {
                self.session = Arc::new(self.source.session().await?);
                self.talk.say(&days(&self.session).await?);
            }
            setting => self.set(setting)?,
        }
        Ok(Flow::GoOn)
    }

    /// Commands that change or say a setting.
    fn set(&mut self, command: Command<'_>) -> Result<()> {
        let layout = &mut self.settings.style.layout;
        let said = match command {
            Command::Format(None) => format!("format: {}", self.settings.style.format.name()),
            Command::Format(Some(name)) => {
                self.settings.style.format = format(name)?;
                return Ok(());
            }
            Command::Output(None) => {
                self.once = None;
                return Ok(());
            }
            Command::Output(Some(file)) => {
                let file = PathBuf::from(file);
                let format = format_of(&file, self.settings.style.format)?;
                let said = format!("the next result goes to {}, as {}", file.display(), format.name());
                self.once = Some((file, format));
                said
            }
            Command::Expanded(to) => {
                let is_on = switched(to, layout.shape == Shape::Expanded);
                layout.shape = if is_on { Shape::Expanded } else { Shape::Grid };
                format!("expanded: {}", on_off(is_on))
            }
            Command::Timing(to) => {
                let is_on = switched(to, self.settings.timing == Timing::On);
                self.settings.timing = if is_on { Timing::On } else { Timing::Off };
                format!("timing: {}", on_off(is_on))
            }
            Command::Pager(to) => {
                let is_on = switched(to, self.settings.pager == UsePager::WhereNeeded);
                self.settings.pager = if is_on { UsePager::WhereNeeded } else { UsePager::Never };
                format!("pager: {}", on_off(is_on))
            }
            Command::Labels(Some(name)) => {
                self.settings.style.labels = labels(name)?;
                return Ok(());
            }
            Command::Labels(None) => {
                let name = if self.settings.style.labels == Labels::Chinese { "zh" } else { "names" };
                format!("labels: {name}")
            }
            Command::Rows(Some(number)) => {
                layout.rows_max =
                    number.parse().map_err(|_| Error::config(format!("`{number}` is no number of rows")))?;
                return Ok(());
            }
            Command::Rows(None) => format!("rows: {}", layout.rows_max),
            Command::Set(Some((name, value))) => {
                self.settings.params.set(format!("{name}={value}").parse::<Param>()?);
                return Ok(());
            }
            Command::Set(None) => {
                let values =
                    self.settings.params.iter().map(|(name, value)| format!("${name} = {}", value.described()));
                values.collect::<Vec<_>>().join("\n")
            }
            Command::Unset(name) => match self.settings.params.unset(name.trim_start_matches('$')) {
                true => return Ok(()),
                false => return Err(Error::config(format!("there is no value for `${name}`"))),
            },
            _ => return Ok(()),
        };
        self.talk.say(&said);
        Ok(())
    }

    async fn include(&mut self, file: &Path) -> Result<Flow> {
        if self.depth >= DEPTH_MAX {
            return Err(Error::config(format!("`{}` includes itself", file.display())));
        }
        let text = read(file)?;
        self.depth += 1;
        let flow = self.run(&text, Some(file)).await;
        self.depth -= 1;
        flow
    }

    /// Text of ours, on standard output.
    fn show(&self, text: &str) -> Result<()> {
        super::paged(text, self.settings.pager)
    }
}

/// `statement 2, line 4 of q.sql:`
fn place(number: usize, line: usize, name: Option<&Path>) -> String {
    let of = name.map(|name| format!(" of {}", name.display())).unwrap_or_default();
    format!("statement {number}, line {line}{of}:")
}

/// The pipelines with their last days.
async fn days(session: &Session) -> Result<String> {
    let answer =
        session.sql("SELECT pipeline || ' to ' || CAST(dt AS VARCHAR) FROM days WHERE is_latest ORDER BY 1").await?;
    let mut bytes = Vec::new();
    let style = crate::query::output::Style { format: Format::Csv, ..Default::default() };
    let _ = crate::query::output::write_as(answer, style, &mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes);
    let pipelines: Vec<&str> = text.lines().skip(1).collect();
    if pipelines.is_empty() {
        return Ok("nothing is published yet".to_owned());
    }
    let more = pipelines.len().saturating_sub(PIPELINES_SHOWN);
    let shown = pipelines[..pipelines.len() - more].join(", ");
    Ok(if more == 0 { shown } else { format!("{shown} and {more} more") })
}

/// A file of statements; `-` is standard input.
pub(super) fn read(file: &Path) -> Result<String> {
    let text = match file == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(file),
    };
    let text = text.map_err(|error| Error::config(format!("cannot read `{}`", file.display())).caused_by(error))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The format of that name.
pub(super) fn format(name: &str) -> Result<Format> {
    let known = || Format::NAMES.iter().map(|(name, _)| *name);
    let found = Format::NAMES.iter().find(|(known, _)| *known == name).map(|(_, format)| *format);
    found.ok_or_else(|| {
        let error = Error::config(format!("there is no format `{name}`"));
        match nearest(name, known()) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint(format!("known are: {}", known().collect::<Vec<_>>().join(", "))),
        }
    })
}

/// The format that a file's name says, else `otherwise`, where that is one for files.
fn format_of(file: &Path, otherwise: Format) -> Result<Format> {
    match Format::of_file(file) {
        Some(format) => Ok(format),
        None if otherwise != Format::Table => Ok(otherwise),
        None => Err(no_ending(file, "`\\format NAME` before it")),
    }
}

/// A file's name says no format; `instead` is what does.
pub(super) fn no_ending(file: &Path, instead: &str) -> Error {
    let endings: Vec<&str> = Format::ENDINGS.iter().map(|(ending, _)| *ending).collect();
    Error::config(format!("the name `{}` says no format", file.display()))
        .with_hint(format!("say {instead}, or end it with one of: {}", endings.join(", ")))
}

fn labels(name: &str) -> Result<Labels> {
    match name {
        "names" => Ok(Labels::Names),
        "zh" => Ok(Labels::Chinese),
        _ => Err(Error::config(format!("there are no labels `{name}`")).with_hint("known are: names, zh")),
    }
}

fn switched(to: Option<Switch>, is_on: bool) -> bool {
    to.map_or(!is_on, |to| to == Switch::On)
}

fn on_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}
