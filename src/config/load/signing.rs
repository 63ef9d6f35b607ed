//! `[signing.<purpose>]`.

use std::path::PathBuf;

use http::HeaderValue;
use secrecy::ExposeSecret;

use super::target::is_vault_path;
use super::{Around, endpoint, secret};
use crate::config::reader::Reader;
use crate::config::{KmsSettings, SigningSettings, TransitSettings};

/// How to write a KMS.
const EXPECTED: &str =
    "{ kind = \"vault-transit\", address = \"…\", key = \"…\", token = { file = \"path\" } }";

/// An entry that cannot be read: its keys must not be made in the store instead.
struct Broken;

type Read = fn(&mut Reader<'_>, &Around<'_>) -> Option<KmsSettings>;

/// Reads `[signing]`; none if an entry is broken.
pub(super) fn signing(r: &mut Reader<'_>, around: &Around<'_>) -> Option<SigningSettings> {
    let mut of = |purpose| r.section(purpose, "a table", |r| kms(r, around)).unwrap_or(Err(Broken));
    let (federation, credentials, checkpoints) = (of("federation"), of("credentials"), of("checkpoints"));
    Some(SigningSettings {
        federation: federation.ok()?,
        credentials: credentials.ok()?,
        checkpoints: checkpoints.ok()?,
    })
}

/// The purpose's KMS, if it has one.
fn kms(r: &mut Reader<'_>, around: &Around<'_>) -> Result<Option<KmsSettings>, Broken> {
    match r.get("kms", EXPECTED) {
        Some(field) => field.table(|r| kind(r, around)).flatten().map(Some).ok_or(Broken),
        None => Ok(None),
    }
}

fn kind(r: &mut Reader<'_>, around: &Around<'_>) -> Option<KmsSettings> {
    let kinds: [(&str, Read); 1] = [("vault-transit", transit)];
    let kind = r.need("kind", "\"vault-transit\"").and_then(|field| field.choice(&kinds));
    let Some(read) = kind else {
        r.ignore_the_rest();
        return None;
    };
    read(r, around)
}

fn transit(r: &mut Reader<'_>, around: &Around<'_>) -> Option<KmsSettings> {
    let insecure_loopback = endpoint::insecure_loopback(r);
    let address = r.required::<url::Url>("address", "a URL, such as \"https://bao.example:8200\"");
    let address = address.filter(|url| endpoint::check(r, "address", url, insecure_loopback));
    let namespace: Option<String> = r.optional("namespace", "a namespace, such as \"team\"");
    let mount: Option<String> = r.optional("mount", "the mount of the transit engine, such as \"transit\"");
    let mount = mount.unwrap_or_else(|| "transit".to_owned());
    let key: Option<String> =
        r.required("key", "the name of the transit key, such as \"tollgate-federation\"");
    let token = r.need("token", secret::EXPECTED).and_then(|field| secret::secret(&field, around));
    let ca_file: Option<PathBuf> = r.optional("ca_file", "a path to PEM certificates");
    let allow_networks = endpoint::allow_networks(r);
    let mut fits = true;
    for (name, path) in [("namespace", namespace.as_ref()), ("mount", Some(&mount)), ("key", key.as_ref())] {
        let one_part = name != "key" || path.is_none_or(|path| !path.contains('/'));
        if !path.is_none_or(|path| is_vault_path(path)) || !one_part {
            let message =
                "a name in OpenBao has letters, digits and _.-, in mounts and namespaces joined by `/`";
            r.refuse(name, "bad_value", message, "write it as OpenBao lists it, without a `/` at either end");
            fits = false;
        }
    }
    let token = token.filter(|token| {
        let fits = HeaderValue::from_str(token.expose_secret()).is_ok();
        if !fits {
            let message = "the secret holds a character that no header can carry, such as a newline";
            r.refuse("token", "header_value", message, "store the token without line breaks");
        }
        fits
    });
    let transit = TransitSettings {
        address: address?,
        namespace,
        mount,
        key: key?,
        token: token?,
        ca_file: ca_file.map(|path| around.directory.join(path)),
        allow_networks,
        insecure_loopback,
    };
    fits.then_some(KmsSettings::Transit(transit))
}
