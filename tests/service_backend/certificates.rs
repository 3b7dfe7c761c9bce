//! TLS: who is trusted, and what is said of who is not.

use super::*;

#[test]
fn a_server_that_is_not_who_it_should_be_gets_no_token() {
    let ground = Ground::new([answer(json!({}))]);
    let (stranger, namesake) = (Authority::named("a stranger"), Authority::new());
    for (config, words) in [
        (namesake.server(Like::Good), ["an authority that is not trusted", "ca_file"]),
        (stranger.server(Like::Good), ["an authority that is not trusted", "ca_file"]),
        (ground.authority.server(Like::Expired), ["has expired", "renew it"]),
        (ground.authority.server(Like::Early), ["is not valid yet", "clocks"]),
        (ground.authority.server(Like::OtherName), ["for another name", "(elsewhere.example)"]),
        (ground.authority.server(Like::Client), ["is not for a server", "no secret came"]),
        (ground.authority.server(Like::Authority), ["is an authority's", "sign one"]),
    ] {
        let server = Server::secure([answer(json!({}))], config);
        ground.settings(&[server.url("")], "");
        let ended = ground.run(json!({}));
        ground.refused(ended, 69, "backend_untrusted", &words);
        assert_eq!(server.requests().len(), 0, "{words:?}: it was asked");
    }
}

/// The system's authorities are not trusted besides the one that is named, nor the other way round.
#[test]
fn without_a_file_the_systems_authorities_are_trusted() {
    let ground = Ground::new([answer(json!({}))]);
    let ca = ground.sandbox.path("ca.pem");
    let url = ground.server.url("");
    let words = ["run", "--service", &url, "--report", "report.json", "--job-token-file"];
    let job = ground.job(json!({}));
    let command =
        || ground.sandbox.command(words.into_iter().chain(["tokens/token", job.as_str()]));
    let mut trusting = command();
    trusting.env("SSL_CERT_FILE", &ca);
    end(trusting).success();
    fs::remove_file(ground.sandbox.path("got")).unwrap();

    let stranger = ground.sandbox.write("stranger.pem", Authority::new().pem());
    let mut other = command();
    other.env("SSL_CERT_FILE", &stranger);
    let words = ["an authority that is not trusted"];
    ground.refused(end(other), 69, "backend_untrusted", &words);

    let mut without = command();
    without.env("SSL_CERT_FILE", ground.sandbox.write("empty.pem", ""));
    let words = ["no certificates of authorities on this system", "backend.service.ca_file"];
    ground.refused(end(without), 78, "certificate_invalid", &words);

    ground.sandbox.write("ca.pem", Authority::new().pem());
    let settings = format!(
        "[backend]\nkind = 'service'\n[backend.service]\nurl = '{url}'\nca_file = '{}'\n",
        ca.display()
    );
    ground.sandbox.write("settings.toml", settings);
    let mut besides = ground.command(json!({}));
    besides.env("SSL_CERT_FILE", ground.sandbox.write("right.pem", ground.authority.pem()));
    let words = ["an authority that is not trusted"];
    ground.refused(end(besides), 69, "backend_untrusted", &words);
}

#[test]
fn a_service_that_wants_to_know_the_runner() {
    let ground = Ground::new([]);
    let clients = Authority::new();
    let config = ground.authority.mutual(&clients);
    let server = Server::secure([answer(json!({}))], config);
    let urls = [server.url("")];
    fs::create_dir(ground.sandbox.path("tls")).unwrap();
    let place = |name: &str, text: &str| {
        let path = ground.sandbox.write(&format!("tls/{name}"), text);
        path.display().to_string()
    };
    let right = clients.sign(Like::Client);
    let (file, key) = (place("a.pem", &right.certificate), place("a.key", &right.key));
    let both = |file: &str, key: &str| format!("certificate_file = '{file}'\nkey_file = '{key}'");

    ground.settings(&urls, "");
    let words = ["doesn't accept this side's certificate", "`backend.service.certificate_file`"];
    ground.refused(ground.run(json!({})), 69, "backend_untrusted", &words);
    for other in [Authority::named("a stranger"), Authority::new()] {
        let wrong = other.sign(Like::Client);
        let (file, key) = (place("b.pem", &wrong.certificate), place("b.key", &wrong.key));
        ground.settings(&urls, &both(&file, &key));
        ground.refused(ground.run(json!({})), 69, "backend_untrusted", &words);
    }
    assert_eq!(server.requests().len(), 0);

    ground.settings(&urls, &both(&file, &key));
    // The key is as far away from the job as the token is.
    let script = format!("env > got; ! cat '{key}'");
    ground.run(json!({"command": ["sh", "-c", script]})).success();
    assert!(ground.got().contains(VALUE));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn files_that_are_none_are_named() {
    let ground = Ground::new([answer(json!({}))]);
    let signed = ground.authority.sign(Like::Client);
    let other = ground.authority.sign(Like::Client);
    ground.sandbox.write("a.pem", &signed.certificate);
    ground.sandbox.write("a.key", &signed.key);
    ground.sandbox.write("other.key", &other.key);
    ground.sandbox.write("text", VALUE);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    ground.sandbox.write("broken", broken);
    let urls = [ground.server.url("")];
    let settings = |ca: &str, file: &str, key: &str| {
        ground.settings(&urls, &format!("certificate_file = '{file}'\nkey_file = '{key}'"));
        let path = ground.sandbox.path("settings.toml");
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace(ground.sandbox.path("ca.pem").to_str().unwrap(), ca);
        ground.sandbox.write("settings.toml", text);
    };
    for (ca, file, key, words) in [
        ("none", "a.pem", "a.key", ["file of authorities (none)", "No such file"]),
        ("text", "a.pem", "a.key", ["file of authorities (text)", "no certificates in PEM"]),
        ("broken", "a.pem", "a.key", ["(broken)", "something that is no certificate"]),
        ("ca.pem", "none", "a.key", ["runner's certificate (none)", "No such file"]),
        ("ca.pem", "a.pem", "none", ["key of the runner's certificate (none)", "No such file"]),
        ("ca.pem", "text", "a.key", ["runner's certificate (text)", "PEM"]),
        ("ca.pem", "a.pem", "text", ["runner's certificate (a.pem)", "PEM"]),
        ("ca.pem", "a.pem", "other.key", ["(other.key)", "belongs to another certificate"]),
    ] {
        settings(ca, file, key);
        let ended = ground.run(json!({}));
        ground.refused(ended, 78, "certificate_invalid", &words);
    }
    assert_eq!(ground.server.requests().len(), 0);
}

/// A port that speaks no TLS is sent none of what would be under it.
#[test]
fn https_to_a_plain_port_is_said() {
    let ground = Ground::new([answer(json!({}))]);
    let plain = Server::new([answer(json!({}))]);
    ground.settings(&[plain.url("").replace("http:", "https:")], "deadline_s = 1");
    let ended = ground.run(json!({}));
    ground.refused(ended, 69, "backend_untrusted", &["doesn't speak TLS", "check the port"]);
    assert_eq!(plain.requests().len(), 0);
}
