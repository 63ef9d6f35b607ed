//! What each code is in HTTP: one exhaustive match per surface.

use axum::http::StatusCode;

use crate::domain::Code;

/// The status of `code` in the `/v1` interface.
///
/// A refused token is 401 (RFC 6750, section 3.1), a refused identity 403. What one may not see is 404 like what
/// does not exist. Where only the operator can mend it, the status is 5xx, so that it is counted as Tollgate's fault.
pub(super) const fn status(code: Code) -> StatusCode {
    match code {
        Code::RequestMalformed
        | Code::DuplicateParameter
        | Code::GrantTypeUnsupported
        | Code::TtlInvalid
        | Code::NameInvalid
        | Code::ScopeUnknown
        | Code::DeclaredKeyRefused
        | Code::ForwardedCertificateInvalid => StatusCode::BAD_REQUEST,
        Code::TokenMissing
        | Code::TokenTooLarge
        | Code::TokenMalformed
        | Code::TokenDuplicateKey
        | Code::TokenHeaderRefused
        | Code::TokenAlgorithmRefused
        | Code::TokenKindRefused
        | Code::IssuerUnknown
        | Code::TokenKeyUnknown
        | Code::TokenSignatureInvalid
        | Code::TokenAudienceRefused
        | Code::TokenExpired
        | Code::TokenNotYetValid
        | Code::TokenTooOld
        | Code::TokenClaimInvalid
        | Code::TokenReplayed
        | Code::CertificateInvalid
        | Code::CertificateUntrusted
        | Code::ProxyRefused
        | Code::ProofMissing
        | Code::ProofInvalid
        | Code::ProofReplayed
        | Code::ActorRefused
        | Code::RunnerAmbiguous
        | Code::AlertRefused => StatusCode::UNAUTHORIZED,
        Code::IdentityNotAdmitted
        | Code::PossessionRequired
        | Code::RunnerNotIdentity
        | Code::RunnerMissing
        | Code::RunnerUnwanted
        | Code::RunnerTenantDiffers
        | Code::RunnerDiffers
        | Code::TargetNotMapped
        | Code::PolicyDenied
        | Code::NotAllowed
        | Code::ScopesEmpty
        | Code::TtlBelowFloor
        | Code::ApprovalRequired
        | Code::Blocked => StatusCode::FORBIDDEN,
        Code::RoleUnknown
        | Code::LeaseUnknown
        | Code::DecisionUnknown
        | Code::BlockUnknown
        | Code::NotFound => StatusCode::NOT_FOUND,
        Code::Superseded | Code::LeaseNotRenewable => StatusCode::CONFLICT,
        Code::LeaseEnded | Code::DecisionPruned => StatusCode::GONE,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::RequestIncomplete => StatusCode::REQUEST_TIMEOUT,
        Code::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        // RFC 6585, section 5.
        Code::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Code::ContentTypeUnsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        // The key's reuse for another request: draft-ietf-httpapi-idempotency-key-header, section 2.7.
        Code::IdempotencyConflict | Code::TargetValueRefused | Code::SessionPolicyTooLarge => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::PolicyFailed | Code::TagConflict | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::ProviderRefused | Code::ProviderAnswerUnexpected => StatusCode::BAD_GATEWAY,
        Code::IssuerUnavailable
        | Code::FactsUnavailable
        | Code::StoreUnavailable
        | Code::SigningUnavailable
        | Code::ProviderUnavailable
        | Code::ProviderBusy
        | Code::ProviderThrottled
        | Code::BlocksFull
        | Code::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// Error codes of the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OauthError {
    /// The request, or a token that is invalid or unacceptable (RFC 8693, section 2.2.2).
    InvalidRequest,
    /// Another grant than token exchange (RFC 6749, section 5.2).
    UnsupportedGrantType,
    /// A scope that is unknown, or of which nothing is left (RFC 6749, section 5.2).
    InvalidScope,
    /// A role that is unknown or refused (RFC 8693, section 2.2.2).
    InvalidTarget,
    /// A proof of possession that is missing or not good (RFC 9449, section 5).
    InvalidDpopProof,
    /// Try again later (RFC 6749, section 4.1.2.1, used here for the same cause).
    TemporarilyUnavailable,
    /// Tollgate or a target failed (RFC 6749, section 4.1.2.1, used here for the same cause).
    ServerError,
}

impl OauthError {
    /// The value of `error`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }
}

/// The error that `code` is at the token endpoint.
pub(super) const fn oauth_error(code: Code) -> OauthError {
    match code {
        Code::RequestMalformed
        | Code::RequestTooLarge
        | Code::HeadersTooLarge
        | Code::RequestIncomplete
        | Code::ContentTypeUnsupported
        | Code::DuplicateParameter
        | Code::TtlInvalid
        | Code::NameInvalid
        | Code::DeclaredKeyRefused
        | Code::IdempotencyConflict
        | Code::Superseded
        | Code::LeaseUnknown
        | Code::LeaseEnded
        | Code::LeaseNotRenewable
        | Code::DecisionUnknown
        | Code::DecisionPruned
        | Code::NotFound
        | Code::MethodNotAllowed
        | Code::TokenMissing
        | Code::TokenTooLarge
        | Code::TokenMalformed
        | Code::TokenDuplicateKey
        | Code::TokenHeaderRefused
        | Code::TokenAlgorithmRefused
        | Code::TokenKindRefused
        | Code::IssuerUnknown
        | Code::TokenKeyUnknown
        | Code::TokenSignatureInvalid
        | Code::TokenAudienceRefused
        | Code::TokenExpired
        | Code::TokenNotYetValid
        | Code::TokenTooOld
        | Code::TokenClaimInvalid
        | Code::TokenReplayed
        | Code::CertificateInvalid
        | Code::CertificateUntrusted
        | Code::ForwardedCertificateInvalid
        | Code::ProxyRefused
        | Code::IdentityNotAdmitted
        | Code::PossessionRequired
        | Code::ActorRefused
        | Code::RunnerAmbiguous
        | Code::RunnerNotIdentity
        | Code::RunnerMissing
        | Code::RunnerUnwanted
        | Code::RunnerTenantDiffers
        | Code::RunnerDiffers
        | Code::AlertRefused
        | Code::BlockUnknown => OauthError::InvalidRequest,
        Code::ProofMissing | Code::ProofInvalid | Code::ProofReplayed => OauthError::InvalidDpopProof,
        Code::GrantTypeUnsupported => OauthError::UnsupportedGrantType,
        Code::ScopeUnknown | Code::ScopesEmpty | Code::SessionPolicyTooLarge => OauthError::InvalidScope,
        Code::RoleUnknown
        | Code::TargetNotMapped
        | Code::TargetValueRefused
        | Code::PolicyDenied
        | Code::NotAllowed
        | Code::TtlBelowFloor
        | Code::ApprovalRequired
        | Code::Blocked => OauthError::InvalidTarget,
        Code::IssuerUnavailable
        | Code::FactsUnavailable
        | Code::StoreUnavailable
        | Code::RateLimited
        | Code::SigningUnavailable
        | Code::BlocksFull
        | Code::ProviderUnavailable
        | Code::ProviderBusy
        | Code::ProviderThrottled
        | Code::Overloaded
        | Code::Timeout => OauthError::TemporarilyUnavailable,
        Code::PolicyFailed
        | Code::TagConflict
        | Code::ProviderRefused
        | Code::ProviderAnswerUnexpected
        | Code::Internal => OauthError::ServerError,
    }
}

/// The status of `code` at the token endpoint: 400 for every fault of the request (RFC 6749, section 5.2), but for
/// what is no token request at all: a method that is not taken (RFC 9110, section 15.5.6), a head that is too large.
pub(super) const fn oauth_status(code: Code) -> StatusCode {
    if matches!(code, Code::MethodNotAllowed | Code::HeadersTooLarge) {
        return status(code);
    }
    match oauth_error(code) {
        OauthError::InvalidRequest
        | OauthError::UnsupportedGrantType
        | OauthError::InvalidScope
        | OauthError::InvalidTarget
        | OauthError::InvalidDpopProof => StatusCode::BAD_REQUEST,
        OauthError::TemporarilyUnavailable | OauthError::ServerError => status(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    #[test]
    fn every_code_has_a_status_an_oauth_error_a_cause_a_fix_and_a_next_command() {
        let mut table = String::new();
        for &code in Code::ALL {
            let (status, oauth) = (status(code).as_u16(), oauth_status(code).as_u16());
            let (error, explained) = (oauth_error(code).as_str(), code.explain());
            writeln!(table, "{code}: {status}; at /token {oauth} {error}").unwrap();
            writeln!(
                table,
                "  cause: {}\n  fix:   {}\n  next:  {}",
                explained.cause, explained.fix, explained.next
            )
            .unwrap();
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn s_13_unseen_and_unknown_are_the_same_status() {
        for code in [Code::RoleUnknown, Code::LeaseUnknown, Code::DecisionUnknown] {
            assert_eq!(status(code), status(Code::NotFound));
        }
    }
}
