//! Tollgate's own SVID: what its listeners show, as it rotates, and a start without one.

use super::{TOLLGATE, beside, connect, get, state, whoami};
use crate::harness::wait::until;
use crate::harness::{Server, Site, TrustDomain, Workload, process};

#[tokio::test]
async fn its_own_listener_serves_probes_and_neither_metrics_nor_the_issuers() {
    let site = Site::new(&[]).await;
    let agent = Workload::start(&state(&site, &TrustDomain::new("acme.example"), &[]));
    beside(&site, &agent, &[]);
    let app = site.start().await;
    let mut stream = connect(app.spiffe_address().unwrap(), None).await;
    assert_eq!(get(&mut stream, "/metrics").await["code"], "not_found");
    assert_eq!(get(&mut stream, "/readyz").await, serde_json::json!({ "ready": true }));
    assert_eq!(site.api().get("/metrics", None).await.status, 200);
    app.stop().await;
}

/// The certificate that a new connection is shown.
async fn shown(app: &tollgate::app::App) -> Vec<u8> {
    let stream = connect(app.spiffe_address().unwrap(), None).await;
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_new_svid_is_shown_at_once_and_ends_no_connection() {
    let site = Site::new(&[]).await;
    let ours = TrustDomain::new("acme.example");
    let mut first = state(&site, &ours, &[]);
    let svid = ours.x509(TOLLGATE, site.now());
    first["x509"] = serde_json::json!([ours.x509_entry(&svid)]);
    let agent = Workload::start(&first);
    beside(&site, &agent, &["acme.example"]);
    let app = site.start().await;
    assert_eq!(shown(&app).await, svid.certificate.to_vec());
    let mut stays = connect(app.spiffe_address().unwrap(), None).await;
    assert_eq!(whoami(&mut stays).await["code"], "token_missing");

    let next = ours.x509(TOLLGATE, site.now());
    first["x509"] = serde_json::json!([ours.x509_entry(&next)]);
    agent.serve(&first);
    until("the next one is shown", async || shown(&app).await == next.certificate.to_vec()).await;
    assert_eq!(whoami(&mut stays).await["code"], "token_missing", "the connection lives on");
    // The other listener is what it was, and a reload keeps both.
    assert_eq!(site.api().get("/v1/whoami", Some(&site.token())).await.status, 200);
    app.reload().await.unwrap();
    assert_eq!(shown(&app).await, next.certificate.to_vec());
    agent.stop();
    assert_eq!(shown(&app).await, next.certificate.to_vec(), "an agent that is gone takes nothing back");
    app.stop().await;
}

#[tokio::test]
async fn of_several_svids_the_configured_one_is_shown_over_tcp_too() {
    let site = Site::new(&[]).await;
    let ours = TrustDomain::new("acme.example");
    let (other, svid) = (ours.x509("/other", site.now()), ours.x509(TOLLGATE, site.now()));
    let mut several = state(&site, &ours, &[]);
    several["x509"] = serde_json::json!([ours.x509_entry(&other), ours.x509_entry(&svid)]);
    let agent = Workload::start(&several);
    beside(&site, &agent, &[]);
    let settings = std::fs::read_to_string(site.path("config/tollgate.toml")).unwrap();
    let settings = settings.replace(&agent.socket(), &agent.tcp());
    site.write("config/tollgate.toml", &format!("{settings}spiffe_id = \"{}\"\n", svid.id));
    let app = site.start().await;
    assert_eq!(shown(&app).await, svid.certificate.to_vec());
    app.stop().await;
}

#[tokio::test]
async fn without_an_svid_to_show_nothing_is_bound() {
    let mut waiting = Vec::new();
    for (why, part) in [
        (Some("no identity issued"), "issues no identity"),
        (Some("not today"), "PermissionDenied"),
        (None, "does not answer"),
    ] {
        let (site, agent) = (Site::of_process(&[]).await, Workload::start(&serde_json::json!({})));
        why.map_or_else(|| agent.hang(), |why| agent.deny(why));
        beside(&site, &agent, &[]);
        let config = site.config();
        let serve = move || process::run(&["serve", "--config", config.to_str().unwrap()]);
        waiting.push((site, agent, part, std::thread::spawn(serve)));
    }
    for (site, agent, part, serving) in waiting {
        let done = serving.join().unwrap();
        assert_eq!(done.status.code(), Some(69), "{done:?}");
        let text = String::from_utf8_lossy(&done.stderr);
        assert!(text.contains(part) && text.contains(&agent.socket()), "{text}");
        assert!(done.stdout.is_empty() && !site.store().exists(), "{done:?}");
        agent.serve(&state(&site, &TrustDomain::new("acme.example"), &[]));
        let mut server = Server::start(&site.config(), "");
        server.signal("TERM");
        assert!(server.wait().success());
    }
}

#[tokio::test]
async fn s_01_the_key_of_the_svid_is_in_no_log_at_any_level() {
    let site = Site::of_process(&[]).await;
    let ours = TrustDomain::new("acme.example");
    let mut given = state(&site, &ours, &[]);
    let svid = ours.x509(TOLLGATE, site.now());
    given["x509"] = serde_json::json!([ours.x509_entry(&svid)]);
    let agent = Workload::start(&given);
    beside(&site, &agent, &["acme.example"]);
    let mut server = Server::start_tracing(&site.config(), "json", site.folder.path());
    server.signal("TERM");
    assert!(server.wait().success());
    let log = std::fs::read_to_string(site.path("stderr")).unwrap();
    assert!(log.contains("the Workload API answers"), "{log}");
    // The private number of a P-256 key in PKCS #8 (RFC 5958), as it may be written.
    let key = svid.key();
    let number = &key.secret_der()[36..52];
    let hex: Vec<_> = number.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex = hex.concat();
    let decimal = format!("{number:?}");
    let escaped = format!("{:?}", bytes::Bytes::copy_from_slice(number));
    let base64 = given["x509"][0]["key"].as_str().unwrap();
    for form in
        [hex.as_str(), decimal.trim_matches(['[', ']']), escaped[2..].trim_matches('"'), &base64[48..72]]
    {
        assert!(!log.contains(form) && !log.contains(&form.replace('\\', "\\\\")), "{form}");
    }
}
