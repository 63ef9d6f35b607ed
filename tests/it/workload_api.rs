//! The Workload API: clients that others wrote take what the test's server gives, so that ours is tested on the real protocol.

use std::process::Command;

use jiff::Timestamp;
use serde_json::json;
use spiffe::WorkloadApiClient;

use crate::harness::parts::program;
use crate::harness::wait::until;
use crate::harness::{TrustDomain, Workload};
use tollgate::clock::Clock;

const PATH: &str = "/ns/shop/sa/deployer";

/// The unmodified client of `PyPI`: prints the identities, and verifies the JWT-SVID by the bundle.
const PYTHON: &str = r#"
import sys
from spiffe import JwtSvid, TrustDomain, WorkloadApiClient

with WorkloadApiClient(sys.argv[1]) as client:
    print(client.fetch_x509_svid().spiffe_id)
    assert client.fetch_x509_bundles().get_bundle_for_trust_domain(TrustDomain("other.example"))
    token = client.fetch_jwt_svid(audience={"tollgate"}).token
    bundle = client.fetch_jwt_bundles().get_bundle_for_trust_domain(TrustDomain("acme.example"))
    print(JwtSvid.parse_and_validate(token, bundle, {"tollgate"}).spiffe_id)
"#;

fn now() -> Timestamp {
    Clock::system().now()
}

fn two_domains() -> (TrustDomain, TrustDomain) {
    (TrustDomain::new("acme.example"), TrustDomain::new("other.example"))
}

#[tokio::test]
async fn clients_that_others_wrote_fetch_both_kinds_of_identity() {
    let (ours, theirs) = two_domains();
    let mut state = ours.workload(PATH, now());
    state["x509_bundles"][theirs.id("")] = json!(theirs.x509_bundle());
    let workload = Workload::start(&state);
    let id = ours.id(PATH);
    for endpoint in [workload.socket(), workload.tcp()] {
        let client = WorkloadApiClient::connect_to(&endpoint).await.unwrap();
        let svid = client.fetch_x509_svid().await.unwrap();
        assert_eq!(svid.spiffe_id().to_string(), id);
        assert_eq!(client.fetch_x509_bundles().await.unwrap().len(), 2);
        let jwt = client.fetch_jwt_svid(["tollgate"], None).await.unwrap();
        let bundles = client.fetch_jwt_bundles().await.unwrap();
        let verified = spiffe::JwtSvid::parse_and_validate(jwt.token(), &bundles, &["tollgate"]).unwrap();
        assert_eq!(verified.spiffe_id().to_string(), id);
    }
    // It knows unix sockets alone.
    let mut python = Command::new(program("python"));
    let output = python.args(["-c", PYTHON, &workload.socket()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{id}\n{id}\n"));
}

#[tokio::test]
async fn whoever_is_denied_or_was_broken_off_is_served_again() {
    let (ours, _) = two_domains();
    let state = ours.workload(PATH, now());
    let workload = Workload::start(&state);
    let client = WorkloadApiClient::connect_to(workload.socket()).await.unwrap();
    workload.deny("no identity issued");
    assert!(client.fetch_x509_svid().await.is_err());
    workload.serve(&json!({}));
    assert!(client.fetch_jwt_svid(["tollgate"], None).await.is_err());
    workload.serve(&state);
    assert!(client.fetch_x509_svid().await.is_ok());
    workload.stop();
    assert!(client.fetch_x509_svid().await.is_err());
    workload.start_again(&state);
    until("the client connects again", async || client.fetch_x509_svid().await.is_ok()).await;
    workload.break_streams();
    let count = workload.count();
    assert!(count.asked("FetchX509SVID") > 0, "{count:?}");
    until("streams are closed", async || workload.count().open() == 0).await;
}
