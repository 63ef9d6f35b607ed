//! The kill switch against a real `OpenBao` under load: what is blocked is dead there, and nothing survives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tollgate::domain::BlockSubject;
use tollgate::ledger::{BlocksSet, Fate, NewBlock};

use crate::harness::Site;
use crate::harness::parts::bao::Bao;
use crate::harness::wait::until;

/// Between two exchanges: fifty in a second.
const PACE: Duration = Duration::from_millis(20);
/// Exchanges before the block is set, and as many after it.
const BEFORE: usize = 125;

/// A job of one of two repositories, in turn; the second is not blocked.
fn token(site: &Site, n: usize) -> String {
    let id = if n.is_multiple_of(2) { "70107786" } else { "12" };
    site.token_with(
        &json!({ "repository_id": id, "repository": format!("acme/{id}"), "actor_id": n.to_string() }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn c_15_under_load_what_is_blocked_is_dead_at_its_target_and_nothing_escapes() {
    let bao = Bao::start().await;
    let site = Arc::new(bao.site(&[]).await);
    let limits = "[limits]\nexchanges_per_minute = 100000\n";
    site.write("config/tollgate.toml", &site.settings(limits));
    let app = site.start().await;
    bao.trust(&site).await;

    let blocked = Arc::new(AtomicBool::new(false));
    let mut exchanges = tokio::task::JoinSet::new();
    let mut pace = tokio::time::interval(PACE);
    let mut block = None;
    for n in 0..2 * BEFORE {
        pace.tick().await;
        let (site, is_blocked) = (Arc::clone(&site), Arc::clone(&blocked));
        exchanges.spawn(async move {
            // Asked before: in flight when the block is set, at the latest.
            let late = is_blocked.load(Ordering::SeqCst);
            let answer = site.api().credentials(&token(&site, n), &json!({ "role": "vault/app" })).await;
            (n, late, answer)
        });
        if n == BEFORE {
            let new = NewBlock {
                tenant: None,
                subject: "repository:70107786".parse::<BlockSubject>().unwrap(),
                reason: "under load".parse().unwrap(),
                by: "a test".to_owned(),
                lasts: None,
            };
            let broker = Arc::clone(app.broker());
            let blocked = Arc::clone(&blocked);
            block = Some(tokio::spawn(async move {
                let set = broker.block(vec![new], None).await.unwrap();
                blocked.store(true, Ordering::SeqCst);
                set
            }));
        }
    }
    let BlocksSet::InForce(ids) = block.unwrap().await.unwrap() else { panic!("seen before") };

    let (mut handed_out, mut others, mut refused) = (BTreeSet::new(), BTreeSet::new(), 0);
    while let Some(done) = exchanges.join_next().await {
        let (n, late, answer) = done.unwrap();
        let hit = n.is_multiple_of(2);
        match answer.status {
            200 if hit => {
                assert!(!late, "exchange {n} came after the block and got a credential");
                handed_out.insert(answer.json["decision"].as_str().unwrap().to_owned());
            }
            200 => {
                others.insert(answer.json["decision"].as_str().unwrap().to_owned());
            }
            _ => {
                assert!(hit, "exchange {n} is about nobody who is blocked: {}", answer.text);
                refused += 1;
            }
        }
    }
    assert!(handed_out.len() > 5 && refused > BEFORE / 4, "{} {refused}", handed_out.len());
    assert_eq!(others.len(), BEFORE, "whoever is not blocked is served");

    let ledger = app.broker().ledger();
    until("every end is confirmed or its time of death known", async || {
        let (_, toll) = ledger.toll_of_block(ids[0], None).await.unwrap().unwrap();
        toll.unknown == 0
    })
    .await;
    let (_, toll) = ledger.toll_of_block(ids[0], None).await.unwrap().unwrap();
    assert!(toll.affected.iter().all(|one| one.fate == Fate::Dead), "{toll:?}");
    assert!(toll.dead >= u64::try_from(handed_out.len()).unwrap());

    // OpenBao itself: of what it still accepts, all belongs to others. The logins of mints that failed have no decision in
    // their metadata and die within their minute; none of them is a credential.
    let living: BTreeSet<String> =
        bao.living().await.into_iter().filter_map(|token| token.decision).collect();
    let survivors: Vec<_> = living.difference(&others).collect();
    assert!(survivors.is_empty(), "{survivors:?} live at OpenBao");
    assert_eq!(living.len(), others.len(), "nobody else's were ended");
    assert!(ledger.unleased(site.now()).await.unwrap().is_empty(), "nothing is authorised and unknown");
    app.stop().await;
}
