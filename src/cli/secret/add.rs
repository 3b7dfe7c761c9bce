//! `secret add` and `secret add-service`: a value goes in, and never through argv.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{author, output, remote, store, warn_of_level, warn_of_service};
use crate::cli::args::{OwnerArgs, ServerArgs};
use crate::environment;
use crate::error::Error;
use crate::pgservice::{self, Service};
use crate::secret::{Name, Value, ValueBuf};
use crate::settings::Settings;
use crate::store::{NewSecret, Record};

/// The most that is read of a value: more than any kind takes, so that the kind can say so.
const MAX_INPUT: usize = 1024 * 1024;

/// Add an environment variable.
///
/// The value is read from standard input or a file byte for byte, or asked for at a prompt that
/// does not show it. It is never taken from the command line, which every process can read.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets secret add API_KEY -P survey                 (asks for the value)
  echo -n s3cr3t-key | qgis-secrets secret add API_KEY -O org-81
  qgis-secrets secret add TLS_KEY -P survey -U u-1204 --from-file key.pem
  echo -n EPSG:4326 | qgis-secrets secret add CRS -P survey --not-sensitive")]
pub struct AddArgs {
    /// The variable's name: capital letters, digits and `_`
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    owner: OwnerArgs,
    /// Read the value from this file (`-`: standard input, also where that is a terminal)
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Encrypt it all the same, but don't mask it in output
    #[arg(long)]
    not_sensitive: bool,
    /// Put it in the place of the secret that is there
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Add a PostgreSQL service, as a section of pg_service.conf.
///
/// Give its settings one by one, or paste a section with --from-file. It is checked by the grammar
/// of libpq, which reads the file in the job.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets secret add-service -O org-81 --service ninja --db-host db.example \\
      --db-name survey --db-user ninja_org           (asks for the password)
  pass show ninja | qgis-secrets secret add-service -P survey --service ninja \\
      --db-host db.example --db-name survey --db-user ninja_project --password-stdin
  qgis-secrets secret add-service -P survey --from-file ninja.conf")]
pub struct AddServiceArgs {
    #[command(flatten)]
    owner: OwnerArgs,
    /// The service's name, as a layer's `service=` has it
    #[arg(long, value_name = "NAME", required_unless_present = "from_file")]
    service: Option<String>,
    /// The database server's host name, address, or socket directory
    #[arg(long, value_name = "HOST")]
    db_host: Option<String>,
    /// The database server's port
    #[arg(long, value_name = "PORT")]
    db_port: Option<String>,
    /// The database's name
    #[arg(long, value_name = "NAME")]
    db_name: Option<String>,
    /// The database role
    #[arg(long, value_name = "ROLE")]
    db_user: Option<String>,
    /// TLS: disable, allow, prefer, require, verify-ca or verify-full
    #[arg(long, value_name = "MODE")]
    db_sslmode: Option<String>,
    /// Read the password from standard input, up to the end; one line end is not part of it
    #[arg(long, conflicts_with = "from_file")]
    password_stdin: bool,
    /// The role needs no password
    #[arg(long, conflicts_with_all = ["from_file", "password_stdin"])]
    no_password: bool,
    /// Any other setting of libpq (can be repeated); not passwords
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Read one section of a pg_service.conf from this file (`-`: standard input)
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "service", "db_host", "db_port", "db_name", "db_user", "db_sslmode", "set",
    ])]
    from_file: Option<PathBuf>,
    /// Put it in the place of the secret that is there
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Adds an environment variable.
pub fn add(settings: &Settings, args: AddArgs, token: Option<Value>) -> Result<u8, Error> {
    let owner = args.owner.owner()?;
    let server = args.server.open(token)?;
    // Before somebody types a value in vain.
    environment::check(&args.name, &"placeholder".into())?;
    let value = match &args.from_file {
        Some(path) => read(path)?,
        None if io::stdin().is_terminal() => prompt(&format!("Value of {}: ", args.name))?,
        None => read(Path::new("-"))?,
    };
    environment::check(&args.name, &value)?;
    let sensitive = !args.not_sensitive;
    if let Some(server) = server {
        return remote::add(&server, &owner, &args.name, &value, sensitive, args.replace);
    }
    for doubt in environment::doubts(&value, sensitive) {
        let hint = match doubt {
            environment::Doubt::LineBreak => "",
            _ => "; if it is no secret, add it with --not-sensitive",
        };
        output::warning(&format!("{}: {doubt}{hint}", args.name));
    }
    let name = Name::envvar(args.name);
    let secret = NewSecret { name, owner, sensitive, created_by: author(), value };
    finish(settings, secret, args.replace)
}

/// Adds a service.
pub fn add_service(
    settings: &Settings,
    args: AddServiceArgs,
    token: Option<Value>,
) -> Result<u8, Error> {
    let owner = args.owner.owner()?;
    let server = args.server.open(token)?;
    let replace = args.replace;
    let service = match &args.from_file {
        Some(path) => Service::parse(read(path)?.expose())
            .map_err(|why| Error::ServiceFile(named(path), why))?,
        None => from_fields(args)?,
    };
    if let Some(server) = server {
        let text = service.render();
        drop(service);
        return remote::add_service(&server, &owner, &text, replace);
    }
    warn_of_service(&service, settings);
    let (name, value) = (Name::pgservice(service.name()), service.render());
    // The store may have to be waited for.
    drop(service);
    let secret = NewSecret { name, owner, sensitive: true, created_by: author(), value };
    finish(settings, secret, replace)
}

fn finish(settings: &Settings, secret: NewSecret, replace: bool) -> Result<u8, Error> {
    warn_of_level(&secret.owner);
    let secrets = [secret];
    for record in store(settings, &secrets, replace)? {
        let Record { id, name, owner, .. } = record;
        output::line(&format!("added {name} to {owner}, id {id}"))?;
    }
    Ok(0)
}

fn from_fields(args: AddServiceArgs) -> Result<Service, Error> {
    let name = args.service.unwrap_or_default();
    let mut fields: Vec<(String, Value)> = [
        ("host", args.db_host),
        ("port", args.db_port),
        ("dbname", args.db_name),
        ("user", args.db_user),
        ("sslmode", args.db_sslmode),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?.as_str()))))
    .collect();
    for setting in args.set {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(Error::Usage("--set takes KEY=VALUE".into()));
        };
        if pgservice::is_password_like(key) {
            return Err(Error::Usage(format!(
                "--set {key}=… would show the value to every process of the machine; use \
                 --password-stdin, or --from-file with the whole section"
            )));
        }
        fields.push((key.to_owned(), Value::from(value)));
    }
    let password = if args.password_stdin {
        Some(without_line_end(&read(Path::new("-"))?))
    } else if args.no_password {
        None
    } else if io::stdin().is_terminal() {
        let question = format!("Password for the service {name} (empty: none): ");
        Some(prompt(&question)?).filter(|password| !password.is_empty())
    } else {
        output::warning(
            "the service gets no password; --password-stdin reads one, --no-password says that \
             this is meant",
        );
        None
    };
    fields.extend(password.map(|password| ("password".to_owned(), password)));
    Ok(Service::from_settings(&name, fields)?)
}

/// Reads a file, or standard input for `-`.
pub(super) fn read(path: &Path) -> Result<Value, Error> {
    let file = if path == Path::new("-") {
        // Not by `Stdin`, whose buffer keeps a copy.
        io::stdin().as_fd().try_clone_to_owned().map(File::from)
    } else {
        File::open(path)
    };
    let name = named(path);
    match file.and_then(|file| ValueBuf::read(file, MAX_INPUT)) {
        Ok(Some(text)) => Ok(text.finish()),
        Ok(None) => Err(Error::Input(format!("{name}: larger than 1 MiB, which no secret is"))),
        Err(error) => Err(Error::Input(format!("{name} cannot be read: {error}"))),
    }
}

/// A file's name in errors.
pub(super) fn named(path: &Path) -> String {
    if path == Path::new("-") { "standard input".into() } else { path.display().to_string() }
}

/// Asks on the terminal. rpassword turns the echo off after the question only, and shows the value
/// of whoever answers at once; so it is off before that.
fn prompt(question: &str) -> Result<Value, Error> {
    let fault = |error| Error::Io("the terminal".into(), error);
    let terminal = File::options().read(true).write(true).open("/dev/tty").map_err(fault)?;
    let as_it_was = tcgetattr(&terminal).map_err(|errno| fault(errno.into()))?;
    let mut silent = as_it_was.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&terminal, SetArg::TCSANOW, &silent).map_err(|errno| fault(errno.into()))?;
    let text = rpassword::prompt_password(question).map(Zeroizing::new).map_err(fault);
    tcsetattr(&terminal, SetArg::TCSANOW, &as_it_was).map_err(|errno| fault(errno.into()))?;
    Ok(Value::from(text?.as_str()))
}

fn without_line_end(value: &Value) -> Value {
    let bytes = value.expose();
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    Value::new(bytes.to_vec())
}
