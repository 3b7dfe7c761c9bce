//! Where somebody goes after the login. Pure.
//!
//! Invariant: it is a place of this service, however a browser reads it.

/// A path of this service, with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReturnTo(String);

impl ReturnTo {
    /// The longest, in bytes.
    const MAX: usize = 1024;

    /// `text`, or `/` if it is no path of this service.
    ///
    /// `//host` and `/\host` are other hosts to browsers, which also drop tabs and line ends
    /// wherever they stand (WHATWG URL, section 4.4).
    pub(crate) fn new(text: Option<&str>) -> Self {
        let plain = |b: u8| b.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&b);
        match text {
            Some(text)
                if text.starts_with('/')
                    && !text.starts_with("//")
                    && text.len() <= Self::MAX
                    && text.bytes().all(plain)
                    // Back to the login, and to where one is logged out, would be a circle.
                    && !["/login", "/logout"].iter().any(|circle| is_below(text, circle)) =>
            {
                Self(text.to_owned())
            }
            _ => Self("/".to_owned()),
        }
    }

    /// The path and the query.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_below(text: &str, path: &str) -> bool {
    text.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use url::Url;

    #[test]
    fn only_paths_of_this_service() {
        for good in ["/", "/a", "/projects/a%2Fb/secrets?kind=envvar&page=2", "/loginx", "/a//b"] {
            assert_eq!(ReturnTo::new(Some(good)).as_str(), good);
        }
        for bad in [
            None,
            Some(""),
            Some("a"),
            Some("//evil.example"),
            Some("/\\evil.example"),
            Some("\\\\evil.example"),
            Some("/\t/evil.example"),
            Some("/\n/evil.example"),
            Some("https://evil.example"),
            Some("javascript:alert(1)"),
            Some(" /a"),
            Some("/a\r\nSet-Cookie: a=b"),
            Some("/ä"),
            Some("/login"),
            Some("/login?return_to=/login"),
            Some("/login/start"),
            Some("/logout"),
            Some(&format!("/{}", "a".repeat(1024))),
        ] {
            assert_eq!(ReturnTo::new(bad).as_str(), "/", "{bad:?}");
        }
    }

    proptest! {
        /// Read as a browser reads it, it stays at the same origin.
        #[test]
        fn it_never_leaves_the_origin(text in "[/\\\\\t\n.@:a-z?#%]{0,12}", any in ".{0,20}") {
            let base = Url::parse("https://secrets.example/login").unwrap();
            for text in [text, any] {
                let to = ReturnTo::new(Some(&text));
                prop_assert_eq!(base.join(to.as_str()).unwrap().origin(), base.origin());
            }
        }
    }
}
