//! What each code is to a transmitter of security events.

use axum::http::StatusCode;

use super::error::status;
use crate::domain::Code;

/// The value of `err` (RFC 8935, section 2.4). What is not about the event is told by the status.
pub(super) const fn event_error(code: Code) -> &'static str {
    match code {
        Code::IssuerUnknown => "invalid_issuer",
        Code::TokenAudienceRefused => "invalid_audience",
        Code::TokenKeyUnknown | Code::TokenSignatureInvalid | Code::TokenAlgorithmRefused => "invalid_key",
        Code::IdentityNotAdmitted
        | Code::Blocked
        | Code::PolicyDenied
        | Code::NotAllowed
        | Code::ApprovalRequired
        | Code::RoleUnknown
        | Code::TargetNotMapped
        | Code::TtlBelowFloor
        | Code::LeaseUnknown
        | Code::DecisionUnknown
        | Code::DecisionPruned
        | Code::LeaseEnded
        | Code::LeaseNotRenewable
        | Code::PossessionRequired
        | Code::BlockUnknown => "access_denied",
        Code::TokenMissing | Code::AlertRefused => "authentication_failed",
        Code::RequestMalformed
        | Code::RequestTooLarge
        | Code::HeadersTooLarge
        | Code::RequestIncomplete
        | Code::ContentTypeUnsupported
        | Code::DuplicateParameter
        | Code::GrantTypeUnsupported
        | Code::TtlInvalid
        | Code::NameInvalid
        | Code::TokenTooLarge
        | Code::TokenMalformed
        | Code::TokenDuplicateKey
        | Code::TokenHeaderRefused
        | Code::TokenKindRefused
        | Code::TokenExpired
        | Code::TokenNotYetValid
        | Code::TokenTooOld
        | Code::TokenClaimInvalid
        | Code::TokenReplayed
        | Code::CertificateInvalid
        | Code::CertificateUntrusted
        | Code::ForwardedCertificateInvalid
        | Code::ProxyRefused
        | Code::ProofMissing
        | Code::ProofInvalid
        | Code::ProofReplayed
        | Code::ActorRefused
        | Code::RunnerAmbiguous
        | Code::RunnerNotIdentity
        | Code::RunnerMissing
        | Code::RunnerUnwanted
        | Code::RunnerTenantDiffers
        | Code::RunnerDiffers
        | Code::IssuerUnavailable
        | Code::ScopeUnknown
        | Code::DeclaredKeyRefused
        | Code::FactsUnavailable
        | Code::PolicyFailed
        | Code::ScopesEmpty
        | Code::TagConflict
        | Code::Superseded
        | Code::BlocksFull
        | Code::StoreUnavailable
        | Code::SigningUnavailable
        | Code::IdempotencyConflict
        | Code::RateLimited
        | Code::ProviderUnavailable
        | Code::ProviderBusy
        | Code::ProviderThrottled
        | Code::ProviderRefused
        | Code::ProviderAnswerUnexpected
        | Code::TargetValueRefused
        | Code::SessionPolicyTooLarge
        | Code::NotFound
        | Code::MethodNotAllowed
        | Code::Overloaded
        | Code::Timeout
        | Code::Internal => "invalid_request",
    }
}

/// The status: 400 for every fault of the event (RFC 8935, section 2.3), and the usual one for what another try or another
/// method may mend.
pub(super) fn event_status(code: Code) -> StatusCode {
    let usual = status(code);
    let is_ours = usual.is_server_error()
        || matches!(usual, StatusCode::TOO_MANY_REQUESTS | StatusCode::METHOD_NOT_ALLOWED);
    if is_ours { usual } else { StatusCode::BAD_REQUEST }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transmitter_learns_whether_to_try_again() {
        assert_eq!(event_status(Code::TokenSignatureInvalid), StatusCode::BAD_REQUEST);
        assert_eq!(event_status(Code::RequestTooLarge), StatusCode::BAD_REQUEST);
        assert_eq!(event_status(Code::StoreUnavailable), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(event_status(Code::RateLimited), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(event_error(Code::TokenAudienceRefused), "invalid_audience");
        assert_eq!(event_error(Code::TokenKindRefused), "invalid_request");
    }
}
