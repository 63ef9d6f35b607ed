//! What a request shows of who asks and where it runs.

use secrecy::SecretString;

use super::Proof;
use crate::net::PeerCertificate;

/// What a request shows of who asks and where it runs. Nothing of it is verified yet.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The token that says who asks.
    pub token: Option<SecretString>,
    /// The proof that its bearer has the key that the token is bound to, if one came.
    pub proof: Option<Proof>,
    /// The certificate that the client proved possession of: who asks, where there is no token; else where the job runs, and
    /// what proves the key that its token is bound to.
    pub certificate: Option<PeerCertificate>,
    /// The token that says where the job runs (RFC 8693, section 2.1: `actor_token`), if one was shown.
    pub actor: Option<SecretString>,
}

/// What a request shows of where it runs, beside what says who asks. Nothing of it is verified yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunnerEvidence<'a> {
    /// The runner's own token.
    pub actor: Option<&'a SecretString>,
    /// The certificate of the connection.
    pub certificate: Option<&'a PeerCertificate>,
}

impl RunnerEvidence<'_> {
    /// Whether there is anything to verify.
    pub const fn is_shown(self) -> bool {
        self.actor.is_some() || self.certificate.is_some()
    }
}

impl Evidence {
    /// What it shows of the runner. A certificate that says who asks says nothing of it.
    pub fn of_runner(&self) -> RunnerEvidence<'_> {
        let certificate = self.certificate.as_ref().filter(|_| self.token.is_some());
        RunnerEvidence { actor: self.actor.as_ref(), certificate }
    }

    /// The same beside the token of a runner, if there is one.
    #[must_use]
    pub fn beside(self, actor: Option<SecretString>) -> Self {
        Self { actor, ..self }
    }
}

impl From<SecretString> for Evidence {
    fn from(token: SecretString) -> Self {
        Self { token: Some(token), ..Self::default() }
    }
}

impl From<String> for Evidence {
    fn from(token: String) -> Self {
        SecretString::from(token).into()
    }
}

impl From<PeerCertificate> for Evidence {
    fn from(certificate: PeerCertificate) -> Self {
        Self { certificate: Some(certificate), ..Self::default() }
    }
}
