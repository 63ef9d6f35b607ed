//! What a request shows of who asks and where it runs.

use secrecy::SecretString;

use super::Proof;

/// What a request shows of who asks and where it runs. Nothing of it is verified yet.
#[derive(Debug)]
pub struct Evidence {
    /// The token that says who asks.
    pub token: SecretString,
    /// The proof that its bearer has the key that the token is bound to, if one came.
    pub proof: Option<Proof>,
}

impl From<SecretString> for Evidence {
    fn from(token: SecretString) -> Self {
        Self { token, proof: None }
    }
}

impl From<String> for Evidence {
    fn from(token: String) -> Self {
        SecretString::from(token).into()
    }
}
