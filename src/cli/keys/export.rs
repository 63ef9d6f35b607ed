//! `tollgate keys export`.

use std::path::Path;

use super::{failed, reader};
use crate::app::sealer_of;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::clock::Clock;
use crate::config::Settings;
use crate::signing::{Keyring, Kms, Purpose, discovery};

/// Writes what the server publishes as static files; asks no KMS, whose public keys are in the store.
pub(super) fn run(settings: &Settings, out: &Path, output: Output) -> Result<(), Failure> {
    let records = reader(settings)?.stored_keys().map_err(|error| failed(&error))?;
    let sealer = sealer_of(settings).map_err(|error| failed(&error))?;
    let clock = Clock::system();
    let kms = Kms::new(&settings.signing, &clock).map_err(|error| failed(&error))?;
    let keyring = Keyring::open_with(&records, &sealer, &kms, clock.now()).map_err(|error| failed(&error))?;
    let url = &settings.server.url;
    let files = [
        (
            ".well-known/openid-configuration",
            discovery::credentials(url, keyring.algorithms(Purpose::Credentials)),
        ),
        ("jwks", keyring.jwks(Purpose::Credentials).to_string()),
        (
            "federation/.well-known/openid-configuration",
            discovery::federation(url, keyring.algorithms(Purpose::Federation)),
        ),
        ("federation/jwks", keyring.jwks(Purpose::Federation).to_string()),
    ];
    for (name, content) in files {
        let path = out.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, content)?;
        output.line(&path.display().to_string())?;
    }
    Ok(())
}
