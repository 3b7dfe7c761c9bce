//! A new key while everybody goes on.

use std::sync::atomic::AtomicBool;

use super::*;

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
