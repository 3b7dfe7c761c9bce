//! Every command that uses the store, one after the other, on either database: each says the same.

use std::fs;

use super::cluster::{Database, PASSWORD, private};
use crate::support::{Ended, Sandbox};

/// A sandbox whose settings name a store that is not there yet.
struct Home {
    sandbox: Sandbox,
    database: Option<Database>,
}

/// What the program said, step by step.
struct Walk<'a> {
    home: &'a Home,
    said: Vec<String>,
}

impl Home {
    fn new(database: Option<Database>) -> Self {
        let sandbox = Sandbox::new();
        let directory = sandbox.path(".config/qgis-secrets");
        fs::create_dir_all(&directory).unwrap();
        let section = database.as_ref().map(Database::section).unwrap_or_default();
        private(&directory.join("settings.toml"), &section);
        Self { sandbox, database }
    }

    /// The store, as errors name it.
    fn place(&self) -> String {
        match &self.database {
            Some(database) => {
                let port = database.server().port;
                format!("localhost:{port}/{} (schema qgis_secrets)", database.name)
            }
            None => self.sandbox.store().display().to_string(),
        }
    }

    /// A text without what is never the same twice: the store's name, paths, ids, keys and times.
    fn lasting(&self, text: &str) -> String {
        let text = text.replace(&self.place(), "THE-STORE");
        let text = text.replace(&self.sandbox.home().display().to_string(), "HOME");
        let of_word = |c: char| c.is_ascii_alphanumeric() || "-_:.+".contains(c);
        let mut lasting = String::new();
        for part in text.split_inclusive(|c| !of_word(c)) {
            let word = part.trim_end_matches(|c| !of_word(c));
            let digits = word.bytes().filter(u8::is_ascii_digit).count();
            let is_odd = digits > 9 || word.len() > 15 && digits > 0;
            lasting.push_str(&if is_odd { part.replace(word, "ODD") } else { part.to_owned() });
        }
        lasting
    }
}

impl Walk<'_> {
    /// Runs a command with this on standard input.
    #[track_caller]
    fn with(&mut self, input: &str, command: &str, code: i32) -> Ended {
        let ended = self.home.sandbox.run_with(command.split(' '), input).fails(code);
        for text in [&ended.stdout, &ended.stderr] {
            assert!(!text.contains(PASSWORD) && !text.contains("secret-value"), "{text}");
        }
        let said = format!("$ {command}\n{}{}", ended.stdout, ended.stderr);
        self.said.push(self.home.lasting(&said));
        ended
    }

    /// Runs a command that succeeds; what it printed.
    #[track_caller]
    fn run(&mut self, command: &str) -> String {
        self.with("", command, 0).stdout
    }
}

/// The last word of what a command printed: mostly an id.
fn last(text: &str) -> &str {
    text.trim().rsplit(' ').next().unwrap()
}

/// All that there is, from no store to one that was moved.
fn walk(home: &Home) -> Vec<String> {
    let sandbox = &home.sandbox;
    let mut walk = Walk { home, said: Vec::new() };
    // Who only looks, or takes away, makes nothing.
    for command in [
        "secret list",
        "secret remove envvar:A -P survey",
        "secret purge -U ada --yes",
        "explain -P survey",
        "exec -P survey -- true",
        "audit export",
        "grant list",
        "grant remove 0199",
        "api-token list",
        "api-token revoke 0123456789abcdef",
        "store info",
        "store migrate --to moved/store.db",
        "serve --role resolve",
        "key rotate",
        "key public",
    ] {
        let said = walk.with("", command, 78).stderr;
        assert!(!said.contains("made the"), "{said}");
    }
    assert!(!sandbox.store().exists() && !sandbox.key().exists());
    walk.run("key new");
    walk.with("", "key new", 65);
    let public = walk.run("key public");
    sandbox.write("key.pub", public);
    // Adding, with either key; what is there already; what is no name.
    walk.with("secret-value-1", "secret add API_KEY -P survey", 0);
    walk.with("secret-value-2", "secret add API_KEY -P survey", 65);
    walk.with("secret-value-2", "secret add API_KEY -P survey --replace", 0);
    walk.with("secret-value-3", "--public-key key.pub secret add API_KEY -P survey -U ada", 0);
    walk.with("secret-value-4", "secret add TOKEN -O org", 0);
    walk.with("secret-value-5", "secret add DEFAULT -O org -U ada", 0);
    walk.with("x", "secret add PATH -O org", 65);
    let service = "secret add-service -P survey --service ninja --db-host h --password-stdin";
    walk.with("secret-value-6", service, 0);
    sandbox.write("three.env", "A=secret-value-a\nB=secret-value-b\nC=secret-value-c\n");
    walk.run("secret import three.env -P survey --yes");
    walk.with("", "secret import three.env -P survey --yes", 65);
    walk.run("secret import three.env -P survey --yes --replace");
    assert!(home.database.is_none() || !sandbox.store().exists(), "there is a file besides");
    // Looking.
    let list = walk.run("secret list");
    assert_eq!(list.lines().count(), 1 + 8, "{list}");
    walk.run("secret list -P survey --format json");
    walk.run("secret list -U ada");
    walk.run("secret list -O org");
    walk.run("explain -P survey -O org -U ada");
    walk.run("explain -P survey -O org --format json");
    sandbox.run("check -P survey -O org -U ada".split(' ')).success();
    // Jobs.
    let script = "printf %s \"$API_KEY $TOKEN $DEFAULT $A\"";
    let expected = "secret-value-3 secret-value-4 secret-value-5 secret-value-a";
    assert_eq!(sandbox.printed(script), expected);
    let command = ["sh", "-c", &format!("{{ {script}; }} > ran")];
    sandbox.job(serde_json::json!({"command": command, "require": ["pgservice:ninja"]}));
    walk.run("run job.json");
    assert_eq!(fs::read_to_string(sandbox.path("ran")).unwrap(), expected);
    sandbox.job(serde_json::json!({"require": ["envvar:NONE"]}));
    walk.with("", "run job.json", 66);
    // Removing.
    walk.run("secret remove envvar:API_KEY -P survey -U ada");
    walk.with("", "secret remove envvar:API_KEY -P survey -U ada", 65);
    walk.run("secret purge -U ada");
    walk.run("secret purge -U ada --yes");
    walk.run("secret purge -U ada --yes");
    assert_eq!(sandbox.printed(script), "secret-value-2 secret-value-4  secret-value-a");
    // Who may do what.
    let grant = walk.run("grant add u-17 -P survey");
    walk.run("grant add u-17 -O org");
    walk.run("grant add u-1 --operator");
    walk.run("grant list -P survey");
    walk.run("grant list --format json");
    walk.run(&format!("grant remove {}", last(&grant)));
    walk.with("", &format!("grant remove {}", last(&grant)), 65);
    walk.with("", "grant add \u{7f} --operator", 65);
    let token = walk.run("api-token create ci -P survey --days 2");
    walk.run("api-token create all --operator --read-only");
    walk.run("api-token list -P survey");
    walk.run("api-token list --format json");
    let id = token.trim().split('_').nth(2).unwrap().to_owned();
    walk.run(&format!("api-token revoke {id}"));
    // It is over, whoever says so again.
    walk.run(&format!("api-token revoke {id}"));
    let audit = walk.run("audit export");
    assert_eq!(audit.lines().count(), 19, "{audit}");
    walk.run("audit export -P survey --format csv");
    walk.run("audit export --since 2999-01-01T00:00:00Z");
    // The key, and the whole.
    walk.run("key rotate");
    assert_eq!(sandbox.printed(script), "secret-value-2 secret-value-4  secret-value-a");
    walk.with("x", "--public-key key.pub secret add LATE -P survey", 78);
    walk.run("store info");
    walk.run("store info --format json");
    walk.with("", "store migrate", 64);
    walk.run("store migrate --to moved/store.db");
    walk.with("", "store migrate --to moved/store.db", 65);
    let key = sandbox.key().display().to_string();
    let moved = format!("--settings none.toml --store moved/store.db --key {key}");
    sandbox.write("none.toml", "");
    walk.run(&format!("{moved} secret list"));
    walk.run(&format!("{moved} grant list -O org"));
    walk.run(&format!("{moved} exec -P survey --require envvar:API_KEY -- true"));
    walk.said
}

#[test]
fn every_command_says_the_same_on_both() {
    let file = walk(&Home::new(None));
    let server = walk(&Home::new(Some(Database::new())));
    for (on_file, on_server) in file.iter().zip(&server) {
        assert_eq!(on_file, on_server);
    }
    assert_eq!(file.len(), server.len());
}
