//! Where a store on PostgreSQL is, and how to get there: what `store.postgres` says.
//!
//! Invariants: no password is in the settings, which are not secret; where TLS is used the server's
//! certificate and name are verified; what this program doesn't know is refused, for libpq would
//! have understood it.

use std::path::PathBuf;
use std::time::Duration;

use super::InvalidSettings;

/// The schema when the settings name none.
const SCHEMA: &str = "qgis_secrets";

/// A store on PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgres {
    /// Tried in this order.
    pub hosts: Vec<Host>,
    /// The database.
    pub dbname: String,
    /// The role.
    pub user: String,
    /// Whether the connection is encrypted.
    pub tls: Tls,
    /// Whether a server that only reads is passed over (`target_session_attrs=read-write`).
    pub writable: bool,
    /// To a connection that can be used, at each address.
    pub connect_timeout: Duration,
    /// A file with the role's password; without one the server must not ask.
    pub password_file: Option<PathBuf>,
    /// Authorities (PEM) instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The schema that the tables are in.
    pub schema: String,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A name, an address, or the directory of a socket, which begins with `/`.
    pub name: String,
    /// TCP, or part of the socket's name.
    pub port: u16,
}

impl Host {
    /// Whether it is reached by a socket of this machine, which needs no TLS.
    pub fn is_local(&self) -> bool {
        self.name.starts_with('/')
    }
}

/// Whether a connection over TCP is encrypted: `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// `disable`
    Never,
    /// `prefer`: if the server offers it. Whoever is in between can make it seem not to.
    IfOffered,
    /// `require` and `verify-full`, which are the same here.
    Always,
}

impl Postgres {
    /// Reads a connection string in libpq's form (PostgreSQL manual, "Connection Strings").
    pub fn parse(
        text: &str,
        password_file: Option<PathBuf>,
        ca_file: Option<PathBuf>,
        schema: Option<String>,
    ) -> Result<Self, InvalidSettings> {
        if cfg!(not(feature = "service")) {
            return Err(invalid(
                "needs the full program, and this one was built for running jobs only (without the \
                 feature `service`): use that, a secrets service, or store.path",
            ));
        }
        let schema = schema.unwrap_or_else(|| SCHEMA.into());
        if !is_schema(&schema) {
            let form = "is a name of a-z, 0-9 and _, at most 63 characters, that does not begin \
                        with a digit or with pg_";
            return Err(InvalidSettings::Value("store.postgres_schema", form));
        }
        Ok(Self { password_file, ca_file, schema, ..parse(text)? })
    }
}

fn invalid(problem: &'static str) -> InvalidSettings {
    InvalidSettings::Value("store.postgres", problem)
}

fn parse(text: &str) -> Result<Postgres, InvalidSettings> {
    if text.contains("://") {
        return Err(invalid(
            "is no URL: write it as `host=… dbname=… user=…`, and the password into the file of \
             store.postgres_password_file",
        ));
    }
    let (mut names, mut ports) = (None, None);
    let (mut dbname, mut user) = (None, None);
    let mut tls = Tls::Always;
    let mut writable = false;
    let mut connect_timeout = Duration::from_secs(10);
    for (key, value) in pairs(text).ok_or_else(|| {
        invalid("is a list of key=value, with '…' around a value that holds blanks")
    })? {
        match key.as_str() {
            "host" => names = Some(value),
            "port" => ports = Some(value),
            "dbname" => dbname = Some(value),
            "user" => user = Some(value),
            "sslmode" => tls = mode(&value)?,
            "target_session_attrs" => {
                writable = match value.as_str() {
                    "any" => false,
                    "read-write" => true,
                    _ => return Err(invalid("knows target_session_attrs=any and =read-write")),
                }
            }
            "connect_timeout" => {
                let seconds = value.parse().ok().filter(|seconds| (1..=600).contains(seconds));
                let seconds = seconds.ok_or_else(|| {
                    invalid(
                        "has a connect_timeout that is no \
                    number of seconds from 1 to 600",
                    )
                })?;
                connect_timeout = Duration::from_secs(seconds);
            }
            "password" => {
                return Err(invalid(
                    "holds a password, and settings are not secret: change it, and put the new one \
                     into the file of store.postgres_password_file",
                ));
            }
            "passfile" => {
                return Err(invalid("knows no passfile; use store.postgres_password_file"));
            }
            "sslrootcert" => {
                return Err(invalid("knows no sslrootcert; use store.postgres_ca_file"));
            }
            _ => {
                return Err(invalid(
                    "holds a key that is not known here; known are host, port, dbname, user, \
                     sslmode, connect_timeout and target_session_attrs",
                ));
            }
        }
    }
    let given = |value: Option<String>, problem| {
        value.filter(|value| !value.is_empty()).ok_or_else(|| invalid(problem))
    };
    let names = given(names, "names no host")?;
    Ok(Postgres {
        hosts: hosts(&names, ports.as_deref())?,
        dbname: given(dbname, "names no database: dbname=…")?,
        user: given(user, "names no user")?,
        tls,
        writable,
        connect_timeout,
        password_file: None,
        ca_file: None,
        schema: String::new(),
    })
}

fn mode(word: &str) -> Result<Tls, InvalidSettings> {
    Ok(match word {
        "disable" => Tls::Never,
        "prefer" => Tls::IfOffered,
        "require" | "verify-full" => Tls::Always,
        "allow" | "verify-ca" => {
            return Err(invalid("has an sslmode that is not known here; verify-full is better"));
        }
        _ => return Err(invalid("knows sslmode=disable, prefer, require and verify-full")),
    })
}

/// As many ports as hosts, or one for all.
fn hosts(names: &str, ports: Option<&str>) -> Result<Vec<Host>, InvalidSettings> {
    let ports = ports.unwrap_or("5432").split(',').map(|port| port.trim().parse::<u16>());
    let ports = ports.collect::<Result<Vec<_>, _>>();
    let ports = ports.map_err(|_| invalid("has a port that is no number from 1 to 65535"))?;
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    if names.iter().any(|name| name.is_empty()) || ports.contains(&0) {
        return Err(invalid("names an empty host or the port 0"));
    }
    if ports.len() != 1 && ports.len() != names.len() {
        return Err(invalid("must name one port, or one for each host"));
    }
    let port = |index| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let host = |(index, name): (usize, &str)| Host { name: name.into(), port: port(index) };
    Ok(names.into_iter().enumerate().map(host).collect())
}

fn is_schema(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().all(plain)
        && (1..=63).contains(&name.len())
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.starts_with("pg_")
}

/// `key = value`, `key='a value'`, with `\` before a quote or a backslash; each key once.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut rest = text.trim();
    let mut pairs: Vec<(String, String)> = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let key = key.trim_end();
        let known = pairs.iter().any(|(other, _)| other == key);
        if known || key.is_empty() || key.contains(char::is_whitespace) {
            return None;
        }
        let (value, after) = value(after.trim_start())?;
        pairs.push((key.into(), value));
        rest = after.trim_start();
    }
    Some(pairs)
}

/// The value at the beginning of a text, and what comes after it.
fn value(text: &str) -> Option<(String, &str)> {
    let quoted = text.strip_prefix('\'');
    let mut value = String::new();
    let mut characters = quoted.unwrap_or(text).char_indices();
    while let Some((at, character)) = characters.next() {
        let after = &quoted.unwrap_or(text)[at..];
        match character {
            '\\' => value.push(characters.next()?.1),
            '\'' if quoted.is_some() => {
                let after = &after[1..];
                let ends = after.is_empty() || after.starts_with(char::is_whitespace);
                return ends.then_some((value, after));
            }
            '\'' => return None,
            blank if blank.is_whitespace() && quoted.is_none() => return Some((value, after)),
            other => value.push(other),
        }
    }
    quoted.is_none().then_some((value, ""))
}

#[cfg(all(test, feature = "service"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Postgres, String> {
        Postgres::parse(text, None, None, None).map_err(|error| error.to_string())
    }

    #[test]
    fn a_connection_string_is_read_as_libpq_reads_it() {
        let read = read(r"host = db.example,/run/pg  port=5433  dbname='a \'b\\' user=u\ x");
        let host = |name: &str| Host { name: name.into(), port: 5433 };
        let expected = Postgres {
            hosts: vec![host("db.example"), host("/run/pg")],
            dbname: r"a 'b\".into(),
            user: "u x".into(),
            tls: Tls::Always,
            writable: false,
            connect_timeout: Duration::from_secs(10),
            password_file: None,
            ca_file: None,
            schema: "qgis_secrets".into(),
        };
        assert_eq!(read, Ok(expected));
        for (word, tls) in [
            ("disable", Tls::Never),
            ("prefer", Tls::IfOffered),
            ("require", Tls::Always),
            ("verify-full", Tls::Always),
        ] {
            let text = format!(
                "host=a,b port=1,2 dbname=d user=u sslmode={word} \
                target_session_attrs=read-write connect_timeout=3"
            );
            let found = self::read(&text).unwrap();
            assert_eq!((found.tls, found.writable), (tls, true));
            assert_eq!(found.connect_timeout, Duration::from_secs(3));
            let ports: Vec<_> = found.hosts.iter().map(|host| host.port).collect();
            assert_eq!(ports, [1, 2]);
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_not_repeated() {
        let good = "host=h dbname=d user=u";
        for (text, words) in [
            (format!("{good} password=hunter2"), "store.postgres_password_file"),
            ("postgres://u:hunter2@h/d".into(), "is no URL"),
            (format!("{good} options=hunter2"), "not known here"),
            (format!("{good} hunter2"), "a list of key=value"),
            (format!("{good} sslmode='hunter2"), "a list of key=value"),
            (format!("{good} sslmode=hunter2"), "sslmode=disable, prefer"),
            (format!("{good} sslmode=verify-ca"), "verify-full is better"),
            (format!("{good} sslrootcert=hunter2"), "store.postgres_ca_file"),
            (format!("{good} passfile=hunter2"), "store.postgres_password_file"),
            (format!("{good} port=hunter2"), "from 1 to 65535"),
            (format!("{good} port=0"), "port 0"),
            (format!("{good} port=1,2"), "one for each host"),
            (format!("{good} connect_timeout=0"), "from 1 to 600"),
            (format!("{good} target_session_attrs=hunter2"), "read-write"),
            (format!("{good} user=hunter2"), "a list of key=value"),
            ("host=h user=hunter2".into(), "names no database"),
            ("host=h dbname=hunter2".into(), "names no user"),
            ("dbname=d user=u".into(), "names no host"),
            ("host='' dbname=d user=u".into(), "names no host"),
            ("host=a,,b dbname=d user=u".into(), "empty host"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        for schema in ["", "A", "1a", "pg_x", "a\"b", "a b"] {
            let error = Postgres::parse(good, None, None, Some(schema.into()));
            let error = error.unwrap_err().to_string();
            assert!(error.contains("store.postgres_schema"), "{schema}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_comes_back(value in "[ -~é\\t]{1,20}") {
            let quoted = value.replace('\\', r"\\").replace('\'', r"\'");
            let found = read(&format!("host=h user=u dbname = '{quoted}'  port=7"));
            prop_assert_eq!(found.unwrap().dbname, value);
        }

        #[test]
        fn no_text_stops_it(text in "[a-z=' \\\\,/é]{0,40}") {
            drop(read(&text));
        }
    }
}
