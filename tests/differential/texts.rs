//! Generates service files, good and spoilt.

use qgis_secrets::pgservice;

/// Numbers from a seed (SplitMix64), so that a case's number is all that it takes to repeat it.
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap_or_default()
    }

    pub(super) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    pub(super) fn text(&mut self, least: usize, most: usize) -> String {
        let length = least + self.below(most - least + 1);
        (0..length).map(|_| self.pick(ATOMS)).collect()
    }

    pub(super) fn value(&mut self, keyword: &str) -> String {
        match keyword {
            "port" => self.pick(&["5432", "", "5432,5433", "1,,2", "+1", "0", "x"]).to_owned(),
            "sslmode" => self.pick(SSLMODES).to_owned(),
            _ => self.text(0, 12),
        }
    }
}

pub(super) fn port(rng: &mut Rng) -> String {
    match rng.below(4) {
        0 => {
            (0..rng.below(6)).map(|_| rng.pick(&["0", "1", "5", "9", "+", "-", " ", "x"])).collect()
        }
        1 => {
            format!("{}{}", rng.pick(&["", " ", "\t", "00000000", "+"]), 65_000 + rng.below(1_000))
        }
        2 => format!("{}{}", rng.below(70_000), rng.pick(&["", " ", "\t "])),
        _ => rng.pick(&["", "5432", "4294967297", "18446744073709551617"]).to_owned(),
    }
}

pub(super) const SSLMODES: &[&str] =
    &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// No `?`: with `ldap` it could become a search.
const ATOMS: &[&str] = &[
    "a", "b", "Z", "0", "9", " ", "\t", "'", "\"", "\\", "%", "#", ";", "=", "[", "]", "ä", "€",
    "\u{a0}", "%41", "://", "-", "ldap", "😀", "$(x)", "{}", ",", "é",
];

pub(super) const ODD_TEXT: &[&str] =
    &[" ", "\t", "\n", "\r", "\r\n", "\0", "\x0b", "\x0c", "\x1b", "\u{85}"];

/// The common ones, some with a default, those of later versions, two that are gone.
pub(crate) const KEYWORDS: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "sslmode",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "sslcompression",
    "options",
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "requirepeer",
    "gssencmode",
    "krbsrvname",
    "gsslib",
    "replication",
    "target_session_attrs",
    "channel_binding",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "sslcertmode",
    "require_auth",
    "gssdelegation",
    "load_balance_hosts",
    "sslnegotiation",
    "min_protocol_version",
    "max_protocol_version",
    "scram_client_key",
    "scram_server_key",
    "oauth_issuer",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_scope",
    "sslkeylogfile",
    "oauth_ca_file",
    "authtype",
    "tty",
];

/// How many of [`KEYWORDS`] come first and are known to every libpq since 14.
const COMMON: usize = 32;

/// One section that nothing is wrong with.
pub(super) fn good_text(rng: &mut Rng) -> Vec<u8> {
    let mut text = format!("[{}]\n", rng.pick(&["db", "a", "my db", "ä", "it's", "x\\y", "#1"]));
    let keywords = if rng.below(10) == 0 { KEYWORDS } else { &KEYWORDS[..COMMON] };
    let first = rng.below(keywords.len());
    for i in 0..=rng.below(5) {
        let keyword = keywords[(first + 7 * i) % keywords.len()];
        let value = match keyword {
            "port" => rng.pick(&["5432", "", "5432,5433"]).to_owned(),
            _ => rng.value(keyword).trim_matches([' ', '\t']).to_owned(),
        };
        text.push_str(&format!("{keyword}={value}\n"));
    }
    text.into_bytes()
}

/// The same section as somebody writes it who doesn't know libpq.
pub(super) fn sloppy(rng: &mut Rng, good: &[u8]) -> Vec<u8> {
    let mut text = rng.pick(&["", "\u{feff}", "\n", "; c\n"]).to_owned();
    let end = rng.pick(&["\n", "\r\n"]);
    let long = format!("# {}", "c".repeat(1_100));
    for line in String::from_utf8_lossy(good).lines() {
        if rng.below(4) == 0 {
            text.push_str(rng.pick(&["", " \t", "# user=c", " ; user=c", "#[c]", ";c \t", &long]));
            text.push_str(end);
        }
        text.push_str(rng.pick(&["", "", " ", "\t "]));
        match line.split_once('=') {
            Some((key, "")) => text.push_str(&format!("{key}{}=", rng.pick(&["", " "]))),
            Some((key, value)) if !line.starts_with('[') => {
                let before = rng.pick(&["", " ", "\t"]);
                // Before a password, one blank behind `=` alone is no harmless difference.
                let alone = before.is_empty() && pgservice::is_password_like(key);
                let after = if alone { "" } else { rng.pick(&["", " ", "\t"]) };
                text.push_str(&format!("{key}{before}={after}{value}"));
            }
            _ => text.push_str(&format!("{line}{}", rng.pick(&["", " ", "\t"]))),
        }
        text.push_str(end);
    }
    text.into_bytes()
}

/// A text with none to three things done to it.
pub(super) fn spoilt_text(rng: &mut Rng) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> =
        good_text(rng).split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
    for _ in 0..[0, 1, 1, 2, 3][rng.below(5)] {
        let at = rng.below(lines.len());
        spoil(rng, &mut lines, at);
    }
    let mut text = lines.join(&b"\n"[..]);
    match rng.below(30) {
        0 => text = text.split(|&b| b == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]),
        1 => text.iter_mut().filter(|b| **b == b'\n').for_each(|b| *b = b'\r'),
        2 => text.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
        3 => text.truncate(text.len().saturating_sub(1)),
        _ => {}
    }
    text
}

/// Does one thing to one line, or puts one beside it.
fn spoil(rng: &mut Rng, lines: &mut Vec<Vec<u8>>, at: usize) {
    let odd = rng.below(8) == 0;
    let blank =
        rng.pick(if odd { &["\x0b", "\x0c", "\r", "\u{a0}"] } else { &[" ", " ", "\t", "  "] });
    let blank = blank.as_bytes().to_vec();
    let equals = lines[at].iter().position(|&b| b == b'=');
    match (rng.below(20), equals) {
        (0..3, Some(equals)) => insert(&mut lines[at], equals, &blank),
        (3..5, Some(equals)) => insert(&mut lines[at], equals + 1, &blank),
        (5, Some(equals)) => {
            insert(&mut lines[at], equals + 1, &blank);
            insert(&mut lines[at], equals, &blank);
        }
        (6..8, _) => insert(&mut lines[at], 0, &blank),
        (8, _) => lines[at].extend(blank),
        (9, Some(equals)) => {
            let second = 1.min(lines[at].len() - 1);
            match rng.below(4) {
                0 => lines[at][..equals].make_ascii_uppercase(),
                1 => lines[at][equals] = b':',
                2 => drop(lines[at].remove(equals)),
                _ => lines[at].swap(0, second),
            }
        }
        // Around the longest line.
        (10, _) => {
            let length = 1015 + rng.below(15);
            let inside = lines[at].iter().position(|&b| b == b']').unwrap_or(lines[at].len());
            let missing = length.saturating_sub(lines[at].len());
            insert(&mut lines[at], inside, &vec![b'x'; missing]);
        }
        (11, _) => {
            let offset = rng.below(lines[at].len() + 1);
            let odd = [&b"\0"[..], b"\r", b"\x0b", b"\x0c", b"\x01", b"\xe4", b"\xa0", b"=", b"]"];
            insert(&mut lines[at], offset, odd[rng.below(odd.len())]);
        }
        (12, None) => {
            let header = ["[db", "[db] x", "[ db]", "[db ]", "[]", "[d]b]", "[ ]", "[db] # c"];
            lines[at] = rng.pick(&header).as_bytes().to_vec();
        }
        (13, _) => {
            let mut copy = lines[rng.below(lines.len())].clone();
            if rng.below(2) == 0 {
                copy.push(b'x');
            }
            lines.insert(at, copy);
        }
        (14, _) => drop(lines.remove(at)),
        _ => {
            let long =
                format!("{}{}", rng.pick(&["#", ";", " # "]), "c".repeat(1018 + rng.below(8)));
            let line = match rng.below(6) {
                0..3 => rng.pick(&["", "# user=c", "; user=c", "  ; c", "\t#", " \t", ";"]),
                3 => rng.pick(&[
                    "service=x",
                    "servicefile=x",
                    "ldap=x",
                    " ldap://nodn",
                    "ldapx",
                    "requiressl=1",
                    "nosuch=x",
                    "\"quoted\"",
                    "-- text",
                    "!text",
                    "just text",
                    "=x",
                    "hots=x",
                    "User=x",
                ]),
                4 => rng.pick(&["[two]", " [two]", "\t[db]", "[db]", "[a", "[two]\nuser=x"]),
                _ => long.as_str(),
            };
            let place = if rng.below(6) == 0 { 0 } else { at };
            lines.insert(place, line.as_bytes().to_vec());
        }
    }
    if lines.is_empty() {
        lines.push(Vec::new());
    }
}

fn insert(line: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    line.splice(at..at, bytes.iter().copied()).for_each(drop);
}
