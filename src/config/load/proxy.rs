//! `[server.proxy]`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;

use spiffe::SpiffeId;

use crate::config::problem::{Problem, Problems};
use crate::config::reader::Reader;
use crate::config::{CertificateHeader, ProxySettings};
use crate::domain::IssuerUrl;

/// How to write it.
pub(super) const EXPECTED: &str = "a table, such as [server.proxy]";

const IDS: &str = "the proxies' SPIFFE IDs, such as [\"spiffe://acme.example/ns/ingress/sa/envoy\"]";

/// Most proxies: each is compared for each request.
const MAX_IDS: usize = 32;

/// A SPIFFE ID with a path, as a proxy has one.
struct ProxyId(String);

/// Text that is no [`ProxyId`].
struct NotAProxyId;

impl fmt::Display for NotAProxyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is no SPIFFE ID of a workload")
    }
}

impl FromStr for ProxyId {
    type Err = NotAProxyId;

    fn from_str(text: &str) -> Result<Self, NotAProxyId> {
        let id = SpiffeId::new(text).map_err(|_| NotAProxyId)?;
        if id.path().is_empty() || id.to_string() != text {
            Err(NotAProxyId)
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// Reads `[server.proxy]`.
pub(super) fn proxy(r: &mut Reader<'_>) -> Option<ProxySettings> {
    let listen: Option<SocketAddr> = r.required("listen", "an address and port, such as \"0.0.0.0:8423\"");
    let words = [("xfcc", CertificateHeader::Xfcc), ("rfc9440", CertificateHeader::Rfc9440)];
    let header = r.need("header", "\"xfcc\" or \"rfc9440\"").and_then(|field| field.choice(&words));
    let field = r.need("spiffe_ids", IDS)?;
    let items = field.items()?;
    if !(1..=MAX_IDS).contains(&items.len()) {
        let message = format!("there are 1 to {MAX_IDS} proxies; with none, nobody is let in");
        field.refuse("bad_proxies", &message, &format!("write {IDS}"));
    }
    let ids: Option<BTreeSet<String>> = items.iter().map(|item| item.parse().map(|ProxyId(id)| id)).collect();
    Some(ProxySettings { listen: listen?, header: header?, spiffe_ids: ids? })
}

/// Checks it beside the other keys of `[server]`, whose listeners are `others`.
pub(super) fn check(r: &Reader<'_>, proxy: &ProxySettings, others: &[Option<SocketAddr>], forwards: bool) {
    if !r.has("tls") {
        let message =
            "a proxy proves who it is in a TLS handshake, and the server has no certificate for one";
        r.refuse("proxy", "proxy_without_tls", message, "add tls = { certificate = \"…\", key = \"…\" }");
    }
    if proxy.listen.port() != 0 && others.contains(&Some(proxy.listen)) {
        let message = "the listener for proxies is theirs alone: a header of anybody else proves nothing";
        r.refuse("proxy", "listen_twice", message, "write another port into proxy.listen");
    }
    if !forwards {
        let message = "every client behind the proxies has their address as its source_ip";
        let fix = "write their networks into trusted_proxies, if policies or limits look at addresses";
        r.warn("proxy", "proxy_addresses", message, fix);
    }
}

/// Refuses proxies of trust domains without a bundle.
pub(super) fn check_domains(
    proxy: &ProxySettings,
    mut has_bundle: impl FnMut(&IssuerUrl) -> bool,
    problems: &mut Problems,
) {
    for id in &proxy.spiffe_ids {
        let domain = SpiffeId::new(id).ok();
        let domain = domain.and_then(|id| format!("spiffe://{}", id.trust_domain_name()).parse().ok());
        if domain.is_none_or(|domain| !has_bundle(&domain)) {
            let message =
                format!("server.proxy: no issuer is the trust domain of {id}, so that nothing verifies it");
            let fix = "add an issuer with profile = \"spiffe\" and the domain's bundle";
            problems.push(Problem::error(Path::new("tollgate.toml"), "proxy_domain", &message, fix));
        }
    }
}
