//! A look at a bundle that lies beside the configuration. Identity reads it; here it is refused early.

use std::path::PathBuf;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

use super::Around;
use crate::config::files::read_capped;
use crate::config::reader::Reader;
use crate::config::{JWKS_LIMITS, MAX_BUNDLE_BYTES, MAX_JWKS_KEYS, jwks};
use crate::json;

/// The path of the bundle `file`, which can be read and holds something.
pub(super) fn file(r: &Reader<'_>, key: &str, file: PathBuf, around: &Around<'_>) -> Option<PathBuf> {
    let path = around.directory.join(file);
    let problem = match read_capped(&path, MAX_BUNDLE_BYTES) {
        Ok(bytes) if bytes.len() > MAX_BUNDLE_BYTES => format!("is larger than {MAX_BUNDLE_BYTES} bytes"),
        Ok(bytes) => match look(&bytes) {
            Ok(()) => return Some(path),
            Err(problem) => problem.to_owned(),
        },
        Err(error) => format!("cannot be read: {error}"),
    };
    let fix = "export it from the trust domain: spire-server bundle show -format spiffe";
    r.refuse(key, "bad_bundle", &format!("{} {problem}", path.display()), fix);
    None
}

fn look(bytes: &[u8]) -> Result<(), &'static str> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        let first = CertificateDer::pem_slice_iter(bytes).next();
        return if matches!(first, Some(Ok(_))) {
            Ok(())
        } else {
            Err("holds neither JSON nor a certificate in PEM")
        };
    }
    let document = json::object(bytes, JWKS_LIMITS).map_err(|_| "is no strict JSON object")?;
    let keys = document.get("keys").and_then(Value::as_array).ok_or("has no list `keys`")?;
    if keys.len() > MAX_JWKS_KEYS || !keys.iter().all(Value::is_object) {
        return Err("has too many keys, or keys that are no objects");
    }
    if keys.iter().any(jwks::is_secret) {
        return Err("holds a private or symmetric key; whoever reads it could sign tokens");
    }
    let known =
        |key: &Value| matches!(key.get("use").and_then(Value::as_str), Some("x509-svid" | "jwt-svid"));
    if keys.iter().any(known) { Ok(()) } else { Err("has no key for SVIDs: `use` is x509-svid or jwt-svid") }
}
