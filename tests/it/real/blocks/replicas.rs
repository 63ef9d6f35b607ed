//! The same with two servers on one PostgreSQL, which are processes: the switch is pulled at one of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::sync::oneshot;
use tollgate::app::{AdminAnswer, AdminRequest, BlockAnswer, BlockRequest, call_admin};
use tollgate::clock::Clock;
use tollgate::domain::BlockId;
use tollgate::ledger::{Block, Fate, Toll};

use super::{Load, drive, judge, others_live, survivors};
use crate::harness::Replicas;
use crate::harness::parts::bao::Bao;
use crate::harness::wait::until;

async fn ask(socket: &Path, request: BlockRequest) -> BlockAnswer {
    match call_admin(socket, &AdminRequest::Block(request)).await.unwrap() {
        AdminAnswer::Block(answer) => *answer,
        other => panic!("{other:?}"),
    }
}

/// Sets the block by the server behind `socket`; its id.
async fn pull(socket: PathBuf) -> BlockId {
    let subject = "repository:70107786".parse().unwrap();
    let reason = "under load".parse().unwrap();
    let set = BlockRequest::Set { subject, tenant: None, reason, lasts: None };
    let BlockAnswer::Set { id } = ask(&socket, set).await else { panic!("no block was set") };
    id
}

async fn account(socket: &Path, id: BlockId) -> (Block, Toll) {
    let BlockAnswer::Status { set, toll } = ask(socket, BlockRequest::Status { id }).await else {
        panic!("there is no such block")
    };
    (*set, *toll)
}

/// True once all that `OpenBao` accepts of whom is blocked is in the account as unknown, with a time of death to come.
async fn is_accounted_for(bao: &Bao, socket: &Path, id: BlockId) -> bool {
    // First who lives, then the account: what is ended between the two is no survivor.
    let survivors = survivors(bao).await;
    let (set, toll) = account(socket, id).await;
    let unknown = toll.affected.iter().filter(|one| one.fate == Fate::Unknown && one.dies_at > set.set_at);
    let unknown: BTreeSet<String> = unknown.map(|one| one.decision.to_string()).collect();
    survivors.iter().all(|token| token.decision.as_ref().is_some_and(|decision| unknown.contains(decision)))
}

#[tokio::test(flavor = "multi_thread")]
async fn c_15_a_block_set_at_one_of_two_servers_under_load_leaves_no_survivor_of_either() {
    let bao = Bao::start().await;
    let replicas = Replicas::of(bao.site(&[]).await, "");
    let _one = replicas.start("");
    let (_two, beside) = replicas.start_beside();
    bao.trust(&replicas.site).await;
    let Replicas { postgres, database, site } = replicas;
    let socket = site.path("admin.sock");

    let apis = vec![site.api(), beside];
    let load = Load::new(site, apis);
    let (sender, receiver) = oneshot::channel();
    let set = socket.clone();
    let pull = async move {
        let block = pull(set).await;
        sender.send(block).unwrap();
        block
    };
    let watch = async {
        let block = receiver.await.unwrap();
        until("who lives is accounted for", async || is_accounted_for(&bao, &socket, block).await).await;
        until("nobody survives", async || survivors(&bao).await.is_empty()).await;
        let (set, _) = account(&socket, block).await;
        println!("no survivor {} after the block", Clock::system().now().duration_since(set.set_at));
    };
    let ((block, exchanges), ()) = tokio::join!(drive(&load, pull), watch);
    let judged = judge(exchanges).await;
    // A mint that was in flight when the switch was pulled cannot have been handed out after it.
    assert!(survivors(&bao).await.is_empty());
    for token in &judged.held {
        assert_eq!(bao.read("secret/app", token).await.0, 403, "a credential that is blocked works");
    }
    others_live(&bao, &judged).await;

    until("every end is confirmed", async || account(&socket, block).await.1.unknown == 0).await;
    let (_, toll) = account(&socket, block).await;
    assert!(toll.affected.iter().all(|one| one.fate == Fate::Dead), "{toll:?}");
    assert!(toll.dead >= u64::try_from(judged.held.len()).unwrap());
    // Both servers took part in what was handed out.
    let writers = "SELECT count(DISTINCT writer) FROM audit WHERE kind = 'leased'";
    assert_eq!(postgres.sql(&database, writers), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c_06_what_a_sealed_target_cannot_end_is_listed_with_its_death_and_ended_once_it_can() {
    let bao = Bao::start().await;
    let replicas = Replicas::of(bao.site(&[]).await, "");
    let _one = replicas.start("");
    let (_two, beside) = replicas.start_beside();
    bao.trust(&replicas.site).await;
    let (site, socket) = (&replicas.site, replicas.site.path("admin.sock"));
    let mut deaths = BTreeSet::new();
    for api in [site.api(), beside] {
        let ask = json!({ "role": "vault/app" });
        let granted = api.credentials(&site.token(), &ask).await.ok();
        let text = |of: &serde_json::Value| of.as_str().unwrap().to_owned();
        deaths.insert((text(&granted["decision"]), text(&granted["lease"]["dies_at"])));
    }
    bao.seal().await;
    let block = pull(socket.clone()).await;
    let (_, toll) = account(&socket, block).await;
    assert_eq!((toll.unknown, toll.dead), (2, 0), "{toll:?}");
    let listed: BTreeSet<_> =
        toll.affected.iter().map(|one| (one.decision.to_string(), one.dies_at.to_string())).collect();
    assert_eq!(listed, deaths);
    bao.unseal().await;
    until("the ends are confirmed", async || account(&socket, block).await.1.dead == 2).await;
    assert!(survivors(&bao).await.is_empty());
    replicas.is_whole();
}
