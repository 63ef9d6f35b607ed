//! An AWS whose STS, IAM and S3 enforce trust, role and session policies (`ministack`). Its root keys are `test`, `test`.

use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::Method;
use serde_json::{Value, json};
use tollgate::clock::Clock;

use super::{Part, program};
use crate::harness::site::free_port;
use crate::harness::{Api, Site};

/// The role that Tollgate assumes.
pub(crate) const ROLE_ARN: &str = "arn:aws:iam::000000000000:role/deploy";
/// The role `deploy/app` of Tollgate.
pub(crate) const ROLE: &str = r#"
description = "artifacts of the application"
environment = "production"
target = "cloud"
ttl = { default = "15m", max = "1h" }
policies = ["ci.test"]
default_scopes = ["read"]

[aws]
role_arn = "arn:aws:iam::000000000000:role/deploy"
tags = { repository = "repository" }

[scopes.read]
actions = ["s3:GetObject"]
resources = ["arn:aws:s3:::bucket/{repository}/*"]

[scopes.chain]
actions = ["s3:GetObject", "sts:AssumeRole"]
resources = ["*"]
"#;

/// A running AWS with a bucket and two objects in it.
pub(crate) struct Aws {
    pub(crate) url: String,
    api: Api,
    _server: Part,
}

/// Keys to sign with.
pub(crate) struct Signer(Credentials);

impl Signer {
    fn root() -> Self {
        Self(Credentials::new("test", "test", None, None, "test"))
    }

    /// The keys of an answer's `credential`.
    pub(crate) fn of(credential: &Value) -> Self {
        let text = |name: &str| credential[name].as_str().unwrap().to_owned();
        let (id, secret) = (text("access_key_id"), text("secret_access_key"));
        Self(Credentials::new(id, secret, Some(text("session_token")), None, "test"))
    }
}

impl Aws {
    /// Starts it; `deploy` may do anything with S3, once `trust` lets it be assumed.
    pub(crate) async fn start(trust: &Value) -> Self {
        let port = free_port();
        let mut command = Command::new(program("ministack"));
        command
            .env("AUTH", "true")
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "localhost")
            .env("GATEWAY_PORT", port.to_string())
            // Its MQTT listener would bind a fixed port on every interface.
            .env("IOT_MTLS_ENABLED", "0");
        let server = Part::start(&mut command, port).await;
        let url = format!("http://127.0.0.1:{port}");
        let aws = Self { api: Api::new(&url), url, _server: server };
        aws.iam("CreateRole", &[("RoleName", "deploy"), ("AssumeRolePolicyDocument", &trust.to_string())])
            .await;
        let all = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": ["s3:*", "sts:AssumeRole"], "Resource": "*" }] });
        let fields = [("RoleName", "deploy"), ("PolicyName", "all"), ("PolicyDocument", &all.to_string())];
        aws.iam("PutRolePolicy", &fields).await;
        for path in ["/bucket", "/bucket/acme/shop/x", "/bucket/acme/other/x"] {
            let (status, body) = aws.s3(&Signer::root(), Method::PUT, path).await;
            assert_eq!(status, 200, "{path}: {body}");
        }
        aws
    }

    /// Trust in whoever signs with the account's keys and knows the external id.
    pub(crate) fn trusts_keys() -> Value {
        json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::000000000000:root" },
            "Action": ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"],
            "Condition": { "StringEquals": { "sts:ExternalId": "ext-1" } } }] })
    }

    /// Trust in the issuer `provider`, a URL without its scheme, for one subject and audience.
    pub(crate) fn trusts_issuer(provider: &str, subject: &str, audience: &str) -> Value {
        let arn = format!("arn:aws:iam::000000000000:oidc-provider/{provider}");
        json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "Federated": arn },
            "Action": ["sts:AssumeRoleWithWebIdentity", "sts:SetSourceIdentity", "sts:TagSession"],
            "Condition": { "StringEquals": {
                format!("{provider}:sub"): subject, format!("{provider}:aud"): audience } } }] })
    }

    /// A Tollgate whose role `deploy/app` mints by `endpoint` with keys of its own, and whose callers use this server.
    pub(crate) async fn ambient_site(&self, endpoint: &str) -> Site {
        let access =
            "access = \"ambient\"\naccess_key_id = \"test\"\nsecret_access_key = { value = \"test\" }\n";
        let role = ROLE.replace("[aws]", "[aws]\nexternal_id = \"ext-1\"");
        self.site(endpoint, access, &role).await
    }

    /// The same, with federation tokens.
    pub(crate) async fn federated_site(&self, endpoint: &str) -> Site {
        self.site(endpoint, "access = \"federation\"\naudience = \"sts.amazonaws.com\"\n", ROLE).await
    }

    async fn site(&self, endpoint: &str, access: &str, role: &str) -> Site {
        let target = format!(
            "provider = \"aws\"\nregion = \"us-east-1\"\nendpoint = \"{endpoint}\"\nclient_endpoint = \"{}\"\n\
             insecure_loopback = true\n{access}",
            self.url
        );
        let extra = [("config/targets/cloud.toml", target.as_str()), ("config/roles/deploy/app.toml", role)];
        let mut site = Site::new(&extra).await;
        site.clock = Clock::system();
        site
    }

    /// Makes the OIDC provider of `site`'s federation issuer known, and trusts one subject and audience of it.
    pub(crate) async fn trust(&self, site: &Site, subject: &str, audience: &str) {
        let url = format!("{}/federation", site.url);
        let fields = [
            ("Url", url.as_str()),
            ("ClientIDList.member.1", "sts.amazonaws.com"),
            ("ThumbprintList.member.1", "0000000000000000000000000000000000000000"),
        ];
        self.iam("CreateOpenIDConnectProvider", &fields).await;
        self.trust_only(site, subject, audience).await;
    }

    /// Trusts one subject and audience of an issuer that is known already.
    pub(crate) async fn trust_only(&self, site: &Site, subject: &str, audience: &str) {
        let provider = format!("{}/federation", site.url.trim_start_matches("http://"));
        let trust = Self::trusts_issuer(&provider, subject, audience).to_string();
        self.iam("UpdateAssumeRolePolicy", &[("RoleName", "deploy"), ("PolicyDocument", &trust)]).await;
    }

    /// A call of IAM by root; panics unless it succeeds.
    async fn iam(&self, action: &str, fields: &[(&str, &str)]) {
        let all: Vec<_> =
            [("Action", action), ("Version", "2010-05-08")].iter().chain(fields).copied().collect();
        let (status, body) = self.query("iam", &Signer::root(), &all).await;
        assert_eq!(status, 200, "{action}: {body}");
    }

    /// A call of a query API (IAM, STS): status and body.
    pub(crate) async fn query(
        &self,
        service: &str,
        signer: &Signer,
        fields: &[(&str, &str)],
    ) -> (u16, String) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(service, signer, Method::POST, "/", &body).await
    }

    /// An S3 call on `path`: status and body.
    pub(crate) async fn s3(&self, signer: &Signer, method: Method, path: &str) -> (u16, String) {
        let body = if method == Method::GET { "" } else { "hello" };
        self.send("s3", signer, method, path, body).await
    }

    async fn send(
        &self,
        service: &str,
        signer: &Signer,
        method: Method,
        path: &str,
        body: &str,
    ) -> (u16, String) {
        let identity = signer.0.clone().into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let now = Clock::system().now().as_second().unsigned_abs();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name(service)
            .time(UNIX_EPOCH + Duration::from_secs(now))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let form = ("content-type", "application/x-www-form-urlencoded");
        let url = format!("{}{path}", self.url);
        let content = SignableBody::Bytes(body.as_bytes());
        let signable = SignableRequest::new(method.as_str(), &url, std::iter::once(form), content);
        let (instructions, _) = sign(signable.unwrap(), &params).unwrap().into_parts();
        let headers: Vec<_> = std::iter::once(form).chain(instructions.headers()).collect();
        let answer = self.api.send(method, path, &headers, body).await;
        (answer.status, answer.text)
    }
}
