//! How far a sink has come: one place per chain, for several writers' chains have no order between them.

use std::collections::BTreeMap;

/// Stands for the chain of checkpoints, whose sequence numbers are theirs; real writers are numbered from 1.
pub(in crate::ledger) const CHECKPOINTS: i64 = 0;

/// Stands for the first writer that may still have something to send.
const SETTLED: i64 = -1;

/// One record's place in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) struct Place {
    /// The writer's number.
    pub(in crate::ledger) writer: i64,
    /// Its sequence number.
    pub(in crate::ledger) seq: i64,
}

/// What a sink has got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::ledger) struct Cursor(BTreeMap<i64, i64>);

impl Cursor {
    /// Reads what [`Self::places`] gave.
    pub(in crate::ledger) fn new(places: impl IntoIterator<Item = Place>) -> Self {
        Self(places.into_iter().map(|place| (place.writer, place.seq)).collect())
    }

    /// The last sequence number of `writer` that was delivered; 0 before the first.
    pub(in crate::ledger) fn of(&self, writer: i64) -> i64 {
        self.0.get(&writer).copied().unwrap_or(0)
    }

    /// The first writer that may still have something to send.
    pub(in crate::ledger) fn first_writer(&self) -> i64 {
        self.of(SETTLED).max(1)
    }

    /// The chains with records beyond it, of those with these newest sequence numbers: where it stands, and the newest.
    pub(in crate::ledger) fn behind(&self, heads: Vec<(i64, i64)>) -> Vec<(Place, i64)> {
        let behind = heads.into_iter().filter(|(writer, head)| *head > self.of(*writer));
        behind.map(|(writer, head)| (Place { writer, seq: self.of(writer) }, head)).collect()
    }

    /// The first writer that may still have something to send, of those with these newest sequence numbers, in order; a
    /// writer that lives may.
    pub(in crate::ledger) fn first_open(&self, heads: Vec<(i64, i64)>, lives: impl Fn(i64) -> bool) -> i64 {
        let open = heads.into_iter().find(|(writer, head)| lives(*writer) || *head > self.of(*writer));
        open.map_or_else(|| self.first_writer(), |(writer, _)| writer)
    }

    /// Notes that `place` is delivered, and all before it in its chain.
    pub(in crate::ledger) fn advance(&mut self, place: Place) {
        let seq = self.0.entry(place.writer).or_default();
        *seq = place.seq.max(*seq);
    }

    /// Takes in what `other` holds: both tell of records that were delivered.
    pub(in crate::ledger) fn join(&mut self, other: &Self) {
        other.places().into_iter().for_each(|place| self.advance(place));
        self.forget();
    }

    /// Forgets the places of writers before `live`, which are over and delivered to their ends: a store that was started
    /// ten thousand times costs its sinks no more than a new one.
    pub(in crate::ledger) fn settle(&mut self, live: i64) {
        if live > self.first_writer() {
            self.0.insert(SETTLED, live);
            self.forget();
        }
    }

    fn forget(&mut self) {
        let first = self.first_writer();
        self.0.retain(|writer, _| *writer <= CHECKPOINTS || *writer >= first);
    }

    /// The last record of `writer` up to which all were delivered; past any for a chain that is over and delivered.
    pub(in crate::ledger) fn delivered(&self, writer: i64) -> i64 {
        if writer < self.first_writer() { i64::MAX } else { self.of(writer) }
    }

    /// All of it, for the store.
    pub(in crate::ledger) fn places(&self) -> Vec<Place> {
        self.0.iter().map(|(writer, seq)| Place { writer: *writer, seq: *seq }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn place(writer: i64, seq: i64) -> Place {
        Place { writer, seq }
    }

    #[test]
    fn a_place_never_moves_back_and_chains_do_not_mix() {
        let mut cursor = Cursor::default();
        for step in [place(1, 5), place(2, 1), place(1, 3), place(CHECKPOINTS, 9)] {
            cursor.advance(step);
        }
        assert_eq!((cursor.of(1), cursor.of(2), cursor.of(3), cursor.of(CHECKPOINTS)), (5, 1, 0, 9));
        assert_eq!([1, 2, 3].map(|writer| cursor.delivered(writer)), [5, 1, 0]);
        assert_eq!(Cursor::new(cursor.places()), cursor);
    }

    #[test]
    fn writers_that_are_over_are_forgotten_and_stay_delivered() {
        let mut cursor = Cursor::new([place(1, 5), place(2, 7), place(CHECKPOINTS, 3)]);
        cursor.settle(3);
        assert_eq!(cursor.places(), [place(-1, 3), place(0, 3)]);
        assert_eq!((cursor.delivered(2), cursor.delivered(3)), (i64::MAX, 0));
        assert_eq!(cursor.of(CHECKPOINTS), 3, "checkpoints are no writer");
        cursor.settle(2);
        assert_eq!(cursor.first_writer(), 3, "what is over stays over");
    }

    #[test]
    fn a_writer_is_over_once_it_is_gone_and_all_before_and_of_it_is_delivered() {
        let cursor = Cursor::new([place(1, 5), place(2, 7), place(3, 1)]);
        let heads = || vec![(1, 5), (2, 7), (3, 2), (4, 1)];
        assert_eq!(cursor.first_open(heads(), |_| false), 3);
        assert_eq!(cursor.first_open(heads(), |writer| writer == 2), 2);
        assert_eq!(cursor.behind(heads()), [(place(3, 1), 2), (place(4, 0), 1)]);
        assert_eq!(cursor.first_open(vec![], |_| false), 1);
    }

    #[test]
    fn two_cursors_of_one_sink_together_hold_what_either_delivered() {
        let mut cursor = Cursor::new([place(1, 5), place(2, 7), place(3, 1)]);
        cursor.join(&Cursor::new([place(-1, 2), place(2, 6), place(3, 4)]));
        assert_eq!(cursor.places(), [place(-1, 2), place(2, 7), place(3, 4)]);
    }
}
