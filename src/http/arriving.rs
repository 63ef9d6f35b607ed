//! Memory for bodies on their way in, shared by all connections.
//!
//! One body is small, but thousands of connections with dozens of streams each could bring one at the same time. What
//! counts is what has arrived, not what was announced: whoever sends slowly takes little.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The bytes that bodies may hold together.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// What one body holds of the room, until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Held(Option<OwnedSemaphorePermit>);

/// There is no room left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Room {
    /// Room for `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// Takes room for `bytes` more.
    ///
    /// # Errors
    /// [`Full`]; what is held already stays held.
    pub(super) fn take(&self, held: &mut Held, bytes: usize) -> Result<(), Full> {
        let bytes = u32::try_from(bytes).map_err(|_| Full)?;
        let more = Arc::clone(&self.0).try_acquire_many_owned(bytes).map_err(|_| Full)?;
        match &mut held.0 {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_07_what_one_body_holds_others_cannot_until_it_is_gone() {
        let room = Room::new(10);
        let (mut one, mut other) = (Held::default(), Held::default());
        assert_eq!((room.take(&mut one, 4), room.take(&mut one, 4)), (Ok(()), Ok(())));
        assert_eq!(room.take(&mut other, 3), Err(Full));
        drop(one);
        assert_eq!(room.take(&mut other, 10), Ok(()));
    }
}
