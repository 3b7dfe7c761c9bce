//! `explain`: which secrets a job would get, and why.

mod project;
mod remote;

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::args::{AskedArgs, Format, Global, JobArgs};
use super::block_on;
use super::output::{self, BAD, BOLD, DIM, GOOD, Table, WARN};
use crate::backend::AnyBackend;
use crate::environment::Credential;
use crate::error::{Error, MISSING};
use crate::job::Identity;
use crate::pipeline;
use crate::precedence::{Resolution, Winner};
use crate::report::SecretFacts;
use crate::secret::{Level, Name};
use crate::settings::{Overrides, Settings};

/// Show which secrets a job would get, from which level, and what each one shadows.
///
/// Nothing is decrypted, and no value is shown. A secrets service is asked as the job would ask it:
/// with the job token, of whose three requests this is one. With --qgis-project, each PostgreSQL layer's
/// service is looked up as well: is it there, and does the layer overrule it?
///
/// With --server, the management API is asked instead, with an API token: nothing of a job token is
/// used up, and no value is sent. Exit code 77 if the service would refuse the job.
///
/// Exit code 66 if the descriptor requires a secret that is missing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets explain job.json
  qgis-secrets explain -O org-81 -P survey -U u-1204
  qgis-secrets explain -P survey --qgis-project survey.qgz")]
pub struct ExplainArgs {
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    server: AskedArgs,
    /// Check the layers of this QGIS project as well (.qgs or .qgz)
    #[arg(long, value_name = "FILE")]
    qgis_project: Option<PathBuf>,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl ExplainArgs {
    /// What the options mean for the settings.
    pub fn overrides(&self, global: &Global) -> Overrides {
        self.job.overrides(global, self.server.is_named())
    }
}

/// Explains a job.
pub fn explain(
    settings: &Settings,
    args: ExplainArgs,
    mut credentials: Vec<Credential>,
) -> Result<u8, Error> {
    let api_token = super::api_token(&mut credentials);
    if let Some(server) = args.server.open(&args.job, api_token)? {
        drop(credentials);
        let ExplainArgs { job, qgis_project, format, .. } = args;
        return remote::explain(settings, &server, job, qgis_project.as_deref(), format);
    }
    let token = pipeline::job_token(settings, &mut credentials)?.map(|token| token.value);
    drop(credentials);
    let source = args
        .job
        .source(settings, true)?
        .ok_or_else(|| Error::Usage("name a job descriptor, or a project with -P".into()))?;
    let mut backend = AnyBackend::new(settings, token);
    let (job, resolution) = block_on(async {
        let job = pipeline::pull(settings, source).await?;
        let resolution = pipeline::plan(&job, &mut backend).await?;
        Ok::<_, Error>((job, resolution))
    })??;
    drop(backend);
    if settings.backend.service().is_some() {
        output::note(
            "the secrets service has counted this as one of the three requests that a job token \
             is good for; it sent the values too, and they were thrown away",
        );
    }
    print(&job.identity, &job.require, &resolution, args.qgis_project.as_deref(), args.format)
}

/// Prints what a resolution means for a job; returns the exit code.
fn print(
    identity: &Identity,
    require: &[Name],
    resolution: &Resolution,
    qgis_project: Option<&Path>,
    format: Format,
) -> Result<u8, Error> {
    let layers = match qgis_project {
        Some(path) => Some(project::judge(&crate::qgis_project::read(path)?, resolution)),
        None => None,
    };
    let missing: Vec<String> =
        resolution.missing(require).iter().map(ToString::to_string).collect();
    let code = if missing.is_empty() { 0 } else { MISSING };
    let explanation = Explanation {
        version: 1,
        looked_at: looked_at(identity),
        secrets: resolution.winners().iter().map(SecretFacts::from).collect(),
        required: require.iter().map(ToString::to_string).collect(),
        missing,
        qgis_project: layers,
    };
    match format {
        Format::Json => output::json(&explanation)?,
        Format::Table => output::print(&explanation.text(identity, resolution))?,
    }
    Ok(code)
}

#[derive(Serialize)]
struct Explanation {
    version: u32,
    looked_at: Vec<LookedAt>,
    secrets: Vec<SecretFacts>,
    required: Vec<String>,
    missing: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qgis_project: Option<project::Judgement>,
}

#[derive(Serialize)]
struct LookedAt {
    level: Level,
    id: String,
    user: Option<String>,
}

fn looked_at(identity: &Identity) -> Vec<LookedAt> {
    identity
        .owners()
        .iter()
        .rev()
        .map(|owner| LookedAt {
            level: owner.level(),
            id: owner.id().to_string(),
            user: owner.user().map(ToString::to_string),
        })
        .collect()
}

impl Explanation {
    fn text(&self, identity: &Identity, resolution: &Resolution) -> String {
        let mut text = String::new();
        if resolution.winners().is_empty() {
            text.push_str("This job gets no secret.\n");
        } else {
            text.push_str(&winners(resolution).render());
        }
        if !self.required.is_empty() {
            text.push_str(&format!("\n{BOLD}Required{BOLD:#}\n"));
            for name in &self.required {
                let there = if self.missing.contains(name) {
                    format!("{BAD}missing{BAD:#}")
                } else {
                    format!("{GOOD}there{GOOD:#}")
                };
                text.push_str(&format!("  {name}: {there}\n"));
            }
        }
        if let Some(judgement) = &self.qgis_project {
            text.push_str(&judgement.text());
        }
        text.push_str(&format!("\n{DIM}{}{DIM:#}\n", identity.looked_at()));
        text
    }
}

fn winners(resolution: &Resolution) -> Table {
    let mut table = Table::new(["SECRET", "FROM", "OF", "SHADOWS"]);
    for Winner { secret, shadowed } in resolution.winners() {
        let open = if secret.sensitive {
            String::new()
        } else {
            format!(" {WARN}(not sensitive){WARN:#}")
        };
        let losers: Vec<String> = shadowed.iter().map(|loser| loser.level().to_string()).collect();
        table.row([
            format!("{}{open}", secret.name),
            secret.level().to_string(),
            secret.owner.to_string(),
            if losers.is_empty() { "-".to_owned() } else { losers.join(", ") },
        ]);
    }
    table
}
