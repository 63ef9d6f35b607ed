//! `tollgate block`: the kill switch, on the broker's machine.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::failure::{Failure, Status};
use super::output::{Output, Tone};
use super::reload::ask;
use super::source::SourceArgs;
use crate::app::{AdminAnswer, AdminRequest, BlockAnswer, BlockRequest};
use crate::domain::{BlockId, BlockReason, BlockSubject, BlockTime, TenantName};
use crate::ledger::{Affected, Block, Fate, Toll};

/// Longest that `add` waits for targets to confirm what it ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(250);
/// Rows of a table on a terminal; `--json` has them all.
const ROWS: usize = 20;

/// Arguments of `block`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollgate block add repository:70107786 --reason 'token in a build log' --for 4h
  tollgate block add everything --reason 'incident 7' --dry-run
  tollgate block list
  tollgate block lift 01a9e5c2-…

A SUBJECT is identity:ISSUER#SUB, principal:KEY, repository:ID-OR-NAME, runner:ID, role:NAME, issuer:URL, tenant:NAME
or everything. Issuing stops at once, on every replica; what lives is ended where its target can end it. Runs as the
broker's own user, on its machine.")]
pub(super) struct BlockArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The broker's socket, for when its configuration does not load.
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Block a subject, end what it has, and show what is left.
    Add(AddArgs),
    /// List the blocks in force.
    List {
        /// Also those that were lifted or have expired.
        #[arg(long)]
        all: bool,
    },
    /// Lift a block. What it ended stays ended.
    Lift {
        /// The block's id, as `block list` shows it.
        id: BlockId,
    },
    /// Show what is dead, what dies by itself and when, and what nobody knows.
    Status {
        /// The block's id.
        id: BlockId,
    },
}

#[derive(Debug, Args)]
struct AddArgs {
    /// What to block.
    subject: BlockSubject,
    /// Why; it stays in the record.
    #[arg(long)]
    reason: BlockReason,
    /// How long, such as 30m, 12h or 7d; until it is lifted unless given.
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<BlockTime>,
    /// Only in this tenant.
    #[arg(long)]
    tenant: Option<TenantName>,
    /// Only show what would be hit.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
}

/// Runs the subcommand.
pub(super) async fn run(args: BlockArgs, output: Output) -> Result<(), Failure> {
    let socket = match args.socket {
        Some(socket) => socket,
        None => args.source.socket()?,
    };
    match args.command {
        Command::Add(args) => add(&socket, args, output).await,
        Command::List { all } => match call(&socket, BlockRequest::List { all }).await? {
            BlockAnswer::List { blocks } => list(&blocks, output),
            _ => Err(unexpected()),
        },
        Command::Lift { id } => match call(&socket, BlockRequest::Lift { id }).await? {
            BlockAnswer::Lifted if output.is_json() => Ok(Output::json(&Lifted { lifted: id })?),
            BlockAnswer::Lifted => {
                Ok(output.toned(Tone::Good, &format!("lifted {id}; what it ended stays ended"))?)
            }
            _ => Err(unexpected()),
        },
        Command::Status { id } => {
            let (block, toll) = status(&socket, id).await?;
            account(Some(&block), &toll, output)
        }
    }
}

#[derive(Serialize)]
struct Lifted {
    lifted: BlockId,
}

/// An account as `--json` prints it.
#[derive(Serialize)]
struct Account<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<&'a Block>,
    #[serde(flatten)]
    toll: &'a Toll,
}

async fn call(socket: &Path, request: BlockRequest) -> Result<BlockAnswer, Failure> {
    match ask(socket, &AdminRequest::Block(request)).await? {
        AdminAnswer::Block(answer) => Ok(*answer),
        AdminAnswer::Failed { message } => Err(Failure::new(Status::Failed, message)),
        AdminAnswer::Keys { .. }
        | AdminAnswer::Rewrapped { .. }
        | AdminAnswer::Reloaded { .. }
        | AdminAnswer::Problems { .. } => Err(unexpected()),
    }
}

fn unexpected() -> Failure {
    Failure::new(Status::Failed, "the broker answered something else")
}

async fn status(socket: &Path, id: BlockId) -> Result<(Block, Toll), Failure> {
    match call(socket, BlockRequest::Status { id }).await? {
        BlockAnswer::Status { set, toll } => Ok((*set, *toll)),
        _ => Err(unexpected()),
    }
}

async fn add(socket: &Path, args: AddArgs, output: Output) -> Result<(), Failure> {
    let AddArgs { subject, reason, lasts, tenant, dry_run, yes } = args;
    if dry_run || !yes {
        let request = BlockRequest::Preview { subject: subject.clone(), tenant: tenant.clone() };
        let BlockAnswer::Preview { toll } = call(socket, request).await? else { return Err(unexpected()) };
        if dry_run {
            account(None, &toll, output)?;
            Output::note(Tone::Strong, "a dry run: nothing was blocked");
            return Ok(());
        }
        confirm(&subject, &toll)?;
    }
    let request = BlockRequest::Set { subject, tenant, reason, lasts };
    let BlockAnswer::Set { id } = call(socket, request).await? else { return Err(unexpected()) };
    let started = Instant::now();
    loop {
        let (block, toll) = status(socket, id).await?;
        if toll.unknown == 0 || started.elapsed() > PATIENCE {
            return account(Some(&block), &toll, output);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Asks on the terminal; without one, `--yes` is the only way.
fn confirm(subject: &BlockSubject, toll: &Toll) -> Result<(), Failure> {
    let usage = |message: &str| {
        Failure::new(Status::Usage, message).with_hint("say --yes, or --dry-run to see what would be hit")
    };
    if !std::io::stdin().is_terminal() {
        return Err(usage("there is no terminal to confirm on"));
    }
    let question = format!(
        "block {subject}: {} would be ended, {} live until they expire, {} are unknown. Write yes to go on: ",
        toll.would_end, toll.dies_at, toll.unknown
    );
    Output::raw_note(question.as_bytes())?;
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(usage("not confirmed; nothing was blocked")) }
}

fn list(blocks: &[Block], output: Output) -> Result<(), Failure> {
    if output.is_json() {
        return Ok(Output::json(&blocks)?);
    }
    if blocks.is_empty() {
        return Ok(output.toned(Tone::Faint, "no blocks")?);
    }
    for block in blocks {
        output.toned(Tone::Strong, &format!("{}  {}", block.id, block.subject))?;
        print(block, output)?;
    }
    Ok(())
}

fn print(block: &Block, output: Output) -> Result<(), Failure> {
    let until =
        block.expires_at.map_or_else(|| "until lifted".to_owned(), |at| format!("until {}", clock(at)));
    let place = block.tenant.as_ref().map(|tenant| format!(", in the tenant {tenant}")).unwrap_or_default();
    output.line(&format!("  {}", block.reason.as_str()))?;
    output.line(&format!("  set {} by {}, {until}{place}", clock(block.set_at), block.by))?;
    if let (Some(at), Some(by)) = (block.lifted_at, &block.lifted_by) {
        output.line(&format!("  lifted {} by {by}", clock(at)))?;
    }
    Ok(())
}

fn account(block: Option<&Block>, toll: &Toll, output: Output) -> Result<(), Failure> {
    if output.is_json() {
        return Ok(Output::json(&Account { block, toll })?);
    }
    if let Some(block) = block {
        output.toned(Tone::Strong, &format!("block {}  {}", block.id, block.subject))?;
        print(block, output)?;
    }
    let last = toll.last_death.map(|at| format!("; all are dead at {}", clock(at))).unwrap_or_default();
    let rows = [
        (toll.dead, Tone::Good, "dead now", String::new()),
        (toll.would_end, Tone::Warn, "would be ended", String::new()),
        (toll.dies_at, Tone::Warn, "cannot be ended, and die by themselves", last.clone()),
        (toll.unknown, Tone::Bad, "unknown: not confirmed dead", last),
    ];
    for (count, tone, what, more) in rows {
        if count > 0 || (tone_is_good(tone) && block.is_some()) {
            output.toned(tone, &format!("{count:>6}  {what}{more}"))?;
        }
    }
    if toll.affected.is_empty() {
        output.toned(Tone::Faint, "nothing lives that it is about")?;
    }
    let shown: Vec<_> = toll.affected.iter().filter(|one| one.fate != Fate::Dead).take(ROWS).collect();
    for one in &shown {
        output.line(&row(one))?;
    }
    let listed = u64::try_from(shown.len()).unwrap_or(u64::MAX);
    let rest = (toll.would_end + toll.dies_at + toll.unknown).saturating_sub(listed);
    if rest > 0 {
        output.toned(Tone::Faint, &format!("and {rest} more"))?;
    }
    Ok(())
}

const fn tone_is_good(tone: Tone) -> bool {
    matches!(tone, Tone::Good)
}

fn row(one: &Affected) -> String {
    let fate = match one.fate {
        Fate::Unknown => "unknown until",
        Fate::DiesAt => "lives until",
        Fate::WouldEnd => "ends now, else",
        Fate::Dead => "dead since",
    };
    let target = one.target.as_deref().unwrap_or("-");
    format!(
        "  {fate:<14} {}  {} at {target}\n    {}  decision {}",
        clock(one.dies_at),
        one.role,
        one.principal,
        one.decision
    )
}

/// A time as people read it, to the second, in their own zone.
fn clock(at: Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}
