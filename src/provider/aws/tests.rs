//! The exact calls to STS, and what becomes of every kind of answer.

use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use serde_json::json;

use super::*;
use crate::config::{ProviderRole, TargetKind};
use crate::domain::Code;
use crate::ledger::Planned;
use crate::ledger::testing::authorised;
use crate::provider::testing::{
    Answer, Seen, Stub, answer, aws_role, aws_scope, aws_target, claims, federation, grant_of, now, traced,
};

const ROLE: &str = "arn:aws:iam::123456789012:role/ci/deploy";

fn by_federation() -> AwsAccess {
    AwsAccess::Federation { audience: "sts.amazonaws.com".into() }
}

fn ambient(session_token: Option<&str>) -> AwsAccess {
    AwsAccess::Ambient {
        access_key_id: "AKIDAMBIENT".into(),
        secret_access_key: "ambient-secret".into(),
        session_token: session_token.map(Into::into),
    }
}

fn settings() -> AwsRole {
    AwsRole {
        role_arn: ROLE.into(),
        external_id: Some("ext-1".into()),
        tags: [("repository".to_owned(), "repository_id".to_owned())].into(),
    }
}

fn grant(seconds: u64) -> Grant {
    let mut role = aws_role(ROLE);
    role.provider = ProviderRole::Aws(settings());
    let scope = ScopeSpec::Aws(aws_scope(&["s3:GetObject"], &["arn:aws:s3:::b/{repository}/*"]));
    let target = aws_target("http://127.0.0.1:1".parse().unwrap(), by_federation());
    grant_of(role, [("read", scope)], TargetKind::Aws(target), seconds, now())
}

/// What STS answers, with parts to change.
struct Issued {
    arn: String,
    expiration: String,
    access_key_id: &'static str,
}

impl Issued {
    fn to(grant: &Grant, seconds: i64) -> Self {
        let session = names::session_name(grant.facts().decision());
        Self {
            arn: format!("arn:aws:sts::123456789012:assumed-role/deploy/{session}"),
            expiration: (now() + SignedDuration::from_secs(seconds)).to_string(),
            access_key_id: "ASIAEXAMPLE",
        }
    }

    fn by(&self, call: &str) -> Answer {
        let Self { arn, expiration, access_key_id } = self;
        answer(
            200,
            format!(
                "<{call}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{call}Result><Credentials>\
                 <AccessKeyId>{access_key_id}</AccessKeyId><SecretAccessKey>SENTINEL-KEY</SecretAccessKey>\
                 <SessionToken>SENTINEL-SESSION</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
                 <AssumedRoleUser><Arn>{arn}</Arn><AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser>\
                 </{call}Result></{call}Response>"
            ),
        )
    }

    fn answer(&self) -> Answer {
        self.by("AssumeRoleWithWebIdentity")
    }
}

fn aws(stub: &Stub, access: AwsAccess) -> Aws {
    let clock = Clock::manual(now());
    let target = aws_target(stub.url.clone(), access);
    Aws::new(&"aws".parse().unwrap(), &target, federation(clock.clone()), clock).unwrap()
}

async fn mint_with(
    grant: Grant,
    access: AwsAccess,
    answers: Vec<Answer>,
) -> (Result<Minted, Refusal>, Vec<Seen>) {
    let stub = Stub::start(answers).await;
    let aws = aws(&stub, access);
    let handle = aws.plan(&grant, &settings()).unwrap();
    assert!(stub.seen().is_empty(), "planning contacts nobody");
    let minted = aws.mint(&authorised(Planned::new(grant, handle)), &settings()).await;
    (minted, stub.seen())
}

async fn refused_with(answers: Vec<Answer>) -> Refusal {
    mint_with(grant(900), by_federation(), answers).await.0.unwrap_err()
}

fn form(seen: &Seen) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(seen.body.as_bytes()).into_owned().collect()
}

fn expected_form(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"read","Effect":"Allow","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::b/acme/shop/*"]}]}"#;

#[tokio::test]
async fn federation_sends_exactly_this_unsigned_request() {
    let grant = grant(1800);
    let session = names::session_name(grant.facts().decision());
    let answers = vec![Issued::to(&grant, 1800).answer()];
    let (minted, seen) = mint_with(grant, by_federation(), answers).await;
    let [request] = seen.as_slice() else { panic!("{} requests", seen.len()) };
    assert_eq!(request.headers.get("authorization"), None);
    let mut form = form(request);
    let token = form.remove("WebIdentityToken").unwrap();
    let expected = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", ROLE),
        ("RoleSessionName", &session),
        ("DurationSeconds", "1800"),
        ("Policy", POLICY),
    ];
    assert_eq!(form, expected_form(&expected));
    let claims = claims(&token.into()).1;
    assert_eq!(claims["aud"], "sts.amazonaws.com");
    assert_eq!(claims["sub"], "role:default:deploy");
    assert_eq!(claims["https://aws.amazon.com/source_identity"], session);
    let tags = json!({"principal_tags": {"repository": ["1234"]}, "transitive_tag_keys": ["repository"]});
    assert_eq!(claims["https://aws.amazon.com/tags"], tags);

    let minted = minted.unwrap();
    assert_eq!(minted.dies_at, now() + SignedDuration::from_secs(1800));
    assert_eq!((minted.revocability, minted.window), (Revocability::DiesAtExpiry, None));
    let Credential::Aws(keys) = minted.credential else { panic!("not AWS keys") };
    assert_eq!(keys.access_key_id, "ASIAEXAMPLE");
    assert_eq!(keys.secret_access_key.expose_secret(), "SENTINEL-KEY");
    assert_eq!(keys.session_token.expose_secret(), "SENTINEL-SESSION");
    assert_eq!(keys.region, "eu-west-1");
}

#[tokio::test]
async fn ambient_access_signs_with_the_configured_keys_and_says_who_asked() {
    let grant = grant(900);
    let session = names::session_name(grant.facts().decision());
    let answers = vec![Issued::to(&grant, 900).by("AssumeRole")];
    let (minted, seen) = mint_with(grant, ambient(None), answers).await;
    minted.unwrap();
    let authorization = seen[0].headers["authorization"].to_str().unwrap();
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDAMBIENT/"));
    assert!(authorization.contains("/eu-west-1/sts/aws4_request"));
    let expected = [
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", ROLE),
        ("RoleSessionName", &session),
        ("SourceIdentity", &session),
        ("ExternalId", "ext-1"),
        ("DurationSeconds", "900"),
        ("Tags.member.1.Key", "repository"),
        ("Tags.member.1.Value", "1234"),
        ("TransitiveTagKeys.member.1", "repository"),
        ("Policy", POLICY),
    ];
    assert_eq!(form(&seen[0]), expected_form(&expected));
}

#[tokio::test]
async fn c_14_a_window_under_15_minutes_asks_for_15_and_closes_earlier() {
    let grant = grant(300);
    let answers = vec![Issued::to(&grant, 900).answer()];
    let (minted, seen) = mint_with(grant, by_federation(), answers).await;
    let form = form(&seen[0]);
    assert_eq!(form["DurationSeconds"], "900");
    assert!(
        form["Policy"].contains(r#"{"DateGreaterThanEquals":{"aws:CurrentTime":"2026-11-20T18:05:00Z"}}"#)
    );
    let minted = minted.unwrap();
    let window_ends = now() + SignedDuration::from_secs(300);
    let session_ends = now() + SignedDuration::from_secs(900);
    assert_eq!(minted.window, Some(Window { window_ends, session_ends }));
    assert_eq!(minted.dies_at, window_ends);
}

#[tokio::test]
async fn fifteen_minutes_need_no_window_and_less_than_one_is_refused() {
    let stub = Stub::start([answer(500, "")]).await;
    let aws = aws(&stub, by_federation());
    let request = |seconds| aws.request(&grant(seconds), &settings(), now());
    assert_eq!(request(900).unwrap().window_ends, None);
    assert!(request(899).unwrap().window_ends.is_some());
    assert!(request(60).is_ok());
    assert_eq!(aws.plan(&grant(59), &settings()).unwrap_err().code, Code::TtlBelowFloor);
}

#[tokio::test]
async fn temporary_keys_of_ones_own_get_one_hour_at_most() {
    let stub = Stub::start([answer(500, "")]).await;
    let duration = |access, seconds| aws(&stub, access).duration(seconds).unwrap();
    assert_eq!(duration(ambient(Some("t")), 43_200), 3600);
    assert_eq!(duration(ambient(None), 43_200), 43_200);
    assert_eq!(duration(by_federation(), 43_200), 43_200);
}

#[tokio::test]
async fn reads_expirations_with_and_without_fractions() {
    for (expiration, nanos) in [("2026-11-20T18:15:00Z", 0), ("2026-11-20T18:15:00.198684Z", 198_684_000)] {
        let grant = grant(900);
        let issued = Issued { expiration: expiration.into(), ..Issued::to(&grant, 900) };
        let minted = mint_with(grant, by_federation(), vec![issued.answer()]).await.0.unwrap();
        assert_eq!(minted.dies_at.subsec_nanosecond(), nanos);
    }
}

#[tokio::test]
async fn c_09_a_session_other_than_asked_is_refused() {
    let changes: [fn(&mut Issued); 7] = [
        |i| i.arn = i.arn.replace("123456789012", "999999999999"),
        |i| i.arn = i.arn.replace("/deploy/", "/admin/"),
        |i| i.arn.push('x'),
        |i| i.arn = i.arn.replace("arn:aws:", "arn:aws-cn:"),
        |i| i.expiration = "2026-11-20T18:16:01Z".into(),
        |i| i.expiration = "2026-11-20T18:00:00Z".into(),
        |i| i.access_key_id = "",
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let grant = grant(900);
        let mut issued = Issued::to(&grant, 900);
        change(&mut issued);
        let refusal = mint_with(grant, by_federation(), vec![issued.answer()]).await.0.unwrap_err();
        assert_eq!(refusal.code, Code::ProviderAnswerUnexpected, "change {number}");
        assert!(!format!("{refusal:?}").contains("SENTINEL"));
    }
}

#[tokio::test]
async fn nonsense_redirects_and_floods_are_no_answers() {
    let redirect = Answer { headers: vec![("location", "http://169.254.169.254/")], ..answer(302, "") };
    for nonsense in [
        answer(200, "<html>welcome</html>"),
        answer(200, "{}"),
        answer(200, "x".repeat(MAX_ANSWER + 1)),
        answer(404, "<html>not here</html>"),
        redirect,
    ] {
        let shown = format!("{} {}", nonsense.status, &nonsense.body[..nonsense.body.len().min(30)]);
        let refusal = refused_with(vec![nonsense]).await;
        assert_eq!(refusal.code, Code::ProviderAnswerUnexpected, "{shown}: {refusal:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_aws_is_told_to_the_record_alone() {
    let body = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                <Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>";
    let refusal = refused_with(vec![answer(403, body)]).await;
    assert_eq!(refusal.code, Code::ProviderRefused);
    assert!(!refusal.message.contains("sts:"));
    assert_eq!(
        refusal.detail.unwrap(),
        "STS: AccessDenied Not authorized to perform sts:AssumeRoleWithWebIdentity"
    );
}

#[tokio::test]
async fn tries_twice_when_aws_is_in_trouble_and_once_when_it_refuses() {
    let stub = Stub::start([answer(503, "")]).await;
    let grant = grant(900);
    let aws = aws(&stub, by_federation());
    let handle = aws.plan(&grant, &settings()).unwrap();
    let auth = authorised(Planned::new(grant, handle));
    let refusal = aws.mint(&auth, &settings()).await.unwrap_err();
    assert_eq!((refusal.code, stub.seen().len()), (Code::ProviderUnavailable, 2));
}

#[tokio::test]
async fn throttling_tells_how_long_to_wait() {
    let body = "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>";
    let throttled = Answer { headers: vec![("retry-after", "7")], ..answer(400, body) };
    let refusal = refused_with(vec![throttled]).await;
    assert_eq!((refusal.code, refusal.retry_after), (Code::ProviderThrottled, Some(7)));
}

#[tokio::test]
async fn an_endpoint_that_is_down_or_not_allowed_is_unavailable() {
    let grant = grant(900);
    let stub = Stub::start([answer(500, "")]).await;
    let clock = Clock::manual(now());
    let mut target = aws_target(stub.url.clone(), by_federation());
    target.insecure_loopback = false;
    let aws = Aws::new(&"aws".parse().unwrap(), &target, federation(clock.clone()), clock).unwrap();
    let handle = aws.plan(&grant, &settings()).unwrap();
    let refusal = aws.mint(&authorised(Planned::new(grant, handle)), &settings()).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProviderUnavailable);
    assert!(refusal.detail.unwrap().contains("address refused"));
    assert!(stub.seen().is_empty());
}

#[test]
fn s_14_the_sdk_has_no_http_client_and_no_credential_chain_of_its_own() {
    let lock = include_str!("../../../Cargo.lock");
    for absent in ["aws-smithy-http-client", "aws-config"] {
        assert!(!lock.contains(&format!("name = \"{absent}\"")), "{absent} is back");
    }
}

#[tokio::test]
async fn s_01_nothing_secret_is_logged_at_trace() {
    let (seen, log) = traced(async {
        let grant = grant(900);
        let answers = vec![Issued::to(&grant, 900).answer()];
        let (minted, seen) = mint_with(grant, by_federation(), answers).await;
        tracing::trace!(?minted, "minted");
        seen
    })
    .await;
    let token = form(&seen[0]).remove("WebIdentityToken").unwrap();
    assert!(log.contains("Credential::Aws(..)"));
    assert!(!log.contains("SENTINEL"), "keys in the log");
    assert!(!log.contains(&token) && !log.contains("WebIdentityToken"), "the federation token in the log");
}
