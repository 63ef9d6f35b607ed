//! What a request shows of who asks and where it runs.

use secrecy::SecretString;

/// What a request shows of who asks and where it runs. Nothing of it is verified yet.
#[derive(Debug)]
pub struct Evidence {
    /// The token that says who asks.
    pub token: SecretString,
}

impl From<SecretString> for Evidence {
    fn from(token: SecretString) -> Self {
        Self { token }
    }
}

impl From<String> for Evidence {
    fn from(token: String) -> Self {
        SecretString::from(token).into()
    }
}
