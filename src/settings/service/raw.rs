//! The form of `[service]` in the settings file, and its check.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::{
    Claim, ClientCertificates, GrantRule, HttpUrl, InvalidListen, InvalidUrl, JobTokens, Listen,
    MetricsFor, NonMember, Oidc, OneTimeLink, Service, ServiceLimits, ServiceMembership,
    ServiceRole, ServiceTls, SessionTimes, fault,
};
use crate::settings::{InvalidSettings, Overrides, seconds};

/// The section.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(in crate::settings) struct RawService {
    listen: String,
    role: ServiceRole,
    public_url: Option<String>,
    trusted_proxies: Vec<String>,
    tls_certificate_file: Option<PathBuf>,
    tls_key_file: Option<PathBuf>,
    client_ca_file: Option<PathBuf>,
    client_certificate: ClientCertificate,
    socket_mode: u32,
    one_time_link: OneTimeLink,
    metrics: MetricsFor,
    limits: RawLimits,
    membership: RawMembership,
    job_tokens: RawJobTokens,
    oidc: Option<RawOidc>,
    sessions: RawSessions,
    audit: RawAudit,
}

impl Default for RawService {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8470".to_owned(),
            role: ServiceRole::Both,
            public_url: None,
            trusted_proxies: Vec::new(),
            tls_certificate_file: None,
            tls_key_file: None,
            client_ca_file: None,
            client_certificate: ClientCertificate::Required,
            socket_mode: 0o660,
            one_time_link: OneTimeLink::Loopback,
            metrics: MetricsFor::Loopback,
            limits: RawLimits::default(),
            membership: RawMembership::default(),
            job_tokens: RawJobTokens::default(),
            oidc: None,
            sessions: RawSessions::default(),
            audit: RawAudit::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum ClientCertificate {
    Required,
    Optional,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    connections: usize,
    body_bytes: u64,
    request_s: f64,
    grace_s: f64,
    requests_per_second: u32,
    failures_per_minute: u32,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            body_bytes: 1024 * 1024,
            request_s: 30.0,
            grace_s: 30.0,
            requests_per_second: 100,
            failures_per_minute: 20,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum Mode {
    Registered,
    #[default]
    Trusted,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct RawMembership {
    mode: Mode,
    non_member: NonMember,
    organization_user: bool,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct RawJobTokens {
    issuer: Option<String>,
    audience: Option<String>,
    keys_files: Vec<PathBuf>,
    jwks_url: Option<String>,
    leeway_s: f64,
    max_lifetime_s: f64,
}

impl Default for RawJobTokens {
    fn default() -> Self {
        Self {
            issuer: None,
            audience: None,
            keys_files: Vec::new(),
            jwks_url: None,
            leeway_s: 30.0,
            max_lifetime_s: 86_400.0,
        }
    }
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawOidc {
    issuer: String,
    client_id: String,
    #[serde(default)]
    client_secret_file: Option<PathBuf>,
    #[serde(default = "default_scopes")]
    scopes: Vec<String>,
    #[serde(default = "default_subject_claim")]
    subject_claim: String,
    #[serde(default = "default_name_claim")]
    name_claim: String,
    #[serde(default)]
    grants: Vec<RawGrant>,
}

fn default_scopes() -> Vec<String> {
    ["openid", "profile"].map(str::to_owned).into()
}

fn default_subject_claim() -> String {
    "sub".to_owned()
}

fn default_name_claim() -> String {
    "name".to_owned()
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawGrant {
    claim: String,
    value: String,
    grant: String,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct RawSessions {
    idle_s: f64,
    lifetime_s: f64,
}

impl Default for RawSessions {
    fn default() -> Self {
        Self { idle_s: 1800.0, lifetime_s: 43_200.0 }
    }
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct RawAudit {
    keep_days: Option<u32>,
}

impl RawService {
    /// Checks the section.
    /// What the command line says beats the file.
    pub(in crate::settings) fn under(mut self, overrides: &Overrides) -> Self {
        if let Some(listen) = &overrides.listen {
            self.listen.clone_from(listen);
        }
        if !overrides.job_token_keys.is_empty() {
            self.job_tokens.keys_files.clone_from(&overrides.job_token_keys);
        }
        self.role = overrides.service_role.unwrap_or(self.role);
        self
    }

    pub(in crate::settings) fn check(self) -> Result<Service, InvalidSettings> {
        let listen: Listen = self
            .listen
            .parse()
            .map_err(|why: InvalidListen| fault("service.listen", why.problem()))?;
        let public_url = parsed("service.public_url", self.public_url.as_deref())?;
        let trusted_proxies = self
            .trusted_proxies
            .iter()
            .map(|text| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| fault("service.trusted_proxies", "holds no address and no network"))?;
        let tls = tls(
            self.tls_certificate_file,
            self.tls_key_file,
            self.client_ca_file,
            self.client_certificate,
        )?;
        if !listen.is_local() && tls.is_none() && trusted_proxies.is_empty() {
            let problem = "is reached by other machines: set `tls_certificate_file` and \
                           `tls_key_file`, or name the proxy that does TLS in `trusted_proxies`";
            return Err(fault("service.listen", problem));
        }
        if self.socket_mode > 0o777 {
            return Err(fault("service.socket_mode", "must be a file's mode, as 0o660"));
        }
        let oidc = self.oidc.map(RawOidc::check).transpose()?;
        if oidc.is_some() && public_url.is_none() {
            let problem = "is not set: the provider must know where to send people back to";
            return Err(fault("service.public_url", problem));
        }
        if self.one_time_link == OneTimeLink::Anywhere && public_url.is_none() {
            let problem = "is not set: `one_time_link` = \"anywhere\" needs an address for it";
            return Err(fault("service.public_url", problem));
        }
        let audience = public_url.as_ref().map_or("qgis-secrets", super::Origin::as_str).to_owned();
        Ok(Service {
            listen,
            role: self.role,
            trusted_proxies,
            tls,
            socket_mode: self.socket_mode,
            one_time_link: self.one_time_link,
            metrics: self.metrics,
            limits: self.limits.check()?,
            membership: self.membership.check()?,
            job_tokens: self.job_tokens.check(audience)?,
            oidc,
            sessions: self.sessions.check()?,
            keep_audit: self.audit.check()?,
            public_url,
        })
    }
}

fn parsed<T: std::str::FromStr<Err = InvalidUrl>>(
    setting: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, InvalidSettings> {
    text.map(str::parse).transpose().map_err(|why: InvalidUrl| fault(setting, why.problem()))
}

fn tls(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
    required: ClientCertificate,
) -> Result<Option<ServiceTls>, InvalidSettings> {
    let required = required == ClientCertificate::Required;
    let clients = ca.map(|ca| ClientCertificates { ca, required });
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(ServiceTls { certificate, key, clients })),
        (Some(_), None) => {
            Err(fault("service.tls_certificate_file", "needs `tls_key_file` as well"))
        }
        (None, Some(_)) => {
            Err(fault("service.tls_key_file", "needs `tls_certificate_file` as well"))
        }
        (None, None) if clients.is_some() => {
            Err(fault("service.client_ca_file", "needs `tls_certificate_file` as well"))
        }
        (None, None) => Ok(None),
    }
}

/// A time that must be more than none.
fn positive(setting: &'static str, value: f64) -> Result<Duration, InvalidSettings> {
    match seconds(setting, value)? {
        Duration::ZERO => Err(fault(setting, "must be more than 0")),
        duration => Ok(duration),
    }
}

impl RawLimits {
    fn check(self) -> Result<ServiceLimits, InvalidSettings> {
        let counts = [
            ("service.limits.connections", self.connections as u64),
            ("service.limits.body_bytes", self.body_bytes),
            ("service.limits.requests_per_second", self.requests_per_second.into()),
            ("service.limits.failures_per_minute", self.failures_per_minute.into()),
        ];
        if let Some((setting, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(fault(setting, "must be at least 1"));
        }
        Ok(ServiceLimits {
            connections: self.connections,
            body_bytes: self.body_bytes,
            request: positive("service.limits.request_s", self.request_s)?,
            grace: seconds("service.limits.grace_s", self.grace_s)?,
            requests_per_second: self.requests_per_second,
            failures_per_minute: self.failures_per_minute,
        })
    }
}

impl RawMembership {
    fn check(self) -> Result<ServiceMembership, InvalidSettings> {
        let Self { mode, non_member, organization_user } = self;
        match mode {
            Mode::Registered => Ok(ServiceMembership::Registered { non_member, organization_user }),
            // Who sets it believes that something is checked.
            Mode::Trusted if non_member != NonMember::default() => {
                let problem = "needs `mode` = \"registered\": else nobody knows who is a member";
                Err(fault("service.membership.non_member", problem))
            }
            Mode::Trusted => Ok(ServiceMembership::Trusted { organization_user }),
        }
    }
}

impl RawJobTokens {
    fn check(self, audience: String) -> Result<JobTokens, InvalidSettings> {
        let empty = |text: &Option<String>| text.as_ref().is_some_and(String::is_empty);
        if empty(&self.issuer) {
            return Err(fault("service.job_tokens.issuer", "is empty"));
        }
        if empty(&self.audience) {
            return Err(fault("service.job_tokens.audience", "is empty"));
        }
        let leeway = seconds("service.job_tokens.leeway_s", self.leeway_s)?;
        if leeway > Duration::from_secs(600) {
            return Err(fault("service.job_tokens.leeway_s", "must be at most 600"));
        }
        Ok(JobTokens {
            issuer: self.issuer,
            audience: self.audience.unwrap_or(audience),
            keys_files: self.keys_files,
            jwks_url: parsed("service.job_tokens.jwks_url", self.jwks_url.as_deref())?,
            leeway,
            max_lifetime: positive("service.job_tokens.max_lifetime_s", self.max_lifetime_s)?,
        })
    }
}

impl RawOidc {
    fn check(mut self) -> Result<Oidc, InvalidSettings> {
        let issuer: HttpUrl = self
            .issuer
            .parse()
            .map_err(|why: InvalidUrl| fault("service.oidc.issuer", why.problem()))?;
        if self.client_id.is_empty() {
            return Err(fault("service.oidc.client_id", "is empty"));
        }
        // RFC 6749, section 3.3.
        let plain = |scope: &String| {
            !scope.is_empty()
                && scope.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
        };
        if !self.scopes.iter().all(plain) {
            return Err(fault("service.oidc.scopes", "holds what is no scope"));
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            self.scopes.insert(0, "openid".to_owned());
        }
        let grants = self
            .grants
            .iter()
            .map(|raw| GrantRule::new(&raw.claim, &raw.value, &raw.grant))
            .collect::<Result<_, _>>()
            .map_err(|problem| fault("service.oidc.grants", problem))?;
        let claim =
            |setting, text: &str| Claim::new(text).ok_or_else(|| fault(setting, "is empty"));
        Ok(Oidc {
            issuer,
            client_id: self.client_id,
            client_secret_file: self.client_secret_file,
            scopes: self.scopes,
            subject_claim: claim("service.oidc.subject_claim", &self.subject_claim)?,
            name_claim: claim("service.oidc.name_claim", &self.name_claim)?,
            grants,
        })
    }
}

impl RawSessions {
    fn check(self) -> Result<SessionTimes, InvalidSettings> {
        let whole = |setting, value| match positive(setting, value)? {
            // Stored in whole seconds.
            time if time < Duration::from_secs(1) => Err(fault(setting, "must be at least 1")),
            time => Ok(time),
        };
        Ok(SessionTimes {
            idle: whole("service.sessions.idle_s", self.idle_s)?,
            lifetime: whole("service.sessions.lifetime_s", self.lifetime_s)?,
        })
    }
}

impl RawAudit {
    fn check(self) -> Result<Option<Duration>, InvalidSettings> {
        match self.keep_days {
            Some(0) => Err(fault("service.audit.keep_days", "must be at least 1")),
            days => Ok(days.map(|days| Duration::from_secs(u64::from(days) * 24 * 3600))),
        }
    }
}
