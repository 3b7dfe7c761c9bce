//! The grammar of `.env` files, read strictly.
//!
//! Invariant: no value is guessed at. Where the common readers of such files differ most (a bare
//! `$`, a blank around `=`, a `#` inside), the line is refused with the way to write it instead;
//! nothing is ever replaced by a variable of the environment.
//!
//! A line is empty, a comment that begins with `#`, or `NAME=value`, with `export ` before it or
//! not. A value is bare, or in single quotes (taken as it is), or in double quotes (`\n`, `\r`,
//! `\t`, `\"`, `\\`, `\$` are known); quoted values may go over several lines.

use crate::secret::{Value, ValueBuf};

/// Why a file is refused. Holds line numbers, never text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Refused {
    /// From 1.
    pub line: usize,
    /// What is wrong, and how to write it.
    pub problem: &'static str,
}

/// A variable of a file.
#[derive(Debug)]
pub struct Variable {
    /// Where it begins, from 1.
    pub line: usize,
    /// Letters, digits and `_`.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// Reads a file's variables, in their order.
pub fn parse(text: &[u8]) -> Result<Vec<Variable>, Refused> {
    let text = std::str::from_utf8(text)
        .map_err(|_| Refused { line: 1, problem: "the file is not UTF-8 text" })?;
    let mut reader = Reader { rest: text.trim_start_matches('\u{feff}'), line: 1 };
    let mut variables: Vec<Variable> = Vec::new();
    while !reader.rest.is_empty() {
        let line = reader.line;
        if let Some((name, value)) = reader.entry()? {
            if variables.iter().any(|earlier| earlier.name == name) {
                return Err(Refused { line, problem: "the variable stands twice in the file" });
            }
            variables.push(Variable { line, name, value });
        }
    }
    Ok(variables)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn refused<T>(&self, problem: &'static str) -> Result<T, Refused> {
        Err(Refused { line: self.line, problem })
    }

    /// One line, or as many as a quoted value takes.
    fn entry(&mut self) -> Result<Option<(String, Value)>, Refused> {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let line = self.rest[..end].trim_end_matches('\r').trim_start();
        if line.trim().is_empty() || line.starts_with('#') {
            self.skip(end);
            return Ok(None);
        }
        let indent = self.rest.len() - self.rest.trim_start().len();
        let begin = match line.strip_prefix("export ") {
            Some(after) => indent + (line.len() - after.trim_start().len()),
            None => indent,
        };
        let Some(equals) = self.rest[begin..end].find('=') else {
            return self.refused("not NAME=value");
        };
        let name = &self.rest[begin..begin + equals];
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return self.refused("the part before `=` is not a variable's name; no blanks there");
        }
        let name = name.to_owned();
        self.rest = &self.rest[begin + equals + 1..];
        let value = match self.rest.as_bytes().first() {
            Some(b'\'') => self.quoted('\'')?,
            Some(b'"') => self.quoted('"')?,
            _ => self.bare()?,
        };
        Ok(Some((name, value)))
    }

    fn bare(&mut self) -> Result<Value, Refused> {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let value = self.rest[..end].trim_end_matches('\r');
        if value.contains(['$', '`', '\\', '\'', '"', '#']) {
            return self.refused(
                "a bare value cannot hold $ ` \\ # or quotes, which readers take differently; put \
                 it in single quotes",
            );
        }
        if value.starts_with([' ', '\t']) || value.ends_with([' ', '\t']) {
            return self.refused("a bare value has blanks at an edge; put it in single quotes");
        }
        let value = Value::from(value);
        self.skip(end);
        Ok(value)
    }

    fn quoted(&mut self, quote: char) -> Result<Value, Refused> {
        let mut value = ValueBuf::new();
        let mut chars = self.rest[1..].char_indices();
        let closed = loop {
            let Some((at, c)) = chars.next() else {
                return self.refused("a quote is opened here and never closed");
            };
            match c {
                c if c == quote => break at + 2,
                '\\' if quote == '"' => {
                    let escaped = match chars.next() {
                        Some((_, 'n')) => "\n",
                        Some((_, 'r')) => "\r",
                        Some((_, 't')) => "\t",
                        Some((_, '"')) => "\"",
                        Some((_, '\\')) => "\\",
                        Some((_, '$')) => "$",
                        _ => {
                            return self.refused(
                                "in double quotes a backslash stands before n, r, t, \", \\ or $ \
                                 only; single quotes take everything as it is",
                            );
                        }
                    };
                    value.push(escaped.as_bytes());
                }
                '$' | '`' if quote == '"' => {
                    return self.refused(
                        "$ and ` in double quotes would be replaced by some readers; use single \
                         quotes, or write \\$",
                    );
                }
                c => value.push(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        };
        let lines = self.rest[..closed].matches('\n').count();
        let (rest, first) = (&self.rest[closed..], self.line);
        let end = rest.find('\n').unwrap_or(rest.len());
        let after = rest[..end].trim();
        if !(after.is_empty() || after.starts_with('#') && rest.starts_with([' ', '\t'])) {
            return self.refused("there is more on the line after the closing quote");
        }
        self.rest = rest;
        self.line = first + lines;
        self.skip(end);
        Ok(value.finish())
    }

    fn skip(&mut self, end: usize) {
        self.rest = self.rest.get(end + 1..).unwrap_or("");
        self.line += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, Refused> {
        let text_of = |value: &Value| String::from_utf8(value.expose().to_vec()).unwrap();
        let variables = parse(text.as_bytes())?;
        Ok(variables.iter().map(|v| (v.name.clone(), text_of(&v.value))).collect())
    }

    #[test]
    fn what_is_accepted() {
        let text = "\u{feff}# keys\n\nAPI_KEY=abc=1\r\n  export B='a $b \\n # \"'\nC=\"x\\ny\\\"\\$\"\n\
                    PEM='-----BEGIN\nmiddle\n'  # a comment\nEMPTY=\nLAST=z";
        let expected = [
            ("API_KEY", "abc=1"),
            ("B", "a $b \\n # \""),
            ("C", "x\ny\"$"),
            ("PEM", "-----BEGIN\nmiddle\n"),
            ("EMPTY", ""),
            ("LAST", "z"),
        ];
        let expected = expected.map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn what_is_refused_and_where() {
        for (text, line) in [
            ("A=1\nhunter2", 2),
            ("A=1\n\nA=2", 3),
            ("A =hunter2", 1),
            ("A= hunter2", 1),
            ("A=hunter2 ", 1),
            ("A=hunter$2", 1),
            ("A=hunter2 # c", 1),
            ("A=\"hunter$2\"", 1),
            ("A=\"hunter\\2\"", 1),
            ("A='x\ny'\nB='hunter2", 3),
            ("A='x'hunter2", 1),
            ("A='x\ny'\nhunter2", 3),
            ("=hunter2", 1),
            ("A-B=hunter2", 1),
        ] {
            let refused = read(text).expect_err(text);
            assert_eq!(refused.line, line, "{text}");
            assert!(!refused.to_string().contains("hunter"), "{refused}");
        }
        assert!(parse(b"A=\xff").is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,80}") {
            drop(read(&text));
        }

        #[test]
        fn single_quotes_keep_everything(value in "[^'\0]{0,60}") {
            let variables = read(&format!("A='{value}'\n")).unwrap();
            proptest::prop_assert_eq!(&variables[0].1, &value);
        }
    }
}
