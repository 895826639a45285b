//! `huopan lake verify`.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::Args;
use serde_json::json;

use crate::base::Result;
use crate::load::Snapshot;
use crate::load::verify::{Depth, Problem, Verified, verify};
use crate::query::{Options, Session};

use super::super::table::thousands;
use super::super::target::Target;
use super::super::{Outcome, written};
use super::size;

#[derive(Debug, Args)]
#[command(after_help = "What is looked at:
  the publish log     every publication can be read, none is missing, checkpoints agree with it
  files               every one that a publication names is there: size, digest, rows; what runs knew
  Delta tables        hold exactly the files that are published
  tables              tier and SKU counts, one run per picture, the numbers in `runs`, the calls

Exit codes: 0 all is well · 1 it is not")]
pub(super) struct Arguments {
    /// Read no data: names, sizes and logs only
    #[arg(long)]
    quick: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Something is wrong.
const EXIT_WRONG: u8 = 1;

pub(super) async fn main(arguments: &Arguments, target: &Target) -> Result<Outcome> {
    let store = target.store().await?;
    let depth = if arguments.quick { Depth::Quick } else { Depth::Full };
    let mut verified = verify(&store, depth).await?;
    // Queries over files that are known to be damaged would only say so again.
    let tables_compared = !arguments.quick && verified.problems.iter().all(|problem| problem.is_past);
    if tables_compared {
        let snapshot = Snapshot::load(&store).await?;
        let session = Session::open(&store, snapshot.clone(), &Options::default())?;
        verified.problems.extend(crate::query::verify::verify(&session, &snapshot).await?);
    }
    let text = match arguments.json {
        true => as_json(&verified, tables_compared),
        false => as_text(&verified, arguments.quick, tables_compared),
    };
    written(std::io::stdout().lock().write_all(text.as_bytes()))?;
    Ok(if verified.problems.is_empty() { Outcome::Done } else { Outcome::Code(EXIT_WRONG) })
}

fn as_text(verified: &Verified, quick: bool, tables_compared: bool) -> String {
    let mut text = String::new();
    for Problem { subject, what, remedy, .. } in &verified.problems {
        let _ = writeln!(text, "{subject}: {what}\n  → {remedy}");
    }
    let depth = match (quick, verified.undigested) {
        (true, _) => "by name and size".to_owned(),
        (false, 0) => "byte by byte".to_owned(),
        (false, old) => {
            format!("byte by byte, {} by size and rows only (written before there were digests)", thousands(old))
        }
    };
    let _ = writeln!(
        text,
        "{} publications, {} files, {} rows, {}: {depth}",
        thousands(verified.publications),
        thousands(verified.files),
        thousands(verified.rows),
        size(verified.bytes),
    );
    if verified.unnamed > 0 {
        let (files, bytes) = (thousands(verified.unnamed), size(verified.unnamed_bytes));
        let _ = writeln!(
            text,
            "{files} files ({bytes}) that no publication names: `huopan lake vacuum` says what of it may go"
        );
    }
    let not_compared =
        if tables_compared || quick { "" } else { "; the tables' contents were not compared because of it" };
    let _ = match verified.problems.len() {
        0 => writeln!(text, "all is well"),
        1 => writeln!(text, "1 problem{not_compared}"),
        problems => writeln!(text, "{problems} problems{not_compared}"),
    };
    text
}

fn as_json(verified: &Verified, tables_compared: bool) -> String {
    let problem =
        |problem: &Problem| json!({"subject": problem.subject, "what": problem.what, "remedy": problem.remedy});
    let json = json!({
        "ok": verified.problems.is_empty(),
        "publications": verified.publications,
        "files": verified.files,
        "bytes": verified.bytes,
        "rows": verified.rows,
        "files_with_digest": verified.digests,
        "unnamed_files": verified.unnamed,
        "unnamed_bytes": verified.unnamed_bytes,
        "tables_compared": tables_compared,
        "problems": verified.problems.iter().map(problem).collect::<Vec<_>>(),
    });
    format!("{json:#}\n")
}
