//! What the sinks over HTTP have in common.

use url::Url;

use crate::config::Reach;
use crate::net::{Client, NetError, Rules};

/// Largest answer, bytes: an Elasticsearch answer has a short line per record.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A client for a receiver that is reached by `reach`.
pub(super) fn http_client(reach: &Reach) -> Result<Client, NetError> {
    Client::new(rules(reach))
}

/// `reach` as the rules of the network.
pub(super) fn rules(reach: &Reach) -> Rules {
    Rules {
        allow_networks: reach.allow_networks.clone(),
        insecure_loopback: reach.insecure_loopback,
        extra_roots: reach.ca.clone(),
        timeout: reach.timeout,
        max_bytes: MAX_ANSWER_BYTES,
    }
}

/// `base` with `path` appended to its own.
pub(super) fn endpoint(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    // Only a URL without a host has no segments, and such a one does not load.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_appended_with_and_without_a_slash() {
        let appended = |base: &str| endpoint(&base.parse().unwrap(), &["a", "_bulk"]).to_string();
        assert_eq!(appended("https://h.example"), "https://h.example/a/_bulk");
        assert_eq!(appended("https://h.example/"), "https://h.example/a/_bulk");
        assert_eq!(appended("https://h.example/x"), "https://h.example/x/a/_bulk");
    }
}
