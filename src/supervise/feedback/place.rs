//! Where the feedback file is, and what happens to it there.
//!
//! Invariants: the job may own the directory and all in it, and the runner may be root: no link of
//! the job's is followed, and only a name in that one directory is changed; a file from before the
//! run is there again if the run left nothing in its place.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use nix::libc;
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::{Deserialize, Serialize};

/// The begin of a workspace's name, in which a link of ours leads.
const WORKSPACE: &str = "qgis-secrets-";

/// What set-group-ID on a directory says: files in it get its group.
const SETGID: u32 = 0o2000;

/// Facts about a promised file. Another process can go on with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its directory, without links.
    pub(super) directory: PathBuf,
    pub(super) name: PathBuf,
    /// What was there when the job began.
    pub(super) before: Option<Stamp>,
    /// Where the link leads that stands there while the job runs.
    pub(super) link: Option<PathBuf>,
}

/// Tells whether a file was written since: the kernel moves the change time with every write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    inode: (u64, u64),
    changed: (i64, i64),
    length: u64,
}

/// What stands at the place.
pub(super) enum Found {
    /// Nothing, or what stood there before.
    Nothing,
    /// The link, as it was made.
    Link,
    /// A file of this run.
    File(Metadata),
    /// A link, pipe, device or directory.
    Other,
}

/// Whose owner and mode a new file gets.
pub(super) struct Model {
    pub(super) like: Metadata,
    /// It was made in another directory.
    pub(super) elsewhere: bool,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            length: metadata.len(),
        }
    }
}

impl Place {
    /// Looks at it before the job starts, and takes back what a killed runner left there.
    pub(super) fn new(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().into();
        let directory = resolved(path.parent().unwrap_or(path));
        let mut place = Self { directory, name, before: None, link: None };
        if let Ok(at) = place.open() {
            let left = fs::read_link(at.file());
            if let Ok(link) = left.as_deref()
                && is_ours(link)
                && let Err(error) = at.withdraw()
            {
                tracing::warn!(%error, "the link of a killed run is still at the feedback's place");
            }
        }
        place.look();
        place
    }

    /// Remembers what is there now.
    pub(super) fn look(&mut self) {
        let there = self.open().and_then(|at| fs::symlink_metadata(at.file()));
        self.before = there.ok().map(|metadata| Stamp::of(&metadata));
    }

    /// The file's name in its directory.
    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// The directory itself: nobody can put another in its place then.
    pub(super) fn open(&self) -> io::Result<At<'_>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory = openat(CWD, c"/", flags, Mode::empty())?;
        for component in self.directory.components() {
            if let Component::Normal(name) = component {
                directory = openat(&directory, name, flags, Mode::empty())?;
            }
        }
        // By the descriptor: proc_pid_fd(5).
        let base = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        Ok(At { place: self, base, directory })
    }
}

/// The place with its directory open.
pub(super) struct At<'a> {
    place: &'a Place,
    base: PathBuf,
    directory: OwnedFd,
}

impl At<'_> {
    pub(super) fn place(&self) -> &Place {
        self.place
    }

    fn file(&self) -> PathBuf {
        self.base.join(&self.place.name)
    }

    /// Where a file from before waits. One that a killed runner left there was superseded.
    fn aside(&self) -> PathBuf {
        let mut name = std::ffi::OsString::from(".");
        name.push(&self.place.name);
        name.push(".qgis-secrets");
        self.base.join(name)
    }

    /// What stands there after the job.
    pub(super) fn found(&self) -> io::Result<Found> {
        let metadata = match fs::symlink_metadata(self.file()) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        Ok(if self.place.before.as_ref() == Some(&Stamp::of(&metadata)) && metadata.is_file() {
            Found::Nothing
        } else if metadata.is_file() {
            Found::File(metadata)
        } else if self.place.link.is_some() && fs::read_link(self.file()).ok() == self.place.link {
            Found::Link
        } else {
            Found::Other
        })
    }

    /// Puts the link there, and what there was aside. `owner`: who the job runs as, if not as the
    /// runner; proc_sys_fs(5), `protected_symlinks`, lets nobody else follow it in a `/tmp`.
    /// Returns what was put aside.
    pub(super) fn put_link(
        &self,
        target: &Path,
        owner: Option<(u32, u32)>,
    ) -> io::Result<Option<Metadata>> {
        let there = fs::symlink_metadata(self.file()).ok();
        match there.as_ref().map(Metadata::is_file) {
            Some(true) => fs::rename(self.file(), self.aside())?,
            Some(false) => return Err(io::Error::other("it is a link, a pipe or a directory")),
            None => {}
        }
        let linked = symlink(target, self.file()).and_then(|()| {
            owner.map_or(Ok(()), |(uid, gid)| lchown(self.file(), Some(uid), Some(gid)))
        });
        match linked {
            Ok(()) => Ok(there),
            Err(error) => self.withdraw().and(Err(error)),
        }
    }

    /// Takes the link away, and puts back what was there before it.
    pub(super) fn withdraw(&self) -> io::Result<()> {
        let ours = fs::read_link(self.file()).is_ok_and(|link| is_ours(&link));
        let nothing = fs::symlink_metadata(self.file()).is_err();
        if (ours || nothing) && fs::symlink_metadata(self.aside()).is_ok_and(|file| file.is_file())
        {
            return fs::rename(self.aside(), self.file());
        }
        if ours { fs::remove_file(self.file()) } else { Ok(()) }
    }

    /// Removes what was kept aside: something of this run stands in its place.
    pub(super) fn forget(&self) -> io::Result<()> {
        match fs::remove_file(self.aside()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The job's file, to be read; nothing is followed, nothing waited for.
    pub(super) fn read(&self) -> io::Result<File> {
        read(&self.file())
    }

    /// Removes the file.
    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_file(self.file())
    }

    /// Puts a new file there in one step, with the owner and the mode of `model`.
    pub(super) fn replace(
        &self,
        Model { like, elsewhere }: &Model,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut new = tempfile::Builder::new().prefix(".feedback-").tempfile_in(&self.base)?;
        write(new.as_file_mut())?;
        let made = new.as_file().metadata()?;
        // As it would be, had the job made it here.
        let gid = if *elsewhere && self.gives_its_group() { made.gid() } else { like.gid() };
        if (made.uid(), made.gid()) != (like.uid(), gid) {
            fchown(new.as_file(), Some(like.uid()), Some(gid))?;
        }
        new.as_file().set_permissions(Permissions::from_mode(like.mode() & 0o777))?;
        new.persist(self.file()).map(drop).map_err(|error| error.error)
    }

    fn gives_its_group(&self) -> bool {
        rustix::fs::statat(self.directory.as_fd(), c"", rustix::fs::AtFlags::EMPTY_PATH)
            .is_ok_and(|directory| directory.st_mode & SETGID != 0)
    }
}

/// Writes over a file where its directory takes no new one. Nobody else's by a second name.
pub(super) fn overwrite(file: &File, text: &[u8]) -> io::Result<()> {
    if file.metadata()?.nlink() != 1 {
        return Err(io::Error::other("it has more than one name"));
    }
    // The same file, whatever has its name by now.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut file = OpenOptions::new().write(true).open(path)?;
    let written = file.write_all(text);
    file.set_len(written.as_ref().map_or(0, |()| text.len() as u64))?;
    written
}

/// A file to be read, itself and no link's target; no pipe is waited for.
pub(super) fn read(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Without links, as far as it is there: the job may make the rest.
fn resolved(directory: &Path) -> PathBuf {
    directory
        .ancestors()
        .find_map(|there| {
            Some(fs::canonicalize(there).ok()?.join(directory.strip_prefix(there).ok()?))
        })
        .unwrap_or_else(|| directory.into())
}

/// Whether a link leads into a workspace, as those do that are made here.
fn is_ours(link: &Path) -> bool {
    let workspace = link.parent().and_then(Path::parent).and_then(Path::file_name);
    workspace.and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(WORKSPACE))
}
