//! Whom a request comes from, when proxies stand between.
//!
//! Forwarding headers are read only if the connection itself comes from a configured proxy, and then from the right:
//! everything left of the first address that is not a proxy was written by whoever sent it, and proves nothing.
//! A proxy usually maintains one of the two headers and passes the other through as the client wrote it; where both
//! are present and disagree, the request is refused, for a policy on `source_ip` would decide on a forged value.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::FORWARDED;
use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::domain::{Code, Refusal};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Longest chain of hops that is read.
const MAX_HOPS: usize = 32;

/// Why the origin of a forwarded request is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ForwardedError {
    /// A hop that is needed is not an address.
    #[error("a hop in the forwarding headers is not an IP address")]
    Unreadable,
    /// Too many hops.
    #[error("the forwarding headers name more than {MAX_HOPS} hops")]
    TooManyHops,
    /// The two headers name different clients.
    #[error("Forwarded and X-Forwarded-For name different clients")]
    Disagree,
}

impl From<ForwardedError> for Refusal {
    fn from(error: ForwardedError) -> Self {
        Self::new(Code::RequestMalformed, error.to_string())
    }
}

/// True if `address` is that of a trusted proxy.
pub(super) fn is_proxy(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// The client's address: `peer`, or behind trusted proxies the rightmost hop that is not one of them.
///
/// # Errors
/// [`ForwardedError`] if a trusted proxy passed on what cannot be read without a guess.
pub(super) fn source_ip(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> Result<IpAddr, ForwardedError> {
    // An IPv4 client of a dual-stack socket appears as ::ffff:a.b.c.d and must match the networks all the same.
    let peer = peer.to_canonical();
    let is_proxy = |address| is_proxy(address, trusted);
    if !is_proxy(peer) {
        return Ok(peer);
    }
    let forwarded = client(forwarded_hops(headers)?, is_proxy)?;
    let x_forwarded_for = client(x_forwarded_for_hops(headers)?, is_proxy)?;
    match (forwarded, x_forwarded_for) {
        (None, None) => Ok(peer),
        (Some(one), None) | (None, Some(one)) => Ok(one),
        (Some(one), Some(other)) if one == other => Ok(one),
        (Some(_), Some(_)) => Err(ForwardedError::Disagree),
    }
}

/// The rightmost hop that is not a proxy, or the leftmost if all are; none if there is no hop.
fn client(
    hops: Vec<Option<IpAddr>>,
    is_proxy: impl Fn(IpAddr) -> bool,
) -> Result<Option<IpAddr>, ForwardedError> {
    let mut last = None;
    for hop in hops.into_iter().rev() {
        let address = hop.ok_or(ForwardedError::Unreadable)?;
        last = Some(address);
        if !is_proxy(address) {
            break;
        }
    }
    Ok(last)
}

fn x_forwarded_for_hops(headers: &HeaderMap) -> Result<Vec<Option<IpAddr>>, ForwardedError> {
    let mut hops = Vec::new();
    for line in headers.get_all(X_FORWARDED_FOR) {
        let line = line.to_str().map_err(|_| ForwardedError::Unreadable)?;
        hops.extend(line.split(',').take(MAX_HOPS + 1).map(|hop| address(hop.trim())));
        check_count(&hops)?;
    }
    Ok(hops)
}

/// The `for` parameter of each element (RFC 7239, section 4).
fn forwarded_hops(headers: &HeaderMap) -> Result<Vec<Option<IpAddr>>, ForwardedError> {
    let mut hops = Vec::new();
    for line in headers.get_all(FORWARDED) {
        let line = line.to_str().map_err(|_| ForwardedError::Unreadable)?;
        hops.extend(split_outside_quotes(line, ',').take(MAX_HOPS + 1).map(for_parameter));
        check_count(&hops)?;
    }
    Ok(hops)
}

const fn check_count(hops: &[Option<IpAddr>]) -> Result<(), ForwardedError> {
    if hops.len() > MAX_HOPS { Err(ForwardedError::TooManyHops) } else { Ok(()) }
}

fn for_parameter(element: &str) -> Option<IpAddr> {
    let mut values = split_outside_quotes(element, ';').filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    });
    let value = values.next()?;
    let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    address(unquoted).filter(|_| values.next().is_none())
}

/// `text` cut at `separator` wherever that is not inside a quoted string (RFC 9110, section 5.6.4).
pub(super) fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        let ends = c == separator && !quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        ends
    })
}

/// An address with or without port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(peer: &str, lines: &[(HeaderName, &str)]) -> Result<String, ForwardedError> {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.clone(), value.parse().unwrap());
        }
        source_ip(peer.parse().unwrap(), &headers, &trusted).map(|address| address.to_string())
    }

    #[test]
    fn s_08_ignores_forwarding_headers_of_anyone_but_a_trusted_proxy() {
        let forged = [(X_FORWARDED_FOR, "192.0.2.1"), (FORWARDED, "for=192.0.2.1")];
        assert_eq!(source("203.0.113.9", &forged), Ok("203.0.113.9".into()));
    }

    #[test]
    fn s_08_takes_the_rightmost_hop_that_is_not_a_proxy() {
        let chain = [(X_FORWARDED_FOR, "1.1.1.1, 192.0.2.7"), (X_FORWARDED_FOR, "10.0.0.2")];
        assert_eq!(source("10.0.0.1", &chain), Ok("192.0.2.7".into()));
        let chain = [(FORWARDED, r#"for=1.1.1.1, for="[2001:db8::7]:4711";proto=https, For=10.0.0.2:80"#)];
        assert_eq!(source("10.0.0.1", &chain), Ok("2001:db8::7".into()));
    }

    #[test]
    fn s_08_refuses_headers_that_disagree() {
        let both = [(FORWARDED, "for=10.9.9.9"), (X_FORWARDED_FOR, "192.0.2.7")];
        assert_eq!(source("10.0.0.1", &both), Err(ForwardedError::Disagree));
        let both = [(FORWARDED, "for=192.0.2.7"), (X_FORWARDED_FOR, "192.0.2.7")];
        assert_eq!(source("10.0.0.1", &both), Ok("192.0.2.7".into()));
    }

    #[test]
    fn s_08_refuses_a_hop_that_it_would_have_to_guess() {
        for value in ["unknown", "192.0.2.7, unknown", "", "host.example", "192.0.2.7,"] {
            let refused = Err(ForwardedError::Unreadable);
            assert_eq!(source("10.0.0.1", &[(X_FORWARDED_FOR, value)]), refused, "{value}");
        }
        for value in ["for=_hidden", "proto=https", "for=192.0.2.7;for=192.0.2.8", r#"for="192.0.2.7"#] {
            assert_eq!(source("10.0.0.1", &[(FORWARDED, value)]), Err(ForwardedError::Unreadable), "{value}");
        }
        // What stands left of the client is not needed, and may be anything.
        assert_eq!(source("10.0.0.1", &[(X_FORWARDED_FOR, "junk, 192.0.2.7")]), Ok("192.0.2.7".into()));
    }

    #[test]
    fn s_08_quotes_cannot_hide_a_hop() {
        let quoted = [(FORWARDED, r#"for=192.0.2.7;host="a, for=10.9.9.9", for=10.0.0.3"#)];
        assert_eq!(source("10.0.0.1", &quoted), Ok("192.0.2.7".into()));
        let escaped = [(FORWARDED, r#"for=192.0.2.7;host="a\", for=10.9.9.9""#)];
        assert_eq!(source("10.0.0.1", &escaped), Ok("192.0.2.7".into()));
    }

    #[test]
    fn sees_ipv4_proxies_on_a_dual_stack_socket() {
        let chain = [(X_FORWARDED_FOR, "192.0.2.7")];
        assert_eq!(source("::ffff:10.0.0.1", &chain), Ok("192.0.2.7".into()));
        assert_eq!(source("::ffff:192.0.2.9", &[]), Ok("192.0.2.9".into()));
    }

    #[test]
    fn s_07_bounds_the_number_of_hops() {
        let many = vec!["10.0.0.2"; MAX_HOPS + 1].join(",");
        assert_eq!(source("10.0.0.1", &[(X_FORWARDED_FOR, &many)]), Err(ForwardedError::TooManyHops));
    }

    #[test]
    fn falls_back_to_the_proxy_without_headers_and_to_the_first_hop_of_proxies_only() {
        assert_eq!(source("10.0.0.1", &[]), Ok("10.0.0.1".into()));
        assert_eq!(source("10.0.0.1", &[(X_FORWARDED_FOR, "10.0.0.5, 10.0.0.2")]), Ok("10.0.0.5".into()));
    }
}
