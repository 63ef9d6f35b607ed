//! Administration of a running server over a Unix socket: reload, keys and blocks, for the user that runs it and for root.
//!
//! One JSON line in, one JSON line out. The kernel says who is at the other end (`SO_PEERCRED`); nothing else is asked.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::{BlockAnswer, BlockRequest, Core, KeyReport, StartError};
use crate::causes;
use crate::config::Settings;
use crate::ledger::Rewrapped;
use crate::signing::Purpose;

/// Largest message, bytes.
const MAX_MESSAGE: u64 = 4 * 1024 * 1024;
/// Longest one call may take.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Longest path of a Unix socket, bytes: `sun_path` of unix(7) holds 108 with the terminating zero.
const MAX_PATH: usize = 107;

/// What can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum AdminRequest {
    /// Read the configuration again.
    Reload,
    /// List the signing keys.
    ListKeys,
    /// Publish fresh keys of a purpose.
    RotateKeys {
        /// `federation`, `credentials` or `checkpoints`.
        purpose: String,
    },
    /// Revoke a signing key.
    RevokeKey {
        /// Its id.
        kid: String,
        /// If it is the one that signs: have another sign at once. Without this it is refused.
        rotate: bool,
    },
    /// Seal the store by the current key-encryption key.
    RewrapKeys,
    /// Something about blocks.
    Block(BlockRequest),
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum AdminAnswer {
    /// The configuration is in force.
    Reloaded {
        /// Its digest.
        revision: String,
    },
    /// The configuration has errors; the last good one stays in force.
    Problems {
        /// Each as `tollgate check` prints it.
        problems: Vec<String>,
    },
    /// The signing keys.
    Keys {
        /// All of them.
        keys: Vec<KeyReport>,
    },
    /// The store is sealed anew.
    Rewrapped {
        /// What was done, and what is left.
        rewrapped: Rewrapped,
    },
    /// Something about blocks.
    Block(Box<BlockAnswer>),
    /// It failed.
    Failed {
        /// Why.
        message: String,
    },
}

/// Where the server that uses this configuration listens for administration: where it says, or beside its SQLite file.
pub fn admin_socket(settings: &Settings) -> PathBuf {
    let beside = || {
        let mut path = settings.store.place.file().unwrap_or(Path::new("tollgate")).as_os_str().to_owned();
        path.push(".sock");
        path.into()
    };
    settings.server.admin_socket.clone().unwrap_or_else(beside)
}

/// The bound socket.
pub(super) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    owner: u32,
}

impl Listener {
    /// Binds `path`, mode 0600. A socket that a former process left behind is replaced: a file's lock has shown that no
    /// other server runs; beside a database, one that answers is left alone.
    pub(super) fn bind(path: &Path) -> Result<Self, StartError> {
        Self::bound(path).map_err(|source| StartError::Admin { path: path.to_owned(), source })
    }

    /// The socket is made in a private folder and moved when its mode is set: at no moment can another user open it.
    fn bound(path: &Path) -> io::Result<Self> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                if std::os::unix::net::UnixStream::connect(path).is_ok() {
                    return Err(io::Error::other("another server listens there"));
                }
            }
            Ok(_) => return Err(io::Error::other("there is a file that is not a socket")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let beside = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let private = tempfile::Builder::new()
            .prefix(".")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(beside)?;
        let made = private.path().join("s");
        let longest = path.as_os_str().len().max(made.as_os_str().len());
        if longest > MAX_PATH {
            return Err(io::Error::other(format!(
                "the path of a Unix socket has at most {MAX_PATH} bytes, and this takes {longest}: \
                 choose a shorter store.sqlite, or write server.admin_socket"
            )));
        }
        let socket = UnixListener::bind(&made)?;
        std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o600))?;
        let owner = std::fs::metadata(&made)?.uid();
        std::fs::rename(&made, path)?;
        Ok(Self { socket, path: path.to_owned(), owner })
    }

    /// Answers one caller at a time until `stop`.
    pub(super) async fn serve(self, core: Arc<Core>, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            let answered = match accepted {
                Ok((stream, _)) => {
                    let answering = tokio::time::timeout(TIMEOUT, self.answer(&core, stream));
                    // A caller that hangs does not hold up the stop.
                    let Some(answered) = stop.run_until_cancelled(answering).await else { break };
                    answered
                }
                Err(error) => {
                    tracing::warn!(%error, "the administration socket");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            match answered {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "an administration call broke off"),
                Err(_) => tracing::warn!("an administration call took too long"),
            }
        }
    }

    async fn answer(&self, core: &Core, stream: UnixStream) -> io::Result<()> {
        let uid = stream.peer_cred()?.uid();
        let allowed = may_administer(uid, self.owner);
        let (read, mut write) = stream.into_split();
        let answer = if allowed {
            let mut line = String::new();
            BufReader::new(read.take(MAX_MESSAGE)).read_line(&mut line).await?;
            match serde_json::from_str(&line) {
                Ok(request) => core.administer(request, uid).await,
                Err(error) => AdminAnswer::Failed { message: format!("not a request: {error}") },
            }
        } else {
            tracing::warn!(uid, "another user's call to the administration socket was refused");
            AdminAnswer::Failed { message: "only the server's own user and root may administer it".into() }
        };
        write.write_all(&line_of(&answer)?).await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Gone already: there is nothing left to do.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether the user at the other end may administer a server whose socket is `owner`'s.
const fn may_administer(uid: u32, owner: u32) -> bool {
    uid == owner || uid == 0
}

impl Core {
    async fn administer(&self, request: AdminRequest, uid: u32) -> AdminAnswer {
        let keys = match request {
            AdminRequest::Reload => {
                return match self.reload().await {
                    Ok(revision) => AdminAnswer::Reloaded { revision: revision.to_string() },
                    Err(problems) => {
                        AdminAnswer::Problems { problems: problems.iter().map(ToString::to_string).collect() }
                    }
                };
            }
            AdminRequest::RewrapKeys => {
                return match self.keys.rewrap().await {
                    Ok(rewrapped) => AdminAnswer::Rewrapped { rewrapped },
                    Err(error) => AdminAnswer::Failed { message: causes::in_full(&error) },
                };
            }
            AdminRequest::Block(request) => return self.administer_blocks(request, uid).await,
            AdminRequest::ListKeys => self.keys.list().await,
            AdminRequest::RotateKeys { purpose } => {
                match Purpose::ALL.iter().find(|known| known.as_str() == purpose) {
                    Some(purpose) => self.keys.rotate(*purpose).await,
                    None => return AdminAnswer::Failed { message: format!("no such purpose: {purpose}") },
                }
            }
            AdminRequest::RevokeKey { kid, rotate } => self.keys.revoke(&kid, rotate).await,
        };
        match keys {
            Ok(keys) => AdminAnswer::Keys { keys },
            Err(error) => AdminAnswer::Failed { message: causes::in_full(&error) },
        }
    }
}

/// Calls the server behind the socket at `path`.
///
/// # Errors
/// The socket's: `NotFound` or `ConnectionRefused` means that no server runs; `TimedOut`.
pub async fn call(path: &Path, request: &AdminRequest) -> io::Result<AdminAnswer> {
    tokio::time::timeout(TIMEOUT, ask(path, request)).await?
}

async fn ask(path: &Path, request: &AdminRequest) -> io::Result<AdminAnswer> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(&line_of(request)?).await?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_MESSAGE)).read_line(&mut line).await?;
    serde_json::from_str(&line).map_err(io::Error::other)
}

fn line_of(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_may_administer() {
        assert!(may_administer(1000, 1000));
        assert!(may_administer(0, 1000));
        assert!(!may_administer(1001, 1000));
        assert!(!may_administer(1000, 0));
    }

    #[tokio::test]
    async fn the_socket_is_private_replaces_a_stale_one_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.sock");
        let stale = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(stale);
        let listener = Listener::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the private folder is gone");
        assert!(UnixStream::connect(&path).await.is_ok());
        drop(listener);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.sock");
        std::fs::write(&path, "mine").unwrap();
        assert!(Listener::bind(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_says_what_to_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d".repeat(100)).join("l.sock");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        let error = Listener::bind(&path).err().unwrap();
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.contains("choose a shorter store.sqlite, or write server.admin_socket"), "{why}");
    }
}
