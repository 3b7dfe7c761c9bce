//! Asking a service's management API, which decides over what is registered there.
//!
//! Invariant: precedence is worked out here once more, so that a service of another version can't
//! show something else than what this program would do.

use std::path::Path;

use super::{Format, output, print};
use crate::cli::args::JobArgs;
use crate::cli::block_on;
use crate::client::{ClientError, Server};
use crate::error::{DENIED, Error};
use crate::job::Identity;
use crate::pipeline;
use crate::precedence::{self, Candidate};
use crate::secret::{Id, Level, Name, Owner, SecretId};
use crate::settings::Settings;
use crate::wire::management::{Explanation, Missing, segment};

/// Explains a job; returns the exit code.
pub(super) fn explain(
    settings: &Settings,
    server: &Server,
    job: JobArgs,
    qgis_project: Option<&Path>,
    format: Format,
) -> Result<u8, Error> {
    let source = job
        .source(settings, false)?
        .ok_or_else(|| Error::Usage("name a job descriptor, or a project with -P".into()))?;
    let (asked, require, explanation) = block_on(async {
        let job = pipeline::pull(settings, source).await?;
        let explanation: Explanation = server.get(&path(&job.identity, &job.require)).await?;
        Ok::<_, Error>((job.identity, job.require, explanation))
    })??;
    let malformed = || Error::from(ClientError::Malformed { at: "--server".into() });
    let identity = identity(&asked, &explanation).ok_or_else(malformed)?;
    if identity.organization != asked.organization && explanation.refused.is_none() {
        let registered = identity.organization.as_ref().map_or("none", |id| id.as_str());
        output::warning(&format!(
            "the project's organization is registered as {registered}, and that one counts"
        ));
    }
    let found = candidates(&identity, &explanation).ok_or_else(malformed)?;
    let resolution = precedence::resolve(&identity, found)?;
    let code = print(&identity, &require, &resolution, qgis_project, format)?;
    for Missing { kind, key, why } in &explanation.missing {
        output::note(&output::harmless(&format!("{kind}:{key}: {why}")));
    }
    for secret in &explanation.dormant {
        output::note(&output::harmless(&format!(
            "{}:{} of {} is dormant: this job doesn't get it",
            secret.kind, secret.key, secret.owner
        )));
    }
    match explanation.refused {
        Some(refused) => {
            output::warning(&output::harmless(&format!(
                "the service would refuse this job ({}): {}",
                refused.kind, refused.detail
            )));
            Ok(DENIED)
        }
        None => Ok(code),
    }
}

fn path(identity: &Identity, require: &[Name]) -> String {
    let Identity { project, organization, user } = identity;
    let mut query: Vec<String> = Vec::new();
    let ids = [("organization", organization), ("user", user)];
    for (name, id) in ids.into_iter().filter_map(|(name, id)| Some((name, id.as_ref()?))) {
        query.push(format!("{name}={}", segment(id.as_str())));
    }
    query.extend(require.iter().map(|name| format!("require={}", segment(&name.to_string()))));
    format!("/v1/projects/{}/explain?{}", segment(project.as_str()), query.join("&"))
}

/// The job's identity with the organization that the service looked at.
fn identity(asked: &Identity, explanation: &Explanation) -> Option<Identity> {
    if explanation.refused.is_some() {
        return Some(asked.clone());
    }
    let of_organization = |level| matches!(level, Level::Organization | Level::OrganizationUser);
    let place = explanation.looked_at.iter().find(|place| of_organization(place.level));
    let organization = place.map(|place| place.id.parse::<Id>()).transpose().ok()?;
    Some(Identity { organization, ..asked.clone() })
}

/// What the service found, winners and others.
fn candidates(identity: &Identity, explanation: &Explanation) -> Option<Vec<Candidate>> {
    let owners = identity.owners();
    let owner = |level| owners.iter().find(|owner: &&Owner| owner.level() == level).cloned();
    let mut found = Vec::new();
    for winner in &explanation.secrets {
        if winner.key.is_empty() || winner.key.contains(char::is_control) {
            return None;
        }
        let all = [(&winner.id, winner.level)].into_iter();
        let beaten = winner.shadowed.iter().map(|beaten| (&beaten.id, beaten.level));
        for (id, level) in all.chain(beaten) {
            found.push(Candidate {
                id: SecretId::from(id.clone()),
                name: Name { kind: winner.kind, key: winner.key.clone() },
                owner: owner(level)?,
                sensitive: winner.sensitive,
            });
        }
    }
    Some(found)
}
