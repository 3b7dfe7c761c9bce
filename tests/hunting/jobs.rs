//! Jobs that do their worst, in each level of containment, and however they end.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};

use super::Evidence;
use super::ground::{COUNTED, Ground};
use crate::running::Going;
use crate::support::{end, inner, until};

/// What is in the report about what was masked.
fn counted(report: &Json) -> Vec<&str> {
    report["masked"].as_object().map_or(Vec::new(), |all| all.keys().map(String::as_str).collect())
}

/// What a mode of the job does, its members, and the exit code.
type Case = (&'static str, fn() -> Json, i32);

fn none() -> Json {
    json!({})
}

fn carry_out(cases: &[Case], level: &str) {
    let ground = Ground::new(&[200]);
    for (mode, members, code) in cases {
        let ended = ground.run(mode, &members(), &["--containment", level]).fails(*code);
        let what = format!("{mode}, {level}");
        ground.is_clean(&what, &ended);
        let report = ground.report();
        assert_eq!(counted(&report), COUNTED, "{what}: not all was written, or counted");
        assert!(ended.stdout.contains("***") && ended.stderr.contains("***"), "{what}");
        assert_eq!(report["wipe"]["verified"], true, "{what}");
    }
}

#[test]
fn what_a_job_writes_is_masked_in_every_form_and_place() {
    let cases: &[Case] =
        &[("plain", none, 0), ("forms", none, 0), ("logs", none, 0), ("threads", none, 0)];
    for level in ["namespace", "process"] {
        carry_out(cases, level);
    }
}

#[test]
fn bytes_with_pauses_between_them_are_put_together() {
    carry_out(&[("bytewise", none, 0), ("mixed", none, 0), ("torn", none, 0)], "namespace");
}

#[test]
fn children_and_megabytes_are_masked() {
    carry_out(&[("child", none, 0), ("flood", none, 0)], "namespace");
    carry_out(&[("child", none, 0)], "process");
}

#[test]
fn a_job_that_fails_or_crashes_leaks_nothing() {
    let limits: fn() -> Json = || json!({"timeout_s": 1});
    let cases: &[Case] = &[
        ("segv", none, 139),
        ("abort", none, 134),
        ("fail", none, 1),
        ("uncaught", none, 1),
        ("forever", limits, 124),
    ];
    carry_out(cases, "namespace");
    carry_out(cases, "process");
}

#[test]
fn feedback_is_masked_and_bad_feedback_too() {
    let ground = Ground::new(&[200]);
    let path = ground.sandbox.path("feedback.json");
    for (mode, code) in [("feedback", 1), ("bad_feedback", 1)] {
        for level in ["namespace", "process"] {
            let members = json!({"feedback": path});
            let ended = ground.run(mode, &members, &["--containment", level]).fails(code);
            ground.is_clean(mode, &ended);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.matches("***").count() >= COUNTED.len(), "{mode}: {text}");
        }
    }
}

/// The report isn't taken: it is kept, and holds no more than one that is.
#[test]
fn kept_reports_hold_nothing() {
    let ground = Ground::new(&[500]);
    let ended = ground.run("plain", &none(), &[]).success();
    let kept = ground.sandbox.store().with_file_name("undelivered");
    assert_eq!(fs::read_dir(kept).unwrap().count(), 2);
    ground.is_clean("kept", &ended);
}

/// What isn't masked on purpose is found, in every form and place: the hunter can see.
#[test]
fn the_hunter_sees() {
    let ground = Ground::with(&[403], false);
    let hunter = ground.hunter();
    for mode in ["plain", "forms", "mixed", "child"] {
        let ended = ground.run(mode, &none(), &[]).success();
        let found = hunter.hunt(&ground.evidence(&ended));
        for name in ["HUNT_USER", "HUNT_PROJECT", "HUNT_MEMBER", "HUNT_ORG", "HUNT_KEY"] {
            let place = format!("standard output: {name}");
            assert!(found.contains(&place), "{mode}: {place} in {found:?}");
        }
        // What isn't given isn't there.
        assert!(!found.iter().any(|place| place.contains(" of ")), "{mode}: {found:?}");
    }
    // The end of the output: in the report, the POSTed one, the kept one.
    let text = json!({"command": ["sh", "-c", "echo $HUNT_USER; echo $HUNT_USER > here"]});
    let ended = ground.run("", &text, &[]).success();
    let found = hunter.hunt(&ground.evidence(&ended));
    let path = |name: &str| format!("{}: HUNT_USER", ground.sandbox.path(name).display());
    let kept = ".local/share/qgis-secrets/undelivered/job-1-1-ended.json";
    for place in [path("report.json"), path("here"), path(kept), "POSTed report: HUNT_USER".into()]
    {
        assert!(found.contains(&place), "{place} in {found:?}");
    }
    let path = ground.sandbox.path("feedback.json");
    ground.run("feedback", &json!({"feedback": path}), &[]).fails(1);
    let text = fs::read(path).unwrap();
    assert_eq!(hunter.find(&text).len(), 5);
}

/// Each form alone is seen.
#[test]
fn the_hunter_sees_each_form() {
    let mut ground = Ground::new(&[200]);
    let value = ground.canary("form", super::canaries::SPECIAL);
    let hunter = ground.hunter();
    let forms = "import base64, json, sys, urllib.parse
value = sys.argv[1]; raw = value.encode()
for form in [value, value.upper(), raw.hex(), raw.hex().upper(), urllib.parse.quote(value),
             ''.join(f'%{b:02x}' for b in raw), json.dumps(value), json.dumps(repr(value)),
             *(base64.b64encode(b'ab'[:n] + raw).decode() for n in range(3)),
             base64.urlsafe_b64encode(raw).decode(), value[:-4] + '\\x1b[31m' + value[-4:],
             ''.join('&#%d;' % ord(c) for c in value), base64.b64encode(raw.hex().encode()).decode()]:
    print(form)";
    let mut command = std::process::Command::new("/usr/bin/python3");
    command.args(["-c", forms, &value]).stdout(std::process::Stdio::piped());
    let ended = end(command).success();
    let expected = BTreeSet::from(["form".to_owned()]);
    assert_eq!(ended.stdout.lines().count(), 15);
    for line in ended.stdout.lines() {
        assert_eq!(hunter.find(line.as_bytes()), expected, "{line}");
    }
}

/// Killed in the middle of its output, whoever is killed.
#[test]
fn a_run_that_is_killed_or_cancelled_leaks_nothing() {
    for level in ["namespace", "process"] {
        for who in ["cancelled", "inner", "outer"] {
            let ground = Ground::new(&[200]);
            let options = ["--containment", level];
            let members = json!({"feedback": ground.sandbox.path("feedback.json")});
            let mut command = ground.run_command("forever", &members, &options);
            // What nobody reads must not hold up the job.
            for stream in ["stdout", "stderr"] {
                let file = fs::File::create_new(ground.sandbox.path(stream)).unwrap();
                match stream {
                    "stdout" => command.stdout(file),
                    _ => command.stderr(file),
                };
            }
            let going = Going::spawn(command);
            let shown = || fs::read_to_string(ground.sandbox.path("stdout")).unwrap();
            until("the job writes", || shown().contains("***"));
            match who {
                "cancelled" => going.signal(Signal::SIGTERM),
                "inner" => kill(inner(going.pid()).unwrap(), Signal::SIGKILL).unwrap(),
                _ => going.signal(Signal::SIGKILL),
            }
            let ended = going.end();
            // Without namespaces the inner process ends the job.
            until("all is wiped", || ground.sandbox.left_behind().is_empty());
            ground.is_clean(&format!("{who}, {level}"), &ended);
        }
    }
}

/// All processes below one.
fn below(pid: Pid, found: &mut BTreeSet<Pid>) {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    for child in children.unwrap_or_default().split_whitespace() {
        let child = Pid::from_raw(child.parse().unwrap());
        if found.insert(child) {
            below(child, found);
        }
    }
}

/// Arguments and environments of all processes but the job's.
#[test]
fn nobody_else_has_a_value_in_arguments_or_environment() {
    for level in ["namespace", "process"] {
        let ground = Ground::new(&[200]);
        let hunter = ground.hunter();
        let mut command = ground.run_command("quiet", &none(), &["--containment", level]);
        command.stdout(fs::File::create_new(ground.sandbox.path("stdout")).unwrap());
        let going = Going::spawn(command);
        until("the job is there", || ground.sandbox.path("ready").exists());
        let mut job = BTreeSet::new();
        let own = inner(going.pid()).unwrap();
        below(own, &mut job);
        assert!(!job.is_empty());
        let (mut found, mut in_job, mut seen) = (BTreeSet::new(), BTreeSet::new(), 0);
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let Ok(pid) = name.parse().map(Pid::from_raw) else { continue };
            for file in ["cmdline", "environ", "comm", "status"] {
                // Others come and go.
                let Ok(bytes) = fs::read(entry.path().join(file)) else { continue };
                seen += 1;
                let names = hunter.hunt(&[Evidence::new(format!("{file} of {pid}"), bytes)]);
                if job.contains(&pid) { &mut in_job } else { &mut found }.extend(names);
            }
        }
        assert!(found.is_empty() && seen > 8, "{level}: {own} in {}: {found:#?}", going.pid());
        assert!(in_job.iter().any(|name| name.ends_with(": HUNT_USER")), "{in_job:?}");
        ground.sandbox.write("end", "");
        let ended = going.end().success();
        ground.is_clean(level, &ended);
    }
}

/// Jobs that don't start.
#[test]
fn a_job_that_does_not_start_leaks_nothing() {
    let mut ground = Ground::new(&[200]);
    let name = ground.canary("in a descriptor", super::canaries::TOKEN);
    let script = ground.sandbox.write("not-executable", "");
    for (members, code) in [
        (json!({"command": ["/nowhere/at/all"]}), 127),
        (json!({"command": [script]}), 126),
        (json!({"working_dir": "/nowhere/at/all"}), 65),
        (json!({"require": ["envvar:ABSENT"]}), 66),
        (json!({"env": {"LD_PRELOAD": name}}), 65),
        (json!({"env": {"A": [name]}}), 65),
        (json!({"version": 9, "labels": {"a": name}}), 65),
        (json!({"timeout_s": name}), 65),
    ] {
        for level in ["namespace", "process"] {
            let ended = ground.run("plain", &members, &["--containment", level]);
            ground.is_clean(&format!("{members}"), &ended);
            assert_eq!(ended.code, code, "{members}\n{}", ended.stderr);
        }
    }
}

/// PyQGIS, GDAL, Python's libraries and libpq, through the program.
#[test]
fn what_qgis_makes_of_values_is_masked() {
    let ground = Ground::new(&[200]);
    let ended = ground.run("qgis", &none(), &[]).success();
    assert_eq!(counted(&ground.report()), COUNTED);
    assert!(ended.stdout.matches("***").count() > 300, "{}", ended.stdout.len());
    ground.is_clean("qgis", &ended);
}

/// Wrong passwords, at a real server.
#[test]
fn failed_connections_show_no_password() {
    let server = crate::connecting::server::Server::start();
    let ground = Ground::new(&[200]);
    let mut command = ground.run_command("database", &none(), &[]);
    command.env("PORT", server.port.to_string());
    let ended = end(command).success();
    let told = "password authentication failed for user \"nobody_at_all\"";
    assert!(ended.stderr.matches(told).count() > 8, "{}", ended.stderr);
    ground.is_clean("database", &ended);
}

/// On a terminal both streams are one, line ends are others, and colours are there.
#[test]
fn what_a_terminal_shows_is_masked() {
    const TERMINAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/terminal.py");
    let ground = Ground::new(&[200]);
    for mode in ["plain", "forms", "bytewise", "logs"] {
        let own = ground.run_command(mode, &none(), &[]);
        let mut command = std::process::Command::new("/usr/bin/python3");
        let person = "start(); say(ended()); time.sleep(0.05); open('shown', 'wb').write(SHOWN)";
        command.args([TERMINAL, person]).arg(own.get_program()).args(own.get_args()).env_clear();
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(ground.sandbox.home()).stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let ended = end(command).success();
        assert_eq!(ended.stdout, "ended 0\n", "{mode}");
        let shown = fs::read(ground.sandbox.path("shown")).unwrap();
        assert!(memchr::memmem::find_iter(&shown, b"***").count() >= COUNTED.len(), "{mode}");
        assert_eq!(counted(&ground.report()), COUNTED, "{mode}");
        ground.is_clean(mode, &ended);
    }
}
