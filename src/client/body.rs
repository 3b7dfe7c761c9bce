//! A request's body, which may hold values.
//!
//! Invariant: a value goes into the JSON without a copy that is not overwritten.

use serde::Serialize;

use crate::secret::{Value, ValueBuf};

/// A JSON object in the making.
#[derive(Default)]
pub struct Body(ValueBuf);

impl Body {
    /// An empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, member: &(impl Serialize + ?Sized)) -> Self {
        self.begin(name);
        self.push(member);
        self
    }

    /// Adds a member whose text is a value. `None`: it is not UTF-8, which JSON can't hold.
    pub fn with_value(mut self, name: &str, value: &Value) -> Option<Self> {
        let text = str::from_utf8(value.expose()).ok()?;
        self.begin(name);
        self.push(text);
        Some(self)
    }

    /// The text.
    pub fn finish(mut self) -> Value {
        self.0.push(if self.0.as_slice().is_empty() { b"{}" } else { b"}" });
        self.0.finish()
    }

    fn begin(&mut self, name: &str) {
        self.0.push(if self.0.as_slice().is_empty() { b"{" } else { b"," });
        self.push(name);
        self.0.push(b":");
    }

    fn push(&mut self, json: &(impl Serialize + ?Sized)) {
        // Fails only for a map with keys that are no strings; memory doesn't refuse.
        serde_json::to_writer(&mut self.0, json).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json() {
        assert_eq!(Body::new().finish().expose(), b"{}");
        let value = Value::from("a \"b\"\n");
        let body = Body::new().with("kind", "envvar").with_value("value", &value).unwrap();
        let text = body.with("user", &None::<String>).finish();
        let json: serde_json::Value = serde_json::from_slice(text.expose()).unwrap();
        let expected = serde_json::json!({"kind": "envvar", "value": "a \"b\"\n", "user": null});
        assert_eq!(json, expected);
        assert!(Body::new().with_value("value", &Value::new(vec![0xff])).is_none());
    }
}
