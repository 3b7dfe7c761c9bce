//! Which secrets a job gets: decided, recorded, opened.
//!
//! Invariants: a decision is recorded before a value is opened; a winner that can't be opened stops
//! the job, and so does a decision that can't be recorded.

use std::path::Path;

use crate::backend::{Backend, Revealed};
use crate::environment::Environment;
use crate::error::{self, Error};
use crate::http;
use crate::job::Job;
use crate::pgservice::Service;
use crate::precedence::{self, Conflict, Resolution};
use crate::redact::Sensitive;
use crate::report::{Audit, Decision, Report};
use crate::secret::{Kind, Name, Value};
use crate::settings::Settings;

/// The winners' values, opened and parsed.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) variables: Vec<Variable>,
    pub(super) services: Vec<Service>,
    /// The backend's own.
    pub(super) credentials: Vec<Sensitive>,
}

#[derive(Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) sensitive: bool,
    pub(super) value: Value,
}

/// Decides which secrets the job gets, and opens them. Every decision is in the audit.
pub(super) async fn resolve(
    job: &Job,
    backend: &mut impl Backend,
    audit: Option<&Path>,
    report: &mut Report,
) -> Result<Resolved, Error> {
    let mut audit = Audit::open(audit)?;
    match plan(job, backend).await {
        Ok(resolution) => {
            report.resolution(&resolution);
            let missing = resolution.missing(&job.require);
            if !missing.is_empty() {
                report.missing(&missing);
                let error = Error::Missing(missing, Box::new(job.identity.clone()));
                audit.record(report, Decision::Refused, Some(error.kind()))?;
                return Err(error);
            }
            // Before a value is opened, for what can't be recorded must not happen.
            audit.record(report, Decision::Given, None)?;
            match open(backend, &resolution).await {
                Ok(resolved) => Ok(resolved),
                Err(error) => Err(failed(error, &mut audit, report)?),
            }
        }
        Err(error) => Err(failed(error, &mut audit, report)?),
    }
}

fn failed(error: Error, audit: &mut Audit<'_>, report: &Report) -> Result<Error, Error> {
    let denied = matches!(error, Error::Conflict(Conflict::Foreign { .. }))
        || error.exit_code() == error::DENIED;
    let decision = if denied { Decision::Denied } else { Decision::Failed };
    audit.record(report, decision, Some(error.kind()))?;
    Ok(error)
}

async fn open(backend: &mut impl Backend, resolution: &Resolution) -> Result<Resolved, Error> {
    let mut resolved =
        Resolved { variables: Vec::new(), services: Vec::new(), credentials: Vec::new() };
    for Revealed { name, sensitive, value } in backend.reveal(resolution.winners()).await? {
        match name.kind {
            Kind::Envvar => {
                resolved.variables.push(Variable { name: name.key, sensitive, value });
            }
            Kind::Pgservice => resolved.services.push(service(&name, &value)?),
        }
    }
    Ok(resolved)
}

/// Which secrets a job gets: facts only, nothing is opened.
pub async fn plan(job: &Job, backend: &mut impl Backend) -> Result<Resolution, Error> {
    let candidates = backend.candidates(job).await?;
    Ok(precedence::resolve(&job.identity, candidates)?)
}

/// Parsed again, though it was checked when it was added: the file is read by libpq as a whole,
/// and one bad section would break those behind it.
fn service(name: &Name, value: &Value) -> Result<Service, Error> {
    let service = Service::parse(value.expose())
        .map_err(|rejected| Error::StoredService(name.clone(), rejected))?;
    if service.name() == name.key { Ok(service) } else { Err(Error::StoredName(name.clone())) }
}

/// What must not be seen in what comes out of the job, nor in what the runner says.
pub(super) fn sensitive(
    settings: &Settings,
    job: &Job,
    resolved: Resolved,
    environment: &Environment,
) -> Vec<Sensitive> {
    let mut sensitive = resolved.credentials;
    for Variable { name, value, .. } in resolved.variables.into_iter().filter(|v| v.sensitive) {
        sensitive.push(Sensitive { name: Name::envvar(name).to_string(), value });
    }
    for service in resolved.services {
        let name = Name::pgservice(service.name()).to_string();
        for value in service.into_password_values() {
            sensitive.push(Sensitive { name: name.clone(), value });
        }
    }
    for name in &job.mask_env {
        match environment.value(name) {
            Some(value) => sensitive.push(Sensitive { name: format!("env:{name}"), value }),
            None => tracing::info!(name, "`mask_env` names a variable that the job doesn't get"),
        }
    }
    let asked = settings.backend.service().and_then(|service| service.token_file.as_ref());
    let (job_token, report_token) = (&settings.job.token_file, &settings.report.token_file);
    // One may serve for both, or be the backend's.
    let other = report_token.as_ref().filter(|file| Some(*file) != job_token.as_ref());
    let tokens = [("runner:job_token", job_token.as_ref()), ("runner:report_token", other)];
    for (name, file) in tokens {
        let file = file.filter(|file| Some(*file) != asked);
        // Whoever needs one that can't be read says so.
        if let Some(Ok(value)) = file.map(|file| http::read_token(file)) {
            sensitive.push(Sensitive { name: name.into(), value });
        }
    }
    sensitive
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::Value as Json;

    use super::*;
    use crate::backend::BackendError;
    use crate::job::{Identity, Invocation};
    use crate::precedence::{Candidate, Winner};
    use crate::secret::{Id, Owner, SecretId, ValueBuf};
    use crate::settings::{Overrides, Settings};

    fn id(text: &str) -> Id {
        text.parse().unwrap()
    }

    /// Offers one secret, and notes what was in the audit log when it was asked for the value.
    struct Offering {
        project: &'static str,
        value: &'static [u8],
        audit: PathBuf,
        recorded: Option<Vec<String>>,
    }

    impl Backend for Offering {
        fn name(&self) -> &'static str {
            "offering"
        }

        async fn candidates(&mut self, _: &Job) -> Result<Vec<Candidate>, BackendError> {
            let owner = Owner::Project { project: id(self.project), user: None };
            let name = Name::pgservice("ninja");
            Ok(vec![Candidate { id: SecretId::from("1".to_owned()), name, owner, sensitive: true }])
        }

        async fn reveal(&mut self, winners: &[Winner]) -> Result<Vec<Revealed>, BackendError> {
            self.recorded = Some(decisions(&self.audit));
            let reveal = |winner: &Winner| {
                let mut value = ValueBuf::new();
                value.push(self.value);
                let name = winner.secret.name.clone();
                Revealed { name, sensitive: true, value: value.finish() }
            };
            Ok(winners.iter().map(reveal).collect())
        }
    }

    /// `decision reason`, for each line.
    fn decisions(audit: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(audit).unwrap();
        let line = |line: &str| {
            let line: Json = serde_json::from_str(line).unwrap();
            let word = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
            format!("{} {}", word("decision"), word("reason"))
        };
        text.lines().map(line).collect()
    }

    /// What a backend is asked for and what is recorded, for project `survey`.
    fn resolved(project: &'static str, value: &'static [u8]) -> (Option<Vec<String>>, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let audit = directory.path().join("audit.jsonl");
        let home = |name: &str| (name == "HOME").then(|| "/nowhere".into());
        let settings = Settings::load(&Overrides::default(), home).unwrap();
        let invocation = Invocation {
            id: None,
            identity: Identity { project: id("survey"), organization: None, user: None },
            command: vec!["true".into()],
            timeout: None,
            grace: None,
            require: Vec::new(),
        };
        let job = Job::from_invocation(invocation, crate::pipeline::job_policy(&settings)).unwrap();
        let mut backend = Offering { project, value, audit: audit.clone(), recorded: None };
        let mut report = Report::begin("offering");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(resolve(&job, &mut backend, Some(&audit), &mut report));
        assert_eq!(result.is_ok(), backend.recorded.is_some() && value == GOOD);
        (backend.recorded, decisions(&audit))
    }

    const GOOD: &[u8] = b"[ninja]\nhost=db\n";

    #[test]
    fn a_decision_is_recorded_before_a_value_is_opened() {
        let given = || vec!["given -".to_owned()];
        assert_eq!(resolved("survey", GOOD), (Some(given()), given()));
        // Damaged: the job gets nothing, and that is recorded too.
        let failed = vec!["given -".to_owned(), "failed secret_damaged".to_owned()];
        assert_eq!(resolved("survey", b"no service"), (Some(given()), failed));
    }

    #[test]
    fn somebody_elses_secret_is_denied_and_not_opened() {
        let denied = vec!["denied secrets_ambiguous".to_owned()];
        assert_eq!(resolved("another", GOOD), (None, denied));
    }
}
