//! The kill switch against a real `OpenBao` under load: what is blocked is dead there, and nothing survives.

mod replicas;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tollgate::broker::Broker;
use tollgate::domain::BlockId;
use tollgate::ledger::{BlocksSet, Fate, NewBlock};

use crate::harness::api::Answer;
use crate::harness::parts::bao::{Bao, Token};
use crate::harness::wait::until;
use crate::harness::{Api, Site};

/// Between two exchanges: fifty in a second.
const PACE: Duration = Duration::from_millis(20);
/// Exchanges before the block is set, and as many after it.
const BEFORE: usize = 125;
/// Credentials that somebody must hold before it is worth pulling the switch.
const HELD: usize = 10;

/// A job of one of two repositories, in turn; the second is not blocked.
fn token(site: &Site, n: usize) -> String {
    let id = if is_hit(n) { "70107786" } else { "12" };
    let repository = format!("acme/{id}");
    site.token_with(&json!({ "repository_id": id, "repository": repository, "actor_id": n.to_string() }))
}

const fn is_hit(n: usize) -> bool {
    n.is_multiple_of(2)
}

/// Most exchanges at once, so that a busy machine is not overrun by its own test.
const AT_ONCE: usize = 64;

/// What the exchanges share.
struct Load {
    site: Site,
    /// The servers, asked in turn.
    apis: Vec<Api>,
    room: Semaphore,
    is_blocked: AtomicBool,
    held: AtomicUsize,
}

impl Load {
    fn new(site: Site, apis: Vec<Api>) -> Arc<Self> {
        let (room, is_blocked, held) =
            (Semaphore::new(AT_ONCE), AtomicBool::default(), AtomicUsize::default());
        Arc::new(Self { site, apis, room, is_blocked, held })
    }

    /// Each server is asked for both repositories.
    fn api(&self, n: usize) -> &Api {
        &self.apis[n / 2 % self.apis.len()]
    }
}

/// What came of the exchanges that the block is about and of the others.
struct Judged {
    /// The credentials that were handed out to whom is blocked.
    held: Vec<String>,
    /// The decisions of the others that were served.
    served: BTreeSet<String>,
}

/// One exchange: which, whether the block was in force before it asked, and what came of it.
async fn exchange(load: Arc<Load>, n: usize) -> (usize, bool, Answer) {
    let _room = load.room.acquire().await.unwrap();
    let late = load.is_blocked.load(Ordering::SeqCst);
    let answer = load.api(n).credentials(&token(&load.site, n), &json!({ "role": "vault/app" })).await;
    if is_hit(n) && answer.status == 200 {
        load.held.fetch_add(1, Ordering::SeqCst);
    }
    (n, late, answer)
}

/// Sets the block; its id.
async fn pull(broker: Arc<Broker>) -> BlockId {
    let new = NewBlock {
        tenant: None,
        subject: "repository:70107786".parse().unwrap(),
        reason: "under load".parse().unwrap(),
        by: "a test".to_owned(),
        lasts: None,
    };
    let set = broker.block(vec![new], None).await.unwrap();
    let BlocksSet::InForce(ids) = set else { panic!("seen before") };
    ids[0]
}

/// Exchanges at the pace, with the block set by `pull` among them; its id, and what is under way.
async fn drive(
    load: &Arc<Load>,
    pull: impl Future<Output = BlockId> + Send + 'static,
) -> (BlockId, JoinSet<(usize, bool, Answer)>) {
    let mut exchanges = JoinSet::new();
    let mut pace = tokio::time::interval(PACE);
    let (mut block, mut last, mut pull) = (None, usize::MAX, Some(pull));
    for n in 0.. {
        pace.tick().await;
        assert!(n < 20 * BEFORE, "nobody gets a credential");
        exchanges.spawn(exchange(Arc::clone(load), n));
        let is_time = n >= BEFORE && load.held.load(Ordering::SeqCst) >= HELD;
        if let Some(pull) = pull.take_if(|_| is_time) {
            let load = Arc::clone(load);
            block = Some(tokio::spawn(async move {
                let block = pull.await;
                load.is_blocked.store(true, Ordering::SeqCst);
                block
            }));
            last = n + BEFORE;
        }
        if n == last {
            break;
        }
    }
    (block.unwrap().await.unwrap(), exchanges)
}

/// What the answers say.
async fn judge(mut exchanges: JoinSet<(usize, bool, Answer)>) -> Judged {
    let (mut held, mut served, mut blocked) = (Vec::new(), BTreeSet::new(), 0);
    while let Some(done) = exchanges.join_next().await {
        let (n, late, answer) = done.unwrap();
        match (is_hit(n), answer.status) {
            (true, 200) => {
                assert!(!late, "exchange {n} came after the block and got a credential");
                held.push(answer.json["credential"]["token"].as_str().unwrap().to_owned());
            }
            (true, _) => blocked += usize::from(answer.code() == "blocked"),
            (false, 200) => drop(served.insert(answer.json["decision"].as_str().unwrap().to_owned())),
            // A busy machine may keep OpenBao from answering in time; that is another matter.
            (false, _) => assert_ne!(answer.code(), "blocked", "{n} is about nobody who is blocked"),
        }
    }
    let count = held.len();
    assert!(count >= HELD && blocked > BEFORE / 4 && !served.is_empty(), "{count} {blocked}");
    Judged { held, served }
}

/// The tokens that `OpenBao` still accepts of those whom the block is about.
async fn survivors(bao: &Bao) -> Vec<Token> {
    let is_hit = |token: &Token| {
        token.principal.as_ref().is_some_and(|principal| principal.ends_with(":repository:70107786"))
    };
    bao.living().await.into_iter().filter(is_hit).collect()
}

/// Nothing was ended that the block is not about.
async fn others_live(bao: &Bao, judged: &Judged) {
    let living: BTreeSet<String> =
        bao.living().await.into_iter().filter_map(|token| token.decision).collect();
    let missing: Vec<_> = judged.served.difference(&living).collect();
    assert!(missing.is_empty(), "{missing:?} are not about whom is blocked, and dead");
}

#[tokio::test(flavor = "multi_thread")]
async fn c_15_under_load_what_is_blocked_is_dead_at_its_target_and_nothing_escapes() {
    let bao = Bao::start().await;
    let site = bao.site(&[]).await;
    site.write("config/tollgate.toml", &site.settings("[limits]\nexchanges_per_minute = 100000\n"));
    let app = site.start().await;
    bao.trust(&site).await;

    let api = site.api();
    let load = Load::new(site, vec![api]);
    let (block, exchanges) = drive(&load, pull(Arc::clone(app.broker()))).await;
    let judged = judge(exchanges).await;

    let ledger = app.broker().ledger();
    until("every end is confirmed", async || {
        ledger.toll_of_block(block, None).await.unwrap().unwrap().1.unknown == 0
    })
    .await;
    let (_, toll) = ledger.toll_of_block(block, None).await.unwrap().unwrap();
    assert!(toll.affected.iter().all(|one| one.fate == Fate::Dead), "{toll:?}");
    assert!(toll.dead >= u64::try_from(judged.held.len()).unwrap());

    // OpenBao itself: of all that it still accepts, nothing is whom the block is about, and nobody else's was ended.
    // Logins of mints that failed carry no principal, are no credentials, and die within their minute.
    let survivors = survivors(&bao).await;
    assert!(survivors.is_empty(), "{survivors:?} live at OpenBao");
    others_live(&bao, &judged).await;
    app.stop().await;
}
