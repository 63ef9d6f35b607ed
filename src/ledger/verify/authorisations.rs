//! What the chains say of each authorisation, in whatever order they are walked: with several servers, one authorises
//! and another may supersede or close, each in a chain of its own.
//!
//! Closing is final and so needs no order. Among states that are not, each writer's last word counts: times of different
//! machines do not say which came first.

use std::collections::{HashMap, HashSet};

/// Everything that was said.
#[derive(Default)]
pub(super) struct Authorisations(HashMap<[u8; 16], Said>);

/// What was said of one authorisation.
#[derive(Default)]
struct Said {
    opened: bool,
    closed: bool,
    words: HashMap<i64, &'static str>,
}

impl Authorisations {
    /// It was recorded.
    pub(super) fn opened(&mut self, decision: [u8; 16]) {
        self.0.entry(decision).or_default().opened = true;
        self.settle(decision);
    }

    /// It was leased, or is dead.
    pub(super) fn closed(&mut self, decision: [u8; 16]) {
        self.0.entry(decision).or_default().closed = true;
        self.settle(decision);
    }

    /// `writer` says that it is in `state`.
    pub(super) fn is_now(&mut self, decision: [u8; 16], writer: i64, state: &'static str) {
        self.0.entry(decision).or_default().words.insert(writer, state);
    }

    /// Forgets what is complete, so that memory holds little more than what is open.
    fn settle(&mut self, decision: [u8; 16]) {
        if self.0.get(&decision).is_some_and(|said| said.opened && said.closed) {
            self.0.remove(&decision);
        }
    }

    /// True if a row for `decision` in `state` is what the chains say.
    pub(super) fn agree(&self, decision: &[u8], state: &str) -> bool {
        let said = <[u8; 16]>::try_from(decision).ok().and_then(|id| self.0.get(&id));
        said.is_some_and(|said| {
            let is_open = said.opened && !said.closed;
            let fits = if said.words.is_empty() {
                state == "open"
            } else {
                said.words.values().any(|word| *word == state)
            };
            is_open && fits
        })
    }

    /// The open ones that are not among `present`.
    pub(super) fn missing(&self, present: &HashSet<Vec<u8>>) -> Vec<[u8; 16]> {
        let open = self.0.iter().filter(|(_, said)| said.opened && !said.closed);
        open.map(|(id, _)| *id).filter(|id| !present.contains(id.as_slice())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 16] = [7; 16];

    fn missing(said: &Authorisations) -> usize {
        said.missing(&HashSet::new()).len()
    }

    #[test]
    fn an_end_that_is_read_before_its_beginning_counts() {
        let mut said = Authorisations::default();
        said.closed(ID);
        assert_eq!(missing(&said), 0);
        said.opened(ID);
        assert_eq!(missing(&said), 0);
        assert!(!said.agree(&ID, "open"));
    }

    #[test]
    fn a_word_replaces_open_and_only_the_last_word_of_a_writer_counts() {
        let mut said = Authorisations::default();
        said.is_now(ID, 2, "superseded");
        assert_eq!(missing(&said), 0, "a word about what was leased before opens nothing");
        said.opened(ID);
        assert!(said.agree(&ID, "superseded") && !said.agree(&ID, "open"));
        said.is_now(ID, 1, "abandoned");
        said.is_now(ID, 1, "unknown");
        assert!(said.agree(&ID, "superseded") && said.agree(&ID, "unknown"));
        assert!(!said.agree(&ID, "abandoned"));
        assert_eq!(missing(&said), 1);
    }
}
