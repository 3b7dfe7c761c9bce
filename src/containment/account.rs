//! Who the job runs as.
//!
//! Invariant: an account is complete (user, primary group, supplementary groups, home) or refused;
//! nothing is guessed, and a word that is not understood is never passed over.
//!
//! The two files are read here and not by getpwnam(3): the program is linked statically, and
//! libc's name services would load modules of another libc and crash.

use std::fs;
use std::io;
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
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        # a comment:x:7:7::/:\n\
        broken\n\
        +nis:x:8:8::/nis:/bin/sh\n\
        short:x:9:9\n\
        text:x:ten:10::/text:/bin/sh\n\
        plus:x:+11:11::/plus:/bin/sh\n\
        qgis:x:1000:100:Q, G:/home/qgis:/bin/sh\n\
        1000:x:2000:200::/home/digits:/bin/sh\n\
        homeless:x:3000:300:::/bin/sh\n\
        relative:x:3001:300::here:/bin/sh\n\
        noshell:x:3002:300::/n:\n\
        twin:x:1000:300::/twin:/bin/sh\n\
        minus:x:4294967295:1::/:/bin/sh\n\
        nogroup:x:5000:4294967295::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\n\
        broken\n\
        users:x:100:qgis,other\n\
        gis:x:101:other,qgis\n\
        postgres:x:102:other\n\
        again:x:101:qgis\n\
        44:x:144:\n\
        bare:x:103\n\
        qgisx:x:104:qgisx\n\
        last:x:4294967295:homeless\n";

    fn account(name: Option<&str>, uid: u32, gid: u32, groups: &[u32], home: &str) -> Account {
        Account { name: name.map(Into::into), uid, gid, groups: groups.into(), home: home.into() }
    }

    #[test]
    fn accounts_are_found() {
        for (spec, expected) in [
            // The primary group is listed too, and one number has two names: each counts once.
            ("qgis", account(Some("qgis"), 1000, 100, &[101], "/home/qgis")),
            ("root", account(Some("root"), 0, 0, &[], "/root")),
            // A name before a number.
            ("1000", account(Some("1000"), 2000, 200, &[], "/home/digits")),
            ("2000", account(Some("1000"), 2000, 200, &[], "/home/digits")),
            ("0", account(Some("root"), 0, 0, &[], "/root")),
            ("relative", account(Some("relative"), 3001, 300, &[], "/")),
            ("noshell", account(Some("noshell"), 3002, 300, &[], "/n")),
            // A group that is given ends all membership.
            ("qgis:postgres", account(Some("qgis"), 1000, 102, &[], "/home/qgis")),
            (
                "qgis:postgres,users,7,users,102",
                account(Some("qgis"), 1000, 102, &[100, 7], "/home/qgis"),
            ),
            ("qgis:44", account(Some("qgis"), 1000, 144, &[], "/home/qgis")),
            ("qgis:bare", account(Some("qgis"), 1000, 103, &[], "/home/qgis")),
            ("homeless:0", account(Some("homeless"), 3000, 0, &[], "/")),
            // Numbers that nobody knows.
            ("65534:65534", account(None, 65534, 65534, &[], "/")),
            ("4294967294:1,2", account(None, 4_294_967_294, 1, &[2], "/")),
        ] {
            assert_eq!(resolve(spec, PASSWD, GROUP), Ok(expected), "{spec}");
        }
        let bare = resolve("1000:1000", "", "");
        assert_eq!(bare, Ok(account(None, 1000, 1000, &[], "/")), "no files at all");
    }

    #[test]
    fn the_rest_is_refused_by_the_word() {
        let form = |spec: &str| UnknownAccount::Form(spec.into());
        let user = |word: &str| UnknownAccount::User(word.into());
        let group = |word: &str| UnknownAccount::Group(word.into());
        let reserved = |word: &str| UnknownAccount::Reserved(word.into());
        for (spec, expected) in [
            ("", form("")),
            (":", form(":")),
            ("qgis:", form("qgis:")),
            (":users", form(":users")),
            ("qgis:users,", form("qgis:users,")),
            ("qgis:users,,gis", form("qgis:users,,gis")),
            ("qgis:users:gis", form("qgis:users:gis")),
            ("qgis,users", form("qgis,users")),
            (" qgis", form(" qgis")),
            ("qgis:users, gis", form("qgis:users, gis")),
            ("nobody", user("nobody")),
            ("nobody:users", user("nobody")),
            ("QGIS", user("QGIS")),
            ("+1000", user("+1000")),
            ("-1", user("-1")),
            ("4294967296:1", user("4294967296")),
            ("broken", user("broken")),
            ("short", user("short")),
            ("text", user("text")),
            ("plus", user("plus")),
            ("+nis", user("+nis")),
            ("7000", UnknownAccount::NoGroup(7000)),
            ("qgis:nobody", group("nobody")),
            ("qgis:users,nobody", group("nobody")),
            ("qgis:broken", group("broken")),
            ("4294967295:1", reserved("4294967295")),
            ("1:4294967295", reserved("4294967295")),
            ("1:1,4294967295", reserved("4294967295")),
            ("minus", reserved("minus")),
            ("nogroup", reserved("nogroup")),
            ("homeless", reserved("last")),
        ] {
            assert_eq!(resolve(spec, PASSWD, GROUP), Err(expected), "{spec}");
        }
    }

    #[test]
    fn messages_say_what_to_do() {
        let message = |spec: &str| resolve(spec, PASSWD, GROUP).unwrap_err().to_string();
        assert_eq!(
            message("x"),
            "the user `x` of `containment.run_as` is not in /etc/passwd; name one that is, or \
             give numbers, as in 1000:1000",
        );
        assert!(message("7000").ends_with("give the group too, as in 7000:7000"));
    }

    #[test]
    fn the_machine_knows_its_superuser() {
        let root = look_up("0:0").unwrap();
        assert_eq!((root.uid, root.gid, root.groups), (0, 0, vec![]));
    }
}
