//! How long a worker rests after a call. When a call may leave is the state store's business: it holds for all
//! processes that use an account.

use std::time::Duration;

use crate::config::gateway::{ErrorClass, Pause};

use super::retry::seconds;

/// How long a worker rests after a call (WIRE §1: 0.8 s after success, 4 s after failure, 10 s after throttling).
#[must_use]
pub fn rest(pause: &Pause, fault: Option<ErrorClass>) -> Duration {
    seconds(match fault {
        Some(ErrorClass::Retry) => pause.failure,
        Some(ErrorClass::Throttle) => pause.throttle,
        _ => pause.success,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_rests_by_what_came_back() {
        let pause = Pause { success: 0.8, failure: 4.0, throttle: 10.0 };
        assert_eq!(rest(&pause, None), Duration::from_millis(800));
        assert_eq!(rest(&pause, Some(ErrorClass::Gone)), Duration::from_millis(800));
        assert_eq!(rest(&pause, Some(ErrorClass::Retry)), Duration::from_secs(4));
        assert_eq!(rest(&pause, Some(ErrorClass::Throttle)), Duration::from_secs(10));
    }
}
