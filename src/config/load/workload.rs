//! `[workload_api]`, and the places that say `workload_api = true`.

use spiffe::transport::Endpoint;

use crate::config::WorkloadApiSettings;
use crate::config::reader::Reader;

const ENDPOINT: &str = "the agent's endpoint, such as \"unix:///run/spire/agent/public/api.sock\"";
const SPIFFE_ID: &str = "Tollgate's own SPIFFE ID, such as \"spiffe://acme.example/tollgate\"";

/// `[workload_api]` so far as it could be read.
#[derive(Default)]
pub(super) enum Agent {
    /// It is not written.
    #[default]
    Absent,
    /// It is, and says nothing that can be used.
    Broken,
    /// What it says.
    Known(WorkloadApiSettings),
}

impl Agent {
    /// True if something says where the Workload API is.
    pub(super) const fn is_written(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// What it says, if it can be used.
    pub(super) fn settings(&self) -> Option<WorkloadApiSettings> {
        match self {
            Self::Known(settings) => Some(settings.clone()),
            Self::Absent | Self::Broken => None,
        }
    }
}

/// Reads the section, if it is there.
pub(super) fn agent(r: &mut Reader<'_>) -> Agent {
    match r.get("workload_api", "a table").map(|field| field.table(workload).flatten()) {
        None => Agent::Absent,
        Some(None) => Agent::Broken,
        Some(Some(settings)) => Agent::Known(settings),
    }
}

fn workload(r: &mut Reader<'_>) -> Option<WorkloadApiSettings> {
    let endpoint: Option<Endpoint> = r.required("endpoint", ENDPOINT);
    if let Some(Endpoint::Tcp { host, .. }) = &endpoint
        && !host.is_loopback()
    {
        let message = "the Workload API has no encryption: private keys would cross the network in the clear";
        let fix = "run the agent on this machine, and name its socket or a loopback address";
        r.refuse("endpoint", "endpoint_remote", message, fix);
    }
    let written = r.has("spiffe_id");
    let spiffe_id = spiffe_id(r, "spiffe_id", SPIFFE_ID);
    if written && spiffe_id.is_none() {
        return None;
    }
    Some(WorkloadApiSettings { endpoint: endpoint?, spiffe_id })
}

/// The SPIFFE ID of a workload, in its one spelling.
pub(super) fn spiffe_id(r: &mut Reader<'_>, key: &'static str, expected: &'static str) -> Option<String> {
    let text: String = r.optional(key, expected)?;
    let known = spiffe::SpiffeId::new(&text).ok();
    if known.is_some_and(|id| id.to_string() == text && !id.path().is_empty()) {
        return Some(text);
    }
    let message = "this is no SPIFFE ID of a workload in its one spelling";
    r.refuse(key, "bad_spiffe_id", message, &format!("write {expected}"));
    None
}

/// `workload_api = true`: false if it is not written, or if nobody says which agent that is.
pub(super) fn wanted(r: &mut Reader<'_>, configured: bool) -> bool {
    let wanted = r.flag("workload_api");
    if wanted && !configured {
        refuse(r, "workload_api");
    }
    wanted
}

/// `client_certificate = { workload_api = true }`: Tollgate shows its SVID.
pub(super) fn client_certificate(r: &mut Reader<'_>, configured: bool) -> bool {
    let field = r.get("client_certificate", "{ workload_api = true }");
    let shown = field.and_then(|field| {
        field.table(|r| {
            // Nothing else can be written here, so that `false` says nothing.
            r.need("workload_api", "true");
            wanted(r, configured)
        })
    });
    shown.unwrap_or_default()
}

/// Refuses `key`, which needs the Workload API.
pub(super) fn refuse(r: &Reader<'_>, key: &str) {
    let message = "nothing says where the Workload API is, and the environment is not asked: it could vouch for anybody";
    let fix =
        "add [workload_api] with endpoint = \"unix:///run/spire/agent/public/api.sock\" to tollgate.toml";
    r.refuse(key, "no_workload_api", message, fix);
}

/// Refuses the first of `others` that stands beside `workload_api = true`.
pub(super) fn alone(r: &mut Reader<'_>, others: &[&'static str], message: &str) {
    for other in others {
        // Read here, it is not told again as unknown.
        if r.get(other, "nothing").is_some() {
            return r.refuse(other, "two_places", message, "remove it, or workload_api");
        }
    }
}
