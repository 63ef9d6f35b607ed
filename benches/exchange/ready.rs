//! How soon a server with a hundred roles listens, its keys made at an earlier start.

use std::time::Instant;

use crate::process::Server;
use crate::signer::Signer;
use crate::site::Site;
use crate::{Fallible, cpu};

/// Milliseconds on the wall from the start of the process to a bound port, the best of a few.
pub(crate) fn measure(roles: usize, signer: &Signer) -> Fallible<f64> {
    let site = Site::new(roles, roles / 10)?;
    site.trust(signer)?;
    Server::tollgate(&site.config())?.stop()?;
    let mut best = f64::INFINITY;
    for _ in 0..cpu::rounds() {
        let began = Instant::now();
        let server = Server::tollgate(&site.config())?;
        best = best.min(began.elapsed().as_secs_f64() * 1e3);
        server.stop()?;
    }
    Ok(best)
}
