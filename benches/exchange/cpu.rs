//! Processor time, which other programs on the machine do not change as they change the time on the wall.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Rounds of each measurement; the best counts, for whatever else runs only ever makes a round slower.
const ROUNDS: usize = 5;

/// Processor time of the calling thread so far, seconds.
pub(crate) fn of_thread() -> f64 {
    read(ClockId::ThreadCPUTime)
}

/// Processor time of this process so far, all threads, seconds.
pub(crate) fn of_process() -> f64 {
    read(ClockId::ProcessCPUTime)
}

fn read(clock: ClockId) -> f64 {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default().as_secs_f64()
}

/// Microseconds of the calling thread per call of `work`, the best of a few rounds.
pub(crate) fn micros<E>(calls: u32, mut work: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let before = of_thread();
        for _ in 0..calls {
            work()?;
        }
        best = best.min(per(of_thread() - before, calls));
    }
    Ok(best)
}

/// `seconds` over `count`, in microseconds.
pub(crate) fn per(seconds: f64, count: u32) -> f64 {
    seconds * 1e6 / f64::from(count.max(1))
}

/// How many rounds steps that use something up are measured in.
pub(crate) const fn rounds() -> usize {
    ROUNDS
}
