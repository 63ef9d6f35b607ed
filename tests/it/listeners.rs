//! What operators see has a listener of its own, if the configuration gives it one.

use http::Method;

use crate::harness::{Api, Site};

#[tokio::test]
async fn operators_have_a_listener_of_their_own() {
    let site = Site::new(&[]).await;
    let listen = "operations_listen = \"127.0.0.1:0\"\n\n[store]";
    site.write("config/tollgate.toml", &site.settings("").replace("[store]", listen));
    let app = site.start().await;
    let callers = site.api();
    let operators = Api::new(&format!("http://{}", app.operations_address().unwrap()));

    let ready = operators.get("/readyz", None).await.ok();
    assert_eq!((&ready["store"], &ready["issuers"][0]["issuer"]), (&"ok".into(), &"ci".into()));
    assert_eq!(operators.get("/metrics", None).await.status, 200);
    assert_eq!(operators.get("/livez", None).await.text, "ok\n");

    let ready = callers.get("/readyz", None).await;
    assert_eq!((ready.status, ready.text.as_str()), (200, r#"{"ready":true}"#));
    assert_eq!(callers.get("/metrics", None).await.code(), "not_found");
    assert_eq!(callers.get("/livez", None).await.text, "ok\n");
    app.stop().await;
}

#[tokio::test]
async fn the_operators_listener_serves_no_caller() {
    let site = Site::new(&[]).await;
    let listen = "operations_listen = \"127.0.0.1:0\"\n\n[store]";
    site.write("config/tollgate.toml", &site.settings("").replace("[store]", listen));
    let app = site.start().await;
    let operators = Api::new(&format!("http://{}", app.operations_address().unwrap()));
    assert_eq!(operators.deploy(&site.token()).await.code(), "not_found");
    assert_eq!(operators.get("/v1/whoami", Some(&site.token())).await.code(), "not_found");
    assert_eq!(operators.send(Method::POST, "/token", &[], "").await.code(), "not_found");
    app.stop().await;
}

#[tokio::test]
async fn without_it_callers_and_operators_share_one_listener() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    assert!(app.operations_address().is_none());
    assert_eq!(site.api().get("/metrics", None).await.status, 200);
    assert_eq!(site.api().get("/readyz", None).await.ok()["issuers"][0]["issuer"], "ci");
    app.stop().await;
}
