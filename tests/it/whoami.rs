//! Who a token is, and which roles it may see; told without using it up.

use serde_json::json;

use crate::harness::Site;
use crate::harness::site::DEPLOY;

#[tokio::test]
async fn shows_the_identity_and_the_roles_of_its_tenant() {
    let hidden = format!("tenant = \"other\"\n{DEPLOY}");
    let site = Site::new(&[("config/roles/hidden.toml", hidden.as_str())]).await;
    let app = site.start().await;
    let answer = site.api().get("/v1/whoami", Some(&site.token())).await;
    let who = answer.json.clone();
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        (&who["issuer"], &who["tenant"], &who["trust"]),
        (&json!("ci"), &json!("default"), &json!("trusted"))
    );
    assert!(who["principal"].as_str().unwrap().ends_with(":repository:70107786"), "{who}");
    assert_eq!(who["attributes"]["branch"], "main");
    // S-13: the other tenant's role is not even counted.
    assert_eq!((&who["roles"][0]["name"], &who["roles_total"]), (&json!("deploy"), &json!(1)));
    assert_eq!(who["roles"][0]["scopes"], json!(["read", "write"]));
    assert!(!answer.text.contains("hidden"), "{}", answer.text);
    app.stop().await;
}

#[tokio::test]
async fn asking_uses_nothing_up_and_records_no_decision() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    for _ in 0..2 {
        site.api().get("/v1/whoami", Some(&token)).await.ok();
    }
    assert_eq!(site.rows("decisions"), 0);
    site.api().deploy(&token).await.ok();
    assert_eq!(
        site.api().get("/v1/whoami", Some(&token)).await.status,
        200,
        "nor does a used token hide its owner"
    );
    app.stop().await;
}

#[tokio::test]
async fn a_bad_token_is_nobody() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let answer = site.api().get("/v1/whoami", None).await;
    assert_eq!((answer.status, answer.code()), (401, "token_missing"));
    let answer = site.api().get("/v1/whoami?token=a.b.c", None).await;
    assert_eq!(answer.code(), "token_missing", "a token in a query ends up in logs, and is not read");
    let stranger = site.token_with(&json!({ "repository_owner_id": "66" }));
    let answer = site.api().get("/v1/whoami", Some(&stranger)).await;
    assert_eq!((answer.status, answer.code()), (403, "identity_not_admitted"));
    assert_eq!(site.counted(&app, "identity_not_admitted").await, 1);
    app.stop().await;
}
