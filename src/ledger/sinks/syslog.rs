//! Syslog over TLS (RFC 5425), or over TCP to a receiver on the same machine (RFC 6587), with octet counting.
//!
//! Syslog has no acknowledgement. What it has is an orderly end: the receiver closes its side after it has read all that
//! came before the sender's end (RFC 5425, section 4.4). So each batch gets a connection of its own, which is closed, and
//! counts as delivered once the receiver has closed its side too. A receiver that dies with unread records in its socket
//! resets the connection, and one that closes before our end did so by itself: the batch is sent again. What remains is a
//! receiver that loses what it has read; and a network so slow that records and an early end cross for longer than we watch.

mod frame;

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use self::frame::Framing;
use super::http::rules;
use super::message::Message;
use super::send::{SendError, Verdict, all_taken};
use crate::config::SyslogSink;
use crate::net::{Dialer, Duplex, NetError};

/// How long a receiver is watched before our side ends: one that closes in this time did so by itself, and has perhaps read
/// nothing. After it the records are in its socket, which it cannot close unread without resetting the connection.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// Bytes that a receiver may send, which it has no reason to.
const MAX_CHATTER: usize = 4096;

/// A receiver.
pub(super) struct Syslog {
    dialer: Dialer,
    framing: Framing,
    timeout: Duration,
}

impl Syslog {
    /// A receiver as configured; `host` is what its messages are said to come from.
    ///
    /// # Errors
    /// A certificate or the address cannot be used.
    pub(super) fn new(settings: &SyslogSink, host: &str) -> Result<Self, NetError> {
        let identity = settings.client.as_ref().map(|client| (client.chain.as_slice(), &client.key));
        Ok(Self {
            dialer: Dialer::new(settings.address.clone(), rules(&settings.reach), identity)?,
            framing: Framing::new(settings, host),
            timeout: settings.reach.timeout,
        })
    }

    pub(super) async fn send(&self, batch: &[Message]) -> Result<Vec<Verdict>, SendError> {
        let mut frames = Vec::new();
        for message in batch {
            self.framing.append(message, &mut frames);
        }
        let connection = self.dialer.connect().await?;
        match timeout(self.timeout, hand_over(connection, &frames)).await {
            Ok(handed) => handed.map_err(SendError::Broken)?,
            Err(_) => return Err(NetError::Timeout(self.timeout).into()),
        }
        Ok(all_taken(batch))
    }
}

/// Writes everything, ends our side, and waits until the receiver ends its own.
async fn hand_over(mut connection: Box<dyn Duplex>, frames: &[u8]) -> io::Result<()> {
    let mut chatter = [0; 256];
    let mut heard = 0;
    connection.write_all(frames).await?;
    connection.flush().await?;
    match timeout(ROUND_TRIP, connection.read(&mut chatter)).await {
        // As it should be: the receiver waits for more.
        Err(_) => {}
        Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(Ok(count)) => heard += count,
        Ok(Err(error)) => return Err(error),
    }
    connection.shutdown().await?;
    while heard <= MAX_CHATTER {
        match connection.read(&mut chatter).await {
            Ok(0) => return Ok(()),
            Ok(count) => heard += count,
            // Closed without TLS's own goodbye, as common receivers do: the kernel says the same only once all is read.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("the receiver talks, which is not syslog"))
}

#[cfg(test)]
mod tests;
