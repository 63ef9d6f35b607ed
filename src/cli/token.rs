//! Where a job finds its own identity token: the platform it runs on, or where the user says.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use spiffe::SpiffeId;
use tokio::process::Command;
use url::Url;

use super::client::{bearer, http_client};
use super::failure::{Failure, Status};
use super::workload;
use crate::net::Request;

/// Largest token that is read from anywhere, bytes; the broker accepts no larger one.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;
/// Longest that a token command may run.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// The variable that GitLab's `id_tokens:` fills, as the guide names it.
const GITLAB_VARIABLE: &str = "TOLLGATE_ID_TOKEN";
/// Where the guide mounts the projected service-account token.
const KUBERNETES_PATH: &str = "/var/run/secrets/tollgate/token";

/// Where to get the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenSource {
    /// Whatever the environment offers, in the order of the variants below.
    Auto,
    /// The Actions ID-token endpoint.
    GitHub,
    /// The variable that the pipeline's `id_tokens:` declares.
    GitLab,
    /// The projected service-account token.
    Kubernetes,
    /// A JWT-SVID of the SPIFFE Workload API: of this identity, or of the first.
    WorkloadApi(Option<SpiffeId>),
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// The standard output of a command, run by `sh -c`.
    Command(String),
}

impl FromStr for TokenSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None => match text {
                "auto" => Ok(Self::Auto),
                "github" => Ok(Self::GitHub),
                "gitlab" => Ok(Self::GitLab),
                "kubernetes" => Ok(Self::Kubernetes),
                "workload-api" => Ok(Self::WorkloadApi(None)),
                _ => Err("use auto, github, gitlab, kubernetes, workload-api[:ID], file:PATH, env:NAME or command:LINE".into()),
            },
            Some(("workload-api", id)) => {
                id.parse().map(|id| Self::WorkloadApi(Some(id))).map_err(|error| format!("the SPIFFE ID: {error}"))
            }
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Variable(name.into())),
            Some(("command", line)) if !line.is_empty() => Ok(Self::Command(line.into())),
            Some(_) => Err("use workload-api:ID, file:PATH, env:NAME or command:LINE".into()),
        }
    }
}

impl TokenSource {
    /// What the environment offers.
    fn detect() -> Result<Self, Failure> {
        if std::env::var_os("ACTIONS_ID_TOKEN_REQUEST_URL").is_some() {
            return Ok(Self::GitHub);
        }
        if std::env::var_os(GITLAB_VARIABLE).is_some() {
            return Ok(Self::GitLab);
        }
        if Path::new(KUBERNETES_PATH).exists() {
            return Ok(Self::Kubernetes);
        }
        if workload::is_offered() {
            return Ok(Self::WorkloadApi(None));
        }
        Err(Failure::new(Status::Usage, "no identity token found in this environment").with_hint(
            "in GitHub Actions give the job `permissions: id-token: write`; in GitLab declare \
             `id_tokens: TOLLGATE_ID_TOKEN:`; in Kubernetes mount a projected token at \
             /var/run/secrets/tollgate/token; beside a SPIRE agent set SPIFFE_ENDPOINT_SOCKET; or say --token-from \
             file:PATH, env:NAME or command:LINE",
        ))
    }

    /// True if its platform makes tokens for any audience that a job names, at any time.
    pub(super) fn takes_any_audience(&self) -> bool {
        match self {
            Self::GitHub | Self::WorkloadApi(_) => true,
            Self::Auto => matches!(Self::detect(), Ok(Self::GitHub | Self::WorkloadApi(_))),
            Self::GitLab | Self::Kubernetes | Self::File(_) | Self::Variable(_) | Self::Command(_) => false,
        }
    }

    /// Gets a token for `audience`.
    pub(super) async fn token(&self, audience: &str) -> Result<SecretString, Failure> {
        match self {
            Self::Auto => Box::pin(Self::detect()?.token(audience)).await,
            Self::GitHub => github(audience).await,
            Self::GitLab => variable(GITLAB_VARIABLE),
            Self::Kubernetes => file(Path::new(KUBERNETES_PATH)),
            Self::WorkloadApi(id) => {
                let svid = workload::jwt_svid(audience, id.as_ref()).await?;
                trimmed(&svid, "the JWT-SVID")
            }
            Self::File(path) => file(path),
            Self::Variable(name) => variable(name),
            Self::Command(line) => command(line, audience).await,
        }
    }
}

/// Asks the Actions runner for a token (`ACTIONS_ID_TOKEN_REQUEST_URL`, which already holds a query).
async fn github(audience: &str) -> Result<SecretString, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        value: SecretString,
    }
    let missing = |name: &str| {
        Failure::new(Status::Usage, format!("{name} is not set"))
            .with_hint("give the job `permissions: id-token: write`")
    };
    let url =
        std::env::var("ACTIONS_ID_TOKEN_REQUEST_URL").map_err(|_| missing("ACTIONS_ID_TOKEN_REQUEST_URL"))?;
    let proof = std::env::var("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        .map(SecretString::from)
        .map_err(|_| missing("ACTIONS_ID_TOKEN_REQUEST_TOKEN"))?;
    let mut url = Url::parse(&url)
        .map_err(|_| Failure::new(Status::Usage, "ACTIONS_ID_TOKEN_REQUEST_URL is not a URL"))?;
    url.query_pairs_mut().append_pair("audience", audience);
    let unavailable = |what: String| Failure::new(Status::Unavailable, what);
    let request = bearer(Request::get(url), &proof)?;
    let answer = http_client()?
        .send(request)
        .await
        .map_err(|error| unavailable(format!("the runner's token endpoint: {error}")))?;
    if !answer.status.is_success() {
        let said = format!("the runner's token endpoint answered {}", answer.status);
        return Err(if answer.status.is_server_error() {
            unavailable(said)
        } else {
            Failure::new(Status::Usage, said).with_hint("give the job `permissions: id-token: write`")
        });
    }
    serde_json::from_slice::<Answer>(&answer.body)
        .map(|answer| answer.value)
        .map_err(|_| unavailable("the runner's token endpoint gave no token".into()))
}

fn variable(name: &str) -> Result<SecretString, Failure> {
    std::env::var(name)
        .map_err(|_| Failure::new(Status::Usage, format!("the variable {name} is not set")))
        .and_then(|text| trimmed(&text.into(), name))
}

fn file(path: &Path) -> Result<SecretString, Failure> {
    use std::io::Read;
    let failed = |error: std::io::Error| {
        Failure::new(Status::Usage, format!("cannot read the token file {}: {error}", path.display()))
    };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_TOKEN_BYTES + 1).read_to_string(&mut text))
        .map_err(failed)?;
    trimmed(&text.into(), &path.display().to_string())
}

async fn command(line: &str, audience: &str) -> Result<SecretString, Failure> {
    let run = Command::new("sh")
        .args(["-c", line])
        .env("TOLLGATE_AUDIENCE", audience)
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(COMMAND_TIMEOUT, run)
        .await
        .map_err(|_| Failure::new(Status::Unavailable, "the token command took longer than 30 s"))??;
    if !output.status.success() {
        return Err(Failure::new(
            Status::Unavailable,
            format!("the token command ended with {}", output.status),
        ));
    }
    let text = String::from_utf8(output.stdout)
        .map_err(|_| Failure::new(Status::Usage, "the token command did not print text"))?;
    trimmed(&text.into(), "the token command's output")
}

/// The token without the newline that files and commands end with.
fn trimmed(text: &SecretString, from: &str) -> Result<SecretString, Failure> {
    let token = text.expose_secret().trim();
    if token.is_empty() {
        return Err(Failure::new(Status::Usage, format!("{from} is empty")));
    }
    if token.len() as u64 > MAX_TOKEN_BYTES {
        return Err(Failure::new(Status::Usage, format!("{from} holds more than 16 KiB: not a token")));
    }
    Ok(token.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_every_source_and_explains_the_rest() {
        assert_eq!("auto".parse(), Ok(TokenSource::Auto));
        assert_eq!("file:/a:b".parse(), Ok(TokenSource::File("/a:b".into())));
        assert_eq!("env:X".parse(), Ok(TokenSource::Variable("X".into())));
        assert_eq!("command:echo a:b".parse(), Ok(TokenSource::Command("echo a:b".into())));
        let id = "spiffe://acme.example/ns/shop".parse().unwrap();
        assert_eq!(
            "workload-api:spiffe://acme.example/ns/shop".parse(),
            Ok(TokenSource::WorkloadApi(Some(id)))
        );
        assert_eq!("workload-api".parse(), Ok(TokenSource::WorkloadApi(None)));
        assert!("workload-api:acme.example".parse::<TokenSource>().unwrap_err().contains("SPIFFE ID"));
        assert!("jenkins".parse::<TokenSource>().unwrap_err().contains("kubernetes"));
        assert!("file:".parse::<TokenSource>().is_err());
    }

    #[tokio::test]
    async fn a_command_gets_the_audience_and_loses_its_newline() {
        let token = TokenSource::Command("echo \"$TOLLGATE_AUDIENCE\"".into()).token("me").await.unwrap();
        assert_eq!(token.expose_secret(), "me");
    }

    #[tokio::test]
    async fn a_failing_command_and_an_empty_file_are_explained() {
        let failed = TokenSource::Command("exit 3".into()).token("me").await.unwrap_err();
        assert_eq!(failed.status, Status::Unavailable);
        let empty = tempfile::NamedTempFile::new().unwrap();
        let failed = TokenSource::File(empty.path().into()).token("me").await.unwrap_err();
        assert!(failed.message.ends_with("is empty"));
    }
}
