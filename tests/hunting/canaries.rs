//! The canaries: values that are found again wherever they turn up.

use super::Hunter;

/// A value that nothing but its job may see.
pub(super) struct Canary {
    pub(super) value: String,
}

/// All canaries of one ground.
pub(super) struct Flock {
    beginning: String,
    cores: Vec<(String, String)>,
}

/// How a value looks; each `{}` becomes a core of its own.
pub(super) const TOKEN: &str = "{}";
pub(super) const SPECIAL: &str = r#"p@ss w/ord+"q"&<x>é{}"#;
pub(super) const QUOTES: &str = r#"it's a \ "te{}"#;
pub(super) const KEY: &str =
    "-----BEGIN PRIVATE KEY-----\nMIGHAgEA/+{}\nBAgEBBCDQ{}\n-----END PRIVATE KEY-----\n";

impl Flock {
    pub(super) fn new() -> Self {
        let random = uuid::Uuid::now_v7().simple().to_string();
        Self { beginning: format!("Zk{}", &random[20..]), cores: Vec::new() }
    }

    /// A new canary that looks like this.
    pub(super) fn canary(&mut self, name: &str, pattern: &str) -> Canary {
        let mut value = pattern.to_owned();
        while value.contains("{}") {
            let number = self.cores.len();
            // Digits and letters that stay apart from each other in base64, too.
            let core = format!("{}w{number:02}x{:03}", self.beginning, number * 37 % 1000);
            value = value.replacen("{}", &core, 1);
            self.cores.push((name.to_owned(), core));
        }
        Canary { value }
    }

    pub(super) fn hunter(&self) -> Hunter {
        Hunter { flock: self.beginning.clone(), cores: self.cores.clone() }
    }
}
