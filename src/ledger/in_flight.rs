//! How many exchanges are under way: what tells a writer whether others are about to ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of exchanges under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Exchanges(Arc<AtomicUsize>);

/// One exchange under way, until it is dropped.
#[derive(Debug)]
pub struct InFlight(Exchanges);

impl Exchanges {
    /// Counts one more.
    pub(super) fn begin(&self) -> InFlight {
        self.0.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    /// How many there are. A guess is enough: it only decides how long a batch is gathered.
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_under_way() {
        let exchanges = Exchanges::default();
        let (one, two) = (exchanges.begin(), exchanges.begin());
        assert_eq!(exchanges.count(), 2);
        drop(one);
        drop(two);
        assert_eq!(exchanges.count(), 0);
    }
}
