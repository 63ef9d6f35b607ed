//! `tollgate demo`: the path of a request, walked step by step in one process, and then left running to try.

mod verify;
mod walk;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use super::client::http_client;
use super::failure::{Failure, Status};
use super::output::{Output, Tone};
use crate::causes;
use crate::clock::Clock;
use crate::demo::{Demo, TokenProfile, TokenRequest};
use crate::net::Request;
use crate::telemetry::{self, Format};

/// Where a demo listens unless told otherwise.
const PORT: u16 = 8420;
/// The role that the walk asks for.
const ROLE: &str = "deploy/preview";

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  tollgate demo
  tollgate demo --exit --json
  tollgate demo token --profile github --claim ref=refs/heads/x"
)]
pub(super) struct DemoArgs {
    /// Port of the broker; 0 takes a free one.
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// End after the walk.
    #[arg(long)]
    exit: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a token of a running demo's issuer.
    Token(TokenArgs),
    /// Check a token from standard input, knowing nothing but its issuer's URL.
    #[command(hide = true)]
    Verify {
        /// The issuer.
        #[arg(long)]
        issuer: String,
    },
}

/// Arguments of `demo token`.
#[derive(Debug, Args)]
struct TokenArgs {
    /// URL of the running demo.
    #[arg(long, env = "TOLLGATE_URL", default_value = "http://127.0.0.1:8420")]
    url: String,
    /// URL of the demo's issuer, as the demo prints it.
    #[arg(long, env = "TOLLGATE_DEMO_ISSUER", default_value = "http://127.0.0.1:8421")]
    issuer: String,
    /// Whose tokens to imitate.
    #[arg(long, value_enum, default_value = "github")]
    profile: TokenProfile,
    /// A claim to set, such as ref=refs/heads/x; repeat for more.
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
    /// Audience; what the demo expects unless given.
    #[arg(long)]
    audience: Option<String>,
}

/// Runs the walk or one of the subcommands.
pub(super) async fn run(args: DemoArgs, output: Output) -> Result<ExitCode, Failure> {
    match args.command {
        Some(Command::Token(token)) => print_token(token).await.map(|()| ExitCode::SUCCESS),
        Some(Command::Verify { issuer }) => verify::run(&issuer, output).await.map(|()| ExitCode::SUCCESS),
        None => walk(args.port, args.exit, output).await,
    }
}

async fn walk(port: u16, exit: bool, output: Output) -> Result<ExitCode, Failure> {
    let quiet = telemetry::init(Format::Pretty, "off", None);
    quiet.map_err(|error| Failure::new(Status::Failed, causes::in_full(&error)))?;
    let demo = Demo::start(port, Clock::system()).await.map_err(|error| {
        Failure::new(Status::Failed, causes::in_full(&error))
            .with_hint("another port: tollgate demo --port 0")
    })?;
    let (demo, failed) = walk::Walk::new(demo, output)?.all().await?;
    if failed > 0 {
        demo.app.stop().await;
        return Err(Failure::new(Status::Failed, format!("{failed} step(s) went otherwise than expected")));
    }
    if !exit {
        stay(&demo, output).await?;
    }
    demo.app.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Says what to try, and waits for Ctrl-C or SIGTERM.
async fn stay(demo: &Demo, output: Output) -> Result<(), Failure> {
    if output.is_json() {
        Output::json(&json!({ "step": "running", "url": demo.url, "issuer": demo.issuer }))?;
    } else {
        let url = &demo.url;
        output.line("")?;
        output.toned(Tone::Strong, &format!("Running at {url} until Ctrl-C. Try, in another terminal:"))?;
        let token = "--token-from 'command:tollgate demo token'";
        output.line(&format!("  export TOLLGATE_URL={url} TOLLGATE_DEMO_ISSUER={}", demo.issuer))?;
        output.line(&format!("  tollgate whoami {token}"))?;
        output.line(&format!("  tollgate exec {ROLE} {token} -- printenv TOLLGATE_ACCESS_TOKEN"))?;
        output.line(&format!("  curl -s {url}/.well-known/openid-configuration"))?;
    }
    // Both end it in order: the folder, with its key-encryption key, is removed.
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => Ok(pressed?),
        _ = terminate.recv() => Ok(()),
    }
}

async fn fetch_token(issuer: &str, request: &TokenRequest) -> Result<SecretString, Failure> {
    let failed = |error: String| {
        Failure::new(Status::Unavailable, format!("the demo's issuer: {error}"))
            .with_hint("start it in another terminal: tollgate demo")
    };
    let url = Url::parse(&format!("{issuer}/token")).map_err(|error| failed(error.to_string()))?;
    let request = Request::post_json(url, request).map_err(|error| failed(error.to_string()))?;
    let answer = http_client()?.send(request).await.map_err(|error| failed(error.to_string()))?;
    if !answer.status.is_success() {
        return Err(failed(format!("it answered {}", answer.status)));
    }
    String::from_utf8(answer.body.to_vec()).map(SecretString::from).map_err(|error| failed(error.to_string()))
}

/// Asks the running demo's issuer for a token.
async fn print_token(args: TokenArgs) -> Result<(), Failure> {
    let mut claims = serde_json::Map::new();
    for claim in &args.claims {
        let (name, value) = claim
            .split_once('=')
            .ok_or_else(|| Failure::new(Status::Usage, format!("{claim}: write NAME=VALUE")))?;
        claims.insert(name.to_owned(), json!(value));
    }
    let url = args.url.trim_end_matches('/');
    let audience = args.audience.unwrap_or_else(|| match args.profile {
        TokenProfile::GitHub => url.to_owned(),
        TokenProfile::GitLab => format!("{url}/gitlab"),
        TokenProfile::Kubernetes => format!("{url}/kubernetes"),
    });
    let request = TokenRequest { profile: args.profile, audience, claims };
    let token = fetch_token(args.issuer.trim_end_matches('/'), &request).await?;
    Output::raw(token.expose_secret().as_bytes())?;
    Ok(Output::raw(b"\n")?)
}
