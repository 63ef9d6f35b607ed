//! Signing by the transit engine of OpenBao or Vault: the private key never leaves it.
//!
//! Tollgate shows a token that an operator gave it. It cannot log in with a token of its own making, as it does at targets:
//! that one would need the signature that it is to pay for.
//!
//! A KMS that is slow or down must not take the broker with it: a bounded number of calls at once, one time limit for
//! waiting and calling together, no second attempt, and a second of silence after a failure.

mod error;
mod version;
mod wire;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use self::error::KmsError;
pub use self::version::Version;
use self::wire::{Described, Envelope, Errors, Nothing, Sign, Signed};
use super::SigningAlgorithm;
use crate::clock::Clock;
use crate::config::TransitSettings;
use crate::net::{Client, Request, Response, Rules};
use crate::telemetry::{self, KmsOutcome};

/// Longest that a signature may take, waiting for its turn included.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Calls at once.
const CALLS: usize = 32;
/// Largest answer, bytes: a key with a hundred versions of RSA has about 60 KiB.
const MAX_ANSWER: usize = 256 * 1024;
/// How long nobody asks again after a failure, milliseconds.
const PAUSE: i64 = 1000;
/// Longest text taken over from the KMS, characters.
const MAX_QUOTE: usize = 200;

/// One key of one transit engine.
pub struct Transit {
    client: Client,
    settings: TransitSettings,
    token: ArcSwap<SecretString>,
    calls: Semaphore,
    /// Unix milliseconds.
    quiet_until: AtomicI64,
    clock: Clock,
}

impl Transit {
    /// Sets up a client; contacts nobody.
    ///
    /// # Errors
    /// [`KmsError::Setup`], [`KmsError::Net`].
    pub(super) fn new(settings: &TransitSettings, clock: Clock) -> Result<Self, KmsError> {
        let extra_roots =
            settings.ca_file.as_ref().map(std::fs::read).transpose().map_err(KmsError::Setup)?;
        let client = Client::new(Rules {
            allow_networks: settings.allow_networks.clone(),
            insecure_loopback: settings.insecure_loopback,
            extra_roots,
            timeout: CALL_TIMEOUT,
            max_bytes: MAX_ANSWER,
        })?;
        Ok(Self {
            client,
            token: ArcSwap::from_pointee(settings.token.clone()),
            settings: settings.clone(),
            calls: Semaphore::new(CALLS),
            quiet_until: AtomicI64::new(i64::MIN),
            clock,
        })
    }

    /// Shows `token` from now on.
    pub fn replace_token(&self, token: SecretString) {
        self.token.store(token.into());
    }

    /// Whether `version` is one of this client's key.
    pub(super) fn holds(&self, version: &Version) -> bool {
        version.is_of(&self.settings.mount, &self.settings.key)
    }

    /// The newest version of the key.
    ///
    /// # Errors
    /// [`KmsError`]; also for a key that can be taken out, or that signs by no algorithm of ours.
    pub async fn latest(&self) -> Result<Version, KmsError> {
        let described: Described = self.ask(&["keys"], None::<&Nothing>).await?;
        described.latest(&self.settings.mount, &self.settings.key)
    }

    /// Makes a newer version, and returns it.
    ///
    /// # Errors
    /// [`KmsError`].
    pub async fn rotate(&self) -> Result<Version, KmsError> {
        let url = self.url(&["keys", &self.settings.key, "rotate"])?;
        self.send(Request::post_json(url, &Nothing {}).map_err(KmsError::Request)?).await?;
        self.latest().await
    }

    /// The signature of `message` by exactly `version`, in the form that JWS wants.
    ///
    /// # Errors
    /// [`KmsError`].
    pub(super) async fn sign(&self, version: &Version, message: &[u8]) -> Result<Vec<u8>, KmsError> {
        let quiet = self.quiet_until.load(Ordering::Relaxed).saturating_sub(self.now());
        // A clock that was set back does not make the silence longer.
        if (1..=PAUSE).contains(&quiet) {
            telemetry::kms_called(KmsOutcome::Paused);
            return Err(KmsError::Paused);
        }
        let form = Sign {
            input: STANDARD.encode(message),
            key_version: version.number(),
            hash_algorithm: "sha2-256",
            signature_algorithm: match version.algorithm() {
                SigningAlgorithm::Es256 => None,
                SigningAlgorithm::Rs256 => Some("pkcs1v15"),
            },
            marshaling_algorithm: "jws",
        };
        let signing = async {
            let _turn = self.calls.acquire().await.map_err(|_| KmsError::Busy)?;
            self.ask::<Signed>(&["sign"], Some(&form)).await
        };
        let signed = timeout(CALL_TIMEOUT, signing).await.unwrap_or_else(|_| {
            // Given up before there was an answer that could be counted.
            telemetry::kms_called(KmsOutcome::Unavailable);
            Err(KmsError::Busy)
        });
        if signed.as_ref().is_err_and(KmsError::is_outage) {
            self.quiet_until.store(self.now().saturating_add(PAUSE), Ordering::Relaxed);
        }
        let prefix = format!("vault:v{}:", version.number());
        let signature = signed?.signature;
        let encoded = signature.strip_prefix(&prefix).ok_or(KmsError::Answer("another version signed"))?;
        URL_SAFE_NO_PAD.decode(encoded).map_err(|_| KmsError::Answer("the signature is not base64url"))
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    /// `{mount}/{path}/{key}`: read without `form`, written with it.
    async fn ask<D: DeserializeOwned>(
        &self,
        path: &[&str],
        form: Option<&impl Serialize>,
    ) -> Result<D, KmsError> {
        let url = self.url(&[path, &[&self.settings.key]].concat())?;
        let request = match form {
            Some(form) => Request::post_json(url, form).map_err(KmsError::Request)?,
            None => Request::get(url),
        };
        let response = self.send(request).await?;
        let answer: Envelope<D> = serde_json::from_slice(&response.body)
            .map_err(|_| KmsError::Answer("it is not the documented JSON"))?;
        Ok(answer.data)
    }

    fn url(&self, path: &[&str]) -> Result<url::Url, KmsError> {
        let mut url = self.settings.address.clone();
        url.path_segments_mut()
            .map_err(|()| KmsError::Answer("its address cannot have a path"))?
            .pop_if_empty()
            .push("v1")
            .extend(self.settings.mount.split('/'))
            .extend(path);
        Ok(url)
    }

    async fn send(&self, request: Request) -> Result<Response, KmsError> {
        let token = self.token.load_full();
        let mut request = request.header("x-vault-request", "true")?;
        if let Some(namespace) = &self.settings.namespace {
            request = request.header("x-vault-namespace", namespace)?;
        }
        let request = request.header("x-vault-token", token.expose_secret())?;
        let answered = match self.client.send(request).await {
            Ok(response) if response.status.is_success() => Ok(response),
            Ok(response) => Err(said_no(&response, &token)),
            Err(error) => Err(error.into()),
        };
        telemetry::kms_called(match &answered {
            Ok(_) => KmsOutcome::Done,
            Err(error) if error.is_outage() => KmsOutcome::Unavailable,
            Err(_) => KmsOutcome::Refused,
        });
        answered
    }
}

/// The KMS's own words, without the token, control characters and length.
fn said_no(response: &Response, token: &SecretString) -> KmsError {
    let said: Errors = serde_json::from_slice(&response.body).unwrap_or_default();
    let text = said.errors.join("; ").replace(token.expose_secret(), "[secret]");
    let text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_QUOTE).collect();
    KmsError::Status { status: response.status, text }
}

impl KmsError {
    /// True if the KMS is down, sealed, or too slow, and not merely of another mind.
    fn is_outage(&self) -> bool {
        match self {
            Self::Net(_) | Self::Busy => true,
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Setup(_)
            | Self::Request(_)
            | Self::Answer(_)
            | Self::Key(_)
            | Self::Paused
            | Self::Signature => false,
        }
    }
}
