//! `tollgate check`: every problem of a configuration and its policies at once, before anything runs on it.

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Status};
use super::output::{Output, Tone};
use super::source::SourceArgs;
use crate::app::{Checked, check, review};
use crate::config::{Problems, Severity};

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollgate check
  tollgate check --config /etc/tollgate/config --strict
  tollgate check --json | jq .problems
  tollgate check --without-secrets --strict      where the secrets are not, as in the review of a change

Exit status: 0 without errors; 64 with errors, and with warnings if --strict.")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Fail on warnings too.
    #[arg(long)]
    strict: bool,
    /// Do not look for the secrets that the configuration names; say which they are.
    #[arg(long)]
    without_secrets: bool,
}

/// Loads and prints.
pub(super) fn run(args: &CheckArgs, output: Output) -> Result<(), Failure> {
    let source = args.source.source();
    let found = if args.without_secrets {
        review(&source).map(|reviewed| seen(reviewed.checked()))
    } else {
        check(&source).map(|checked| seen(&checked))
    };
    let (problems, summary) = found.unwrap_or_else(|refused| (refused.into_problems(), json!(null)));
    if output.is_json() {
        let all: Vec<_> = problems.iter().collect();
        Output::json(&json!({ "ok": !problems.stop_the_load(), "problems": all, "loaded": summary }))?;
    } else {
        print(&problems, &summary, output)?;
    }
    let warned = problems.iter().any(|problem| problem.severity == Severity::Warning);
    if problems.stop_the_load() || (args.strict && warned) {
        let (errors, warnings) = count(&problems);
        return Err(Failure::new(Status::Usage, format!("{errors} error(s), {warnings} warning(s)")));
    }
    Ok(())
}

/// The warnings, and what was loaded.
fn seen(checked: &Checked) -> (Problems, serde_json::Value) {
    let config = &checked.config;
    let summary = json!({
        "issuers": config.issuers.len(), "roles": config.roles.len(), "targets": config.targets.len(),
        "tables": config.tables.len(), "revision": config.revision.to_string(),
        "policies": checked.policy.describe(),
    });
    (checked.warnings.clone(), summary)
}

fn print(problems: &Problems, summary: &serde_json::Value, output: Output) -> Result<(), Failure> {
    for problem in problems {
        let tone = match problem.severity {
            Severity::Error => Tone::Bad,
            Severity::Warning => Tone::Warn,
            Severity::Note => Tone::Faint,
        };
        output.toned(tone, &problem.to_string())?;
    }
    if !summary.is_null() {
        let (_, warnings) = count(problems);
        let count = |name: &str| summary.get(name).and_then(serde_json::Value::as_u64).unwrap_or_default();
        let line = format!(
            "good: {} issuer(s), {} role(s), {} target(s), {} table(s); {warnings} warning(s)",
            count("issuers"),
            count("roles"),
            count("targets"),
            count("tables"),
        );
        output.toned(Tone::Good, &line)?;
    }
    Ok(())
}

fn count(problems: &Problems) -> (usize, usize) {
    let of = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    (of(Severity::Error), of(Severity::Warning))
}
