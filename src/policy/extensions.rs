//! Functions that replace builtins in every engine: time is the decision's, and there is no randomness or output.
//!
//! The interpreter asks extensions before builtins. An extension's error is always an error, also under `not`.

use std::cell::Cell;

use jiff::Timestamp;
use regorus::{Engine, Value};

thread_local! {
    /// The time of the one evaluation that runs on this thread, in nanoseconds since 1970.
    static NOW: Cell<Option<i64>> = const { Cell::new(None) };
}

/// The one builtin whose answer is not in what a policy is given.
pub(super) const NOW_NAME: &str = "time.now_ns";

/// Builtins that the load refuses and that would fail here too, with their parameters.
const REFUSED: [(&str, u8); 3] = [("rand.intn", 2), ("trace", 1), ("print", 1)];

/// Why an extension fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refused {
    /// Evaluated outside of a decision.
    #[error("no time is bound")]
    NoTime,
    /// Not for policies.
    #[error("policies may not call this function")]
    Function,
}

/// Something to be registered was there already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the interpreter refuses an extension: {0}")]
pub(super) struct NotRegistered(String);

/// Registers the extensions. Clones of `engine` carry them.
pub(super) fn register(engine: &mut Engine) -> Result<(), NotRegistered> {
    let now = |_| NOW.get().map(Value::from).ok_or_else(|| Refused::NoTime.into());
    let failed = |error: &dyn ToString| NotRegistered(error.to_string());
    engine.add_extension(NOW_NAME.into(), 0, Box::new(now)).map_err(|error| failed(&error))?;
    for (name, parameters) in REFUSED {
        let refuse = |_| Err(Refused::Function.into());
        engine.add_extension(name.into(), parameters, Box::new(refuse)).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// While it lives, `time.now_ns` on this thread is `now`.
pub(super) struct BoundTime(Option<i64>);

impl BoundTime {
    /// Binds `now` until the value is dropped.
    pub(super) fn new(now: Timestamp) -> Self {
        Self(NOW.replace(i64::try_from(now.as_nanosecond()).ok()))
    }
}

impl Drop for BoundTime {
    fn drop(&mut self) {
        NOW.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(rule: &str) -> Engine {
        let mut engine = Engine::new();
        register(&mut engine).unwrap();
        engine.add_policy(String::new(), format!("package p\nx := {rule}")).unwrap();
        engine
    }

    #[test]
    fn p_14_time_is_the_decisions_and_only_while_it_is_bound() {
        let mut engine = engine("time.now_ns()");
        let rule = || "data.p.x".to_owned();
        assert!(engine.clone().eval_rule(rule()).is_err());
        let bound = BoundTime::new(Timestamp::from_second(77).unwrap());
        assert_eq!(engine.clone().eval_rule(rule()).unwrap(), Value::from(77_000_000_000_i64));
        drop(bound);
        assert!(engine.eval_rule(rule()).is_err());
    }

    #[test]
    fn p_14_randomness_and_output_fail_even_if_a_policy_got_that_far() {
        for call in ["rand.intn(\"a\", 9)", "trace(\"a\")", "print(\"a\")"] {
            assert!(engine(call).eval_rule("data.p.x".into()).is_err(), "{call}");
        }
    }
}
