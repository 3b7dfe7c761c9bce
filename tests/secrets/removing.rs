//! Removing: what goes, what stays, and what jobs get instead.

use super::{list, only_id};
use crate::support::Sandbox;

const PLACES: [&str; 4] = ["-O org", "-O org -U ada", "-P survey", "-P survey -U ada"];

fn remove(sandbox: &Sandbox, place: &str) -> String {
    let words = ["secret", "remove", "envvar:KEY"].into_iter().chain(place.split(' '));
    sandbox.run(words).success().stdout
}

/// Whatever stands: the removed one is gone, the others stay, and what is said of a job of `ada`
/// is what it gets.
#[test]
fn every_combination_of_levels_says_what_is_effective_now() {
    for set in 1..16_u8 {
        let stands = |level: usize| set & (1 << level) != 0;
        for removed in (0..4).filter(|level| stands(*level)) {
            let sandbox = Sandbox::new();
            for (level, place) in PLACES.iter().enumerate().filter(|(level, _)| stands(*level)) {
                sandbox.add(place, "KEY", &format!("value-of-level-{level}"));
            }
            let told = remove(&sandbox, PLACES[removed]);
            let case = format!("{set:04b} without {removed}: {told}");
            let left = (0..4).rev().find(|level| stands(*level) && *level != removed);
            let got = sandbox.shell("printf %s \"$KEY\"").success().stdout;
            let expected = left.map_or(String::new(), |level| format!("value-of-level-{level}"));
            assert_eq!(got, expected, "{case}");
            assert_eq!(list(&sandbox, &[]).len(), set.count_ones() as usize - 1, "{case}");

            let below = |level: usize| level < removed && stands(level);
            let words = match removed {
                3 if below(2) => "now get: the project's\n",
                2 | 3 if below(0) || removed == 3 && below(1) => {
                    "now get: the organization's, if the project belongs to org; otherwise none\n"
                }
                1 if below(0) => "now get: the organization's, where no project has one",
                0 | 1 => "now get: none, where no project has one of its own\n",
                _ => "now get: none\n",
            };
            let default = "; a member with a default of the organization's gets that\n";
            let words = if removed == 2 && below(1) {
                words.trim_end().to_owned() + default
            } else {
                words.to_owned()
            };
            assert!(told.contains(&words), "not `{words}`; {case}");
        }
    }
}

#[test]
fn a_secret_is_removed_by_its_id() {
    let sandbox = Sandbox::new();
    sandbox.add("-P survey", "KEY", "the-value");
    let id = only_id(&list(&sandbox, &[]));
    let ended = sandbox.run(["secret", "remove", &id]).success();
    assert!(ended.stdout.starts_with("removed envvar:KEY of project survey\n"));
    sandbox.run(["secret", "remove", &id]).error(65, "input_refused", "no secret with that id");
}

#[test]
fn what_is_not_there_cannot_be_removed() {
    let sandbox = Sandbox::new();
    sandbox.add("-O org", "KEY", "the-value");
    sandbox.run(["secret", "remove", "envvar:KEY", "-P", "survey"]).error(
        65,
        "input_refused",
        "project survey has no secret envvar:KEY of its own",
    );
    assert_eq!(list(&sandbox, &[]).len(), 1);
}

#[test]
fn a_purge_shows_and_then_removes() {
    let all = ["-O org", "-O org -U ada", "-P survey", "-P survey -U ada", "-P garden -U ada"];
    for (option, id, kept, removed) in [
        ("-P", "survey", 3, "2 secrets"),
        ("-O", "org", 3, "2 secrets"),
        ("-U", "ada", 2, "3 secrets"),
        ("-P", "garden", 4, "1 secret"),
    ] {
        let sandbox = Sandbox::new();
        for place in all {
            sandbox.add(place, "KEY", "the-value");
        }
        let preview = sandbox.run(["secret", "purge", option, id]).success();
        let count = all.len() - kept;
        assert_eq!(preview.stdout.lines().count(), 1 + count, "{}", preview.stdout);
        let note = format!("nothing was removed; say --yes to remove these {count} for good");
        assert!(preview.stderr.contains(&note), "{}", preview.stderr);
        assert_eq!(list(&sandbox, &[]).len(), all.len());

        let ended = sandbox.run(["secret", "purge", option, id, "--yes"]).success();
        let line = format!("removed {removed}\n");
        assert!(ended.stdout.ends_with(&line), "{}", ended.stdout);
        assert_eq!(list(&sandbox, &[]).len(), kept);
        assert_eq!(list(&sandbox, &[option, id]).len(), 0);
        let again = sandbox.run(["secret", "purge", option, id, "--yes"]).success();
        assert!(again.stderr.contains("there is nothing to remove"), "{}", again.stderr);
    }
}
