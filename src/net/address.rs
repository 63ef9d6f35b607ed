//! Which addresses may be connected to, and a resolver that gives no others.
//!
//! A name is resolved once, the addresses are checked, and the connection goes to one of those: there is no second
//! look-up that could answer differently (DNS rebinding).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::NetError;

/// Addresses of one name that are looked at; more are dropped.
const MAX_ADDRESSES: usize = 16;

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// IPv4 networks that are not the public Internet (IANA special-purpose address registry, RFC 6890).
const NOT_PUBLIC_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),        // "this network"; 0.0.0.0 reaches loopback on Linux
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // carrier-grade NAT, and Alibaba's metadata service
    v4(127, 0, 0, 0, 8),      // loopback
    v4(168, 63, 129, 16, 32), // Azure's host agent, on a public address
    v4(169, 254, 0, 0, 16),   // link-local, and most clouds' metadata service
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocol assignments, and Oracle's metadata service
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 88, 99, 0, 24),   // 6to4 relays
    v4(192, 168, 0, 0, 16),   // private
    v4(198, 18, 0, 0, 15),    // benchmarks
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 4),      // multicast
    v4(240, 0, 0, 0, 4),      // reserved, and broadcast
];

/// The only IPv6 block that is public (IANA IPv6 address space registry).
const GLOBAL_UNICAST: Ipv6Net = v6(0x2000, 0, 3);

/// What is not public within [`GLOBAL_UNICAST`] (IANA IPv6 special-purpose address registry).
const NOT_PUBLIC_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 23),     // protocol assignments, Teredo among them
    v6(0x2001, 0xdb8, 32), // documentation
    v6(0x2002, 0, 16),     // 6to4, which carries any IPv4 address
    v6(0x3fff, 0, 20),     // documentation
];

/// NAT64 (RFC 6052): the last 32 bits are an IPv4 address, which is what is really reached.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 96);

/// The address that packets to `ip` end at: IPv4 where IPv6 only wraps it.
fn unwrapped(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if NAT64.contains(&v6) => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        other => other,
    }
}

/// True if `ip` is on the public Internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !NOT_PUBLIC_V4.iter().any(|network| network.contains(&v4)),
        IpAddr::V6(v6) => {
            GLOBAL_UNICAST.contains(&v6) && !NOT_PUBLIC_V6.iter().any(|network| network.contains(&v6))
        }
    }
}

/// The address part of [`super::Rules`].
#[derive(Debug)]
pub(super) struct AddressRules {
    pub(super) allow_networks: Vec<IpNet>,
    pub(super) insecure_loopback: bool,
}

impl AddressRules {
    /// Checks what can be checked before resolution: scheme, user info, and a literal address, which no resolver sees.
    ///
    /// # Errors
    /// [`NetError::AddressRefused`].
    pub(super) fn check_url(&self, url: &Url) -> Result<(), NetError> {
        let refuse = |why: String| Err(NetError::AddressRefused(why));
        let literal = match url.host() {
            None => return refuse("the URL has no host".to_owned()),
            Some(Host::Domain(_)) => None,
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        };
        let insecure_loopback = self.insecure_loopback && literal.is_some_and(|ip| ip.is_loopback());
        if !(url.scheme() == "https" || (url.scheme() == "http" && insecure_loopback)) {
            return refuse(format!(
                "{} must be reached by https (http only to a literal loopback address, with insecure_loopback = true)",
                url.host_str().unwrap_or_default(),
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("a URL must not carry a user or password".to_owned());
        }
        match literal {
            Some(ip) if !insecure_loopback && !self.permits(ip) => refuse(not_public(&ip.to_string(), ip)),
            Some(_) | None => Ok(()),
        }
    }

    /// True if a connection to `ip` is allowed.
    fn permits(&self, ip: IpAddr) -> bool {
        let reached = unwrapped(ip);
        is_public(reached) || self.allow_networks.iter().any(|network| network.contains(&reached))
    }

    /// The addresses of `host` that the rules permit.
    pub(super) async fn resolve(&self, host: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.take(MAX_ADDRESSES).collect();
        let permitted: Vec<_> = found.iter().copied().filter(|address| self.permits(address.ip())).collect();
        match found.first() {
            Some(first) if permitted.is_empty() => Err(ResolveError::Refused(not_public(host, first.ip()))),
            Some(_) | None => Ok(permitted),
        }
    }
}

fn not_public(host: &str, ip: IpAddr) -> String {
    format!(
        "{host} is at {ip}, which is not a public address; if it is meant, list its network in allow_networks"
    )
}

/// Why a name gave no address to connect to.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    /// The name has addresses, and none may be reached.
    #[error("{0}")]
    Refused(String),
    /// The name cannot be resolved.
    #[error("cannot resolve the name")]
    Lookup(#[from] std::io::Error),
}

/// Gives the client library only addresses that the rules permit.
pub(super) struct CheckedResolver(pub(super) Arc<AddressRules>);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = Arc::clone(&self.0);
        Box::pin(async move {
            let permitted = rules.resolve(name.as_str()).await?;
            Ok::<Addrs, _>(Box::new(permitted.into_iter()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[&str], insecure_loopback: bool) -> AddressRules {
        let allow_networks = allow.iter().map(|network| network.parse().unwrap()).collect();
        AddressRules { allow_networks, insecure_loopback }
    }

    #[test]
    fn i_01_only_public_addresses_are_permitted() {
        let rules = rules(&[], true);
        for refused in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.9.9.9",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
        ] {
            assert!(!rules.permits(refused.parse().unwrap()), "{refused}");
        }
        for public in
            ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
        {
            assert!(rules.permits(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn configured_networks_are_permitted_however_they_are_wrapped() {
        let rules = rules(&["10.0.0.0/8", "fd00::/8"], false);
        for permitted in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd00::1"] {
            assert!(rules.permits(permitted.parse().unwrap()), "{permitted}");
        }
        assert!(!rules.permits("192.168.0.1".parse().unwrap()));
        assert!(!rules.permits("fc00::1".parse().unwrap()));
    }

    #[test]
    fn i_01_urls_are_checked_before_anything_is_sent() {
        let check = |rules: &AddressRules, url: &str| rules.check_url(&url.parse().unwrap()).is_ok();
        let strict = rules(&[], false);
        assert!(check(&strict, "https://a.example/x"));
        assert!(check(&strict, "https://1.1.1.1/x"));
        for refused in [
            "http://a.example/",
            "http://1.1.1.1/",
            "http://127.0.0.1/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://[::ffff:169.254.169.254]/",
            "https://u:p@a.example/",
            "https://u@a.example/",
            "ftp://a.example/",
            "file:///etc/passwd",
        ] {
            assert!(!check(&strict, refused), "{refused}");
        }
        let loopback = rules(&[], true);
        for accepted in ["http://127.0.0.1:1/", "http://[::1]:1/", "https://127.0.0.1/"] {
            assert!(check(&loopback, accepted), "{accepted}");
        }
        for refused in ["http://localhost/", "http://10.0.0.1/", "http://a.example/", "https://10.0.0.1/"] {
            assert!(!check(&loopback, refused), "{refused}");
        }
        assert!(
            !check(&rules(&["10.0.0.0/8"], true), "http://10.0.0.1/"),
            "a private network is not a reason for http"
        );
    }
}
