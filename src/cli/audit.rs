//! `audit`: what was done, and what was denied.

use clap::{Args, Subcommand, ValueEnum};

use super::administer::{self, Here, Place};
use super::args::ServerArgs;
use super::output;
use crate::error::Error;
use crate::secret::{Id, Value};
use crate::server::administration::AuditFilter;
use crate::server::api::shapes;
use crate::settings::Settings;
use crate::wire::management::{Audit, AuditRow};

/// Commands on the audit.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    Export(ExportArgs),
}

/// Print rows of the audit, the newest first.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qgis-secrets audit export --since 2026-11-01T00:00:00Z > audit.jsonl
  qgis-secrets audit export -O org-81 --format csv --server https://secrets.example")]
pub(super) struct ExportArgs {
    /// Only what is about this organization
    #[arg(short = 'O', long, value_name = "ID")]
    organization: Option<Id>,
    /// Only what is about this project
    #[arg(short = 'P', long, value_name = "ID", conflicts_with = "organization")]
    project: Option<Id>,
    /// Only what was done at or after this time (RFC 3339, as 2026-11-01T00:00:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<jiff::Timestamp>,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    format: RowFormat,
    #[command(flatten)]
    server: ServerArgs,
}

/// A form of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RowFormat {
    /// A JSON object a line
    Jsonl,
    /// RFC 4180, with a header
    Csv,
}

/// Runs one of them; returns the exit code.
pub(super) fn run(
    settings: &Settings,
    command: &AuditCommand,
    token: Option<Value>,
) -> Result<u8, Error> {
    let AuditCommand::Export(args) = command;
    export(Place::open(settings, &args.server, token)?, args)
}

fn export(place: Place, args: &ExportArgs) -> Result<u8, Error> {
    let scope = administer::scope(args.organization.as_ref(), args.project.as_ref());
    if args.format == RowFormat::Csv {
        output::print(&format!("{}\r\n", COLUMNS.join(",")))?;
    }
    let mut printed = Ok(());
    // Rows come the newest first: at the first that is too old all is said.
    let take = |part: Audit| {
        let mut text = String::new();
        let mut more = true;
        for row in part.rows {
            if is_before(&row, args.since) {
                more = false;
                break;
            }
            match args.format {
                RowFormat::Jsonl => {
                    text.push_str(&serde_json::to_string(&row).unwrap_or_default());
                    text.push('\n');
                }
                RowFormat::Csv => text.push_str(&csv(&row)),
            }
        }
        printed = output::print(&text);
        more && printed.is_ok()
    };
    let path = format!("/v1/audit{}", administer::query(false, scope.as_ref()));
    let filter = AuditFilter { scope, ..AuditFilter::default() };
    let here = async |here: &Here, page| {
        let part = here.administration.audit(&here.actor, &filter, page).await?;
        let rows = part.items.into_iter().map(shapes::audit_row).collect();
        Ok(Audit { rows, next: part.next })
    };
    place.all(&path, |part: &Audit| part.next.clone(), &here, take)?;
    printed.map(|()| 0)
}

fn is_before(row: &AuditRow, since: Option<jiff::Timestamp>) -> bool {
    let at = row.at.parse::<jiff::Timestamp>().ok();
    since.is_some_and(|since| at.is_some_and(|at| at < since))
}

const COLUMNS: [&str; 10] =
    ["id", "at", "actor", "action", "decision", "reason", "level", "owner", "user", "detail"];

/// A line of RFC 4180. A field that a spreadsheet would take for a formula gets a `'` before it.
fn csv(row: &AuditRow) -> String {
    let AuditRow { id, at, actor, action, decision, reason, level, owner, user, detail } = row;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (reason, level, owner, user) = (text(reason), text(level), text(owner), text(user));
    let detail = detail.to_string();
    let fields = [id, at, actor, action, decision, &reason, &level, &owner, &user, &detail];
    let fields = fields.map(|field| {
        let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let guard = if formula { "'" } else { "" };
        format!("\"{guard}{}\"", field.replace('"', "\"\""))
    });
    format!("{}\r\n", fields.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_csv_stays_one_field_and_no_formula() {
        let row = AuditRow {
            id: "1".into(),
            at: "2026-11-01T00:00:00Z".into(),
            actor: "=cmd()".into(),
            action: "a,b".into(),
            decision: "a\"b\nc".into(),
            reason: None,
            level: None,
            owner: None,
            user: None,
            detail: serde_json::json!({"a": 1}),
        };
        let expected = "\"1\",\"2026-11-01T00:00:00Z\",\"'=cmd()\",\"a,b\",\"a\"\"b\nc\",\"\",\"\",\
                        \"\",\"\",\"{\"\"a\"\":1}\"\r\n";
        assert_eq!(csv(&row), expected);
        assert!(is_before(&row, Some("2026-11-01T00:00:01Z".parse().unwrap())));
        assert!(!is_before(&row, Some("2026-11-01T00:00:00Z".parse().unwrap())));
        assert!(!is_before(&row, None));
    }
}
