//! The tables of names. Each row says why it is there.

/// One row: a name, or a prefix that ends in `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name or the prefix with its `*`.
    pub pattern: &'static str,
    /// What such a variable does: reads after "it".
    pub reason: &'static str,
}

impl Rule {
    /// Whether `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        matches(self.pattern, name)
    }
}

/// Whether `name` is `pattern`, or begins with it where it ends in `*`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

const fn rule(pattern: &'static str, reason: &'static str) -> Rule {
    Rule { pattern, reason }
}

const LOADER: &str = "makes the loader or libc run or read something else";
const SHELL: &str = "changes what a shell or a program that it starts does";
const INTERPRETER: &str = "makes an interpreter run or load something else";
const LIBPQ: &str = "makes libpq look for services and passwords elsewhere";
const PLUGINS: &str = "makes QGIS, Qt or GDAL load code or settings from elsewhere";
const TLS: &str = "decides whom TLS connections trust, or writes their keys to a file";
const XDG: &str = "makes programs read their settings from elsewhere";
const OWN: &str = "belongs to the runner";

/// Names that neither a secret nor a descriptor may set: they steer the programs of the job
/// instead of telling them something.
pub const REFUSED: &[Rule] = &[
    rule("LD_*", LOADER),
    rule("GLIBC_TUNABLES", LOADER),
    rule("GCONV_PATH", LOADER),
    rule("LOCPATH", LOADER),
    rule("NLSPATH", LOADER),
    rule("MALLOC_*", LOADER),
    rule("HOSTALIASES", LOADER),
    rule("LOCALDOMAIN", LOADER),
    rule("RES_OPTIONS", LOADER),
    rule("RESOLV_*", LOADER),
    rule("TZDIR", LOADER),
    rule("PATH", SHELL),
    rule("HOME", SHELL),
    rule("SHELL", SHELL),
    rule("BASH_ENV", SHELL),
    rule("BASH_FUNC_*", SHELL),
    rule("BASHOPTS", SHELL),
    rule("SHELLOPTS", SHELL),
    rule("ENV", SHELL),
    rule("IFS", SHELL),
    rule("CDPATH", SHELL),
    rule("GLOBIGNORE", SHELL),
    rule("PS4", SHELL),
    rule("PROMPT_COMMAND", SHELL),
    rule("TMPDIR", SHELL),
    rule("USER", SHELL),
    rule("LOGNAME", SHELL),
    rule("PWD", SHELL),
    rule("OLDPWD", SHELL),
    rule("EDITOR", SHELL),
    rule("VISUAL", SHELL),
    rule("PAGER", SHELL),
    rule("LESSOPEN", SHELL),
    rule("LESSCLOSE", SHELL),
    rule("GIT_*", SHELL),
    rule("TERMINFO*", SHELL),
    rule("PYTHON*", INTERPRETER),
    rule("PERL5*", INTERPRETER),
    rule("PERLLIB", INTERPRETER),
    rule("RUBYLIB", INTERPRETER),
    rule("RUBYOPT", INTERPRETER),
    rule("NODE_OPTIONS", INTERPRETER),
    rule("NODE_PATH", INTERPRETER),
    rule("JAVA_TOOL_OPTIONS", INTERPRETER),
    rule("JDK_JAVA_OPTIONS", INTERPRETER),
    rule("CLASSPATH", INTERPRETER),
    rule("R_PROFILE*", INTERPRETER),
    rule("R_ENVIRON*", INTERPRETER),
    rule("R_LIBS*", INTERPRETER),
    rule("LUA_*", INTERPRETER),
    rule("PGSERVICEFILE", LIBPQ),
    rule("PGSERVICE", LIBPQ),
    rule("PGSYSCONFDIR", LIBPQ),
    rule("PGPASSFILE", LIBPQ),
    rule("PGLOCALEDIR", LIBPQ),
    rule("PGHOSTADDR", "leads every service to another address than its host's"),
    rule("PGSSLKEYLOGFILE", TLS),
    rule("QGIS_PREFIX_PATH", PLUGINS),
    rule("QGIS_PLUGINPATH", PLUGINS),
    rule("QGIS_CUSTOM_CONFIG_PATH", PLUGINS),
    rule("QGIS_OPTIONS_PATH", PLUGINS),
    rule("QGIS_GLOBAL_SETTINGS_FILE", PLUGINS),
    rule("QGIS_AUTH_DB_DIR_PATH", PLUGINS),
    rule("QGIS_AUTH_PASSWORD_FILE", PLUGINS),
    rule("PYQGIS_STARTUP", INTERPRETER),
    rule("QT_PLUGIN_PATH", PLUGINS),
    rule("QT_QPA_PLATFORM_PLUGIN_PATH", PLUGINS),
    rule("QT_LOGGING_CONF", PLUGINS),
    rule("QML_IMPORT_PATH", PLUGINS),
    rule("QML2_IMPORT_PATH", PLUGINS),
    rule("QTWEBENGINEPROCESS_PATH", PLUGINS),
    rule("GDAL_DRIVER_PATH", PLUGINS),
    rule("GDAL_PYTHON_DRIVER_PATH", PLUGINS),
    rule("GDAL_CONFIG_FILE", PLUGINS),
    rule("OGR_DRIVER_PATH", PLUGINS),
    rule("GISBASE", PLUGINS),
    rule("GISRC", PLUGINS),
    rule("OTB_APPLICATION_PATH", PLUGINS),
    rule("OPENSSL_*", TLS),
    rule("SSLKEYLOGFILE", TLS),
    rule("SSL_CERT_FILE", TLS),
    rule("SSL_CERT_DIR", TLS),
    rule("CURL_CA_BUNDLE", TLS),
    rule("REQUESTS_CA_BUNDLE", TLS),
    rule("KRB5_CONFIG", TLS),
    rule("XDG_*", XDG),
    rule("JOB_ID", OWN),
    rule("QGIS_SECRETS_*", OWN),
    rule("CREDENTIALS_DIRECTORY", OWN),
    rule("NOTIFY_SOCKET", OWN),
];

const BACKEND: &str = "opens a secrets backend";
const CLOUD: &str = "opens a cloud account";
const FORGE: &str = "opens a forge, a registry or a CI system";
const DATABASE: &str = "would answer where the job's services should";

/// Whether a rule is about the runner's own variables. They hold paths and words, no credentials.
pub(super) fn is_own(rule: &Rule) -> bool {
    rule.reason == OWN
}

/// Names that never reach the job from the parent's environment: the runner's own credentials,
/// and those that other tools leave lying in one. As secrets these names are free.
pub const CREDENTIALS: &[Rule] = &[
    rule("QGIS_SECRETS_API_TOKEN", "opens the management API of the secrets service"),
    rule("QGIS_SECRETS_JOB_TOKEN", "opens the job's secrets at the secrets service"),
    rule("QGIS_SECRETS_*", OWN),
    rule("CREDENTIALS_DIRECTORY", OWN),
    rule("PG*", DATABASE),
    rule("VAULT_*", BACKEND),
    rule("BAO_*", BACKEND),
    rule("OP_*", BACKEND),
    rule("BW_*", BACKEND),
    rule("BWS_*", BACKEND),
    rule("DOPPLER_*", BACKEND),
    rule("INFISICAL_*", BACKEND),
    rule("SOPS_*", BACKEND),
    rule("FNOX_*", BACKEND),
    rule("SECRETSPEC_*", BACKEND),
    rule("CONSUL_HTTP_TOKEN", BACKEND),
    rule("NOMAD_TOKEN", BACKEND),
    rule("DOTENV_*", BACKEND),
    rule("AWS_*", CLOUD),
    rule("AZURE_*", CLOUD),
    rule("ARM_*", CLOUD),
    rule("GOOGLE_*", CLOUD),
    rule("GCLOUD_*", CLOUD),
    rule("CLOUDSDK_*", CLOUD),
    rule("DIGITALOCEAN_*", CLOUD),
    rule("HCLOUD_*", CLOUD),
    rule("OS_PASSWORD", CLOUD),
    rule("OS_TOKEN", CLOUD),
    rule("OS_APPLICATION_CREDENTIAL_SECRET", CLOUD),
    rule("KUBECONFIG", CLOUD),
    rule("DOCKER_AUTH_CONFIG", FORGE),
    rule("DOCKER_CONFIG", FORGE),
    rule("GITHUB_TOKEN", FORGE),
    rule("GH_TOKEN", FORGE),
    rule("GITLAB_TOKEN", FORGE),
    rule("ACTIONS_*", FORGE),
    rule("CI_JOB_*", FORGE),
    rule("CI_REGISTRY_PASSWORD", FORGE),
    rule("NPM_TOKEN", FORGE),
    rule("CARGO_REGISTRY_*", FORGE),
    rule("SSH_AUTH_SOCK", FORGE),
    rule("SECRET_KEY", "opens what a web framework has sealed"),
    rule("SALT_KEY", "opens what a web framework has sealed"),
];

/// Words that turn up in output for other reasons than a leak.
pub(super) const COMMON: &[&str] = &[
    "admin",
    "changeme",
    "database",
    "default",
    "development",
    "disable",
    "enabled",
    "epsg:3857",
    "epsg:4326",
    "example",
    "false",
    "localhost",
    "none",
    "null",
    "offscreen",
    "password",
    "postgis",
    "postgres",
    "postgresql",
    "prefer",
    "production",
    "project",
    "public",
    "qfield",
    "qgis",
    "require",
    "secret",
    "service",
    "staging",
    "test",
    "testing",
    "true",
    "user",
    "username",
];

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// `docs/environment.md` has both tables. `UPDATE=1 cargo test` writes them anew.
    #[test]
    fn the_document_has_the_tables() {
        let mut text = String::new();
        for (title, rules) in [("Refused names", REFUSED), ("Credentials", CREDENTIALS)] {
            write!(text, "### {title}\n\n| name | it |\n| --- | --- |\n").unwrap();
            for rule in rules {
                writeln!(text, "| `{}` | {} |", rule.pattern, rule.reason).unwrap();
            }
            text.push('\n');
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/environment.md");
        let document = std::fs::read_to_string(path).unwrap();
        let mark = "<!-- from src/environment/names.rs -->\n\n";
        let (prose, tables) = document.split_once(mark).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            use std::io::Write as _;
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).truncate(true).open(path).unwrap();
            write!(file, "{prose}{mark}{text}").unwrap();
        }
        assert!(tables == text, "run UPDATE=1 cargo test the_document_has_the_tables");
    }
}
