//! What is wrong with a form: said at its top, and beside each field.

use super::failure::sentence;
use crate::server::administration::Refusal;
use crate::server::submission::{At, Fault};

/// One thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The id of the field; empty for the whole form.
    pub(super) field: String,
    /// What is wrong, and what to do; never what was typed.
    pub(super) text: String,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    /// Just one.
    pub(super) fn one(field: impl Into<String>, text: &str) -> Self {
        let mut problems = Self::default();
        problems.add(field, text);
        problems
    }

    /// One more.
    pub(super) fn add(&mut self, field: impl Into<String>, text: &str) {
        self.0.push(Problem { field: field.into(), text: sentence(text) });
    }

    /// What administration refuses, if a field can do something about it: `field` gives the id of
    /// the form's field for a field of the request.
    pub(super) fn of_refusal(refusal: &Refusal, field: impl Fn(&str) -> &'static str) -> Self {
        let text = match refusal {
            Refusal::Invalid { why, .. } => why.clone(),
            other => other.to_string(),
        };
        Self::one(refusal.field().map_or("", field), &text)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, in their order.
    pub(super) fn all(&self) -> &[Problem] {
        &self.0
    }

    /// Those of one field.
    pub(super) fn of(&self, field: impl AsRef<str>) -> Vec<&str> {
        let field = field.as_ref();
        self.0.iter().filter(|p| p.field == field).map(|p| p.text.as_str()).collect()
    }

    /// The attributes that tie a field to its help and to its problems. The ids are the page's own
    /// words, so that nothing needs to be escaped.
    pub(super) fn marks(&self, field: impl AsRef<str>, help: &str) -> String {
        let field = field.as_ref();
        let count = self.of(field).len();
        let mut ids: Vec<String> = (1..=count).map(|n| format!("{field}-wrong-{n}")).collect();
        if !help.is_empty() {
            ids.push(help.to_owned());
        }
        let mut marks = String::new();
        if count > 0 {
            marks.push_str(" aria-invalid=\"true\"");
        }
        if !ids.is_empty() {
            marks.push_str(&format!(" aria-describedby=\"{}\"", ids.join(" ")));
        }
        marks
    }
}

impl From<Vec<Fault>> for Problems {
    fn from(faults: Vec<Fault>) -> Self {
        let mut problems = Self::default();
        for Fault { at, text } in faults {
            match at {
                At::Whole => problems.add("", &text),
                At::Field(name) => problems.add(name, &text),
                At::Extra(index) => problems.add(format!("extra-{index}"), &text),
                At::Line(number) => problems.add("text", &format!("Line {number}: {text}")),
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_names_its_help_and_its_problems() {
        let mut problems = Problems::one("name", "too long");
        problems.add("name", "too odd");
        problems.add("", "the store is away");
        assert_eq!(problems.of("name"), ["Too long.", "Too odd."]);
        assert_eq!(
            problems.marks("name", "name-help"),
            " aria-invalid=\"true\" aria-describedby=\"name-wrong-1 name-wrong-2 name-help\""
        );
        assert_eq!(problems.marks("value", "value-help"), " aria-describedby=\"value-help\"");
        assert_eq!(problems.marks("value", ""), "");
    }

    #[test]
    fn faults_stand_where_they_belong() {
        let fault = |at| Fault { at, text: "no".into() };
        let faults = [At::Whole, At::Field("host"), At::Extra(2), At::Line(7)].map(fault).to_vec();
        let places: Vec<(String, String)> =
            Problems::from(faults).0.into_iter().map(|p| (p.field, p.text)).collect();
        let expected = [("", "No."), ("host", "No."), ("extra-2", "No."), ("text", "Line 7: no.")];
        assert_eq!(places, expected.map(|(field, text)| (field.to_owned(), text.to_owned())));
    }
}
