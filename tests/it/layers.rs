//! Imports point downwards only: `base ← config ← state, store ← plan ← extract ← land ← transform ← load ← query ←
//! feed, report, serve, run ← cli`; `groups` imports `base`, `config` and `store` only, `alert` imports `base` and `config` only, `sim` imports `base` only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What each module may import, besides itself.
fn allowed(module: &str) -> &'static [&'static str] {
    match module {
        "base" => &[],
        "config" | "sim" => &["base"],
        "state" | "store" | "alert" => &["base", "config"],
        "plan" => &["base", "config", "state", "store"],
        "extract" => &["base", "config", "state", "store", "plan"],
        "land" => &["base", "config", "state", "store", "plan", "extract"],
        "transform" => &["base", "config", "state", "store", "plan", "extract", "land"],
        "load" => &["base", "config", "state", "store", "plan", "extract", "land", "transform"],
        "groups" => &["base", "config", "store"],
        "query" => &["base", "config", "state", "store", "plan", "extract", "land", "transform", "load", "groups"],
        "serve" | "feed" | "report" => {
            &["base", "config", "state", "store", "plan", "extract", "land", "transform", "load", "groups", "query"]
        }
        "run" => &[
            "base",
            "config",
            "state",
            "store",
            "plan",
            "extract",
            "land",
            "transform",
            "load",
            "groups",
            "query",
            "alert",
        ],
        "cli" => &[
            "base",
            "config",
            "state",
            "store",
            "plan",
            "extract",
            "land",
            "transform",
            "load",
            "groups",
            "query",
            "alert",
            "feed",
            "serve",
            "report",
            "run",
            "sim",
        ],
        other => panic!("src/{other} is in no layer: add it to this table and to src/lib.rs"),
    }
}

fn source_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The modules of this crate that a source text names by path.
fn imports(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut found = Vec::new();
    for line in code {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            let names = rest.strip_prefix('{').map_or_else(|| vec![rest], |list| list.split(',').collect());
            found.extend(names.iter().map(|name| {
                name.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>()
            }));
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn imports_point_downwards_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&source, &mut files);
    let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in &files {
        let relative = file.strip_prefix(&source).unwrap();
        let module = relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if module == "lib" || module == "main" {
            continue;
        }
        for import in imports(&std::fs::read_to_string(file).unwrap()) {
            if import != module && !allowed(module).contains(&import.as_str()) {
                wrong.entry(relative.display().to_string()).or_default().push(import);
            }
        }
    }
    assert!(wrong.is_empty(), "these files import upwards: {wrong:#?}");
    assert!(files.len() > 20, "the test found only {} source files", files.len());
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    assert_eq!(imports("use crate::base::Error;\n// crate::cli\nlet x = crate::run::run();"), ["base", "run"]);
    assert_eq!(imports("use crate::{base, config::Gateway};"), ["base", "config"]);
}
