//! `token new-key` and `token jwks`: the keys that sign job tokens, and the set that checks them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::output;
use crate::error::Error;
use crate::job_token::{Algorithm, KeySet, SigningKey};

/// Make a key that signs job tokens.
///
/// Writes the private key to FILE, which nobody else can read, and the public one to FILE.pub, both
/// as PEM, and prints the key's id: its thumbprint (RFC 7638). The service needs FILE.pub, or the
/// set that `token jwks` makes of it. Whoever can read FILE can issue tokens for every job.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets token new-key orchestrator.pem
  qgis-secrets token new-key --algorithm es256 orchestrator.pem")]
pub struct NewKeyArgs {
    /// Where the private key goes; no file is replaced
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How the key signs
    #[arg(long, value_name = "ALGORITHM", default_value = "ed25519")]
    algorithm: AlgorithmArg,
}

/// Print the JWK set of public keys, for who serves it.
///
/// The files hold PEM public keys, JWKs or JWK sets; a private key is refused.
#[derive(Debug, Args)]
#[command(after_help = "\
Example, both keys of a rotation:
  qgis-secrets token jwks old.pem.pub new.pem.pub > jwks.json")]
pub struct JwksArgs {
    /// Files of public keys
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AlgorithmArg {
    /// EdDSA: short, fast, the same for everybody
    Ed25519,
    /// ECDSA on P-256
    Es256,
    /// RSA with 3072 bits, for who has nothing else
    Rs256,
}

impl From<AlgorithmArg> for Algorithm {
    fn from(arg: AlgorithmArg) -> Self {
        match arg {
            AlgorithmArg::Ed25519 => Self::EdDsa,
            AlgorithmArg::Es256 => Self::Es256,
            AlgorithmArg::Rs256 => Self::Rs256,
        }
    }
}

pub(super) fn new_key(args: &NewKeyArgs) -> Result<u8, Error> {
    let key = SigningKey::generate(args.algorithm.into())?;
    let public = key.create(&args.file)?;
    output::note(&format!(
        "made the private key {} and the public key {}",
        args.file.display(),
        public.display()
    ));
    output::line(key.public().kid())?;
    Ok(0)
}

pub(super) fn jwks(args: &JwksArgs) -> Result<u8, Error> {
    let mut all = KeySet::default();
    for file in &args.files {
        all.join(KeySet::read(file)?, file)?;
    }
    output::json(&all.to_jwks())?;
    Ok(0)
}
