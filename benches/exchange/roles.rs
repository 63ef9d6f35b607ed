//! Whether an exchange costs the same with ten roles as with ten thousand: instructions, counted by valgrind's callgrind.
//!
//! Two runs that differ only in the number of exchanges are compared, so that start and end count for nothing. Needs
//! valgrind, and minutes.

use std::path::Path;
use std::process::{Command, Stdio};

use tollgate::broker::Outcome;
use tollgate::identity::Evidence;

use crate::report::Roles;
use crate::signer::Signer;
use crate::site::{Site, start};
use crate::{Fallible, steps};

/// Exchanges of the shorter and of the longer run.
const RUNS: [u32; 2] = [200, 800];
/// Numbers of roles that are compared.
const COUNTS: [usize; 2] = [10, 10_000];
/// Roles that have a policy package of their own.
const PACKAGES: usize = 1_000;

/// Instructions per exchange with few roles and with many.
pub(crate) async fn measure(signer: &Signer) -> Fallible<Vec<Roles>> {
    let mut found = Vec::new();
    for roles in COUNTS {
        let site = Site::new(roles, PACKAGES.min(roles / 2))?;
        site.trust(signer)?;
        // Once without valgrind, so that the keys exist: making them takes a different time at every start.
        start(&site.config()).await?.stop().await;
        let mut instructions = Vec::new();
        for count in RUNS {
            let tokens = site.tokens(signer, count as usize)?.join("\n");
            std::fs::write(site.path("tokens"), tokens)?;
            instructions.push(callgrind(&site)?);
        }
        let [shorter, longer] = instructions[..] else { return Err("two runs".into()) };
        let [few, many] = RUNS;
        let per_exchange =
            longer.saturating_sub(shorter).checked_div(u64::from(many - few)).unwrap_or_default();
        found.push(Roles { roles, instructions: per_exchange });
    }
    Ok(found)
}

fn callgrind(site: &Site) -> Fallible<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(std::env::current_exe()?).arg("exchange-loop").arg(site.path("."));
    let output = valgrind.stdin(Stdio::null()).output().map_err(|_| "valgrind is not installed")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected =
        text.lines().find_map(|line| line.split_once("Collected : ")).ok_or_else(|| text.to_string())?;
    Ok(collected.1.trim().parse()?)
}

/// Exchanges every token of `folder` in this process, one after the other: in a child process of [`measure`].
pub(crate) async fn exchange_loop(folder: &Path) -> Fallible<()> {
    let app = start(&folder.join("config")).await?;
    let ask = steps::ask()?;
    for token in std::fs::read_to_string(folder.join("tokens"))?.lines() {
        match app.broker().exchange(Evidence::from(token.to_owned()), ask.clone()).await {
            Ok(Outcome::Leased(_)) => {}
            Ok(Outcome::WouldAllow(_)) => return Err("not asked for a dry run".into()),
            Err(denied) => return Err(denied.refusal.message.into()),
        }
    }
    app.stop().await;
    Ok(())
}
