//! A new key while everybody goes on.

use std::fs;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::stores::cluster::Database;
use crate::support::until;

/// How often somebody does something meanwhile, until the rotations are over.
#[derive(Default)]
struct Meanwhile {
    over: AtomicBool,
    done: [AtomicU64; 3],
}

impl Meanwhile {
    fn work(&self, who: usize, mut work: impl FnMut(u64)) {
        while !self.over.load(Ordering::SeqCst) {
            work(self.done[who].load(Ordering::SeqCst));
            self.done[who].fetch_add(1, Ordering::SeqCst);
        }
    }

    fn least(&self) -> u64 {
        self.done.iter().map(|done| done.load(Ordering::SeqCst)).min().unwrap()
    }
}

/// Also if the test panics: the scope waits for the others.
impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

struct Over<'a>(&'a Meanwhile);

#[test]
fn nobody_notices_a_rotation() {
    let ground = Ground::new("");
    ground.fill();
    let variables = (0..600).map(|n| format!("V{n}=value-{n}\n")).collect::<String>();
    ground.sandbox.write("many.env", variables);
    ground.sandbox.run("secret import many.env -P many --yes".split(' ')).success();
    let operator = ground.operator();
    let both = ground.serve(&[]);
    let resolve = ground.serve(&["--role", "resolve"]);
    let meanwhile = Meanwhile::default();
    let rotations = std::thread::scope(|scope| {
        let over = Over(&meanwhile);
        for (who, service) in [&both, &resolve].into_iter().enumerate() {
            let (ground, meanwhile) = (&ground, &meanwhile);
            scope.spawn(move || {
                meanwhile.work(who, |_| {
                    let answer = service.resolve(&ground.token(json!({})), json!({}));
                    assert!(answer.body.contains("password-of-ninja"), "{answer:?}");
                });
            });
        }
        scope.spawn(|| {
            meanwhile.work(2, |n| {
                let answer = both.add(&operator, &format!("ADDED_{n}"), &format!("added-{n}"));
                answer.unwrap().with(201);
            });
        });
        let mut rotations = 0;
        while rotations < 5 || meanwhile.least() < 20 {
            ground.sandbox.run(["key", "rotate"]).success();
            rotations += 1;
            assert!(rotations < 100, "{:?}", meanwhile.done);
        }
        drop(over);
        rotations
    });
    println!("{rotations} rotations, {:?} done meanwhile", meanwhile.done);
    let info = ground.here("store info --format json").success().stdout;
    let info: Json = serde_json::from_str(&info).unwrap();
    assert_eq!(info["sealed_to_other_keys"], 0, "{info}");
    let answer = resolve.resolve(&ground.token(json!({})), json!({}));
    assert!(answer.body.contains("\"added-0\""), "{answer:?}");
    both.stop();
    resolve.stop();
}

/// A copy of the key file that nobody brings up to date: no value is called altered, no use of a
/// token is lost, and all goes on when the file is there.
#[test]
fn a_copy_of_the_key_file_that_is_old_is_no_damage() {
    let ground = Ground::new("");
    ground.fill();
    let copy = ground.sandbox.path("copy.key");
    fs::copy(ground.sandbox.key(), &copy).unwrap();
    let service = ground.serve(&["--role", "resolve", "--key", &copy.display().to_string()]);
    ground.sandbox.run(["key", "rotate"]).success();
    let token = ground.token(json!({}));
    for _ in 0..4 {
        service.resolve(&token, json!({})).problem(503, "key_of_another_store");
    }
    service.send("GET", "/ready", "", None).problem(503, "not_ready");
    fs::copy(ground.sandbox.key(), &copy).unwrap();
    for _ in 0..3 {
        service.resolve(&token, json!({})).with(200);
    }
    // What says that it is sealed to a key that never was is altered.
    let store = rusqlite::Connection::open(ground.sandbox.store()).unwrap();
    store.busy_timeout(PATIENCE).unwrap();
    store.execute("UPDATE secret SET key_id = '0123456789abcdef'", []).unwrap();
    let answer = service.resolve(&ground.token(json!({})), json!({}));
    answer.problem(500, "secret_damaged");
    service.stop();
}

/// A side that has the public key's file alone, and gets the new one after the rotation.
#[test]
fn what_is_added_with_the_public_key_alone_opens_after_rotations() {
    let ground = Ground::new("");
    ground.fill();
    added_during_rotations(&ground);
}

#[test]
fn what_is_added_with_the_public_key_alone_opens_after_rotations_of_a_database() {
    let database = Database::new();
    added_during_rotations(&replicas::ground(&database, ""));
}

fn added_during_rotations(ground: &Ground) {
    let variables = (0..600).map(|n| format!("V{n}=value-{n}\n")).collect::<String>();
    ground.sandbox.write("many.env", variables);
    ground.sandbox.run("secret import many.env -P many --yes".split(' ')).success();
    let operator = ground.operator();
    // A reader sees the old file or the new one.
    let publish = || {
        let public = ground.sandbox.run(["key", "public"]).success().stdout;
        let new = ground.sandbox.write("new.pub", public);
        fs::rename(new, ground.sandbox.path("key.pub")).unwrap();
    };
    publish();
    let public = ground.sandbox.path("key.pub").display().to_string();
    let admin = ["--role", "admin", "--public-key", &public, "--key", "/nowhere/store.key"];
    let admin = ground.serve(&admin);
    let meanwhile = Meanwhile::default();
    let [added, refused, _] = &meanwhile.done;
    let count = |of: &AtomicU64| of.load(Ordering::SeqCst);
    std::thread::scope(|scope| {
        let over = Over(&meanwhile);
        let adding = scope.spawn(|| {
            while !meanwhile.over.load(Ordering::SeqCst) {
                let n = count(added);
                let answer = admin.add(&operator, &format!("ADDED_{n}"), &format!("added-{n}"));
                let answer = answer.unwrap();
                if answer.status == 201 {
                    added.fetch_add(1, Ordering::SeqCst);
                } else {
                    answer.problem(answer.status, "key_of_another_store");
                    refused.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let so_far = |what: &str, of: &AtomicU64| {
            let before = count(of);
            until(what, || count(of) > before + 3 || adding.is_finished());
            assert!(!adding.is_finished(), "whoever adds has failed");
        };
        so_far("some are added", added);
        for _ in 0..4 {
            ground.sandbox.run(["key", "rotate"]).success();
            so_far("adding to the old key is refused", refused);
            publish();
            so_far("some are added to the new key", added);
        }
        drop(over);
    });
    admin.stop();
    let info = ground.here("store info --format json").success().stdout;
    let info: Json = serde_json::from_str(&info).unwrap();
    assert_eq!(info["sealed_to_other_keys"], 0, "{info}");
    let resolve = ground.serve(&["--role", "resolve"]);
    let answer = resolve.resolve(&ground.token(json!({})), json!({})).with(200);
    let secrets = answer["secrets"].as_array().unwrap();
    for n in 0..count(added) {
        let key = format!("ADDED_{n}");
        let secret = secrets.iter().find(|secret| secret["key"] == key.as_str());
        let value = &secret.unwrap_or_else(|| panic!("{key} is not there"))["value"];
        assert_eq!(value, &format!("added-{n}"));
    }
    resolve.stop();
}

/// Elsewhere there is a copy of the key file, which is brought along before it is needed.
#[test]
fn a_copy_of_the_key_file_has_the_new_key_before_it_is_needed() {
    let ground = Ground::new("");
    ground.fill();
    let operator = ground.operator();
    let copy = ground.sandbox.path("copy.key");
    let bring = || fs::copy(ground.sandbox.key(), &copy).unwrap();
    bring();
    let service = ground.serve(&["--key", copy.to_str().unwrap()]);
    let works = |added: &str| {
        let token = ground.token(json!({}));
        assert!(service.resolve(&token, json!({})).body.contains("password-of-ninja"));
        service.add(&operator, added, "any value").unwrap().with(201);
    };
    let prepare = ["key", "rotate", "--prepare"];
    let prepared = ground.sandbox.run(prepare).success().stdout;
    works("PREPARED");
    // Again, it is the same key.
    assert_eq!(ground.sandbox.run(prepare).success().stdout, prepared);
    bring();
    works("BROUGHT");
    let rotated = ground.sandbox.run(["key", "rotate"]).success().stdout;
    let id = rotated.trim().rsplit(' ').next().unwrap();
    assert!(prepared.contains(id), "{prepared}{rotated}");
    works("ROTATED");
    let keys = fs::read_to_string(ground.sandbox.key()).unwrap();
    assert_eq!(keys.matches("\nqgis-secrets-private-").count(), 1);
    bring();
    works("WITHOUT_THE_OLD");
    service.stop();
}
