//! `huopan report`: the tables as one page for people who would rather look.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::base::{Clock as _, Error, Result, SystemClock};
use crate::query::functions::PIECES_MAX;
use crate::report::{self, DAYS_MAX, Language};

use super::output::Talk;
use super::target::Target;
use super::{Environment, Outcome, written};

/// `huopan report`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan report                                    every group of the lake → report.html
  huopan report --group 保温杯500ml --pieces 50    one group, at another quantity than its own
  huopan report --title \"剪刀 加厚\" --pieces 500
                                                   the offers with these words in their titles
  huopan report -o - | ssh web 'cat > /srv/www/prices.html'

The page is one file that loads nothing from anywhere: it can be mailed, printed, or put on any web server. Groups come
from `huopan groups load FILE`; without them and without --title the largest shops are shown.")]
pub(super) struct Arguments {
    /// The file to write, `-` for standard output
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
    /// Only these groups
    #[arg(long, value_name = "NAME", num_args = 1..)]
    group: Vec<String>,
    /// Compare the offers whose titles hold all these words; may be given several times
    #[arg(long, value_name = "WORDS")]
    title: Vec<String>,
    /// The quantity to compare at, in pieces [default: that of each group, else 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=PIECES_MAX))]
    pieces: Option<i64>,
    /// How many days back prices are drawn
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=i64::from(DAYS_MAX)))]
    days: u16,
    /// The language that is shown first; the page has both [default: that of the environment]
    #[arg(long, value_enum)]
    lang: Option<Lang>,
    #[command(flatten)]
    target: Target,
}

/// A language of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lang {
    /// 中文
    Zh,
    /// English
    En,
}

pub(super) async fn main(arguments: &Arguments, talk: &Talk) -> Result<Outcome> {
    let session = arguments.target.session().await?;
    let options = report::Options {
        groups: arguments.group.clone(),
        titles: arguments.title.clone(),
        pieces: arguments.pieces,
        days: arguments.days,
        language: language(arguments.lang, Environment::get),
        now: SystemClock.now(),
        lake: arguments.target.name()?,
    };
    let page = report::build(&session, &options).await?;
    for name in &page.empty {
        let why = if arguments.title.contains(name) { "has all these words in its title" } else { "is in this group" };
        talk.say(&format!("warning: `{name}`: no offer of the last published day {why}"));
    }
    if arguments.output == Path::new("-") {
        written(std::io::stdout().write_all(page.html.as_bytes()))?;
        return Ok(Outcome::Done);
    }
    replace(&arguments.output, page.html.as_bytes()).map_err(|cause| {
        Error::storage(format!("cannot write `{}`", arguments.output.display()))
            .with_hint("make its folder writable, or name another file with `-o`")
            .caused_by(cause)
    })?;
    let what = match (page.has_groups, page.sections) {
        (true, 1) => "group",
        (true, _) => "groups",
        (false, 1) => "shop, for want of groups",
        (false, _) => "shops, for want of groups",
    };
    let kib = page.html.len().div_ceil(1024);
    talk.say(&format!("{}: {} {what}, {kib} KiB; open it in a browser", arguments.output.display(), page.sections));
    if !page.has_groups {
        talk.say("hint: say which offers compete with `huopan groups load FILE`, or `--title WORDS`");
    }
    Ok(Outcome::Done)
}

/// What is asked for, else what the environment speaks: the first of these variables that is set decides.
fn language(asked: Option<Lang>, environment: impl Fn(&str) -> Option<String>) -> Language {
    match asked {
        Some(Lang::Zh) => return Language::Chinese,
        Some(Lang::En) => return Language::English,
        None => {}
    }
    let set = |name: &&str| environment(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(set).unwrap_or_default();
    if locale.to_ascii_lowercase().starts_with("zh") { Language::Chinese } else { Language::English }
}

/// A reader of the file sees the old page or the new one, whole.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        // A pipe or a device keeps its name.
        return std::fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new().prefix(".report-").tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        temporary.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_speaks_what_is_asked_for_else_what_the_environment_speaks() {
        let of = |asked, set: &[(&str, &str)]| {
            language(asked, |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(of(None, &[("LANG", "zh_CN.UTF-8")]), Language::Chinese);
        assert_eq!(of(None, &[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "C")]), Language::English);
        assert_eq!(of(None, &[("LANG", "ZH_TW"), ("LC_ALL", "")]), Language::Chinese);
        assert_eq!(of(Some(Lang::En), &[("LANG", "zh_CN")]), Language::English);
        assert_eq!(of(None, &[]), Language::English);
    }
}
