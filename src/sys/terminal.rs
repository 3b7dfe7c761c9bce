//! The runner's terminal, and the pseudo-terminal that the job gets in its place.
//!
//! Invariants: the runner's terminal is changed by one process only, the outer one, which belongs
//! to its session and can tell whether it may; what was changed is put back when its [`Real`] is
//! dropped; no descriptor of it is made one that doesn't block.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::unistd::getpgrp;
use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::process::{Pid, ioctl_tiocsctty};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{
    OptionalActions, OutputModes, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetpgrp,
    tcgetwinsize, tcsetattr, tcsetpgrp, tcsetwinsize,
};

use super::errno::of_rustix as errno;

/// What the inner process tells the outer one about the job's terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The job runs.
    Started,
    /// It waits for what is typed.
    Wanted,
    /// It was stopped, by the signal of this number.
    Stopped(u8),
    /// It has ended: nothing more is typed for it.
    Ended,
    /// All that it wrote has been shown.
    Shown,
}

/// What the outer process says to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The job has the terminal, and goes on.
    Foreground,
    /// It goes on without.
    Background,
    /// The terminal is as it was.
    Restored,
}

impl Word {
    fn byte(self) -> u8 {
        match self {
            Self::Stopped(signal) => signal,
            Self::Started => b's',
            Self::Wanted => b'w',
            Self::Ended => b'e',
            Self::Shown => b'x',
        }
    }

    fn of(byte: u8) -> Self {
        match byte {
            b's' => Self::Started,
            b'w' => Self::Wanted,
            b'e' => Self::Ended,
            b'x' => Self::Shown,
            signal => Self::Stopped(signal),
        }
    }
}

impl Answer {
    /// From the wire.
    pub fn of(byte: u8) -> Option<Self> {
        match byte {
            b'f' => Some(Self::Foreground),
            b'b' => Some(Self::Background),
            b'r' => Some(Self::Restored),
            _ => None,
        }
    }
}

/// Where the runner stands with its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// What is typed is for it.
    Foreground,
    /// It is for somebody else.
    Background,
    /// It isn't the terminal of the runner's session: nobody can tell.
    Elsewhere,
}

/// The runner's own terminal, as the outer process has it.
#[derive(Debug)]
pub struct Real {
    fd: OwnedFd,
    before: Termios,
    changed: bool,
}

impl Real {
    /// Whether this process may use it.
    pub fn standing(&self) -> Standing {
        match tcgetpgrp(&self.fd) {
            Ok(group) if group.as_raw_nonzero().get() == getpgrp().as_raw() => Standing::Foreground,
            Ok(_) | Err(rustix::io::Errno::OPNOTSUPP) => Standing::Background,
            Err(_) => Standing::Elsewhere,
        }
    }

    /// Every byte as it is typed, and as it is written: the job's terminal does the rest. A read
    /// returns what there is, and never waits.
    pub fn raw(&mut self) -> Result<(), Errno> {
        let mut raw = self.before.clone();
        raw.make_raw();
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        self.set(&raw)?;
        self.changed = true;
        Ok(())
    }

    /// What is typed is no longer for the job; what it wrote may still come.
    pub fn stop_typing(&mut self) {
        if self.changed && self.standing() != Standing::Background {
            let mut shows = self.before.clone();
            shows.output_modes.remove(OutputModes::OPOST);
            self.set(&shows).unwrap_or_default();
        }
    }

    /// As it was, unless it is somebody else's by now.
    pub fn restore(&mut self) {
        if std::mem::take(&mut self.changed) && self.standing() != Standing::Background {
            // A terminal that has gone needs nothing.
            self.set(&self.before).unwrap_or_default();
        }
    }

    fn set(&self, to: &Termios) -> Result<(), Errno> {
        tcsetattr(&self.fd, OptionalActions::Now, to).map_err(errno)
    }

    /// What was typed. Nothing if nothing was, or if somebody else took it.
    pub fn read(&self, typed: &mut [u8]) -> Result<usize, Errno> {
        nix::unistd::read(&self.fd, typed)
    }
}

impl AsFd for Real {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.restore();
    }
}

/// The runner's side of the job's terminal. Doesn't block.
#[derive(Debug)]
pub struct Pty(OwnedFd);

impl Pty {
    /// A new one with the modes and the size of the real one.
    fn like(real: &Real) -> Result<Self, Errno> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
        let master = master.map_err(errno)?;
        grantpt(&master).and_then(|()| unlockpt(&master)).map_err(errno)?;
        fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).map_err(errno)?;
        tcsetattr(&master, OptionalActions::Now, &real.before).map_err(errno)?;
        let pty = Self(master);
        pty.resize(real);
        Ok(pty)
    }

    /// Takes the size of the real one over. Whoever is in the foreground there hears of a change.
    pub fn resize(&self, real: &Real) {
        // A terminal without a size has none to pass on.
        let size = tcgetwinsize(real).map_err(errno);
        size.and_then(|size| tcsetwinsize(&self.0, size).map_err(errno)).unwrap_or_default();
    }

    /// The job's side: ioctl_tty(2), TIOCGPTPEER, or by its name before Linux 4.13.
    pub fn slave(&self) -> Result<OwnedFd, Errno> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        ioctl_tiocgptpeer(&self.0, flags)
            .or_else(|_| {
                let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
                open(ptsname(&self.0, Vec::new())?.as_c_str(), flags, Mode::empty())
            })
            .map_err(errno)
    }

    /// Types something.
    pub fn write(&self, typed: &[u8]) -> Result<usize, Errno> {
        nix::unistd::write(&self.0, typed)
    }

    /// Another descriptor of the same.
    pub fn try_clone(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes `slave` the terminal of the calling process's session.
pub fn control(slave: &OwnedFd) -> Result<(), Errno> {
    ioctl_tiocsctty(slave).map_err(errno)
}

/// Gives a terminal of the caller's session to a process group of it. The caller's own group may be
/// in the background; then SIGTTOU has to be blocked: tcsetpgrp(3).
pub fn give_to_group(terminal: &OwnedFd, group: nix::unistd::Pid) -> Result<(), Errno> {
    let group = Pid::from_raw(group.as_raw()).ok_or(Errno::EINVAL)?;
    tcsetpgrp(terminal, group).map_err(errno)
}

/// What both processes of the runner have of a run on a terminal, from before they are divided.
#[derive(Debug)]
pub struct Pair {
    /// The runner's terminal.
    pub real: Real,
    /// The job's.
    pub pty: Pty,
    /// Which of descriptors 0 to 2 are the runner's terminal. One of 1 and 2 is.
    pub standard: [bool; 3],
    /// Whether the job has the terminal from its start.
    pub foreground: bool,
    outer: UnixStream,
    inner: UnixStream,
}

/// The inner process's part.
#[derive(Debug)]
pub struct Line {
    /// The job's terminal.
    pub pty: Pty,
    /// See [`Pair`].
    pub standard: [bool; 3],
    /// See [`Pair`].
    pub foreground: bool,
    /// To the outer process; doesn't block.
    pub outer: UnixStream,
}

impl Pair {
    /// `None` if neither standard output nor standard error is a terminal, or there is no
    /// pseudo-terminal to be had: then the job gets pipes, as it does anywhere else.
    pub fn open() -> Option<Self> {
        let standard = [stdin(), stdout(), stderr()];
        let out = [standard[1], standard[2]].into_iter().find(|fd| isatty(fd))?;
        let status = |fd: BorrowedFd<'_>| File::from(fd.try_clone_to_owned()?).metadata();
        let device = status(out).ok()?.rdev();
        let same = |fd: BorrowedFd<'_>| {
            isatty(fd) && status(fd).is_ok_and(|status| status.rdev() == device)
        };
        let is = standard.map(same);
        let fd = if is[0] {
            standard[0].try_clone_to_owned().ok()?
        } else {
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let own = tcgetpgrp(out).ok().and_then(|_| open("/dev/tty", flags, Mode::empty()).ok());
            own.or_else(|| out.try_clone_to_owned().ok())?
        };
        let before = tcgetattr(&fd).ok()?;
        let real = Real { fd, before, changed: false };
        let pty = Pty::like(&real).ok()?;
        // Who stands behind a pipe may read the terminal as well, as less does.
        let piped = status(standard[1]).is_ok_and(|status| {
            let kind = status.file_type();
            kind.is_fifo() || kind.is_socket()
        });
        let foreground = is[0] && !piped && real.standing() == Standing::Foreground;
        let (outer, inner) = UnixStream::pair().ok()?;
        outer.set_nonblocking(true).and_then(|()| inner.set_nonblocking(true)).ok()?;
        Some(Self { real, pty, standard: is, foreground, outer, inner })
    }

    /// Leaves the runner's terminal to the outer process.
    pub fn into_line(self) -> Line {
        let Self { pty, standard, foreground, inner, .. } = self;
        Line { pty, standard, foreground, outer: inner }
    }

    /// The outer process's end of the line.
    pub fn inner(&self) -> BorrowedFd<'_> {
        self.outer.as_fd()
    }

    /// What the inner process said, if it said something.
    pub fn hear(&self) -> Option<Word> {
        let mut byte = [0];
        let heard = (&self.outer).read(&mut byte);
        heard.is_ok_and(|count| count == 1).then(|| Word::of(byte[0]))
    }

    /// Answers. An inner process that has gone needs no answer.
    pub fn say(&self, answer: Answer) {
        let byte = match answer {
            Answer::Foreground => b'f',
            Answer::Background => b'b',
            Answer::Restored => b'r',
        };
        drop((&self.outer).write(&[byte]));
    }
}

/// Tells the outer process. One that has gone needs no word.
pub fn tell(outer: &impl AsFd, word: Word) {
    // Full, it holds more words than any outer process reads late.
    nix::unistd::write(outer, &[word.byte()]).map(drop).unwrap_or_default();
}
