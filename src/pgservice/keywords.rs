//! The keywords of libpq's service file: the union of versions 12 to 19.
//!
//! Invariant: whatever is handed on is a name from [`TABLE`], never the text that was looked up.

use zeroize::Zeroizing;

use super::rejected::Reason;

/// A connection parameter of libpq's.
#[derive(Debug)]
pub(super) struct Keyword {
    /// As `PQconninfoOptions` in `fe-connect.c` spells it.
    pub(super) name: &'static str,
    /// The first major version that knows it; 12 stands for "12 or earlier".
    pub(super) since: u16,
    /// The first major version that refuses it again.
    pub(super) removed: Option<u16>,
    kind: Holds,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Holds {
    Plain,
    /// What must not be seen.
    Password,
    /// The path of what libpq reads or writes.
    Path,
}

impl Keyword {
    /// Whether libpq reads or writes a file of this name.
    pub(super) fn names_file(&self) -> bool {
        self.kind == Holds::Path
    }
}

/// Whether the keyword's value has to be masked. Keywords that libpq doesn't know are not.
pub fn is_password_like(keyword: &str) -> bool {
    known(keyword).is_some_and(|known| known.kind == Holds::Password)
}

/// The table's row for a key, spelled exactly as libpq wants it.
pub(super) fn find(key: &str) -> Result<&'static Keyword, Reason> {
    if let Some(known) = known(key) {
        return Ok(known);
    }
    // parseServiceFile compares the first four bytes of the line and no more.
    if key.starts_with("ldap") {
        return Err(Reason::Ldap);
    }
    if key == "service" || key == "servicefile" {
        return Err(Reason::NestedService);
    }
    Err(Reason::UnknownKey { similar: similar(key) })
}

/// The table's row, if there is one.
pub(super) fn known(key: &str) -> Option<&'static Keyword> {
    TABLE.iter().find(|known| known.name == key)
}

/// What other tools, and people, call it.
const ALIASES: [(&str, &str); 19] = [
    ("addr", "hostaddr"),
    ("address", "host"),
    ("appname", "application_name"),
    ("database", "dbname"),
    ("db", "dbname"),
    ("encoding", "client_encoding"),
    ("hostname", "host"),
    ("ip", "hostaddr"),
    ("login", "user"),
    ("pass", "password"),
    ("pgpassfile", "passfile"),
    ("pw", "password"),
    ("pwd", "password"),
    ("requiressl", "sslmode"),
    ("server", "host"),
    ("ssl", "sslmode"),
    ("timeout", "connect_timeout"),
    ("uid", "user"),
    ("username", "user"),
];

/// The keyword that a key is likely to stand for.
fn similar(key: &str) -> Option<&'static str> {
    // The key may be a part of a secret that slipped into the wrong line.
    let plain: Zeroizing<String> = Zeroizing::new({
        let mut plain = String::with_capacity(key.len());
        plain.extend(
            key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()),
        );
        plain
    });
    if plain.is_empty() || plain.len() > LONGEST {
        return None;
    }
    let without_prefix = plain.strip_prefix("pg").unwrap_or(&plain);
    for name in [plain.as_str(), without_prefix] {
        if let Some((_, alias)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
            return Some(alias);
        }
    }
    let allowed = if plain.len() < 6 { 1 } else { 2 };
    TABLE
        .iter()
        .filter(|keyword| keyword.removed.is_none())
        .map(|keyword| {
            let name = keyword.name.replace('_', "");
            let near = distance(&plain, &name).min(distance(without_prefix, &name));
            (near, keyword.name)
        })
        .min()
        .filter(|(near, _)| *near <= allowed)
        .map(|(_, name)| name)
}

/// Keys longer than this are not looked at for similarity.
const LONGEST: usize = 32;

/// How many insertions, deletions, replacements and swaps of neighbours lead from one to the
/// other (optimal string alignment). Both are ASCII, and at most [`LONGEST`] long.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

const fn row(name: &'static str, since: u16) -> Keyword {
    Keyword { name, since, removed: None, kind: Holds::Plain }
}

const fn removed(name: &'static str, version: u16) -> Keyword {
    Keyword { name, since: 12, removed: Some(version), kind: Holds::Plain }
}

const fn password(name: &'static str, since: u16) -> Keyword {
    Keyword { name, since, removed: None, kind: Holds::Password }
}

const fn path(name: &'static str, since: u16) -> Keyword {
    Keyword { name, since, removed: None, kind: Holds::Path }
}

/// Without `service` and `servicefile`, which a service file can't hold. `requiressl` is
/// understood in connection strings only.
static TABLE: &[Keyword] = &[
    row("host", 12),
    row("hostaddr", 12),
    row("port", 12),
    row("dbname", 12),
    row("user", 12),
    password("password", 12),
    row("sslmode", 12),
    row("application_name", 12),
    removed("authtype", 14),
    row("channel_binding", 13),
    row("client_encoding", 12),
    row("connect_timeout", 12),
    row("fallback_application_name", 12),
    row("gssdelegation", 16),
    row("gssencmode", 12),
    row("gsslib", 12),
    row("keepalives", 12),
    row("keepalives_count", 12),
    row("keepalives_idle", 12),
    row("keepalives_interval", 12),
    row("krbsrvname", 12),
    row("load_balance_hosts", 16),
    row("max_protocol_version", 18),
    row("min_protocol_version", 18),
    path("oauth_ca_file", 19),
    row("oauth_client_id", 18),
    password("oauth_client_secret", 18),
    row("oauth_issuer", 18),
    row("oauth_scope", 18),
    row("options", 12),
    path("passfile", 12),
    row("replication", 12),
    row("require_auth", 16),
    row("requirepeer", 12),
    password("scram_client_key", 18),
    password("scram_server_key", 18),
    row("ssl_max_protocol_version", 13),
    row("ssl_min_protocol_version", 13),
    path("sslcert", 12),
    row("sslcertmode", 16),
    row("sslcompression", 12),
    path("sslcrl", 12),
    path("sslcrldir", 14),
    path("sslkey", 12),
    path("sslkeylogfile", 18),
    row("sslnegotiation", 17),
    password("sslpassword", 13),
    path("sslrootcert", 12),
    row("sslsni", 14),
    row("target_session_attrs", 12),
    row("tcp_user_timeout", 12),
    removed("tty", 14),
];

/// Any keyword, for property tests.
#[cfg(test)]
pub(super) fn any() -> impl proptest::strategy::Strategy<Value = &'static str> {
    proptest::sample::select(TABLE.iter().map(|keyword| keyword.name).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_counts_as_libpq_does() {
        // PQconndefaults of libpq 15 lists 36 with `service`.
        let known_to = |version: u16| {
            TABLE
                .iter()
                .filter(|k| k.since <= version && k.removed.is_none_or(|gone| version < gone))
                .count()
        };
        assert_eq!(known_to(15), 35);
        assert_eq!(known_to(16), 39);
        let mut names: Vec<_> = TABLE.iter().map(|keyword| keyword.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
        assert!(names.iter().all(|name| name.len() <= LONGEST && !name.starts_with("ldap")));
    }

    #[test]
    fn what_is_masked() {
        let masked: Vec<_> =
            TABLE.iter().map(|k| k.name).filter(|name| is_password_like(name)).collect();
        let expected = [
            "password",
            "oauth_client_secret",
            "scram_client_key",
            "scram_server_key",
            "sslpassword",
        ];
        assert_eq!(masked, expected);
        assert!(!is_password_like("passfile") && !is_password_like("PASSWORD"));
    }

    #[test]
    fn a_similar_keyword_is_suggested() {
        for (key, keyword) in [
            ("HOST", Some("host")),
            ("hots", Some("host")),
            ("hostname", Some("host")),
            ("passwrod", Some("password")),
            ("passwd", Some("password")),
            ("pass", Some("password")),
            ("PGPASSWORD", Some("password")),
            ("pgpassfile", Some("passfile")),
            ("username", Some("user")),
            ("database", Some("dbname")),
            ("db_name", Some("dbname")),
            ("ssl-mode", Some("sslmode")),
            ("ssl_mode", Some("sslmode")),
            ("requiressl", Some("sslmode")),
            ("Application Name", Some("application_name")),
            ("connect_timeuot", Some("connect_timeout")),
            ("user\u{a0}", Some("user")),
            ("authtyp", None),
            ("canary", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(similar(key), keyword, "{key}");
        }
        assert_eq!(similar(&"x".repeat(100_000)), None);
    }

    #[test]
    fn keys_that_have_a_reason_of_their_own() {
        assert_eq!(find("service").unwrap_err(), Reason::NestedService);
        assert_eq!(find("servicefile").unwrap_err(), Reason::NestedService);
        for key in ["ldap://host/dn", "ldap", "ldapx"] {
            assert_eq!(find(key).unwrap_err(), Reason::Ldap);
        }
        assert_eq!(find("HOST").unwrap_err(), Reason::UnknownKey { similar: Some("host") });
    }
}
