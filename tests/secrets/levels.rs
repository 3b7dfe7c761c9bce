//! The story of the levels, told by what jobs get.

use std::fs;

use crate::support::Sandbox;

/// What a job of these three gets; `-` leaves one out.
fn gets(sandbox: &Sandbox, organization: &str, project: &str, user: &str) -> String {
    let mut words = vec!["exec", "-P", project];
    for (option, id) in [("-O", organization), ("-U", user)] {
        if id != "-" {
            words.extend([option, id]);
        }
    }
    let show = "printf '%s ' \"$KEY\"; sed -n s/password=//p \"$PGSERVICEFILE\" | tr '\\n' ' '";
    // Past the runner, which masks passwords.
    let (file, show) = (sandbox.path("gets"), format!("{{ {show}; }} > gets"));
    words.extend(["--", "sh", "-c", &show]);
    sandbox.run(words).success();
    let got = fs::read_to_string(&file).unwrap();
    fs::remove_file(file).unwrap();
    got.trim().to_owned()
}

#[test]
fn the_most_specific_level_wins_for_exactly_this_project_and_user() {
    let sandbox = Sandbox::new();
    for (place, value) in [
        ("-O org", "organization"),
        ("-O org -U ada", "organization-ada"),
        ("-P survey", "project"),
        ("-P survey -U ada", "project-ada"),
        ("-O other", "other-organization"),
        ("-P garden -U eve", "garden-eve"),
    ] {
        sandbox.add(place, "KEY", value);
        sandbox.add_service(place, "ninja", "role", value);
    }
    for (organization, project, user, expected) in [
        ("org", "survey", "ada", "project-ada"),
        ("org", "survey", "bob", "project"),
        ("org", "survey", "-", "project"),
        ("org", "garden", "ada", "organization-ada"),
        ("org", "garden", "bob", "organization"),
        ("org", "garden", "eve", "garden-eve"),
        ("org", "garden", "-", "organization"),
        ("-", "survey", "ada", "project-ada"),
        ("-", "garden", "ada", ""),
        ("-", "garden", "eve", "garden-eve"),
        ("other", "survey", "ada", "project-ada"),
        ("other", "garden", "ada", "other-organization"),
        // Ids are compared byte for byte.
        ("Org", "Survey", "Ada", ""),
    ] {
        let got = gets(&sandbox, organization, project, user);
        let expected = format!("{expected} {expected}");
        assert_eq!(got, expected.trim(), "{organization} {project} {user}");
    }
}

#[test]
fn levels_are_decided_for_each_name_alone() {
    let sandbox = Sandbox::new();
    sandbox.add("-O org", "KEY", "organization");
    sandbox.add_service("-P survey -U ada", "ninja", "role", "project-ada");
    assert_eq!(gets(&sandbox, "org", "survey", "ada"), "organization project-ada");
    assert_eq!(gets(&sandbox, "org", "survey", "bob"), "organization");
}

#[test]
fn a_members_default_comes_with_a_warning() {
    let sandbox = Sandbox::new();
    let words = ["secret", "add", "KEY", "-O", "org", "-U", "ada"];
    let ended = sandbox.run_with(words, "a-value-of-ada").success();
    assert!(ended.stderr.contains("a plain project secret of the same name beats it"));
}
