//! Ends TLS in front of a broker, and remembers which certificates were shown.

use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tollgate::net::PossessionOnly;

use crate::harness::Site;

type Seen = Arc<Mutex<Vec<CertificateDer<'static>>>>;

/// Runs until the test ends.
pub(super) struct Front {
    pub(super) url: String,
    seen: Seen,
}

impl Front {
    /// In front of `site`, with a certificate that `front.crt` vouches for.
    pub(super) async fn start(site: &Site) -> Self {
        let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        site.write("front.crt", &server.cert.pem());
        let key = PrivateKeyDer::try_from(server.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_client_cert_verifier(PossessionOnly::verifier());
        let config = builder.with_single_cert(vec![server.cert.der().clone()], key).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (seen, behind) = (Seen::default(), site.url.trim_start_matches("http://").to_owned());
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), behind, Arc::clone(&seen)));
        Self { url, seen }
    }

    /// The certificate of the last connection that showed one.
    pub(super) fn last_shown(&self) -> Option<CertificateDer<'static>> {
        self.seen.lock().unwrap().last().cloned()
    }

    pub(super) fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, behind: String, seen: Seen) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, behind, seen) = (acceptor.clone(), behind.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            seen.lock().unwrap().extend(shown.map(|leaf| leaf.clone().into_owned()));
            let mut broker = TcpStream::connect(behind).await.unwrap();
            // Either side may go first.
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut broker).await;
        });
    }
}
