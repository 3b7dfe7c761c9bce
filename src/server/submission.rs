//! What was typed or sent, as checked additions: pure.
//!
//! Invariants: an error or a warning says where and why, and never holds a value; what comes out
//! is in the form in which it is stored, and [`is_sound`].

mod editor;

use crate::dotenv;
use crate::environment::{self, Doubt, Refused};
use crate::pgservice::{self, Place, Reason, Rejected, Service};
use crate::secret::{Kind, Name, Owner, Value, ValueBuf};
use crate::server::administration::Addition;

pub use self::editor::{Switched, fields_of, text_of};

/// What came out of a submission.
///
/// No `Clone`, `Display` or `Serialize`, for it holds values.
#[derive(Debug)]
pub struct Accepted {
    /// What to add.
    pub additions: Vec<Addition>,
    /// What deserves a second look, for people.
    pub warnings: Vec<String>,
}

/// Where in a submission something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The whole.
    Whole,
    /// A field: `name`, `value`, or one of [`ServiceFields`].
    Field(&'static str),
    /// One of the extra settings, counted from 0.
    Extra(usize),
    /// A line of the pasted text, counted from 1.
    Line(usize),
}

/// What is wrong with a submission: where, and a sentence with what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: At,
    /// What is wrong, and what to do; never a value.
    pub text: String,
}

/// The fields of the simple editor. What is empty is not given.
///
/// No `Clone`, `Display` or `Serialize`, for it holds values.
#[derive(Debug, Default)]
pub struct ServiceFields {
    /// The section's name.
    pub service: String,
    /// `dbname`.
    pub dbname: String,
    /// `user`.
    pub user: String,
    /// `password`.
    pub password: Option<Value>,
    /// `host`.
    pub host: String,
    /// `port`.
    pub port: String,
    /// `sslmode`.
    pub sslmode: String,
    /// Other settings, in their order. One with neither key nor value is not given; one with a key
    /// and an empty value is: to libpq that is not the same as left out.
    pub extra: Vec<(String, Value)>,
}

/// Whether a value is what its kind demands, in the form in which it is stored.
pub fn is_sound(name: &Name, value: &Value) -> bool {
    match name.kind {
        Kind::Envvar => environment::check(&name.key, value).is_ok(),
        Kind::Pgservice => Service::parse(value.expose()).is_ok_and(|service| {
            service.name() == name.key && service.render().expose() == value.expose()
        }),
    }
}

/// What somebody typed into a field of several lines: browsers send its line ends as CRLF.
pub fn typed(value: &Value) -> Value {
    let mut text = ValueBuf::new();
    let mut rest = value.expose();
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        text.push(&rest[..at]);
        text.push(b"\n");
        rest = &rest[at + 2..];
    }
    text.push(rest);
    text.finish()
}

/// An environment variable.
pub fn variable(
    owner: &Owner,
    name: &str,
    value: Value,
    sensitive: bool,
) -> Result<Accepted, Vec<Fault>> {
    let mut faults = Vec::new();
    if let Err(refused) = environment::check(name, &"placeholder".into()) {
        faults.push(Fault { at: At::Field("name"), text: refused.to_string() });
        if value.is_empty() {
            faults.push(Fault { at: At::Field("value"), text: "the value is empty".into() });
        }
    } else if let Err(refused) = environment::check(name, &value) {
        faults.push(Fault { at: At::Field("value"), text: refused.to_string() });
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut warnings = of_level(owner);
    warnings.extend(of_value(name, &value, sensitive));
    let name = Name::envvar(name);
    Ok(Accepted {
        additions: vec![Addition { name, owner: owner.clone(), sensitive, value }],
        warnings,
    })
}

/// Environment variables from the text of a `.env` file, all sensitive.
pub fn variables(owner: &Owner, text: &Value) -> Result<Accepted, Vec<Fault>> {
    let read = dotenv::parse(text.expose()).map_err(|dotenv::Refused { line, problem }| {
        vec![Fault { at: At::Line(line), text: problem.to_owned() }]
    })?;
    if read.is_empty() {
        let text = "there is nothing in it; write a line NAME=value for each variable";
        return Err(vec![Fault { at: At::Whole, text: text.into() }]);
    }
    let faults: Vec<Fault> = read
        .iter()
        .filter_map(|variable| {
            let refused: Refused = environment::check(&variable.name, &variable.value).err()?;
            Some(Fault { at: At::Line(variable.line), text: refused.to_string() })
        })
        .collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut warnings = of_level(owner);
    let additions = read.into_iter().map(|dotenv::Variable { name, value, .. }| {
        warnings.extend(of_value(&name, &value, true));
        Addition { name: Name::envvar(name), owner: owner.clone(), sensitive: true, value }
    });
    let additions = additions.collect();
    Ok(Accepted { additions, warnings })
}

/// A service from fields. Every field that is wrong is told.
pub fn service(
    owner: &Owner,
    fields: ServiceFields,
    oldest_libpq: u16,
) -> Result<Accepted, Vec<Fault>> {
    let ServiceFields { service, dbname, user, password, host, port, sslmode, extra } = fields;
    let mut faults = Vec::new();
    let mut settings: Vec<(At, String, Value)> = Vec::new();
    for (keyword, text) in
        [("host", host), ("port", port), ("dbname", dbname), ("user", user), ("sslmode", sslmode)]
    {
        if !text.is_empty() {
            settings.push((At::Field(keyword), keyword.to_owned(), Value::from(text.as_str())));
        }
    }
    if let Some(password) = password.filter(|password| !password.is_empty()) {
        settings.push((At::Field("password"), "password".to_owned(), password));
    }
    for (index, (key, value)) in extra.into_iter().enumerate() {
        if !key.is_empty() || !value.is_empty() {
            settings.push((At::Extra(index), key, value));
        }
    }
    // With a setting that is right, what is wrong is the name.
    if let Err(why) = Service::from_settings(&service, [("host", Value::from("h"))]) {
        faults.push(fault(At::Field("service"), why.reason));
    }
    for (index, (at, key, value)) in settings.iter().enumerate() {
        let copy = Value::new(value.expose().to_vec());
        if key.is_empty() {
            faults.push(Fault {
                at: *at,
                text: "the setting has no name; give one of libpq's".into(),
            });
        } else if let Err(why) = Service::from_settings("s", [(key, copy)]) {
            faults.push(fault(*at, why.reason));
        } else if settings[..index].iter().any(|(_, earlier, _)| earlier == key) {
            faults.push(fault(*at, Reason::RepeatedKey));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let settings = settings.into_iter().map(|(_, key, value)| (key, value));
    let service = Service::from_settings(&service, settings)
        .map_err(|why| vec![fault(At::Whole, why.reason)])?;
    Ok(accepted(owner, &[service], oldest_libpq))
}

/// One or several services from pasted text: a secret for each section.
pub fn services(owner: &Owner, text: &Value, oldest_libpq: u16) -> Result<Accepted, Vec<Fault>> {
    let services = pgservice::parse_all(text.expose()).map_err(|Rejected { place, reason }| {
        let at = match place {
            Place::Line(line) => At::Line(line),
            _ => At::Whole,
        };
        vec![fault(at, reason)]
    })?;
    Ok(accepted(owner, &services, oldest_libpq))
}

fn accepted(owner: &Owner, services: &[Service], oldest_libpq: u16) -> Accepted {
    let mut warnings = of_level(owner);
    let mut additions = Vec::with_capacity(services.len());
    for service in services {
        let name = service.name();
        let found = service.warnings(oldest_libpq).into_iter();
        warnings.extend(found.map(|warning| format!("service `{name}`: {warning}")));
        additions.push(Addition {
            name: Name::pgservice(name),
            owner: owner.clone(),
            sensitive: true,
            value: service.render(),
        });
    }
    Accepted { additions, warnings }
}

fn fault(at: At, reason: Reason) -> Fault {
    Fault { at, text: format!("{reason}; {}", reason.remedy()) }
}

fn of_level(owner: &Owner) -> Vec<String> {
    owner.level().caveat().map(ToOwned::to_owned).into_iter().collect()
}

fn of_value(name: &str, value: &Value, sensitive: bool) -> impl Iterator<Item = String> {
    environment::doubts(value, sensitive).into_iter().map(move |doubt| {
        let hint = match doubt {
            Doubt::LineBreak => "",
            _ => "; if it is no secret, mark it as not sensitive",
        };
        format!("{name}: {doubt}{hint}")
    })
}

#[cfg(test)]
mod tests;
