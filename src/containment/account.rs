//! Who the job runs as.
//!
//! Invariant: an account is complete (user, primary group, supplementary groups, home) or refused;
//! nothing is guessed, and a word that is not understood is never passed over.
//!
//! The two files are read here and not by getpwnam(3): the program is linked statically, and
//! libc's name services would load modules of another libc and crash.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// An account, as `setgroups(2)`, `setresgid(2)` and `setresuid(2)` need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The login name; none when the number is not in `/etc/passwd`.
    pub name: Option<String>,
    /// The user's number; never 4294967295.
    pub uid: u32,
    /// The primary group's number; never 4294967295.
    pub gid: u32,
    /// The supplementary groups, in the order in which they were found, without repetition and
    /// without `gid`.
    pub groups: Vec<u32>,
    /// The home directory, absolute; `/` when `/etc/passwd` names none.
    pub home: PathBuf,
}

impl Account {
    /// Whether it may search every directory on the way to `path`, and that one, as far as the
    /// modes say.
    pub(super) fn reaches(&self, path: &Path) -> bool {
        let open = |directory: &Path| fs::metadata(directory).is_ok_and(|at| self.searches(&at));
        self.uid == 0 || fs::canonicalize(path).is_ok_and(|path| path.ancestors().all(open))
    }

    fn searches(&self, directory: &fs::Metadata) -> bool {
        let bit = if directory.uid() == self.uid {
            0o100
        } else if directory.gid() == self.gid || self.groups.contains(&directory.gid()) {
            0o010
        } else {
            0o001
        };
        directory.mode() & bit != 0
    }
}

/// Why there is no such account. Each message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownAccount {
    /// Not of the form `user` or `user:group[,group…]`.
    #[error(
        "`containment.run_as` is `{0}`; write it as user, as user:group, or as user:group,group"
    )]
    Form(String),
    /// Neither a name nor a number of a user.
    #[error(
        "the user `{0}` of `containment.run_as` is not in /etc/passwd; name one that is, or give \
         numbers, as in 1000:1000"
    )]
    User(String),
    /// A number whose group is not known.
    #[error(
        "the user {0} of `containment.run_as` is not in /etc/passwd, so that its group is not \
         known; give the group too, as in {0}:{0}"
    )]
    NoGroup(u32),
    /// Neither a name nor a number of a group.
    #[error(
        "the group `{0}` of `containment.run_as` is not in /etc/group; name one that is, or give \
         its number, as in 1000:1000"
    )]
    Group(String),
    /// `(uid_t) -1`, which means "leave it as it is" to setresuid(2).
    #[error(
        "`{0}` of `containment.run_as` stands for 4294967295, which the kernel takes for \"no \
         change\"; choose another"
    )]
    Reserved(String),
    /// A file that is there and cannot be read.
    #[error("{0} is needed for `containment.run_as` and cannot be read: {1}")]
    Unreadable(&'static str, String),
}

/// Finds the account that `spec` means in `/etc/passwd` and `/etc/group`: passwd(5), group(5).
///
/// A file that is not there counts as empty: numbers need none. The grammar is that of
/// [`resolve`].
pub fn look_up(spec: &str) -> Result<Account, UnknownAccount> {
    resolve(spec, &read(PASSWD)?, &read(GROUP)?)
}

fn read(file: &'static str) -> Result<String, UnknownAccount> {
    match fs::read(file) {
        // The comment field may be in any encoding; names that matter are plain.
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(UnknownAccount::Unreadable(file, error.to_string())),
    }
}

/// Finds the account that `spec` means, given the text of `/etc/passwd` and of `/etc/group`.
///
/// `user` takes the primary group from `passwd` and, as initgroups(3) does, every group that lists
/// the user as a member. `user:group[,group…]` takes the first group for the primary one and the
/// others for the supplementary ones; what the files say about membership does not count. Each
/// word is looked up as a name first and then read as a decimal number, as chown(1) does. A number
/// that `passwd` doesn't know needs a group, and has the home `/`. Malformed lines are skipped.
pub fn resolve(spec: &str, passwd: &str, group: &str) -> Result<Account, UnknownAccount> {
    let (user, wanted) = match spec.split_once(':') {
        None => (spec, None),
        Some((user, groups)) => (user, Some(groups.split(',').collect::<Vec<_>>())),
    };
    let stray = |word: &str| word.is_empty() || word.contains([':', ',']) || word.trim() != word;
    if stray(user) || wanted.iter().flatten().any(|word| stray(word)) {
        return Err(UnknownAccount::Form(spec.into()));
    }
    let users = || passwd.lines().filter_map(User::parse);
    let entry = users().find(|entry| entry.name == user).or_else(|| {
        let uid = number(user)?;
        users().find(|entry| entry.uid == uid)
    });
    let uid = match &entry {
        Some(entry) => entry.uid,
        None => number(user).ok_or_else(|| UnknownAccount::User(user.into()))?,
    };
    let uid = usable(uid, user)?;
    let (gid, mut groups) = match (wanted, &entry) {
        (Some(wanted), _) => {
            let mut gids = wanted.into_iter().map(|word| group_number(word, group));
            let first = gids.next().ok_or_else(|| UnknownAccount::Form(spec.into()))??;
            (first, gids.collect::<Result<Vec<_>, _>>()?)
        }
        (None, Some(entry)) => {
            let listed = group.lines().filter_map(Group::parse);
            let listed = listed.filter(|group| group.members.contains(&entry.name));
            let groups =
                listed.map(|group| usable(group.gid, group.name)).collect::<Result<_, _>>()?;
            (usable(entry.gid, user)?, groups)
        }
        (None, None) => return Err(UnknownAccount::NoGroup(uid)),
    };
    let mut seen = vec![gid];
    groups.retain(|gid| {
        let new = !seen.contains(gid);
        seen.push(*gid);
        new
    });
    let home = entry.as_ref().map(|entry| Path::new(entry.home)).filter(|home| home.is_absolute());
    Ok(Account {
        name: entry.as_ref().map(|entry| entry.name.into()),
        uid,
        gid,
        groups,
        home: home.unwrap_or(Path::new("/")).into(),
    })
}

fn group_number(word: &str, group: &str) -> Result<u32, UnknownAccount> {
    let named = group.lines().filter_map(Group::parse).find(|group| group.name == word);
    let gid = named.map(|group| group.gid).or_else(|| number(word));
    usable(gid.ok_or_else(|| UnknownAccount::Group(word.into()))?, word)
}

fn usable(number: u32, word: &str) -> Result<u32, UnknownAccount> {
    if number == u32::MAX { Err(UnknownAccount::Reserved(word.into())) } else { Ok(number) }
}

/// Digits only: `parse` alone would take a `+`.
fn number(word: &str) -> Option<u32> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten()
}

/// A line of passwd(5): `name:password:uid:gid:comment:home:shell`.
struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> User<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| is_name(name))?;
        let (uid, gid) = (number(fields.nth(1)?)?, number(fields.next()?)?);
        Some(Self { name, uid, gid, home: fields.nth(1)? })
    }
}

/// A line of group(5): `name:password:gid:member,member`.
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: Vec<&'a str>,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| is_name(name))?;
        let gid = number(fields.nth(1)?)?;
        Some(Self { name, gid, members: fields.next().unwrap_or_default().split(',').collect() })
    }
}

/// No comment, and no entry of the compatibility mode of nsswitch.conf(5) (`+name`, `-name`).
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['#', '+', '-'])
}

#[cfg(test)]
mod tests;
