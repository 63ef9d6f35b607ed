//! A compact JWS (RFC 7515, section 7.1) taken apart, and its signature verified.
//!
//! Cheap checks come before any decoding, and the claims can be had only from a verified token, except for the two
//! that select the issuer entry. Nothing in the header chooses a key source or an algorithm: `alg` and `kid` only
//! select among what the issuer publishes and the configuration accepts.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use spiffe::{JwtSvid, JwtSvidError};

use super::keys::{VerifyingKey, algorithm_named};
use crate::causes;
use crate::config::Algorithm;
use crate::domain::{Code, Refusal};
use crate::json::{self, JsonError, Limits};
use crate::secret::Fingerprint;

/// Longest token, bytes. GitHub's and GitLab's have one to two thousand.
const MAX_TOKEN: usize = 16 * 1024;
/// Longest header, bytes, base64url.
const MAX_HEADER: usize = 2 * 1024;
/// Longest `kid`, bytes.
const MAX_KID: usize = 256;
/// The most that header or claims may hold: group lists of enterprise issuers fit, a thousand audiences do not.
const LIMITS: Limits = Limits { depth: 8, values: 512 };

/// Members that change what the signature covers or how the token is read (RFC 7515, section 4.1.11; RFC 7797;
/// RFC 7516, section 4.1.3). Tollgate implements none, and must not act as if they were absent.
const REFUSED_MEMBERS: &[&str] = &["crit", "b64", "zip"];

/// Why a token was refused by itself, before times and admission.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// An empty text.
    #[error("no identity token was sent")]
    Missing,
    /// Over a size limit.
    #[error("the {0} is too large")]
    TooLarge(&'static str),
    /// Not three base64url parts.
    #[error("the token is not a signed JWT: {0}")]
    Shape(&'static str),
    /// A part does not hold the JSON it should.
    #[error("the token's {part} cannot be read")]
    Json {
        /// `header` or `payload`.
        part: &'static str,
        /// Why.
        #[source]
        source: JsonError,
    },
    /// A header member that is never accepted, or of the wrong type.
    #[error("the token's header member `{0}` is not accepted")]
    Header(&'static str),
    /// `alg` is absent, `none`, symmetric, or unknown.
    #[error("the token's algorithm is not an asymmetric signature that Tollgate knows")]
    AlgorithmUnknown,
    /// `alg` is known, and not configured for the issuer.
    #[error("the token's algorithm is not accepted from this issuer")]
    AlgorithmNotConfigured(Algorithm),
    /// An access, logout, security-event or proof token, or one of Tollgate's own.
    #[error("this is not an identity token but {0}")]
    Kind(&'static str),
    /// Not what the specification of JWT-SVIDs asks for.
    #[error("the token is no JWT-SVID")]
    Svid(#[source] Box<JwtSvidError>),
    /// Something else than a security event token.
    #[error("this is not a security event token")]
    NotEvent,
    /// Something else than a proof of possession.
    #[error("its `typ` is not dpop+jwt")]
    NotProof,
    /// A claim that selects the issuer entry is absent or of the wrong type.
    #[error("the token's claim `{0}` is missing or of the wrong type")]
    Claim(&'static str),
    /// The signature is not by the key.
    #[error("the token's signature does not match")]
    Signature,
}

/// What the header says, once it is known to be harmless.
#[derive(Debug)]
struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
    /// `typ` is `JOSE`, as a JWT-SVID's may be.
    jose: bool,
    /// There are members other than `alg`, `kid` and `typ`.
    more: bool,
}

/// A token whose form is right and whose signature nobody has looked at.
pub(super) struct Unverified<'a> {
    header: Header,
    claims: Map<String, Value>,
    /// Header and payload as sent: what the signature covers.
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        let parsed = Self::parse_kind(token, check_kind)?;
        // A logout token need not say so in `typ` (OpenID Connect Back-Channel Logout, section 2.4); this claim
        // marks it, and every security event (RFC 8417, section 2.2).
        if parsed.claims.contains_key("events") {
            return Err(TokenError::Kind("a security event or logout token"));
        }
        Ok(parsed)
    }

    /// Takes a security event token apart (RFC 8417), which must say that it is one (section 2.3).
    pub(super) fn parse_event(token: &'a str) -> Result<Self, TokenError> {
        let parsed = Self::parse_kind(token, check_event_kind)?;
        if parsed.header.jose {
            return Err(TokenError::NotEvent);
        }
        if parsed.claims.contains_key("events") { Ok(parsed) } else { Err(TokenError::NotEvent) }
    }

    /// Takes a proof of possession apart (RFC 9449, section 4.2), with the public key in its header: the one kind of token
    /// that brings its own, as it proves nothing but that its maker has the other half.
    pub(super) fn parse_proof(token: &'a str) -> Result<(Self, Map<String, Value>), TokenError> {
        let (signed, header, payload, signature) = split(token)?;
        let mut members = members(&decode(header)?)?;
        let header = Header::of(&members, check_proof_kind)?;
        let Some(Value::Object(jwk)) = members.remove("jwk") else { return Err(TokenError::Header("jwk")) };
        let claims = json::object(&decode(payload)?, LIMITS)
            .map_err(|source| TokenError::Json { part: "payload", source })?;
        Ok((Self { header, claims, signed, signature: decode(signature)? }, jwk))
    }

    fn parse_kind(
        token: &'a str,
        check: fn(Option<&str>) -> Result<(), TokenError>,
    ) -> Result<Self, TokenError> {
        let (signed, header, payload, signature) = split(token)?;
        let header = Header::of(&members(&decode(header)?)?, check)?;
        let claims = json::object(&decode(payload)?, LIMITS)
            .map_err(|source| TokenError::Json { part: "payload", source })?;
        Ok(Self { header, claims, signed, signature: decode(signature)? })
    }

    /// The algorithm that the token says it was signed with.
    pub(super) const fn algorithm(&self) -> Algorithm {
        self.header.algorithm
    }

    /// The key that the token says it was signed with.
    pub(super) fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// Hash of what the signature covers, by which a token is known again.
    ///
    /// Without the signature: to every ECDSA signature (r, s) there is a second valid one, (r, n - s), which anybody can
    /// compute, so that a used token would pass for another one.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.signed.as_bytes())
    }

    /// All claims, unverified: only to select a configured entry.
    pub(super) const fn claims_insecure(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Refuses a form that an OIDC issuer's token has not.
    pub(super) fn check_plain(&self) -> Result<(), TokenError> {
        if self.header.jose { Err(TokenError::Kind("a token of another type")) } else { Ok(()) }
    }

    /// Refuses a form that a JWT-SVID has not (JWT-SVID, section 2): its header has an algorithm, a key's id, and perhaps a
    /// type. What else it must have the crate that knows SVIDs says. Verifies nothing.
    pub(super) fn check_svid_insecure(&self, token: &str) -> Result<(), TokenError> {
        if self.header.more {
            return Err(TokenError::Header("other than alg, kid and typ"));
        }
        if self.header.kid.is_none() {
            return Err(TokenError::Header("kid"));
        }
        JwtSvid::parse_insecure(token).map(drop).map_err(|error| TokenError::Svid(Box::new(error)))
    }

    /// The `iss` claim, unverified: only to select configured entries.
    pub(super) fn issuer_insecure(&self) -> Result<&str, TokenError> {
        issuer(&self.claims)
    }

    /// The `aud` claim, unverified: only to select a configured entry. Never empty (RFC 7519, section 4.1.3).
    pub(super) fn audiences_insecure(&self) -> Result<Vec<&str>, TokenError> {
        audiences(&self.claims)
    }

    /// The claims, if `key` signed them with the algorithm that it is bound to.
    pub(super) fn verify(self, key: &VerifyingKey) -> Result<Map<String, Value>, TokenError> {
        let signed_by =
            key.algorithm() == self.header.algorithm && key.verifies(self.signed.as_bytes(), &self.signature);
        if signed_by { Ok(self.claims) } else { Err(TokenError::Signature) }
    }
}

/// The `iss` claim.
pub(super) fn issuer(claims: &Map<String, Value>) -> Result<&str, TokenError> {
    claims.get("iss").and_then(Value::as_str).ok_or(TokenError::Claim("iss"))
}

/// The `aud` claim, which is never empty (RFC 7519, section 4.1.3).
pub(super) fn audiences(claims: &Map<String, Value>) -> Result<Vec<&str>, TokenError> {
    let audiences = match claims.get("aud") {
        Some(Value::String(one)) => Some(vec![one.as_str()]),
        Some(Value::Array(list)) => list.iter().map(Value::as_str).collect(),
        Some(_) | None => None,
    };
    audiences.filter(|list| !list.is_empty()).ok_or(TokenError::Claim("aud"))
}

/// Header and payload together, header, payload, signature; nothing is decoded yet.
fn split(token: &str) -> Result<(&str, &str, &str, &str), TokenError> {
    if token.is_empty() {
        return Err(TokenError::Missing);
    }
    if token.len() > MAX_TOKEN {
        return Err(TokenError::TooLarge("token"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err(TokenError::Shape("it has characters other than base64url and dots"));
    }
    let three = || TokenError::Shape("it does not have three parts");
    let (signed, signature) = token.rsplit_once('.').ok_or_else(three)?;
    let (header, payload) = signed.split_once('.').ok_or_else(three)?;
    if payload.contains('.') {
        return Err(three());
    }
    if header.len() > MAX_HEADER {
        return Err(TokenError::TooLarge("token's header"));
    }
    Ok((signed, header, payload, signature))
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Shape("a part is not base64url without padding"))
}

/// The members of a header.
fn members(json: &[u8]) -> Result<Map<String, Value>, TokenError> {
    json::object(json, LIMITS).map_err(|source| TokenError::Json { part: "header", source })
}

impl Header {
    /// Members not named here are ignored, among them `jwk`, `jku`, `x5u`, `x5c` and `x5t`: a key never comes from
    /// the token that it is to verify (RFC 8725, sections 2.8 and 3.10).
    fn of(
        members: &Map<String, Value>,
        check: fn(Option<&str>) -> Result<(), TokenError>,
    ) -> Result<Self, TokenError> {
        if let Some(member) = REFUSED_MEMBERS.iter().find(|member| members.contains_key(**member)) {
            return Err(TokenError::Header(member));
        }
        let jose = members.get("typ").is_some_and(|typ| typ == "JOSE");
        let more = members.keys().any(|name| !matches!(name.as_str(), "alg" | "kid" | "typ"));
        let kid = match members.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= MAX_KID => Some(kid.clone()),
            Some(_) => return Err(TokenError::Header("kid")),
        };
        match members.get("typ") {
            None => check(None)?,
            // Who verifies what it is decides once the issuer is known.
            Some(_) if jose => {}
            Some(Value::String(typ)) => check(Some(typ))?,
            Some(_) => return Err(TokenError::Header("typ")),
        }
        let named = members.get("alg").and_then(Value::as_str).and_then(algorithm_named);
        Ok(Self { algorithm: named.ok_or(TokenError::AlgorithmUnknown)?, kid, jose, more })
    }
}

/// Only `JWT`, in any case, with or without `application/` (RFC 7519, section 5.1; RFC 7515, section 4.1.9).
///
/// Other kinds of signed JWT have types of their own so that one is not taken for another (RFC 8725, section 3.11).
fn check_kind(typ: Option<&str>) -> Result<(), TokenError> {
    let Some(typ) = typ.map(str::to_ascii_lowercase) else { return Ok(()) };
    match typ.strip_prefix("application/").unwrap_or(&typ) {
        "jwt" => Ok(()),
        "at+jwt" => Err(TokenError::Kind("an access token")),
        "logout+jwt" => Err(TokenError::Kind("a logout token")),
        "secevent+jwt" => Err(TokenError::Kind("a security event")),
        "dpop+jwt" => Err(TokenError::Kind("a proof of possession")),
        _ => Err(TokenError::Kind("a token of another type")),
    }
}

/// Only `dpop+jwt`, written out (RFC 9449, section 4.2).
fn check_proof_kind(typ: Option<&str>) -> Result<(), TokenError> {
    let typ = typ.map(str::to_ascii_lowercase).unwrap_or_default();
    match typ.strip_prefix("application/").unwrap_or(&typ) {
        "dpop+jwt" => Ok(()),
        _ => Err(TokenError::NotProof),
    }
}

/// Only `secevent+jwt`, written out: what does not say what it is could be anything that the issuer signs.
fn check_event_kind(typ: Option<&str>) -> Result<(), TokenError> {
    let typ = typ.map(str::to_ascii_lowercase).unwrap_or_default();
    match typ.strip_prefix("application/").unwrap_or(&typ) {
        "secevent+jwt" => Ok(()),
        _ => Err(TokenError::NotEvent),
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        let code = match &error {
            TokenError::Missing => Code::TokenMissing,
            TokenError::TooLarge(_) => Code::TokenTooLarge,
            TokenError::Shape(_) => Code::TokenMalformed,
            TokenError::Json { source, .. } => match source {
                JsonError::Duplicate(_) => Code::TokenDuplicateKey,
                JsonError::TooDeep(_)
                | JsonError::TooMany(_)
                | JsonError::NotAnObject
                | JsonError::NotJson { .. } => Code::TokenMalformed,
            },
            TokenError::Header(_) => Code::TokenHeaderRefused,
            TokenError::AlgorithmUnknown | TokenError::AlgorithmNotConfigured(_) => {
                Code::TokenAlgorithmRefused
            }
            TokenError::Kind(_) | TokenError::NotEvent | TokenError::NotProof => Code::TokenKindRefused,
            TokenError::Claim(_) | TokenError::Svid(_) => Code::TokenClaimInvalid,
            TokenError::Signature => Code::TokenSignatureInvalid,
        };
        let refusal = Self::new(code, error.to_string());
        match error {
            TokenError::Json { source, .. } => refusal.with_detail(causes::in_full(&source)),
            TokenError::Svid(source) => refusal.with_detail(causes::in_full(&*source)),
            TokenError::AlgorithmNotConfigured(algorithm) => {
                refusal.with_detail(format!("{algorithm:?} is not among the issuer's algorithms"))
            }
            _ => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::keys::KeySet;
    use crate::identity::tests::signer::Signer;
    use proptest::prelude::*;
    use serde_json::json;

    fn b64(text: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn with_header(header: &str) -> Result<(), Code> {
        refusal(&format!("{}.{}.AAAA", b64(header), b64("{}")))
    }

    fn refusal(token: &str) -> Result<(), Code> {
        Unverified::parse(token).map(|_| ()).map_err(|error| Refusal::from(error).code)
    }

    #[test]
    fn i_03_refuses_none_symmetric_and_unknown_algorithms() {
        for alg in ["none", "None", "HS256", "HS512", "ES256K", "RSA-OAEP", "rs256", "PS512", ""] {
            let header = json!({"alg": alg}).to_string();
            assert_eq!(with_header(&header), Err(Code::TokenAlgorithmRefused), "{alg}");
        }
        for header in ["{}", r#"{"alg":null}"#, r#"{"alg":["RS256"]}"#] {
            assert_eq!(with_header(header), Err(Code::TokenAlgorithmRefused), "{header}");
        }
        let unsigned = format!("{}.{}.", b64(r#"{"alg":"none"}"#), b64("{}"));
        assert_eq!(refusal(&unsigned), Err(Code::TokenAlgorithmRefused));
    }

    #[test]
    fn i_03_a_key_verifies_only_what_names_its_algorithm() {
        let signer = Signer::ec("k");
        let keys = json!({"keys": [signer.jwk()]}).to_string();
        let keys = KeySet::parse(keys.as_bytes()).unwrap();
        let key = keys.find(Some("k"), Algorithm::Es256).unwrap();
        let verified = |alg: &str| {
            let token = signer.token_of(&json!({"alg": alg, "kid": "k"}), "{}");
            Unverified::parse(&token).unwrap().verify(key).is_ok()
        };
        assert!(verified("ES256"));
        assert!(!verified("RS256"), "the signature itself is good");
    }

    #[test]
    fn i_04_refuses_critical_extensions_and_ignores_embedded_keys() {
        for member in ["crit", "b64", "zip"] {
            let header = json!({"alg": "RS256", member: ["exp"]}).to_string();
            assert_eq!(with_header(&header), Err(Code::TokenHeaderRefused), "{member}");
        }
        let embedded =
            json!({"alg": "RS256", "jwk": {"kty": "oct"}, "jku": "https://evil.example", "x5c": ["AA"]});
        assert_eq!(with_header(&embedded.to_string()), Ok(()));
    }

    #[test]
    fn i_05_bounds_the_key_id() {
        let kid = |kid: Value| with_header(&json!({"alg": "RS256", "kid": kid}).to_string());
        assert_eq!(kid(json!("../../etc/passwd")), Ok(()));
        assert_eq!(kid(json!("k".repeat(MAX_KID))), Ok(()));
        assert_eq!(kid(json!("k".repeat(MAX_KID + 1))), Err(Code::TokenHeaderRefused));
        assert_eq!(kid(json!(7)), Err(Code::TokenHeaderRefused));
    }

    #[test]
    fn i_08_refuses_duplicate_members_of_header_and_payload() {
        assert_eq!(with_header(r#"{"alg":"RS256","x":1,"x":1}"#), Err(Code::TokenDuplicateKey));
        let payload = format!("{}.{}.AAAA", b64(r#"{"alg":"RS256"}"#), b64(r#"{"iss":"a","i\u0073s":"b"}"#));
        assert_eq!(refusal(&payload), Err(Code::TokenDuplicateKey));
    }

    #[test]
    fn i_09_refuses_size_and_shape_before_decoding() {
        assert_eq!(refusal(""), Err(Code::TokenMissing));
        assert_eq!(refusal(&"a".repeat(1024 * 1024)), Err(Code::TokenTooLarge));
        assert_eq!(refusal(&".".repeat(MAX_TOKEN)), Err(Code::TokenMalformed));
        let long_header = format!("{}.e30.AAAA", "e".repeat(MAX_HEADER + 1));
        assert_eq!(refusal(&long_header), Err(Code::TokenTooLarge));
        for shape in ["a", "a.b", "a.b.c.d", "a.b.c.d.e", "a b.c.d", "é.b.c", "a.b.c\n", "a=.b.c", "!.b.c"] {
            assert_eq!(refusal(shape), Err(Code::TokenMalformed), "{shape:?}");
        }
        let four = Unverified::parse("a.b.c.d").err().unwrap();
        assert!(four.to_string().contains("three parts"), "counted before anything is decoded: {four}");
        let many = json!({"aud": vec!["a"; 1000]}).to_string();
        let many = format!("{}.{}.AAAA", b64(r#"{"alg":"RS256"}"#), b64(many));
        assert_eq!(refusal(&many), Err(Code::TokenMalformed));
    }

    #[test]
    fn i_12_accepts_only_plain_jwt_types() {
        let typ = |typ: Value| with_header(&json!({"alg": "RS256", "typ": typ}).to_string());
        for good in ["JWT", "jwt", "application/jwt", "application/JWT"] {
            assert_eq!(typ(json!(good)), Ok(()), "{good}");
        }
        for bad in
            ["at+jwt", "application/at+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "DPoP+JWT", "x", ""]
        {
            assert_eq!(typ(json!(bad)), Err(Code::TokenKindRefused), "{bad}");
        }
        assert_eq!(typ(json!(1)), Err(Code::TokenHeaderRefused));
        let logout = format!("{}.{}.AAAA", b64(r#"{"alg":"RS256"}"#), b64(r#"{"events":{}}"#));
        assert_eq!(refusal(&logout), Err(Code::TokenKindRefused));
    }

    #[test]
    fn i_06_audience_must_be_text_or_a_list_of_text() {
        for (payload, expected) in [
            (json!({"aud": "a"}), Some(vec!["a"])),
            (json!({"aud": ["a", "b"]}), Some(vec!["a", "b"])),
            (json!({}), None),
            (json!({"aud": 42}), None),
            (json!({"aud": []}), None),
            (json!({"aud": ["a", 1]}), None),
            (json!({"aud": {"a": "a"}}), None),
            (json!({"aud": null}), None),
        ] {
            let token = format!("{}.{}.AAAA", b64(r#"{"alg":"RS256"}"#), b64(payload.to_string()));
            let token = Unverified::parse(&token).unwrap();
            assert_eq!(token.audiences_insecure().ok(), expected, "{payload}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(token in "[A-Za-z0-9_.-]{0,80}") {
            let _ = Unverified::parse(&token);
        }
    }
}
