//! What `leases` and `audit` list: asked of the broker, or read from the store on its machine; page by page either way.

mod broker;
mod query;
mod store;
pub(super) mod table;

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::failure::Failure;
use super::output::{Output, Tone};
use super::remote::RemoteArgs;
use super::source::SourceArgs;
use broker::Remote;
pub(super) use query::{Filters, Query, Within};
use store::Local;

/// Most entries of one page.
const PAGE: usize = 200;

/// Where lists are read.
#[derive(Debug, Args)]
pub(super) struct WhereArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Read the store of this configuration, on this machine, instead of asking the broker.
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
}

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// Leases.
    Leases,
    /// Authorisations without a lease.
    Authorisations,
    /// Decisions.
    Decisions,
}

/// Where a list goes on.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// At the broker's cursor.
    Cursor(String),
    /// In the store, at older decisions than this.
    Before(crate::domain::DecisionId),
    /// In the store's chains.
    Audit(crate::ledger::AuditPlace),
}

/// Some entries.
pub(super) struct Page {
    /// As the API writes them.
    pub(super) entries: Vec<Value>,
    /// Where to go on.
    pub(super) next: Option<Place>,
    /// True if there are more now.
    pub(super) more: bool,
}

/// Something that lists.
pub(super) enum Lister {
    Remote(Box<Remote>),
    Local(Local),
}

impl WhereArgs {
    /// Connects, or opens the store.
    pub(super) fn lister(self) -> Result<Lister, Failure> {
        if let Some(config) = self.config {
            return Ok(Lister::Local(Local::open(&SourceArgs { config })?));
        }
        let connection = self.remote.connection(
            "say --url or TOLLGATE_URL to ask the broker, or --config to read the store on its machine",
        )?;
        Ok(Lister::Remote(Box::new(Remote::new(connection)?)))
    }
}

impl Lister {
    /// The next page of `list`.
    pub(super) async fn page(
        &mut self,
        list: List,
        query: &Query,
        limit: usize,
        place: Option<&Place>,
    ) -> Result<Page, Failure> {
        match self {
            Self::Remote(remote) => remote.page(list, query, limit, place).await,
            Self::Local(local) => local.page(list, query, limit, place).await,
        }
    }

    /// The next records of the audit chain.
    pub(super) async fn audit(&mut self, query: &Query, place: Option<&Place>) -> Result<Page, Failure> {
        match self {
            Self::Remote(remote) => remote.audit(query, PAGE, place).await,
            Self::Local(local) => local.audit(query, PAGE, place).await,
        }
    }
}

/// Prints at most `limit` entries of `list`, and says if there are more.
pub(super) async fn print(
    lister: &mut Lister,
    list: List,
    query: &Query,
    limit: usize,
    output: Output,
    lines: impl Fn(&Value) -> [String; 2],
) -> Result<(), Failure> {
    let (mut left, mut place): (usize, Option<Place>) = (limit, None);
    loop {
        let page = lister.page(list, query, left.min(PAGE), place.as_ref()).await?;
        left = left.saturating_sub(page.entries.len());
        for entry in &page.entries {
            if output.is_json() {
                Output::json(entry)?;
            } else {
                let [first, second] = lines(entry);
                output.line(&first)?;
                output.toned(Tone::Faint, &second)?;
            }
        }
        place = page.next;
        if place.is_none() {
            return Ok(());
        }
        if left == 0 {
            Output::note(Tone::Warn, "there are more: narrow the search, or raise --limit");
            return Ok(());
        }
    }
}
