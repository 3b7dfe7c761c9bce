//! `serve`: the secrets service.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::Global;
use super::output;
use super::secret::store_for_service;
use crate::error::Error;
use crate::secret::{Value, ValueBuf};
use crate::server::service::Service;
use crate::settings::service::ServiceRole;
use crate::settings::{Overrides, Settings};

/// Serve secrets to jobs, and the page and API where admins add and remove them.
///
/// Without settings it listens on this machine only, and prints a link that logs one person in,
/// once. `[service]` of the settings says where it listens, who may log in, whose job tokens count,
/// and who belongs where.
///
/// SIGTERM and SIGINT end it when running requests are answered; SIGHUP has it read the certificate
/// and the keys for job tokens again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets serve                                   (tries it out: page and API)
  qgis-secrets serve --job-token-keys sign.pem.pub     (answers jobs as well)
  qgis-secrets serve --role admin --public-key key.pub (adds secrets, can't read them)
  qgis-secrets serve --role resolve --listen unix:/run/qgis-secrets/jobs.sock")]
pub struct ServeArgs {
    /// Where to listen: ADDRESS:PORT, unix:/path, or systemd for a socket that it opened
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// A file of public keys that sign job tokens: PEM, or a JWK set (can be repeated)
    #[arg(long, value_name = "FILE")]
    job_token_keys: Vec<PathBuf>,
    /// What to serve
    #[arg(long, value_name = "ROLE")]
    role: Option<RoleArg>,
}

/// A role of the service.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArg {
    /// Both of the others
    Both,
    /// The page and the API where secrets are added; needs the public key only
    Admin,
    /// The answers to jobs; needs the private key
    Resolve,
}

impl ServeArgs {
    /// What the options mean for the settings.
    pub fn overrides(&self, global: &Global) -> Overrides {
        let role = self.role.map(|role| match role {
            RoleArg::Both => ServiceRole::Both,
            RoleArg::Admin => ServiceRole::Admin,
            RoleArg::Resolve => ServiceRole::Resolve,
        });
        Overrides {
            listen: self.listen.clone(),
            service_role: role,
            job_token_keys: self.job_token_keys.clone(),
            ..global.overrides()
        }
    }
}

/// Serves until a signal ends it.
pub fn serve(settings: &Settings) -> Result<u8, Error> {
    store_for_service(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Setup(format!("async runtime: {error}")))?;
    runtime.block_on(async {
        let service = Service::start(settings).await?;
        output::note(&format!("listening at {}", service.origin()));
        if let Some(link) = service.one_time_link().await? {
            show(&link);
        }
        service.run().await;
        Ok::<_, Error>(())
    })?;
    Ok(0)
}

/// Shows the link to whoever started the service; never by the log, which others read.
fn show(link: &Value) {
    let mut text = ValueBuf::new();
    text.push(b"log in with this link, once, within 15 minutes:\n  ");
    text.push(link.expose());
    text.push(b"\n");
    // Who can't be told has no use for it.
    io::stderr().write_all(text.as_slice()).unwrap_or_default();
}
