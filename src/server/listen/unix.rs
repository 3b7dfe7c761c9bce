//! A Unix socket in the file system.
//!
//! Invariants: a socket that somebody answers at is never taken away, nor anything that is no
//! socket; from its first instant only owner and group can connect; at the end only a socket that
//! is still our own is removed.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, fchmod};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::{BACKLOG, ListenError};
use crate::settings::service::Listen;

/// Who may connect, if nothing else is said: owner and group.
pub(super) const MODE: u32 = 0o660;

/// `sun_path` of unix(7), without its NUL.
const MAX_PATH: usize = 107;

/// A live process answers within this time, or its queue is full, which is an answer too.
const PATIENCE: Duration = Duration::from_secs(2);

/// The socket's file, removed in the end.
#[derive(Debug)]
pub(super) struct Entry {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Drop for Entry {
    fn drop(&mut self) {
        let own = |found: fs::Metadata| (found.dev(), found.ino()) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(own)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the socket could not be removed");
        }
    }
}

/// Listens at a path in a directory that is there.
pub(super) async fn bind(path: &Path, mode: u32) -> Result<(UnixListener, Entry), ListenError> {
    let failed = |error| ListenError::Io(Listen::Unix(path.into()), error);
    if path.as_os_str().len() > MAX_PATH {
        return Err(ListenError::TooLong(path.into()));
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    let directory =
        File::open(directory).map_err(|error| ListenError::Directory(directory.into(), error))?;
    // Of two that start at once, the second one finds the first one's socket alive.
    directory.lock().map_err(failed)?;
    make_way(path).await?;
    let socket = UnixSocket::new_stream().map_err(failed)?;
    // On Linux the file gets the socket's own mode, less the umask; then what that took is given.
    fchmod(&socket, Mode::from_raw_mode(mode)).map_err(|error| failed(error.into()))?;
    socket.bind(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
    let found = fs::symlink_metadata(path).map_err(failed)?;
    let entry = Entry { path: path.into(), identity: (found.dev(), found.ino()) };
    Ok((socket.listen(BACKLOG).map_err(failed)?, entry))
}

/// Removes a socket that a process left behind when it was killed.
async fn make_way(path: &Path) -> Result<(), ListenError> {
    let address = || Listen::Unix(path.into());
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ListenError::Io(address(), error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::Occupied(path.into()));
        }
        Ok(_) => {}
    }
    match tokio::time::timeout(PATIENCE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| ListenError::Io(address(), error))
        }
        Ok(Err(error)) if error.kind() == ErrorKind::PermissionDenied => Err(ListenError::Io(
            address(),
            io::Error::new(error.kind(), "not this account's socket"),
        )),
        _ => Err(ListenError::InUse(address())),
    }
}
