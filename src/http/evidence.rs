//! What a request shows of who asks and where it runs: read from its head, verified by the broker.

use axum::http::HeaderMap;
use axum::http::request::Parts;
use secrecy::SecretString;

use super::bearer;
use super::fields::malformed;
use crate::domain::Refusal;
use crate::identity::Evidence;

/// The header with the runner's own token, beside the job's in `Authorization`.
const ACTOR_TOKEN: &str = "tollgate-actor-token";

/// The evidence in the request's head.
///
/// # Errors
/// `token_missing`, `token_malformed`, `token_too_large`; `request_malformed` for two actor tokens.
pub(super) fn of(parts: &Parts) -> Result<Evidence, Refusal> {
    Ok(Evidence::from(bearer::token(&parts.headers)?).beside(actor(&parts.headers)?))
}

/// The token of the runner, if one is shown.
///
/// # Errors
/// `token_malformed`, `token_too_large`; `request_malformed` for two.
pub(super) fn actor(headers: &HeaderMap) -> Result<Option<SecretString>, Refusal> {
    let mut lines = headers.get_all(ACTOR_TOKEN).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(malformed(format!("send one {ACTOR_TOKEN}")));
    }
    let token = SecretString::from(line.to_str().unwrap_or_default());
    bearer::check(&token)?;
    Ok(Some(token))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::domain::Code;

    fn read(lines: &[&str]) -> Result<Option<String>, Code> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACTOR_TOKEN, line.parse().unwrap());
        }
        let actor = actor(&headers).map_err(|refusal| refusal.code)?;
        Ok(actor.map(|token| token.expose_secret().to_owned()))
    }

    #[test]
    fn reads_one_actor_token_or_none() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["a.b.c"]), Ok(Some("a.b.c".to_owned())));
        assert_eq!(read(&["a.b.c", "a.b.c"]), Err(Code::RequestMalformed));
        for none in ["", "Bearer a.b.c", "a,b", "é"] {
            assert_eq!(read(&[none]), Err(Code::TokenMalformed), "{none}");
        }
    }

    #[test]
    fn i_09_request_refuses_a_large_actor_token_by_its_size() {
        assert_eq!(read(&["a".repeat(bearer::MAX_TOKEN_BYTES + 1).as_str()]), Err(Code::TokenTooLarge));
    }
}
