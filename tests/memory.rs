//! What the runner's own memory holds: no value longer than it is needed, and nobody looks in.
//!
//! A run is stopped at two points, and everything that its two processes can read is searched for
//! planted values, as root can. Parts of a value count too, for an allocator writes its own notes
//! over the beginning of what is freed.

mod adding;
mod closed;
pub(crate) mod search;
mod service;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;

use base64ct::{Base64UrlUnpadded, Encoding};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::json;

use crate::containment::needs_root;
use crate::running::Going;
use crate::support::http::{Answer, Server};
use crate::support::{Sandbox, inner as first_child, until};
use search::{Planted, copies, environment};

/// How many copies of a masked value there are while the job runs: one, as `redact::Masker` keeps it.
const MASKED: usize = 1;

/// Prints all that is masked and the job has, so that the masker's buffers have seen it.
const PRINTS: &str = "
    for stream in 1 2; do
        printf '%s\\n' \"$API_KEY\" \"$TLS_KEY\" \"$FORGE_TOKEN\" \"$OP_CONNECT_TOKEN\" >&$stream
        printf %s \"$API_KEY\" | base64 >&$stream
        grep password= \"$PGSERVICEFILE\" >&$stream
        echo printed >&$stream
    done
    echo > ready
    while ! test -e go; do sleep 0.01; done";

/// Variables of the descriptor that are not masked.
const PLAIN: usize = 100;

/// Where a run is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The job runs.
    Job,
    /// All is wiped; the report waits for an answer.
    Report,
}

/// Where the descriptor comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Url,
    File,
    Stdin,
}

/// Each level, with another way for the descriptor.
const RUNS: [(&str, From); 3] =
    [("namespace", From::Url), ("namespace-shared-proc", From::Stdin), ("process", From::File)];

/// A value, and whether it is masked in what the job writes.
struct Canary {
    planted: Planted,
    masked: bool,
}

/// Text of a form that turns up nowhere else, and differs from others in each of its parts.
fn text(name: &str) -> String {
    (0_u8..6).map(|part| format!("{:08x}", fingerprint(name, part))).collect()
}

/// FNV-1a.
fn fingerprint(name: &str, part: u8) -> u32 {
    name.bytes()
        .chain([part])
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The parent's credentials: the name, and whether the settings pass it on and the job masks it.
const CREDENTIALS: [(&str, bool); 4] = [
    ("PGPASSWORD", false),
    ("VAULT_TOKEN", false),
    ("AWS_SECRET_ACCESS_KEY", false),
    ("OP_CONNECT_TOKEN", true),
];

/// A run in which every way into the runner's memory carries a value of its own.
struct Scene {
    sandbox: Sandbox,
    server: Server,
    from: From,
    canaries: Vec<Canary>,
}

impl Scene {
    fn new(from: From) -> Self {
        let sandbox = Sandbox::new();
        let mut canaries = Vec::new();
        let mut plant = |name: &str, masked: bool| {
            let text = text(name);
            canaries.push(Canary { planted: Planted::new(name, text.as_bytes()), masked });
            text
        };
        sandbox.add_sensitive("-P survey", "API_KEY", &plant("a variable", true));
        let lines = format!("{}\n{}", plant("a first line", true), plant("a second line", true));
        sandbox.add_sensitive("-P survey", "TLS_KEY", &lines);
        let add = ["secret", "add", "CRS", "-P", "survey", "--not-sensitive"];
        sandbox.run_with(add, plant("not sensitive", false)).success();
        let (role, password) = (plant("a role", false), plant("a password", true));
        sandbox.add_service("-P survey", "ninja", &role, &password);
        for (name, passed) in CREDENTIALS {
            plant(name, passed);
        }
        let (masked, plain) = (plant("masked", true), plant("plain", false));
        // Many, so that not all of their memory is used again for something else.
        let mut environment: BTreeMap<String, String> = (0..PLAIN)
            .map(|number| (format!("PLAIN_{number}"), format!("{plain}-{number}")))
            .collect();
        environment.insert("FORGE_TOKEN".into(), masked);
        let descriptor = json!({
            "version": 1, "id": "job-1", "organization": "org", "project": "survey", "user": "ada",
            "command": ["sh", "-c", PRINTS],
            "env": environment,
            "mask_env": ["FORGE_TOKEN", "OP_CONNECT_TOKEN"],
        });
        let token = sandbox.token(&plant("the token", true));
        let key = fs::read_to_string(sandbox.key()).unwrap();
        let prefix = "qgis-secrets-private-x25519-";
        let digits = key.lines().find_map(|line| line.strip_prefix(prefix)).unwrap();
        let bytes = Base64UrlUnpadded::decode_vec(digits).unwrap();
        // The curve's own form differs in the first byte and the last.
        for (name, bytes) in [("the key as text", digits.as_bytes()), ("the key", &bytes[1..31])] {
            canaries.push(Canary { planted: Planted::new(name, bytes), masked: false });
        }
        let descriptor = descriptor.to_string();
        sandbox.write("job.json", &descriptor);
        let mut answers = vec![Answer::status(200), Answer::Silence];
        if from == From::Url {
            answers.insert(0, Answer::fine(descriptor));
        }
        let server = Server::new(answers);
        let settings = format!(
            "[job]\ntoken_file = '{}'\n[environment]\npass = ['PATH', 'OP_CONNECT_TOKEN']\n\
             [report]\nurl = '{}'\ndeadline_s = 60\n",
            token.display(),
            server.url("/reports"),
        );
        sandbox.write("settings.toml", settings);
        Self { sandbox, server, from, canaries }
    }

    fn start(&self, level: &str) -> Going {
        let settings = self.sandbox.path("settings.toml");
        let job = match self.from {
            From::Url => self.server.url("/job"),
            From::File => "job.json".into(),
            From::Stdin => "-".into(),
        };
        let settings = settings.to_str().unwrap();
        let arguments = ["run", "--settings", settings, "--containment", level, &job];
        let mut command = self.sandbox.command(arguments);
        if self.from == From::Stdin {
            command.stdin(File::open(self.sandbox.path("job.json")).unwrap());
        }
        for (name, _) in CREDENTIALS {
            command.env(name, text(name));
        }
        Going::spawn(command)
    }

    /// Waits until the server was asked for the descriptor, where it has it, and told this often.
    fn until_told(&self, reports: usize) {
        let requests = reports + usize::from(self.from == From::Url);
        until("the report comes", || self.server.requests().len() == requests);
    }

    /// What is where it must not be.
    fn faults(&self, who: &str, pid: Pid, at: At) -> Vec<String> {
        let found = copies(pid, self.canaries.iter().map(|canary| &canary.planted));
        let mut faults = Vec::new();
        for (Canary { planted, masked }, places) in self.canaries.iter().zip(found) {
            let masking = who == "inner" && at == At::Job && *masked;
            if places.len() > if masking { MASKED } else { 0 } {
                faults.push(format!("{at:?}, {who}, {}: {places:#?}", planted.name));
            }
        }
        let environment = environment(pid);
        for (name, _) in CREDENTIALS {
            let value = text(name);
            if environment.windows(value.len()).any(|window| window == value.as_bytes()) {
                faults.push(format!("{at:?}, {who}, {name} is in its environment"));
            }
        }
        faults
    }
}

/// Reads until the job has printed everything, and finds masks.
#[track_caller]
fn until_printed(stream: &mut impl Read) {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\nprinted\n") {
        stream.read_exact(&mut byte).unwrap();
        text.extend(byte);
    }
    let text = String::from_utf8(text).unwrap();
    let printed: String = text.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(printed, "***************password=***printed");
}

#[test]
fn no_value_stays_in_memory() {
    if needs_root() {
        return;
    }
    let mut faults = Vec::new();
    for (level, from) in RUNS {
        let scene = Scene::new(from);
        let mut going = scene.start(level);
        let outer = going.pid();
        until("the job runs", || scene.sandbox.path("ready").exists());
        scene.until_told(1);
        let inner = first_child(outer).unwrap();
        until_printed(going.0.stdout.as_mut().unwrap());
        until_printed(going.0.stderr.as_mut().unwrap());
        until("both streams wait for more", || {
            let threads = fs::read_dir(format!("/proc/{inner}/task")).unwrap();
            threads.flatten().all(|thread| {
                let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
            })
        });
        // Where it must be it is found: a search that finds nothing would prove nothing.
        let leader = first_child(inner).unwrap();
        let there = copies(leader, scene.canaries.iter().map(|canary| &canary.planted));
        assert!(!there[0].is_empty(), "the job doesn't have its variable");
        let mut found = scene.faults("outer", outer, At::Job);
        found.extend(scene.faults("inner", inner, At::Job));
        scene.sandbox.write("go", "");
        scene.until_told(2);
        found.extend(scene.faults("outer", outer, At::Report));
        found.extend(scene.faults("inner", inner, At::Report));
        faults.extend(found.iter().map(|fault| format!("{level}, {from:?}: {fault}")));
        // Whoever wants the runner to end doesn't wait for the answer.
        going.signal(Signal::SIGTERM);
        going.end().success();
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
