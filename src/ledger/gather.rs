//! How long a writer gathers a batch: while more exchanges are under way than wait, it lets a moment pass for those that
//! are about to ask, as long as somebody comes in each. An idle store adds no delay.

use super::in_flight::Exchanges;

/// Most steps in one transaction.
pub(super) const BATCH: usize = 256;

/// One batch that is being gathered.
pub(super) struct Gathering<'a> {
    in_flight: &'a Exchanges,
    moments: u32,
    before: usize,
}

impl<'a> Gathering<'a> {
    /// Begins; at most `moments` will pass, however many come. Somebody who is slow, at a target that takes a second for one,
    /// costs a commit no more than one of them.
    pub(super) const fn begin(in_flight: &'a Exchanges, moments: u32) -> Self {
        Self { in_flight, moments, before: 0 }
    }

    /// True if another moment should pass, with `works` steps at hand; when it is over, all that wait are to be taken.
    pub(super) fn goes_on(&mut self, works: usize) -> bool {
        // Half: while a batch is committed, the others come as far as here.
        let enough = (self.in_flight.count() / 2).min(BATCH);
        let goes_on = works < enough && works > self.before && self.moments > 0;
        self.before = works;
        self.moments = self.moments.saturating_sub(1);
        goes_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_while_others_come_and_no_longer_than_its_moments() {
        let exchanges = Exchanges::default();
        let under_way: Vec<_> = (0..8).map(|_| exchanges.begin()).collect();
        let mut gathering = Gathering::begin(&exchanges, 10);
        assert!(gathering.goes_on(1), "one of eight");
        assert!(gathering.goes_on(2), "another came");
        assert!(!gathering.goes_on(2), "nobody came");
        assert!(!Gathering::begin(&exchanges, 10).goes_on(4), "half of them");

        let mut short = Gathering::begin(&exchanges, 1);
        assert!(short.goes_on(1));
        assert!(!short.goes_on(2), "its one moment has passed");

        drop(under_way);
        assert!(!Gathering::begin(&exchanges, 10).goes_on(1), "nobody else is under way");
    }
}
