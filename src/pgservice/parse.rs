//! Reads service files as text.
//!
//! Invariant: every line is a comment, a service's name, or one setting of the service above it;
//! nothing is skipped. Linear in the length of the text.

use std::collections::BTreeMap;

use super::rejected::{Place, Reason, Rejected};
use super::{
    Draft, MAX_FILE, MAX_TEXT, Service, check_characters, is_blank, is_password_like, keywords,
};
use crate::secret::Value;

/// The text of exactly one service.
pub(super) fn one(text: &[u8]) -> Result<Service, Rejected> {
    let mut reader = Reader { several: false, ..Reader::default() };
    reader.read(text, MAX_TEXT)?;
    reader.services.pop().ok_or(NO_SECTION)
}

/// The text of at least one service.
pub(super) fn many(text: &[u8]) -> Result<Vec<Service>, Rejected> {
    let mut reader = Reader { several: true, ..Reader::default() };
    reader.read(text, MAX_FILE)?;
    if reader.services.is_empty() { Err(NO_SECTION) } else { Ok(reader.services) }
}

const NO_SECTION: Rejected = Rejected { place: Place::Text, reason: Reason::NoSection };

#[derive(Default)]
struct Reader<'a> {
    /// Whether a second section is one more service, or an error.
    several: bool,
    services: Vec<Service>,
    /// The section that the lines belong to, and the line of its name.
    current: Option<(usize, Draft)>,
    /// The line of each section's name.
    names: BTreeMap<&'a str, usize>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, text: &'a [u8], limit: usize) -> Result<(), Rejected> {
        for (index, line) in readable(text, limit)?.split('\n').enumerate() {
            let number = index + 1;
            // Indentation is libpq's to strip, so an indented `[` begins a section as well.
            let line = line.strip_suffix('\r').unwrap_or(line).trim_start_matches(is_blank);
            match line.as_bytes().first() {
                None | Some(b'#' | b';') => Ok(()),
                Some(b'[') => self.section(number, line),
                Some(_) => self.setting(line).map_err(|reason| at(number, reason)),
            }?;
        }
        self.close()
    }

    fn section(&mut self, number: usize, line: &'a str) -> Result<(), Rejected> {
        if self.current.is_some() && !self.several {
            return Err(at(number, Reason::SecondSection));
        }
        self.close()?;
        let name = name(line).map_err(|reason| at(number, reason))?;
        if let Some(first) = self.names.insert(name, number) {
            return Err(at(number, Reason::RepeatedSection { first }));
        }
        let draft = Draft::new(name).map_err(|reason| at(number, reason))?;
        self.current = Some((number, draft));
        Ok(())
    }

    fn setting(&mut self, line: &str) -> Result<(), Reason> {
        let (_, draft) = self.current.as_mut().ok_or(Reason::BeforeSection)?;
        // libpq looks at these four bytes before it looks for a `=`.
        if line.starts_with("ldap") {
            return Err(Reason::Ldap);
        }
        let (key, value) = line.split_once('=').ok_or(Reason::NoEquals)?;
        let keyword = keywords::find(key.trim_end_matches(is_blank))?;
        if value.ends_with(is_blank) {
            return Err(Reason::TrailingBlank);
        }
        // `password= x` works with libpq, as " x"; `password = x` never did, so it can only
        // mean "x". Elsewhere a value that begins with a blank is good for nothing.
        let blank_counts = !key.ends_with(is_blank) && is_password_like(keyword.name);
        if blank_counts && value.starts_with(is_blank) {
            return Err(Reason::LeadingBlank);
        }
        let value = value.trim_start_matches(is_blank);
        draft.add(keyword, Value::new(value.as_bytes().to_vec()))
    }

    /// Ends the current section.
    fn close(&mut self) -> Result<(), Rejected> {
        if let Some((number, draft)) = self.current.take() {
            self.services.push(draft.finish().map_err(|reason| at(number, reason))?);
        }
        Ok(())
    }
}

fn at(number: usize, reason: Reason) -> Rejected {
    Rejected { place: Place::Line(number), reason }
}

/// The text without its byte order mark, if it consists of lines of visible characters.
fn readable(text: &[u8], limit: usize) -> Result<&str, Rejected> {
    if text.len() > limit {
        return Err(Rejected { place: Place::Text, reason: Reason::TextTooLong { limit } });
    }
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let line_of = |offset: usize| 1 + text[..offset].iter().filter(|&&b| b == b'\n').count();
    // Before UTF-8, for UTF-16 is best told by its NULs.
    if let Some(offset) = text.iter().position(|&b| b == 0) {
        return Err(at(line_of(offset), Reason::Nul));
    }
    let text =
        str::from_utf8(text).map_err(|error| at(line_of(error.valid_up_to()), Reason::NotUtf8))?;
    let mut lines = text.split('\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let last = lines.peek().is_none();
        let line = if last { line } else { line.strip_suffix('\r').unwrap_or(line) };
        check_characters(line).map_err(|reason| match reason {
            Reason::LineBreak => at(index + 1, Reason::LoneCarriageReturn),
            other => at(index + 1, other),
        })?;
    }
    Ok(text)
}

/// The name in `[name]`.
fn name(line: &str) -> Result<&str, Reason> {
    let line = line.trim_end_matches(is_blank);
    let (name, rest) =
        line.strip_prefix('[').unwrap_or(line).split_once(']').ok_or(Reason::UnclosedName)?;
    if rest.is_empty() { Ok(name) } else { Err(Reason::AfterName) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgservice::{parse_all, render_file};

    #[test]
    fn harmless_differences_are_put_right() {
        let canonical = "[db]\nhost=h\npassword=p w\nport=\n";
        let comment = format!("[db]\nhost=h\n#{}\npassword=p w\nport=", "x".repeat(2000));
        for text in [
            canonical,
            "[db]\nhost=h\npassword=p w\nport=",
            "\u{feff}[db]\nhost=h\npassword=p w\nport=\n",
            "[db]\r\nhost=h\r\npassword=p w\r\nport=\r\n",
            "\n \t\n# c\n; c\n  [db] \t\n\thost=h\n\n ;x\n password=p w\n#\nport=\n\n",
            "[db]\nhost = h\npassword\t=  p w\nport =",
            "[db]\nhost= h\npassword=p w\nport=",
            &comment,
        ] {
            let service = Service::parse(text.as_bytes()).unwrap();
            assert_eq!(str::from_utf8(service.render().expose()).unwrap(), canonical, "{text:?}");
        }
    }

    #[test]
    fn the_rest_is_refused_with_its_line() {
        let long = format!("[db]\npassword=canary{}", "x".repeat(1021 - 14));
        let long_name = format!("\n[canary{}]\n", "x".repeat(1020 - 6));
        let similar = |keyword| Reason::UnknownKey { similar: Some(keyword) };
        for (text, line, reason) in [
            ("canary\n[db]\nuser=u", 1, Reason::BeforeSection),
            ("\nuser=canary\n[db]\nuser=u", 2, Reason::BeforeSection),
            ("[db]\nuser=u\n[canary]\nuser=u", 3, Reason::SecondSection),
            ("[db]\nuser=u\n \t[canary]", 3, Reason::SecondSection),
            ("[db]\nuser=u\n[db]", 3, Reason::SecondSection),
            ("[DEFAULT]\n[canary]", 2, Reason::SecondSection),
            ("#\n[canary\nuser=u", 2, Reason::UnclosedName),
            ("[canary] x", 1, Reason::AfterName),
            ("[canary] # x", 1, Reason::AfterName),
            ("[can]ary]\nuser=u", 1, Reason::AfterName),
            ("[]\nuser=u", 1, Reason::EmptyName),
            ("[ ]\nuser=u", 1, Reason::EmptyName),
            ("[ canary ]\nuser=u", 1, Reason::BlankAroundName),
            ("\n[canary]\n# user=u\n", 2, Reason::NoSettings),
            ("[db]\ncanary=x", 2, Reason::UnknownKey { similar: None }),
            ("[db]\n=canary", 2, Reason::UnknownKey { similar: None }),
            ("[db]\nHOST=canary", 2, similar("host")),
            ("[db]\nhost: canary=x", 2, Reason::UnknownKey { similar: None }),
            ("[db]\nuser\u{a0}=canary", 2, similar("user")),
            ("[db]\nrequiressl=canary", 2, similar("sslmode")),
            ("[db]\nhost: canary", 2, Reason::NoEquals),
            ("[db]\noptions=a\n  canary", 3, Reason::NoEquals),
            ("[db]\nservice=canary", 2, Reason::NestedService),
            ("[db]\nservicefile = canary", 2, Reason::NestedService),
            ("[db]\n  ldap://canary/dn?a?b", 2, Reason::Ldap),
            ("[db]\nldapcanary=x", 2, Reason::Ldap),
            ("[db]\nuser=u\nuser = canary", 3, Reason::RepeatedKey),
            ("[db]\nuser=canary ", 2, Reason::TrailingBlank),
            ("[db]\nuser=canary\t\r\n", 2, Reason::TrailingBlank),
            ("[db]\npassword= ", 2, Reason::TrailingBlank),
            ("[db]\npassword= canary", 2, Reason::LeadingBlank),
            ("[db]\nuser=can\0ary", 2, Reason::Nul),
            ("[db]\n# can\0ary\nuser=u", 2, Reason::Nul),
            ("[db]\ruser=canary\r", 1, Reason::LoneCarriageReturn),
            ("[db]\nuser=canary\r", 2, Reason::LoneCarriageReturn),
            ("[db]\nuser=canary\r\r\n", 2, Reason::LoneCarriageReturn),
            ("[db]\nuser=can\x0bary", 2, Reason::Control),
            ("[db]\n\x0cuser=canary", 2, Reason::Control),
            ("[db]\nuser=can\u{85}ary", 2, Reason::Control),
            ("[db]\nsslmode=canary", 2, Reason::Sslmode),
            ("[db]\nsslmode=", 2, Reason::Sslmode),
            ("[db]\nsslmode=Require", 2, Reason::Sslmode),
            ("[db]\nport=canary", 2, Reason::Port),
            ("[db]\nport=5432 # canary", 2, Reason::Port),
            (&long, 2, Reason::LineTooLong),
            (&long_name, 2, Reason::LineTooLong),
        ] {
            let error = Service::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, at(line, reason), "{text:?}");
            let message = error.to_string();
            assert!(message.starts_with(&format!("line {line}: ")), "{message}");
            assert!(!message.contains("canary") && !format!("{error:?}").contains("canary"));
        }
        assert!(Service::parse(&long.as_bytes()[..long.len() - 1]).is_ok());
    }

    #[test]
    fn text_that_is_no_service_at_all() {
        let refused = |text: &[u8]| Service::parse(text).unwrap_err();
        for text in ["", "\n\n", "# c\n; c\n", "\u{feff}"] {
            assert_eq!(refused(text.as_bytes()), NO_SECTION, "{text:?}");
        }
        assert_eq!(refused(b"[db]\nuser=\xe4\xff").reason, Reason::NotUtf8);
        assert_eq!(refused(b"[db]\nuser=\xe4\xff").place, Place::Line(2));
        assert_eq!(refused(b"\xff\xfe[\0d\0b\0]\0\n\0").reason, Reason::Nul);
        let mut text = b"[db]\nuser=u\n".to_vec();
        text.resize(MAX_TEXT, b'\n');
        assert!(Service::parse(&text).is_ok());
        text.push(b'\n');
        assert_eq!(refused(&text).reason, Reason::TextTooLong { limit: MAX_TEXT });
        assert!(parse_all(&text).is_ok());
    }

    #[test]
    fn a_whole_file() {
        let text = "\u{feff}# c\n[a]\nuser = u\n\n [b c]\nuser=v\n";
        let services = parse_all(text.as_bytes()).unwrap();
        assert_eq!(render_file(&services).expose(), b"[a]\nuser=u\n[b c]\nuser=v\n");
        for (text, line, reason) in [
            ("x\n[a]\nuser=u", 1, Reason::BeforeSection),
            ("[a]\nuser=u\n[b]\nuser=u\n[a]\nuser=u", 5, Reason::RepeatedSection { first: 1 }),
            ("[a]\nuser=u\n[b]\n[c]\nuser=u", 3, Reason::NoSettings),
            ("[a]\nuser=u\n[b]\nusr=canary", 4, Reason::UnknownKey { similar: Some("user") }),
        ] {
            assert_eq!(parse_all(text.as_bytes()).unwrap_err(), at(line, reason), "{text:?}");
        }
        assert_eq!(parse_all(b"").unwrap_err(), NO_SECTION);
    }
}
