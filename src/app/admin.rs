//! Administration of a running server over a Unix socket: reload and keys, for the user that runs it and for root.
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

use super::{Core, KeyReport, StartError};
use crate::config::Settings;
use crate::signing::Purpose;

/// Largest message, bytes.
const MAX_MESSAGE: u64 = 4 * 1024 * 1024;
/// Longest one call may take.
const TIMEOUT: Duration = Duration::from_mins(1);

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
    /// It failed.
    Failed {
        /// Why.
        message: String,
    },
}

/// Where the server that uses this configuration listens for administration: beside its store.
pub fn admin_socket(settings: &Settings) -> PathBuf {
    let mut path = settings.store.sqlite.clone().into_os_string();
    path.push(".sock");
    path.into()
}

/// The bound socket.
pub(super) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    owner: u32,
}

impl Listener {
    /// Binds `path`, mode 0600. A socket that a former process left behind is replaced; the store's lock has shown that
    /// no other server runs.
    pub(super) fn bind(path: &Path) -> Result<Self, StartError> {
        let failed = |source| StartError::Admin { path: path.to_owned(), source };
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path).map_err(failed)?,
            Ok(_) => return Err(failed(io::Error::other("there is a file that is not a socket"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let owner = std::fs::metadata(path).map_err(failed)?.uid();
        Ok(Self { socket: listener, path: path.to_owned(), owner })
    }

    /// Answers one caller at a time until `stop`.
    pub(super) async fn serve(self, core: Arc<Core>, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            let answered = match accepted {
                Ok((stream, _)) => tokio::time::timeout(TIMEOUT, self.answer(&core, stream)).await,
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
        // Gone already, or somebody else's: either way there is nothing left to do.
        let _ = std::fs::remove_file(&self.path);
    }

    async fn answer(&self, core: &Core, stream: UnixStream) -> io::Result<()> {
        let uid = stream.peer_cred()?.uid();
        let (read, mut write) = stream.into_split();
        let answer = if uid == self.owner || uid == 0 {
            let mut line = String::new();
            BufReader::new(read.take(MAX_MESSAGE)).read_line(&mut line).await?;
            match serde_json::from_str(&line) {
                Ok(request) => core.administer(request).await,
                Err(error) => AdminAnswer::Failed { message: format!("not a request: {error}") },
            }
        } else {
            tracing::warn!(uid, "another user's call to the administration socket was refused");
            AdminAnswer::Failed { message: "only the server's own user and root may administer it".into() }
        };
        write.write_all(&line_of(&answer)?).await
    }
}

impl Core {
    async fn administer(&self, request: AdminRequest) -> AdminAnswer {
        let keys = match request {
            AdminRequest::Reload => {
                return match self.reload().await {
                    Ok(revision) => AdminAnswer::Reloaded { revision: revision.to_string() },
                    Err(problems) => {
                        AdminAnswer::Problems { problems: problems.iter().map(ToString::to_string).collect() }
                    }
                };
            }
            AdminRequest::ListKeys => self.keys.list().await,
            AdminRequest::RotateKeys { purpose } => {
                match Purpose::ALL.iter().find(|known| known.as_str() == purpose) {
                    Some(purpose) => self.keys.rotate(*purpose).await,
                    None => return AdminAnswer::Failed { message: format!("no such purpose: {purpose}") },
                }
            }
        };
        match keys {
            Ok(keys) => AdminAnswer::Keys { keys },
            Err(error) => AdminAnswer::Failed { message: error.to_string() },
        }
    }
}

/// Calls the server behind the socket at `path`.
///
/// # Errors
/// The socket's: `NotFound` or `ConnectionRefused` means that no server runs.
pub async fn call(path: &Path, request: &AdminRequest) -> io::Result<AdminAnswer> {
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
