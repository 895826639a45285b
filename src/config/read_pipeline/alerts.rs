//! Who hears about a run: `[[alerts]]`.

use std::collections::BTreeSet;

use crate::config::diagnostics::Problem;
use crate::config::document::Value;
use crate::config::pipeline::{Alert, AlertKind, AlertOn};
use crate::config::read_gateway::checked_name;
use crate::config::reader::{Section, Text};

use super::{NOT_YET, Scope, secrets};

const ON: &[(&str, AlertOn)] = &[
    ("failed", AlertOn::Failed),
    ("incomplete", AlertOn::Incomplete),
    ("quota", AlertOn::Quota),
    ("denied", AlertOn::Denied),
    ("held", AlertOn::Held),
    ("published", AlertOn::Published),
];

/// What an alert is told that does not say: all but the nightly heartbeat.
const ON_DEFAULT: [AlertOn; 5] = [AlertOn::Failed, AlertOn::Incomplete, AlertOn::Quota, AlertOn::Denied, AlertOn::Held];

/// `[[alerts]]`.
pub(super) fn alerts(root: &mut Section<'_>, scope: &Scope<'_>) -> Vec<Alert> {
    let mut names = BTreeSet::new();
    let mut alerts = Vec::new();
    for section in root.sections("alerts") {
        let table = section.table;
        let Some(alert) = alert(section, scope) else { continue };
        if !names.insert(alert.name.clone())
            && let Some(entry) = table.get("name")
        {
            let problem = Problem::at(&entry.node.place, format!("two alerts are called `{}`", alert.name));
            scope.report.add(problem.help("give each its own name: logs show it instead of the address"));
        }
        alerts.push(alert);
    }
    alerts
}

fn alert(mut section: Section<'_>, scope: &Scope<'_>) -> Option<Alert> {
    section.require("name", "what logs call it: `name = \"ops\"`");
    section.require("kind", "`kind = \"webhook\"`: a JSON document is posted");
    section.require("url", "where it is sent: `url = \"env:ALERT_URL\"`");
    let name = section.text("name").and_then(|text| checked_name(&section, text, "name"));
    let kind = section.text("kind").and_then(|text| kind(&section, text));
    let url = secrets::address(&mut section, scope, "url", &["http", "https"]);
    let on = on(&mut section);
    section.finish_without(NOT_YET.alert);
    Some(Alert { name: name?, kind: kind?, url: url?, on })
}

fn kind(section: &Section<'_>, text: Text<'_>) -> Option<AlertKind> {
    if matches!(text.value, "dingtalk" | "wecom" | "feishu") {
        let problem = Problem::at(text.place, format!("`kind = \"{}\"` is not in this version", text.value));
        section.report.add(problem.help("`webhook` posts a JSON document: to a relay of your own, for example"));
        return None;
    }
    section.as_choice(text, "kind", &[("webhook", AlertKind::Webhook)])
}

/// What it is told, without repeats.
fn on(section: &mut Section<'_>) -> Vec<AlertOn> {
    let texts = section.texts("on");
    let Some(entry) = section.table.get("on") else { return ON_DEFAULT.to_vec() };
    if matches!(&entry.node.value, Value::List(list) if list.is_empty()) {
        let problem = Problem::at(&entry.node.place, "this alert is told nothing");
        section.report.add(problem.help("remove the line: all but `published`; or remove the alert"));
    }
    let mut on: Vec<AlertOn> = texts.into_iter().filter_map(|text| section.as_choice(text, "on", ON)).collect();
    let mut seen = BTreeSet::new();
    on.retain(|on| seen.insert(*on));
    on
}
