//! `huopan sql`: statements from arguments, files and pipes, rows into files, and the shell on a real terminal (that of
//! util-linux's `script`).

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use huopan::query::views;
use huopan::transform::contract::Table;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::cli::one_night;
use crate::support::{Ended, Place, ended, huopan};

async fn sql(place: &Place, arguments: &[&str]) -> Ended {
    huopan(place.path(), &[&["sql", "--lake", "lake"], arguments].concat()).await
}

/// What a command says to standard output when statements come through a pipe.
async fn piped(place: &Place, text: &str) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_huopan"))
        .args(["--log", "text", "sql", "--lake", "lake", "--format", "csv"])
        .current_dir(place.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).await.unwrap();
    drop(stdin);
    ended(child).await
}

#[tokio::test]
async fn statements_run_one_after_the_other_until_one_fails() {
    let (place, _sim) = one_night().await;
    place.write("q.sql", "\u{feff}-- first\nselect ';' as a; -- ;\nselect 2 as b;\n");
    let csv = |text: &str| (0, text.to_owned(), String::new());
    let told = |ended: Ended| (ended.code, ended.stdout, ended.stderr);
    assert_eq!(
        told(sql(&place, &["-c", "select 1 as a; select 2 as b", "--format", "csv"]).await),
        csv("a\n1\nb\n2\n")
    );
    assert_eq!(
        told(sql(&place, &["-c", "select 1 as a", "-c", "select 2 as b;", "--format", "csv"]).await),
        csv("a\n1\nb\n2\n")
    );
    assert_eq!(told(sql(&place, &["-f", "q.sql", "--format", "csv"]).await), csv("a\n;\nb\n2\n"));
    assert_eq!(told(piped(&place, "select 1 as a;\n\nselect 2 as b").await), csv("a\n1\nb\n2\n"));
    place.write("bad.sql", "select 1 as a;\n\nselect nosuch;\nselect 3;\n");
    let failed = sql(&place, &["-f", "bad.sql", "--format", "csv"]).await;
    assert_eq!((failed.code, failed.stdout.as_str()), (1, "a\n1\n"));
    assert!(failed.stderr.starts_with("statement 2, line 3 of bad.sql:\nerror: "), "{failed:?}");
    for text in ["", " -- nothing\n;", "\n"] {
        let ended = piped(&place, text).await;
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.starts_with("error: there is no query"), "{ended:?}");
    }
}

#[tokio::test]
async fn parameters_are_values_wherever_a_literal_can_stand() {
    let (place, _sim) = one_night().await;
    let query = "select count(*) > 0 as some, $1 as one, $price as p, $t as t from price_at($n, $d) limit $n";
    let params =
        ["--param", "n=500", "--param", "d=2026-11-20", "--param", "price=12.50", "--param", "t='; --", "-p", "-7"];
    let ended = sql(&place, &[&["-c", query, "--format", "csv"], &params[..]].concat()).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "some,one,p,t\ntrue,-7,12.50,'; --\n"), "{ended:?}");
    let ended = sql(&place, &["-c", "select $piece", "--param", "pieces=1"]).await;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (1, "error: there is no value for `$piece`\nhint: did you mean `$pieces`?\n")
    );
}

#[tokio::test]
async fn a_file_has_the_format_of_its_name_and_appears_when_it_is_whole() {
    let (place, _sim) = one_night().await;
    let query = "select offer_id, title, price, dt from offers order by offer_id";
    for (name, start) in [
        ("rows.csv", &b"offer_id,title"[..]),
        ("rows.jsonl", b"{\"offer_id\":"),
        ("rows.md", b"| offer_id"),
        ("rows.xlsx", b"PK\x03\x04"),
        ("rows.parquet", b"PAR1"),
        ("rows.arrow", b"ARROW1"),
        ("rows.arrows", b"\xff\xff\xff\xff"),
    ] {
        let ended = sql(&place, &["-c", query, "-o", name]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{name}: {ended:?}");
        assert!(ended.stderr.ends_with(&format!("rows in {name}\n")), "{ended:?}");
        assert!(std::fs::read(place.path().join(name)).unwrap().starts_with(start), "{name}");
    }
    let ended = sql(&place, &["-c", query, "-o", "excel.csv", "--bom", "--labels", "zh"]).await;
    assert_eq!(ended.code, 0);
    let text = std::fs::read_to_string(place.path().join("excel.csv")).unwrap();
    assert!(text.starts_with("\u{feff}商品编号,标题,报价,日期\n"), "{text}");
    // The fourth row fails after others were written.
    let failing = "select 1 / (4 - n) as q from (values (1), (2), (3), (4)) as t(n)";
    let ended = sql(&place, &["-c", failing, "-o", "rows.csv"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(std::fs::read(place.path().join("rows.csv")).unwrap().starts_with(b"offer_id,title"), "the old file stays");
    let names = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names.filter(|name| name.contains(".huopan-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn options_that_do_not_go_together_are_refused_before_anything_runs() {
    let place = Place::new();
    for (arguments, part) in [
        (
            &["-c", "select 1; select 2", "-o", "a.csv"][..],
            "`a.csv` can hold the rows of one statement, and there are 2",
        ),
        (&["-c", "select 1", "-o", "a.xls"], "the name `a.xls` says no format"),
        (&["-c", "select 1", "--bom"], "`--bom` is for csv, not for table"),
        (&["-c", "select 1", "--labels", "zh", "--format", "json"], "`--labels` is for table, csv, markdown and xlsx"),
    ] {
        let ended = sql(&place, arguments).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(ended.stderr.contains(part), "{arguments:?}: {}", ended.stderr);
    }
    let ended = sql(&place, &["-c", "select 1", "-f", "q.sql"]).await;
    assert!(ended.code == 2 && ended.stderr.contains("cannot be used with"), "{ended:?}");
}

#[tokio::test]
async fn help_names_every_table_view_and_function() {
    let place = Place::new();
    let ended = huopan(place.path(), &["sql", "--help"]).await;
    let views = views::VIEWS.iter().chain(views::FUNCTIONS).map(|view| view.name);
    for name in views.chain(Table::ALL.map(Table::name)).chain(["days", "groups", "ledger"]) {
        assert!(ended.stdout.contains(name), "{name}: {}", ended.stdout);
    }
}

#[tokio::test]
async fn commands_work_without_a_terminal_too() {
    let (place, _sim) = one_night().await;
    let ended = sql(&place, &["-c", "\\d offers"]).await;
    assert!(ended.stdout.contains("商品编号") && ended.stdout.contains("long"), "{ended:?}");
    let ended = sql(&place, &["-c", "\\d"]).await;
    for part in ["Tables:\n  calls ", "Views:\n  delisted_offers ", "Functions stand after FROM, too", "`\\df`"] {
        assert!(ended.stdout.contains(part), "{part}: {ended:?}");
    }
    let tables = sql(&place, &["-c", "\\dt"]).await.stdout;
    assert!(tables.contains("  offers ") && !tables.contains("delisted_offers"), "{tables}");
    let ended = sql(&place, &["-c", "\\views"]).await;
    for part in ["price_changes\n", "price_at(pieces [, dt])\n", "SELECT shop_name, title"] {
        assert!(ended.stdout.contains(part), "{part}: {ended:?}");
    }
    place.write("inner.sql", "select $n as n;");
    let ended = piped(&place, "\\set n 5\n\\i inner.sql\n\\o out.jsonl\nselect 1 as a; select 2 as b;").await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "n\n5\nb\n2\n"), "{ended:?}");
    assert_eq!(std::fs::read_to_string(place.path().join("out.jsonl")).unwrap(), "{\"a\":1}\n");
    let ended = sql(&place, &["-c", "\\veiws"]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("did you mean `\\views`?"), "{ended:?}");
}

/// The shell on a terminal.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    /// What was seen and not asked for yet.
    seen: String,
}

impl Terminal {
    /// `None`, said: `script` is not installed.
    #[expect(clippy::print_stderr, reason = "a test that tests nothing says so")]
    async fn start(place: &Place) -> Option<Self> {
        let shell = format!("stty cols 120 rows 40; {} sql --lake lake --no-pager", env!("CARGO_BIN_EXE_huopan"));
        let child = Command::new("script")
            .args(["-qefc", &shell, "/dev/null"])
            .current_dir(place.path())
            .env("HUOPAN_HISTORY", place.path().join("kept/history"))
            .env("NO_COLOR", "1")
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("SKIPPED: `script` is not installed");
            return None;
        };
        let (keys, screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut terminal = Self { child, keys, screen, seen: String::new() };
        terminal.until("\\q to leave").await;
        terminal.until("huopan> ").await;
        Some(terminal)
    }

    async fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).await.unwrap();
        self.keys.flush().await.unwrap();
    }

    /// The shell leaves by itself.
    async fn ends(&mut self) {
        let ended = tokio::time::timeout(Duration::from_secs(120), self.child.wait()).await;
        assert!(ended.is_ok_and(|status| status.unwrap().success()), "{:?}", self.seen);
    }

    /// What is shown up to and with a text.
    async fn until(&mut self, text: &str) -> String {
        let wait = tokio::time::timeout(Duration::from_secs(120), async {
            let mut bytes = [0; 4096];
            while !self.seen.contains(text) {
                match self.screen.read(&mut bytes).await {
                    Ok(length @ 1..) => self.seen.push_str(&String::from_utf8_lossy(&bytes[..length])),
                    _ => panic!("the terminal closed before {text:?}: {:?}", self.seen),
                }
            }
        });
        if wait.await.is_err() {
            panic!("{text:?} does not come: {:?}", self.seen);
        }
        let end = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..end).collect()
    }
}

fn history(place: &Place) -> String {
    std::fs::read_to_string(place.path().join("kept/history")).unwrap_or_default()
}

#[tokio::test]
async fn the_shell_edits_completes_and_remembers() {
    let (place, _sim) = one_night().await;
    let Some(mut terminal) = Terminal::start(&place).await else { return };
    terminal.keys("sel\t 40 +\r").await;
    terminal.until("`;` runs it").await;
    terminal.keys("2 as n;\r").await;
    terminal.until("│ 42 │").await;
    terminal.keys("select count(*) > 0 as some from off\t o where o.offer_i\t > 0;\r").await;
    terminal.until("│ true │").await;
    terminal.keys("select '马克杯\r").await;
    terminal.until("a string is open").await;
    terminal.keys("' as t;\r").await;
    terminal.until("│ 马克杯  │").await;
    // A command may stand between the lines of a statement, which goes on after it.
    terminal.keys("select 41 +\r\\rows\r").await;
    terminal.until("rows: 1000").await;
    terminal.keys("2 as n;\r").await;
    terminal.until("│ 43 │").await;
    terminal.keys("help\r").await;
    terminal.until("leave (so do `exit`, `quit` and Ctrl-D)").await;
    terminal.until("huopan> ").await;
    terminal.keys(" select 'secret' as s;\r").await;
    terminal.until("│ secret │").await;
    terminal.keys("selec 1;\r").await;
    terminal.until("error: ").await;
    terminal.keys("\\d price_at\r").await;
    terminal.until("buyable").await;
    terminal.keys("\\veiws\r").await;
    terminal.until("did you mean `\\views`?").await;
    terminal.keys("not this").await;
    terminal.until("not this").await;
    terminal.keys("\x03").await;
    terminal.until("huopan> ").await;
    terminal.keys("\\x\rselect 7 as seven;\r").await;
    terminal.until("seven │ 7").await;
    terminal.keys("\x04").await;
    let kept = history(&place);
    assert!(kept.contains("select 40 +") && kept.contains("\\d price_at"), "{kept}");
    assert!(!kept.contains("secret") && !kept.contains("not this"), "{kept}");
    is_owners_only(&place.path().join("kept/history"));
    // The last entry comes back, in another shell.
    let Some(mut terminal) = Terminal::start(&place).await else { return };
    terminal.keys("\x1b[A\r").await;
    terminal.until("│     7 │").await;
    terminal.keys("select\r\\q\r").await;
    terminal.ends().await;
    let Some(mut terminal) = Terminal::start(&place).await else { return };
    terminal.keys("exit\r").await;
    terminal.ends().await;
}

#[cfg(unix)]
fn is_owners_only(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_query_that_is_interrupted_stops_and_the_shell_goes_on() {
    let (place, _sim) = one_night().await;
    let Some(mut terminal) = Terminal::start(&place).await else { return };
    for long in [
        "select count(*) from range(1, 100000000000) as a where value % 7 = 3",
        "select count(*) from range(1, 10000000) as a, range(1, 1000000) as b where a.value * b.value % 1000003 = -7",
        "select a.value, b.value from range(1, 10000000) as a, range(1, 1000000) as b order by 2 desc, 1 limit 3",
    ] {
        terminal.keys(&format!("{long};\r")).await;
        terminal.until("Ctrl-C stops it").await;
        terminal.keys("\x03").await;
        terminal.until("interrupted").await;
        terminal.until("huopan> ").await;
        terminal.keys("select 40 + 2 as n;\r").await;
        terminal.until("│ 42 │").await;
        terminal.until("huopan> ").await;
    }
    terminal.keys("\x04").await;
}
