//! A whole Tollgate in one process, for trying it out: the shipped configuration and policies, an issuer that really
//! signs, and a store in a temporary folder.
//!
//! It never reads the user's configuration and never leaves the loopback interface.

mod files;
mod issuer;

pub use issuer::{TokenProfile, TokenRequest};

use std::io;

use tempfile::TempDir;

use crate::app::{App, Source, StartError};
use crate::clock::{Clock, NoEntropy};
use crate::signing::SigningError;

/// Why the demo cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No port or no temporary folder.
    #[error("cannot set up the demo")]
    Io(#[from] io::Error),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The issuer's key.
    #[error("cannot make the demo issuer's key")]
    Signing(#[from] SigningError),
    /// The broker itself.
    #[error("cannot start the demo's broker")]
    Start(#[from] StartError),
}

/// A running demo. Dropping it removes its folder.
pub struct Demo {
    /// The broker.
    pub app: App,
    /// The broker's URL, which is also the audience it expects.
    pub url: String,
    /// The issuer's URL.
    pub issuer: String,
    /// Holds the configuration and the store.
    pub folder: TempDir,
}

impl Demo {
    /// Starts the issuer and the broker on loopback ports; `port` is the broker's, 0 for any free one.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn start(port: u16, clock: Clock) -> Result<Self, DemoError> {
        let folder = tempfile::Builder::new().prefix("tollgate-demo-").tempdir()?;
        // The next port, so that `demo token` finds it without asking.
        let issuer_port = if port == 0 { 0 } else { port.saturating_add(1) };
        let issuer = issuer::start(issuer_port, clock.clone()).await?;
        let url = format!("http://127.0.0.1:{}", if port == 0 { free_port()? } else { port });
        files::write(folder.path(), &url, &issuer)?;
        let source = Source { directory: folder.path().join("config"), environment: Vec::new() };
        let app = App::start(source, clock, None).await?;
        Ok(Self { app, url, issuer, folder })
    }
}

/// A port that was free a moment ago: the URL stands in the configuration before the broker binds it.
fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
