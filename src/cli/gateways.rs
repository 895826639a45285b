//! `huopan gateways`: what is built in, and help for those who write a definition.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use clap::{Args, Subcommand};

use crate::base::{Error, Result};
use crate::config::gateway::Endpoint;
use crate::config::pipeline::Units;
use crate::config::{Gateway, builtin, builtins, list_gateways, load_gateway};
use crate::extract::sign::{self, Signable};
use crate::extract::{Attempt, Record};
use crate::transform::collect::makes_offers;
use crate::transform::inspect::{Inspection, inspect};

use super::explain::{describe, lines_json, lines_text};
use super::{Environment, Outcome, written};

/// `huopan gateways`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan gateways list
  huopan gateways show portals > mine.toml
  huopan gateways check mine.toml --sample answer.json
  huopan gateways sign portals method=alibaba.shop.get app_secret=env:S")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is built in: for what, its methods, where it has been seen to work
    List,
    /// Print a built-in definition
    Show {
        /// Its name
        name: String,
    },
    /// Check a definition; with a saved answer, show what huopan makes of it. No network
    Check(Check),
    /// Show the text a gateway's rules sign (secret masked) and the signature
    Sign(Sign),
}

impl Arguments {
    /// Whether JSON is asked for.
    pub(super) fn prints_json(&self) -> bool {
        matches!(&self.command, Command::Check(Check { json: true, .. }))
    }
}

#[derive(Debug, Args)]
struct Check {
    /// A definition's file, or the name of a built-in one
    gateway: String,
    /// A saved answer
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,
    /// Whose answer it is [default: `listing`, else `item`, whichever finds records]
    #[arg(long, requires = "sample")]
    endpoint: Option<String>,
    /// Records shown
    #[arg(long, default_value_t = 1)]
    records: usize,
    /// Print as JSON
    #[arg(long, requires = "sample")]
    json: bool,
}

#[derive(Debug, Args)]
struct Sign {
    /// A definition's file, or the name of a built-in one
    gateway: String,
    /// The parameters as they are sent: name=value; the signing secret's as name=env:NAME or name=file:PATH
    #[arg(value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// The secret that signs: env:NAME or file:PATH [default: env:HUOPAN_APP_SECRET]
    #[arg(long, value_name = "REFERENCE")]
    secret: Option<String>,
    /// The path, for gateways that sign it (param2/1/system/currentTime/APPKEY)
    #[arg(long, default_value = "")]
    path: String,
}

pub(super) fn main(arguments: &Arguments) -> Result<Outcome> {
    match &arguments.command {
        Command::List => list(),
        Command::Show { name } => show(name),
        Command::Check(arguments) => check(arguments),
        Command::Sign(arguments) => signature(arguments),
    }
}

fn list() -> Result<Outcome> {
    let mut page = String::new();
    for line in list_gateways()? {
        page.push_str(&format!("{}\n  {}\n  seen: {}\n", line.name, line.title, line.seen));
        for (endpoint, method) in &line.methods {
            page.push_str(&format!("    {endpoint:<16} {method}\n"));
        }
    }
    written(write!(std::io::stdout(), "{page}"))?;
    Ok(Outcome::Done)
}

fn show(name: &str) -> Result<Outcome> {
    let text = builtin(name).ok_or_else(|| {
        let error = Error::config(format!("there is no built-in gateway `{name}`"));
        match crate::base::text::nearest(name, builtins()) {
            Some(nearest) => error.with_hint(format!("did you mean `{nearest}`?")),
            None => error.with_hint(format!("there are {}", builtins().join(", "))),
        }
    })?;
    written(write!(std::io::stdout(), "{text}"))?;
    Ok(Outcome::Done)
}

fn check(arguments: &Check) -> Result<Outcome> {
    let gateway = load_gateway(&arguments.gateway, Path::new(""))?;
    let mut out = std::io::stdout().lock();
    let Some(sample) = &arguments.sample else {
        let endpoints: Vec<&str> = gateway.endpoints.keys().map(String::as_str).collect();
        written(writeln!(out, "gateway `{}` is fine; endpoints: {}", gateway.name, endpoints.join(", ")))?;
        return Ok(Outcome::Done);
    };
    let body = std::fs::read(sample)
        .map_err(|error| Error::config(format!("cannot read `{}`", sample.display())).caused_by(error))?;
    let (endpoint, inspection) = inspect_sample(&gateway, arguments.endpoint.as_deref(), body)?;
    let head = format!("as an answer of endpoint `{}`: {}\n", endpoint.name, describe(&inspection));
    let Inspection::Records(records) = inspection else {
        written(write!(out, "{head}"))?;
        return Ok(Outcome::Code(1));
    };
    let shown = records.iter().take(arguments.records);
    written(if arguments.json {
        writeln!(out, "{}", serde_json::Value::from(shown.map(lines_json).collect::<Vec<_>>()))
    } else {
        let text: String = shown.map(|record| format!("\n{}", lines_text(record))).collect();
        write!(out, "{head}{text}")
    })?;
    Ok(Outcome::Done)
}

/// Tries the endpoints that give offers, the usual ones first; where none finds records, the first one's view counts.
fn inspect_sample<'g>(gateway: &'g Gateway, asked: Option<&str>, body: Vec<u8>) -> Result<(&'g Endpoint, Inspection)> {
    let attempt = sample_attempt(body);
    if let Some(name) = asked {
        let endpoint = gateway.endpoints.get(name).ok_or_else(|| {
            let known: Vec<&str> = gateway.endpoints.keys().map(String::as_str).collect();
            Error::config(format!("gateway `{}` has no endpoint `{name}`", gateway.name))
                .with_hint(format!("it has {}", known.join(", ")))
        })?;
        return Ok((endpoint, inspect(gateway, endpoint, &Units::default(), &attempt, None)));
    }
    let usual = ["listing", "item"].into_iter().filter_map(|name| gateway.endpoints.get(name));
    let others = gateway.endpoints.values().filter(|endpoint| !matches!(endpoint.name.as_str(), "listing" | "item"));
    let mut others_say = None;
    for endpoint in usual.chain(others).filter(|endpoint| makes_offers(&endpoint.name)) {
        let inspection = inspect(gateway, endpoint, &Units::default(), &attempt, None);
        if matches!(&inspection, Inspection::Records(_)) {
            return Ok((endpoint, inspection));
        }
        others_say.get_or_insert((endpoint, inspection));
    }
    others_say.ok_or_else(|| Error::config(format!("gateway `{}` has no endpoint that gives offers", gateway.name)))
}

fn sample_attempt(body: Vec<u8>) -> Attempt {
    Attempt {
        record: Record {
            run_id: String::new(),
            number: 0,
            attempt: 1,
            account: String::new(),
            endpoint: String::new(),
            shop_id: None,
            offer_id: None,
            sku_id: None,
            page: None,
            request: BTreeMap::new(),
            http_status: Some(200),
            content_type: None,
            retry_after: None,
            transport_error: None,
            wait_ms: 0,
            latency_ms: 0,
            sent_at: DateTime::UNIX_EPOCH,
            received_at: DateTime::UNIX_EPOCH,
            body_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
            digest: String::new(),
            redacted: false,
            ..Record::default()
        },
        body: body.into(),
    }
}

fn signature(arguments: &Sign) -> Result<Outcome> {
    let gateway = load_gateway(&arguments.gateway, Path::new(""))?;
    let rules = gateway.sign.as_ref().ok_or_else(|| {
        Error::config(format!("gateway `{}` signs nothing: its credentials travel as parameters", gateway.name))
    })?;
    let mut reference = arguments.secret.as_deref().unwrap_or("env:HUOPAN_APP_SECRET");
    let mut params = Vec::new();
    for param in &arguments.params {
        let (name, value) = param.split_once('=').ok_or_else(|| {
            Error::config("a parameter is not written as `name=value`")
                .with_hint("quote values that hold spaces or `&`")
        })?;
        if name == rules.secret {
            reference = value;
            continue;
        }
        if !rules.unsigned.iter().any(|unsigned| unsigned == name) && sign::kept(rules.skip, Some(value)).is_some() {
            params.push((name, value));
        }
    }
    let secret = secret(reference)?;
    params.sort_unstable();
    let is_secret = |name: &str| gateway.credentials.iter().any(|spec| spec.secret && spec.name == name);
    let masked: Vec<(&str, &str)> =
        params.iter().map(|(name, value)| (*name, if is_secret(name) { sign::MASKED } else { value })).collect();
    let wrong = |error: sign::SignError| Error::config("the definition's `[sign]` cannot be used").caused_by(error);
    let text = sign::masked_text(rules, Signable { path: &arguments.path, params: &masked }).map_err(wrong)?;
    let signature =
        sign::signature(rules, &secret, Signable { path: &arguments.path, params: &params }).map_err(wrong)?;
    written(writeln!(std::io::stdout(), "text to sign: {text}\n{}: {signature}", rules.into))?;
    Ok(Outcome::Done)
}

/// The secret a reference names; white space at its ends is ignored.
fn secret(reference: &str) -> Result<String> {
    let value = match reference.split_once(':') {
        Some(("env", name)) => Environment::get(name).ok_or_else(|| {
            Error::config(format!("the environment variable `{name}` is not set"))
                .with_hint("name the secret with `--secret env:NAME` or `--secret file:PATH`")
        })?,
        Some(("file", path)) => std::fs::read_to_string(path)
            .map_err(|error| Error::config(format!("cannot read the secret's file `{path}`")).caused_by(error))?,
        _ => {
            return Err(Error::config("the secret is named by a reference, never written itself")
                .with_hint("write `env:NAME` or `file:PATH`"));
        }
    };
    match value.trim() {
        "" => Err(Error::config(format!("the secret at `{reference}` is empty"))),
        value => Ok(value.to_owned()),
    }
}
