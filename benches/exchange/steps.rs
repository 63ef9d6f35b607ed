//! Each step alone, in this process, beside the raw signature operations that no implementation can go below.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tollgate::broker::Loaded;
use tollgate::clock::random_bytes;
use tollgate::domain::{Ask, DecisionId};
use tollgate::identity::Evidence;
use tollgate::ledger::Ledger;
use tollgate::policy::Decision;

use crate::report::Steps;
use crate::signer::Signer;
use crate::site::{Site, start};
use crate::{Fallible, cpu};

/// Exchanges per round.
const EXCHANGES: usize = 2_000;
/// Records that are under way at once.
const AT_ONCE: usize = 32;
/// Raw operations per round.
const RAW: u32 = 2_000;

/// Best processor times of one exchange's steps, microseconds.
pub(crate) async fn measure(site: &Site, rsa: &Signer, ec: &Signer) -> Fallible<Steps> {
    site.trust(ec)?;
    let app = start(&site.config()).await?;
    let tokens = evidence(site.tokens(ec, EXCHANGES)?);
    let es256 = verify(&app.broker().loaded(), &tokens).await?;
    app.stop().await;

    site.trust(rsa)?;
    let app = start(&site.config()).await?;
    let (loaded, ledger) = (app.broker().loaded(), app.broker().ledger());
    let durability = ledger.durability().clone();
    let durable = durability.is_durable();
    let mut best = Round::WORST;
    let mut rs256 = f64::INFINITY;
    for _ in 0..cpu::rounds() {
        let tokens = evidence(site.tokens(rsa, EXCHANGES)?);
        rs256 = rs256.min(verify(&loaded, &tokens).await?);
        best = best.min(Round::run(&loaded, ledger, &tokens).await?);
    }
    app.stop().await;

    let message = [7; 1024];
    let (verifier, signature) = (rsa.verifier()?, rsa.signature(&message)?);
    let raw_verify = cpu::micros(RAW, || verifier.verify_sig(&message, &signature))?;
    let raw_sign = cpu::micros(RAW, || ec.signature(&message).map(drop))?;
    let Round { facts, decide, plan, authorise, mint, lease } = best;
    Ok(Steps {
        raw_verify,
        raw_sign,
        rs256,
        es256,
        facts,
        decide,
        plan,
        authorise: authorise.caller,
        authorise_write: authorise.writer,
        sign: mint,
        lease: lease.caller,
        lease_write: lease.writer,
        durable,
        durability,
    })
}

fn evidence(tokens: Vec<String>) -> Vec<Evidence> {
    tokens.into_iter().map(Evidence::from).collect()
}

async fn verify(loaded: &Loaded, tokens: &[Evidence]) -> Fallible<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..cpu::rounds() {
        let before = cpu::of_thread();
        for token in tokens {
            loaded.identity.authenticate(token).await.map_err(|refusal| refusal.message)?;
        }
        best = best.min(each(before));
    }
    Ok(best)
}

/// Microseconds of this thread since `before`, per exchange.
fn each(before: f64) -> f64 {
    per_exchange(cpu::of_thread() - before)
}

fn per_exchange(seconds: f64) -> f64 {
    cpu::per(seconds, u32::try_from(EXCHANGES).unwrap_or(1))
}

/// Microseconds per exchange, step by step.
#[derive(Clone, Copy)]
struct Round {
    facts: f64,
    decide: f64,
    plan: f64,
    authorise: Recorded,
    mint: f64,
    lease: Recorded,
}

/// One of the two records of an exchange.
#[derive(Clone, Copy)]
struct Recorded {
    /// In the caller's thread: building it, and waiting for it.
    caller: f64,
    /// In the writer's thread, and whatever else the process does meanwhile.
    writer: f64,
}

impl Recorded {
    const WORST: Self = Self { caller: f64::INFINITY, writer: f64::INFINITY };

    /// What recording since `thread` and `process` took.
    fn since(thread: f64, process: f64) -> Self {
        let caller = each(thread);
        Self { caller, writer: per_exchange(cpu::of_process() - process) - caller }
    }

    fn min(self, other: Self) -> Self {
        Self { caller: self.caller.min(other.caller), writer: self.writer.min(other.writer) }
    }
}

impl Round {
    const WORST: Self = {
        let (worst, recorded) = (f64::INFINITY, Recorded::WORST);
        Self { facts: worst, decide: worst, plan: worst, authorise: recorded, mint: worst, lease: recorded }
    };

    fn min(self, other: Self) -> Self {
        Self {
            facts: self.facts.min(other.facts),
            decide: self.decide.min(other.decide),
            plan: self.plan.min(other.plan),
            authorise: self.authorise.min(other.authorise),
            mint: self.mint.min(other.mint),
            lease: self.lease.min(other.lease),
        }
    }

    /// Takes every token through the path, all of them through one step before any goes on to the next.
    async fn run(loaded: &Loaded, ledger: &Ledger, tokens: &[Evidence]) -> Fallible<Self> {
        let mut callers = Vec::with_capacity(tokens.len());
        for token in tokens {
            callers.push(loaded.identity.authenticate(token).await.map_err(|refusal| refusal.message)?);
        }
        let ask = ask()?;

        let before = cpu::of_thread();
        let mut facts = Vec::with_capacity(callers.len());
        for caller in callers {
            let decision = DecisionId::new(0, &random_bytes()?);
            let gathered = loaded.gatherer.gather(caller, None, &ask, decision).await;
            facts.push(gathered.map_err(|failed| failed.refusal.message)?);
        }
        let facts_took = each(before);

        let before = cpu::of_thread();
        let decisions: Vec<_> = facts.into_iter().map(|facts| loaded.policy.decide(facts)).collect();
        let decide = each(before);

        let before = cpu::of_thread();
        let mut planned = Vec::with_capacity(decisions.len());
        for decision in decisions {
            let Decision::Allow(grant) = decision else { return Err("policy does not allow".into()) };
            planned.push(loaded.providers.plan(grant).await.map_err(|(_, refusal)| refusal.message)?);
        }
        let plan = each(before);

        let (thread, process) = (cpu::of_thread(), cpu::of_process());
        let authorised = together(planned, |planned| ledger.authorise(planned)).await;
        let authorise = Recorded::since(thread, process);

        let before = cpu::of_thread();
        let mut minted = Vec::with_capacity(tokens.len());
        for auth in authorised {
            let auth = auth.map_err(|(_, refusal)| refusal.message)?;
            let credential = loaded.providers.mint(&auth).await.map_err(|refusal| refusal.message)?;
            minted.push((auth, credential));
        }
        let mint = each(before);

        let (thread, process) = (cpu::of_thread(), cpu::of_process());
        let leased = together(minted, |(auth, minted)| ledger.lease(auth, minted)).await;
        let lease = Recorded::since(thread, process);
        let failed = leased.into_iter().find_map(Result::err);
        failed.map_or(Ok(()), |(_, refusal)| Err(refusal.message))?;
        Ok(Self { facts: facts_took, decide, plan, authorise, mint, lease })
    }
}

/// Starts `work` on every item, as many at once as there are connections under full load.
async fn together<T, F: Future>(items: Vec<T>, work: impl Fn(T) -> F) -> Vec<F::Output> {
    let mut done = Vec::with_capacity(items.len());
    let mut items = items.into_iter();
    loop {
        let some: Vec<_> = items.by_ref().take(AT_ONCE).map(&work).collect();
        if some.is_empty() {
            return done;
        }
        done.extend(join_all(some).await);
    }
}

/// All defaults of the first role.
pub(crate) fn ask() -> Fallible<Ask> {
    Ok(Ask {
        role: "preview".parse()?,
        scopes: None,
        ttl: None,
        declared: BTreeMap::new(),
        idempotency_key: None,
        dry_run: false,
        renews: None,
        source_ip: Some([127, 0, 0, 1].into()),
        trace_parent: None,
    })
}
