//! The listeners of a server: where they are bound, and what TLS each shows.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::OptionFuture;

use crate::clock::Clock;
use crate::config::{Config, Limits, ServerSettings, TlsSettings};
use crate::http;
use crate::net::{ClientAuthorities, PossessionOnly, WorkloadApi};

/// Where callers and operators reach the server.
pub(super) struct Addresses {
    callers: SocketAddr,
    spiffe: Option<SocketAddr>,
    operators: Option<SocketAddr>,
}

impl Addresses {
    /// Those that the settings name.
    pub(super) const fn of(server: &ServerSettings) -> Self {
        Self { callers: server.listen, spiffe: server.spiffe_listen, operators: server.operations_listen }
    }

    /// Binds them; serves nothing yet.
    pub(super) async fn bind(self, tls: &Tls, limits: &Limits) -> Result<http::Listeners, http::BindError> {
        let bind =
            |address, tls: &Option<_>| http::Server::bind(address, tls.clone(), http::Caps::new(limits));
        let callers = bind(self.callers, &tls.server).await?;
        let spiffe = OptionFuture::from(self.spiffe.map(|address| bind(address, &tls.spiffe))).await;
        let operators = OptionFuture::from(self.operators.map(|address| bind(address, &tls.server))).await;
        Ok(http::Listeners { callers, spiffe: spiffe.transpose()?, operators: operators.transpose()? })
    }
}

/// TLS as it is configured: of `server.listen`, and of the listener that shows the SVID beside it.
pub(super) struct Tls {
    server: Option<Arc<http::Tls>>,
    spiffe: Option<Arc<http::Tls>>,
}

impl Tls {
    /// Where SVIDs are identities, every certificate gets through the handshake: the bundles of now are looked at per
    /// request.
    ///
    /// # Errors
    /// [`http::TlsError`].
    pub(super) fn load(
        config: &Config,
        clock: &Clock,
        workload: Option<&WorkloadApi>,
    ) -> Result<Self, http::TlsError> {
        let settings = &config.settings;
        let load = |tls: &TlsSettings| {
            let clients = if config.asks_for_svids() {
                Some(PossessionOnly::verifier())
            } else {
                ClientAuthorities::of_handshake(settings.client_authorities())
            };
            http::Tls::load(tls, clients, clock, workload).map(Arc::new)
        };
        let server = settings.server.tls.as_ref().map(load).transpose()?;
        let spiffe = settings.server.spiffe_listen.map(|_| load(&TlsSettings::WorkloadApi)).transpose()?;
        Ok(Self { server, spiffe })
    }

    /// Shows the certificates of `newer` on connections from now on. Which there are does not change while the server runs.
    pub(super) fn replace(&self, newer: &Self) {
        for (own, newer) in [(&self.server, &newer.server), (&self.spiffe, &newer.spiffe)] {
            if let (Some(own), Some(newer)) = (own, newer) {
                own.replace(newer);
            }
        }
    }
}
