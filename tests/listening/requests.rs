//! What is sent: too much, nonsense, or one thing that looks like two.

use super::*;

const GET: &str = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn every_answer_has_security_headers() {
    let service = Service::new(Limits::default());
    for path in ["/hello", "/nowhere", "/panic", "/denied"] {
        let answer = service.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(answer.header("strict-transport-security"), None, "{path}");
    }
}

#[test]
fn what_fails_is_a_problem() {
    let service = Service::new(Limits::default());
    assert_eq!(service.get("/nowhere").kind(), "not_found");
    let answer = service.get("/length");
    assert_eq!(
        (answer.kind().as_str(), answer.header("allow")),
        ("method_not_allowed", Some("POST"))
    );
    assert_eq!(service.get("/denied").kind(), "unauthenticated");
}

/// The framework's own words would quote the value.
#[test]
fn a_refused_body_is_not_quoted() {
    let service = Service::new(Limits::default());
    let mut client = service.open();
    let body = "\"canary-7f3a\"";
    let length = body.len();
    client.send(format!(
        "POST /number HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    ));
    let answer = client.answer();
    assert_eq!((answer.status, answer.kind().as_str()), (422, "request_invalid"));
    assert!(!answer.body.contains("canary") && !answer.body.contains("u8"), "{answer:?}");
}

#[test]
fn a_panic_ends_its_request_and_nothing_else() {
    let service = Service::new(Limits::default());
    let mut client = service.open();
    client.send("GET /panic HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.kind().as_str()), (500, "internal"));
    assert!(!answer.body.contains("own panic"));
    client.send(GET);
    assert_eq!(client.answer().body, "hello");
}

#[test]
fn too_large_a_head_is_refused() {
    let service = Service::new(Limits { head_bytes: 8192, ..Limits::default() });
    let mut client = service.open();
    drop(client.stream.write_all(b"GET /hello HTTP/1.1\r\nX: "));
    drop(client.stream.write_all(&[b'x'; 9000]));
    let rest = client.rest();
    assert!(rest.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&rest));
    let mut client = service.open();
    client.send(format!("GET /hello HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(7000)));
    assert_eq!(client.answer().status, 200);
    let mut client = service.open();
    drop(client.stream.write_all(b"GET /hello HTTP/1.1\r\n"));
    drop(client.stream.write_all("a: b\r\n".repeat(200).as_bytes()));
    drop(client.stream.write_all(b"\r\n"));
    let rest = client.rest();
    assert!(rest.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn too_large_a_body_is_refused() {
    let service = Service::new(Limits { body_bytes: 1000, ..Limits::default() });
    for (length, status) in [(1000, 200), (1001, 413)] {
        let mut client = service.open();
        let head = format!("POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        client.send(head + &"x".repeat(length));
        let answer = client.answer();
        assert_eq!(answer.status, status);
        if status == 413 {
            assert_eq!(answer.kind(), "body_too_large");
            assert_eq!(answer.header("connection"), Some("close"));
        }
    }
    // It is refused before it is sent.
    let mut client = service.open();
    client.send("POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n");
    assert_eq!(client.answer().status, 413);
    assert_eq!(service.stage.reached(), 1);
}

/// Over HTTP/2 a body's length need not be known.
#[test]
fn a_body_of_unknown_length_is_bounded_as_well() {
    let service = Service::new(Limits { body_bytes: 1000, ..Limits::default() });
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = service.url("http", "/length");
    for (length, status) in [(1000, 200), (1001, 413)] {
        let body = reqwest::Body::wrap(Unannounced(length));
        let sent = client.post(&url).body(body).send();
        let answer = service.runtime.block_on(sent).unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    }
}

#[test]
fn one_request_is_not_two() {
    let service = Service::new(Limits::default());
    let smuggled = "0\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = smuggled.len();
    for fields in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        format!("Transfer-Encoding: chunked, identity\r\nContent-Length: {length}\r\n"),
        format!("Transfer-Encoding: xchunked\r\nContent-Length: {length}\r\n"),
        format!("Transfer-Encoding : chunked\r\nContent-Length: {length}\r\n"),
        format!("Transfer-Encoding:\tchunked\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n"),
        format!("Content-Length: {length}, 0\r\n"),
        format!("Content-Length: +{length}\r\n"),
        format!("Content-Length: {length}\r\n Transfer-Encoding: chunked\r\n"),
        "Transfer-Encoding: chunked\r\n".to_owned(),
    ] {
        let mut client = service.open();
        client.send(format!("POST /length HTTP/1.1\r\nHost: x\r\n{fields}\r\n{smuggled}"));
        let rest = String::from_utf8(client.rest()).unwrap();
        assert!(rest.starts_with("HTTP/1.1 4"), "{fields}: {rest}");
        assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{fields}: {rest}");
    }
    assert_eq!(service.stage.reached(), 0);
}

#[test]
fn requests_in_a_row_are_answered_in_order() {
    let service = Service::new(Limits::default());
    let mut client = service.open();
    client.send(format!(
        "POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc{GET}{GET}\
         POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na"
    ));
    let bodies: Vec<String> = (0..4).map(|_| client.answer().body).collect();
    assert_eq!(bodies, ["3", "hello", "hello", "1"]);
}

#[test]
fn nonsense_harms_nobody() {
    let service = Service::new(Limits::default());
    // A TLS greeting, zeros, a terminal's line ends, letters, and a preface that isn't one.
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage"[..],
        &[0; 64],
        b"GET\n\n\n",
        b"hello there\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"GET /hello HTTP/9.9\r\n\r\n",
        b"GET /\x00hello HTTP/1.1\r\n\r\n",
    ] {
        let mut client = service.open();
        client.send(bytes);
        drop(client.stream.shutdown(std::net::Shutdown::Write));
        let rest = client.rest();
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(service.get("/hello").status, 200);
    assert_eq!(service.stage.reached(), 1);
}

#[test]
fn http2_is_spoken_without_tls_as_well() {
    let service = Service::new(Limits { streams: 7, ..Limits::default() });
    let mut client = service.open();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let mut head = [0; 9];
    client.stream.read_exact(&mut head).unwrap();
    assert_eq!((head[3], head[4]), (4, 0), "not SETTINGS");
    let mut settings = vec![0; usize::from(head[2])];
    client.stream.read_exact(&mut settings).unwrap();
    // SETTINGS_MAX_CONCURRENT_STREAMS is 3, SETTINGS_MAX_HEADER_LIST_SIZE is 6: RFC 9113, 6.5.2.
    for setting in [[0, 3, 0, 0, 0, 7], [0, 6, 0, 0, 0x40, 0]] {
        assert!(settings.chunks(6).any(|has| has == setting), "{settings:?}");
    }
}

#[test]
fn failures_are_limited_and_success_is_not() {
    use qgis_secrets::server::limits::rate::Rate;
    let rate = Rate { burst: 3, every: Duration::from_secs(600) };
    let service = Service::new(Limits { failures: rate, requests: rate, ..Limits::default() });
    for path in ["/denied", "/subject"] {
        for n in 0..5 {
            let answer = service.get(path);
            if n < 3 {
                assert_ne!(answer.status, 429, "{path} {n}");
            } else {
                assert_eq!((answer.status, answer.kind().as_str()), (429, "rate_limited"));
                let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((590..=600).contains(&wait), "{wait}");
            }
        }
    }
    assert_eq!(service.get("/hello").status, 200);
    assert_eq!(service.metric(r#"qgis_secrets_rate_limited_total{by="peer"}"#), 2);
    assert_eq!(service.metric(r#"qgis_secrets_rate_limited_total{by="subject"}"#), 2);
}

#[test]
fn who_asks_is_known() {
    for (proxies, expected) in [(vec![], "127.0.0.1"), (vec!["127.0.0.1/32"], "203.0.113.9")] {
        let proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        let service = Service::start(Setup { proxies, ..Setup::default() });
        let mut client = service.open();
        client
            .send("GET /peer HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1, 203.0.113.9\r\n\r\n");
        assert_eq!(client.answer().body, format!("{expected} certificate: false"));
    }
}

/// Clients of 1996: one request a connection, and no body without its length.
#[test]
fn http_1_0_is_answered_and_closed() {
    let service = Service::new(Limits::default());
    for (request, start) in [
        ("GET /hello HTTP/1.0\r\n\r\n", "HTTP/1.0 200"),
        ("POST /length HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.0 200"),
        // RFC 9112, section 6.1: a proxy may have taken it for a body without an end.
        ("POST /length HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400"),
        ("GET /hello\r\n\r\n", "HTTP/1.1 400"),
    ] {
        let mut client = service.open();
        // What comes behind is not looked at.
        client.send(format!("{request}{GET}"));
        let rest = String::from_utf8(client.rest()).unwrap();
        assert!(rest.starts_with(start), "{request}: {rest}");
        assert_eq!(rest.matches("HTTP/1.").count(), 1, "{request}: {rest}");
    }
    assert_eq!(service.stage.reached(), 2);
}

/// Heads that two readers could understand in two ways, or that hold what no head may.
#[test]
fn absurd_heads_are_refused() {
    let service = Service::new(Limits::default());
    let long = "x".repeat(10_000);
    for head in [
        "GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_owned(),
        "GET /hello HTTP/1.1\r\nHost : x\r\n\r\n".to_owned(),
        "GET /hello HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n".to_owned(),
        "GET /hello HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n".to_owned(),
        "GET /hello HTTP/1.1\r\nHost: x\r\n: no name\r\n\r\n".to_owned(),
        "GET /hello HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n".to_owned(),
        "GET /hello HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n".to_owned(),
        "GET /hello HTTP/1.1\rHost: x\r\r".to_owned() + "\r\n\r\n",
        "GET  /hello HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET /hello HTTP/1.1 \r\nHost: x\r\n\r\n".to_owned(),
        "GET /hel lo HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "G\u{e9}T /hello HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        format!("{long} /hello HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", long.repeat(7)),
        "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ] {
        let mut client = service.open();
        drop(client.stream.write_all(head.as_bytes()));
        let answer = client.answer();
        let shown: String = head.chars().take(60).collect();
        assert!((400..500).contains(&answer.status), "{shown:?}: {answer:?}");
    }
    assert_eq!(service.stage.reached(), 0);
    assert_eq!(service.get("/hello").status, 200);
}
