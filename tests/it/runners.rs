//! The runner, proved beside the job: what counts as a proof, what a role wants of it, and what it does not prove.

mod certificates;
mod renewals;
mod tokens;

use serde_json::{Value, json};

use crate::harness::api::Answer;
use crate::harness::issuer::pod;
use crate::harness::{Issuer, Site};

/// Allows whoever a policy sees on a proved runner of the pool `deploy`, and notes nothing else.
const ON_RUNNER: &str = "package ci.test

default allow := false

allow if {
	input.operation == \"mint\"
	input.identity.trust == \"trusted\"
	input.runner.pool == \"deploy\"
	input.runner.region == \"eu-central-1\"
}
";

/// A site whose runners are pods of a cluster with an issuer of its own.
struct Fleet {
    site: Site,
    cluster: Issuer,
}

impl Fleet {
    async fn new(extra: &[(&str, &str)]) -> Self {
        let fleet = Self { site: Site::new(extra).await, cluster: Issuer::start().await };
        fleet.site.write("config/issuers/cluster.toml", &fleet.issuer_file(""));
        fleet
    }

    /// The cluster's entry with `more` before its tables.
    fn issuer_file(&self, more: &str) -> String {
        format!(
            "issuer = \"{}\"\nprofile = \"kubernetes\"\naudience = \"{}/runner\"\nalgorithms = [\"ES256\"]\n\
             insecure_loopback = true\n{more}\n\
             [attributes]\nregion = \"eu-central-1\"\n\n[runner]\nattributes = {{ id = \"pod_uid\", pool = \"namespace\", \
             region = \"region\", node = \"node\" }}\n",
            self.cluster.url(),
            self.site.url
        )
    }

    /// Claims of a fresh token of the pod `name`.
    fn pod(&self, name: &str) -> Value {
        pod(&self.cluster, &format!("{}/runner", self.site.url), self.site.now().as_second(), name)
    }

    /// A fresh token of the pod `runner-1`.
    fn actor(&self) -> String {
        self.cluster.sign(&self.pod("runner-1"))
    }

    /// The same with some claims set.
    fn actor_with(&self, changes: &[(&str, Value)]) -> String {
        let mut claims = self.pod("runner-1");
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        self.cluster.sign(&claims)
    }

    /// Asks for `deploy` with a fresh token of the job, beside `actor`.
    async fn deploy(&self, actor: &str) -> Answer {
        self.deploy_with(&self.site.token(), actor).await
    }

    async fn deploy_with(&self, token: &str, actor: &str) -> Answer {
        let headers = [("tollgate-actor-token", actor)];
        self.site.api().credentials_with(token, &json!({ "role": "deploy" }), &headers).await
    }
}

/// The base role with `line` in it.
fn role(line: &str) -> String {
    crate::harness::site::DEPLOY.replace("policies =", &format!("{line}\npolicies ="))
}
