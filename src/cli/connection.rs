//! Where the broker is, and what proves to it who asks, and where: arguments of the commands that talk to it.

use std::sync::Arc;

use clap::Args;
use secrecy::SecretString;
use spiffe::SpiffeId;

use super::agent::{Agent, Choice};
use super::client::Broker;
use super::failure::{Failure, Status};
use super::output::{Output, Tone};
use super::possession::{Bind, JobKey, Shown};
use super::proof::ProofSource;
use super::token::TokenSource;
use super::workload;

/// Where the broker is and how the job proves itself.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// URL of the broker.
    #[arg(long, env = "TOLLGATE_URL", value_name = "URL")]
    pub(super) url: String,
    #[command(flatten)]
    pub(super) proof: ProofArgs,
}

/// How the job proves itself to a broker, and the broker to the job.
#[derive(Debug, Args)]
pub(super) struct ProofArgs {
    /// Audience of the identity token; the broker's URL unless said otherwise.
    #[arg(long, env = "TOLLGATE_AUDIENCE", value_name = "AUDIENCE")]
    audience: Option<String>,
    /// Where the identity comes from: auto, github, gitlab, kubernetes, `workload-api[:ID]` (a JWT-SVID), `x509-svid[:ID]`,
    /// `file:PATH`, `env:NAME` or `command:LINE`.
    #[arg(long, env = "TOLLGATE_TOKEN_FROM", value_name = "SOURCE", default_value = "auto")]
    token_from: ProofSource,
    /// Bind the token to a key that only this process has (RFC 9449), so that a stolen token is of no use.
    #[arg(long, env = "TOLLGATE_BIND", value_enum, default_value = "auto")]
    bind: Bind,
    /// SPIFFE ID that the broker proves itself by, in place of a host name; the Workload API has the bundle.
    #[arg(long, env = "TOLLGATE_SERVER_ID", value_name = "SPIFFE_ID")]
    server_id: Option<SpiffeId>,
}

/// How the runner proves itself.
#[derive(Debug, Args)]
pub(super) struct ActorArgs {
    /// What proves the runner beside the job, in the words of --token-from; auto: the JWT-SVID of the Workload API, where it is
    /// to be had. Nothing unless given.
    #[arg(long, env = "TOLLGATE_ACTOR_TOKEN_FROM", value_name = "SOURCE")]
    actor_token_from: Option<ProofSource>,
    /// Audience of the runner's token; the broker's URL unless said otherwise.
    #[arg(long, env = "TOLLGATE_ACTOR_AUDIENCE", value_name = "AUDIENCE")]
    actor_audience: Option<String>,
}

impl ActorArgs {
    /// Gets a fresh token of the runner for the broker at `url`, if it is to prove itself by one.
    pub(super) async fn token(&self, url: &str) -> Result<Option<SecretString>, Failure> {
        let Some(ProofSource::Token(from)) = &self.actor_token_from else { return Ok(None) };
        let audience = self.actor_audience.as_deref().unwrap_or(url.trim_end_matches('/'));
        let got = match from {
            // What the platform gives is the job's own token, which proves no runner.
            TokenSource::Auto => return Ok(offered(audience).await),
            from => from.token(audience).await,
        };
        got.map(Some).map_err(|failure| Failure {
            message: format!("the runner's token: {}", failure.message),
            ..failure
        })
    }
}

/// The SVID of the agent, if there is one: a role that wants a runner refuses whoever shows none, and no other does.
async fn offered(audience: &str) -> Option<SecretString> {
    if !workload::is_offered() {
        return None;
    }
    let got = workload::jwt_svid(audience, None).await;
    got.inspect_err(|failure| {
        Output::note(Tone::Warn, &format!("no proof of the runner: {}", failure.message));
    })
    .ok()
}

/// The broker at `url`, that proves itself by `server_id` if one is given.
pub(super) fn broker(
    url: &str,
    shows: Option<&Choice>,
    server_id: Option<&SpiffeId>,
) -> Result<Broker, Failure> {
    if shows.is_none() && server_id.is_none() {
        return Broker::new(url);
    }
    if !url.starts_with("https://") {
        let message = "an X.509-SVID is shown and verified in TLS, and the broker's URL is not https";
        return Err(Failure::new(Status::Usage, message));
    }
    Broker::by_agent(url, Agent::follow(shows, server_id.cloned())?)
}

impl Connection {
    /// The broker. The certificate is the job's or the runner's: one connection shows one.
    pub(super) fn broker(&self, actor: Option<&ActorArgs>) -> Result<Broker, Failure> {
        let job = self.proof.token_from.certificate();
        let runner = actor.and_then(|actor| actor.actor_token_from.as_ref()?.certificate());
        if job.is_some() && runner.is_some() {
            let message = "the certificate of the connection is the job's or the runner's, and not both";
            return Err(Failure::new(Status::Usage, message)
                .with_hint("say workload-api for one of them: a JWT-SVID"));
        }
        broker(&self.url, job.or(runner), self.proof.server_id.as_ref())
    }

    /// Gets fresh tokens of the job and of the runner.
    pub(super) async fn shown(&self, actor: &ActorArgs) -> Result<Shown, Failure> {
        Ok(Shown { actor: actor.token(&self.url).await?, ..self.token().await? })
    }

    /// Gets a fresh identity token, bound to a fresh key if it can be; nothing if a certificate takes its place.
    pub(super) async fn token(&self) -> Result<Shown, Failure> {
        let ProofArgs { audience, token_from, bind, .. } = &self.proof;
        let audience = audience.as_deref().unwrap_or(self.url.trim_end_matches('/'));
        match token_from {
            ProofSource::Token(from) => token(from, audience, *bind).await,
            ProofSource::Certificate(_) if *bind == Bind::Always => Err(Failure::new(
                Status::Usage,
                "there is no token to bind: the handshake proves the certificate's key",
            )),
            ProofSource::Certificate(_) => Ok(Shown::default()),
        }
    }
}

async fn token(from: &TokenSource, audience: &str, bind: Bind) -> Result<Shown, Failure> {
    let binds = match bind {
        Bind::Always => true,
        Bind::Auto => from.takes_any_audience(),
        Bind::Never => false,
    };
    if !binds {
        return from.token(audience).await.map(Shown::from);
    }
    let key = JobKey::generate()?;
    let secret = from.token(&key.bind(audience)).await?;
    if key.is_named_by(&secret, audience) {
        return Ok(Shown { key: Some(Arc::new(key)), ..secret.into() });
    }
    let hint = "a command gets the audience to ask for in TOLLGATE_AUDIENCE; --bind never does without a key";
    Err(Failure::new(Status::Usage, "the token that came is not for the audience that names the key")
        .with_hint(hint))
}
