//! A small disk that can really be full: a tmpfs in a mount namespace of its own, which goes with the test.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Mounts the disk and holds it until nobody writes to its standard input any more, and some seconds longer: whoever
/// ends what runs there has to enter first.
const HOLD: &str =
    r#"mount -t tmpfs -o "size=$2,mode=1777" tmpfs "$1" && echo mounted && cat > /dev/null; sleep 5"#;

/// A mounted disk.
pub(crate) struct Disk {
    folder: TempDir,
    holder: Child,
    is_root: bool,
}

impl Disk {
    /// One of so many bytes. Whoever is not root needs a kernel that gives everybody namespaces.
    pub(crate) fn of(bytes: u64) -> Self {
        let folder = tempfile::Builder::new().prefix("tollgate-disk").tempdir().unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let mut unshare = Command::new("unshare");
        unshare.arg(if is_root { "-m" } else { "-rm" }).args(["sh", "-c", HOLD, "hold"]);
        unshare.arg(folder.path()).arg(bytes.to_string());
        let mut holder = unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n", "no disk can be mounted here, neither as root nor in a user namespace");
        Self { folder, holder, is_root }
    }

    /// Where it is, for processes that entered.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The same file for whoever did not enter.
    pub(crate) fn seen(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.folder.path().strip_prefix("/").unwrap()).join(name)
    }

    /// What a command begins with so that its process enters.
    pub(crate) fn enter(&self) -> Vec<String> {
        let pid = self.holder.id().to_string();
        let as_root = ["nsenter", "-t", &pid, "-m", "--"];
        let as_other = ["nsenter", "-t", &pid, "-U", "-m", "--preserve-credentials", "--"];
        let words: &[&str] = if self.is_root { &as_root } else { &as_other };
        words.iter().map(ToString::to_string).collect()
    }

    /// The same, for a program that does not run as root: in a namespace of its own everybody is.
    pub(crate) fn enter_unprivileged(&self) -> Vec<String> {
        let mapped = ["unshare", "-U", "--map-user=65534", "--map-group=65534", "--"].map(ToOwned::to_owned);
        let more = if self.is_root { &[][..] } else { &mapped };
        [&self.enter(), more].concat()
    }

    /// Writes into the file `name` until nothing more fits on the disk.
    pub(crate) fn fill(&self, name: &str) {
        let mut file = File::create(self.seen(name)).unwrap();
        let mut size = 1 << 20;
        while size > 0 {
            match file.write(&vec![0xA5; size]) {
                Ok(written) => assert!(written > 0),
                Err(error) if error.kind() == ErrorKind::StorageFull => size /= 2,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Removes the file again.
    pub(crate) fn free(&self, name: &str) {
        std::fs::remove_file(self.seen(name)).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
