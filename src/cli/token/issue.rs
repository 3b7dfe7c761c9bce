//! `token issue`: one job token.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use crate::cli::args::IdentityArgs;
use crate::error::Error;
use crate::job::Subject;
use crate::job_token::{Claims, SigningKey, write_private};
use crate::secret::{Id, Value, ValueBuf};
use crate::settings::Settings;

/// Issue a job token: a short-lived signed JWT that names one job and whom it works for.
///
/// The token is a credential: whoever has it gets that job's secrets until it expires. It is
/// printed, or with --out written to a file that nobody else can read.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets token issue --signing-key orchestrator.pem --audience https://secrets.example \\
      --job 7c1e0d52 -O org-81 -P f3b0c442 -U u-1204 --out token
  qgis-secrets token issue --signing-key orchestrator.pem --audience https://secrets.example \\
      --from-job job.json")]
pub struct IssueArgs {
    /// The private key: a PEM file that others cannot read (`token new-key` makes one)
    #[arg(long, value_name = "FILE", env = "QGIS_SECRETS_SIGNING_KEY")]
    signing_key: PathBuf,
    /// Whom the token is for: what the service calls itself, which is its public URL, or
    /// `qgis-secrets` where it has none
    #[arg(long, value_name = "URL")]
    audience: String,
    /// Who issues it, if the service asks for that
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Take job, attempt and identity from this descriptor (`-`: standard input)
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["project", "organization", "user", "job", "attempt"]
    )]
    from_job: Option<PathBuf>,
    /// The job's id
    #[arg(long, value_name = "ID", visible_alias = "job-id")]
    job: Option<Id>,
    /// Which attempt of the job, from 1; without it the token is for any
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    #[command(flatten)]
    identity: IdentityArgs,
    /// For how many seconds it is valid, at most a day
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "900",
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    lifetime: u32,
    /// Write it to this file, which only this account can read, instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn issue(settings: &Settings, args: IssueArgs) -> Result<u8, Error> {
    let IssueArgs { signing_key, audience, issuer, from_job, job, attempt, identity, .. } = args;
    let (job, attempt, identity) = match (from_job, job, identity.identity()) {
        (Some(file), ..) => {
            let text = descriptor(&file, settings.job.max_bytes)?;
            let Subject { id, attempt, identity } = Subject::parse(text.as_slice())?;
            (id, Some(attempt), identity)
        }
        (None, Some(job), Some(identity)) => (job, attempt, identity),
        _ => {
            return Err(Error::Usage(
                "say which job: --from-job FILE, or --job ID with -P PROJECT (-O and -U: none if \
                 left out)"
                    .into(),
            ));
        }
    };
    let key = SigningKey::read(&signing_key)?;
    let now = Timestamp::now();
    let expires = now
        .checked_add(SignedDuration::from_secs(args.lifetime.into()))
        .map_err(|_| Error::Setup("the clock is at the end of the calendar".into()))?;
    let token = key.issue(&Claims {
        id: uuid::Uuid::now_v7().to_string(),
        issuer,
        audience: vec![audience],
        expires,
        not_before: None,
        issued: Some(now),
        job,
        attempt,
        identity,
    })?;
    match args.out {
        Some(file) => write_private(&file, &token)?,
        None => print(&token)?,
    }
    Ok(0)
}

fn descriptor(file: &Path, limit: usize) -> Result<ValueBuf, Error> {
    let (source, name) = if file == Path::new("-") {
        // Not by `Stdin`, whose buffer keeps a copy.
        (io::stdin().as_fd().try_clone_to_owned().map(File::from), "on standard input".to_owned())
    } else {
        (File::open(file), file.display().to_string())
    };
    match source.and_then(|source| ValueBuf::read(source, limit)) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(Error::JobSize(name, limit)),
        Err(error) => Err(Error::JobFile(name, error)),
    }
}

/// Past the printing of everything else, which takes text that may be kept.
fn print(token: &Value) -> Result<(), Error> {
    let fault = |error| Error::Io("standard output".into(), error);
    let mut out = io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(fault)?;
    let mut line = ValueBuf::new();
    line.push(token.expose());
    line.push(b"\n");
    out.write_all(line.as_slice()).map_err(fault)
}
