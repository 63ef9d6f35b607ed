//! Renewals: more life for a credential, or another one like it; never more than the first.

use super::{Pair, Providers};
use crate::domain::{Code, Handle, Prolonged, Refusal};
use crate::ledger::{AuthorisedRenewal, Planned, Renewable};
use crate::policy::Grant;

impl Providers {
    /// Plans the renewal of `first`: checks that the grant leads to the same place, and names the handle.
    ///
    /// # Errors
    /// The grant back, with a refusal.
    pub fn plan_renewal(&self, grant: Grant, first: &Renewable) -> Result<Planned, Box<(Grant, Refusal)>> {
        match self.renewal_handle(&grant, first) {
            Ok(handle) => Ok(Planned::new(grant, handle)),
            Err(refusal) => Err(Box::new((grant, refusal))),
        }
    }

    fn renewal_handle(&self, grant: &Grant, first: &Renewable) -> Result<Handle, Refusal> {
        if grant.facts().target().name.as_str() != first.target {
            return Err(elsewhere("the role has another target now"));
        }
        match (self.of(grant)?, &first.handle) {
            // The token was made with its policies: less cannot be given any more.
            (Pair::Vault(..), Handle::Vault { .. }) if *grant.scopes() != first.scopes => {
                Err(elsewhere("policy grants fewer scopes now, and a token of Vault cannot be narrowed"))
            }
            (Pair::Vault(..), Handle::Vault { .. }) => Ok(first.handle.clone()),
            (Pair::Aws(aws, role), Handle::Aws { role_arn, .. }) => match aws.plan(grant, role)? {
                Handle::Aws { role_arn: now, .. } if now != *role_arn => {
                    Err(elsewhere("the role stands for another AWS role now"))
                }
                handle => Ok(handle),
            },
            (Pair::Jwt(_, role), Handle::Jwt { .. }) => super::Jwt::plan(grant, role),
            (Pair::Vault(..) | Pair::Aws(..) | Pair::Jwt(..), _) => {
                Err(elsewhere("the role has another kind of target now"))
            }
        }
    }

    /// Renews what was authorised, and checks the answer against the grant.
    ///
    /// # Errors
    /// One of the `provider_*` codes.
    pub async fn renew(&self, renewal: &AuthorisedRenewal) -> Result<Prolonged, Refusal> {
        let auth = renewal.authorised();
        match self.of(auth.grant())? {
            Pair::Aws(aws, role) => Box::pin(aws.mint(auth, role)).await.map(Prolonged::Replaced),
            Pair::Vault(vault, role) => Box::pin(vault.extend(auth, role)).await,
            Pair::Jwt(jwt, role) => jwt.mint(auth, role).await.map(Prolonged::Replaced),
        }
    }

    /// True if a renewal that ended with `refusal` has certainly prolonged nothing that anybody holds.
    pub fn prolonged_nothing(&self, renewal: &AuthorisedRenewal, refusal: &Refusal) -> bool {
        match renewal.authorised().handle() {
            // A token that never left this process died with its only copy.
            Handle::Jwt { .. } => true,
            Handle::Aws { .. } | Handle::Vault { .. } => {
                matches!(refusal.code, Code::ProviderRefused | Code::ProviderThrottled)
            }
        }
    }
}

fn elsewhere(why: &str) -> Refusal {
    Refusal::new(Code::LeaseNotRenewable, format!("a renewal would not be the same: {why}"))
}
