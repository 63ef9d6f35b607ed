//! `[workload_api]`, and the places that say `workload_api = true`.

use spiffe::transport::Endpoint;

use crate::config::WorkloadApiSettings;
use crate::config::reader::Reader;

const ENDPOINT: &str = "the agent's endpoint, such as \"unix:///run/spire/agent/public/api.sock\"";
const SPIFFE_ID: &str = "Tollgate's own SPIFFE ID, such as \"spiffe://acme.example/tollgate\"";

/// Reads the section.
pub(super) fn workload(r: &mut Reader<'_>) -> Option<WorkloadApiSettings> {
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

/// Refuses `key`, which needs the Workload API.
pub(super) fn refuse(r: &Reader<'_>, key: &str) {
    let message = "nothing says where the Workload API is, and the environment is not asked: it could vouch for anybody";
    let fix =
        "add [workload_api] with endpoint = \"unix:///run/spire/agent/public/api.sock\" to tollgate.toml";
    r.refuse(key, "no_workload_api", message, fix);
}

/// Refuses the first of `others` that stands beside `workload_api = true`.
pub(super) fn alone(r: &Reader<'_>, others: &[&str], message: &str) {
    if let Some(other) = others.iter().find(|key| r.has(key)) {
        r.refuse(other, "two_places", message, "remove it, or workload_api");
    }
}
