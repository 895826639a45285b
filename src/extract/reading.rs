//! What the schedule needs to know of a good answer.
//!
//! Takes a task and the parsed answer; gives its [`Outcome`]. Copies nothing but ids and times.

use chrono::{DateTime, Utc};

use crate::base::json::Raw;
use crate::base::moment;
use crate::config::Gateway;
use crate::config::gateway::Endpoint;

use super::answer::{self, List};
use super::page::Page;
use super::schedule::{Named, Outcome, Task};

pub(super) fn read(task: &Task, gateway: &Gateway, endpoint: &Endpoint, answer: Raw<'_>) -> Outcome {
    match task {
        Task::Resolve { .. } => {
            let one = answer::first(&endpoint.one, answer).unwrap_or(answer);
            match answer::first(&endpoint.shop_id, one).and_then(Raw::text) {
                Some(id) => Outcome::Resolved(id.trim().to_owned()),
                None => Outcome::Refused("the answer holds no shop id".to_owned()),
            }
        }
        Task::Count { .. } | Task::Recount { .. } => match answer::total(endpoint, answer) {
            Some(total) => Outcome::Counted(total),
            None => Outcome::Refused("the answer holds no count".to_owned()),
        },
        Task::Categories { .. } => Outcome::Categories(categories(endpoint, answer)),
        Task::Page { .. } => {
            let (mut keys, mut modified, mut offers) = (Vec::new(), Vec::new(), Vec::new());
            if let List::Records(list) = answer::list(endpoint, answer) {
                for record in answer::records(list) {
                    keys.push(answer::key(&gateway.offer, record));
                    modified.push(modified_at(gateway, record));
                    offers.extend(named(gateway, record));
                }
            }
            Outcome::Page(Page { keys, modified, total: answer::total(endpoint, answer) }, offers)
        }
        Task::Item { .. } if !endpoint.list.is_empty() => {
            let records = match answer::list(endpoint, answer) {
                List::Records(list) => answer::records(list).filter_map(|record| named(gateway, record)).collect(),
                List::Empty | List::Missing => Vec::new(),
            };
            Outcome::Detail(records)
        }
        Task::Item { .. } => {
            let one = answer::first(&endpoint.one, answer);
            Outcome::Detail(one.and_then(|record| named(gateway, record)).into_iter().collect())
        }
        Task::Sku { .. } | Task::Time => Outcome::Detail(Vec::new()),
    }
}

fn named(gateway: &Gateway, record: Raw<'_>) -> Option<Named> {
    let offer_id = answer::offer_id(&gateway.offer, record)?;
    Some(Named {
        offer_id,
        sku_ids: answer::sku_ids(&gateway.offer, record),
        modified_at: modified_at(gateway, record),
    })
}

fn modified_at(gateway: &Gateway, record: Raw<'_>) -> Option<DateTime<Utc>> {
    let text = answer::first(&gateway.offer.get("modified_at")?.at, record)?.text()?;
    DateTime::from_timestamp_micros(moment::read(&text)?)
}

fn categories(endpoint: &Endpoint, answer: Raw<'_>) -> Vec<String> {
    let List::Records(list) = answer::list(endpoint, answer) else { return Vec::new() };
    let id = |record| Some(answer::first(&endpoint.id, record)?.text()?.trim().to_owned());
    answer::records(list).filter_map(id).filter(|id| !id.is_empty()).collect()
}
