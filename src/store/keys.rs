//! Key files: who may read them, and how they are made.
//!
//! Invariants: a private key is never written but to a file that only its owner can read, from
//! its first byte; a key file that others can read is refused, not used with a warning; a key
//! file appears whole or not at all.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use zeroize::Zeroizing;

use super::seal::{KeyId, PrivateKey, PublicKey};

/// The largest key file: a few keys and comments.
const MAX_FILE: u64 = 64 * 1024;

/// What is wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error(
        "there is no key file {}; restore it from its copy or name it with --key: without its key \
         a store is lost", .0.display()
    )]
    Missing(PathBuf),
    /// There is no public one.
    #[error(
        "there is no public key file {}; `qgis-secrets key public` prints the key where the private \
         one is", .0.display()
    )]
    NoPublic(PathBuf),
    /// Another process is about to change it.
    #[error("another process is rotating the key {}; let it finish", .0.display())]
    Busy(PathBuf),
    /// Others could read it.
    #[error("{} can be read by others (mode {:04o}); run: chmod 600 {}", .0.display(), .1, .0.display())]
    Readable(PathBuf, u32),
    /// Somebody else owns it, and could change it.
    #[error("{} belongs to the user with id {}, not to you or root; run: chown {} {}", .0.display(), .1, .2, .0.display())]
    Owner(PathBuf, u32, u32),
    /// Not a key file.
    #[error("{}, line {}: {}", .0.display(), .1, .2)]
    Content(PathBuf, usize, &'static str),
    /// It is there already.
    #[error("{} exists already; `qgis-secrets key rotate` replaces a key without losing secrets", .0.display())]
    Exists(PathBuf),
    /// Any other fault of the file system.
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
}

/// The private keys of one key file: the current one, then those being rotated out.
#[derive(Debug)]
pub struct Keyring {
    keys: Vec<PrivateKey>,
}

impl Keyring {
    /// A ring of one new key.
    pub fn generate() -> Self {
        Self { keys: vec![PrivateKey::generate()] }
    }

    /// Reads a key file: one key a line, the current one first; `#` begins a comment.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = read_private(path)?;
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = PrivateKey::parse(line).map_err(|_| {
                KeyError::Content(path.into(), index + 1, "not a private key of qgis-secrets")
            })?;
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(KeyError::Content(path.into(), 1, "the file holds no key"));
        }
        Ok(Self { keys })
    }

    /// The key that new values are sealed to.
    pub fn current(&self) -> &PrivateKey {
        &self.keys[0]
    }

    /// The keys being rotated out.
    pub fn older(&self) -> &[PrivateKey] {
        &self.keys[1..]
    }

    /// The key that a row names.
    pub fn find(&self, id: &KeyId) -> Option<&PrivateKey> {
        self.keys.iter().find(|key| key.public().id() == id)
    }

    /// Puts a new key in front.
    pub fn advance(&mut self) {
        self.keys.insert(0, PrivateKey::generate());
    }

    /// Drops all but the current key.
    pub fn retire(&mut self) {
        self.keys.truncate(1);
    }

    /// Writes a new key file, 0600 in a directory that is made 0700; an existing one is refused.
    pub fn create(&self, path: &Path) -> Result<(), KeyError> {
        let _lock = DirectoryLock::wait(path, TEMPORARY)?;
        let file = self.write_beside(path)?;
        file.persist_noclobber(path).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => KeyError::Exists(path.into()),
            _ => KeyError::Io(path.into(), error.error),
        })?;
        sync_directory(path)
    }

    /// Replaces a key file in one step: a reader sees the old one or the new one.
    ///
    /// `_lock` is on the file's directory: of two that read, advance and replace at the same time,
    /// one would drop the other's new key, and with it all that was sealed to it.
    pub fn replace(&self, path: &Path, _lock: &DirectoryLock) -> Result<(), KeyError> {
        let file = self.write_beside(path)?;
        file.persist(path).map_err(|error| KeyError::Io(path.into(), error.error))?;
        sync_directory(path)
    }

    fn write_beside(&self, path: &Path) -> Result<tempfile::NamedTempFile, KeyError> {
        let io = |error| KeyError::Io(path.into(), error);
        let directory = private_directory(path)?;
        // 0600 from its creation: tempfile's own default.
        let mut file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(directory)
            .map_err(io)?;
        file.write_all(
            b"# Private key of qgis-secrets. Who can read this file can open every secret that is\n\
              # sealed to it. Keep a copy apart from the store's: without the key the store is lost.\n",
        )
        .map_err(io)?;
        for key in &self.keys {
            file.write_all(key.to_text().as_bytes()).map_err(io)?;
            file.write_all(b"\n").map_err(io)?;
        }
        file.as_file().sync_all().map_err(io)?;
        Ok(file)
    }
}

/// Reads a public key: a file that holds `qgis-secrets-public-x25519-…`, comments apart.
pub fn read_public(path: &Path) -> Result<PublicKey, KeyError> {
    let text = fs::read_to_string(path).map_err(|error| match at(path, error) {
        KeyError::Missing(path) => KeyError::NoPublic(path),
        error => error,
    })?;
    let (index, line) = text
        .lines()
        .enumerate()
        .find(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .unwrap_or((0, ""));
    PublicKey::parse(line.trim())
        .map_err(|_| KeyError::Content(path.into(), index + 1, "not a public key of qgis-secrets"))
}

/// Refuses what others can read or somebody else owns. `metadata` is of the opened file.
///
/// One thing more is fine: a file of root's that a group may only read, which is how Kubernetes
/// mounts a secret for a container that isn't root (`fsGroup`).
pub fn check_private(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyError> {
    let mode = metadata.mode() & 0o7777;
    let me = geteuid().as_raw();
    let mounted = metadata.uid() == 0 && me != 0 && mode & 0o337 == 0;
    if mode & 0o077 != 0 && !mounted {
        return Err(KeyError::Readable(path.into(), mode));
    }
    if metadata.uid() != me && metadata.uid() != 0 {
        return Err(KeyError::Owner(path.into(), metadata.uid(), me));
    }
    Ok(())
}

/// Makes the directory of `path` 0700 if it isn't there, and returns it.
pub fn private_directory(path: &Path) -> Result<&Path, KeyError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| KeyError::Io(directory.into(), error))?;
    Ok(directory)
}

/// The beginning of the names of key files that are not finished yet.
const TEMPORARY: &str = ".qgis-secrets-key-";

/// Held by the one process that may make or replace files of a directory. Ends with the process.
#[derive(Debug)]
pub struct DirectoryLock {
    _directory: File,
}

impl DirectoryLock {
    /// Waits for the lock on the directory of `path`, and takes away what a process that died
    /// left behind: files whose names begin with `temporary`.
    pub fn wait(path: &Path, temporary: &str) -> Result<Self, KeyError> {
        let directory = Self::open(path)?;
        directory.lock().map_err(|error| KeyError::Io(path.into(), error))?;
        Self::sweep(path, temporary)?;
        Ok(Self { _directory: directory })
    }

    /// Takes the lock for a rotation, or says that there is one going on.
    pub fn try_for_rotation(path: &Path) -> Result<Self, KeyError> {
        // Before a directory is made for a key that isn't there.
        fs::metadata(path).map_err(|error| at(path, error))?;
        let directory = Self::open(path)?;
        match directory.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(KeyError::Busy(path.into())),
            Err(TryLockError::Error(error)) => return Err(KeyError::Io(path.into(), error)),
        }
        Self::sweep(path, TEMPORARY)?;
        Ok(Self { _directory: directory })
    }

    fn open(path: &Path) -> Result<File, KeyError> {
        File::open(private_directory(path)?).map_err(|error| KeyError::Io(path.into(), error))
    }

    fn sweep(path: &Path, temporary: &str) -> Result<(), KeyError> {
        let io = |error| KeyError::Io(path.into(), error);
        for entry in fs::read_dir(private_directory(path)?).map_err(io)? {
            let entry = entry.map_err(io)?;
            if entry.file_name().as_encoded_bytes().starts_with(temporary.as_bytes()) {
                fs::remove_file(entry.path()).map_err(io)?;
            }
        }
        Ok(())
    }
}

pub(super) fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let io = |error| at(path, error);
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(KeyError::Content(path.into(), 1, "not a regular file"));
    }
    check_private(path, &metadata)?;
    if metadata.len() > MAX_FILE {
        return Err(KeyError::Content(path.into(), 1, "too large to be a key file"));
    }
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize));
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => KeyError::Content(path.into(), 1, "not text"),
        _ => io(error),
    })?;
    Ok(text)
}

fn at(path: &Path, error: io::Error) -> KeyError {
    match error.kind() {
        io::ErrorKind::NotFound => KeyError::Missing(path.into()),
        _ => KeyError::Io(path.into(), error),
    }
}

/// A rename is on the disk when its directory is.
pub(super) fn sync_directory(path: &Path) -> Result<(), KeyError> {
    let io = |error| KeyError::Io(path.into(), error);
    let directory = private_directory(path)?;
    File::open(directory).map_err(io)?.sync_all().map_err(io)
}
