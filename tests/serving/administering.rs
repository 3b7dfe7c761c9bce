//! The commands that ask a service's API, over TLS and over a socket.

use super::wire::{renew_like, secure};
use super::*;
use crate::support::end;
use crate::support::tls::{Authority, Like};

/// What every command asks, and something of the answer.
const COMMANDS: [(&str, &str); 4] = [
    ("secret list -P survey", "envvar:HIDDEN"),
    ("explain -P survey -U ada -O org", "envvar:HIDDEN"),
    ("grant list -P survey", "eve"),
    ("api-token list", "test"),
];

/// An admin's machine: nothing of the service's own is on it but a token and an authority.
struct Admin {
    sandbox: Sandbox,
}

impl Admin {
    fn new(ground: &Ground, authority: &Authority) -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("token", ground.operator());
        sandbox.write("ca.pem", authority.pem());
        Self { sandbox }
    }

    /// Runs a command at a service; `more` as on the command line.
    fn run(&self, command: &str, server: &str, more: &[&str]) -> Ended {
        end(self.command(command, server, more))
    }

    fn command(&self, command: &str, server: &str, more: &[&str]) -> Command {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.extend(["--server", server, "--token-file", "token"]);
        words.extend(more);
        self.sandbox.command(words)
    }
}

#[test]
fn every_command_asks_over_tls() {
    let ground = Ground::new("");
    ground.fill();
    ground.here("grant add eve -P survey").success();
    let authority = Authority::new();
    let service = secure(&ground, &authority, None);
    let admin = Admin::new(&ground, &authority);
    let url = service.url();
    for (command, seen) in COMMANDS {
        let ended = admin.run(command, &url, &["--ca-file", "ca.pem"]).success();
        assert!(ended.stdout.contains(seen), "{command}: {}", ended.stdout);
    }
    let mut by_environment = admin.command("secret add ADDED -P survey", &url, &[]);
    by_environment.env("QGIS_SECRETS_CA_FILE", admin.sandbox.path("ca.pem"));
    let mut child = by_environment.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"value-of-added").unwrap();
    crate::support::finish(child).success();
    let listed = ground.here("secret list -P survey").success().stdout;
    assert!(listed.contains("envvar:ADDED"), "{listed}");
    service.stop();
}

/// Who is not the service gets no token, and is told apart from one that is down.
#[test]
fn a_service_that_is_not_who_it_should_be_is_told_nothing() {
    let ground = Ground::new("");
    ground.fill();
    let authority = Authority::new();
    let admin = Admin::new(&ground, &authority);
    let (stranger, namesake) = (Authority::named("a stranger"), Authority::new());
    for (by, like, words) in [
        (&stranger, Like::Good, ["an authority that is not trusted", "certificate: --ca-file)"]),
        (&namesake, Like::Good, ["an authority that is not trusted", "certificate: --ca-file)"]),
        (&authority, Like::Expired, ["has expired", "renew it there"]),
        (&authority, Like::OtherName, ["is for another name", "(elsewhere.example)"]),
    ] {
        renew_like(&ground, by, like);
        let service = wire::serve(&ground, "");
        for (command, _) in COMMANDS {
            let ended = admin.run(command, &service.url(), &["--ca-file", "ca.pem"]);
            let ended = ended.error(69, "backend_untrusted", words[0]);
            assert!(ended.stderr.contains(words[1]), "{}", ended.stderr);
            assert!(!ended.stderr.contains("backend.service"), "{}", ended.stderr);
        }
        service.stop();
    }
}

#[test]
fn a_file_of_authorities_that_is_none_is_named_as_the_option() {
    let ground = Ground::new("");
    let authority = Authority::new();
    let service = secure(&ground, &authority, None);
    let admin = Admin::new(&ground, &authority);
    admin.sandbox.write("text", "no certificate");
    let list = |more: &[&str]| admin.run("secret list -P survey", &service.url(), more);
    list(&["--ca-file", "none"]).error(78, "certificate_invalid", "(none) cannot be read");
    list(&["--ca-file", "text"]).error(78, "certificate_invalid", "(text) holds no certificates");
    // The system's authorities: another one, this one, none.
    let system = |file: &str| {
        let mut command = admin.command("secret list -P survey", &service.url(), &[]);
        command.env("SSL_CERT_FILE", admin.sandbox.path(file));
        end(command)
    };
    admin.sandbox.write("other.pem", Authority::named("other").pem());
    system("other.pem").error(69, "backend_untrusted", "--ca-file");
    system("ca.pem").success();
    admin.sandbox.write("empty.pem", "");
    let ended = system("empty.pem").error(78, "certificate_invalid", "name a file: --ca-file");
    assert!(!ended.stderr.contains("backend.service"), "{}", ended.stderr);
    service.stop();
}

#[test]
fn every_command_shows_its_own_certificate() {
    let ground = Ground::new("");
    ground.fill();
    ground.here("grant add eve -P survey").success();
    let (authority, clients) = (Authority::new(), Authority::named("clients"));
    let service = secure(&ground, &authority, Some(&clients));
    let admin = Admin::new(&ground, &authority);
    let certified = |name: &str, by: &Authority| {
        let signed = by.sign(Like::Client);
        admin.sandbox.write(&format!("{name}.pem"), signed.certificate);
        admin.sandbox.write(&format!("{name}.key"), signed.key);
    };
    certified("own", &clients);
    certified("other", &Authority::named("clients"));
    let list = "secret list -P survey";
    let run = |command: &str, file: &[&str], key: &[&str]| {
        let mut more = vec!["--ca-file", "ca.pem"];
        more.extend(file.iter().flat_map(|file| ["--certificate-file", file]));
        more.extend(key.iter().flat_map(|file| ["--certificate-key-file", file]));
        admin.run(command, &service.url(), &more)
    };
    for (command, seen) in COMMANDS {
        let ended = run(command, &["own.pem"], &["own.key"]).success();
        assert!(ended.stdout.contains(seen), "{command}: {}", ended.stdout);
    }
    let mut by_environment = admin.command(list, &service.url(), &["--ca-file", "ca.pem"]);
    by_environment.env("QGIS_SECRETS_CERTIFICATE_FILE", admin.sandbox.path("own.pem"));
    by_environment.env("QGIS_SECRETS_CERTIFICATE_KEY_FILE", admin.sandbox.path("own.key"));
    end(by_environment).success();

    for files in [&[][..], &["other"]] {
        let names = |ending: &str| -> Vec<String> {
            files.iter().map(|name| format!("{name}.{ending}")).collect()
        };
        let (file, key) = (names("pem"), names("key"));
        let [file, key] =
            [&file, &key].map(|all| all.iter().map(String::as_str).collect::<Vec<_>>());
        let ended = run(list, &file, &key).error(69, "backend_untrusted", "or asks for one");
        assert!(ended.stderr.contains("--certificate-file and --certificate-key-file"));
        assert!(!ended.stderr.contains("backend.service"), "{}", ended.stderr);
    }
    for (file, key, words) in [
        ("own.pem", "other.key", "the key of this side's certificate (other.key) belongs to"),
        ("none.pem", "own.key", "this side's certificate (none.pem) cannot be read"),
        ("own.pem", "ca.pem", "this side's certificate (own.pem) and its key are no PEM"),
    ] {
        run(list, &[file], &[key]).error(78, "certificate_invalid", words);
    }
    for (file, key) in [(&["own.pem"][..], &[][..]), (&[], &["own.key"])] {
        let ended = run(list, file, key).fails(64);
        assert!(ended.stderr.contains("--certificate-"), "{}", ended.stderr);
    }
    service.stop();
}

/// Who takes a service with TLS for one without, or the other way round, is told so at once.
#[test]
fn the_wrong_scheme_is_said() {
    let ground = Ground::new("");
    ground.fill();
    let authority = Authority::new();
    let secure = secure(&ground, &authority, None);
    let admin = Admin::new(&ground, &authority);
    let (http, https) = (format!("http://{}", secure.address), secure.url());
    let words = "speak plain HTTP (if it speaks TLS, its address begins with https://)";
    for (command, _) in COMMANDS {
        let ended = admin.run(command, &http, &[]).error(69, "backend_untrusted", words);
        assert!(!ended.stderr.contains("asked again"), "{}", ended.stderr);
    }
    let run = |url: &str| {
        admin.sandbox.token(&ground.token(json!({})));
        admin.sandbox.job(json!({}));
        let words = ["run", "--job-token-file", "tokens/token", "--service", url, "job.json"];
        admin.sandbox.run(words)
    };
    run(&http).error(69, "backend_untrusted", words);
    assert!(https.starts_with("https://"));
    secure.stop();

    ground.settings("");
    let plain = ground.serve(&[]);
    let https = plain.url().replace("http:", "https:");
    let words = "a service of this machine without TLS is at http://";
    for (command, _) in COMMANDS {
        admin.run(command, &https, &["--ca-file", "ca.pem"]).error(69, "backend_untrusted", words);
    }
    run(&https).error(69, "backend_untrusted", words);
    plain.stop();
}

/// An address where jobs are answered, and nothing is administered.
#[test]
fn a_service_without_management_is_told_apart_from_what_is_not_there() {
    let ground = Ground::new("");
    ground.fill();
    let admin = Admin::new(&ground, &Authority::new());
    let resolve = ground.serve(&["--role", "resolve"]);
    for (command, _) in COMMANDS {
        let ended = admin.run(command, &resolve.url(), &[]);
        ended.error(69, "backend_refused", "a service whose role is `resolve` has none");
    }
    resolve.stop();
    let both = ground.serve(&[]);
    let gone = admin.run("secret remove 0199-none", &both.url(), &[]);
    gone.error(65, "request_refused", "404 not_found");
    both.stop();
}

#[test]
fn every_command_asks_over_a_socket() {
    let ground = Ground::new("");
    ground.fill();
    ground.here("grant add eve -P survey").success();
    let socket = ground.sandbox.path("service.sock").display().to_string();
    let listen = format!("unix:{socket}");
    let settings = ground.sandbox.path("serve.toml").display().to_string();
    let words = ["serve", "--settings", &settings, "--listen", &listen];
    let service = Process::start(ground.sandbox.command(words));
    assert_eq!(service.address, listen);
    let admin = Admin::new(&ground, &Authority::new());
    for (command, seen) in COMMANDS {
        let ended = admin.run(command, &listen, &[]).success();
        assert!(ended.stdout.contains(seen), "{command}: {}", ended.stdout);
    }
    service.stop();
    let gone = admin.run("secret list -P survey", &listen, &["--patience", "1"]);
    gone.error(69, "backend_unavailable", &listen);
}
