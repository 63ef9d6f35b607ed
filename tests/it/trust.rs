//! Whom TLS connections trust.

use crate::harness::{Server, Site, process};

/// The program asks a broker whose certificate no platform knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s_14_trust_comes_from_no_variable_of_other_programs() {
    let site = Site::of_process(&[]).await;
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    site.write("tls.crt", &certified.cert.pem());
    site.write("tls.key", &certified.signing_key.serialize_pem());
    let tls = "tls = { certificate = \"../tls.crt\", key = \"../tls.key\" }\n\n[store]";
    site.write("config/tollgate.toml", &site.settings("").replace("[store]", tls));
    site.write("token", &site.token());
    let _server = Server::start(&site.config(), "");

    let (url, token) = (site.url.replace("http:", "https:"), site.path("token"));
    let whoami = |variable: &str| {
        let mut command = process::tollgate();
        command.env(variable, site.path("tls.crt")).args(["whoami", "--url", &url, "--audience", &site.url]);
        command.arg("--token-from").arg(format!("file:{}", token.display())).output().unwrap()
    };
    for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        let refused = whoami(variable);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(69), "{variable}: {said}");
    }
    let trusted = whoami("TOLLGATE_CA_FILE");
    assert!(trusted.status.success(), "{trusted:?}");
}
