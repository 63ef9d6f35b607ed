//! `[webhooks.<name>]`.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::source::is_pointer;
use super::{Around, endpoint, secret};
use crate::config::reader::{Field, Reader};
use crate::config::{AllowedClients, Webhook, WebhookAuth};
use crate::domain::{BlockKind, BlockTime};
use crate::net::ClientName;

/// Shortest secret, bytes: as long as the hash (RFC 2104, section 3).
const MIN_SECRET: usize = 32;

/// Reads what goes with one way of proving who one is.
type Way = fn(&mut Reader<'_>, &Around<'_>) -> Option<WebhookAuth>;

/// How to write the names of clients.
const NAMES: &str = "a list of names, such as [\"dns:siem.example\"]";

/// How to write the subjects.
const SUBJECTS: &str = "{ repository = \"/fields/repository_id\" }";

/// Reads one webhook.
pub(super) fn webhook(name: &str, r: &mut Reader<'_>, around: &Around<'_>) -> Option<Webhook> {
    let auth = auth(r, around);
    let subjects = r
        .need("subjects", SUBJECTS)
        .map(|field| field.entries(|kind: &BlockKind, field| subject(*kind, &field)))
        .unwrap_or_default();
    if subjects.is_empty() && r.has("subjects") {
        let message = "the webhook may block nothing";
        r.refuse("subjects", "no_subjects", message, &format!("write {SUBJECTS}"));
    }
    let reason = match r.get("reason", "a JSON pointer, such as \"/output\"") {
        Some(field) => pointer(&field).map(Some),
        None => Some(None),
    };
    let tenant = match r.get("tenant", "a tenant's name") {
        Some(field) => field.parse().map(Some),
        None => Some(None),
    };
    let range = Duration::from_mins(1)..=BlockTime::MAX;
    let duration = r.need("duration", "\"4h\"").and_then(|field| field.duration(&range));
    Some(Webhook {
        name: name.to_owned(),
        auth: auth?,
        subjects,
        reason: reason?,
        duration: duration?,
        tenant: tenant?,
    })
}

/// `auth`, and the keys that go with it; those of another way are unknown.
fn auth(r: &mut Reader<'_>, around: &Around<'_>) -> Option<WebhookAuth> {
    let words: [(_, Way); 3] = [
        ("hmac", |r, around| long_secret(r, around).map(WebhookAuth::Hmac)),
        ("bearer", |r, around| {
            let message = "whoever reads one alert can send any: the secret goes over the wire, and nothing else is signed";
            r.warn("auth", "webhook_bearer", message, "write auth = \"hmac\" if the sender can sign");
            long_secret(r, around).map(WebhookAuth::Bearer)
        }),
        ("mtls", |r, around| clients(r, around).map(WebhookAuth::Certificate)),
    ];
    let [(_, hmac), ..] = words;
    let way = r.choice("auth", "\"hmac\", \"bearer\" or \"mtls\"", &words).unwrap_or(hmac);
    way(r, around)
}

fn long_secret(r: &mut Reader<'_>, around: &Around<'_>) -> Option<SecretString> {
    let secret = r.need("secret", secret::EXPECTED).and_then(|field| secret::secret(&field, around));
    secret.filter(|secret| is_long(r, secret))
}

fn clients(r: &mut Reader<'_>, around: &Around<'_>) -> Option<AllowedClients> {
    let authorities = endpoint::client_authorities(r, around);
    let fix = "write names = [\"dns:siem.example\"], or the URI of its certificate, such as uri:spiffe://…";
    let names: Vec<ClientName> = r.list("names", NAMES).unwrap_or_default();
    if names.is_empty() {
        r.refuse("names", "no_names", "no certificate would do", fix);
    }
    Some(AllowedClients { authorities: authorities?, names: names.into_iter().collect() })
        .filter(|clients| !clients.names.is_empty())
}

fn subject(kind: BlockKind, field: &Field<'_>) -> Option<String> {
    if kind == BlockKind::Everything {
        let message = "an alert does not block everything: whoever forges one stops the company";
        field.refuse("webhook_everything", message, "let it block a tenant at most, and people the rest");
        return None;
    }
    pointer(field)
}

fn pointer(field: &Field<'_>) -> Option<String> {
    let pointer = field.text()?;
    if !is_pointer(pointer) {
        let fix = "write one, such as /output_fields/k8s.ns.name";
        field.refuse("bad_pointer", "this is not a JSON pointer", fix);
        return None;
    }
    Some(pointer.to_owned())
}

fn is_long(r: &Reader<'_>, secret: &SecretString) -> bool {
    let fits = secret.expose_secret().len() >= MIN_SECRET;
    if !fits {
        let message = format!("a webhook's secret has at least {MIN_SECRET} bytes");
        r.refuse("secret", "secret_short", &message, "make one with: openssl rand -base64 32");
    }
    fits
}
