//! Prometheus' text format (version 0.0.4), in a file for the node exporter's textfile collector.
//!
//! Invariant: a reader finds the old file or the new one, whole.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use chrono::{DateTime, Utc};

use super::families::{Family, LAST_COMPLETE, LAST_PUBLISHED};

/// Writes the file in one step; makes its folder where that is missing. Anybody may read it: the node exporter is another
/// user.
pub(super) fn write(file: &Path, families: &[Family]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let mut new = tempfile::Builder::new().prefix(".huopan-").suffix(".tmp").tempfile_in(folder)?;
    new.write_all(text(families).as_bytes())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        new.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    new.persist(file).map_err(|error| error.error)?;
    Ok(())
}

/// When a run last published and last was complete, as an earlier file says it.
pub(super) fn kept(file: &Path) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')))?;
        let seconds: f64 = line.rsplit(' ').next()?.parse().ok()?;
        DateTime::from_timestamp_millis((seconds * 1000.0).round() as i64)
    };
    (value(LAST_PUBLISHED), value(LAST_COMPLETE))
}

fn text(families: &[Family]) -> String {
    let mut text = String::new();
    for Family { name, help, values, .. } in families {
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} gauge", help.replace('\\', "\\\\"));
        for value in values {
            let label = |(name, value): &(&str, String)| format!("{name}=\"{}\"", escaped(value));
            let labels: Vec<String> = value.labels.iter().map(label).collect();
            let _ = writeln!(text, "{name}{{{}}} {}", labels.join(","), value.number);
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
