//! The documents and the code say the same.

use std::collections::BTreeSet;
use std::fs;

use crate::support::Sandbox;

fn read(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Every kind of error stands in the document with its code, and no other does.
#[test]
fn kinds_of_errors_are_documented() {
    let constants = [
        ("USAGE", "64"),
        ("INVALID", "65"),
        ("MISSING", "66"),
        ("UNAVAILABLE", "69"),
        ("INTERNAL", "70"),
        ("DENIED", "77"),
        ("SETTINGS", "78"),
        ("NOT_EXECUTABLE", "126"),
        ("NOT_FOUND", "127"),
        ("128", "128"),
    ];
    let source = read("src/error.rs");
    let in_code: BTreeSet<(String, String)> = source
        .match_indices("(\"")
        .filter_map(|(at, _)| {
            let (kind, rest) = source[at + 2..].split_once('"')?;
            let rest = rest.strip_prefix(", ")?;
            let constant: String =
                rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let (_, code) = constants.iter().find(|(name, _)| *name == constant)?;
            Some((kind.to_owned(), (*code).to_owned()))
        })
        .collect();
    let in_document: BTreeSet<(String, String)> = read("docs/errors.md")
        .lines()
        .filter_map(|line| {
            let (kind, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            let code: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some((kind.to_owned(), code))
        })
        .collect();
    assert!(in_code.len() > 40, "only {} kinds found: the search is broken", in_code.len());
    assert_eq!(in_code, in_document);
}

/// The words of `=> "word"` and `=> ("word", …)` in one function of a source.
fn words(source: &str, function: &str) -> BTreeSet<String> {
    let source = read(source);
    let body = source.split(function).nth(1).unwrap_or_else(|| panic!("no {function}"));
    let body = body.split("\n    }\n").next().unwrap();
    let body = body.split("\n}\n").next().unwrap();
    let after = body.split("=> ").skip(1).chain(body.split("{\n").skip(1));
    let found =
        after.filter_map(|rest| rest.trim_start().trim_start_matches('(').strip_prefix('"'));
    found.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

/// Every word that a job can be refused with stands in the table of what a service answers jobs,
/// and no other does; `a_…` stands for all that begin so.
#[test]
fn kinds_of_refused_jobs_are_documented() {
    let in_code: BTreeSet<String> = [
        words("src/server/resolve/refused.rs", "pub fn kind("),
        words("src/membership.rs", "pub fn kind("),
        words("src/job_token/refused.rs", "pub fn kind("),
        words("src/error.rs", "pub fn store("),
        words("src/error.rs", "\nfn key("),
    ]
    .into_iter()
    .flatten()
    .filter(|word| !NOT_WHILE_SERVING.contains(&word.as_str()))
    .collect();
    assert!(in_code.len() > 40, "only {in_code:?} found: the search is broken");
    let document = read("docs/service.md");
    let table = document.split("| status | kind |").nth(1).unwrap().split("\n\n").next().unwrap();
    let in_document: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.split('|').nth(2))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let fits = |pattern: &str, word: &str| match pattern.strip_suffix('…') {
        Some(beginning) => word.starts_with(beginning),
        None => word == pattern,
    };
    for word in &in_code {
        assert!(in_document.iter().any(|pattern| fits(pattern, word)), "{word} is not documented");
    }
    for pattern in in_document {
        assert!(in_code.iter().any(|word| fits(pattern, word)), "{pattern} is nowhere");
    }
}

/// Words of the store that only those meet who open it, add to it, copy it or make keys.
const NOT_WHILE_SERVING: [&str; 3] = ["secret_exists", "key_exists", "key_busy"];

/// The table of attacks is the one that stands at the head of the tests that try them.
#[test]
fn the_attacks_that_are_tried_are_documented() {
    let tests = read("tests/hostile.rs");
    let table: Vec<&str> =
        tests.lines().filter_map(|line| line.strip_prefix("//! |")).map(str::trim_end).collect();
    assert!(table.len() > 20, "only {} lines found: the search is broken", table.len());
    let document = read("docs/containment.md");
    let documented: Vec<&str> = document
        .lines()
        .skip_while(|line| *line != "## What a hostile job can do")
        .filter_map(|line| line.strip_prefix('|'))
        .collect();
    assert_eq!(table, documented);
}

/// The README and all of `docs/`.
fn documents() -> Vec<String> {
    let folder = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let of_docs = names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}"));
    of_docs.chain(["README.md".to_owned()]).collect()
}

/// What a link to a heading of a document can name, as GitHub makes it of the heading's text.
fn anchors(document: &str) -> BTreeSet<String> {
    let text = read(document);
    // A block of code has comments that look like headings.
    let prose = text.split("```").step_by(2);
    let headings = prose.flat_map(str::lines).filter(|line| line.starts_with('#'));
    let headings = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
    headings.map(|text| text.chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

/// Whoever follows a link from one document arrives, at the heading if it names one.
#[test]
fn links_between_documents_lead_somewhere() {
    let (mut files, mut headings) = (0, 0);
    for document in documents() {
        let text = read(&document);
        let folder =
            document.rsplit_once('/').map_or(String::new(), |(path, _)| format!("{path}/"));
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { document.clone() } else { format!("{folder}{file}") };
            let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
            assert!(fs::metadata(&path).is_ok(), "{document}: {target} is not there");
            files += 1;
            if !heading.is_empty() {
                assert!(anchors(&file).contains(heading), "{document}: no heading for {target}");
                headings += 1;
            }
        }
    }
    assert!(files > 50 && headings >= 3, "{files}, {headings}: the search is broken");
}

/// The fuzz targets are built apart, with `--locked`: their lock file has what the program needs.
#[test]
fn the_lock_file_of_the_fuzz_targets_is_up_to_date() {
    let parsed = |path| -> toml::Table { read(path).parse().unwrap() };
    let manifest = parsed("Cargo.toml");
    let needed: BTreeSet<&str> = manifest["dependencies"]
        .as_table()
        .unwrap()
        .iter()
        .filter(|(_, how)| how.get("optional").is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    let lock = parsed("tests/fuzz/Cargo.lock");
    let packages = lock["package"].as_array().unwrap();
    let own = packages.iter().find(|it| it["name"].as_str() == Some("qgis-secrets")).unwrap();
    let locked = own["dependencies"].as_array().unwrap().iter();
    // "name", or "name version" where there are several.
    let locked: BTreeSet<&str> =
        locked.map(|it| it.as_str().unwrap().split(' ').next().unwrap()).collect();
    assert_eq!(locked, needed);
}

/// The commands of the README's first own job, run as they stand there.
#[test]
fn the_readmes_first_job_works_as_written() {
    let readme = read("README.md");
    let section = readme.split("## A first job of your own").nth(1).unwrap();
    let block = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let sandbox = Sandbox::new();
    let directory = std::path::Path::new(env!("CARGO_BIN_EXE_qgis-secrets")).parent().unwrap();
    let mut command = std::process::Command::new("bash");
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    command
        .args(["-euc", block])
        .env_clear()
        .env("PATH", path)
        .env("HOME", sandbox.home())
        .env("XDG_RUNTIME_DIR", sandbox.memory())
        .current_dir(sandbox.home())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let ended = crate::support::end(command).success();
    let expected = section.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(without_ids(&ended.stdout), without_ids(expected));
}

/// The id of a secret is another one each time.
fn without_ids(text: &str) -> String {
    text.lines()
        .map(|line| line.split_once(", id ").map_or(line, |(before, _)| before))
        .collect::<Vec<_>>()
        .join("\n")
}
