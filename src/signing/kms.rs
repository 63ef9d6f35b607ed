//! Which purposes a KMS signs for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::transit::{KmsError, Transit};
use super::{Place, Purpose};
use crate::clock::Clock;
use crate::config::{KmsSettings, SigningSettings};

/// The KMS of each purpose that has one. Clones share their clients.
#[derive(Clone, Default)]
pub struct Kms(BTreeMap<Purpose, Arc<Transit>>);

impl Kms {
    /// Sets up the clients; contacts nobody.
    ///
    /// # Errors
    /// [`KmsError::Setup`], [`KmsError::Net`].
    pub fn new(settings: &SigningSettings, clock: &Clock) -> Result<Self, KmsError> {
        let configured =
            Purpose::ALL.into_iter().filter_map(|purpose| Some((purpose, of(settings, purpose)?)));
        let clients = configured.map(|(purpose, KmsSettings::Transit(transit))| {
            Ok((purpose, Arc::new(Transit::new(transit, clock.clone())?)))
        });
        Ok(Self(clients.collect::<Result<_, KmsError>>()?))
    }

    /// The purpose's KMS.
    pub fn of(&self, purpose: Purpose) -> Option<&Arc<Transit>> {
        self.0.get(&purpose)
    }

    /// Every purpose with a KMS.
    pub fn all(&self) -> impl Iterator<Item = (Purpose, &Arc<Transit>)> {
        self.0.iter().map(|(purpose, client)| (*purpose, client))
    }

    /// Where keys of the purpose are made.
    pub fn place(&self, purpose: Purpose) -> Place {
        if self.0.contains_key(&purpose) { Place::Kms } else { Place::Store }
    }

    /// Shows the tokens of `settings` from now on; all else of them stays as it was at the start.
    pub fn replace_tokens(&self, settings: &SigningSettings) {
        for (purpose, client) in self.all() {
            if let Some(KmsSettings::Transit(transit)) = of(settings, purpose) {
                client.replace_token(transit.token.clone());
            }
        }
    }
}

const fn of(settings: &SigningSettings, purpose: Purpose) -> Option<&KmsSettings> {
    match purpose {
        Purpose::Federation => settings.federation.as_ref(),
        Purpose::Credentials => settings.credentials.as_ref(),
        Purpose::Checkpoints => settings.checkpoints.as_ref(),
    }
}

impl fmt::Debug for Kms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
