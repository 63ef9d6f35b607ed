//! `targets/*.toml`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::audience::Audience;
use super::known::Known;
use super::{Around, endpoint, secret, workload};
use crate::config::problem::{Problem, Problems};
use crate::config::reader::Reader;
use crate::config::{AwsAccess, AwsTarget, JwtTarget, Target, TargetKind, VaultTarget, aws};
use crate::domain::TargetName;

/// The audience that IAM's OIDC providers accept unless told otherwise (IAM user guide, "OIDC federation").
const AWS_AUDIENCE: &str = "sts.amazonaws.com";

/// Reads one target.
pub(super) fn target(
    name: &TargetName,
    r: &mut Reader<'_>,
    around: &Around<'_>,
    known: &Known<'_>,
) -> Option<Target> {
    type Read = fn(&mut Reader<'_>, &Around<'_>, &Known<'_>) -> Option<TargetKind>;
    // And whether it is reached over the network.
    let words: [(&str, (Read, bool)); 3] =
        [("aws", (aws_target, true)), ("vault", (vault_target, true)), ("jwt", (jwt_target, false))];
    let word = r.need("provider", "\"aws\", \"vault\" or \"jwt\"").and_then(|field| field.choice(&words));
    let Some((read, remote)) = word else {
        r.ignore_the_rest();
        return None;
    };
    let number = "how many exchanges may be under way there at once";
    let concurrency = if remote { r.integer("concurrency", number, &(1..=65_536)) } else { None };
    Some(Target { name: name.clone(), kind: read(r, around, known)?, concurrency })
}

fn aws_target(r: &mut Reader<'_>, around: &Around<'_>, _: &Known<'_>) -> Option<TargetKind> {
    let region: Option<String> = r.required("region", "a region, such as \"eu-central-1\"");
    let partition: Option<String> = r.optional("partition", "\"aws\", \"aws-cn\" or \"aws-us-gov\"");
    let insecure_loopback = endpoint::insecure_loopback(r);
    let endpoint = endpoint::url(
        r,
        "endpoint",
        "a URL, such as \"https://sts.eu-central-1.amazonaws.com\"",
        insecure_loopback,
    );
    let client_endpoint = endpoint::url(r, "client_endpoint", "the URL that callers use", insecure_loopback);
    let access = access(r, around);
    let ca_file = endpoint::ca_file(r, around);
    let allow_networks = endpoint::allow_networks(r);
    let region = region?;
    let partition = match (aws::partition_of_region(&region), partition) {
        (Ok(lies_in), Some(written)) if lies_in != written => {
            let message = format!("the region {region} lies in the partition {lies_in}");
            r.refuse("partition", "wrong_partition", &message, "remove the key");
            return None;
        }
        (Ok(lies_in), _) => lies_in.to_owned(),
        (Err(error), _) => {
            r.refuse("region", "bad_value", &error.to_string(), "write a region, such as \"eu-central-1\"");
            return None;
        }
    };
    Some(TargetKind::Aws(AwsTarget {
        partition,
        region,
        endpoint,
        client_endpoint,
        access: access?,
        ca_file,
        allow_networks,
        insecure_loopback,
    }))
}

fn access(r: &mut Reader<'_>, around: &Around<'_>) -> Option<AwsAccess> {
    #[derive(Clone, Copy)]
    enum Word {
        Federation,
        Ambient,
    }
    let words = [("federation", Word::Federation), ("ambient", Word::Ambient)];
    let word = r.choice("access", "\"federation\" (no AWS key is held) or \"ambient\"", &words);
    match word {
        None if r.has("access") => {
            r.ignore_the_rest();
            None
        }
        Some(Word::Federation) | None => {
            let audience: Option<Audience> = r.optional("audience", "the audience of the IAM OIDC provider");
            let default = (!r.has("audience")).then(|| AWS_AUDIENCE.to_owned());
            Some(AwsAccess::Federation { audience: audience.map(|Audience(text)| text).or(default)? })
        }
        Some(Word::Ambient) => {
            let id: Option<String> = r.required("access_key_id", "the id of Tollgate's own access key");
            let expected = secret::EXPECTED;
            let key = r.need("secret_access_key", expected).and_then(|field| secret::secret(&field, around));
            let session_token = match r.get("session_token", expected) {
                Some(field) => secret::secret(&field, around).map(Some),
                None => Some(None),
            };
            Some(AwsAccess::Ambient {
                access_key_id: id?,
                secret_access_key: key?,
                session_token: session_token?,
            })
        }
    }
}

fn vault_target(r: &mut Reader<'_>, around: &Around<'_>, known: &Known<'_>) -> Option<TargetKind> {
    let insecure_loopback = endpoint::insecure_loopback(r);
    let expected = "a URL, such as \"https://vault.example:8200\"";
    let address = r.required::<url::Url>("address", expected);
    let address = address.filter(|url| endpoint::check(r, "address", url, insecure_loopback));
    let namespace: Option<String> = r.optional("namespace", "a namespace, such as \"team\"");
    let mount: Option<String> = r.optional("mount", "the mount of the JWT auth method, such as \"jwt\"");
    let audience: Option<Audience> =
        r.required("audience", "the audience of the Vault role, such as \"https://vault.example\"");
    let ca_file = endpoint::ca_file(r, around);
    let (shows_svid, spiffe_id) = spiffe(r, known);
    let allow_networks = endpoint::allow_networks(r);
    let mount = mount.unwrap_or_else(|| "jwt".to_owned());
    for (key, path) in [("mount", Some(&mount)), ("namespace", namespace.as_ref())] {
        if path.is_some_and(|path| !is_vault_path(path)) {
            let message = "a path in Vault has parts of letters, digits and _.-, joined by `/`, without one at either end";
            r.refuse(
                key,
                "bad_value",
                message,
                "write it as `vault auth list` shows it, without the last `/`",
            );
        }
    }
    Some(TargetKind::Vault(VaultTarget {
        address: address?,
        namespace,
        mount,
        audience: audience?.0,
        ca_file,
        shows_svid,
        spiffe_id,
        allow_networks,
        insecure_loopback,
    }))
}

/// Whether Tollgate shows its SVID, and the server's own SPIFFE ID.
fn spiffe(r: &mut Reader<'_>, known: &Known<'_>) -> (bool, Option<String>) {
    let shows_svid = workload::client_certificate(r, known.workload_api);
    let expected = "the server's SPIFFE ID, such as \"spiffe://acme.example/vault\"";
    let spiffe_id = workload::spiffe_id(r, "spiffe_id", expected);
    if spiffe_id.is_some() && !known.workload_api {
        workload::refuse(r, "spiffe_id");
    }
    if spiffe_id.is_some() && r.has("ca_file") {
        let message =
            "a server that is known by its SPIFFE ID is verified by its trust domain's bundle alone";
        r.refuse("ca_file", "two_places", message, "remove it, or spiffe_id");
    }
    (shows_svid, spiffe_id)
}

/// True for a path of Vault that cannot leave its place: no empty part, no `..`, nothing that a URL would change.
pub(super) fn is_vault_path(path: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(fits);
    path.len() <= 256 && path.split('/').all(part)
}

fn jwt_target(r: &mut Reader<'_>, _: &Around<'_>, known: &Known<'_>) -> Option<TargetKind> {
    let audience: Audience = r.required("audience", "the `aud` claim, such as \"https://api.example\"")?;
    let own = known.url.is_some_and(|url| {
        audience.0.strip_prefix(url.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    if own || audience.is_foreign() {
        let message = "a credential for this audience could pass for a token that Tollgate shows to a target";
        r.refuse("audience", "federation_audience", message, "name the service that will check the token");
        return None;
    }
    Some(TargetKind::Jwt(JwtTarget { audience: audience.0 }))
}

/// Refuses credentials that a target of federation would accept, and two such targets that one token would open.
pub(super) fn check_audiences(targets: &BTreeMap<TargetName, Option<Arc<Target>>>, problems: &mut Problems) {
    let present: Vec<_> = targets.values().flatten().collect();
    let federation = |target: &Target| match &target.kind {
        TargetKind::Aws(AwsTarget { access: AwsAccess::Federation { audience }, .. }) => {
            Some((audience.clone(), true))
        }
        TargetKind::Vault(vault) => Some((vault.audience.clone(), false)),
        TargetKind::Aws(_) | TargetKind::Jwt(_) => None,
    };
    let same = |one: &str, other: &str| one.trim_end_matches('/') == other.trim_end_matches('/');
    for (index, target) in present.iter().enumerate() {
        let mut refuse = |other: &Target, message: &str| {
            let path = Path::new("targets").join(format!("{}.toml", target.name));
            let message = format!("{message} `{}`", other.name);
            let problem = Problem::error(
                &path,
                "federation_audience",
                &message,
                "give each target an audience of its own",
            );
            problems.push(Problem { key: "audience".into(), ..problem });
        };
        if let TargetKind::Jwt(jwt) = &target.kind {
            let taken = |other: &Target| {
                federation(other).is_some_and(|(audience, _)| same(&audience, &jwt.audience))
            };
            if let Some(other) = present.iter().find(|other| taken(other)) {
                refuse(other, "callers would be handed tokens for the audience of the federation target");
            }
        }
        let Some((audience, aws)) = federation(target) else { continue };
        // Several AWS targets may share one: STS checks the role's own trust policy, on the token's subject.
        let taken = |other: &Target| {
            federation(other).is_some_and(|(taken, other_aws)| same(&taken, &audience) && !(aws && other_aws))
        };
        if let Some(other) = present.iter().take(index).find(|other| taken(other)) {
            refuse(other, "a federation token for this target would also open the target");
        }
    }
}
