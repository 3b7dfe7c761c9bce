//! What somebody typed into a form: it may be a value.
//!
//! Invariants: the text is overwritten when it is dropped, and has no `Display`, `Clone` or
//! `Serialize`; it is shown only in the answer to the request that brought it, so that a long key is
//! not lost to a slip elsewhere in the form. Such an answer is never the one to a `GET`, and
//! `no-store`.

use std::fmt;

use zeroize::Zeroizing;

use crate::secret::Value;
use crate::server::submission;

/// Text from a form, as it was typed.
#[derive(Default)]
pub(super) struct Typed(Zeroizing<String>);

impl Typed {
    /// Takes text over.
    pub(super) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text of a value that is to go back into the form that it came from, or of a token that
    /// is shown once. Whatever isn't UTF-8 is no text, and gives nothing.
    pub(super) fn of(value: &Value) -> Self {
        Self::new(str::from_utf8(value.expose()).unwrap_or_default().to_owned())
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Without blanks at its ends: for names, which have none.
    pub(super) fn trimmed(&self) -> Self {
        Self::new(self.0.trim().to_owned())
    }

    /// With the line breaks of the text, not those of the form: browsers send each as CRLF
    /// (HTML, "Constructing the entry list").
    pub(super) fn lines(&self) -> Self {
        Self::of(&submission::typed(&self.value()))
    }

    /// As a value to be sealed.
    pub(super) fn value(&self) -> Value {
        Value::from(self.text())
    }

    /// Whether nothing was typed.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Typed(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_of_the_form_become_those_of_the_text() {
        for (sent, text) in [
            ("a\r\nb\r\n", "a\nb\n"),
            ("\r\n\r\na", "\n\na"),
            ("a\rb\n\r", "a\rb\n\r"),
            ("\r\r\n", "\r\n"),
            (" a ", " a "),
            ("", ""),
        ] {
            assert_eq!(Typed::new(sent.into()).lines().text(), text, "{sent:?}");
        }
    }

    #[test]
    fn nothing_shows_it_by_accident() {
        assert_eq!(format!("{:?}", Typed::new("canary".into())), "Typed(…)");
    }
}
