//! What a proxy writes, and what whoever stands before it may have written.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn certificate() -> rcgen::Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap()
}

fn headers(lines: &[(&'static str, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn found(header: CertificateHeader, lines: &[(&'static str, String)]) -> Result<Vec<Vec<u8>>, HeaderError> {
    let peer = read(header, &headers(lines), ProtocolVersion::TLSv1_3)?;
    let all = |peer: PeerCertificate| {
        let rest = peer.intermediates().iter().map(|der| der.to_vec());
        std::iter::once(peer.leaf().to_vec()).chain(rest).collect()
    };
    Ok(peer.map(all).unwrap_or_default())
}

/// The escapes that Envoy writes: line ends, blanks, and the marks of base64.
fn escaped(pem: &str) -> String {
    pem.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").unwrap();
        }
        text
    })
}

fn xfcc(value: &str) -> Result<Vec<Vec<u8>>, HeaderError> {
    found(CertificateHeader::Xfcc, &[("x-forwarded-client-cert", value.to_owned())])
}

#[test]
fn reads_what_envoy_writes() {
    let (leaf, authority) = (certificate(), certificate());
    let cert = escaped(&leaf.pem());
    let chain = escaped(&(leaf.pem() + &authority.pem()));
    let said = "By=spiffe://acme.example/ns/ingress/sa/envoy;Hash=00ff;Subject=\"CN=a,O=b\";\
                URI=spiffe://acme.example/ns/shop/sa/deployer";
    let (one, two) = (vec![leaf.der().to_vec()], vec![leaf.der().to_vec(), authority.der().to_vec()]);
    for (value, expected) in [
        (format!("{said};Cert=\"{cert}\""), &one),
        (format!("{said};Cert=\"{cert}\";Chain=\"{chain}\""), &two),
        (format!("Chain=\"{chain}\";{said}"), &two),
        (format!("cert={cert}"), &one),
    ] {
        assert_eq!(xfcc(&value).as_ref(), Ok(expected), "{value}");
    }
    assert_eq!(found(CertificateHeader::Xfcc, &[]), Ok(Vec::new()));
}

#[test]
fn i_21_what_envoy_concluded_is_nobodys_certificate() {
    let uri = "URI=spiffe://acme.example/ns/shop/sa/deployer";
    for alone in
        [uri.to_owned(), format!("Hash=00;{uri};Subject=\"O=acme\""), "By=spiffe://a.example/x".into()]
    {
        assert_eq!(xfcc(&alone), Err(HeaderError::NoCertificate), "{alone}");
    }
}

#[test]
fn i_21_a_header_of_two_clients_is_refused() {
    let (one, other) = (certificate(), certificate());
    let [cert, forged] = [&one, &other].map(|certificate| escaped(&certificate.pem()));
    let both = escaped(&(one.pem() + &other.pem()));
    let several = Err(HeaderError::Several("x-forwarded-client-cert"));
    for value in [
        format!("Cert=\"{forged}\",Cert=\"{cert}\""),
        format!("URI=spiffe://acme.example/a,Cert=\"{cert}\""),
        format!("Cert=\"{forged}\";Cert=\"{cert}\""),
        format!("Cert=\"{both}\""),
    ] {
        assert_eq!(xfcc(&value), several, "{value}");
    }
    let line = |certificate: &str| ("x-forwarded-client-cert", format!("Cert=\"{certificate}\""));
    assert_eq!(found(CertificateHeader::Xfcc, &[line(&forged), line(&cert)]), several);
    assert_eq!(xfcc(&format!("Cert=\"{cert}\";Chain=\"{forged}\"")), Err(HeaderError::Disagree));
}

#[test]
fn i_21_what_cannot_be_read_is_no_certificate() {
    let cert = escaped(&certificate().pem());
    let unreadable = Err(HeaderError::Unreadable("x-forwarded-client-cert"));
    for value in [
        String::new(),
        "Cert".to_owned(),
        "Cert=".to_owned(),
        "Cert=\"\"".to_owned(),
        "Cert=\"-----BEGIN%20CERTIFICATE-----\"".to_owned(),
        format!("Cert=\"{cert}"),
        format!("Cert=\"{}\"", cert.replace("CERTIFICATE", "PRIVATE%20KEY")),
        format!("Cert=\"{}\"", cert.replacen("%0A", "%0A%21", 1)),
        format!("Cert=\"\\\"{cert}\""),
    ] {
        assert_eq!(xfcc(&value), unreadable, "{value}");
    }
}

#[test]
fn s_07_bounds_the_headers() {
    let name = "x-forwarded-client-cert";
    let too_large = Err(HeaderError::TooLarge(name));
    assert_eq!(xfcc(&format!("Cert={}", "A".repeat(MAX_HEADER))), too_large);
    let many = certificate().pem().repeat(MAX_CERTIFICATES + 1);
    assert_eq!(xfcc(&format!("Chain=\"{}\"", escaped(&many))), too_large);
    let many = vec![format!(":{}:", STANDARD.encode("x")); MAX_CERTIFICATES].join(", ");
    let lines = [("client-cert", ":eA==:".to_owned()), ("client-cert-chain", many)];
    assert_eq!(found(CertificateHeader::Rfc9440, &lines), Err(HeaderError::TooLarge("client-cert-chain")));
}

#[test]
fn reads_what_rfc_9440_says() {
    let field = |der: &[u8]| format!(":{}:", STANDARD.encode(der));
    let (leaf, one, two) = (certificate(), certificate(), certificate());
    let alone = ("client-cert", field(leaf.der()));
    let chain = ("client-cert-chain", format!("{}, {}", field(one.der()), field(two.der())));
    let rfc = |lines: &[(&'static str, String)]| found(CertificateHeader::Rfc9440, lines);
    let all = vec![leaf.der().to_vec(), one.der().to_vec(), two.der().to_vec()];
    assert_eq!(rfc(&[]), Ok(Vec::new()));
    assert_eq!(rfc(std::slice::from_ref(&alone)).as_deref(), Ok(&all[..1]));
    assert_eq!(rfc(&[alone.clone(), chain.clone()]), Ok(all));
    assert_eq!(rfc(std::slice::from_ref(&chain)), Err(HeaderError::NoLeaf));
    assert_eq!(rfc(&[alone.clone(), alone.clone()]), Err(HeaderError::Several("client-cert")));
    assert_eq!(rfc(&[alone.clone(), chain.clone(), chain]), Err(HeaderError::Several("client-cert-chain")));
    for bad in ["", "token", "\"text\"", ":eA==", "::", ":eA==:;a=1", ":eA==:, :eA==:", "(:eA==:)", ":e A:"] {
        let refused = rfc(&[("client-cert", bad.to_owned())]);
        assert_eq!(refused, Err(HeaderError::Unreadable("client-cert")), "{bad}");
    }
    for bad in ["(:eA==:)", "1", ":eA==:;a", ":eA==:,"] {
        let refused = rfc(&[alone.clone(), ("client-cert-chain", bad.to_owned())]);
        assert_eq!(refused, Err(HeaderError::Unreadable("client-cert-chain")), "{bad}");
    }
}
