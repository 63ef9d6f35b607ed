//! What AWS STS answers when it does not issue a session, as refusals.

use std::error::Error;

use aws_sdk_sts::config::http::HttpResponse;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use secrecy::SecretString;

use crate::causes;
use crate::domain::{Code, Refusal};
use crate::net::NetError;
use crate::provider::upstream::{
    internal, quote, refused, retry_after_text, throttled, unavailable, unexpected, unreachable,
};

/// Turns a failed call into a refusal, without `secrets`.
pub(super) fn refusal<E>(error: &SdkError<E, HttpResponse>, secrets: &[&SecretString]) -> Refusal
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(failed) => {
            let status = failed.raw().status().as_u16();
            let wait = failed.raw().headers().get("retry-after").and_then(retry_after_text);
            answered(status, failed.err().code(), failed.err().message(), wait, secrets)
        }
        SdkError::TimeoutError(_) => unavailable("no answer from STS in time"),
        SdkError::DispatchFailure(_) => match net_error(error) {
            Some(error) => unreachable(error),
            None => unavailable(quote(&causes::in_full(error), secrets)),
        },
        SdkError::ResponseError(_) => {
            unexpected(quote(&format!("not an answer of STS: {}", causes::in_full(error)), secrets))
        }
        // The SDK may add kinds: whatever they are, nothing was issued that anybody holds.
        SdkError::ConstructionFailure(_) | _ => internal(quote(&causes::in_full(error), secrets)),
    }
}

/// STS answered with an error (STS API reference, "Common errors", and those of both calls).
fn answered(
    status: u16,
    code: Option<&str>,
    message: Option<&str>,
    wait: Option<u32>,
    secrets: &[&SecretString],
) -> Refusal {
    let detail =
        quote(&format!("STS: {} {}", code.unwrap_or("no code"), message.unwrap_or_default()), secrets);
    match code {
        Some("PackedPolicyTooLarge" | "PackedPolicyTooLargeException") => Refusal::new(
            Code::SessionPolicyTooLarge,
            "AWS refuses the packed size of session policy and tags",
        )
        .with_detail(detail),
        Some(
            "Throttling"
            | "ThrottlingException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "SlowDown",
        ) => throttled(detail, wait),
        Some("IDPCommunicationError" | "ServiceUnavailable" | "InternalFailure" | "RequestTimeout") => {
            unavailable(detail)
        }
        Some(_) | None if status == 429 => throttled(detail, wait),
        Some(_) | None if status >= 500 => unavailable(detail),
        Some(_) => refused(detail),
        None => unexpected(detail),
    }
}

/// Our own client's error, as deep as the SDK buried it.
fn net_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a NetError> {
    causes::of(error).find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_what_sts_answers_to_stable_codes() {
        let code = |status, code| answered(status, code, Some("words"), None, &[]).code;
        for (status, text, expected) in [
            (403, Some("AccessDenied"), Code::ProviderRefused),
            (400, Some("InvalidIdentityToken"), Code::ProviderRefused),
            (400, Some("ValidationError"), Code::ProviderRefused),
            (400, Some("MalformedPolicyDocument"), Code::ProviderRefused),
            (400, Some("PackedPolicyTooLarge"), Code::SessionPolicyTooLarge),
            (400, Some("Throttling"), Code::ProviderThrottled),
            (429, Some("TooManyRequestsException"), Code::ProviderThrottled),
            (429, None, Code::ProviderThrottled),
            (400, Some("IDPCommunicationError"), Code::ProviderUnavailable),
            (503, Some("ServiceUnavailable"), Code::ProviderUnavailable),
            (500, Some("Whatever"), Code::ProviderUnavailable),
            (502, None, Code::ProviderUnavailable),
            (404, None, Code::ProviderAnswerUnexpected),
        ] {
            assert_eq!(code(status, text), expected, "{status} {text:?}");
        }
    }

    #[test]
    fn passes_on_how_long_to_wait() {
        assert_eq!(answered(429, None, None, Some(9), &[]).retry_after, Some(9));
    }

    #[test]
    fn s_01_an_echoed_token_does_not_reach_the_record() {
        let token = SecretString::from("eyJ.SENTINEL.x");
        let refusal =
            answered(400, Some("InvalidIdentityToken"), Some("bad: eyJ.SENTINEL.x"), None, &[&token]);
        assert_eq!(refusal.detail.unwrap(), "STS: InvalidIdentityToken bad: [secret]");
        assert!(!refusal.message.contains("SENTINEL"));
    }
}
