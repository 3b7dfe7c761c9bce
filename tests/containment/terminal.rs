//! A run on a terminal, started by a shell with job control: the fixture plays shell and person.

use super::{LEVELS, Who, below, needs_root, report};
use crate::support::{Ended, Sandbox, end};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/terminal.py");

/// A run of `command` on a terminal; the person does what `person` says.
fn on_terminal(
    sandbox: &Sandbox,
    (who, level): (Who, &str),
    options: &[&str],
    person: &str,
    command: &[&str],
) -> Ended {
    let before: [&[&str]; 2] = [&["/usr/bin/python3", FIXTURE, person], &who.words()];
    let mut arguments = vec!["--log", "error", "exec", "-P", "survey", "--containment", level];
    arguments.extend(options);
    arguments.push("--");
    arguments.extend(command);
    end(below(sandbox, &before, &arguments))
}

/// A sandbox whose secret is masked as well.
fn with_masked(who: Who) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.add_sensitive("-P survey", "API_KEY", super::VALUE);
    who.own(sandbox.home());
    who.own(sandbox.memory());
    sandbox
}

/// Everywhere, with what the person says expected.
#[track_caller]
fn everywhere(person: &str, command: &[&str], said: &str) {
    for who in Who::all() {
        for level in LEVELS {
            let sandbox = with_masked(who);
            let ended = on_terminal(&sandbox, (who, level), &[], person, command).success();
            assert_eq!(ended.stdout, said, "{who:?}, {level}\n{}", ended.stderr);
        }
    }
}

const BEATS: &str = "trap 'echo int; touch int' INT
echo ready; while :; do echo x >> beat; sleep 0.01; done";

/// The same by one process: a shell that is stopped while it starts a program by vfork(2) waits for
/// that, and isn't stopped itself.
const PULSE: &str = "import signal, time
def interrupted(*_):
    print('int', flush=True)
    open('int', 'w').close()
signal.signal(signal.SIGINT, interrupted)
print('ready', flush=True)
with open('beat', 'a', buffering=1) as beat:
    while True:
        print('x', file=beat)
        time.sleep(0.01)";

#[test]
fn a_job_is_stopped_continued_and_interrupted_by_keys() {
    // Ctrl-Z stops runner and job, `fg` continues both. Ctrl-C is the job's, as often as it is typed;
    // one that traps it goes on, and Ctrl-\ still ends it.
    let person = r#"
start(); shown("ready"); until("it is raw", is_raw); until("the job runs", runs)
type(b"\x1a"); say(ended(), is_as_before(), runs())
fg(); until("it is raw", is_raw); until("the job runs", runs)
for _ in range(3):
    type(b"\x03"); shown("int"); until("it goes on", runs)
type(b"\x1a"); say(ended()); bg(); until("the job runs", runs); say(is_as_before())
fg(); until("it is raw", is_raw); type(b"\x1c"); say(ended(), is_as_before())
"#;
    let said = "stopped 20 True False\nstopped 20\nTrue\nended 131 True\n";
    everywhere(person, &["/usr/bin/python3", "-c", PULSE], said);
}

#[test]
fn an_interactive_program_works() {
    let person = r#"
start(); shown(">>> "); say(is_raw())
type("6*7\r"); shown("42\r\n>>> ")
type("import os; os.ttyname(0), os.ttyname(2), os.open('/dev/tty', 2) > 2\r")
name = matched("'(/dev/pts/[0-9]+)', '/dev/pts/[0-9]+', True"); say(name.count("/dev/pts/"))
type("os.get_terminal_size()\r"); say(matched("columns=80, lines=24")); resize(50, 132)
type("os.get_terminal_size()\r"); say(matched("columns=132, lines=50"))
type("for n in range(9 ** 12): n or print('going')\r"); shown("\r\n... "); type("\r")
shown("going\r\n"); type(b"\x03"); shown("KeyboardInterrupt")
type("import getpass; getpass.getpass('what? ')\r"); shown("\r\nwhat? "); type("s3cr3t\r")
shown("'s3cr3t'"); say(SHOWN.count(b"s3cr3t"))
type(b"\x04"); say(ended(), is_as_before())
"#;
    let said = "True\n2\ncolumns=80, lines=24\ncolumns=132, lines=50\n1\nended 0 True\n";
    everywhere(person, &["/usr/bin/python3", "-q"], said);
}

/// Job control in there is that of the shell in there.
#[test]
fn a_shell_in_there_has_its_own_jobs() {
    // One process, as above.
    let person = r#"
JOB = """
import time
print("up", flush=True)
with open("beat", "a", buffering=1) as beat:
    while True:
        print("x", file=beat)
        time.sleep(0.01)
"""
open("job.py", "w").write(JOB)
start(); until("it is raw", is_raw); shown("$ ")
type("/usr/bin/python3 job.py\r"); shown("\nup"); runs()
type(b"\x1a"); shown("Stopped"); say(runs()); type("fg\r"); until("it goes on", runs)
type(b"\x03"); shown("$ "); type("suspend -f\r"); say(ended(), is_as_before())
fg(); type("echo a$((1+1))b\r"); shown("a2b"); type("exit 3\r"); say(ended(), is_as_before())
"#;
    let said = "False\nstopped 19 True\nended 3 True\n";
    let command = ["env", "PS1=$ ", "bash", "--norc", "--noprofile", "--noediting", "-i"];
    everywhere(person, &command, said);
}

#[test]
fn a_full_screen_program_works() {
    // Its text comes through a pipe, its keys from the terminal.
    let person = r#"
open("text", "w").write("".join(f"line {n}\n" for n in range(1000)))
start((0, "text")); shown("line 22"); until("it is raw", is_raw)
type(" "); shown("line 45"); type("G"); shown("line 999"); type("q"); say(ended(), is_as_before())
"#;
    everywhere(person, &["env", "TERM=xterm", "less"], "ended 0 True\n");
}

/// Who stands behind the pipe may want the keys, until the job asks for them.
#[test]
fn in_a_pipeline_the_terminal_is_left_alone_until_the_job_reads() {
    let person = r#"
os.mkfifo("pipe"); start((1, "pipe")); shown("ready"); until("the job runs", runs)
say(is_as_before()); open("go", "w").close(); until("it is raw", is_raw)
type("Ada\r"); shown("Ada"); shown("got Ada"); say(ended(), is_as_before())
"#;
    let job = "echo ready >&2; while [ ! -e go ]; do echo x >> beat; sleep 0.01; done
read name; echo got $name >&2";
    everywhere(person, &["sh", "-c", job], "True\nended 0 True\n");
}

#[test]
fn a_job_in_the_background_takes_no_keys() {
    // It is stopped when it reads, as a shell's job is: SIGTTIN.
    let person = r#"
start(background=True); until("the job runs", runs); say(is_as_before())
open("go", "w").close(); say(ended(), is_as_before()); bg(); say(ended())
fg(); until("it is raw", is_raw); type("Ada\r"); shown("got Ada"); say(ended(), is_as_before())
"#;
    let job = "while [ ! -e go ]; do echo x >> beat; sleep 0.01; done; read name; echo got $name";
    let said = "True\nstopped 21 True\nstopped 21\nended 0 True\n";
    everywhere(person, &["sh", "-c", job], said);
}

#[test]
fn the_terminal_is_as_it_was_when_the_inner_process_is_killed() {
    let person = r#"
start(); shown("ready"); until("it is raw", is_raw); os.kill(inner(), 9)
say(ended(), is_as_before()); shown("error[runner_killed]")
"#;
    everywhere(person, &["sh", "-c", BEATS], "ended 137 True\n");
}

#[test]
fn a_job_that_does_not_start_changes_no_terminal() {
    let person = r#"
start(); say(ended(), is_as_before()); shown("error[command_not_found]"); say(b"\n" in since())
"#;
    everywhere(person, &["/nowhere/at/all"], "ended 127 True\nTrue\n");
}

#[test]
fn what_is_typed_after_the_end_is_not_the_jobs() {
    let person = r#"
start(); shown("ready"); until("it is raw", is_raw); type("q"); say(ended(), is_as_before())
type("for the shell\n"); say(os.read(slave, 100))
"#;
    let job = "import os, tty; tty.setraw(0); os.write(1, b'ready'); os.read(0, 1)";
    let said = "ended 0 True\nb'for the shell\\n'\n";
    everywhere(person, &["/usr/bin/python3", "-c", job], said);
}

#[test]
fn the_end_of_a_terminal_ends_the_job() {
    let person = r#"
start(); shown("ready"); until("it is raw", is_raw); os.kill(state["job"], signal.SIGTERM)
say(ended(), is_as_before())
"#;
    let job = "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.01; done";
    everywhere(person, &["sh", "-c", job], "ended 9 True\n");
}

/// The first key of what might be a value is shown without waiting for the next.
#[test]
fn what_is_typed_is_echoed_key_by_key_and_masked() {
    let person = r#"
start(); until("it is raw", is_raw); shown("ready\r\n"); type("c"); shown("c"); say(since())
type("anary-contained\r"); shown("***\r\n"); type(b"\x04"); say(ended())
say(SHOWN.count(b"canary-contained"))
"#;
    everywhere(person, &["sh", "-c", "echo ready; cat"], "b''\nended 0\n0\n");
}

#[test]
fn values_are_shown_to_a_person_who_asks_for_it() {
    let who = Who::all()[0];
    let sandbox = with_masked(who);
    let person = "start(); shown('canary-contained'); say(ended())";
    let command = ["sh", "-c", "echo $API_KEY"];
    let place = (who, LEVELS[0]);
    let options = ["--no-mask", "--report", "report.json"];
    let ended = on_terminal(&sandbox, place, &options, person, &command).success();
    assert_eq!(ended.stdout, "ended 0\n");
    assert_eq!(report(&sandbox)["output"]["stdout"]["tail"], "***\r\n");
}

/// By name too, as another account can't.
#[test]
fn another_account_owns_its_terminal() {
    if needs_root() {
        return;
    }
    let script = "id -u; echo out > /dev/stdout; echo err > /dev/stderr; echo tty > /dev/tty
stat -c 'owner %u' $(tty); stty size";
    let person = r#"
start()
for text in ("65534", "out", "err", "tty", "owner 65534", "24 80"): shown(text)
say(ended())
"#;
    for level in LEVELS {
        let sandbox = Who::Root.sandbox();
        let (place, options) = ((Who::Root, level), ["--run-as", "nobody"]);
        let command = ["sh", "-c", script];
        let ended = on_terminal(&sandbox, place, &options, person, &command).success();
        assert_eq!(ended.stdout, "ended 0\n", "{level}");
    }
}
