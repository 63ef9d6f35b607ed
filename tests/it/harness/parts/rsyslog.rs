//! A real rsyslog that takes syslog over TLS from senders with a certificate of its authority.

use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

use super::{Part, installed, program};
use crate::harness::site::free_port;

/// A receiver, running or not.
pub(crate) struct Rsyslog {
    pub(crate) port: u16,
    folder: TempDir,
    running: Option<Part>,
}

impl Rsyslog {
    /// Starts a receiver with an authority of its own, and makes a sender's certificate.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let mut receiver = Self { port: free_port(), folder, running: None };
        std::fs::write(receiver.path("rsyslog.conf"), receiver.settings()).unwrap();
        receiver.again().await;
        receiver
    }

    /// Starts it again.
    pub(crate) async fn again(&mut self) {
        let libraries = installed("debian/usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
        let mut command = Command::new(program("rsyslogd"));
        command.arg("-n").arg("-f").arg(self.path("rsyslog.conf")).arg("-i").arg(self.path("pid"));
        command.arg("-M").arg(libraries.join("rsyslog")).env("LD_LIBRARY_PATH", &libraries);
        self.running = Some(Part::start(&mut command, self.port).await);
    }

    /// Tells it to write what it has taken, and to end.
    pub(crate) fn stop(&mut self) {
        self.running.take().unwrap().end();
    }

    /// A file of the receiver or for its senders: `ca.pem`, `sender.pem`, `sender.key`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The messages so far, in the order in which they came; a line that is being written is left out.
    pub(crate) fn messages(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("messages")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn settings(&self) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        let fields = [
            ("pri", "pri"),
            ("host", "hostname"),
            ("app", "app-name"),
            ("procid", "procid"),
            ("msgid", "msgid"),
            ("data", "structured-data"),
            ("msg", "msg"),
        ]
        .map(|(name, property)| {
            format!("  property(outname=\"{name}\" name=\"{property}\" format=\"jsonf\")\n")
        });
        format!(
            "global(workDirectory=\"{}\" maxMessageSize=\"64k\" defaultNetstreamDriver=\"gtls\"\n\
             defaultNetstreamDriverCAFile=\"{}\" defaultNetstreamDriverCertFile=\"{}\"\n\
             defaultNetstreamDriverKeyFile=\"{}\")\n\
             module(load=\"imtcp\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\"\n\
             streamDriver.authMode=\"x509/certvalid\")\n\
             input(type=\"imtcp\" port=\"{}\" address=\"127.0.0.1\")\n\
             template(name=\"fields\" type=\"list\" option.jsonf=\"on\") {{\n{}}}\n\
             action(type=\"omfile\" file=\"{}\" template=\"fields\")\n",
            self.folder.path().display(),
            path("ca.pem"),
            path("receiver.pem"),
            path("receiver.key"),
            self.port,
            fields.concat(),
            path("messages"),
        )
    }
}

/// An authority, the receiver's certificate for 127.0.0.1, and a sender's.
fn certificates(folder: &Path) {
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority of a test");
    std::fs::write(folder.join("ca.pem"), params.self_signed(&authority).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, authority);
    for name in ["receiver", "sender"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}
