//! Who may log in: names with verifiers, from a file and from the environment.
//!
//! One user a line, `name:SCRAM-SHA-256$iterations:salt$stored:server`; empty lines and those that begin with `#` say
//! nothing. The file is read again when it has changed, so that a new user needs no restart.
//!
//! Invariant: no password is in a file, a message or a log.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::base::{Error, Result, Secret};

use super::scram::{ITERATIONS, SALT_BYTES, Verifier};

/// Bytes of a name, as in PostgreSQL.
const NAME_BYTES_MAX: usize = 63;
/// Readable and writable by the owner alone.
const MODE: u32 = 0o600;

type Verifiers = BTreeMap<String, Verifier>;

/// The users of a server.
#[derive(Debug)]
pub struct Users {
    fixed: Verifiers,
    file: Option<Watched>,
}

/// A file of users with what it said when it was last read.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    state: Mutex<(Stamp, Verifiers)>,
}

/// By what a changed file is told.
type Stamp = Option<(SystemTime, u64)>;

impl Users {
    /// The users of a file, if one is named, and of `lines` (the environment's), which come first.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::base::Kind::Config) if the file cannot be read or a line names no user.
    pub fn load(file: Option<&Path>, lines: Option<&str>) -> Result<Self> {
        let fixed = parse(lines.unwrap_or_default(), "the environment's users")?;
        let file = file.map(|path| {
            let state = Mutex::new((stamp(path), read(path)?));
            Ok::<_, Error>(Watched { path: path.to_owned(), state })
        });
        Ok(Self { fixed, file: file.transpose()? })
    }

    /// Whether nobody can log in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let in_file = |file: &Watched| file.state.lock().unwrap_or_else(PoisonError::into_inner).1.len();
        self.fixed.is_empty() && self.file.as_ref().is_none_or(|file| in_file(file) == 0)
    }

    /// The names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.fixed.keys().cloned().collect();
        if let Some(file) = &self.file {
            names.extend(file.state.lock().unwrap_or_else(PoisonError::into_inner).1.keys().cloned());
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What is kept of a user's password. A file that cannot be read just now leaves the users as they were.
    #[must_use]
    pub fn verifier(&self, name: &str) -> Option<Verifier> {
        if let Some(found) = self.fixed.get(name) {
            return Some(found.clone());
        }
        let file = self.file.as_ref()?;
        let mut state = file.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&file.path);
        if now != state.0 {
            match read(&file.path) {
                Ok(verifiers) => *state = (now, verifiers),
                Err(error) => tracing::warn!(%error, "the users' file cannot be read: its users stay as they were"),
            }
        }
        state.1.get(name).cloned()
    }

    /// Whether others than the file's owner may read it.
    #[must_use]
    pub fn is_readable_by_others(&self) -> bool {
        let mode = self.file.as_ref().and_then(|file| std::fs::metadata(&file.path).ok());
        mode.is_some_and(|found| found.permissions().mode() & 0o077 != 0)
    }
}

/// What became of a user that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Added {
    /// A new name.
    New,
    /// A name that had another password.
    Changed,
}

/// Adds a user to a file, or changes the password of one; the file is replaced as a whole.
///
/// # Errors
/// [`Kind::Config`](crate::base::Kind::Config) for a name or password that cannot be one, or a file that cannot be
/// written.
pub fn add(file: &Path, name: &str, password: &Secret, salt: [u8; SALT_BYTES]) -> Result<Added> {
    check_name(name)?;
    if password.expose().is_empty() {
        return Err(Error::config("the password is empty"));
    }
    let before = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(unreadable(file).caused_by(error)),
    };
    let known = parse(&before, &format!("`{}`", file.display()))?;
    let line = format!("{name}:{}", Verifier::of(password, &salt, ITERATIONS).to_line());
    let mut lines: Vec<&str> = before.lines().filter(|line| name_of(line) != Some(name)).collect();
    lines.push(&line);
    write(file, &format!("{}\n", lines.join("\n"))).map_err(|error| {
        Error::config(format!("cannot write `{}`", file.display()))
            .with_hint("name a file in a folder that you may write to")
            .caused_by(error)
    })?;
    Ok(if known.contains_key(name) { Added::Changed } else { Added::New })
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = file.file_name().unwrap_or_default().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = folder.join(temporary);
    let written = (|| {
        let mut options = std::fs::OpenOptions::new();
        let mut new = options.write(true).create_new(true).mode(MODE).open(&temporary)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        std::fs::rename(&temporary, file)
    })();
    if written.is_err() {
        // What is left of a failed write is of no use to anybody.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn read(path: &Path) -> Result<Verifiers> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path).caused_by(error))?;
    parse(&text, &format!("`{}`", path.display()))
}

fn unreadable(path: &Path) -> Error {
    Error::config(format!("cannot read the users in `{}`", path.display()))
        .with_hint("`huopan serve adduser NAME --users FILE` makes such a file")
}

fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

fn name_of(line: &str) -> Option<&str> {
    let line = line.trim();
    (!line.is_empty() && !line.starts_with('#')).then(|| line.split_once(':').map_or(line, |(name, _)| name))
}

/// The line itself is never told: it may hold a password that somebody wrote by hand.
fn parse(text: &str, origin: &str) -> Result<Verifiers> {
    let mut found = Verifiers::new();
    for (number, line) in text.lines().enumerate() {
        if name_of(line).is_none() {
            continue;
        }
        let wrong = |what: &str| {
            Error::config(format!("line {} of {origin} {what}", number + 1))
                .with_hint("a line is `name:SCRAM-SHA-256$…`; `huopan serve adduser NAME --users FILE` writes it")
        };
        let (name, verifier) = line.trim().split_once(':').ok_or_else(|| wrong("names no user"))?;
        check_name(name).map_err(|_| wrong("has a name that cannot be one"))?;
        let verifier = verifier.trim().parse().map_err(|_| wrong("has no SCRAM-SHA-256 verifier"))?;
        if found.insert(name.to_owned(), verifier).is_some() {
            return Err(wrong("names a user again"));
        }
    }
    Ok(found)
}

fn check_name(name: &str) -> Result<()> {
    let is_plain = |letter: char| !letter.is_control() && !letter.is_whitespace() && letter != ':';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.starts_with('#') || !name.chars().all(is_plain) {
        return Err(Error::config(format!("`{}` cannot be a user's name", name.escape_debug())).with_hint(format!(
            "a name has 1 to {NAME_BYTES_MAX} bytes, no space and no `:`, and does not begin with `#`"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    #[test]
    fn a_user_is_added_and_changed_in_a_file_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users");
        assert_eq!(add(&file, "ann", &secret("one"), [1; 16]).unwrap(), Added::New);
        let users = Users::load(Some(&file), None).unwrap();
        assert_eq!(users.verifier("bob"), None);
        std::fs::write(&file, format!("# ours\n\n{}", std::fs::read_to_string(&file).unwrap())).unwrap();
        assert_eq!(add(&file, "bob", &secret("two"), [2; 16]).unwrap(), Added::New);
        assert_eq!(add(&file, "ann", &secret("three"), [3; 16]).unwrap(), Added::Changed);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(users.verifier("ann"), Some(Verifier::of(&secret("three"), &[3; 16], ITERATIONS)), "read again");
        assert_eq!(users.names(), ["ann", "bob"]);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# ours\n\n") && !text.contains("three") && text.lines().count() == 4, "{text}");
        std::fs::write(&file, "nonsense").unwrap();
        assert!(users.verifier("bob").is_some(), "users stay while the file is broken");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_line_that_names_no_user_is_told_by_its_number_alone() {
        for (lines, expected) in [
            ("hunter2", "line 1 of the environment's users names no user"),
            ("# x\nann:hunter2", "line 2 of the environment's users has no SCRAM-SHA-256 verifier"),
            (" x y:hunter2", "line 1 of the environment's users has a name that cannot be one"),
        ] {
            let error = Users::load(None, Some(lines)).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn names_that_would_break_the_file_and_empty_passwords_are_refused() {
        let file = Path::new("/nowhere/users");
        for name in ["", "a b", "a:b", "#a", "a\nb", &"x".repeat(64)] {
            assert!(add(file, name, &secret("p"), [0; 16]).is_err(), "{name:?}");
        }
        assert_eq!(add(file, "a", &secret(""), [0; 16]).unwrap_err().to_string(), "the password is empty");
    }
}
