//! Switching between the simple and the advanced editor of a service, before it is checked.
//!
//! Invariant: nothing that was typed is lost without a word. Text that is not lines of settings
//! under one name stays text.

use super::ServiceFields;
use crate::pgservice;
use crate::secret::{Value, ValueBuf};

/// What the fields are after a switch.
#[derive(Debug)]
pub struct Switched {
    /// The fields, right or not.
    pub fields: ServiceFields,
    /// How many lines of comments had no place in them.
    pub comments: usize,
}

/// The fields of a text, for the simple editor; `None` where it has to be kept as it is.
pub fn fields_of(text: &Value) -> Option<Switched> {
    let text = std::str::from_utf8(text.expose()).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut fields = ServiceFields::default();
    let mut comments = 0;
    let mut begun = false;
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start_matches(is_blank);
        if line.is_empty() {
            continue;
        }
        if line.starts_with(['#', ';']) {
            comments += 1;
        } else if let Some(name) = line.strip_prefix('[') {
            if begun {
                return None;
            }
            begun = true;
            fields.service = name.trim_end_matches(is_blank).strip_suffix(']')?.to_owned();
        } else {
            let (key, value) = line.split_once('=')?;
            if !begun {
                return None;
            }
            let bare = key.trim_end_matches(is_blank);
            // As the parser of pasted text has it.
            let blank_counts = bare == key && pgservice::is_password_like(key);
            let value = if blank_counts { value } else { value.trim_start_matches(is_blank) };
            put(&mut fields, bare, value);
        }
    }
    Some(Switched { fields, comments })
}

/// Puts a setting into its field, or with the extra ones if it has none or that is taken.
fn put(fields: &mut ServiceFields, key: &str, value: &str) {
    let field = match key {
        "host" => Some(&mut fields.host),
        "port" => Some(&mut fields.port),
        "dbname" => Some(&mut fields.dbname),
        "user" => Some(&mut fields.user),
        "sslmode" => Some(&mut fields.sslmode),
        _ => None,
    };
    match field {
        _ if value.is_empty() => fields.extra.push((key.to_owned(), Value::from(""))),
        Some(field) if field.is_empty() => value.clone_into(field),
        None if key == "password" && fields.password.is_none() => {
            fields.password = Some(Value::from(value));
        }
        _ => fields.extra.push((key.to_owned(), Value::from(value))),
    }
}

/// The text of fields, for the advanced editor, right or not. Empty if nothing is given.
pub fn text_of(fields: &ServiceFields) -> Value {
    let ServiceFields { service, dbname, user, password, host, port, sslmode, extra } = fields;
    let mut text = ValueBuf::new();
    let mut line = |key: &str, value: &[u8]| {
        for part in [key.as_bytes(), b"=", value, b"\n"] {
            text.push(part);
        }
    };
    for (key, value) in [("host", host), ("port", port), ("dbname", dbname), ("user", user)] {
        if !value.is_empty() {
            line(key, value.as_bytes());
        }
    }
    if let Some(password) = password.as_ref().filter(|password| !password.is_empty()) {
        line("password", password.expose());
    }
    if !sslmode.is_empty() {
        line("sslmode", sslmode.as_bytes());
    }
    for (key, value) in extra {
        if !key.is_empty() || !value.is_empty() {
            line(key, value.expose());
        }
    }
    let settings = text.finish();
    if settings.is_empty() && service.is_empty() {
        return settings;
    }
    let mut text = ValueBuf::new();
    for part in [b"[", service.as_bytes(), b"]\n", settings.expose()] {
        text.push(part);
    }
    text.finish()
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}
