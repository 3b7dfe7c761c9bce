//! The form of one secret: what is typed into it, and what that means.
//!
//! Invariant: whatever the outcome, the form holds what was typed, so that nothing is lost by
//! changing the editor, adding a row or a mistake.

use super::body::Fields;
use super::problems::Problems;
use super::typed::Typed;
use super::words::Choice;
use crate::secret::{Kind, Owner};
use crate::server::submission::{self, Accepted, ServiceFields};

/// The fields of the simple editor that have a name of their own, in the form and in libpq.
const FIELDS: [&str; 6] = ["dbname", "user", "password", "host", "port", "sslmode"];

/// Settings that are offered for an extra field.
const SUGGESTED: [&str; 14] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "options",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// The most extra fields that a form offers: libpq knows fewer settings.
const MOST_EXTRA: usize = 60;

/// How a service is typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Editor {
    /// A field for each setting.
    #[default]
    Simple,
    /// The text of a `pg_service.conf`.
    Advanced,
}

impl Editor {
    /// The word in the form.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Advanced => "advanced",
        }
    }
}

/// Which button was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Press {
    /// Save.
    Add,
    /// One more extra field.
    Row,
    /// One extra field less.
    Drop(usize),
    /// The other editor, or the same.
    Switch(Editor),
}

impl Press {
    fn of(word: &str) -> Self {
        match word {
            "row" => Self::Row,
            "simple" => Self::Switch(Editor::Simple),
            "advanced" => Self::Switch(Editor::Advanced),
            word => match word.strip_prefix("drop-").map(str::parse) {
                Some(Ok(index)) => Self::Drop(index),
                _ => Self::Add,
            },
        }
    }
}

/// What is typed.
#[derive(Debug)]
pub(super) struct SecretForm {
    /// What it will be.
    pub(super) kind: Kind,
    /// How a service is typed.
    pub(super) editor: Editor,
    /// A variable's name.
    pub(super) name: Typed,
    /// Its value.
    pub(super) value: Typed,
    /// Whether it is marked as not sensitive.
    pub(super) open: bool,
    /// A service's name.
    pub(super) service: Typed,
    /// `dbname`.
    pub(super) dbname: Typed,
    /// `user`.
    pub(super) user: Typed,
    /// `password`.
    pub(super) password: Typed,
    /// `host`.
    pub(super) host: Typed,
    /// `port`.
    pub(super) port: Typed,
    /// `sslmode`; empty for none.
    pub(super) sslmode: Typed,
    /// Other settings.
    pub(super) extra: Vec<(Typed, Typed)>,
    /// The text of the advanced editor.
    pub(super) text: Typed,
    /// The id of the user that it is for.
    pub(super) assigned: Typed,
    /// The warnings that were shown before.
    pub(super) seen: Vec<String>,
    /// Whether several services were shown before.
    pub(super) previewed: bool,
    /// Whether those that are there already are to be replaced.
    pub(super) replace: bool,
    /// How many lines of comments the simple editor had no place for.
    pub(super) lost_comments: usize,
    /// The extra field to go on with.
    focus: Option<usize>,
}

/// An extra field, to be shown.
#[derive(Debug)]
pub(super) struct Extra<'a> {
    pub(super) at: String,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
    pub(super) focus: bool,
}

impl SecretForm {
    /// An empty one.
    pub(super) fn new(kind: Kind, editor: Editor) -> Self {
        let mut form = Self::read(Fields::default(), kind).0;
        form.editor = editor;
        form
    }

    /// Reads what was sent, and which button sent it.
    pub(super) fn read(mut sent: Fields, kind: Kind) -> (Self, Press) {
        let press = Press::of(sent.get("do"));
        let editor =
            if sent.get("editor") == "advanced" { Editor::Advanced } else { Editor::Simple };
        let flag = |name: &str| sent.get(name) == "yes";
        let (open, previewed, replace) = (flag("open"), flag("previewed"), flag("replace"));
        let keys = sent.take_all("extra_key");
        let form = Self {
            kind,
            editor,
            name: sent.take("name").trimmed(),
            value: sent.take("value").lines(),
            open,
            service: sent.take("service").trimmed(),
            dbname: sent.take("dbname"),
            user: sent.take("user"),
            password: sent.take("password"),
            host: sent.take("host"),
            port: sent.take("port"),
            sslmode: sent.take("sslmode"),
            extra: keys.into_iter().zip(sent.take_all("extra_value")).take(MOST_EXTRA).collect(),
            text: sent.take("text").lines(),
            assigned: sent.take("assigned").trimmed(),
            seen: sent.take_all("seen").iter().map(|typed| typed.text().to_owned()).collect(),
            previewed,
            replace,
            lost_comments: 0,
            focus: None,
        };
        (form, press)
    }

    /// Does what a button does that saves nothing.
    pub(super) fn press(&mut self, press: Press) {
        match press {
            Press::Add => {}
            Press::Row => {
                if self.extra.len() < MOST_EXTRA {
                    self.extra.push(<(Typed, Typed)>::default());
                }
                self.focus = self.extra.len().checked_sub(1);
            }
            Press::Drop(index) => {
                if index < self.extra.len() {
                    drop(self.extra.remove(index));
                }
                self.focus = self.extra.len().checked_sub(1).map(|last| last.min(index));
            }
            Press::Switch(Editor::Advanced) if self.editor == Editor::Simple => {
                self.text = Typed::of(&submission::text_of(&self.fields()));
                self.editor = Editor::Advanced;
            }
            // What the fields can't hold stays text; `check` then says why.
            Press::Switch(Editor::Simple) if self.editor == Editor::Advanced => {
                if self.text.text().trim().is_empty() {
                    self.editor = Editor::Simple;
                } else if let Some(switched) = submission::fields_of(&self.text.value()) {
                    self.fill(switched.fields);
                    self.lost_comments = switched.comments;
                }
            }
            Press::Switch(_) => {}
        }
    }

    fn fields(&self) -> ServiceFields {
        ServiceFields {
            service: self.service.text().to_owned(),
            dbname: self.dbname.text().to_owned(),
            user: self.user.text().to_owned(),
            password: (!self.password.is_empty()).then(|| self.password.value()),
            host: self.host.text().to_owned(),
            port: self.port.text().to_owned(),
            sslmode: self.sslmode.text().to_owned(),
            extra: self.extra.iter().map(|(k, v)| (k.text().to_owned(), v.value())).collect(),
        }
    }

    fn fill(&mut self, fields: ServiceFields) {
        self.editor = Editor::Simple;
        self.service = Typed::new(fields.service);
        self.dbname = Typed::new(fields.dbname);
        self.user = Typed::new(fields.user);
        self.password = fields.password.as_ref().map(Typed::of).unwrap_or_default();
        self.host = Typed::new(fields.host);
        self.port = Typed::new(fields.port);
        self.sslmode = Typed::new(fields.sslmode);
        let extra = fields.extra.into_iter();
        self.extra = extra.map(|(key, value)| (Typed::new(key), Typed::of(&value))).collect();
    }

    /// What the form means.
    ///
    /// # Errors
    /// What is wrong, beside the form's fields.
    pub(super) fn check(&self, owner: &Owner, oldest_libpq: u16) -> Result<Accepted, Problems> {
        let accepted = match (self.kind, self.editor) {
            (Kind::Envvar, _) => {
                submission::variable(owner, self.name.text(), self.value.value(), !self.open)
            }
            (Kind::Pgservice, Editor::Simple) => {
                submission::service(owner, self.fields(), oldest_libpq)
            }
            (Kind::Pgservice, Editor::Advanced) => {
                submission::services(owner, &self.text.value(), oldest_libpq)
            }
        };
        accepted.map_err(|faults| {
            let mut problems = Problems::default();
            for problem in Problems::from(faults).all() {
                // Every field that a fault can name has its place, but those of extra settings.
                let field = self.place(&problem.field);
                problems.add(field, &problem.text);
            }
            problems
        })
    }

    /// Where on the form a problem with a field of the submission is shown.
    fn place(&self, field: &str) -> String {
        if self.kind == Kind::Pgservice && self.editor == Editor::Advanced && !field.is_empty() {
            return "text".to_owned();
        }
        let own = ["name", "value", "service", "text", ""].contains(&field);
        if own || FIELDS.contains(&field) || field.starts_with("extra-") {
            return field.to_owned();
        }
        let extra = self.extra.iter().position(|(key, _)| key.text() == field);
        extra.map(|index| format!("extra-{index}")).unwrap_or_default()
    }

    /// The field of the name, or of the text that has it.
    pub(super) fn name_field(&self) -> &'static str {
        match (self.kind, self.editor) {
            (Kind::Envvar, _) => "name",
            (Kind::Pgservice, Editor::Simple) => "service",
            (Kind::Pgservice, Editor::Advanced) => "text",
        }
    }

    /// The warnings that nobody has been shown yet.
    pub(super) fn is_new(&self, warnings: &[String]) -> bool {
        warnings.iter().any(|warning| !self.seen.contains(warning))
    }

    /// Whether it is a service.
    pub(super) fn is_service(&self) -> bool {
        self.kind == Kind::Pgservice
    }

    /// Whether its editor is the simple one.
    pub(super) fn is_simple(&self) -> bool {
        self.editor == Editor::Simple
    }

    /// The extra fields, to be shown.
    pub(super) fn extras(&self) -> Vec<Extra<'_>> {
        let rows = self.extra.iter().enumerate();
        rows.map(|(index, (key, value))| Extra {
            at: format!("extra-{index}"),
            key: key.text(),
            value: value.text(),
            focus: self.focus == Some(index),
        })
        .collect()
    }

    /// What to choose for `sslmode`. Something else that came in by the text stays to be chosen.
    pub(super) fn sslmodes(&self) -> Vec<Choice> {
        let sent = self.sslmode.text();
        let known = [
            ("", "Not said (libpq's default: prefer)"),
            ("disable", "disable – never"),
            ("allow", "allow – only if the server insists"),
            ("prefer", "prefer – if the server can"),
            ("require", "require – always, whoever the server is"),
            ("verify-ca", "verify-ca – always, checks the certificate"),
            ("verify-full", "verify-full – always, checks certificate and host"),
        ];
        let mut choices: Vec<Choice> =
            known.into_iter().map(|(value, text)| Choice::new(value, text, sent)).collect();
        if !choices.iter().any(|choice| choice.chosen) {
            choices.push(Choice::new(sent, sent, sent));
        }
        choices
    }

    /// Settings that are offered for an extra field.
    pub(super) fn suggestions(&self) -> [&'static str; 14] {
        SUGGESTED
    }
}

#[cfg(test)]
mod tests;
