//! `[store]`.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::workload::Agent;
use super::{Around, secret, workload};
use crate::config::reader::{Field, Reader};
use crate::config::{PostgresPlace, StorePlace, StoreSettings};

/// How to write former key-encryption keys.
const FORMER: &str = r#"a list of secrets, such as [{ file = "../secrets/former-key" }]"#;
const FILE: &str = "a path, such as \"/var/lib/tollgate/tollgate.sqlite\"";
const DATABASE: &str =
    "{ url = \"postgres://tollgate@db.example/tollgate\", password = { file = \"path\" }, ca = \"ca.pem\" }";
const URL: &str = "the database, such as \"postgres://tollgate@db.example/tollgate\"";

/// Reads `[store]`; none without a place and a key.
pub(super) fn store(r: &mut Reader<'_>, around: &Around<'_>, agent: &Agent) -> Option<StoreSettings> {
    let place = place(r, around, agent);
    let current = r.need("key_encryption_key", secret::EXPECTED).and_then(|field| key(&field, around));
    let former = match r.get("previous_key_encryption_keys", FORMER) {
        Some(field) => field.items().and_then(|items| items.iter().map(|item| key(item, around)).collect()),
        None => Some(Vec::new()),
    };
    Some(StoreSettings { place: place?, key_encryption_key: current?, previous_key_encryption_keys: former? })
}

/// A key-encryption key.
fn key(field: &Field<'_>, around: &Around<'_>) -> Option<SecretString> {
    let key = secret::secret(field, around)?;
    let bytes = STANDARD.decode(key.expose_secret()).map(|bytes| bytes.len());
    if bytes == Ok(32) {
        return Some(key);
    }
    field.refuse("bad_key", "the key is not 32 bytes in base64", "make one with: openssl rand -base64 32");
    None
}

/// One of the two. No default: a database that nobody placed is a database that nobody backs up.
fn place(r: &mut Reader<'_>, around: &Around<'_>, agent: &Agent) -> Option<StorePlace> {
    let Some(database) = r.get("postgres", DATABASE) else {
        return Some(StorePlace::Sqlite(around.directory.join(r.required::<PathBuf>("sqlite", FILE)?)));
    };
    if r.get("sqlite", FILE).is_some() {
        let message = "a ledger is kept in one place";
        r.refuse(
            "sqlite",
            "two_stores",
            message,
            "remove `sqlite` or `postgres`; `tollgate store copy` moves it",
        );
        return None;
    }
    database.table(|r| postgres(r, around, agent)).flatten().map(StorePlace::Postgres)
}

fn postgres(r: &mut Reader<'_>, around: &Around<'_>, agent: &Agent) -> Option<PostgresPlace> {
    let url = r.need("url", URL).and_then(|field| url(&field));
    let password = r.get("password", secret::EXPECTED);
    let ca = r.optional::<PathBuf>("ca", "a path to a PEM certificate");
    let shows_svid = workload::client_certificate(r, agent.is_written());
    let pool = r.integer("pool", "a whole number", &(1..=100));
    let mut place = url?;
    if place.password.is_some() {
        if password.is_some() {
            r.refuse("password", "secret_places", "the URL has a password too", "remove it from the URL");
            return None;
        }
        let message = "the password itself is in this file: whoever reads the configuration has it";
        r.warn("url", "secret_in_file", message, &format!("write password = {}", secret::EXPECTED));
    }
    if let Some(field) = password {
        place.password = Some(secret::secret(&field, around)?);
    }
    place.ca = ca.map(|ca| around.directory.join(ca));
    if shows_svid {
        place.client_certificate = agent.settings();
    }
    if shows_svid && !place.is_encrypted() {
        let message = "a certificate is shown in TLS alone, and this connection has none";
        r.refuse(
            "client_certificate",
            "certificate_without_tls",
            message,
            "name the server's authority in ca",
        );
    }
    place.pool = pool.unwrap_or(place.pool);
    Some(place)
}

/// The URL, of which no message may show a part: it may hold a password.
fn url(field: &Field<'_>) -> Option<PostgresPlace> {
    let read = PostgresPlace::from_url(field.text()?);
    read.inspect_err(|error| field.refuse("bad_value", &error.to_string(), &format!("write {URL}"))).ok()
}
