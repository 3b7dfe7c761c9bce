//! `token inspect`: what a token says, and whether it counts now. Never its signature.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::cli::args::Format;
use crate::cli::block_on;
use crate::cli::output::{self, BAD, GOOD, Table, WARN, harmless};
use crate::error::{DENIED, Error};
use crate::http;
use crate::job_token::{self, Policy, Refused, Source, Unverified, Verifier};
use crate::secret::{Value, ValueBuf};

/// The longest value that a table shows, in characters.
const MAX_SHOWN: usize = 120;

/// Show what a job token says, and whether it is valid now.
///
/// Header and claims are shown, never the signature. The signature is checked if --keys or
/// --jwks-url says who is trusted, the audience if --audience names one.
///
/// Exit code 77 if the token is not valid.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets token inspect token
  qgis-secrets token inspect --keys orchestrator.pem.pub --audience https://secrets.example token")]
pub struct InspectArgs {
    /// The token's file (`-`: standard input)
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Trust the public keys of this file: PEM, a JWK or a JWK set (can be repeated)
    #[arg(long, value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Trust the JWK set at this address (can be repeated)
    #[arg(long, value_name = "URL")]
    jwks_url: Vec<String>,
    /// Refuse a token that is not for this audience
    #[arg(long, value_name = "URL")]
    audience: Option<String>,
    /// Refuse a token that is not from this issuer
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

#[derive(Serialize)]
struct Shown<'a> {
    header: &'a Map<String, Json>,
    claims: &'a Map<String, Json>,
    /// Whether keys were given to check the signature by.
    signature_checked: bool,
    /// `null`: nothing speaks against it, but the signature was not checked.
    valid: Option<bool>,
    refused: Option<Reason>,
}

#[derive(Serialize)]
struct Reason {
    kind: &'static str,
    message: String,
}

pub(super) fn inspect(args: InspectArgs) -> Result<u8, Error> {
    let token = read(&args.file)?;
    let read = Unverified::read(&token)?;
    // Without one that the caller names, the token's own fits.
    let audience = args.audience.or_else(|| read.audience().map(str::to_owned));
    let policy = Policy { issuer: args.issuer, ..Policy::new(audience.unwrap_or_default()) };
    let files = args.keys.into_iter().map(Source::File);
    let sources: Vec<Source> = files.chain(args.jwks_url.into_iter().map(Source::Url)).collect();
    let signature_checked = !sources.is_empty();
    let now = Timestamp::now();
    let checked = if signature_checked {
        let verifier = Verifier::new(policy, sources)?;
        block_on(verifier.verify(&token, now))?
    } else {
        read.judge(&policy, now)
    };
    let refused = match checked {
        Err(refused @ Refused::KeysUnavailable(_)) => return Err(refused.into()),
        checked => checked.err(),
    };
    print(&read, signature_checked, refused.as_ref(), args.format)?;
    Ok(if refused.is_some() { DENIED } else { 0 })
}

/// From a file or standard input: a token that is read here has no other rules than one for HTTP.
fn read(file: &Path) -> Result<Value, Error> {
    if file != Path::new("-") {
        return Ok(http::read_token(file)?);
    }
    let fault = |error| Error::Io("standard input".into(), error);
    let stdin = io::stdin().as_fd().try_clone_to_owned().map(File::from).map_err(fault)?;
    // Room for blanks around it.
    let text = ValueBuf::read(stdin, 2 * job_token::MAX_LEN).map_err(fault)?;
    let text = text.ok_or(Refused::Malformed("it is longer than 8192 bytes"))?;
    let mut token = ValueBuf::new();
    token.push(text.as_slice().trim_ascii());
    Ok(token.finish())
}

fn print(
    token: &Unverified,
    signature_checked: bool,
    refused: Option<&Refused>,
    format: Format,
) -> Result<(), Error> {
    let valid = match refused {
        Some(_) => Some(false),
        None => signature_checked.then_some(true),
    };
    let (header, claims) = (token.header(), token.claims());
    if format == Format::Json {
        let reason =
            |refused: &Refused| Reason { kind: refused.kind(), message: refused.to_string() };
        let refused = refused.map(reason);
        return output::json(&Shown { header, claims, signature_checked, valid, refused });
    }
    let mut table = Table::new(["PART", "NAME", "VALUE"]);
    for (part, members) in [("header", header), ("claims", claims)] {
        for (name, value) in members {
            table.row([part.to_owned(), harmless(&short(name)), harmless(&said(name, value))]);
        }
    }
    output::print(&table.render())?;
    output::line("")?;
    match (refused, signature_checked) {
        (Some(refused), _) => {
            let message = harmless(&refused.to_string());
            output::line(&format!("{BAD}not valid{BAD:#} [{}]: {message}", refused.kind()))
        }
        (None, true) => output::line(&format!("{GOOD}valid{GOOD:#}")),
        (None, false) => output::line(&format!(
            "{WARN}signature not checked{WARN:#}: give --keys or --jwks-url; nothing else speaks \
             against the token"
        )),
    }
}

/// A value as a person reads it: text without quotes, a time as a time.
fn said(name: &str, value: &Json) -> String {
    match value {
        Json::String(text) => short(text),
        Json::Number(number) if matches!(name, "exp" | "nbf" | "iat") => {
            let time = number.as_i64().and_then(|seconds| Timestamp::from_second(seconds).ok());
            time.map_or_else(|| number.to_string(), |time| format!("{time} ({number})"))
        }
        other => short(&other.to_string()),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
