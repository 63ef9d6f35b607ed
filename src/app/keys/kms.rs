//! Keys that a KMS holds: which of their versions Tollgate has published, and from when it signs with them.

use super::{LAG, Stock};
use crate::app::StartError;
use crate::signing::{
    KeyRecord, Keyring, Place, Purpose, Rotation, SigningError, Transit, Version, plan_rotation,
};

impl Stock {
    /// Publishes the newest version of each KMS's key that is not known yet; true if there was one.
    ///
    /// A KMS that is down stops nothing that can sign without this.
    pub(super) async fn adopt(&self, records: &[KeyRecord]) -> Result<bool, StartError> {
        let mut found = false;
        for (purpose, client) in self.kms.all() {
            let able = Keyring::can_sign(purpose, records, &self.sealer, &self.kms, self.clock.now());
            match client.latest().await {
                Ok(version) if is_known(records, &version) => {}
                Ok(version) => {
                    self.publish(purpose, &version, able).await?;
                    found = true;
                }
                Err(error) if able => {
                    let error = crate::causes::in_full(&error);
                    tracing::error!(purpose = purpose.as_str(), error, "the KMS does not show its key");
                }
                Err(error) => return Err(SigningError::from(error).into()),
            }
        }
        Ok(found)
    }

    /// Has the KMS make a newer version, unless one waits already, here or there.
    pub(super) async fn rotate_in_kms(
        &self,
        purpose: Purpose,
        client: &Transit,
        records: &[KeyRecord],
    ) -> Result<(), StartError> {
        let latest = client.latest().await.map_err(SigningError::from)?;
        if !is_known(records, &latest) {
            return self.publish(purpose, &latest, true).await;
        }
        match plan_rotation(records, purpose, latest.algorithm(), Place::Kms, self.clock.now(), LAG) {
            Rotation::Pending { .. } => Ok(()),
            Rotation::Publish { .. } => {
                let version = client.rotate().await.map_err(SigningError::from)?;
                self.publish(purpose, &version, true).await
            }
        }
    }

    /// A newer version that signs at once.
    pub(super) async fn replacement_in_kms(
        &self,
        purpose: Purpose,
        client: &Transit,
    ) -> Result<KeyRecord, StartError> {
        let version = client.rotate().await.map_err(SigningError::from)?;
        let now = self.clock.now();
        Ok(KeyRecord::of_kms(purpose, &version, &self.sealer, now, now)?)
    }

    /// Stores `version` as a key that signs after the lag that caches need, or at once if nothing else can.
    async fn publish(&self, purpose: Purpose, version: &Version, later: bool) -> Result<(), StartError> {
        let now = self.clock.now();
        let activates_at = if later { now + LAG } else { now };
        let key = KeyRecord::of_kms(purpose, version, &self.sealer, now, activates_at)?;
        tracing::info!(purpose = purpose.as_str(), kid = key.kid, %activates_at, "a key of the KMS is published");
        Ok(self.ledger.store_keys(vec![key]).await?)
    }
}

/// Also a revoked one is known: it never comes back.
fn is_known(records: &[KeyRecord], version: &Version) -> bool {
    let kid = version.kid();
    records.iter().any(|record| record.kid == kid)
}
