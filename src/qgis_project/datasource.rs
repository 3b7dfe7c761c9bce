//! The data source of a layer: what it says about reaching PostgreSQL.
//!
//! Two grammars, told apart by who reads the text. QGIS's own (`QgsDataSourceUri`) for the
//! providers `postgres` and `postgresraster`; libpq's, keywords or URI, behind the `PG:` of GDAL
//! and OGR. Both are read as leniently as their owners read them: nothing here is an error.

use std::iter::Peekable;
use std::ops::ControlFlow;
use std::str::CharIndices;

use zeroize::Zeroizing;

use super::{Client, PostgresSource, shown};

/// A data source taken apart.
pub(super) struct Parsed<'a> {
    /// The connection, when it is one to PostgreSQL.
    pub(super) postgres: Option<PostgresSource>,
    /// The layer's filter: SQL for the database or for OGR, not an expression of QGIS.
    pub(super) filter: &'a str,
}

/// Takes apart a layer's data source.
pub(super) fn parse<'a>(provider: &str, source: &'a str) -> Parsed<'a> {
    match provider {
        "postgres" | "postgresraster" => {
            let (postgres, filter) = qgis(source);
            Parsed { postgres: Some(postgres), filter }
        }
        "ogr" | "gdal" => {
            let (connection, options) = split_options(source);
            let postgres = connection
                .split_at_checked(3)
                .filter(|(prefix, _)| prefix.eq_ignore_ascii_case("PG:"))
                .map(|(_, conninfo)| libpq(conninfo, options));
            Parsed { postgres, filter: option(options, "subset").unwrap_or_default() }
        }
        _ => Parsed { postgres: None, filter: "" },
    }
}

/// QGIS's grammar: `key=value` pairs, values bare or in either quote, `table="schema"."name"
/// (geometry)`, and `sql=`, which takes all the rest.
fn qgis(source: &str) -> (PostgresSource, &str) {
    let mut found = PostgresSource::new(Client::Qgis);
    let mut cursor = Cursor::new(source);
    while let Some(first) = cursor.skip_blanks() {
        if first == '=' {
            cursor.next();
            continue;
        }
        let key = cursor.take_while(|c| c != '=' && !c.is_whitespace());
        if cursor.skip_blanks() != Some('=') {
            continue;
        }
        cursor.next();
        if key == "sql" {
            cursor.skip_blanks();
            return (found, cursor.rest());
        }
        let value = qgis_value(&mut cursor);
        match key {
            "table" => {
                if cursor.peek() == Some('.') {
                    cursor.next();
                    qgis_value(&mut cursor);
                }
                if cursor.peek() == Some('(') {
                    cursor.skip_parenthesis();
                }
            }
            // Anything else stands for `prefer`, which QGIS does not send.
            "sslmode" => {
                found.ssl_mode = ["disable", "allow", "require", "verify-ca", "verify-full"]
                    .contains(&value.as_str())
                    .then(|| shown(&value));
            }
            "username" => found.set("user", &value),
            "hostaddr" => {}
            _ => found.set(key, &value),
        }
    }
    (found, "")
}

/// A value of QGIS's grammar, and the blanks after it.
fn qgis_value(cursor: &mut Cursor<'_>) -> Zeroizing<String> {
    let delimiter = cursor.skip_blanks().filter(|c| matches!(c, '\'' | '"'));
    if delimiter.is_some() {
        cursor.next();
    }
    // A backslash escapes itself and the quote, and stands for itself before anything else.
    let quote = delimiter.unwrap_or('\'');
    let mut value = cursor.buffer();
    while let Some(c) = cursor.peek() {
        if delimiter.is_none() && c.is_whitespace() {
            break;
        }
        cursor.next();
        if delimiter == Some(c) {
            break;
        }
        if c != '\\' {
            value.push(c);
            continue;
        }
        match cursor.peek() {
            Some(escaped) if escaped == quote || escaped == '\\' => {
                value.push(escaped);
                cursor.next();
            }
            Some(_) => value.push('\\'),
            None => {}
        }
    }
    cursor.skip_blanks();
    value
}

/// What stands after `PG:`, as GDAL hands it to libpq.
fn libpq(conninfo: &str, options: &str) -> PostgresSource {
    let mut found = PostgresSource::new(Client::Gdal);
    match conninfo.strip_prefix("postgresql://").or(conninfo.strip_prefix("postgres://")) {
        Some(uri) => libpq_uri(uri, &mut found),
        None => libpq_keywords(conninfo, &mut found),
    }
    // QGIS puts the credentials of its authentication database into GDAL's data source.
    found.authcfg |= option(options, "authcfg").is_some_and(|id| !id.is_empty());
    found
}

/// `key = value` pairs; in quotes and out of them a backslash escapes whatever follows.
fn libpq_keywords(conninfo: &str, found: &mut PostgresSource) {
    let mut cursor = Cursor::new(conninfo);
    while cursor.skip_blanks().is_some() {
        let key = cursor.take_while(|c| c != '=' && !c.is_whitespace());
        if cursor.skip_blanks() != Some('=') {
            continue;
        }
        cursor.next();
        let quoted = cursor.skip_blanks() == Some('\'');
        if quoted {
            cursor.next();
        }
        let mut value = cursor.buffer();
        while let Some(c) = cursor.peek() {
            if !quoted && c.is_whitespace() {
                break;
            }
            cursor.next();
            match c {
                '\'' if quoted => break,
                '\\' => value.extend(cursor.next()),
                c => value.push(c),
            }
        }
        found.set(key, &value);
    }
}

/// `user:password@host:port/dbname?key=value`, without the scheme.
fn libpq_uri(uri: &str, found: &mut PostgresSource) {
    let (uri, query) = uri.split_once('?').unwrap_or((uri, ""));
    let (authority, database) = uri.split_once('/').unwrap_or((uri, ""));
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (login, hosts),
        None => ("", authority),
    };
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    // An IPv6 address stands in brackets and has colons of its own.
    let (host, port) = match hosts.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (hosts, ""),
    };
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let parts = [("user", user), ("password", password), ("host", host), ("port", port)];
    for (key, value) in parts.into_iter().chain([("dbname", database)]).chain(pairs) {
        if !value.is_empty() {
            found.set(key, &percent_decoded(value));
        }
    }
}

fn percent_decoded(text: &str) -> Zeroizing<String> {
    let digit = |at: usize| text.as_bytes().get(at).and_then(|&b| char::from(b).to_digit(16));
    // Made once, at its full size: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut at = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.extend(u8::try_from(high * 16 + low));
                at += 3;
            }
            _ => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    Zeroizing::new(std::str::from_utf8(&bytes).unwrap_or_default().to_owned())
}

/// Cuts off what QGIS appends to GDAL's part: `|layername=…|subset=…`.
fn split_options(source: &str) -> (&str, &str) {
    let names =
        ["layername", "layerid", "subset", "geometrytype", "authcfg", "option:", "uniqueGeo"];
    let cut = source
        .match_indices('|')
        .find(|(at, _)| {
            let after = &source[at + 1..];
            names.iter().any(|name| {
                after.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            })
        })
        .map_or(source.len(), |(at, _)| at);
    source.split_at(cut)
}

/// The value of one of QGIS's options. A filter may hold `|` itself (`||`): it takes the rest.
fn option<'a>(options: &'a str, name: &str) -> Option<&'a str> {
    let found = options.match_indices('|').try_for_each(|(at, _)| {
        let after = &options[at + 1..];
        match after.split_at_checked(name.len()) {
            Some((start, rest)) if start.eq_ignore_ascii_case(name) && rest.starts_with('=') => {
                ControlFlow::Break(&rest[1..])
            }
            _ => ControlFlow::Continue(()),
        }
    });
    let value = found.break_value()?;
    if name == "subset" { Some(value) } else { value.split('|').next() }
}

impl PostgresSource {
    fn new(client: Client) -> Self {
        Self {
            client,
            service: None,
            host: None,
            port: None,
            user: None,
            database: None,
            ssl_mode: None,
            authcfg: false,
            own_password: false,
        }
    }

    /// Keeps what may be shown; of a password only that there is one.
    fn set(&mut self, key: &str, value: &str) {
        let kept = || (!value.is_empty()).then(|| shown(value));
        match key {
            "service" => self.service = kept(),
            "host" | "hostaddr" => self.host = kept(),
            "port" => self.port = kept(),
            "user" => self.user = kept(),
            "dbname" => self.database = kept(),
            "sslmode" => self.ssl_mode = kept(),
            "authcfg" => self.authcfg = !value.is_empty(),
            // One that a later, empty one overrules still stands in the file.
            "password" => self.own_password |= !value.is_empty(),
            _ => {}
        }
    }
}

/// A place in a text.
struct Cursor<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, chars: text.char_indices().peekable() }
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|&(_, c)| c)
    }

    fn next(&mut self) -> Option<char> {
        self.chars.next().map(|(_, c)| c)
    }

    fn skip_blanks(&mut self) -> Option<char> {
        while self.chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        self.peek()
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let mut len = 0;
        while let Some((_, c)) = self.chars.next_if(|&(_, c)| keep(c)) {
            len += c.len_utf8();
        }
        &rest[..len]
    }

    /// Goes past the closing parenthesis, or to the end when there is none.
    fn skip_parenthesis(&mut self) {
        while let Some(c) = self.next() {
            match c {
                ')' => break,
                '\\' => {
                    self.next();
                }
                _ => {}
            }
        }
    }

    fn rest(&mut self) -> &'a str {
        let at = self.chars.peek().map_or(self.text.len(), |&(at, _)| at);
        &self.text[at..]
    }

    /// Room for the longest value that can follow: growing would leave copies behind.
    fn buffer(&mut self) -> Zeroizing<String> {
        let rest = self.rest().len();
        Zeroizing::new(String::with_capacity(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of `datasources.jsonl`: the text, and what `QgsDataSourceUri` makes of it.
    type Said = (String, String, String, String, String, String, String, String, bool, String);

    #[test]
    fn reads_data_sources_as_qgis_does() {
        let lines = include_str!("../../tests/fixtures/qgis_project/datasources.jsonl");
        assert!(lines.lines().count() > 50);
        for line in lines.lines() {
            let (text, service, user, database, host, port, authcfg, ssl_mode, password, sql): Said =
                serde_json::from_str(line).unwrap();
            let some = |value: String| (!value.is_empty()).then(|| shown(&value));
            let expected = PostgresSource {
                client: Client::Qgis,
                service: some(service),
                host: some(host),
                port: some(port),
                user: some(user),
                database: some(database),
                ssl_mode: some(ssl_mode).filter(|mode| mode != "prefer"),
                authcfg: !authcfg.is_empty(),
                own_password: password,
            };
            let parsed = parse("postgres", &text);
            assert_eq!(parsed.postgres.unwrap(), expected, "{text:?}");
            assert_eq!(parsed.filter, sql, "{text:?}");
        }
    }

    /// Says what was found as `key=value` pairs.
    fn gdal(source: &str) -> String {
        let Some(found) = parse("ogr", source).postgres else { return "not PostgreSQL".to_owned() };
        assert_eq!(found.client, Client::Gdal);
        let named = [
            ("service", found.service),
            ("host", found.host),
            ("port", found.port),
            ("user", found.user),
            ("dbname", found.database),
            ("sslmode", found.ssl_mode),
            ("authcfg", found.authcfg.then(String::new)),
            ("password", found.own_password.then(String::new)),
        ];
        let pairs = named.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?)));
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn reads_gdal_connections_as_libpq_does() {
        for (source, expected) in [
            ("PG:", ""),
            ("pg:service=s", "service=s"),
            ("PG:service = 'a b'user=u", "service=a b user=u"),
            ("PG:user=a\\ b dbname='it\\'s \\x' ", "user=a b dbname=it's x"),
            ("PG:dbname=\"x", "dbname=\"x"),
            ("PG:service=s password= user=u", "service=s password="),
            ("PG:service=s password='' user=u", "service=s user=u"),
            ("PG:password=a password=''", "password="),
            ("PG:service=s hostaddr=::1 tables=x|layername=password=y", "service=s host=::1"),
            ("PG:service=s|authcfg=ab12|layername=x", "service=s authcfg="),
            ("PG:service=s authcfg='ab12'", "service=s authcfg="),
            ("PG:service=s|layername=a|authcfg=", "service=s"),
            ("PG:user='unclosed", "user=unclosed"),
            ("PG:user=x\\", "user=x"),
            (
                "PG:postgresql://al%20ice:p%40w@db.example.org:5433/gis?service=s&sslmode=require",
                "service=s host=db.example.org port=5433 user=al ice dbname=gis sslmode=require \
                 password=",
            ),
            ("PG:postgres://[::1]/gis", "host=[::1] dbname=gis"),
            ("PG:postgres://[::1]:5/gis", "host=[::1] port=5 dbname=gis"),
            ("PG:postgres://u:p@w@h", "host=h user=u password="),
            ("PG:postgresql:///?service=%73%2&user=%ff%e4", "service=s%2"),
            ("postgresql://u:p@h/db", "not PostgreSQL"),
            ("P", "not PostgreSQL"),
            ("ä:service=s", "not PostgreSQL"),
            ("./service=s.gpkg|layername=PG:service=s", "not PostgreSQL"),
        ] {
            assert_eq!(gdal(source), expected, "{source}");
        }
    }

    #[test]
    fn finds_the_filter_of_ogr() {
        for (source, expected) in [
            (
                "a.gpkg|layername=t|subset=\"x\" = @A || 'y'|layerid=1",
                "\"x\" = @A || 'y'|layerid=1",
            ),
            ("a.gpkg|LAYERID=0|SUBSET=a=1", "a=1"),
            ("a|subsetx=1", ""),
            ("a.gpkg|subset", ""),
            ("a.gpkg", ""),
        ] {
            assert_eq!(parse("ogr", source).filter, expected, "{source}");
        }
    }

    #[test]
    fn other_providers_are_none_of_our_business() {
        for provider in ["mssql", "oracle", "memory", "virtual", "", "Postgres"] {
            assert!(parse(provider, "service=s password=p").postgres.is_none(), "{provider}");
        }
    }
}
