//! A batch on its way: what of it still waits, and what each answer of the receiver changes.

use std::time::Duration;

use super::health::Health;
use super::message::Message;
use super::send::{SendError, Verdict};
use crate::causes;

/// Why something has to be sent again later, and how long the receiver asks to wait.
pub(super) type Later = (String, Option<Duration>);

/// The records of a batch that the receiver has not judged yet.
pub(super) struct Batch {
    waiting: Vec<Message>,
    /// How many are sent at once: all, unless the receiver refuses them together.
    size: usize,
}

impl Batch {
    pub(super) const fn new(waiting: Vec<Message>) -> Self {
        let size = waiting.len();
        Self { waiting, size }
    }

    /// What to send now.
    pub(super) fn chunk(&self) -> &[Message] {
        self.waiting.get(..self.size).unwrap_or(&self.waiting)
    }

    /// The oldest that waits; none once all is done.
    pub(super) fn oldest(&self) -> Option<&Message> {
        self.waiting.first()
    }

    /// Takes note of what came of sending [`Self::chunk`]. What is given up is told to `health`; nothing else is dropped but
    /// what the receiver has.
    pub(super) fn settle(
        &mut self,
        sent: Result<Vec<Verdict>, SendError>,
        health: &mut Health,
    ) -> Option<Later> {
        match sent {
            Ok(verdicts) => self.judge(verdicts, health),
            Err(SendError::Invalid { index, why }) if index < self.chunk().len() => {
                self.give_up(index, &why, health);
                None
            }
            Err(SendError::Together(why)) => {
                if self.chunk().len() > 1 {
                    self.size = self.chunk().len() / 2;
                } else if !self.waiting.is_empty() {
                    self.give_up(0, &why, health);
                }
                None
            }
            Err(error) => Some((causes::in_full(&error), error.retry_after())),
        }
    }

    fn judge(&mut self, verdicts: Vec<Verdict>, health: &mut Health) -> Option<Later> {
        let (mut later, mut left, mut taken) = (None, Vec::new(), 0);
        let mut rest = std::mem::take(&mut self.waiting).into_iter();
        for (verdict, message) in verdicts.into_iter().zip(&mut rest) {
            match verdict {
                Verdict::Taken => taken += 1,
                Verdict::Refused(why) => health.given_up(message.place, &why),
                Verdict::Again(why) => {
                    left.push(message);
                    later = Some((why, None));
                }
            }
        }
        left.extend(rest);
        (self.size, self.waiting) = (left.len(), left);
        health.delivered(taken);
        if later.is_none() {
            health.recovered();
        }
        later
    }

    fn give_up(&mut self, index: usize, why: &str, health: &Health) {
        let message = self.waiting.remove(index);
        health.given_up(message.place, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::sinks::pace::Pace;
    use crate::ledger::sinks::testing::message;

    fn batch(count: i64) -> (Batch, Health) {
        let messages = (1..=count).map(|seq| message(1, seq)).collect();
        (Batch::new(messages), Health::new("siem", Pace::RECEIVER))
    }

    fn waiting(batch: &Batch) -> Vec<i64> {
        batch.waiting.iter().map(|message| message.place.seq).collect()
    }

    #[test]
    fn only_what_the_receiver_has_or_never_takes_is_dropped() {
        let (mut batch, mut health) = batch(4);
        let verdicts = vec![
            Verdict::Taken,
            Verdict::Again("busy".into()),
            Verdict::Refused("no".into()),
            Verdict::Again("busy too".into()),
        ];
        assert_eq!(batch.settle(Ok(verdicts), &mut health), Some(("busy too".into(), None)));
        assert_eq!(waiting(&batch), [2, 4]);
        assert_eq!(batch.settle(Ok(vec![Verdict::Taken, Verdict::Taken]), &mut health), None);
        assert!(batch.oldest().is_none() && batch.chunk().is_empty());
    }

    #[test]
    fn a_failure_drops_nothing() {
        let (mut batch, mut health) = batch(2);
        let wait = Some(Duration::from_secs(7));
        let busy = SendError::Busy { status: 503, retry_after: wait };
        assert_eq!(batch.settle(Err(busy), &mut health).unwrap().1, wait);
        assert!(batch.settle(Err(SendError::Unwelcome("status 403".into())), &mut health).is_some());
        let nobody = SendError::Invalid { index: 2, why: "no".into() };
        assert!(batch.settle(Err(nobody), &mut health).is_some(), "there is no third record");
        assert_eq!(waiting(&batch), [1, 2]);
    }

    #[test]
    fn a_poison_record_is_found_by_halving_and_the_rest_arrives() {
        let (mut batch, mut health) = batch(9);
        let mut arrived = Vec::new();
        while batch.oldest().is_some() {
            let places: Vec<_> = batch.chunk().iter().map(|message| message.place.seq).collect();
            let sent = if places.contains(&6) {
                Err(SendError::Together("status 400".into()))
            } else {
                arrived.extend(places.iter().copied());
                Ok(vec![Verdict::Taken; places.len()])
            };
            assert_eq!(batch.settle(sent, &mut health), None);
        }
        assert_eq!(arrived, [1, 2, 3, 4, 5, 7, 8, 9]);
    }
}
