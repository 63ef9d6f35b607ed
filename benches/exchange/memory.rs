//! Whether memory stays where it is: resident size after a hundred thousand exchanges, and after twice as many.

use std::sync::Arc;

use crate::process::Server;
use crate::report::Memory;
use crate::signer::Signer;
use crate::site::Site;
use crate::{Fallible, load};

/// Exchanges before the first look, and again before the second.
const EXCHANGES: usize = 100_000;
/// Tokens made at once: all of them would fill the memory of whoever measures memory.
const CHUNK: usize = 10_000;

/// Runs twice [`EXCHANGES`] over 32 connections.
pub(crate) async fn measure(site: &Site, signer: &Signer) -> Fallible<Memory> {
    let server = Server::tollgate(&site.config())?;
    let at_start = server.resident()?;
    let mut resident = Vec::new();
    for _ in 0..2 {
        for _ in 0..EXCHANGES / CHUNK {
            let requests =
                site.tokens(signer, CHUNK)?.iter().map(|token| load::request("preview", token)).collect();
            load::send(server.address(), 32, Arc::new(requests)).await?;
        }
        resident.push(server.resident()?);
    }
    server.stop()?;
    let [after_first, after_second] = resident[..] else { return Err("two figures".into()) };
    let grown = after_second.saturating_sub(after_first);
    Ok(Memory { exchanges: 2 * EXCHANGES, at_start, after_first, after_second, grown })
}
