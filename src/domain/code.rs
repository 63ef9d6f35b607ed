//! The stable codes: every way a request can be refused, with its cause, what to do, and the next command.
//!
//! A code never changes its meaning. Clients, alerts and runbooks hang on it.

use std::fmt;

/// What a code means, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// Why it happens, in one clause.
    pub cause: &'static str,
    /// What the caller or operator changes.
    pub fix: &'static str,
    /// The command that tells more.
    pub next: &'static str,
}

macro_rules! codes {
    ($($variant:ident $text:literal: $cause:literal, $fix:literal, $next:literal;)+) => {
        /// A stable refusal code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $cause] $variant,)+
        }

        impl Code {
            /// Every code, in documentation order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as it appears on the wire, in records and in metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Cause, fix and next command.
            pub const fn explain(self) -> Explanation {
                match self {
                    $(Self::$variant => Explanation { cause: $cause, fix: $fix, next: $next }),+
                }
            }
        }
    };
}

codes! {
    // The request, before anybody looks at who asks.
    RequestMalformed "request_malformed": "the request cannot be read", "send the documented JSON or form fields, each once and of the documented type", "tollgate exec --help";
    RequestTooLarge "request_too_large": "the request is larger than the configured limit", "send only the documented fields; a token has at most 16 KiB", "tollgate exec --help";
    HeadersTooLarge "headers_too_large": "the request's head is larger than 64 KiB, or has more than 64 header lines", "send the job's own OIDC token, of at most 16 KiB, and few other headers", "tollgate exec --help";
    RequestIncomplete "request_incomplete": "the request's body broke off or came too slowly", "send the whole body at once; check the network between", "tollgate exec --help";
    ContentTypeUnsupported "content_type_unsupported": "the content type is not the one this endpoint reads", "send application/json to /v1/credentials and application/x-www-form-urlencoded to /token", "tollgate exec --help";
    DuplicateParameter "duplicate_parameter": "a parameter or key appears twice", "send each parameter once (RFC 6749, section 3.2)", "tollgate exec --help";
    GrantTypeUnsupported "grant_type_unsupported": "the grant type is not token exchange", "send grant_type=urn:ietf:params:oauth:grant-type:token-exchange (RFC 8693)", "tollgate exec --help";
    TtlInvalid "ttl_invalid": "the lifetime is not a whole number with a unit, or out of range", "ask for a lifetime such as 90s, 30m or 2h, at most 12h", "tollgate exec --help";
    NameInvalid "name_invalid": "a role, scope or key does not match its grammar", "use the name exactly as the role's file writes it", "tollgate whoami";

    // The token.
    TokenMissing "token_missing": "no identity token came with the request", "send the job's OIDC token as a bearer token, or use tollgate exec", "tollgate exec --help";
    TokenTooLarge "token_too_large": "the token is larger than 16 KiB or its header than 2 KiB", "send the job's own OIDC token, not a bundle or a file", "tollgate whoami";
    TokenMalformed "token_malformed": "the token is not a signed JWT of three parts", "send the token exactly as the platform issued it", "tollgate whoami";
    TokenDuplicateKey "token_duplicate_key": "a JSON key appears twice in the token", "report it to the issuer; such a token reads differently to different parsers", "tollgate whoami";
    TokenHeaderRefused "token_header_refused": "the token's header has a member that is not accepted, such as crit or b64", "ask the issuer for a plain signed JWT", "tollgate whoami";
    TokenAlgorithmRefused "token_algorithm_refused": "the token's algorithm is not configured for its issuer", "add the algorithm to the issuer's file if the security team agrees", "tollgate check";
    TokenKindRefused "token_kind_refused": "the token is of another kind than an identity token", "send the job's ID token, not an access, logout or Tollgate token", "tollgate whoami";
    IssuerUnknown "issuer_unknown": "the token's issuer and audience are not configured", "ask for the audience that this Tollgate expects, or add the issuer to config/issuers", "tollgate whoami";
    TokenKeyUnknown "token_key_unknown": "the issuer does not publish the key that signed the token", "get a fresh token; if it persists, check the issuer's JWKS", "tollgate whoami";
    TokenSignatureInvalid "token_signature_invalid": "the token's signature does not match", "get a fresh token and send it unchanged", "tollgate whoami";
    TokenAudienceRefused "token_audience_refused": "the token is made for another audience", "request the token with the audience from the issuer's file", "tollgate whoami";
    TokenExpired "token_expired": "the token has expired", "get a fresh token just before asking; check the runner's clock", "tollgate whoami";
    TokenNotYetValid "token_not_yet_valid": "the token is not valid yet", "check the clocks of issuer, runner and Tollgate", "tollgate whoami";
    TokenTooOld "token_too_old": "the token was issued longer ago than its issuer's maximum age", "get a fresh token just before asking", "tollgate whoami";
    TokenClaimInvalid "token_claim_invalid": "a required claim is missing or of the wrong type", "check the issuer's profile against the claims it really sends", "tollgate whoami";
    TokenReplayed "token_replayed": "the token was used for this role before", "get a fresh token for every exchange, or retry with the same Idempotency-Key within 60 seconds", "tollgate whoami";
    ProofMissing "proof_missing": "the token or lease is bound to a key, and no proof of that key came with the request", "send a DPoP proof by the key (RFC 9449), or connect with a certificate of the key, or use tollgate exec, which makes token and proof", "tollgate exec --help";
    ProofInvalid "proof_invalid": "the DPoP proof is not one by the key, for this request and of this minute", "make a new proof for every request, with its method and Tollgate's public URL; check the clock", "tollgate exec --help";
    ProofReplayed "proof_replayed": "the DPoP proof was used before", "make a new proof, with a jti of its own, for every request and every retry", "tollgate exec --help";
    PossessionRequired "possession_required": "the issuer's entry or the role takes only tokens that are bound to a key", "ask the platform for the audience with #jkt= and the key's thumbprint after it, or use tollgate exec, or show an X.509-SVID instead", "tollgate exec --help";
    IssuerUnavailable "issuer_unavailable": "the issuer's keys cannot be fetched and none are remembered", "retry; if it persists, check the issuer and the network between", "tollgate check";
    CertificateInvalid "certificate_invalid": "the client certificate is no X.509-SVID", "show a leaf with exactly one URI name, a SPIFFE ID with a path, that may sign for itself and for nothing else", "tollgate whoami";
    ForwardedCertificateInvalid "forwarded_certificate_invalid": "the proxy's header with the client's certificate cannot be read", "let the proxy replace what clients send, and pass on one certificate with its chain: Cert and Chain for Envoy, or RFC 9440", "tollgate check";
    ProxyRefused "proxy_refused": "the listener for proxies was reached by somebody who is none of them", "compare the proxy's SPIFFE ID with server.proxy, and its certificate with its domain's bundle; others use the other listener", "tollgate check";
    CertificateUntrusted "certificate_untrusted": "no authority of its own trust domain vouches for the client certificate now", "show the whole chain of a certificate that has not expired; compare the domain's bundle", "tollgate whoami";
    IdentityNotAdmitted "identity_not_admitted": "the identity is valid but does not belong to this organisation", "compare the issuer's require rules with the token's claims", "tollgate whoami";

    // The runner's token or certificate, beside the job's token. What is wrong with it as such is said by the codes above.
    ActorRefused "actor_refused": "the actor token, or the certificate beside the token, is not one of a runner", "show what is the runner's own, of an issuer or trust domain whose file has [runner]; a token is made for that file's audience", "tollgate whoami";
    RunnerAmbiguous "runner_ambiguous": "the actor token and the client certificate name two runners", "show one of them, or two of one SPIFFE ID", "tollgate whoami";
    RunnerNotIdentity "runner_not_identity": "the token is one of a runner, which cannot ask by itself", "send the job's own token, and the runner's as actor token beside it", "tollgate whoami";
    RunnerMissing "runner_missing": "the runner must prove itself, and did not", "let the runner connect with its X.509-SVID, or show its own token: tollgate exec --actor-token-from, or the parameter actor_token", "tollgate whoami";
    RunnerUnwanted "runner_unwanted": "the role gives nothing to a request that shows a runner", "leave the actor token, or the runner's certificate, out", "tollgate whoami";
    RunnerTenantDiffers "runner_tenant_differs": "the runner belongs to another tenant than the job", "run the job on a runner of its own tenant", "tollgate whoami";
    RunnerDiffers "runner_differs": "the lease was granted on another runner", "renew it where it was granted, or ask for a new credential", "tollgate exec --help";

    // What is asked for, and what policy sees.
    RoleUnknown "role_unknown": "there is no such role, or this identity may not see it", "check the role's name and the identity's tenant", "tollgate whoami";
    ScopeUnknown "scope_unknown": "the role has no such scope", "ask for scopes that the role lists", "tollgate whoami";
    DeclaredKeyRefused "declared_key_refused": "the role does not admit this declared key, or not this value", "send only the keys and values that the role's file admits", "tollgate whoami";
    TargetNotMapped "target_not_mapped": "no row of the role's target table matches this identity", "add a row for this repository to the target table", "tollgate check";
    FactsUnavailable "facts_unavailable": "a fact that the policy reads could not be fetched", "retry; if it persists, check the fact source", "tollgate check";

    // The decision.
    PolicyDenied "policy_denied": "a policy denies it", "follow the reasons in the answer", "tollgate explain DECISION";
    NotAllowed "not_allowed": "no policy of the role allows it", "compare the role's policies with the identity and the request", "tollgate explain DECISION";
    PolicyFailed "policy_failed": "a policy could not be evaluated, ran too long, or gave a result of the wrong shape", "tell the security team; the record says which package and why", "tollgate explain DECISION";
    ScopesEmpty "scopes_empty": "nothing is left of the requested scopes", "ask for scopes that the policies leave to this identity", "tollgate explain DECISION";
    TtlBelowFloor "ttl_below_floor": "the lifetime left by the policies is below what the provider can enforce", "ask at another time or for another role; the record says which rule shortened it", "tollgate explain DECISION";
    ApprovalRequired "approval_required": "policy wants an approval first", "ask an approver and repeat the request", "tollgate explain DECISION";
    TagConflict "tag_conflict": "two policies set the same tag to different values", "tell the security team; the record names the packages", "tollgate explain DECISION";
    Superseded "superseded": "a retry with the same Idempotency-Key took this request's place", "use the answer of the retry", "tollgate exec --help";
    Blocked "blocked": "the identity, role or issuer is blocked", "ask the security team", "tollgate explain DECISION";
    AlertRefused "alert_refused": "there is no such webhook, or its alert does not prove that its sender is the webhook's", "compare the webhook's name, its secret or certificate, and the sender's clock with the configuration", "tollgate check";
    BlockUnknown "block_unknown": "there is no such block, or it is no longer in force", "list the blocks in force", "tollgate block list";
    BlocksFull "blocks_full": "as many blocks are in force as are held", "block something wider, and lift what it covers", "tollgate block list";

    // The ledger.
    StoreUnavailable "store_unavailable": "the ledger cannot record, so nothing is issued", "retry; the operator checks disk space, permissions and the store", "tollgate check";
    IdempotencyConflict "idempotency_conflict": "the Idempotency-Key was used for a different request", "use one key per request, and the same body with it", "tollgate exec --help";
    RateLimited "rate_limited": "the identity, its tenant, the role or the address has used up a budget", "wait as long as Retry-After says", "tollgate whoami";

    // Signing by a KMS.
    SigningUnavailable "signing_unavailable": "the KMS that holds the signing key does not sign", "retry; if it persists, the operator checks the KMS, whether it is sealed, and Tollgate's token there", "tollgate explain DECISION";

    // The provider.
    ProviderUnavailable "provider_unavailable": "the target does not answer", "retry; if it persists, check the target and the network between", "tollgate check";
    ProviderBusy "provider_busy": "as many exchanges wait for the target as may", "wait as long as Retry-After says; if it persists, check whether the target answers", "tollgate check";
    ProviderThrottled "provider_throttled": "the target asks to slow down", "wait as long as Retry-After says", "tollgate explain DECISION";
    ProviderRefused "provider_refused": "the target refuses to mint", "check the target's trust in Tollgate; the record has its answer", "tollgate explain DECISION";
    ProviderAnswerUnexpected "provider_answer_unexpected": "the target answered with something other than what was granted", "tell the operator; the credential was discarded", "tollgate explain DECISION";
    TargetValueRefused "target_value_refused": "a value does not fit the target's grammar", "correct the role, the target table or the claim it comes from; values are never rewritten", "tollgate explain DECISION";
    SessionPolicyTooLarge "session_policy_too_large": "the session policy exceeds what AWS accepts", "ask for fewer scopes, or shorten the role's statements", "tollgate check";

    // Leases and the surface.
    LeaseUnknown "lease_unknown": "there is no such lease, or the secret is not its secret", "use the lease id and secret of one answer", "tollgate exec --help";
    LeaseEnded "lease_ended": "the lease was ended, or its time is over", "ask for a new credential", "tollgate exec --help";
    LeaseNotRenewable "lease_not_renewable": "the lease cannot be made to live longer than it does", "renew within the role's max_session and when little is left, or ask for a new credential", "tollgate exec --help";
    DecisionUnknown "decision_unknown": "there is no such decision, or this identity may not see it", "use the id of your own request", "tollgate whoami";
    DecisionPruned "decision_pruned": "records of the decision's time were pruned: what there was is gone, as configured", "look in what sinks and exports have kept", "tollgate audit export --help";
    NotFound "not_found": "there is nothing at this path", "see the API section of the manual", "tollgate --help";
    MethodNotAllowed "method_not_allowed": "the path does not take this method", "see the API section of the manual", "tollgate --help";
    Overloaded "overloaded": "the server has as many requests in flight as it takes", "wait as long as Retry-After says", "tollgate exec --help";
    Timeout "timeout": "the request took longer than the server allows", "retry with the same Idempotency-Key", "tollgate exec --help";
    Internal "internal": "Tollgate failed", "tell the operator, with the decision or request id", "tollgate explain DECISION";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_unique_and_explained() {
        let texts: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            let explained = code.explain();
            assert!(!explained.cause.is_empty() && !explained.fix.is_empty(), "{code}");
            assert!(explained.next.starts_with("tollgate "), "{code}");
        }
    }
}
