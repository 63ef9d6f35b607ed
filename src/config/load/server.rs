//! `[server]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::{Around, workload};
use crate::config::reader::Reader;
use crate::config::{ServerSettings, TlsFiles, TlsSettings};
use crate::domain::{IssuerUrl, TenantName};

/// Where Tollgate listens unless told otherwise: loopback, so that nothing is exposed by forgetting a key.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8420);

/// Reads `[server]`; none without a valid URL. `agent`: something says where the Workload API is.
pub(super) fn server(r: &mut Reader<'_>, around: &Around<'_>, agent: bool) -> Option<ServerSettings> {
    let url: Option<IssuerUrl> = r.required("url", "the public URL, such as \"https://tollgate.example\"");
    let listen =
        r.optional("listen", "an address and port, such as \"127.0.0.1:8420\"").unwrap_or(DEFAULT_LISTEN);
    let operations_listen =
        r.optional("operations_listen", "an address and port, such as \"127.0.0.1:9420\"");
    let spiffe_listen = r.optional("spiffe_listen", "an address and port, such as \"127.0.0.1:8422\"");
    let tls = r
        .get("tls", "{ certificate = \"path\", key = \"path\" }, or { workload_api = true }")
        .and_then(|field| field.table(|r| tls(r, around, agent)).flatten());
    let proxies = "the proxies' networks, such as [\"10.0.0.5/32\"]";
    let trusted_proxies: Vec<IpNet> = r.list("trusted_proxies", proxies).unwrap_or_default();
    let tenant = r.optional("tenant", "a tenant's name, such as \"acme\"");
    let admin_socket = r.optional::<PathBuf>("admin_socket", "a path, such as \"/run/tollgate/admin.sock\"");
    let admin_socket = admin_socket.map(|path| around.directory.join(path));

    if let Some(url) = &url {
        check_url(r, url);
    }
    if trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
        let message = "every caller is a trusted proxy, and could claim any source address";
        r.refuse("trusted_proxies", "proxies_too_wide", message, &format!("write {proxies}"));
    }
    let encrypted = r.has("tls") || !trusted_proxies.is_empty();
    check_listeners(r, listen, operations_listen, encrypted);
    if let Some(address) = spiffe_listen {
        check_spiffe(r, address, [Some(listen), operations_listen], agent);
    }
    Some(ServerSettings {
        url: url?,
        listen,
        operations_listen,
        spiffe_listen,
        tls,
        trusted_proxies,
        tenant: tenant.or_else(default_tenant)?,
        admin_socket,
    })
}

fn check_listeners(r: &Reader<'_>, listen: SocketAddr, operations: Option<SocketAddr>, encrypted: bool) {
    let unencrypted = |key, address: SocketAddr, message| {
        if !address.ip().is_loopback() && !encrypted {
            let fix = "add tls = { certificate = \"…\", key = \"…\" }, or listen on 127.0.0.1, or name the proxy \
                       that ends TLS in trusted_proxies";
            r.refuse(key, "listen_unencrypted", message, fix);
        }
    };
    unencrypted("listen", listen, "tokens and credentials would cross the network unencrypted");
    match operations {
        Some(address) if address == listen && address.port() != 0 => {
            let message = "callers and operators cannot share one address";
            r.refuse("operations_listen", "listen_twice", message, "write another port");
        }
        Some(address) => {
            unencrypted("operations_listen", address, "metrics would cross the network unencrypted");
        }
        // Otherwise it is refused already.
        None if !listen.ip().is_loopback() && encrypted => {
            let message =
                "whoever reaches this address can read the metrics, and the issuers' names in /readyz";
            let fix = "add operations_listen = \"127.0.0.1:9420\", which then serves them alone";
            r.warn("listen", "metrics_public", message, fix);
        }
        None => {}
    }
}

/// The listener that shows the SVID is always encrypted, and has no other certificate to show.
fn check_spiffe(r: &Reader<'_>, address: SocketAddr, others: [Option<SocketAddr>; 2], agent: bool) {
    if !agent {
        workload::refuse(r, "spiffe_listen");
    }
    if address.port() != 0 && others.contains(&Some(address)) {
        let message = "two listeners cannot share one address";
        r.refuse("spiffe_listen", "listen_twice", message, "write another port");
    }
}

/// The tenant of all that names none, unless `server.tenant` says otherwise.
pub(super) fn default_tenant() -> Option<TenantName> {
    "default".parse().ok()
}

fn check_url(r: &Reader<'_>, url: &IssuerUrl) {
    if url.trust_domain().is_some() {
        r.refuse(
            "url",
            "url_scheme",
            "this is a SPIFFE trust domain, and nobody reaches it",
            "write https://…",
        );
    }
    if url.as_str().ends_with('/') {
        // The federation issuer is `{url}/federation`; an issuer is compared byte by byte.
        let message =
            "the URL ends with a slash; other parties compare it exactly, and paths are appended to it";
        r.refuse("url", "trailing_slash", message, "write it without the slash at the end");
    }
    if url.is_insecure_loopback() {
        let message =
            "the public URL is plain http on a loopback address: only this machine can use Tollgate";
        r.warn("url", "insecure_loopback", message, "use it in tests only");
    }
}

fn tls(r: &mut Reader<'_>, around: &Around<'_>, agent: bool) -> Option<TlsSettings> {
    if workload::wanted(r, agent) {
        workload::alone(r, &["certificate", "key"], "the certificate comes from exactly one place");
        return Some(TlsSettings::WorkloadApi);
    }
    let certificate = r.required::<PathBuf>("certificate", "a path to a PEM chain, leaf first");
    let key = r.required::<PathBuf>("key", "a path to a PEM private key");
    let (certificate, key) = (around.directory.join(certificate?), around.directory.join(key?));
    Some(TlsSettings::Files(TlsFiles { certificate, key }))
}
