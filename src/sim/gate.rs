//! Where answers can be held back: for whoever wants to know, or to end, a client at an exact call.
//!
//! Invariant: every call that arrives is counted once, whatever becomes of it; what is held leaves when it is let go.

use tokio::sync::watch;

/// The calls of a simulator, from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Calls that have arrived.
    pub arrived: u64,
    /// … whose answers have been let go.
    pub answered: u64,
    /// … that are being worked on or held now.
    pub inside: u64,
    /// … that are held now.
    pub held: u64,
}

#[derive(Debug, Default)]
struct State {
    traffic: Traffic,
    /// Answers are held from the call with this number on.
    hold_from: Option<u64>,
}

/// Counts and holds calls.
#[derive(Debug, Default)]
pub(super) struct Gate(watch::Sender<State>);

impl Gate {
    /// A call has arrived.
    pub(super) fn enter(&self) -> Inside<'_> {
        let mut number = 0;
        self.0.send_modify(|state| {
            state.traffic.arrived += 1;
            state.traffic.inside += 1;
            number = state.traffic.arrived;
        });
        Inside { gate: self, number, is_held: false }
    }

    /// Holds the answers of all calls from the one with this number on; `None` lets all go.
    pub(super) fn hold_from(&self, number: Option<u64>) {
        self.0.send_modify(|state| state.hold_from = number);
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.0.borrow().traffic
    }

    /// Waits until the traffic is like this.
    pub(super) async fn until(&self, is_so: impl Fn(Traffic) -> bool) -> Traffic {
        // The sender is ours: it cannot have gone.
        let mut traffic = self.0.subscribe();
        traffic.wait_for(|state| is_so(state.traffic)).await.map(|state| state.traffic).unwrap_or_default()
    }
}

/// A call that has arrived and not yet left.
#[derive(Debug)]
pub(super) struct Inside<'a> {
    gate: &'a Gate,
    number: u64,
    is_held: bool,
}

impl Inside<'_> {
    /// The answer is ready; returns when it may leave.
    pub(super) async fn pass(&mut self) {
        let is_held = |state: &State| state.hold_from.is_some_and(|from| self.number >= from);
        let mut states = self.gate.0.subscribe();
        if is_held(&states.borrow_and_update()) {
            self.is_held = true;
            self.gate.0.send_modify(|state| state.traffic.held += 1);
            let number = self.number;
            let _ = states.wait_for(|state| state.hold_from.is_none_or(|from| number < from)).await;
        }
        self.gate.0.send_modify(|state| state.traffic.answered += 1);
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let held = u64::from(self.is_held);
        self.gate.0.send_modify(|state| {
            state.traffic.inside -= 1;
            state.traffic.held -= held;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_are_held_from_a_number_on_until_they_are_let_go() {
        let gate = Gate::default();
        gate.hold_from(Some(2));
        let (mut first, mut second) = (gate.enter(), gate.enter());
        first.pass().await;
        drop(first);
        let passing = async {
            second.pass().await;
            drop(second);
        };
        let telling = async {
            let held = gate.until(|traffic| traffic.held > 0).await;
            assert_eq!(held, Traffic { arrived: 2, answered: 1, inside: 1, held: 1 });
            gate.hold_from(None);
        };
        tokio::join!(passing, telling);
        assert_eq!(gate.traffic(), Traffic { arrived: 2, answered: 2, inside: 0, held: 0 });
    }

    #[tokio::test]
    async fn a_held_call_whose_client_goes_away_is_no_longer_inside() {
        let gate = Gate::default();
        gate.hold_from(Some(1));
        let mut call = gate.enter();
        tokio::select! {
            biased;
            () = call.pass() => panic!("let go"),
            _ = gate.until(|traffic| traffic.held == 1) => {}
        }
        drop(call);
        assert_eq!(gate.traffic(), Traffic { arrived: 1, ..Traffic::default() });
    }
}
