//! Which role a job really is in its databases: the probe that asks, and what to make of it.
//!
//! The program is linked statically and cannot load libpq, and another library might read a
//! service in another way. So the probe is a Python script that runs as a command of the job and
//! calls the job's own libpq, which is there wherever QGIS can open PostgreSQL.
//!
//! Invariants: what the probe printed is not trusted, because servers wrote parts of it: a broken
//! line is a missing answer, and no text of an [`Answer`] is long or holds control characters.
//! The script takes passwords out before it prints; nothing here has seen one.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The probe. It says itself what it prints.
const SCRIPT: &str = include_str!("connect/probe.py");

/// The longest name, address or version of an answer, in characters. PostgreSQL's names have up
/// to 63 bytes, those of hosts and services more.
pub const MAX_NAME: usize = 255;

/// The longest message of an answer, in characters.
pub const MAX_MESSAGE: usize = 2000;

/// Why a service may be without an answer, and what to do.
const UNANSWERED: &str = "the probe gave no answer: it was ended before it came to this service, \
                          or python3 does not work where the job runs; run the check again, and \
                          look whether `python3 -I -c 'import ctypes'` works there";

/// What a job found behind a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// The service that was asked for.
    pub service: String,
    /// `current_user`: whose rights count, after `options=-c role=…` and `ALTER ROLE … SET role`.
    pub role: String,
    /// `session_user`: who logged in, and whom `RESET ROLE` leads back to.
    pub session_role: String,
    /// The database.
    pub database: String,
    /// The host as the service names it, of several the one that answered; a directory for a
    /// socket.
    pub host: String,
    /// The IP address that `host` stood for; `None` for a socket, and with a libpq before 12.
    pub address: Option<String>,
    /// The port, also of a socket.
    pub port: u16,
    /// As the server calls it, without what its packager added: `15.18`.
    pub server_version: String,
    /// The version of the extension `postgis`; `None` if the database doesn't have it.
    pub postgis_version: Option<String>,
    /// Whether the connection to the server, or to a pooler in front of it, uses TLS.
    pub tls: bool,
    /// As libpq calls it: `TLSv1.3`.
    pub tls_version: Option<String>,
    /// Whether Kerberos encrypts the connection.
    pub gss: bool,
    /// Whether the role is a superuser.
    pub superuser: bool,
    /// Whether the role that logged in is one.
    pub session_superuser: bool,
    /// Whether the role that logged in may `SET ROLE` to one (true for a superuser, too).
    pub may_become_superuser: bool,
    /// Whether the role may make roles, and before PostgreSQL 16 change all but superusers.
    pub createrole: bool,
    /// Whether the role may make databases.
    pub createdb: bool,
    /// Whether row security doesn't apply to the role.
    pub bypassrls: bool,
    /// Whether the role may copy the whole cluster.
    pub replication: bool,
    /// Whether the role, or one whose rights it inherits, owns the database.
    pub owns_database: bool,
    /// How many tables and views outside of the system's schemas the role owns in this database,
    /// or one whose rights it inherits; a superuser's are those of its own only.
    pub owned_tables: u64,
}

/// What became of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Answer {
    /// The connection works.
    Connected(Box<Connected>),
    /// It does not, or nothing can be read through it.
    Failed {
        /// The service that was asked for.
        service: String,
        /// What libpq or the server says, in one line and without passwords.
        message: String,
    },
    /// The probe said nothing, or nothing that makes sense.
    Unanswered {
        /// The service that was asked for.
        service: String,
        /// What that means.
        message: String,
    },
}

impl Answer {
    /// The service that was asked for.
    pub fn service(&self) -> &str {
        match self {
            Self::Connected(connected) => &connected.service,
            Self::Failed { service, .. } | Self::Unanswered { service, .. } => service,
        }
    }

    /// Why there is no connection, if there is none.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Connected(_) => None,
            Self::Failed { message, .. } | Self::Unanswered { message, .. } => Some(message),
        }
    }
}

/// More rights than a job needs, or a connection that others can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// A word that stays the same: `superuser`, `session_superuser`, `may_become_superuser`,
    /// `createrole`, `bypassrls`, `replication`, `owns_database`, `owns_tables`, `no_tls`.
    pub kind: &'static str,
    /// What it means, and what to do.
    pub message: String,
}

/// The words of the command that connects to services, to be run in the job's environment.
///
/// It prints a line for [`parse`] as soon as a service answered and ends with 0, whatever became
/// of the services. Each takes at most its `connect_timeout` (10 s if neither the service nor the
/// job's `PGCONNECT_TIMEOUT` says otherwise) for each address of each host, and 10 s for each
/// query; 600 s in all. Services of one server are asked one after the other.
pub fn command(services: &[String]) -> Vec<String> {
    let words = ["python3", "-I", "-c", SCRIPT].map(str::to_owned);
    words.into_iter().chain(services.iter().cloned()).collect()
}

/// Reads what the [`command`] printed: an answer for each service, in the order of `services`.
///
/// Lines that are broken, or about no service that was asked for, don't count; of several about
/// one service the first does.
pub fn parse(output: &[u8], services: &[String]) -> Vec<Answer> {
    let lines: Vec<Line> = output.split(|&b| b == b'\n').filter_map(Line::read).collect();
    let answer = |service: &String| {
        let line = lines.iter().find(|line| line.service() == service);
        let service = plain(service, MAX_NAME);
        match line {
            Some(Line::Connected(found)) => {
                Answer::Connected(Box::new(Connected { service, ..found.plain() }))
            }
            Some(Line::Failed { message, .. }) => {
                Answer::Failed { service, message: plain(message, MAX_MESSAGE) }
            }
            None => Answer::Unanswered { service, message: UNANSWERED.to_owned() },
        }
    };
    services.iter().map(answer).collect()
}

/// What an administrator should look at, the gravest first.
pub fn warnings(connected: &Connected) -> Vec<Warning> {
    let Connected { role, session_role, .. } = connected;
    let other_session = connected.session_superuser && !connected.superuser;
    let becomes =
        connected.may_become_superuser && !connected.session_superuser && !connected.superuser;
    let owned = match connected.owned_tables {
        1 => "a table or view".to_owned(),
        several => format!("{several} tables and views"),
    };
    let rows = [
        (
            connected.superuser,
            "superuser",
            format!(
                "`{role}` is a superuser: it can do anything to every database of the server, and \
                 run programs there; make a role for the job that is granted only what it needs"
            ),
        ),
        (
            other_session,
            "session_superuser",
            format!(
                "`{session_role}` logs in and is a superuser: `RESET ROLE` makes the job one again; \
                 let `{role}` log in itself"
            ),
        ),
        (
            becomes,
            "may_become_superuser",
            format!(
                "`{session_role}` is a member of a superuser: `SET ROLE` makes the job one; revoke \
                 the membership"
            ),
        ),
        (
            connected.createrole,
            "createrole",
            format!(
                "`{role}` can make roles and change others; take that away with ALTER ROLE … \
                 NOCREATEROLE"
            ),
        ),
        (
            connected.bypassrls,
            "bypassrls",
            format!(
                "row security does not apply to `{role}`, which sees and changes all rows of the \
                 tables granted to it; take that away with ALTER ROLE … NOBYPASSRLS"
            ),
        ),
        (
            connected.replication,
            "replication",
            format!(
                "`{role}` can copy the whole server, all databases and password hashes; take that \
                 away with ALTER ROLE … NOREPLICATION"
            ),
        ),
        (
            connected.owns_database,
            "owns_database",
            format!(
                "`{role}` owns the database, or inherits from who does: it can drop it, and \
                 decides who may use it; give the database to a role that cannot log in"
            ),
        ),
        (
            connected.owned_tables > 0,
            "owns_tables",
            format!(
                "`{role}` owns {owned}, or inherits from who does: a role that owns a table can \
                 drop it and turn its row security off; grant what the job needs instead"
            ),
        ),
        (
            !connected.tls && !connected.gss && !is_local(connected),
            "no_tls",
            "the connection is not encrypted: who is on the way reads and changes what goes over \
             it; switch TLS on at the server and set sslmode=verify-full (require at least)"
                .to_owned(),
        ),
    ];
    let given = rows.into_iter().filter(|(holds, ..)| *holds);
    given.map(|(_, kind, message)| Warning { kind, message }).collect()
}

/// Whether the connection leaves the machine or the pod. What the address is counts, where it is
/// known: `host=localhost hostaddr=192.0.2.1` does leave it.
fn is_local(connected: &Connected) -> bool {
    let host = connected.address.as_deref().unwrap_or(&connected.host);
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        // `@` begins the name of an abstract socket; libpq takes a socket for an empty host.
        Err(_) => {
            host.is_empty()
                || host.starts_with(['/', '@'])
                || host.eq_ignore_ascii_case("localhost")
        }
    }
}

/// One line of the probe.
enum Line {
    Connected(Box<Connected>),
    Failed { service: String, message: String },
}

impl Line {
    fn read(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Head {
            service: String,
            ok: bool,
            message: Option<String>,
        }
        let Head { service, ok, message } = serde_json::from_slice(line).ok()?;
        if ok {
            serde_json::from_slice(line).ok().map(Self::Connected)
        } else {
            message.map(|message| Self::Failed { service, message })
        }
    }

    fn service(&self) -> &String {
        match self {
            Self::Connected(connected) => &connected.service,
            Self::Failed { service, .. } => service,
        }
    }
}

impl Connected {
    /// The same, with texts that can be shown.
    fn plain(&self) -> Self {
        let name = |text: &str| plain(text, MAX_NAME);
        Self {
            service: name(&self.service),
            role: name(&self.role),
            session_role: name(&self.session_role),
            database: name(&self.database),
            host: name(&self.host),
            address: self.address.as_deref().map(name),
            server_version: name(&self.server_version),
            postgis_version: self.postgis_version.as_deref().map(name),
            tls_version: self.tls_version.as_deref().map(name),
            ..*self
        }
    }
}

/// At most `limit` characters, with U+FFFD for each that could steer a terminal, break a line or
/// turn the text around.
fn plain(text: &str, limit: usize) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
    };
    let mut shown: String = text
        .chars()
        .map(|c| if hidden(c) { char::REPLACEMENT_CHARACTER } else { c })
        .take(limit)
        .collect();
    if text.chars().nth(limit).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
