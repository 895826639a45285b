//! `huopan groups`: which offers compete.

use std::collections::BTreeMap;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::base::{Clock, Error, Result, SystemClock};
use crate::config::groups::{GroupLine, load_groups, read_groups};
use crate::groups::{self, Groups};
use crate::query::Session;
use crate::store::Store;

use super::output::Talk;
use super::target::Target;
use super::{Outcome, written};

/// A groups file is far smaller.
const STDIN_BYTES_MAX: u64 = 64 << 20;

/// A groups file to begin with.
pub(super) const EXAMPLE: &str = include_str!("../../data/sample/groups.csv");

/// `huopan groups`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan groups example > groups.csv               a file to begin with; edit it in any spreadsheet
  huopan groups load groups.csv                    from now on these offers compete; `-`: from standard input
  huopan groups show                               the groups, and how many offers are in each
  huopan sql -c \"select * from competitor_position(500) where position <= 3\"

The file is CSV (UTF-8, or GBK as Excel saves it) with the columns group, shop_id, offer_id, title, ours, quantity,
pack_size (or their Chinese headings, as `--labels zh` and xlsx write them); a line names one offer, the offers of a shop, or those whose title has the words of `title`
(`马克杯 陶瓷|骨瓷 -盖`: 马克杯, and 陶瓷 or 骨瓷, and no 盖), and only those that fit all that it says.")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a groups file and keep it in the lake, in place of the one before
    Load(Load),
    /// The groups of the lake, and how many offers are in each
    Show(Show),
    /// Print a groups file to begin with
    Example,
}

#[derive(Debug, Args)]
struct Load {
    /// The groups file; `-`: standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print the groups as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Show {
    /// Print the groups as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Arguments {
    /// Whether a failure is told as JSON, too.
    pub(super) fn prints_json(&self) -> bool {
        match &self.command {
            Command::Load(load) => load.json,
            Command::Show(show) => show.json,
            Command::Example => false,
        }
    }
}

pub(super) async fn main(arguments: &Arguments, talk: &Talk) -> Result<Outcome> {
    match &arguments.command {
        Command::Load(load) => {
            let (name, lines) = read(&load.file)?;
            let store = load.target.store().await?;
            let loaded = Groups::new(name, SystemClock.now(), lines);
            groups::write(&store, &loaded).await?;
            show(&load.target, &store, load.json, talk).await
        }
        Command::Show(arguments) => {
            let store = arguments.target.store().await?;
            show(&arguments.target, &store, arguments.json, talk).await
        }
        Command::Example => {
            written(write!(std::io::stdout(), "{EXAMPLE}"))?;
            Ok(Outcome::Done)
        }
    }
}

/// The lines of a groups file, and what it is called.
fn read(file: &Path) -> Result<(String, Vec<GroupLine>)> {
    if file != Path::new("-") {
        return Ok((file.display().to_string(), load_groups(file)?));
    }
    let (name, mut bytes) = ("standard input".to_owned(), Vec::new());
    let piped = std::io::stdin().lock().take(STDIN_BYTES_MAX).read_to_end(&mut bytes);
    piped.map_err(|cause| Error::config("cannot read standard input").caused_by(cause))?;
    let lines = read_groups(&name, &bytes)?;
    Ok((name, lines))
}

/// The groups with how many offers, shops and own offers are in each.
async fn show(target: &Target, store: &Store, is_json: bool, talk: &Talk) -> Result<Outcome> {
    let groups = groups::read(store).await?;
    if groups.lines.is_empty() && !is_json {
        return Err(Error::config("this lake has no groups").with_hint(format!(
            "load a file: `huopan groups load FILE{}`; `huopan groups example` prints one",
            target.words()
        )));
    }
    let counted = counts(&target.session().await?).await?;
    let none = Counted::default();
    let mut out = std::io::stdout().lock();
    if is_json {
        let group = |name: &str| {
            let counted = counted.get(name).unwrap_or(&none);
            let quantity = groups.lines.iter().filter(|line| line.group == name).find_map(|line| line.quantity);
            json!({"group": name, "quantity": quantity, "offers": counted.offers, "shops": counted.shops, "ours": counted.ours})
        };
        let listed: Vec<_> = groups.names().into_iter().map(group).collect();
        let document = json!({"file": groups.file, "loaded_at": groups.loaded_at, "groups": listed});
        written(writeln!(out, "{document}"))?;
    } else {
        for name in groups.names() {
            let counted = counted.get(name).unwrap_or(&none);
            written(writeln!(
                out,
                "{name}: {} offers of {} shops, {} our own",
                counted.offers, counted.shops, counted.ours
            ))?;
        }
    }
    for name in groups.names().into_iter().filter(|name| !counted.contains_key(*name)) {
        talk.say(&format!("warning: no offer of the last published day is in group `{name}`"));
    }
    Ok(Outcome::Done)
}

#[derive(Debug, Default)]
struct Counted {
    offers: i64,
    shops: i64,
    ours: i64,
}

async fn counts(session: &Session) -> Result<BTreeMap<String, Counted>> {
    let sql = "SELECT CAST(group_name AS VARCHAR), count(*), count(DISTINCT shop_id), count(*) FILTER (WHERE is_ours) \
               FROM group_offers GROUP BY 1";
    let mut counted = BTreeMap::new();
    for batch in session.sql(sql).await?.collect().await? {
        let name = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)
            .map_err(|cause| Error::internal("groups cannot be counted").caused_by(cause))?;
        let number = |column: usize| batch.column(column).as_primitive::<Int64Type>();
        for (row, name) in name.as_string::<i32>().iter().enumerate() {
            let value = |column| number(column).value(row);
            let group = Counted { offers: value(1), shops: value(2), ours: value(3) };
            counted.insert(name.unwrap_or_default().to_owned(), group);
        }
    }
    Ok(counted)
}
