//! How the sender of a webhook's alert proves who it is. The signature is `X-Tollgate-Signature: t=SECONDS,v1=HEX`, HMAC-SHA256 (RFC 2104) over the time as
//! written, a dot and the body.
//!
//! Whoever records an alert can send it again for some minutes; the ledger settles that it counts once.

use std::time::Duration;

use aws_lc_rs::hmac;
use axum::http::HeaderMap;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::bearer;
use crate::config::{AllowedClients, Webhook, WebhookAuth};
use crate::domain::{Code, Refusal};
use crate::ledger::Once;
use crate::net::PeerCertificate;
use crate::secret::Fingerprint;

/// The header.
const HEADER: &str = "x-tollgate-signature";

/// How far the time of an alert may lie from this server's clock.
const WINDOW: Duration = Duration::from_mins(5);

/// Most signatures in one header: two while a secret is changed.
const MAX_SIGNATURES: usize = 4;

/// Checks that the alert comes from somebody who knows the webhook's secret, or whose certificate `peer` is. Says how the
/// ledger knows it again, where it is signed; a bearer secret signs nothing, and TLS lets nobody send it again.
///
/// # Errors
/// `alert_refused`.
pub(super) fn verify(
    webhook: &Webhook,
    headers: &HeaderMap,
    peer: Option<&PeerCertificate>,
    body: &[u8],
    now: Timestamp,
) -> Result<Option<Once>, Refusal> {
    match &webhook.auth {
        WebhookAuth::Hmac(secret) => signed((&webhook.name, secret), headers, body, now).map(Some),
        WebhookAuth::Bearer(secret) => {
            let sent = bearer::token(headers).map_err(|refusal| refused(&refusal.message))?;
            let secret = Fingerprint::of(secret.expose_secret().as_bytes());
            if secret.matches(sent.expose_secret().as_bytes()) {
                Ok(None)
            } else {
                Err(refused("the bearer secret is another one"))
            }
        }
        WebhookAuth::Certificate(clients) => is_allowed(clients, peer, now).map(|()| None),
    }
}

/// What an unknown webhook is answered, and every alert that is not verified.
pub(super) fn refused(detail: &str) -> Refusal {
    let message = "there is no such webhook, or the alert does not prove that its sender is the webhook's";
    Refusal::new(Code::AlertRefused, message).with_detail(detail)
}

/// The certificate is verified here, not only in the handshake: for this webhook's authorities, at this time. One that a proxy
/// passes on is none: it is no secret, and that its key was proved would be the word of whoever wrote the header.
fn is_allowed(
    clients: &AllowedClients,
    peer: Option<&PeerCertificate>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let peer = peer.ok_or_else(|| refused("no client certificate was shown"))?;
    if peer.is_forwarded() {
        return Err(refused(
            "a proxy passed on the client certificate, and the webhook wants it on the connection",
        ));
    }
    let names = clients.authorities.names(peer, now);
    let names = names.map_err(|error| refused(&format!("the client certificate: {error}")))?;
    if names.iter().any(|name| clients.names.contains(name)) {
        Ok(())
    } else {
        Err(refused("the client certificate has none of the names"))
    }
}

fn signed(
    (name, secret): (&str, &SecretString),
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Once, Refusal> {
    let mut lines = headers.get_all(HEADER).iter();
    let line = lines.next().and_then(|line| line.to_str().ok());
    let line = line.filter(|_| lines.next().is_none()).ok_or_else(|| refused("not one signature header"))?;
    let (time, signatures) = parse(line).ok_or_else(|| refused("the signature header cannot be read"))?;
    let at: i64 = time.parse().map_err(|_| refused("the time cannot be read"))?;
    if now.as_second().abs_diff(at) > WINDOW.as_secs() {
        return Err(refused("the alert's time is more than five minutes from this server's"));
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let message = [time.as_bytes(), b".", body].concat();
    let fits = |signature: &[u8; 32]| hmac::verify(&key, &message, signature).is_ok();
    if !signatures.iter().any(fits) {
        return Err(refused("the signature is not by the webhook's secret"));
    }
    let until = Timestamp::from_second(at).and_then(|at| at.checked_add(WINDOW));
    let until = until.map_err(|_| refused("the time cannot be read"))?;
    // Of the message, not the signature: whoever changes a secret may send both.
    let message = [name.as_bytes(), b"\n", &message].concat();
    Ok(Once { key: Fingerprint::of(&message), until: until + Duration::from_secs(1) })
}

/// The time as written, and the signatures of version 1. Other versions are left to whoever knows them.
fn parse(line: &str) -> Option<(&str, Vec<[u8; 32]>)> {
    let (mut time, mut signatures) = (None, Vec::new());
    for part in line.split(',') {
        match part.trim().split_once('=')? {
            ("t", text) => {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                if time.replace(text).is_some() || !digits {
                    return None;
                }
            }
            ("v1", text) if signatures.len() < MAX_SIGNATURES => signatures.push(unhex(text)?),
            ("v1", _) => return None,
            _ => {}
        }
    }
    Some((time?, signatures))
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::BlockKind;
    use crate::net::ClientAuthorities;
    use std::fmt::Write;

    const NOW: i64 = 1_800_000_000;
    const BODY: &[u8] = br#"{"repository":"acme/shop"}"#;

    fn webhook(auth: fn(SecretString) -> WebhookAuth) -> Webhook {
        Webhook {
            name: "siem".to_owned(),
            auth: auth("0123456789abcdef0123456789abcdef".into()),
            subjects: [(BlockKind::Repository, "/repository".to_owned())].into(),
            reason: None,
            duration: Duration::from_hours(1),
            tenant: None,
        }
    }

    fn mac(secret: &str, message: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hmac::sign(&key, message).as_ref().iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
    }

    fn good(at: i64) -> String {
        let message = [format!("{at}.").as_bytes(), BODY].concat();
        format!("t={at},v1={}", mac("0123456789abcdef0123456789abcdef", &message))
    }

    fn outcome(lines: &[&str], body: &[u8]) -> Result<Once, String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(HEADER, line.parse().unwrap());
        }
        let now = Timestamp::from_second(NOW).unwrap();
        let verified = verify(&webhook(WebhookAuth::Hmac), &headers, None, body, now);
        verified.map(Option::unwrap).map_err(|refusal| {
            assert_eq!(refusal.code, Code::AlertRefused);
            refusal.detail.unwrap()
        })
    }

    #[test]
    fn a_known_answer_verifies() {
        // RFC 4231, test case 2, for the primitive; the header around it is ours.
        assert_eq!(
            mac("Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert!(outcome(&[&good(NOW)], BODY).is_ok());
        assert!(outcome(&[&good(NOW).replace(',', " , v0=x,")], BODY).is_ok());
        let both = good(NOW).replace("v1=", &format!("v1={},v1=", "0".repeat(64)));
        assert!(outcome(&[&both], BODY).is_ok(), "while a secret is changed, two are sent");
    }

    #[test]
    fn c_15_an_alert_that_is_changed_forged_late_or_doubled_is_refused() {
        let good = good(NOW);
        assert!(outcome(&[&good], b"{}").unwrap_err().contains("not by the webhook's secret"));
        let other = format!("t={NOW},v1={}", mac("another", BODY));
        for line in [
            other.as_str(),
            &good.replace(&format!("t={NOW}"), &format!("t={}", NOW + 1)),
            &good.replace("v1=", "v2="),
            &good.replace("v1=", "v1=0"),
            good.split_once(',').unwrap().0,
            good.split_once(',').unwrap().1,
            &format!("{good},t={NOW}"),
            "",
            "t=,v1=",
        ] {
            assert!(outcome(&[line], BODY).is_err(), "{line}");
        }
        assert!(outcome(&[], BODY).is_err());
        assert!(outcome(&[&good, &good], BODY).is_err());
    }

    #[test]
    fn an_alert_is_good_for_five_minutes_and_known_again_as_long() {
        for at in [NOW - 300, NOW + 300] {
            let once = outcome(&[&good(at)], BODY).unwrap();
            assert!(once.until.as_second() > at + 300);
            assert_eq!(once.key, outcome(&[&good(at)], BODY).unwrap().key);
        }
        for at in [NOW - 301, NOW + 301, 0] {
            assert!(outcome(&[&good(at)], BODY).unwrap_err().contains("five minutes"), "{at}");
        }
    }

    #[test]
    fn a_bearer_secret_is_compared_whole() {
        let verify = |bearer: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", format!("Bearer {bearer}").parse().unwrap());
            verify(&webhook(WebhookAuth::Bearer), &headers, None, BODY, Timestamp::UNIX_EPOCH)
                .map(|once| once.is_none())
        };
        assert_eq!(verify("0123456789abcdef0123456789abcdef").ok(), Some(true));
        for wrong in ["", "0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcdef0"] {
            assert_eq!(verify(wrong).unwrap_err().code, Code::AlertRefused, "{wrong}");
        }
    }

    #[test]
    fn i_21_a_certificate_that_a_proxy_passes_on_sends_no_alert() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["siem.example".to_owned()]).unwrap();
        let chain = [params.self_signed(&key).unwrap().der().clone()];
        let (authorities, _) = ClientAuthorities::from_der(chain.iter().cloned());
        let names = ["dns:siem.example".parse().unwrap()].into();
        let clients = AllowedClients { authorities: authorities.unwrap(), names };
        let now = Timestamp::from_second(NOW).unwrap();
        let tls = rustls::ProtocolVersion::TLSv1_3;
        is_allowed(&clients, PeerCertificate::new(&chain, tls).as_ref(), now).unwrap();
        let refused =
            is_allowed(&clients, PeerCertificate::forwarded(&chain, tls).as_ref(), now).unwrap_err();
        assert_eq!(refused.code, Code::AlertRefused);
        assert!(refused.detail.unwrap().contains("a proxy passed on"));
    }
}
