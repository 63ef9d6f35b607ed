//! Bundles as the agent streams them: several trust domains, rotation, removal, and an agent that is gone.

use jiff::SignedDuration;
use spiffe::WorkloadApiClient;

use super::{PATH, beside, connect, state, who, whoami, workload};
use crate::harness::wait::until;
use crate::harness::{Site, TrustDomain, Workload};

const OURS: &str = "acme.example";
const THEIRS: &str = "other.example";

/// Seconds since the keys of each trust domain were known to be the agent's, oldest first.
fn ages(app: &tollgate::app::App) -> Vec<u64> {
    let issuers = app.broker().readiness().issuers;
    let of_domains = issuers.iter().filter(|keys| keys.issuer.as_str().ends_with("-example"));
    let mut ages: Vec<_> = of_domains.map(|keys| keys.keys_age_seconds.unwrap_or(u64::MAX)).collect();
    ages.sort_unstable_by(|a, b| b.cmp(a));
    ages
}

#[tokio::test]
async fn i_23_a_bundle_that_the_agent_takes_back_ends_what_it_vouched_for() {
    let site = Site::new(&[]).await;
    let (ours, theirs) = (TrustDomain::new(OURS), TrustDomain::new(THEIRS));
    let agent = Workload::start(&state(&site, &ours, &[&theirs]));
    beside(&site, &agent, &[OURS, THEIRS]);
    let app = site.start().await;
    let (mine, other) = (workload(&ours, &site), workload(&theirs, &site));
    assert_eq!((who(&app, &mine).await, who(&app, &other).await), (ours.id(PATH), theirs.id(PATH)));
    let of_same_name = workload(&TrustDomain::new(OURS), &site);
    assert_eq!(who(&app, &of_same_name).await, "certificate_untrusted");

    // Of the two trust domains one is left: connections that are open notice it, and those of the other do not.
    let address = app.spiffe_address().unwrap();
    let (mut stays, mut ends) = (connect(address, Some(&mine)).await, connect(address, Some(&other)).await);
    assert_eq!(whoami(&mut ends).await["subject"], theirs.id(PATH));
    agent.serve(&state(&site, &ours, &[]));
    until("the bundle is gone", async || whoami(&mut ends).await["code"] == "certificate_untrusted").await;
    assert_eq!(who(&app, &other).await, "certificate_untrusted");
    assert_eq!(whoami(&mut stays).await["subject"], ours.id(PATH));

    // The authority rotates: what the former one vouched for is over.
    let newer = TrustDomain::new(OURS);
    agent.serve(&state(&site, &newer, &[]));
    until("the authority is another", async || whoami(&mut stays).await["code"] == "certificate_untrusted")
        .await;
    assert_eq!(who(&app, &workload(&newer, &site)).await, ours.id(PATH));
    assert_eq!(site.rows("decisions"), 0);
    app.stop().await;

    // What was known last goes on in a broker that starts without the agent.
    agent.stop();
    beside(&site, &agent, &[OURS, THEIRS]);
    let settings = std::fs::read_to_string(site.path("config/tollgate.toml")).unwrap();
    site.write("config/tollgate.toml", &settings.replace("spiffe_listen = \"127.0.0.1:0\"\n", ""));
    let app = site.start().await;
    until("the store was asked", async || ages(&app) != [u64::MAX, u64::MAX]).await;
    app.stop().await;
}

#[tokio::test]
async fn tokens_are_verified_by_the_keys_that_the_agent_streams() {
    let site = Site::of_process(&[]).await;
    let (ours, theirs) = (TrustDomain::new(OURS), TrustDomain::new(THEIRS));
    let agent = Workload::start(&state(&site, &ours, &[&theirs]));
    beside(&site, &agent, &[OURS]);
    let app = site.start().await;
    let client = WorkloadApiClient::connect_to(agent.socket()).await.unwrap();
    let token = async || client.fetch_jwt_token([&site.url], None).await.unwrap();
    let before = token().await;
    let who = site.api().get("/v1/whoami", Some(&before)).await.ok();
    assert_eq!((&who["kind"], &who["subject"]), (&"spiffe".into(), &ours.id(PATH).into()));
    agent.serve(&state(&site, &TrustDomain::new(OURS), &[&theirs]));
    until("the key is another", async || site.api().get("/v1/whoami", Some(&before)).await.status != 200)
        .await;
    assert_eq!(site.api().get("/v1/whoami", Some(&token().await)).await.status, 200);
    app.stop().await;
}

#[tokio::test]
async fn what_the_agent_said_goes_on_without_it_for_a_day() {
    let site = Site::new(&[]).await;
    let ours = TrustDomain::new(OURS);
    let agent = Workload::start(&state(&site, &ours, &[]));
    beside(&site, &agent, &[OURS]);
    let app = site.start().await;
    let mine = workload(&ours, &site);
    assert_eq!(who(&app, &mine).await, ours.id(PATH));
    assert_eq!(ages(&app), [0]);

    // Streams break, and the next word is heard all the same; so is the one after a refusal.
    let newer = TrustDomain::new(OURS);
    agent.break_streams();
    agent.serve(&state(&site, &newer, &[]));
    until("the stream is open again", async || who(&app, &mine).await == "certificate_untrusted").await;
    let mine = workload(&newer, &site);
    agent.deny("no identity issued");
    until("its streams are closed", async || agent.count().open() == 0).await;
    assert_eq!(who(&app, &mine).await, ours.id(PATH), "a refusal takes nothing back");
    agent.serve(&state(&site, &ours, &[]));
    until("it is served again", async || who(&app, &mine).await == "certificate_untrusted").await;

    agent.stop();
    let mine = workload(&ours, &site);
    site.clock.set(site.now() + SignedDuration::from_mins(61));
    assert_eq!(who(&app, &mine).await, ours.id(PATH));
    assert!(ages(&app)[0] > 3600, "{:?}", ages(&app));
    site.clock.set(site.now() + SignedDuration::from_hours(24));
    assert_eq!(who(&app, &mine).await, "issuer_unavailable");
    agent.start_again(&state(&site, &ours, &[]));
    site.clock.set(site.now() + SignedDuration::from_mins(2));
    until("the agent is back", async || who(&app, &mine).await == ours.id(PATH)).await;
    assert!(ages(&app)[0] < 300, "{:?}", ages(&app));
    app.stop().await;
}

#[tokio::test]
async fn i_23_half_an_agent_makes_nothing_young_that_the_other_half_gave() {
    let site = Site::new(&[]).await;
    let ours = TrustDomain::new(OURS);
    let whole = state(&site, &ours, &[]);
    let agent = Workload::start(&whole);
    beside(&site, &agent, &[OURS]);
    let app = site.start().await;
    let mine = workload(&ours, &site);
    assert_eq!((who(&app, &mine).await, ages(&app)), (ours.id(PATH), vec![0]));

    // Keys of tokens go on changing, and nothing is said of authorities any more.
    let mut half = state(&site, &TrustDomain::new(OURS), &[]);
    half["x509"][0]["chain"] = "".into();
    let asked = agent.count().asked("FetchX509SVID");
    agent.serve(&half);
    until("its stream is down", async || agent.count().asked("FetchX509SVID") > asked).await;
    site.clock.set(site.now() + SignedDuration::from_mins(61));
    assert_eq!(who(&app, &mine).await, ours.id(PATH));
    assert_eq!(ages(&app), [3660], "of the older half");
    site.clock.set(site.now() + SignedDuration::from_hours(24));
    assert_eq!(who(&app, &mine).await, "issuer_unavailable");
    agent.serve(&whole);
    until("it is whole again", async || who(&app, &mine).await == ours.id(PATH)).await;
    assert_eq!(ages(&app), [0]);
    app.stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_holds_no_bundle_back() {
    let site = Site::new(&[]).await;
    let (ours, newer) = (TrustDomain::new(OURS), TrustDomain::new(OURS));
    let agent = Workload::start(&state(&site, &ours, &[]));
    beside(&site, &agent, &[OURS]);
    let app = site.start().await;
    assert_eq!(who(&app, &workload(&ours, &site)).await, ours.id(PATH));
    // An SVID with the key of another, and more trust domains than are taken.
    let mut broken = state(&site, &newer, &[]);
    broken["x509"][0]["key"] = newer.x509_entry(&workload(&newer, &site))["key"].clone();
    for number in 0..250 {
        broken["federated"][format!("spiffe://d{number}.example")] = newer.x509_bundle().into();
    }
    agent.serve(&broken);
    let mine = workload(&newer, &site);
    until("the next authority is known", async || who(&app, &mine).await == newer.id(PATH)).await;
    app.stop().await;
}

#[tokio::test]
async fn i_23_the_store_forgets_at_once_what_the_agent_takes_back() {
    let site = Site::new(&[]).await;
    let ours = TrustDomain::new(OURS);
    let agent = Workload::start(&state(&site, &ours, &[]));
    beside(&site, &agent, &[OURS]);
    let app = site.start().await;
    let of_now = async || {
        let now = site.now().as_millisecond();
        site.rows(&format!("issuer_keys WHERE issuer = '{}' AND fetched_at = {now}", ours.id(""))) == 1
    };
    let mine = workload(&ours, &site);
    assert_eq!(who(&app, &mine).await, ours.id(PATH));
    until("it is kept", of_now).await;
    // By the clock, two changes in one second.
    site.clock.set(site.now() + SignedDuration::from_secs(1));
    agent.serve(&state(&site, &TrustDomain::new(OURS), &[]));
    until("it is taken back", async || who(&app, &mine).await == "certificate_untrusted").await;
    until("the store knows", of_now).await;
    app.stop().await;
}
