//! The secrets service, before a job asks it: whether it is there, and what stands between.
//!
//! Invariant: the job token is not sent: each request would be one of its three.

use std::path::Path;

use super::{Finding, Verdict, private, token};
use crate::backend::{AnyBackend, Service, ServiceError};
use crate::error::Error;
use crate::settings;

/// The service's replicas; nothing where it isn't asked.
pub async fn service(backend: &AnyBackend) -> Vec<Finding> {
    match backend {
        AnyBackend::Embedded(_) => Vec::new(),
        AnyBackend::Service(service) => replicas(service).await,
    }
}

/// One that can't be reached is a warning while another one can.
async fn replicas(service: &Service) -> Vec<Finding> {
    let found = service.look().await;
    let reached = found.iter().any(|(_, looked)| looked.is_ok());
    let finding = |(at, looked): (String, Result<(), ServiceError>)| match looked {
        Ok(()) => Finding::ok("service", format!("{at} is there{}", trusted(&at))),
        Err(error) => {
            let failed = Finding::failed("service", &Error::Backend(error.into()));
            if reached { Finding::warning("service", failed.message) } else { failed }
        }
    };
    found.into_iter().map(finding).collect()
}

fn trusted(at: &str) -> &'static str {
    if at.starts_with("https:") { ", and its certificate is good" } else { "" }
}

/// What the runner needs to ask it. `given`: a token came by environment; `wanted`: there is a job.
pub(super) fn credentials(service: &settings::Service, given: bool, wanted: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &service.token_file {
        Some(file) if wanted || file.exists() => findings.push(token(file)),
        // Each job brings its own.
        Some(_) => {}
        None if given => {
            findings.push(Finding::ok("token", format!("in {}", settings::JOB_TOKEN)));
        }
        None if wanted => {
            let error = Error::Backend(ServiceError::NoToken.into());
            findings.push(Finding::failed("token", &error));
        }
        None => {}
    }
    findings.extend(service.certificate.as_ref().map(|files| key(&files.key)));
    findings
}

fn key(file: &Path) -> Finding {
    let finding = private("certificate", file);
    if finding.result == Verdict::Ok && !file.exists() {
        // Whoever asks the service says it in full.
        return Finding::warning("certificate", format!("{} is not there", file.display()));
    }
    finding
}
