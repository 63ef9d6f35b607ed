//! Secrets in the `Authorization` header (RFC 6750, section 2.1): the only place they are read from, never the query.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};

use crate::domain::{Code, Refusal};

/// Longest token, in bytes; checked before anything is decoded.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// How a token is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// By itself, or with a proof of possession beside it (RFC 6750).
    Bearer,
    /// With a proof of possession beside it (RFC 9449, section 7.1).
    Dpop,
}

/// The bearer token of the request.
///
/// # Errors
/// `token_missing`, `token_too_large`, `token_malformed`.
pub(super) fn token(headers: &HeaderMap) -> Result<SecretString, Refusal> {
    match shown(headers)? {
        (Scheme::Bearer, token) => Ok(token),
        (Scheme::Dpop, _) => Err(missing()),
    }
}

/// The token of the request, and how it is shown.
///
/// # Errors
/// `token_missing`, `token_too_large`, `token_malformed`.
pub(super) fn shown(headers: &HeaderMap) -> Result<(Scheme, SecretString), Refusal> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let line = lines.next().ok_or_else(missing)?;
    if lines.next().is_some() {
        return Err(Refusal::new(Code::TokenMalformed, "send one Authorization header"));
    }
    let line = line.to_str().map_err(|_| malformed())?;
    let (scheme, token) = line.split_once(' ').ok_or_else(malformed)?;
    let scheme = match scheme {
        bearer if bearer.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
        dpop if dpop.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
        _ => return Err(missing()),
    };
    let token = SecretString::from(token.trim_matches(' '));
    check(&token)?;
    Ok((scheme, token))
}

/// Whether `token` has the size and characters of a bearer token (`b64token`).
///
/// # Errors
/// `token_too_large`, `token_malformed`.
pub(super) fn check(token: &SecretString) -> Result<(), Refusal> {
    let token = token.expose_secret();
    if token.len() > MAX_TOKEN_BYTES {
        let message = format!("a token has at most {MAX_TOKEN_BYTES} bytes, this one {}", token.len());
        return Err(Refusal::new(Code::TokenTooLarge, message));
    }
    let fits = |byte: u8| {
        byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
    };
    // No way out in the middle: so many bytes at once are compared as the processor can.
    let all_fit = token.bytes().fold(true, |so_far, byte| so_far & fits(byte));
    if token.is_empty() || !all_fit { Err(malformed()) } else { Ok(()) }
}

fn missing() -> Refusal {
    Refusal::new(Code::TokenMissing, "send the header Authorization: Bearer, with the token after it")
}

fn malformed() -> Refusal {
    Refusal::new(Code::TokenMalformed, "the token holds characters that no bearer token has, or none at all")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(lines: &[&str]) -> Result<String, Code> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, line.parse().unwrap());
        }
        token(&headers).map(|token| token.expose_secret().to_owned()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn reads_one_bearer_token_whatever_the_case_of_the_scheme() {
        assert_eq!(code(&["Bearer a.b-c_d"]), Ok("a.b-c_d".into()));
        assert_eq!(code(&["bEARER  a.b.c"]), Ok("a.b.c".into()));
    }

    #[test]
    fn refuses_none_two_other_schemes_and_other_characters() {
        assert_eq!(code(&[]), Err(Code::TokenMissing));
        assert_eq!(code(&["Basic YTpi"]), Err(Code::TokenMissing));
        assert_eq!(code(&["DPoP a"]), Err(Code::TokenMissing), "it is no bearer token");
        assert_eq!(code(&["Bearer a", "Bearer b"]), Err(Code::TokenMalformed));
        assert_eq!(code(&["Bearer "]), Err(Code::TokenMalformed));
        assert_eq!(code(&["Bearer"]), Err(Code::TokenMalformed));
        assert_eq!(code(&["Bearer a b"]), Err(Code::TokenMalformed));
        assert_eq!(code(&["Bearer a,b"]), Err(Code::TokenMalformed));
    }

    #[test]
    fn i_09_request_refuses_a_large_token_by_its_size() {
        let fits = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES));
        assert!(code(&[&fits]).is_ok());
        assert_eq!(code(&[&format!("{fits}a")]), Err(Code::TokenTooLarge));
    }
}
