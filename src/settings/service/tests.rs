//! The section `[service]`: its defaults, its sample, its faults, and what claims make people.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::*;

fn check(text: &str) -> Result<Service, String> {
    let raw: RawService = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    raw.check().map_err(|error| error.to_string())
}

#[test]
fn without_a_file_it_serves_this_machine_alone() {
    let service = check("").unwrap();
    assert_eq!(service.listen, "127.0.0.1:8470".parse().unwrap());
    assert!(service.listen.is_local() && service.oidc.is_none() && service.tls.is_none());
    assert_eq!(service.one_time_link, OneTimeLink::Loopback);
    assert!(service.role.is_admin() && service.role.resolves());
    assert_eq!(service.job_tokens.audience, "qgis-secrets");
    assert_eq!(service.membership, ServiceMembership::Trusted { organization_user: false });
    assert_eq!(service.sessions.idle, Duration::from_secs(30 * 60));
    assert_eq!(service.sessions.lifetime, Duration::from_secs(12 * 3600));
    assert_eq!(service.socket_mode, 0o660);
}

#[test]
fn addresses_are_read_and_shown_alike() {
    for text in ["127.0.0.1:8470", "[::1]:0", "unix:/run/x.sock", "systemd"] {
        assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
    }
    for text in
        ["", "8470", "localhost:8470", "127.0.0.1", "unix:", "unix:x.sock", "unix:/", "/run/x"]
    {
        assert_eq!(text.parse::<Listen>().unwrap_err(), InvalidListen, "{text}");
    }
}

/// Every key stands in the sample with its default, wherever it has one.
#[test]
fn the_sample_says_the_defaults() {
    let mut text = String::new();
    for line in include_str!("../../../config/settings.toml").lines() {
        let setting = line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#']));
        text.push_str(setting.unwrap_or(line));
        text.push('\n');
    }
    let sample: toml::Table = toml::from_str(&text).unwrap();
    let section = sample["service"].as_table().unwrap();
    let schema = serde_json::to_value(schemars::schema_for!(RawService)).unwrap();
    let mut seen = 0;
    let mut listed = |part: &toml::Table, schema: &Json| {
        for key in schema["properties"].as_object().unwrap().keys() {
            assert!(part.contains_key(key), "{key} is not in the sample");
            seen += 1;
        }
    };
    listed(section, &schema);
    for (name, part) in [
        ("RawLimits", "limits"),
        ("RawMembership", "membership"),
        ("RawJobTokens", "job_tokens"),
        ("RawOidc", "oidc"),
        ("RawSessions", "sessions"),
        ("RawAudit", "audit"),
    ] {
        listed(section[part].as_table().unwrap(), &schema["$defs"][name]);
    }
    assert!(seen > 30, "only {seen} keys found: the search is broken");
    let (have, default) =
        (section.clone().try_into::<RawService>().unwrap().check().unwrap(), check("").unwrap());
    assert_eq!(have.listen, default.listen);
    assert_eq!(have.limits, default.limits);
    assert_eq!(have.membership, default.membership);
    assert_eq!(have.sessions, default.sessions);
    assert_eq!(have.one_time_link, default.one_time_link);
    assert_eq!(have.job_tokens.leeway, default.job_tokens.leeway);
    assert_eq!(have.job_tokens.max_lifetime, default.job_tokens.max_lifetime);
    let oidc = have.oidc.unwrap();
    assert_eq!((oidc.subject_claim.as_str(), oidc.name_claim.as_str()), ("sub", "name"));
    assert_eq!(oidc.scopes, ["openid", "profile"]);
    assert_eq!(oidc.grants.len(), 2);
}

const OIDC: &str = "public_url = 'https://s.example'\noidc.issuer = 'https://i.example'\n\
                    oidc.client_id = 'c'\n";

#[test]
fn faults_name_the_setting_and_repeat_no_value() {
    for (text, message) in [
        ("listen = 'hunter2'", "`service.listen` must be an address"),
        ("listen = 'unix:hunter2'", "`service.listen` must be an address"),
        ("listen = '0.0.0.0:8470'", "`service.listen` is reached by other machines"),
        ("listen = '[::]:8470'", "`service.listen` is reached by other machines"),
        ("public_url = 'hunter2'", "`service.public_url` is no URL"),
        ("public_url = 'http://hunter2.example'", "`service.public_url` is http://"),
        ("public_url = 'https://a:hunter2@b'", "holds a user name or a password"),
        ("public_url = 'https://a/hunter2'", "`service.public_url` holds a path"),
        ("public_url = 'https://a?hunter2'", "`service.public_url` holds a query"),
        ("trusted_proxies = ['hunter2']", "`service.trusted_proxies` holds no address"),
        ("tls_certificate_file = 'hunter2'", "needs `tls_key_file` as well"),
        ("tls_key_file = 'hunter2'", "needs `tls_certificate_file` as well"),
        ("client_ca_file = 'hunter2'", "needs `tls_certificate_file` as well"),
        ("socket_mode = 0o1777", "must be a file's mode"),
        ("one_time_link = 'anywhere'", "`service.public_url` is not set"),
        ("limits.connections = 0", "`service.limits.connections` must be at least 1"),
        ("limits.request_s = 0", "`service.limits.request_s` must be more than 0"),
        ("membership.mode = 'trusted'\nmembership.non_member = 'unassigned'", "nobody knows"),
        ("job_tokens.issuer = ''", "`service.job_tokens.issuer` is empty"),
        ("job_tokens.audience = ''", "`service.job_tokens.audience` is empty"),
        ("job_tokens.jwks_url = 'http://10.0.0.1/'", "`service.job_tokens.jwks_url` is http://"),
        ("job_tokens.leeway_s = 601", "must be at most 600"),
        ("job_tokens.max_lifetime_s = 0", "must be more than 0"),
        ("sessions.idle_s = 0", "`service.sessions.idle_s` must be more than 0"),
        ("sessions.lifetime_s = 0.5", "`service.sessions.lifetime_s` must be at least 1"),
        ("audit.keep_days = 0", "must be at least 1"),
        ("oidc.issuer = 'https://i'\noidc.client_id = 'c'", "`service.public_url` is not set"),
    ] {
        let error = check(text).map(drop).expect_err(text);
        assert!(error.contains(message), "{text}\n  gave {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    for (more, message) in [
        ("oidc.scopes = ['a b']", "`service.oidc.scopes` holds what is no scope"),
        ("oidc.subject_claim = ''", "`service.oidc.subject_claim` is empty"),
        ("oidc.grants = [{claim='', value='a', grant='operator'}]", "`claim` is empty"),
    ] {
        let error = check(&format!("{OIDC}{more}")).map(drop).expect_err(more);
        assert!(error.contains(message), "{more}\n  gave {error}");
    }
    let clear = OIDC.replace("https://i.example", "http://i.example");
    assert!(check(&clear).map(drop).unwrap_err().contains("`service.oidc.issuer` is http://"));
}

#[test]
fn other_machines_are_let_in_by_tls_or_a_proxy() {
    for text in [
        "listen = '0.0.0.0:1'\ntls_certificate_file = 'c'\ntls_key_file = 'k'",
        "listen = '0.0.0.0:1'\ntrusted_proxies = ['10.0.0.0/8']",
        "listen = '0.0.0.0:1'\ntrusted_proxies = ['10.0.0.1', 'fd00::/8']",
        "listen = '[::1]:1'",
        "listen = 'unix:/run/x.sock'",
    ] {
        check(text).map(drop).unwrap_or_else(|why| panic!("{text}: {why}"));
    }
    let socket = check("listen = 'unix:/run/x.sock'").unwrap().listen;
    assert_eq!(socket, Listen::Unix(Path::new("/run/x.sock").into()));
}

#[test]
fn origins_are_written_as_browsers_write_them() {
    for (text, origin, authority) in [
        ("https://S.Example/", "https://s.example", "s.example"),
        ("https://s.example:443", "https://s.example", "s.example"),
        ("https://s.example:8443", "https://s.example:8443", "s.example:8443"),
        ("http://127.0.0.1:80", "http://127.0.0.1", "127.0.0.1"),
        ("http://localhost:8470", "http://localhost:8470", "localhost:8470"),
        ("http://[::1]:8470", "http://[::1]:8470", "[::1]:8470"),
    ] {
        let parsed: Origin = text.parse().unwrap();
        assert_eq!((parsed.as_str(), parsed.authority()), (origin, authority));
        assert_eq!(parsed.is_https(), text.starts_with("https"));
    }
    for text in ["http://localhost.example", "http://127.0.0.1.example", "http://10.0.0.1"] {
        assert_eq!(text.parse::<Origin>().unwrap_err(), InvalidUrl::Clear, "{text}");
    }
    // An issuer stays as it was written, for it is compared byte for byte.
    assert_eq!("https://I.example/".parse::<HttpUrl>().unwrap().as_str(), "https://I.example/");
}

fn claims(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(claims) => claims,
        other => panic!("{other}"),
    }
}

fn rule(value: &str, grant: &str) -> GrantRule {
    GrantRule::new("groups", value, grant).unwrap()
}

#[test]
fn claims_give_what_the_rules_say() {
    let org = |id: &str| GrantedRole::OrganizationAdmin(id.parse().unwrap());
    let project = |id: &str| GrantedRole::ProjectAdmin(id.parse().unwrap());
    let groups = claims(json!({"groups": [
        "gis-admins", "org-81-admins", "org--admins", "org-../x-admins", "org-a b-admins",
        "org-81-admins-x", "x-org-81-admins", "org-admins", 7, null, ["gis-admins"], "p:a/b",
    ]}));
    for (rule, expected) in [
        (rule("gis-admins", "operator"), vec![GrantedRole::Operator]),
        (rule("gis-admin", "operator"), vec![]),
        (rule("GIS-admins", "operator"), vec![]),
        (rule("gis-admins", "organization_admin:org-1"), vec![org("org-1")]),
        (rule("org-*-admins", "organization_admin:*"), vec![org("81")]),
        (rule("p:*", "project_admin:*"), vec![project("a/b")]),
    ] {
        assert_eq!(rule.grants(&groups), expected, "{rule:?}");
        assert_eq!(rule.grants(&claims(json!({}))), [], "{rule:?}");
        assert_eq!(rule.grants(&claims(json!({"groups": {"gis-admins": true}}))), []);
    }
    let one = claims(json!({"groups": "gis-admins"}));
    assert_eq!(rule("gis-admins", "operator").grants(&one), [GrantedRole::Operator]);
}

#[test]
fn rules_that_could_give_too_much_are_none() {
    for (claim, value, grant, message) in [
        ("", "a", "operator", "`claim` is empty"),
        ("g", "", "operator", "`value` is empty"),
        ("g", "*", "operator", "an operator by a pattern"),
        ("g", "a-*", "operator", "an operator by a pattern"),
        ("g", "a", "admin", "`grant` is not"),
        ("g", "a", "operator:*", "`grant` is not"),
        ("g", "a", "organization_admin", "`grant` is not"),
        ("g", "a", "organization_admin:", "no valid id"),
        ("g", "a", "organization_admin:..", "no valid id"),
        ("g", "*", "organization_admin:org-1", "in only one of"),
        ("g", "a", "project_admin:*", "in only one of"),
        ("g", "*-*", "project_admin:*", "more than one `*`"),
        ("g", "*", "project_admin:a*", "in only one of"),
    ] {
        let error = GrantRule::new(claim, value, grant).unwrap_err();
        assert!(error.contains(message), "{value} {grant}: {error}");
    }
}

#[test]
fn claims_inside_claims_are_found_by_pointers() {
    let all = claims(json!({
        "realm_access": {"roles": ["a"]}, "https://x/roles": ["b"], "a/b": {"c~d": "c"}, "d": [1],
    }));
    for (claim, expected) in [
        ("/realm_access/roles", vec!["a"]),
        ("https://x/roles", vec!["b"]),
        ("/a~1b/c~0d", vec!["c"]),
        ("realm_access.roles", vec![]),
        ("/realm_access/roles/0", vec![]),
        ("/d/0", vec![]),
        ("/nobody", vec![]),
    ] {
        assert_eq!(Claim::new(claim).unwrap().words(&all), expected, "{claim}");
    }
}

proptest! {
    /// Whatever a provider sends, a pattern gives an id or nothing, and nobody becomes operator.
    #[test]
    fn a_pattern_gives_ids_only(word in ".{0,40}", inner in "[A-Za-z0-9._/@ -]{0,20}") {
        let rule = rule("org-*-admins", "organization_admin:*");
        for word in [word, format!("org-{inner}-admins")] {
            for role in rule.grants(&claims(json!({"groups": [&word]}))) {
                match role {
                    GrantedRole::OrganizationAdmin(id) => {
                        prop_assert_eq!(format!("org-{id}-admins"), word.as_str());
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }
}
