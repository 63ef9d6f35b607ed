//! Form parameters (RFC 6749, section 3.2): each once, an empty one counts as omitted, unknown ones are ignored.

use std::collections::BTreeMap;

use url::form_urlencoded;

use super::fields::{malformed, shown};
use crate::domain::{Code, Refusal};

/// Most parameters of one request.
const MAX_PARAMETERS: usize = 64;

/// Parameters that are not taken yet. No `Debug`: one of them is a token.
pub(super) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads a form-encoded body.
    ///
    /// # Errors
    /// `duplicate_parameter`, or `request_malformed` for too many parameters or bytes that are not UTF-8.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            // The decoder puts U+FFFD for what is not UTF-8; nothing that we read may hold it.
            if name.contains(char::REPLACEMENT_CHARACTER) || value.contains(char::REPLACEMENT_CHARACTER) {
                return Err(malformed("the form is not UTF-8"));
            }
            if parameters.len() == MAX_PARAMETERS {
                return Err(malformed(format!("send at most {MAX_PARAMETERS} parameters")));
            }
            if parameters.contains_key(&*name) {
                let message = format!("the parameter {} appears twice", shown(&name));
                return Err(Refusal::new(Code::DuplicateParameter, message));
            }
            parameters.insert(name.into_owned(), value.into_owned());
        }
        parameters.retain(|_, value| !value.is_empty());
        Ok(Self(parameters))
    }

    /// Takes the value of `name`, if it was sent.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Refuses what nobody took, where a parameter that is ignored would change what is meant.
    ///
    /// # Errors
    /// `request_malformed`, naming one.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(unknown) => Err(malformed(format!("unknown parameter {}", shown(&unknown)))),
        }
    }

    /// Takes all parameters whose name starts with `prefix`; returns the rest of each name with its value.
    pub(super) fn take_prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        self.0
            .extract_if(.., |name, _| name.starts_with(prefix))
            .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &[u8]) -> Option<Code> {
        Form::parse(body).err().map(|refusal| refusal.code)
    }

    #[test]
    fn i_08_request_refuses_a_parameter_twice_however_it_is_encoded() {
        assert_eq!(code(b"scope=a&scope=a"), Some(Code::DuplicateParameter));
        assert_eq!(code(b"scope=&scope=a"), Some(Code::DuplicateParameter));
        assert_eq!(code(b"scope=a&sc%6fpe=b"), Some(Code::DuplicateParameter));
        assert_eq!(code(b"unknown=a&unknown=b"), Some(Code::DuplicateParameter));
    }

    #[test]
    fn i_09_request_bounds_the_number_of_parameters() {
        let body = |count: usize| (0..count).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(code(body(MAX_PARAMETERS).as_bytes()), None);
        assert_eq!(code(body(MAX_PARAMETERS + 1).as_bytes()), Some(Code::RequestMalformed));
    }

    #[test]
    fn refuses_bytes_that_are_not_utf_8() {
        assert_eq!(code(b"a=%ff"), Some(Code::RequestMalformed));
        assert_eq!(code(b"%ff=a"), Some(Code::RequestMalformed));
    }

    #[test]
    fn an_empty_parameter_counts_as_omitted() {
        let mut form = Form::parse(b"scope=&ttl=30m&a+b=%2B").unwrap_or_else(|_| panic!("readable"));
        assert_eq!(form.take("scope"), None);
        assert_eq!(form.take("ttl").as_deref(), Some("30m"));
        assert_eq!(form.take("a b").as_deref(), Some("+"));
        assert_eq!(form.take("ttl"), None);
    }
}
