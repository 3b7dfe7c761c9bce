//! Keys from an address that changes, stops answering, or lies. The clock is the one that the
//! tokens are checked by, so that a day passes at once.

use std::time::{Duration, Instant};

use qgis_secrets::job_token::{Policy, Source, Verifier};
use qgis_secrets::secret::Value;
use serde_json::json;

use super::{
    AUDIENCE, File, Forger, NOW, TRUSTED, at, jwks, now, runtime, verdict, verdict_at, verify, with,
};
use crate::support::http::{Answer, Server};
use crate::support::until;

fn subscribed(server: &Server) -> Verifier {
    let source = Source::Url(server.url("/jwks.json"));
    Verifier::new(Policy::new(AUDIENCE), [source]).unwrap()
}

fn set(keys: &[&Forger]) -> Answer {
    Answer::fine(jwks(keys))
}

/// Good for two days from [`NOW`], at any time of them.
fn token_at(key: &Forger, seconds: i64) -> String {
    key.claiming(json!({"exp": NOW + seconds + 600}))
}

#[track_caller]
fn expect(verifier: &Verifier, key: &Forger, seconds: i64, expected: &str) {
    assert_eq!(verdict_at(verifier, token_at(key, seconds), at(seconds)), expected);
}

#[test]
fn keys_are_fetched_once_and_used_for_their_time() {
    let server = Server::new([set(&[&TRUSTED.ed, &TRUSTED.rsa])]);
    let verifier = subscribed(&server);
    assert_eq!(server.requests().len(), 0, "nobody asked yet");
    for seconds in [0, 1, 300, 600] {
        expect(&verifier, &TRUSTED.ed, seconds, "fine");
        expect(&verifier, &TRUSTED.rsa, seconds, "fine");
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].line, "GET /jwks.json HTTP/1.1");
    assert_eq!(requests[0].header("Authorization"), None, "the token stays here");
}

#[test]
fn readiness_is_known_before_the_first_token() {
    let server = Server::new([set(&[&TRUSTED.ed])]);
    let verifier = subscribed(&server);
    runtime().block_on(verifier.ready(now())).unwrap();
    assert_eq!(server.requests().len(), 1);
    let server = Server::new([Answer::status(404)]);
    let verifier = subscribed(&server);
    let refused = runtime().block_on(verifier.ready(now())).unwrap_err();
    assert_eq!(refused.kind(), "keys_unavailable");
}

#[test]
fn a_new_key_counts_at_once_and_a_removed_one_no_more() {
    let (old, new, stranger) =
        (Forger::ed25519("old"), Forger::p256("new"), Forger::ed25519("stranger"));
    let server = Server::new([set(&[&old]), set(&[&old, &new]), set(&[&new])]);
    let verifier = subscribed(&server);
    expect(&verifier, &old, 0, "fine");
    // Published by now, but the last fetch is too near.
    expect(&verifier, &new, 29, "token_key_unknown");
    assert_eq!(server.requests().len(), 1);
    expect(&verifier, &new, 30, "fine");
    expect(&verifier, &old, 31, "fine");
    assert_eq!(server.requests().len(), 2);
    // A stranger's token makes it look again, and the old key is gone.
    expect(&verifier, &stranger, 60, "token_key_unknown");
    assert_eq!(server.requests().len(), 3);
    expect(&verifier, &old, 61, "token_key_unknown");
    expect(&verifier, &new, 61, "fine");
}

/// A key of the same id that is another one now.
#[test]
fn a_replaced_key_is_another_one() {
    let (old, new) = (Forger::ed25519("k"), Forger::ed25519("k"));
    let server = Server::new([set(&[&old]), set(&[&new])]);
    let verifier = subscribed(&server);
    expect(&verifier, &old, 0, "fine");
    expect(&verifier, &new, 1, "token_signature");
    expect(&verifier, &old, 1201, "token_signature");
    expect(&verifier, &new, 1201, "fine");
}

/// Nothing waits for a fetch while the keys are hardly old, and its result counts.
#[test]
fn keys_that_are_hardly_old_are_fetched_behind_the_token() {
    let (old, new) = (Forger::ed25519("old"), Forger::ed25519("new"));
    let server = Server::new([set(&[&old]), set(&[&new])]);
    let verifier = subscribed(&server);
    expect(&verifier, &old, 0, "fine");
    expect(&verifier, &old, 601, "fine");
    until("the old key is gone", || {
        verdict_at(&verifier, token_at(&old, 602), at(602)) == "token_key_unknown"
    });
    expect(&verifier, &new, 602, "fine");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_slow_address_delays_no_token_whose_key_is_there() {
    let server = Server::new([set(&[&TRUSTED.ed]), Answer::Silence]);
    let verifier = subscribed(&server);
    expect(&verifier, &TRUSTED.ed, 0, "fine");
    let begun = Instant::now();
    for _ in 0..50 {
        expect(&verifier, &TRUSTED.ed, 601, "fine");
    }
    // One fetch takes five seconds here.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    until("the fetch has begun", || server.requests().len() == 2);
}

#[test]
fn cache_control_says_how_long() {
    for (header, fresh, stale) in [
        ("Cache-Control: max-age=3600", 3600, 3601),
        ("Cache-Control: public, MAX-AGE=\"3600\", must-revalidate", 3600, 3601),
        ("Cache-Control: max-age=1", 300, 301),
        ("Cache-Control: no-store", 300, 301),
        ("Cache-Control: no-cache, max-age=3600", 300, 301),
        ("Cache-Control: max-age=99999999", 86_400, 86_401),
        ("Cache-Control: max-age=x", 600, 601),
        ("Cache-Control: private", 600, 601),
    ] {
        let server = Server::new([Answer::Headed(200, header, jwks(&[&TRUSTED.ed]))]);
        let verifier = subscribed(&server);
        expect(&verifier, &TRUSTED.ed, 0, "fine");
        expect(&verifier, &TRUSTED.ed, fresh, "fine");
        assert_eq!(server.requests().len(), 1, "{header}");
        if stale < 86_400 {
            expect(&verifier, &TRUSTED.ed, stale, "fine");
            until("it is fetched again", || server.requests().len() == 2);
        }
    }
}

#[test]
fn in_an_outage_the_last_keys_count_for_a_day() {
    const DAY: i64 = 24 * 3600;
    let server = Server::new([set(&[&TRUSTED.ed]), Answer::status(404)]);
    let verifier = subscribed(&server);
    expect(&verifier, &TRUSTED.ed, 0, "fine");
    for seconds in [2000, 3600, 12 * 3600, DAY] {
        expect(&verifier, &TRUSTED.ed, seconds, "fine");
    }
    assert_eq!(server.requests().len(), 5);
    // An unknown key stays unknown: nobody can say more.
    expect(&verifier, &TRUSTED.ec, DAY, "token_key_unknown");
    expect(&verifier, &TRUSTED.ed, DAY + 1, "keys_unavailable");
    let refused = verify(&verifier, token_at(&TRUSTED.ed, DAY + 2), at(DAY + 2)).unwrap_err();
    assert!(refused.to_string().contains("404"), "{refused}");
}

#[test]
fn keys_come_back_after_an_outage() {
    let server = Server::new([Answer::status(404), set(&[&TRUSTED.ed])]);
    let verifier = subscribed(&server);
    expect(&verifier, &TRUSTED.ed, 0, "keys_unavailable");
    expect(&verifier, &TRUSTED.ed, 4, "keys_unavailable");
    assert_eq!(server.requests().len(), 1);
    expect(&verifier, &TRUSTED.ed, 5, "fine");
}

/// The runner was asleep, or the clock was wrong: what is stored may be of any age.
#[test]
fn a_clock_that_was_set_back_makes_it_look_again() {
    let server = Server::new([set(&[&TRUSTED.ed]), set(&[&TRUSTED.ec])]);
    let verifier = subscribed(&server);
    expect(&verifier, &TRUSTED.ed, 3600, "fine");
    expect(&verifier, &TRUSTED.ed, 0, "token_key_unknown");
    expect(&verifier, &TRUSTED.ec, 0, "fine");
    assert_eq!(server.requests().len(), 2);
}

/// A hundred tokens at once, first for keys that nobody has yet, then for one that nobody has.
#[test]
fn a_hundred_tokens_are_one_fetch() {
    let server = Server::new([set(&[&TRUSTED.ed])]);
    let verifier = subscribed(&server);
    let all = |key: &Forger, seconds: i64| {
        let tokens: Vec<Value> = (0..100)
            .map(|i| {
                let header = with(key.header(), json!({"kid": format!("{}{i}", key.kid)}));
                let header = if key.kid == "ed" { key.header() } else { header };
                let claims = with(super::claims(), json!({"exp": NOW + seconds + 60}));
                Value::new(key.token(header.to_string(), claims.to_string()).into_bytes())
            })
            .collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> = tokens
                .iter()
                .map(|token| {
                    let verifier = &verifier;
                    scope.spawn(move || {
                        match runtime().block_on(verifier.verify(token, at(seconds))) {
                            Ok(_) => "fine",
                            Err(refused) => refused.kind(),
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        })
    };
    assert_eq!(all(&TRUSTED.ed, 0), ["fine"; 100]);
    assert_eq!(server.requests().len(), 1);
    assert_eq!(all(&TRUSTED.ec, 100), ["token_key_unknown"; 100]);
    assert_eq!(server.requests().len(), 2);
    assert_eq!(all(&TRUSTED.ec, 129), ["token_key_unknown"; 100]);
    assert_eq!(server.requests().len(), 2);
}

/// Whoever gave up waiting takes nobody else's keys away.
#[test]
fn a_fetch_goes_on_when_nobody_waits_for_it() {
    let server = Server::new([set(&[&TRUSTED.ed])]);
    let verifier = subscribed(&server);
    let token = Value::new(TRUSTED.ed.good().into_bytes());
    runtime().block_on(async {
        // Polled once: that begins the fetch.
        let mut once = Box::pin(verifier.verify(&token, now()));
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(once.as_mut().poll(context).is_pending())
        });
        assert!(polled.await);
    });
    until("the fetch has ended", || server.requests().len() == 1);
    assert_eq!(verdict(&verifier, TRUSTED.ed.good()), "fine");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn what_is_no_key_set_is_an_outage() {
    let conflict = jwks(&[&Forger::ed25519("a"), &Forger::ed25519("a")]);
    for (what, answer) in [
        ("HTML", Answer::fine("<html>log in</html>")),
        ("nothing", Answer::fine("")),
        ("an array", Answer::fine("[]")),
        ("no keys", Answer::fine("{}")),
        ("keys no array", Answer::fine(r#"{"keys":{}}"#)),
        ("a key no object", Answer::fine(r#"{"keys":[1]}"#)),
        ("two keys of one kid", Answer::fine(conflict)),
        ("huge", Answer::Endless),
        ("announced as huge", Answer::Announced(1 << 40)),
        ("a redirect", Answer::Redirect("https://evil.example/jwks.json".into())),
        ("not found", Answer::status(404)),
        ("denied", Answer::status(403)),
    ] {
        let server = Server::new([set(&[&TRUSTED.ed]), answer.clone()]);
        let verifier = subscribed(&server);
        expect(&verifier, &TRUSTED.ed, 0, "fine");
        expect(&verifier, &TRUSTED.ec, 100, "token_key_unknown");
        assert_eq!(server.requests().len(), 2, "{what}");
        expect(&verifier, &TRUSTED.ed, 101, "fine");
        // The same at first: there is nothing to fall back to.
        let server = Server::new([answer]);
        expect(&subscribed(&server), &TRUSTED.ed, 0, "keys_unavailable");
    }
}

#[test]
fn an_address_that_never_answers_is_given_up() {
    let silent = Server::new([Answer::Silence]);
    let begun = Instant::now();
    expect(&subscribed(&silent), &TRUSTED.ed, 0, "keys_unavailable");
    assert!(begun.elapsed() < Duration::from_secs(30));
    let source = Source::Url("http://127.0.0.1:1/jwks.json".into());
    let verifier = Verifier::new(Policy::new(AUDIENCE), [source]).unwrap();
    expect(&verifier, &TRUSTED.ed, 0, "keys_unavailable");
}

/// A published set serves others too; what is not for tokens is passed over, and what is private
/// is not trusted.
#[test]
fn other_keys_of_a_published_set_are_passed_over() {
    let leaked = Forger::ed25519("leaked");
    let encrypting = Forger::rsa("encrypting");
    let keys = json!({"keys": [
        {"kty": "oct", "k": "AAAA", "kid": "secret"},
        {"kty": "AKP", "kid": "later"},
        {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "kid": "large"},
        with(leaked.jwk(), json!({"d": "AAAA"})),
        with(encrypting.jwk(), json!({"use": "enc"})),
        TRUSTED.ed.jwk(),
    ], "more": 1});
    let server = Server::new([Answer::fine(keys.to_string())]);
    let verifier = subscribed(&server);
    expect(&verifier, &TRUSTED.ed, 0, "fine");
    expect(&verifier, &leaked, 1, "token_key_unknown");
    expect(&verifier, &encrypting, 1, "token_key_unknown");
}

/// An issuer that takes all keys out means it.
#[test]
fn an_empty_set_is_a_set() {
    let server = Server::new([set(&[&TRUSTED.ed]), set(&[])]);
    let verifier = subscribed(&server);
    expect(&verifier, &TRUSTED.ed, 0, "fine");
    expect(&verifier, &TRUSTED.ed, 1201, "token_key_unknown");
}

/// A file's key needs no address, and an address that is down takes nothing from another.
#[test]
fn sources_stand_side_by_side() {
    let file = File::of(jwks(&[&TRUSTED.ed]));
    let down = Server::new([Answer::status(404)]);
    let up = Server::new([set(&[&TRUSTED.ec])]);
    let sources =
        [Source::File(file.path()), Source::Url(down.url("/jwks")), Source::Url(up.url("/jwks"))];
    let verifier = Verifier::new(Policy::new(AUDIENCE), sources).unwrap();
    expect(&verifier, &TRUSTED.ed, 0, "fine");
    assert_eq!((down.requests().len(), up.requests().len()), (0, 0));
    expect(&verifier, &TRUSTED.ec, 0, "fine");
    // It may be one of those that are down.
    expect(&verifier, &TRUSTED.rsa, 1, "keys_unavailable");
}

#[test]
fn keys_come_by_tls_or_from_this_machine() {
    for (url, why) in [
        ("http://keys.example/jwks", "https://"),
        ("http://10.0.0.1/jwks", "https://"),
        ("http://127.0.0.1.evil.example/jwks", "https://"),
        ("http://localhost.evil.example/jwks", "https://"),
        ("http://localhost@evil.example/jwks", "user name"),
        ("https://u:p@keys.example/jwks", "user name"),
        ("ftp://keys.example/jwks", "not a URL"),
        ("file:///etc/keys", "not a URL"),
        ("keys.example", "not a URL"),
        ("", "not a URL"),
    ] {
        let source = Source::Url(url.into());
        let fault = Verifier::new(Policy::new(AUDIENCE), [source]).unwrap_err().to_string();
        assert!(fault.contains(why), "{url}: {fault}");
    }
    for url in ["https://keys.example/jwks", "http://localhost:8080/jwks", "http://[::1]/jwks"] {
        Verifier::new(Policy::new(AUDIENCE), [Source::Url(url.into())]).unwrap();
    }
}
