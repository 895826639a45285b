//! Who hears about a run: `[[alerts]]`.

use std::collections::BTreeSet;

use crate::base::Secret;
use crate::config::diagnostics::Problem;
use crate::config::document::Value;
use crate::config::pipeline::{Alert, AlertKind, AlertOn, Watch};
use crate::config::read_gateway::checked_name;
use crate::config::reader::Section;

use super::{Scope, secrets};

const KINDS: &[(&str, AlertKind)] = &[
    ("webhook", AlertKind::Webhook),
    ("dingtalk", AlertKind::DingTalk),
    ("wecom", AlertKind::WeCom),
    ("feishu", AlertKind::Feishu),
];

/// Where robots live. Lark is Feishu abroad.
const ROBOTS: &[(&str, AlertKind)] = &[
    ("oapi.dingtalk.com", AlertKind::DingTalk),
    ("qyapi.weixin.qq.com", AlertKind::WeCom),
    ("open.feishu.cn", AlertKind::Feishu),
    ("open.larksuite.com", AlertKind::Feishu),
];

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
    section.require("kind", "`kind = \"webhook\"` (a JSON document), or a robot: `dingtalk`, `wecom`, `feishu`");
    section.require("url", "where it is sent: `url = \"env:ALERT_URL\"`");
    let name = section.text("name").and_then(|text| checked_name(&section, text, "name"));
    let kind = section.text("kind").and_then(|text| section.as_choice(text, "kind", KINDS));
    let url = secrets::address(&mut section, scope, "url", &["http", "https"]);
    if let (Some(kind), Some(url)) = (kind, &url) {
        check_address(&section, kind, url);
    }
    let sign = sign(&mut section, scope, kind);
    let on = on(&mut section);
    section.finish();
    Some(Alert { name: name?, kind: kind?, url: url?, sign: sign.ok()?, on })
}

/// An address of another robot than the one named is a slip; any other host may be a relay.
fn check_address(section: &Section<'_>, kind: AlertKind, url: &Secret) {
    let url = url::Url::parse(url.expose()).ok();
    let host = url.as_ref().and_then(url::Url::host_str).unwrap_or_default();
    let owner = ROBOTS.iter().find(|(robots, _)| host == *robots).map(|(_, owner)| *owner);
    let Some(owner) = owner.filter(|owner| *owner != kind && kind != AlertKind::Webhook) else { return };
    let Some(entry) = section.table.get("kind") else { return };
    let name = |kind| KINDS.iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| *name);
    let (said, meant) = (name(kind), name(owner));
    let problem = Problem::at(&entry.node.place, format!("`kind` is `{said}`, but `url` is an address of `{meant}`"));
    section.report.add(problem.help(format!("`kind = \"{meant}\"`, or the other robot's address")));
}

/// The secret that messages are signed with, if any; an error was reported.
fn sign(section: &mut Section<'_>, scope: &Scope<'_>, kind: Option<AlertKind>) -> Result<Option<Secret>, ()> {
    let Some(entry) = section.entry("sign") else { return Ok(None) };
    let Some(text) = section.as_text(&entry.node, "sign") else {
        section.report.mask(&entry.node.place);
        return Err(());
    };
    let Some(reference) = secrets::reference(text.value) else {
        secrets::refuse_inline(section, entry);
        return Err(());
    };
    if kind.is_some_and(|kind| !kind.signs()) {
        let problem = Problem::at(&entry.key_place, "only `dingtalk` and `feishu` robots are signed for");
        let help = match kind {
            Some(AlertKind::WeCom) => "remove it: the key in a WeCom robot's address is all it asks for",
            _ => "remove it: whoever has the address can post",
        };
        section.report.add(problem.help(help));
        return Err(());
    }
    secrets::resolve(section, scope, text, reference).map(|value| Some(Secret::new(value))).ok_or(())
}

/// What it is told, without repeats.
fn on(section: &mut Section<'_>) -> Vec<AlertOn> {
    let texts = section.texts("on");
    if section.table.get("on").is_none() {
        return ON_DEFAULT.to_vec();
    }
    let mut on: Vec<AlertOn> = texts.into_iter().filter_map(|text| section.as_choice(text, "on", ON)).collect();
    let mut seen = BTreeSet::new();
    on.retain(|on| seen.insert(*on));
    on
}

/// An alert that is told nothing of runs is there for watches, or for nothing.
pub(super) fn check_told(root: &Section<'_>, watches: &[Watch]) {
    let Some(Value::List(blocks)) = root.table.get("alerts").map(|entry| &entry.node.value) else { return };
    for block in blocks {
        let Value::Table(table) = &block.value else { continue };
        let Some(on) = table.get("on") else { continue };
        let name = table.get("name").map(|entry| &entry.node.value);
        let is_named =
            |watch: &Watch| watch.alerts.iter().any(|alert| matches!(name, Some(Value::Text(name)) if name == alert));
        if matches!(&on.node.value, Value::List(list) if list.is_empty()) && !watches.iter().any(is_named) {
            let problem = Problem::at(&on.node.place, "this alert is told nothing");
            root.report
                .add(problem.help("remove the line: all but `published`; or name it in a watch; or remove the alert"));
        }
    }
}
