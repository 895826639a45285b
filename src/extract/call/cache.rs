//! Answers that need not be asked for: landed by an earlier start of the run, or cached; and what is cached of new ones.
//!
//! Invariant: an answer that is used again is landed in this run, too.

use crate::base::Result;
use crate::config::gateway::ErrorClass;
use crate::extract::judge::Judgement;
use crate::extract::schedule::Outcome;
use crate::extract::words::describe;
use crate::extract::{Attempt, cached};

use super::{Caller, Errand};

impl<'r> Caller<'r> {
    /// The outcome of a call whose answer an earlier start has landed, or a cache holds; and the attempts it took, where
    /// they are not in [`earlier_calls`](crate::extract::Job::earlier_calls) because the shop was not known yet.
    pub(super) async fn known(&self, errand: &Errand<'_, 'r>) -> Result<Option<(Outcome, u32)>> {
        if self.halt.is_cancelled() {
            return Ok(None);
        }
        let kept = match self.job.answered.find(errand.key).await? {
            Some(kept) => Some(kept),
            None => self.cached(errand).await?,
        };
        let Some(kept) = kept else { return Ok(None) };
        let (judgement, outcome) = self.judge(errand, &kept);
        let outcome = match judgement {
            Judgement::Good => outcome,
            Judgement::Fault(fault) if matches!(fault.class, ErrorClass::Item | ErrorClass::Gone) => {
                Outcome::Refused(describe(&fault))
            }
            // Rules may have changed since it landed: it settles nothing now.
            Judgement::Fault(_) => return Ok(None),
        };
        let tally = &mut self.lock().tally;
        tally.saved += 1;
        tally.good += 1;
        let is_uncounted = kept.record.shop_id.is_none() && kept.record.copied_from.is_none();
        let attempts = if is_uncounted { u32::try_from(kept.record.attempt).unwrap_or(0) } else { 0 };
        Ok(Some((outcome, attempts)))
    }

    /// An answer from the cache, landed again as a copy.
    async fn cached(&self, errand: &Errand<'_, 'r>) -> Result<Option<Attempt>> {
        let counts = cached::is_count(errand.task) && self.job.reads_counts;
        if !self.job.reads_cache || !(counts || errand.endpoint.cache_seconds.is_some()) {
            return Ok(None);
        }
        let now = self.job.clock.now() + self.ledger.offset;
        let key = self.cache_key(errand);
        let Some(found) = self.ledger.state.cached(&key, now).await? else { return Ok(None) };
        let Some(mut copy) = cached::decode(&found.value) else { return Ok(None) };
        let answered_at = errand.side.live().skew.correct(copy.record.received_at);
        if errand.values.fresh_since.is_some_and(|since| answered_at <= since) {
            return Ok(None);
        }
        copy.record.copied_from = Some(copy.record.raw_ref());
        copy.record.run_id = self.job.run_id.to_owned();
        // As the listing of this run names it.
        copy.record.shop_id.clone_from(&errand.values.shop_id);
        Ok(Some(self.job.sink.land(copy).await?))
    }

    /// Takes note of a good answer.
    pub(super) async fn answered_well(&self, errand: &Errand<'_, 'r>, kept: &Attempt) -> Result<()> {
        self.lock().tally.good += 1;
        errand.side.live().outage.answered();
        let from = kept.record.received_at + self.ledger.offset;
        if let Some(seconds) = errand.endpoint.cache_seconds.filter(|seconds| *seconds > 0) {
            let cached = cached::encode(kept, from, seconds)?;
            self.ledger.state.cache(&self.cache_key(errand), &cached).await?;
        } else if self.job.gate.is_some() && cached::is_count(errand.task) {
            let cached = cached::encode(kept, from, cached::COUNT_SECONDS)?;
            self.lock().counts.push((self.cache_key(errand), cached));
        }
        Ok(())
    }

    /// Counts stand for one day of one run; other answers for as long as their definition says.
    fn cache_key(&self, errand: &Errand<'_, 'r>) -> String {
        let key = cached::key(&errand.side.gateway.url, errand.key);
        if cached::is_count(errand.task) { format!("{}-{key}", self.job.dt) } else { key }
    }

    /// Nothing was listed: what was counted for it need not be paid for again by the start that follows.
    pub(in crate::extract) async fn keep_counts(&self) -> Result<()> {
        let counts = std::mem::take(&mut self.lock().counts);
        for (key, cached) in counts {
            self.ledger.state.cache(&key, &cached).await?;
        }
        Ok(())
    }
}
