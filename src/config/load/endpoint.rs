//! Addresses that Tollgate calls: https, unless a test says otherwise about a literal loopback address.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use url::{Host, Url};

use super::Around;
use crate::config::files::read_capped;
use crate::config::reader::Reader;
use crate::net::ClientAuthorities;

/// Where cloud machines serve their credentials: AWS, GCP and Azure, and AWS over IPv6.
const METADATA: [&str; 2] = ["169.254.169.254", "fd00:ec2::254"];

/// What is expected of `ca_file`.
const CA_FILE: &str = "a path to PEM certificates";

/// Largest file of certificates, in bytes.
const MAX_CA_BYTES: usize = 1 << 20;

/// `ca_file`: the authorities, PEM, that vouch for this endpoint beside the platform's.
pub(super) fn ca_file(r: &mut Reader<'_>, around: &Around<'_>) -> Option<PathBuf> {
    let written: PathBuf = r.optional("ca_file", CA_FILE)?;
    let path = around.directory.join(written);
    match read_capped(&path, MAX_CA_BYTES) {
        Ok(pem)
            if pem.len() <= MAX_CA_BYTES
                && matches!(CertificateDer::pem_slice_iter(&pem).next(), Some(Ok(_))) =>
        {
            Some(path)
        }
        Ok(_) => bad_ca_file(r, &format!("{} holds no certificate in PEM", path.display())),
        Err(error) => bad_ca_file(r, &format!("{} cannot be read: {error}", path.display())),
    }
}

/// `ca_file` of what clients show: the authorities, PEM, that vouch for them, and nobody beside.
pub(super) fn client_authorities(r: &mut Reader<'_>, around: &Around<'_>) -> Option<ClientAuthorities> {
    let path = around.directory.join(r.required::<PathBuf>("ca_file", CA_FILE)?);
    match read_capped(&path, MAX_CA_BYTES) {
        Ok(pem) if pem.len() <= MAX_CA_BYTES => ClientAuthorities::from_pem(&pem)
            .map_or_else(|error| bad_ca_file(r, &format!("{}: {error}", path.display())), Some),
        Ok(_) => bad_ca_file(r, &format!("{} is too large", path.display())),
        Err(error) => bad_ca_file(r, &format!("{} cannot be read: {error}", path.display())),
    }
}

fn bad_ca_file<T>(r: &Reader<'_>, message: &str) -> Option<T> {
    r.refuse("ca_file", "bad_ca_file", message, "name a file that holds the authority's certificate in PEM");
    None
}

/// `insecure_loopback`, warned about.
pub(super) fn insecure_loopback(r: &mut Reader<'_>) -> bool {
    let insecure = r.flag("insecure_loopback");
    if insecure {
        let message =
            "plain http to a loopback address is accepted here: whoever shares the machine can answer";
        r.warn("insecure_loopback", "insecure_loopback", message, "use it in tests only");
    }
    insecure
}

/// `allow_networks`: private networks that a name may resolve to.
pub(super) fn allow_networks(r: &mut Reader<'_>) -> Vec<IpNet> {
    let expected = "networks that are really needed, such as [\"10.20.0.0/16\"]";
    let networks: Vec<IpNet> = r.list("allow_networks", expected).unwrap_or_default();
    let metadata = METADATA.map(str::parse::<IpAddr>);
    for network in &networks {
        if metadata.iter().flatten().any(|address| network.contains(address)) {
            let message =
                format!("{network} holds the address where cloud machines hand out their credentials");
            r.refuse("allow_networks", "network_too_wide", &message, &format!("write {expected}"));
        }
    }
    networks
}

/// A URL that Tollgate, or its callers, will call.
pub(super) fn url(
    r: &mut Reader<'_>,
    key: &'static str,
    expected: &'static str,
    insecure: bool,
) -> Option<Url> {
    let url: Url = r.optional(key, expected)?;
    check(r, key, &url, insecure).then_some(url)
}

/// Records what is wrong with `url`, the value of `key`; true if nothing is.
pub(super) fn check(r: &Reader<'_>, key: &str, url: &Url, insecure: bool) -> bool {
    let extra = !url.username().is_empty() || url.password().is_some() || url.fragment().is_some();
    if extra {
        let fix = "remove user, password and fragment; secrets have keys of their own";
        r.refuse(key, "url_parts", "the URL has a user, a password or a fragment", fix);
    }
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    };
    let fits = match url.scheme() {
        "https" => true,
        "http" => loopback && insecure,
        _ => false,
    };
    if !fits {
        let message =
            "the URL must use https; http is for a literal loopback address with insecure_loopback = true";
        r.refuse(
            key,
            "url_insecure",
            message,
            "serve it over https, or, in a test, add insecure_loopback = true",
        );
    }
    fits && !extra
}
