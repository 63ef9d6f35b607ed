//! What a request shows of who asks and where it runs.

use secrecy::SecretString;

/// What a request shows of who asks and where it runs. Nothing of it is verified yet.
#[derive(Debug)]
pub struct Evidence {
    /// The token that says who asks.
    pub token: SecretString,
    /// The token that says where the job runs (RFC 8693, section 2.1: `actor_token`), if one was shown.
    pub actor: Option<SecretString>,
}

impl Evidence {
    /// The same beside the token of a runner, if there is one.
    #[must_use]
    pub fn beside(self, actor: Option<SecretString>) -> Self {
        Self { actor, ..self }
    }
}

impl From<SecretString> for Evidence {
    fn from(token: SecretString) -> Self {
        Self { token, actor: None }
    }
}

impl From<String> for Evidence {
    fn from(token: String) -> Self {
        SecretString::from(token).into()
    }
}
