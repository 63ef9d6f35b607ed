//! What the security team lists and ends over HTTP, as policy lets it.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Method;
use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::api::Answer;

/// Auditors list and read, responders end.
const TEAM: &str = "package ops.test

default allow := false

allow if {
	input.operation in {\"lease.list\", \"lease.read\", \"decision.list\", \"audit.read\"}
	input.identity.actor == \"auditor\"
}

allow if {
	input.operation == \"lease.end\"
	input.identity.actor == \"responder\"
}
";

const OPERATIONS: &str = "[operations]
\"lease.list\" = [\"ops.test\"]
\"lease.read\" = [\"ops.test\"]
\"lease.end\" = [\"ops.test\"]
\"decision.list\" = [\"ops.test\"]
\"audit.read\" = [\"ops.test\"]
";

/// A site with the tenants `default` and `bank`, told apart by their audience.
async fn site(more: &str) -> Site {
    prepared(Site::new(&[("policies/ops/test.rego", TEAM)]).await, more)
}

/// The same for a Tollgate in a process of its own.
pub(crate) async fn site_of_process(more: &str) -> Site {
    prepared(Site::of_process(&[("policies/ops/test.rego", TEAM)]).await, more)
}

fn prepared(site: Site, more: &str) -> Site {
    site.write("config/tollgate.toml", &site.settings(&format!("{OPERATIONS}{more}")));
    let bank = site
        .issuer_file("replay = \"once\"")
        .replace("tenant = \"default\"", "tenant = \"bank\"")
        .replace(&format!("audience = \"{}\"", site.url), "audience = \"bank\"");
    site.write("config/issuers/bank.toml", &bank);
    site
}

/// A token of `actor` in `tenant`.
pub(crate) fn token(site: &Site, actor: &str, tenant: &str) -> String {
    let audience = if tenant == "bank" { "bank" } else { site.url.as_str() };
    site.token_with(&json!({ "actor": actor, "repository_id": "7", "aud": audience }))
}

async fn get(site: &Site, path: &str) -> Answer {
    site.api().get(path, Some(&token(site, "auditor", "default"))).await
}

fn ids<'a>(list: &'a Value, name: &str, key: &str) -> Vec<&'a str> {
    list[name].as_array().unwrap().iter().map(|entry| entry[key].as_str().unwrap()).collect()
}

#[tokio::test]
async fn leases_are_listed_page_by_page_with_their_principal() {
    let site = site("").await;
    let app = site.start().await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        let answer = site.api().deploy(&site.token()).await.ok();
        expected.insert(0, answer["lease"]["id"].as_str().unwrap().to_owned());
        site.clock.set(site.now() + std::time::Duration::from_secs(1));
    }
    let first = get(&site, "/v1/leases?limit=2&state=live").await.ok();
    let next = first["next"].as_str().unwrap();
    let second = get(&site, &format!("/v1/leases?limit=2&state=live&cursor={next}")).await.ok();
    let found: Vec<_> =
        ids(&first, "leases", "lease").into_iter().chain(ids(&second, "leases", "lease")).collect();
    assert_eq!(found, expected);
    assert_eq!(second.get("next"), None);
    let entry = &first["leases"][0];
    assert_eq!(
        (&entry["state"], &entry["role"], &entry["tenant"]),
        (&json!("live"), &json!("deploy"), &json!("default"))
    );
    assert!(entry["principal"].as_str().unwrap().contains("70107786"), "{entry}");
    let told = first.to_string();
    assert!(!told.contains("secret") && !told.contains("handle"), "{told}");

    let other = get(&site, "/v1/leases?role=other").await.ok();
    assert_eq!(other["leases"], json!([]));
    let one = get(&site, &format!("/v1/leases/{}", expected[0])).await.ok();
    assert_eq!(one["lease"], expected[0].as_str());
    assert_eq!(get(&site, "/v1/authorisations").await.ok()["authorisations"], json!([]));
    app.stop().await;
}

#[tokio::test]
async fn p_15_who_may_not_list_is_denied_and_recorded() {
    let site = site("").await;
    let app = site.start().await;
    for path in ["/v1/leases", "/v1/authorisations", "/v1/decisions", "/v1/audit"] {
        let answer = site.api().get(path, Some(&site.token())).await;
        assert_eq!((answer.status, answer.code()), (403, "not_allowed"), "{path}: {}", answer.text);
        assert!(answer.json["decision"].is_string());
        assert_eq!(site.api().get(path, None).await.code(), "token_missing");
    }
    assert_eq!(site.rows("decisions WHERE operation = 'lease.list' AND outcome = 'not_allowed'"), 2);
    assert_eq!(site.rows("decisions WHERE operation IN ('decision.list', 'audit.read')"), 2);
    app.stop().await;
}

#[tokio::test]
async fn c_07_another_tenants_team_sees_nothing_and_ends_nothing() {
    let site = site("").await;
    let app = site.start().await;
    let lease = site.api().deploy(&site.token()).await.ok()["lease"]["id"].as_str().unwrap().to_owned();
    let bank = |actor: &str| token(&site, actor, "bank");
    for (path, name) in [("/v1/leases", "leases"), ("/v1/decisions?operation=mint", "decisions")] {
        let list = site.api().get(path, Some(&bank("auditor"))).await.ok();
        assert_eq!(list[name], json!([]), "{path}");
    }
    let audit = site.api().get("/v1/audit", Some(&bank("auditor"))).await;
    assert!(
        !audit.text.contains("\"tenant\":\"default\"") && !audit.text.contains("started"),
        "{}",
        audit.text
    );
    let elsewhere = site.api().get("/v1/leases?tenant=default", Some(&bank("auditor"))).await;
    assert_eq!(elsewhere.code(), "not_allowed");
    let read = site.api().get(&format!("/v1/leases/{lease}"), Some(&bank("auditor"))).await;
    assert_eq!((read.status, read.code()), (404, "lease_unknown"));
    assert_eq!(site.api().end(&lease, &bank("responder")).await.code(), "lease_unknown");
    assert_eq!(site.rows("leases WHERE end_asked_at IS NOT NULL"), 0);
    app.stop().await;
}

#[tokio::test]
async fn c_16_a_lease_of_somebody_else_ends_by_policy_and_is_on_record() {
    let site = site("").await;
    let app = site.start().await;
    let lease = site.api().deploy(&site.token()).await.ok()["lease"]["id"].as_str().unwrap().to_owned();
    for nobody in [site.token(), token(&site, "auditor", "default")] {
        let refused = site.api().end(&lease, &nobody).await;
        assert_eq!((refused.status, refused.code()), (404, "lease_unknown"));
    }
    assert_eq!(site.rows("audit WHERE kind = 'end_asked'"), 0);
    for _ in 0..2 {
        let ended = site.api().end(&lease, &token(&site, "responder", "default")).await.ok();
        // Nothing can end a signed token, and nothing else is claimed.
        assert_eq!((&ended["state"], &ended["revocable"]), (&json!("live"), &json!("dies_at_expiry")));
    }
    assert_eq!(site.rows("leases WHERE end_how = 'dies_at_expiry'"), 1);
    assert_eq!(site.rows("decisions WHERE operation = 'lease.end' AND outcome = 'permit'"), 2);
    assert_eq!(site.rows("decisions WHERE operation = 'lease.end' AND outcome = 'not_allowed'"), 2);
    app.stop().await;
}

#[tokio::test]
async fn c_07_a_cursor_or_a_filter_that_is_not_ones_own_is_refused() {
    let site = site("").await;
    let app = site.start().await;
    for _ in 0..2 {
        site.api().deploy(&site.token()).await.ok();
    }
    let first = get(&site, "/v1/leases?limit=1").await.ok();
    let next = first["next"].as_str().unwrap();
    let neighbour = site.token_with(&json!({ "actor": "auditor", "repository_id": "8" }));
    let taken = site.api().get(&format!("/v1/leases?cursor={next}"), Some(&neighbour)).await;
    assert_eq!((taken.status, taken.code()), (400, "request_malformed"));
    for query in ["role=deploy&cursor=", "state=ended&cursor="] {
        let other = get(&site, &format!("/v1/leases?{query}{next}")).await;
        assert_eq!(other.code(), "request_malformed", "{query}");
    }
    for query in ["rloe=deploy", "limit=201", "limit=0", "state=alive", "since=yesterday", "secret=x"] {
        assert_eq!(get(&site, &format!("/v1/leases?{query}")).await.code(), "request_malformed", "{query}");
    }
    assert_eq!(get(&site, "/v1/leases?role=a&role=b").await.code(), "duplicate_parameter");
    app.stop().await;
}

#[tokio::test]
async fn the_audit_chain_is_exported_and_followed_as_json_lines() {
    let site = site("all_tenants = [\"audit.read\"]\n").await;
    let app = site.start().await;
    site.api().deploy(&site.token()).await.ok();
    let (mut lines, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = get(&site, &format!("/v1/audit?limit=2{cursor}")).await;
        assert_eq!(
            (answer.status, answer.headers["content-type"].to_str().unwrap()),
            (200, "application/jsonl")
        );
        lines.extend(answer.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        cursor = format!("&cursor={}", answer.headers["tollgate-cursor"].to_str().unwrap());
        if answer.headers["tollgate-more"] == "false" {
            break;
        }
    }
    assert_eq!(i64::try_from(lines.len()).unwrap(), site.rows("audit"));
    let of = |kind: &str| lines.iter().find(|line| line["kind"] == kind).unwrap();
    assert_eq!(of("authorised")["role"], "deploy");
    assert_eq!(of("leased")["decision"], of("authorised")["decision"]);
    assert_eq!(of("started")["tenant"], "");
    assert_eq!(of("permitted")["operation"], "audit.read");
    // Nothing has happened since: what follows the chain makes no record of its own.
    let answer = get(&site, &format!("/v1/audit?limit=2{cursor}")).await;
    assert_eq!((answer.text.as_str(), site.rows("audit")), ("", i64::try_from(lines.len()).unwrap()));
    site.api().deploy(&site.token()).await.ok();
    let answer = get(&site, &format!("/v1/audit?limit=2{cursor}")).await;
    assert_eq!(answer.text.lines().count(), 2);
    app.stop().await;
}

#[tokio::test]
async fn whoever_follows_the_audit_chain_waits_for_the_next_record() {
    let site = site("").await;
    let app = site.start().await;
    let cursor = async |from: &str| {
        let answer = get(&site, &format!("/v1/audit?{from}")).await;
        answer.headers["tollgate-cursor"].to_str().unwrap().to_owned()
    };
    let here = cursor("from=now").await;
    let path = format!("/v1/audit?from=now&wait=20&cursor={here}");
    let ask = async || {
        tokio::task::yield_now().await;
        site.api().deploy(&site.token()).await.ok()
    };
    let (followed, granted) = tokio::join!(get(&site, &path), ask());
    let first: Value = serde_json::from_str(followed.text.lines().next().unwrap()).unwrap();
    assert_eq!((&first["kind"], &first["decision"]), (&json!("authorised"), &granted["decision"]));
    assert_eq!(get(&site, "/v1/leases?wait=1").await.code(), "request_malformed");
    app.stop().await;
}

/// More who follow than there is room for. That the first answer has nothing says that all others wait: it found every
/// place taken.
#[tokio::test]
async fn s_07_of_thirty_three_who_follow_one_is_answered_at_once_and_the_others_see_the_next_record() {
    let site = site("").await;
    let app = site.start().await;
    let here = get(&site, "/v1/audit?from=now").await;
    let here = here.headers["tollgate-cursor"].to_str().unwrap().to_owned();
    let path = format!("/v1/audit?from=now&wait=20&cursor={here}");
    let mut following: FuturesUnordered<_> = (0..33).map(|_| get(&site, &path)).collect();
    let first = following.next().await.unwrap();
    assert_eq!((first.status, first.text.as_str()), (200, ""));
    assert_eq!(first.headers["tollgate-more"], "false");
    let (others, granted) =
        tokio::join!(following.collect::<Vec<_>>(), async { site.api().deploy(&site.token()).await.ok() });
    assert_eq!(others.len(), 32);
    for answer in others {
        let record: Value = serde_json::from_str(answer.text.lines().next().unwrap_or("{}")).unwrap();
        assert_eq!((&record["kind"], &record["decision"]), (&json!("authorised"), &granted["decision"]));
    }
    app.stop().await;
}

#[tokio::test]
async fn methods_that_change_something_are_not_taken_by_lists() {
    let site = site("").await;
    let app = site.start().await;
    for path in ["/v1/leases", "/v1/decisions", "/v1/audit", "/v1/authorisations"] {
        let answer = site.api().send(Method::DELETE, path, &[], "").await;
        assert_eq!(answer.code(), "method_not_allowed", "{path}");
    }
    app.stop().await;
}
