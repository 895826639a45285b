//! Progress of a run: a bar per shop on a terminal, log lines otherwise.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::extract::progress::{Event, Progress};

use super::output::Talk;

/// Shows what an extraction tells.
#[derive(Debug)]
pub(super) struct Bars<'t> {
    talk: &'t Talk,
    bars: Mutex<HashMap<String, ProgressBar>>,
}

/// How often a bar that waits shows that it lives.
const TICK: Duration = Duration::from_millis(200);

impl<'t> Bars<'t> {
    pub(super) fn new(talk: &'t Talk) -> Self {
        Self { talk, bars: Mutex::new(HashMap::new()) }
    }

    /// Removes all bars.
    pub(super) fn clear(&self) {
        for (_, bar) in self.bars.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            bar.finish_and_clear();
        }
    }

    fn bar(&self, name: &str, unit: &str) -> ProgressBar {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.entry(name.to_owned()).or_insert_with(|| {
            let bar = self.talk.bars.add(ProgressBar::new_spinner());
            let template = format!("  {{spinner}} {{msg:32!}} {{bar:24}} {{pos}}/{{len}} {unit} {{elapsed}}");
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style);
            }
            bar.set_message(name.to_owned());
            bar.enable_steady_tick(TICK);
            bar
        });
        bar.clone()
    }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Progress for Bars<'_> {
    fn on(&self, event: Event<'_>) {
        match event {
            Event::Resumed { dt, answers } => {
                tracing::info!(%dt, answers, "going on with an unfinished run");
                self.talk.say(&format!("going on with the run of {dt}: {answers} answers are there already"));
            }
            Event::Replaying(dt) => {
                tracing::info!(%dt, "rebuilding a day from landed answers");
                self.talk.say(&format!("{dt}: rebuilding from landed answers"));
            }
            Event::ShopStarted { shop } => {
                tracing::info!(shop, "shop started");
                self.bar(shop, "pages");
            }
            Event::Page { shop, pages, of } => {
                tracing::debug!(shop, pages, of, "page answered");
                let bar = self.bar(shop, "pages");
                bar.set_length(of.map_or_else(|| length(pages), u64::from));
                bar.set_position(length(pages));
            }
            Event::Detail { done, of } => {
                tracing::debug!(done, of, "detail answered");
                let bar = self.bar("details", "answers");
                bar.set_length(length(of));
                bar.set_position(length(done));
            }
            Event::ShopFinished(facts) => {
                tracing::info!(
                    shop = facts.shop_id,
                    calls = facts.calls_used,
                    official_count = facts.official_count,
                    incomplete_reason = facts.incomplete_reason,
                    "shop finished"
                );
            }
            Event::Warning(warning) => tracing::warn!(warning, "extraction"),
        }
    }
}
