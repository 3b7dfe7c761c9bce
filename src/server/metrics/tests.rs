//! Labels, and the three addresses.

use axum::body::{Body, to_bytes};
use axum::middleware;
use tower::ServiceExt;

use super::*;

async fn ask(router: &Router, method: &str, path: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn no_client_can_make_a_series() {
    let metrics = Metrics::new();
    let router = Router::new()
        .route("/v1/projects/{project}", get(async || "fine"))
        .layer(middleware::from_fn_with_state(metrics.clone(), requests));
    for n in 0..50 {
        ask(&router, "GET", &format!("/v1/projects/p{n}")).await;
        ask(&router, "GET", &format!("/nowhere/{n}")).await;
        ask(&router, &format!("MADEUP{n}"), &format!("/v1/projects/p{n}")).await;
    }
    let text = metrics.text().unwrap();
    let series: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("qgis_secrets_http_requests_total"))
        .collect();
    let expected = [
        r#"{route="/v1/projects/{project}",method="GET",status="2xx"} 50"#,
        r#"{route="/v1/projects/{project}",method="other",status="4xx"} 50"#,
        r#"{route="unmatched",method="GET",status="4xx"} 50"#,
    ];
    assert_eq!(series.len(), expected.len(), "{text}");
    for line in expected {
        assert!(series.contains(&line), "{line} is not in\n{text}");
    }
    assert!(text.contains(
        r#"qgis_secrets_http_request_duration_seconds_count{route="/v1/projects/{project}"} 100"#
    ));
}

#[tokio::test]
async fn what_is_counted_is_shown() {
    let metrics = Metrics::new();
    metrics.resolved(Resolved::Answered);
    metrics.resolved(Resolved::Denied);
    metrics.limited(Limited::Subject);
    metrics.store_error("store_locked");
    metrics.handshake_failed();
    let open = (metrics.connection(), metrics.connection());
    drop(open.0);
    let router = router(metrics, Readiness::default(), MetricsFor::Anyone);
    let (status, text) = ask(&router, "GET", "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        r#"qgis_secrets_resolves_total{outcome="answered"} 1"#,
        r#"qgis_secrets_resolves_total{outcome="denied"} 1"#,
        r#"qgis_secrets_rate_limited_total{by="subject"} 1"#,
        r#"qgis_secrets_store_errors_total{kind="store_locked"} 1"#,
        "qgis_secrets_tls_failures_total 1",
        "qgis_secrets_connections 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|has| has == line), "{line} is not in\n{text}");
    }
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_max_fds"] {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap();
        assert!(line.parse::<u64>().unwrap() > 2, "{name} {line}");
    }
}

#[tokio::test]
async fn readiness_is_what_its_checks_say() {
    let well = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let seen = Arc::clone(&well);
    let readiness = Readiness::default().with("keys", async || Ok(())).with("store", move || {
        let well = seen.load(std::sync::atomic::Ordering::Relaxed);
        async move { if well { Ok(()) } else { Err("canary".into()) } }
    });
    let ready = router(Metrics::new(), readiness, MetricsFor::Anyone);
    assert_eq!(ask(&ready, "GET", "/ready").await, (StatusCode::OK, "ready\n".into()));
    well.store(false, std::sync::atomic::Ordering::Relaxed);
    let (status, body) = ask(&ready, "GET", "/ready").await;
    assert_eq!(status, 503);
    assert!(body.contains("not ready: store;") && !body.contains("canary"), "{body}");
    assert_eq!(ask(&ready, "GET", "/live").await.0, 200);

    let mut stuck = Readiness::default().with("store", std::future::pending);
    stuck.patience = std::time::Duration::from_millis(10);
    let (status, _) =
        ask(&router(Metrics::new(), stuck, MetricsFor::Anyone), "GET", "/ready").await;
    assert_eq!(status, 503);
}
