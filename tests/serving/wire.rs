//! TLS, mutual TLS, and a certificate that is renewed.

use super::*;
use crate::support::tls::{Authority, Like};
use crate::support::until;

/// A service with TLS that asks clients for certificates of `clients`.
pub(super) fn secure(
    ground: &Ground,
    authority: &Authority,
    clients: Option<&Authority>,
) -> Process {
    renew(ground, authority);
    let more = clients.map(|clients| {
        let file = ground.sandbox.write("clients.pem", clients.pem());
        format!("client_ca_file = '{}'\n", file.display())
    });
    serve(ground, &more.unwrap_or_default())
}

/// A service with the certificate that is there; `more` of `[service]`.
pub(super) fn serve(ground: &Ground, more: &str) -> Process {
    let path = |name: &str| ground.sandbox.path(name).display().to_string();
    ground.settings(&format!(
        "[service]\ntls_certificate_file = '{}'\ntls_key_file = '{}'\n{more}",
        path("tls.pem"),
        path("tls.key")
    ));
    ground.serve(&[])
}

/// A new certificate for the service.
fn renew(ground: &Ground, authority: &Authority) {
    renew_like(ground, authority, Like::Good);
}

/// The same, good or not.
pub(super) fn renew_like(ground: &Ground, authority: &Authority, like: Like) {
    let signed = authority.sign(like);
    crate::stores::cluster::private(&ground.sandbox.path("tls.key"), &signed.key);
    ground.sandbox.write("tls.pem", signed.certificate);
}

/// A worker that trusts an authority; `more` of `[backend.service]`.
fn run(
    service: &Process,
    ground: &Ground,
    worker: &Sandbox,
    authority: &Authority,
    more: &str,
) -> Ended {
    let ca = worker.write("ca.pem", authority.pem()).display().to_string();
    let settings = format!(
        "backend.kind = 'service'\n[backend.service]\nurl = '{}'\nca_file = '{ca}'\n\
         deadline_s = 20\n{more}\n",
        service.url()
    );
    worker.write("settings.toml", settings);
    worker.token(&ground.token(json!({})));
    worker.job(json!({"require": ["pgservice:ninja"]}));
    let words = "--settings settings.toml run --job-token-file tokens/token job.json";
    worker.run(words.split(' '))
}

#[test]
fn a_certificate_is_renewed_without_a_restart() {
    let ground = Ground::new("");
    ground.fill();
    let (old, new) = (Authority::named("old"), Authority::named("new"));
    let service = secure(&ground, &old, None);
    assert!(service.url().starts_with("https://"));
    let worker = Sandbox::new();
    run(&service, &ground, &worker, &old, "").success();
    run(&service, &ground, &worker, &new, "").error(69, "backend_untrusted", "authority");
    renew(&ground, &new);
    service.signal(Signal::SIGHUP);
    until("the new one is shown", || run(&service, &ground, &worker, &new, "").code == 0);
    run(&service, &ground, &worker, &old, "").error(69, "backend_untrusted", "authority");
    // A certificate that is none changes nothing.
    ground.sandbox.write("tls.pem", "nonsense");
    service.signal(Signal::SIGHUP);
    until("it is said", || service.log().contains("the certificate stays as it was"));
    run(&service, &ground, &worker, &new, "").success();
    service.stop();
}

#[test]
fn a_runner_shows_its_own_certificate() {
    let ground = Ground::new("");
    ground.fill();
    let (authority, clients) = (Authority::new(), Authority::named("clients"));
    let service = secure(&ground, &authority, Some(&clients));
    let worker = Sandbox::new();
    let certified = |by: &Authority| {
        let signed = by.sign(Like::Client);
        let file = worker.write("tokens-own.pem", signed.certificate).display().to_string();
        std::fs::create_dir_all(worker.path("private")).unwrap();
        let key = worker.path("private/own.key");
        crate::stores::cluster::private(&key, &signed.key);
        format!("certificate_file = '{file}'\nkey_file = '{}'", key.display())
    };
    let own = certified(&clients);
    run(&service, &ground, &worker, &authority, &own).success();
    let refused = |ended: Ended| {
        ended.error(69, "backend_untrusted", "doesn't accept this side's certificate");
    };
    refused(run(&service, &ground, &worker, &authority, ""));
    let others = certified(&Authority::named("clients"));
    refused(run(&service, &ground, &worker, &authority, &others));
    service.stop();
}
