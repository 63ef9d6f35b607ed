//! `issuers/*.toml` of a SPIFFE trust domain: `profile = "spiffe"`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use url::Url;

use super::audience::Audience;
use super::issuer::{Taken, possession, require, tenant, times, trust_word};
use super::known::Known;
use super::{Around, bundle, endpoint, rule, runner, workload};
use crate::config::attributes::RESERVED_IDENTITY_KEYS;
use crate::config::reader::{Field, Reader};
use crate::config::{
    Algorithm, AttributeRule, BundleSource, EndpointServer, Issuer, KeySource, PathTemplate, Profile,
};
use crate::domain::{AttributeName, IssuerName, IssuerUrl};

/// What the specification allows (JWT-SVID, section 2.1) and Tollgate verifies.
const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Es256,
    Algorithm::Es384,
];

/// Most forms of paths: each is tried for each identity.
const MAX_PATHS: usize = 16;

const BUNDLE: &str =
    r#"{ workload_api = true }, { file = "path" }, or { endpoint = "https://…", profile = "https_web" }"#;

/// Reads one trust domain.
pub(super) fn spiffe(
    name: &IssuerName,
    r: &mut Reader<'_>,
    around: &Around<'_>,
    known: &Known<'_>,
    taken: &mut Taken,
) -> Option<Issuer> {
    let url = trust_domain(r);
    let audience: Option<Audience> =
        r.required("audience", "Tollgate's own audience in JWT-SVIDs, such as \"https://tollgate.example\"");
    let insecure_loopback = endpoint::insecure_loopback(r);
    let allow_networks = endpoint::allow_networks(r);
    let ca_file = endpoint::ca_file(r, around);
    let keys = r.need("bundle", BUNDLE).and_then(|field| {
        field.table(|r| source(r, around, known, url.as_ref(), insecure_loopback)).flatten()
    });
    let paths = paths(r);
    let require = require(r);
    let tenant = tenant(r, known.tenant.as_ref());
    let of_paths: Vec<AttributeName> = paths.iter().flat_map(PathTemplate::attributes).cloned().collect();
    let profile = Profile::Spiffe { paths, trust: trust_word(r) };
    let attributes: BTreeMap<AttributeName, AttributeRule> =
        r.map("attributes", "a table, such as [attributes]", |name, field| {
            rule::check_name(name, profile.attributes(), RESERVED_IDENTITY_KEYS, &field);
            rule::rule(&field)
        });
    let given = |name: &str| {
        let mut own = attributes.keys().chain(&of_paths);
        name == "subject" || profile.attributes().contains(&name) || own.any(|own| own.as_str() == name)
    };
    let runner = runner::of_issuer(r, given);
    let (replay, max_age, skew) = times(r);
    if require.is_empty() && !r.has("paths") {
        let message = "every workload of the trust domain is admitted";
        let fix = "write paths = [\"/ns/{namespace}/sa/{service_account}\"], which also gives attributes, or require";
        r.warn("", "spiffe_any_workload", message, fix);
    }
    if let Some(audience) = audience.as_ref().filter(|audience| audience.is_foreign()) {
        let message =
            format!("`{}` is another service's audience: a token shown there works here", audience.0);
        r.refuse("audience", "foreign_audience", &message, "choose one of Tollgate's own, such as its URL");
    }
    if let Some(url) = &url {
        check_once(r, name, url, taken);
    }
    Some(Issuer {
        name: name.clone(),
        url: url?,
        audience: audience?.0,
        audience_list: false,
        profile,
        keys: KeySource::Bundle(keys?),
        algorithms: ALGORITHMS.to_vec(),
        require,
        tenant: tenant?,
        attributes,
        possession: possession(r),
        replay,
        max_age,
        skew,
        security_events: None,
        runner: runner.ok()?,
        ca_file,
        allow_networks,
        insecure_loopback,
    })
}

fn trust_domain(r: &mut Reader<'_>) -> Option<IssuerUrl> {
    let expected = "the trust domain's name, such as \"acme.example\"";
    let name: String = r.required("trust_domain", expected)?;
    let url = format!("spiffe://{name}").parse();
    url.inspect_err(|error: &crate::domain::InvalidIssuerUrl| {
        r.refuse("trust_domain", "bad_trust_domain", &error.to_string(), &format!("write {expected}"));
    })
    .ok()
}

/// A certificate names no audience: its trust domain alone selects the entry.
fn check_once(r: &Reader<'_>, name: &IssuerName, url: &IssuerUrl, taken: &mut Taken) {
    let owner = taken.entry((url.clone(), String::new())).or_insert_with(|| name.clone());
    if owner != name {
        let message = format!("the entry `{owner}` is of the same trust domain; it selects one entry");
        r.refuse("trust_domain", "issuer_twice", &message, "merge them: paths has several forms");
    }
}

fn paths(r: &mut Reader<'_>) -> Vec<PathTemplate> {
    let expected = "a list of forms, such as [\"/ns/{namespace}/sa/{service_account}\"]";
    let Some(field) = r.get("paths", expected) else { return Vec::new() };
    let items = field.items().unwrap_or_default();
    if field.is_list() && !(1..=MAX_PATHS).contains(&items.len()) {
        let message = format!("there are 1 to {MAX_PATHS} forms of paths; with none, nobody is admitted");
        field.refuse("bad_paths", &message, "list the forms of the workloads that are ours");
    }
    items.iter().filter_map(path).collect()
}

fn path(field: &Field<'_>) -> Option<PathTemplate> {
    let template: PathTemplate = field.parse()?;
    let given = Profile::Spiffe { paths: Vec::new(), trust: crate::domain::Trust::Unknown };
    for name in template.attributes() {
        rule::check_name(name, given.attributes(), RESERVED_IDENTITY_KEYS, field);
        if name.as_str() == "sub" {
            field.refuse(
                "attribute_origin",
                "this is the SPIFFE ID itself",
                "give the attribute another name",
            );
        }
    }
    Some(template)
}

fn source(
    r: &mut Reader<'_>,
    around: &Around<'_>,
    known: &Known<'_>,
    domain: Option<&IssuerUrl>,
    insecure_loopback: bool,
) -> Option<BundleSource> {
    if workload::wanted(r, known.workload_api) {
        workload::alone(r, &["endpoint", "file"], "the bundle comes from exactly one place");
        return Some(BundleSource::WorkloadApi);
    }
    let endpoint =
        endpoint::url(r, "endpoint", "a URL, such as \"https://acme.example/bundle\"", insecure_loopback);
    if r.has("endpoint") {
        let server = server(r, around, domain, endpoint.as_ref());
        return Some(BundleSource::Endpoint { url: endpoint?, server: server? });
    }
    let file: PathBuf = r.required("file", "a path to a SPIFFE bundle document, or to PEM certificates")?;
    bundle::file(r, "file", file, around).map(BundleSource::File)
}

fn server(
    r: &mut Reader<'_>,
    around: &Around<'_>,
    domain: Option<&IssuerUrl>,
    endpoint: Option<&Url>,
) -> Option<EndpointServer> {
    let words = [("https_web", false), ("https_spiffe", true)];
    let expected = "\"https_web\" or \"https_spiffe\"";
    if !r.need("profile", expected)?.choice(&words)? {
        return Some(EndpointServer::Web);
    }
    let id: Option<String> = r.required(
        "endpoint_spiffe_id",
        "the endpoint's SPIFFE ID, such as \"spiffe://acme.example/spire/server\"",
    );
    let first: Option<PathBuf> =
        r.required("file", "the bundle to begin with, as the trust domain's operator gave it");
    if endpoint.is_some_and(|url| url.scheme() != "https") {
        let message = "https_spiffe proves the endpoint by its certificate, which plain http has not";
        r.refuse("endpoint", "url_insecure", message, "serve it over https");
    }
    let first = first.and_then(|file| bundle::file(r, "file", file, around));
    let (id, domain) = (id?, domain?);
    let own = id.strip_prefix(domain.as_str()).is_some_and(|path| path.starts_with('/'));
    if !own {
        let message = "the endpoint's SPIFFE ID is not of this trust domain, whose bundle verifies it";
        r.refuse("endpoint_spiffe_id", "endpoint_domain", message, &format!("write {domain}/…"));
    }
    Some(EndpointServer::Spiffe { id, first: first? }).filter(|_| own)
}
