//! What the secrets service costs, with its client on the same machine.
//!
//! The client keeps connections open and checks that every answer is 200. Tokens are signed before
//! the clock runs: that is the orchestrator's work. What a request costs the service is said as well,
//! as the time that its threads worked, for that hardly depends on what else the machine does.

mod ground;
mod load;
mod postgres;
mod visitor;

use std::time::{Duration, Instant};

use super::{at_least, at_most, row};
use ground::{Ground, Service};
use load::{Connection, Load, quantile};

/// Requests of a lap, and how many laps are compared with as many of something else.
const LAP: usize = 4_000;
const LAPS: usize = 7;

/// What the service has to keep.
const PER_SECOND: u32 = 1_500;

/// Requests that compare two answers to one API token.
const COMPARED: usize = 5_000;

/// For how long the service is under load while its memory is watched, in seconds; 60 without it.
const LOAD_SECONDS: &str = "BENCH_SECONDS";

/// Measures all of it.
pub(super) fn measure() {
    let seconds = std::env::var(LOAD_SECONDS).map_or(60, |text| text.parse().unwrap());
    println!("the service, and its client; medians of {LAPS} laps of {LAP} requests each, in turn");
    println!("{:<58} {:>12} {:>9}", "POST /v1/resolve, five secrets", "measured", "at most");
    let small = Ground::sqlite(1_000);
    resolve(&small);
    many_stored(&small);
    steady(&small, Duration::from_secs(seconds));
}

/// A lap's requests, signed, then sent.
fn lap(ground: &Ground, service: &Service) -> Load {
    Load::run(&service.address, &ground.requests(LAP), None)
}

/// Speed on SQLite, and on PostgreSQL beside it.
fn resolve(sqlite: &Ground) {
    let cluster = postgres::Cluster::start();
    let other = Ground::postgres(&cluster);
    let (service, postgres) = (sqlite.serve(), other.serve());
    let (on_sqlite, on_postgres) = in_turn(|| lap(sqlite, &service), || lap(&other, &postgres));
    drop(postgres);
    at_least("on SQLite: a second", on_sqlite.per_second(), 0, f64::from(PER_SECOND));
    at_most("  p99, of as many as that: ms", on_sqlite.quantile(0.99), 1, 20.0);
    let requests = sqlite.requests(5 * LAP);
    let before = (service.worked(), worked_here());
    let paced = Load::run(&service.address, &requests, Some(PER_SECOND));
    let count = requests.len() as f64;
    at_most("  p99, of 1,500 a second: ms", paced.quantile(0.99), 1, 20.0);
    row("  p50, of 1,500 a second: ms", format!("{:.1}", paced.quantile(0.5)), "");
    let (served, asked) = (service.worked() - before.0, worked_here() - before.1);
    row("  work of the service for one: ms", format!("{:.3}", served / count * 1e3), "");
    row("  work of the client for one: ms", format!("{:.3}", asked / count * 1e3), "");
    let times = on_postgres.per_second() / on_sqlite.per_second();
    row("on PostgreSQL, against SQLite: times", format!("{times:.2}"), "");
    row("  a second", format!("{:.0}", on_postgres.per_second()), "");
    row("  p99: ms", format!("{:.1}", on_postgres.quantile(0.99)), "");
}

/// The same jobs among 1,000 secrets and among 1,000,000; and the page of the large store.
fn many_stored(small: &Ground) {
    let large = Ground::sqlite(1_000_000);
    let (few, many) = (small.serve(), large.serve());
    let before = (few.worked(), many.worked());
    let (with_few, with_many) = in_turn(|| lap(small, &few), || lap(&large, &many));
    let times = with_few.per_second() / with_many.per_second();
    at_most("1,000,000 secrets, against 1,000: times as long", times, 2, 1.25);
    let worked = (many.worked() - before.1) / (few.worked() - before.0);
    row("  work of the service: times", format!("{worked:.2}"), "");
    drop(few);
    page(many);
    tokens(&large);
}

/// What a browser waits for.
fn page(mut service: Service) {
    let mut visitor = visitor::Visitor::log_in(&mut service);
    for (what, path) in [
        ("page of a project, first byte, p99: ms", "/projects/project-000000/secrets"),
        ("  overview of 1,000,000 secrets, first byte, p99: ms", "/"),
    ] {
        let mut times: Vec<Duration> = (0..300).map(|_| visitor.first_byte(path)).collect();
        times.sort_unstable();
        at_most(what, quantile(&times, 0.99), 1, 15.0);
    }
    let bytes = visitor.assets("/projects/project-000000/secrets") as f64;
    at_most("  all assets: kB", bytes / 1e3, 1, 60.0);
}

/// Whether the time of a refusal tells how much of an API token is right.
fn tokens(ground: &Ground) {
    let token = ground.api_token();
    let service = ground.serve();
    let changed = |index: usize| {
        let mut text = token.clone().into_bytes();
        text[index] = if text[index] == b'0' { b'1' } else { b'0' };
        request(&String::from_utf8(text).unwrap())
    };
    // The secret part stands behind the last `_`, and the id before it.
    let secret = token.rfind('_').unwrap() + 1;
    let (first, last) = (changed(secret), changed(token.len() - 1));
    let unknown = changed(secret - 2);
    let mut connection = Connection::new(&service.address);
    assert_eq!(connection.ask(&request(&token)).status, 200);
    for (what, a, b) in [
        ("API token: first digit wrong, against last: times", &first, &last),
        ("  unknown id, against wrong secret: times", &unknown, &last),
        ("  the same against itself: times", &last, &last),
    ] {
        let (mut with_a, mut with_b) = (Vec::new(), Vec::new());
        for index in 0..COMPARED {
            // A B B A: the service's threads take turns, and one may be on a busier core.
            for is_a in [index % 2 == 0, index % 2 != 0] {
                let (request, times) = if is_a { (a, &mut with_a) } else { (b, &mut with_b) };
                let answer = connection.ask(request);
                assert_eq!(answer.status, 401, "{}", answer.body);
                times.push(answer.whole);
            }
        }
        with_a.sort_unstable();
        with_b.sort_unstable();
        let times = quantile(&with_a, 0.5) / quantile(&with_b, 0.5);
        row(what, format!("{times:.3}"), "");
    }
}

fn request(token: &str) -> Vec<u8> {
    format!("GET /v1/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
        .into_bytes()
}

/// Memory and speed under load for a while.
fn steady(ground: &Ground, time: Duration) {
    let service = ground.serve();
    let began = Instant::now();
    let mut seen: Vec<(f64, f64, f64)> = Vec::new();
    let mut largest_log = 0;
    while began.elapsed() < time {
        let load = lap(ground, &service);
        let (rss, pss) = service.memory();
        seen.push((load.per_second(), rss, pss));
        largest_log = largest_log.max(ground.sizes().1);
    }
    let minutes = time.as_secs_f64() / 60.0;
    println!("under load for {minutes:.1} minutes, {} requests", seen.len() * LAP);
    let most = |of: fn(&(f64, f64, f64)) -> f64| seen.iter().map(of).fold(0.0, f64::max);
    at_most("memory of the service (RSS), the most: MiB", most(|it| it.1), 1, 64.0);
    row("  its share (PSS), the most: MiB", format!("{:.1}", most(|it| it.2)), "");
    let (first, last) = ends(&seen, |it| it.1);
    at_most("  RSS, last tenth against first: times", last / first, 2, 1.1);
    let (first, last) = ends(&seen, |it| it.0);
    at_most("  time of a request, last tenth against first: times", first / last, 2, 1.25);
    let (store, _) = ground.sizes();
    row("  the store's file: MiB", format!("{:.0}", store as f64 / f64::from(1 << 20)), "");
    row("  its log, the most: MiB", format!("{:.0}", largest_log as f64 / f64::from(1 << 20)), "");
}

/// Medians of the first and the last tenth.
fn ends<T>(seen: &[T], of: impl Fn(&T) -> f64) -> (f64, f64) {
    let tenth = seen.len().div_ceil(10);
    let middle = |part: &[T]| {
        let mut all: Vec<f64> = part.iter().map(&of).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[all.len() / 2]
    };
    (middle(&seen[..tenth]), middle(&seen[seen.len() - tenth..]))
}

/// Both, in turn; of each the lap with the median speed. The first of each is to warm up.
fn in_turn(a: impl Fn() -> Load, b: impl Fn() -> Load) -> (Load, Load) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for index in 0..=LAPS {
        let (one, two) = (a(), b());
        if index > 0 {
            first.push(one);
            second.push(two);
        }
    }
    let middle = |mut all: Vec<Load>| {
        all.sort_unstable_by(|a, b| a.per_second().total_cmp(&b.per_second()));
        all.swap_remove(all.len() / 2)
    };
    (middle(first), middle(second))
}

/// What this program has worked: seconds.
fn worked_here() -> f64 {
    ground::worked(std::process::id())
}
