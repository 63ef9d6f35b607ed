//! `tollgate check`: every problem of a configuration and its policies at once, before anything runs on it.

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Status};
use super::output::{Output, Tone};
use super::source::SourceArgs;
use crate::app::check;
use crate::config::{Problems, Severity};

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollgate check
  tollgate check --config /etc/tollgate/config --strict
  tollgate check --json | jq .problems

Exit status: 0 without errors; 64 with errors, and with warnings if --strict.")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Fail on warnings too.
    #[arg(long)]
    strict: bool,
}

/// Loads and prints.
pub(super) fn run(args: &CheckArgs, output: Output) -> Result<(), Failure> {
    let (problems, summary) = match check(&args.source.source()) {
        Ok(checked) => {
            let config = &checked.config;
            let summary = json!({
                "issuers": config.issuers.len(), "roles": config.roles.len(), "targets": config.targets.len(),
                "tables": config.tables.len(), "revision": config.revision.to_string(),
                "policies": checked.policy.describe(),
            });
            (checked.warnings, summary)
        }
        Err(refused) => (refused.into_problems(), json!(null)),
    };
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

fn print(problems: &Problems, summary: &serde_json::Value, output: Output) -> Result<(), Failure> {
    for problem in problems {
        let tone = match problem.severity {
            Severity::Error => Tone::Bad,
            Severity::Warning => Tone::Warn,
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
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    (errors, problems.iter().count() - errors)
}
