//! A new key while everybody goes on.

use std::sync::atomic::AtomicBool;

use super::*;

/// What others do meanwhile, until the rotations are over.
fn meanwhile(over: &AtomicBool, mut work: impl FnMut(usize)) -> usize {
    let mut done = 0;
    while !over.load(Ordering::SeqCst) {
        work(done);
        done += 1;
    }
    done
}

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
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let jobs: Vec<_> = [&both, &resolve]
            .into_iter()
            .map(|service| {
                let (ground, over) = (&ground, &over);
                scope.spawn(move || {
                    meanwhile(over, |_| {
                        let answer = service.resolve(&ground.token(json!({})), json!({}));
                        assert!(answer.body.contains("password-of-ninja"), "{answer:?}");
                    })
                })
            })
            .collect();
        let adding = scope.spawn(|| {
            meanwhile(&over, |n| {
                let answer = both.add(&operator, &format!("ADDED_{n}"), &format!("added-{n}"));
                answer.unwrap().with(201);
            })
        });
        let rotate = || ground.sandbox.run(["key", "rotate"]);
        let rotations: Vec<Ended> = (0..5).map(|_| rotate()).collect();
        over.store(true, Ordering::SeqCst);
        for job in jobs {
            assert!(job.join().unwrap() > 5);
        }
        assert!(adding.join().unwrap() > 5);
        for rotation in rotations {
            rotation.success();
        }
    });
    let info = ground.here("store info --format json").success().stdout;
    let info: Json = serde_json::from_str(&info).unwrap();
    assert_eq!(info["sealed_to_other_keys"], 0, "{info}");
    let answer = resolve.resolve(&ground.token(json!({})), json!({}));
    assert!(answer.body.contains("\"added-0\""), "{answer:?}");
    both.stop();
    resolve.stop();
}
