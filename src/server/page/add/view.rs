//! What the pages for adding show.

use askama::Template;

use crate::server::page::layout::{Chrome, Place};
use crate::server::page::problems::Problems;
use crate::server::page::secret_form::SecretForm;
use crate::server::page::words::Choice;

/// The choice of a kind.
#[derive(Template)]
#[template(path = "choose.html", config = "src/server/page/askama.toml")]
pub(in crate::server::page) struct Choose {
    pub(in crate::server::page) chrome: Chrome,
    pub(in crate::server::page) place: Place,
}

/// The form of one secret.
#[derive(Template)]
#[template(path = "form.html", config = "src/server/page/askama.toml")]
pub(in crate::server::page) struct FormView {
    pub(in crate::server::page) chrome: Chrome,
    pub(in crate::server::page) place: Place,
    pub(in crate::server::page) heading: String,
    /// The level of the secret that is replaced.
    pub(in crate::server::page) fixed: Option<String>,
    pub(in crate::server::page) action: String,
    pub(in crate::server::page) submit: &'static str,
    pub(in crate::server::page) form: SecretForm,
    pub(in crate::server::page) problems: Problems,
    pub(in crate::server::page) warnings: Vec<String>,
    pub(in crate::server::page) assigned: Option<Assigned>,
}

/// The field of the user that a secret is for.
#[derive(Debug)]
pub(in crate::server::page) struct Assigned {
    pub(in crate::server::page) label: &'static str,
    pub(in crate::server::page) help: &'static str,
    /// Whom to choose from; none where anybody can be named.
    pub(in crate::server::page) members: Vec<Choice>,
}

/// Several services from one text, before they are saved.
#[derive(Template)]
#[template(path = "several.html", config = "src/server/page/askama.toml")]
pub(in crate::server::page) struct SeveralView {
    pub(in crate::server::page) chrome: Chrome,
    pub(in crate::server::page) place: Place,
    pub(in crate::server::page) action: String,
    pub(in crate::server::page) level: String,
    pub(in crate::server::page) services: Vec<Service>,
    /// Whether one of them is there already.
    pub(in crate::server::page) clash: bool,
    /// How many are.
    pub(in crate::server::page) existing: usize,
    pub(in crate::server::page) form: SecretForm,
    pub(in crate::server::page) problems: Problems,
    pub(in crate::server::page) warnings: Vec<String>,
}

/// One of several.
#[derive(Debug)]
pub(in crate::server::page) struct Service {
    pub(in crate::server::page) name: String,
    /// Whether one of this name is there already.
    pub(in crate::server::page) exists: bool,
}
