//! What goes wrong at a target, as refusals. The caller learns the kind of trouble; the target's words go to the record.
//!
//! Nothing here may let a token through: a target, or whoever answers in its place, may echo what it was sent.

use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use crate::causes;
use crate::domain::{Code, Refusal};
use crate::net::NetError;
use crate::signing::SigningError;

/// Longest text taken over from a target, in characters.
const MAX_QUOTE: usize = 400;
/// Longest wait that is passed on to the caller, in seconds.
const MAX_RETRY_AFTER: u32 = 3600;
/// The wait told to the caller when a throttling target names none, in seconds.
const DEFAULT_RETRY_AFTER: u32 = 5;

/// The target does not answer, or is not able to.
pub(super) fn unavailable(detail: impl Into<String>) -> Refusal {
    Refusal::new(Code::ProviderUnavailable, "the target does not answer").with_detail(detail)
}

/// The target asks to slow down.
pub(super) fn throttled(detail: impl Into<String>, retry_after: Option<u32>) -> Refusal {
    Refusal::new(Code::ProviderThrottled, "the target asks to slow down")
        .with_detail(detail)
        .with_retry_after(retry_after.unwrap_or(DEFAULT_RETRY_AFTER))
}

/// The target refuses to mint.
pub(super) fn refused(detail: impl Into<String>) -> Refusal {
    Refusal::new(Code::ProviderRefused, "the target refuses to mint this").with_detail(detail)
}

/// The target's answer is not what was granted, or not an answer at all.
pub(super) fn unexpected(detail: impl Into<String>) -> Refusal {
    Refusal::new(Code::ProviderAnswerUnexpected, "the target's answer is not what was granted")
        .with_detail(detail)
}

/// A value does not fit the target's grammar.
pub(super) fn unfit(detail: impl Into<String>) -> Refusal {
    Refusal::new(Code::TargetValueRefused, "a value does not fit the target's grammar").with_detail(detail)
}

/// A failure of Tollgate itself.
pub(super) fn internal(detail: impl Into<String>) -> Refusal {
    Refusal::new(Code::Internal, "the credential could not be prepared").with_detail(detail)
}

/// A token could not be signed: by a KMS that is down, or for a fault of Tollgate itself.
pub(super) fn unsigned(what: &str, error: &SigningError) -> Refusal {
    let detail = format!("{what}: {}", causes::in_full(error));
    match error {
        SigningError::Kms(_) => {
            Refusal::new(Code::SigningUnavailable, "the KMS that holds the signing key does not sign")
                .with_detail(quote(&detail, &[]))
                .with_retry_after(DEFAULT_RETRY_AFTER)
        }
        SigningError::KeyEncryptionKey
        | SigningError::Unseal
        | SigningError::UnknownSeal(_)
        | SigningError::KeyMismatch(_)
        | SigningError::NoActiveKey(_)
        | SigningError::NoSuchAlgorithm(..)
        | SigningError::NoSuchKey(_)
        | SigningError::AlreadyRevoked(_)
        | SigningError::StillSigning(_)
        | SigningError::Crypto(_)
        | SigningError::Claims(_) => internal(detail),
    }
}

/// No usable HTTP answer came.
pub(super) fn unreachable(error: &NetError) -> Refusal {
    let detail = quote(&causes::in_full(error), &[]);
    match error {
        NetError::AddressRefused(_)
        | NetError::Unreachable { .. }
        | NetError::Timeout(_)
        | NetError::Setup(_) => unavailable(detail),
        NetError::Redirect | NetError::TooLarge(_) => unexpected(detail),
        NetError::InvalidHeader(_) => internal(detail),
    }
}

/// A target's words for the record: without `secrets`, control characters escaped, cut to a bounded length.
pub(super) fn quote(text: &str, secrets: &[&SecretString]) -> String {
    let clean = secrets
        .iter()
        .map(|secret| secret.expose_secret())
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| text.replace(secret, "[secret]"));
    let mut quoted = String::new();
    for (count, letter) in clean.chars().enumerate() {
        if count == MAX_QUOTE {
            quoted.push('…');
            break;
        }
        if letter.is_control() {
            quoted.extend(letter.escape_default());
        } else {
            quoted.push(letter);
        }
    }
    quoted
}

/// `Retry-After` in seconds (RFC 9110, section 10.2.3); its date form is ignored.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<u32> {
    retry_after_text(headers.get(http::header::RETRY_AFTER)?.to_str().ok()?)
}

/// The value of a `Retry-After` header, in seconds.
pub(super) fn retry_after_text(value: &str) -> Option<u32> {
    value.trim().parse().ok().map(|seconds: u32| seconds.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_01_quotes_no_secret_no_control_character_and_no_novel() {
        let secret = SecretString::from("s.SENTINEL");
        assert_eq!(quote("bad token s.SENTINEL\n\u{1b}[31m", &[&secret]), "bad token [secret]\\n\\u{1b}[31m");
        assert_eq!(quote(&"é".repeat(1000), &[]).chars().count(), MAX_QUOTE + 1);
    }

    #[test]
    fn an_empty_secret_changes_nothing() {
        assert_eq!(quote("abc", &[&SecretString::from("")]), "abc");
    }

    #[test]
    fn tells_silence_from_nonsense() {
        let code = |error: NetError| unreachable(&error).code;
        assert_eq!(code(NetError::Timeout(std::time::Duration::from_secs(5))), Code::ProviderUnavailable);
        assert_eq!(code(NetError::AddressRefused("10.0.0.1".into())), Code::ProviderUnavailable);
        assert_eq!(code(NetError::Redirect), Code::ProviderAnswerUnexpected);
        assert_eq!(code(NetError::TooLarge(1)), Code::ProviderAnswerUnexpected);
    }

    #[test]
    fn bounds_the_wait_that_a_target_asks_for() {
        let after = |value: &'static str| {
            let headers = [(http::header::RETRY_AFTER, http::HeaderValue::from_static(value))];
            retry_after(&HeaderMap::from_iter(headers))
        };
        assert_eq!(after("7"), Some(7));
        assert_eq!(after("99999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(after("Fri, 20 Nov 2026 18:00:00 GMT"), None);
        assert_eq!(throttled("", None).retry_after, Some(DEFAULT_RETRY_AFTER));
    }
}
