//! Each step alone, in this process, beside the raw signature operations that no implementation can go below.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use secrecy::SecretString;
use tollgate::broker::Loaded;
use tollgate::clock::random_bytes;
use tollgate::domain::{Ask, DecisionId};
use tollgate::ledger::{Authorised, Ledger, Planned};
use tollgate::policy::Decision;

use crate::report::Steps;
use crate::signer::Signer;
use crate::site::{Site, start};
use crate::{Fallible, cpu};

/// Exchanges per round.
const EXCHANGES: usize = 2_000;
/// Authorisations that are recorded at once, as at 32 connections.
const AT_ONCE: usize = 32;
/// Raw operations per round.
const RAW: u32 = 2_000;

/// Best processor times of one exchange's steps, microseconds.
pub(crate) async fn measure(site: &Site, rsa: &Signer, ec: &Signer) -> Fallible<Steps> {
    site.trust(ec)?;
    let app = start(&site.config()).await?;
    let tokens = secret(site.tokens(ec, EXCHANGES)?);
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
        let tokens = secret(site.tokens(rsa, EXCHANGES)?);
        rs256 = rs256.min(verify(&loaded, &tokens).await?);
        best = best.min(Round::run(&loaded, ledger, &tokens).await?);
    }
    app.stop().await;

    let message = [7; 1024];
    let (verifier, signature) = (rsa.verifier()?, rsa.signature(&message)?);
    let raw_verify = cpu::micros(RAW, || verifier.verify_sig(&message, &signature))?;
    let raw_sign = cpu::micros(RAW, || ec.signature(&message).map(drop))?;
    let Round { facts, decide, plan, record, write, mint } = best;
    Ok(Steps {
        raw_verify,
        raw_sign,
        rs256,
        es256,
        facts,
        decide,
        plan,
        sign: mint,
        record,
        write,
        durable,
        durability,
    })
}

fn secret(tokens: Vec<String>) -> Vec<SecretString> {
    tokens.into_iter().map(SecretString::from).collect()
}

async fn verify(loaded: &Loaded, tokens: &[SecretString]) -> Fallible<f64> {
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
    cpu::per(cpu::of_thread() - before, u32::try_from(EXCHANGES).unwrap_or(1))
}

/// Microseconds per exchange, step by step.
#[derive(Clone, Copy)]
struct Round {
    facts: f64,
    decide: f64,
    plan: f64,
    /// Building the record and waiting for it, in the caller's thread.
    record: f64,
    /// The writer's thread, and whatever else the process does meanwhile.
    write: f64,
    mint: f64,
}

impl Round {
    const WORST: Self = {
        let worst = f64::INFINITY;
        Self { facts: worst, decide: worst, plan: worst, record: worst, write: worst, mint: worst }
    };

    fn min(self, other: Self) -> Self {
        Self {
            facts: self.facts.min(other.facts),
            decide: self.decide.min(other.decide),
            plan: self.plan.min(other.plan),
            record: self.record.min(other.record),
            write: self.write.min(other.write),
            mint: self.mint.min(other.mint),
        }
    }

    /// Takes every token through the path, all of them through one step before any goes on to the next.
    async fn run(loaded: &Loaded, ledger: &Ledger, tokens: &[SecretString]) -> Fallible<Self> {
        let mut callers = Vec::with_capacity(tokens.len());
        for token in tokens {
            callers.push(loaded.identity.authenticate(token).await.map_err(|refusal| refusal.message)?);
        }
        let ask = ask()?;

        let before = cpu::of_thread();
        let mut facts = Vec::with_capacity(callers.len());
        for caller in callers {
            let decision = DecisionId::new(0, &random_bytes()?);
            let gathered = loaded.gatherer.gather(caller, &ask, decision).await;
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

        let (before, before_all) = (cpu::of_thread(), cpu::of_process());
        let authorised = authorise(ledger, planned).await?;
        let record = each(before);
        let all = cpu::per(cpu::of_process() - before_all, u32::try_from(EXCHANGES)?);

        let before = cpu::of_thread();
        for auth in &authorised {
            loaded.providers.mint(auth).await.map_err(|refusal| refusal.message)?;
        }
        Ok(Self { facts: facts_took, decide, plan, record, write: all - record, mint: each(before) })
    }
}

async fn authorise(ledger: &Ledger, planned: Vec<Planned>) -> Fallible<Vec<Authorised>> {
    let mut authorised = Vec::with_capacity(planned.len());
    let mut planned = planned.into_iter();
    loop {
        let some: Vec<_> = planned.by_ref().take(AT_ONCE).map(|planned| ledger.authorise(planned)).collect();
        if some.is_empty() {
            return Ok(authorised);
        }
        for done in join_all(some).await {
            authorised.push(done.map_err(|(_, refusal)| refusal.message)?);
        }
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
        source_ip: Some([127, 0, 0, 1].into()),
    })
}
