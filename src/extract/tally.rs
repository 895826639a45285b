//! What a run counts of its calls, and where the gateway was found.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Gateway;
use crate::config::gateway::Endpoint;

/// What is counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) calls: i64,
    pub(super) saved: i64,
    pub(super) retries: i64,
    pub(super) throttles: i64,
    pub(super) bytes: i64,
    pub(super) good: i64,
    /// Why the last call that ran out of its budget did, and what the user can change.
    pub(super) last_failure: Option<(String, Option<String>)>,
    /// Addresses at which a call was answered.
    found: BTreeSet<Address>,
    /// Answers that were hardly the gateway's, by address.
    elsewhere: BTreeMap<Address, u32>,
    /// Endpoints that have answered a call well, by gateway.
    good_at: BTreeSet<(String, String)>,
    /// Calls for several offers of which a parameter was refused, before one was answered, by gateway.
    refused: BTreeMap<String, u32>,
}

/// A gateway's name, and the path of its own that an endpoint has.
type Address = (String, Option<String>);

fn address(gateway: &Gateway, endpoint: &Endpoint) -> Address {
    (gateway.name.clone(), endpoint.path.as_ref().map(ToString::to_string))
}

impl Tally {
    /// The gateway answers at an endpoint's address.
    pub(super) fn found(&mut self, gateway: &Gateway, endpoint: &Endpoint) {
        self.found.insert(address(gateway, endpoint));
        self.good_at.insert((gateway.name.clone(), endpoint.name.clone()));
    }

    /// A parameter of a call to an endpoint that answers several offers at once was refused; whether it is wrong for all of
    /// them, and not the id of one. `is_alone`: the call asked about one.
    pub(super) fn is_wrong_parameter(&mut self, gateway: &Gateway, endpoint: &Endpoint, is_alone: bool) -> bool {
        if self.good_at.contains(&(gateway.name.clone(), endpoint.name.clone())) {
            return false;
        }
        let refused = self.refused.entry(gateway.name.clone()).or_default();
        *refused += 1;
        is_alone || *refused >= REFUSED_MAX
    }

    /// Something else than the gateway answered at an endpoint's address; whether that is no mishap.
    pub(super) fn is_elsewhere(&mut self, gateway: &Gateway, endpoint: &Endpoint) -> bool {
        let address = address(gateway, endpoint);
        let is_found = self.found.contains(&address);
        let answers = self.elsewhere.entry(address).or_default();
        *answers += 1;
        *answers >= ELSEWHERE_MAX && !is_found
    }
}

/// So many calls for several offers are refused by a parameter before it is taken to be wrong for all of them.
const REFUSED_MAX: u32 = 8;
/// An address at which nothing of the gateway was ever found is asked this often.
const ELSEWHERE_MAX: u32 = 2;
