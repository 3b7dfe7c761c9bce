//! What libpq accepts in a service and its author may not have meant.
//!
//! Invariant: a warning names keywords and versions, never a value.

use super::{Service, Setting, keywords};

/// The longest line that libpq 13 and earlier read without fail, in bytes: their first releases
/// read into 256 bytes.
const MAX_OLD_LINE: usize = 253;

/// Something to look at twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// An older libpq refuses the whole service for it.
    #[error("`{keyword}` needs libpq {since}: an older one refuses the service")]
    Newer {
        /// The keyword.
        keyword: &'static str,
        /// The first major version that knows it.
        since: u16,
    },
    /// A newer libpq refuses the whole service for it.
    #[error("`{keyword}` is gone since libpq {version}, which refuses the service; remove it")]
    Removed {
        /// The keyword.
        keyword: &'static str,
        /// The first major version that refuses it.
        version: u16,
    },
    /// Not the same as a setting that is left out.
    #[error(
        "`{keyword}` is empty: nothing else can fill it in, and libpq takes its default or \
         refuses to connect"
    )]
    Empty {
        /// The keyword.
        keyword: &'static str,
    },
    /// The file is not part of the secret.
    #[error("`{keyword}` names a file, which must be there where the job runs")]
    NamesFile {
        /// The keyword.
        keyword: &'static str,
    },
    /// As connection strings want it and service files don't.
    #[error("`{keyword}` is in quotes, and libpq counts them as part of the value")]
    Quoted {
        /// The keyword.
        keyword: &'static str,
    },
    /// Not looked for in passwords.
    #[error("`{keyword}` seems to end with a comment, and libpq counts it as part of the value")]
    Comment {
        /// The keyword.
        keyword: &'static str,
    },
    /// As text from web pages and word processors has it.
    #[error("`{keyword}` begins or ends with a blank that cannot be seen, such as U+00A0")]
    InvisibleBlank {
        /// The keyword.
        keyword: &'static str,
    },
    /// The limit was lower once.
    #[error("the line of `{keyword}` is longer than the 253 bytes that some libpq before 14 read")]
    LongLine {
        /// The keyword.
        keyword: &'static str,
    },
    /// libpq then takes the name of the operating system's user.
    #[error("there is no `user`: unless the project names one, libpq takes the job's system user")]
    NoUser,
    /// libpq then tries the local socket.
    #[error("there is no `host`: libpq looks for a server on the job's own machine")]
    NoHost,
}

/// All warnings: those on a setting in the settings' order, then those on the whole.
pub(super) fn warnings(service: &Service, oldest_libpq: u16) -> Vec<Warning> {
    let mut found = Vec::new();
    for setting in service.settings() {
        on_setting(setting, oldest_libpq, &mut found);
    }
    let given = |keyword: &str| {
        service.settings().iter().any(|s| s.keyword == keyword && !s.value.is_empty())
    };
    if !given("user") {
        found.push(Warning::NoUser);
    }
    if !given("host") && !given("hostaddr") {
        found.push(Warning::NoHost);
    }
    found
}

fn on_setting(setting: &Setting, oldest_libpq: u16, found: &mut Vec<Warning>) {
    let keyword = setting.keyword;
    // A service holds UTF-8 only, and keywords of the table only.
    let value = str::from_utf8(setting.value.expose()).unwrap_or_default();
    let Some(known) = keywords::known(keyword) else { return };
    if known.since > oldest_libpq {
        found.push(Warning::Newer { keyword, since: known.since });
    }
    if let Some(version) = known.removed {
        found.push(Warning::Removed { keyword, version });
    }
    if oldest_libpq < 14 && keyword.len() + "=".len() + value.len() > MAX_OLD_LINE {
        found.push(Warning::LongLine { keyword });
    }
    if value.is_empty() {
        found.push(Warning::Empty { keyword });
        return;
    }
    // Since 16 this word stands for the system's certificates.
    if known.names_file() && !(keyword == "sslrootcert" && value == "system") {
        found.push(Warning::NamesFile { keyword });
    }
    if value.len() > 1 && ['\'', '"'].iter().any(|&q| value.starts_with(q) && value.ends_with(q)) {
        found.push(Warning::Quoted { keyword });
    }
    if !keywords::is_password_like(keyword) && (value.contains(" #") || value.contains(" ;")) {
        found.push(Warning::Comment { keyword });
    }
    let invisible =
        |c: char| c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200d}' | '\u{feff}');
    if value.starts_with(invisible) || value.ends_with(invisible) {
        found.push(Warning::InvisibleBlank { keyword });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(settings: &str, oldest_libpq: u16) -> Vec<Warning> {
        let text = format!("[db]\nhost=h\nuser=u\n{settings}");
        let found = Service::parse(text.as_bytes()).unwrap().warnings(oldest_libpq);
        for warning in &found {
            assert!(!warning.to_string().contains("canary"), "{warning}");
        }
        found
    }

    #[test]
    fn on_settings() {
        assert_eq!(of("password=canary #1\nport=5432\nsslmode=require\n", 12), []);
        assert_eq!(
            of("sslnegotiation=direct\nsslsni=1\n", 15),
            [Warning::Newer { keyword: "sslnegotiation", since: 17 }]
        );
        assert_eq!(of("sslnegotiation=direct", 17), []);
        assert_eq!(of("tty=x", 15), [Warning::Removed { keyword: "tty", version: 14 }]);
        assert_eq!(of("password=", 15), [Warning::Empty { keyword: "password" }]);
        assert_eq!(of("passfile=", 15), [Warning::Empty { keyword: "passfile" }]);
        assert_eq!(of("sslcert=/canary", 15), [Warning::NamesFile { keyword: "sslcert" }]);
        assert_eq!(of("sslrootcert=system", 16), []);
        assert_eq!(of("password='canary'", 15), [Warning::Quoted { keyword: "password" }]);
        assert_eq!(of("password='", 15), []);
        assert_eq!(of("dbname=canary ; x", 15), [Warning::Comment { keyword: "dbname" }]);
        let blank = Warning::InvisibleBlank { keyword: "password" };
        assert_eq!(of("password=\u{a0}canary", 15), [blank]);
        assert_eq!(of("password=canary\u{200b}", 15), [blank]);
        let long = format!("password={}", "x".repeat(245));
        assert_eq!(of(&long, 13), [Warning::LongLine { keyword: "password" }]);
        assert_eq!(of(&long, 14), []);
    }

    #[test]
    fn on_the_whole() {
        let service = Service::parse(b"[db]\nuser=\ndbname=d\nhostaddr=::1").unwrap();
        assert_eq!(service.warnings(15), [Warning::Empty { keyword: "user" }, Warning::NoUser]);
        let service = Service::parse(b"[db]\nuser=u").unwrap();
        assert_eq!(service.warnings(15), [Warning::NoHost]);
    }
}
