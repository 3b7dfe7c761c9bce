//! Ends, stops and chokes its runners.

use super::jails;

/// Real signals go to its own runners only; others are asked by signal 0, and everybody at once
/// only after each of them refused that.
#[test]
fn runners_are_out_of_reach() {
    for jail in jails() {
        let said = jail.run("kill.py", &[]).cleanly();
        // By numbers that kill(2) would take for others in a shared /proc.
        said.is("named", if jail.apart() { "1" } else { "2" });
        said.is("reached", "0");
        said.is("survived", "yes");
        for attack in ["probe-", "SIG", "group-", "limit-"] {
            let names: Vec<&str> = said.beginning(attack).collect();
            assert!(!names.is_empty(), "no {attack} in {}", said.ended.stdout);
            names.into_iter().for_each(|name| said.refused(name));
        }
        // To ask for a signal at a file's event is permitted; it isn't delivered.
        said.done("io-0");
        said.done("file-0");
    }
}
