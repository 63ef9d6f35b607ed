//! An issuer that is down, slow or talking nonsense: refused as unavailable, never guessed, and well again by itself.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::harness::book::{counted, leased};
use crate::harness::issuer::Fault;
use crate::harness::{Issuer, Site};

/// Longer than any pause after failures.
const LATER: Duration = Duration::from_mins(2);

fn pass(site: &Site, time: Duration) {
    site.clock.set(site.now() + time);
}

/// Refuses as unavailable while `fault` lasts, and works after it without a restart.
async fn survives(fault: Fault) {
    let site = Site::new(&[]).await;
    site.issuer.set_fault(fault);
    let app = site.start().await;
    let answer = site.api().deploy(&site.token()).await;
    assert_eq!(answer.status, 503, "{fault:?}: {}", answer.text);
    assert!(answer.headers.contains_key("retry-after"), "{fault:?}");
    counted(&site, &app, &answer, "issuer_unavailable").await;
    let oauth = site.api().exchange(&site.token(), &[("audience", "deploy")]).await;
    assert_eq!((oauth.status, &oauth.json["error"]), (503, &json!("temporarily_unavailable")));

    site.issuer.set_fault(Fault::None);
    pass(&site, LATER);
    leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    app.stop().await;
}

#[tokio::test]
async fn an_issuer_that_is_down_is_unavailable_and_no_start_up_failure() {
    survives(Fault::Down).await;
}

#[tokio::test]
async fn i_02_an_issuer_that_redirects_is_not_followed() {
    survives(Fault::Redirects).await;
}

#[tokio::test]
async fn an_issuer_that_answers_with_a_web_page_is_unavailable() {
    survives(Fault::Html).await;
}

#[tokio::test]
async fn i_09_an_issuer_that_answers_too_much_is_unavailable() {
    survives(Fault::Oversize).await;
}

#[tokio::test]
async fn i_02_a_document_that_names_another_issuer_is_not_believed() {
    survives(Fault::OtherIssuer).await;
}

#[tokio::test]
async fn s_07_an_issuer_that_does_not_answer_keeps_nobody_waiting_for_long() {
    survives(Fault::Slow).await;
}

#[tokio::test]
async fn one_issuer_that_is_down_stops_nobody_elses_jobs() {
    let site = Site::new(&[]).await;
    let other = Issuer::start().await;
    let entry = site.issuer_file("").replace(site.issuer.url(), other.url());
    site.write("config/issuers/other.toml", &entry);
    site.issuer.set_fault(Fault::Down);
    let app = site.start().await;
    assert_eq!(site.api().deploy(&site.token()).await.code(), "issuer_unavailable");
    let token = other.sign(&other.github(&site.url, site.now().as_second()));
    leased(&site, &app, &site.api().deploy(&token).await).await;
    let ready = site.api().get("/readyz", None).await.ok();
    assert_eq!(ready["issuers"][0], json!({ "issuer": "ci", "keys_age_seconds": null }));
    assert_eq!(ready["issuers"][1], json!({ "issuer": "other", "keys_age_seconds": 0 }));
    app.stop().await;
}

#[tokio::test]
async fn the_last_good_keys_serve_while_the_issuer_is_down_but_not_for_ever() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    site.issuer.set_fault(Fault::Down);
    pass(&site, Duration::from_hours(23));
    leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    pass(&site, Duration::from_hours(2));
    assert_eq!(site.api().deploy(&site.token()).await.code(), "issuer_unavailable");
    app.stop().await;
}

#[tokio::test]
async fn the_last_good_keys_survive_a_restart_while_the_issuer_is_down() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    app.stop().await;
    site.issuer.set_fault(Fault::Down);
    pass(&site, Duration::from_mins(30));
    let app = site.start().await;
    leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    app.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_while_an_issuer_is_slow_waits_for_nobody_and_closes_its_store() {
    let site = Site::new(&[]).await;
    site.issuer.set_fault(Fault::Slow);
    let app = site.start().await;
    while site.issuer.asked() == 0 {
        tokio::task::yield_now().await;
    }
    app.stop().await;
    site.issuer.set_fault(Fault::None);
    // The store is free for the next server.
    let app = site.start().await;
    leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    app.stop().await;
}

#[tokio::test]
async fn a_key_that_the_issuer_begins_to_use_is_fetched_and_a_withdrawn_one_forgotten() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    pass(&site, Duration::from_mins(1));
    let of_the_old_key = site.token();
    site.issuer.rotate("k2");
    leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    pass(&site, Duration::from_mins(1));
    let answer = site.api().deploy(&of_the_old_key).await;
    assert_eq!((answer.status, answer.code()), (401, "token_key_unknown"), "{}", answer.text);
    assert_eq!(site.rows("leases"), 2);
    app.stop().await;
}

#[tokio::test]
async fn i_05_a_storm_of_unknown_key_ids_is_not_one_of_fetches() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    pass(&site, Duration::from_mins(1));
    let before = site.issuer.asked();
    let token = site.token();
    let rest = token.split_once('.').unwrap().1;
    for n in 0..40 {
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": format!("../../k{n}") });
        let text = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
        assert_eq!(site.api().deploy(&text).await.code(), "token_key_unknown");
    }
    // One fetch: discovery and keys.
    assert!(site.issuer.asked() <= before + 2, "{} requests", site.issuer.asked() - before);
    // Meanwhile those with a known key are served.
    leased(&site, &app, &site.api().deploy(&token).await).await;
    app.stop().await;
}
