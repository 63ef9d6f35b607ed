//! Identity tokens of an issuer that others wrote, across a rotation of its keys.

use jiff::SignedDuration;
use serde_json::Value;

use crate::harness::Site;
use crate::harness::parts::issuer::NpmIssuer;

/// Longer than the pause after which an unknown key id makes Tollgate ask the issuer again.
const LATER: SignedDuration = SignedDuration::from_secs(61);

/// A site whose issuer `ci` is `issuer`.
async fn site(issuer: &NpmIssuer) -> Site {
    let site = Site::new(&[]).await;
    let ci = site.issuer_file("").replace(site.issuer.url(), &issuer.url).replace("ES256", "RS256");
    site.write("config/issuers/ci.toml", &ci);
    site
}

fn claims(site: &Site, issuer: &NpmIssuer) -> Value {
    let mut claims = site.issuer.github(&site.url, site.now().as_second());
    claims["iss"] = issuer.url.clone().into();
    claims
}

#[tokio::test]
async fn tokens_are_accepted_across_a_rotation_and_none_by_a_removed_key() {
    let issuer = NpmIssuer::start().await;
    let site = site(&issuer).await;
    let app = site.start().await;
    let deploy = async |token: String| site.api().deploy(&token).await;

    deploy(issuer.sign(&claims(&site, &issuer)).await).await.ok();

    // Both keys are published, and the new one signs.
    issuer.rotate("k2").await;
    site.clock.set(site.now() + LATER);
    deploy(issuer.sign(&claims(&site, &issuer)).await).await.ok();
    deploy(issuer.sign_with("k1", &claims(&site, &issuer)).await).await.ok();

    // Once Tollgate has seen that the old key is gone, whoever still holds it signs in vain.
    issuer.remove("k1").await;
    issuer.rotate("k3").await;
    site.clock.set(site.now() + LATER);
    deploy(issuer.sign(&claims(&site, &issuer)).await).await.ok();
    let refused = deploy(issuer.sign_with("k1", &claims(&site, &issuer)).await).await;
    assert_eq!((refused.status, refused.code()), (401, "token_key_unknown"));
    app.stop().await;
}
