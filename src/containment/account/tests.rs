//! Which account a text means, and what is refused.

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
