//! What a QGIS project needs, held against what a job gets.

use serde::Serialize;

use crate::cli::output::{BAD, BOLD, GOOD, Table, WARN};
use crate::precedence::Resolution;
use crate::qgis_project::{Layer, Place, Project};
use crate::secret::Name;

/// The verdict on a project. Facts only.
#[derive(Debug, Serialize)]
pub(super) struct Judgement {
    layers: Vec<JudgedLayer>,
    environment: Vec<JudgedUse>,
    embedded_layers: usize,
}

#[derive(Debug, Serialize)]
struct JudgedLayer {
    #[serde(flatten)]
    layer: Layer,
    verdict: Verdict,
    /// What the layer brings that beats the service file.
    overrides: Vec<&'static str>,
}

/// Where a layer's connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// The job gets the service, and the layer leaves it as it is.
    Resolved,
    /// The job gets the service, but the layer overrules a part of it.
    Overridden,
    /// The job does not get the service.
    Missing,
    /// No service: the secrets have no effect on this layer.
    OwnConnection,
    /// No service, and a password in the project file.
    OwnCredentials,
}

#[derive(Debug, Serialize)]
struct JudgedUse {
    name: String,
    place: Place,
    verdict: UseVerdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum UseVerdict {
    /// `env('NAME')`, and the job gets it.
    Resolved,
    /// `env('NAME')`, and no secret of that name. The descriptor or the worker may set it.
    NoSecret,
    /// `@NAME`, a QGIS variable that nothing defines, where a secret has that name.
    EnvMeant,
    /// `@NAME`, a QGIS variable that nothing defines.
    Undefined,
    /// In a filter, which is SQL for the database, or in the text of a variable.
    NotEvaluated,
}

/// Judges a project by a resolution.
pub(super) fn judge(project: &Project, resolution: &Resolution) -> Judgement {
    let gets = |name: &str| resolution.get(&Name::envvar(name)).is_some();
    let variables = project.variables.iter().map(|used| {
        let verdict = if gets(&used.name) { UseVerdict::EnvMeant } else { UseVerdict::Undefined };
        (used, verdict)
    });
    let calls = project.env_calls.iter().map(|used| {
        let verdict = if !used.place.evaluated {
            UseVerdict::NotEvaluated
        } else if gets(&used.name) {
            UseVerdict::Resolved
        } else {
            UseVerdict::NoSecret
        };
        (used, verdict)
    });
    let environment = variables
        .chain(calls)
        .map(|(used, verdict)| JudgedUse {
            name: used.name.clone(),
            place: used.place.clone(),
            verdict,
        })
        .collect();
    let layers = project
        .layers
        .iter()
        .map(|layer| {
            let overrides = layer.source.beats_service();
            let verdict = match &layer.source.service {
                None if layer.source.own_password => Verdict::OwnCredentials,
                None => Verdict::OwnConnection,
                Some(service) if resolution.get(&Name::pgservice(service)).is_none() => {
                    Verdict::Missing
                }
                Some(_) if overrides.is_empty() => Verdict::Resolved,
                Some(_) => Verdict::Overridden,
            };
            JudgedLayer { layer: layer.clone(), verdict, overrides }
        })
        .collect();
    Judgement { layers, environment, embedded_layers: project.embedded_layers }
}

impl Judgement {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!("\n{BOLD}QGIS project{BOLD:#}\n");
        if self.layers.is_empty() {
            text.push_str("It has no layer that comes from PostgreSQL.\n");
        } else {
            let mut table = Table::new(["LAYER", "SERVICE", "VERDICT"]);
            for judged in &self.layers {
                let service = judged.layer.source.service.as_deref().unwrap_or("-");
                table.row([judged.layer.name.clone(), service.to_owned(), judged.words()]);
            }
            text.push_str(&table.render());
        }
        if !self.environment.is_empty() {
            let mut table = Table::new(["EXPRESSION", "WHERE", "VERDICT"]);
            for used in &self.environment {
                table.row([used.expression(), used.place.to_string(), used.words()]);
            }
            text.push('\n');
            text.push_str(&table.render());
        }
        if self.embedded_layers > 0 {
            text.push_str(&format!(
                "{} layers are embedded from other projects: look at those, too.\n",
                self.embedded_layers
            ));
        }
        text
    }
}

impl JudgedLayer {
    fn words(&self) -> String {
        match self.verdict {
            Verdict::Resolved => format!("{GOOD}resolved{GOOD:#}"),
            Verdict::Overridden => format!(
                "{WARN}resolved, but the layer's own {} beats the service{WARN:#}",
                self.overrides.join(", ")
            ),
            Verdict::Missing => format!("{BAD}missing: no secret defines this service{BAD:#}"),
            Verdict::OwnConnection => {
                format!("{WARN}no service: secrets have no effect on this layer{WARN:#}")
            }
            Verdict::OwnCredentials => format!(
                "{BAD}no service, and a password in the project file: whoever has the file has \
                 it{BAD:#}"
            ),
        }
    }
}

impl JudgedUse {
    fn expression(&self) -> String {
        match self.verdict {
            UseVerdict::EnvMeant | UseVerdict::Undefined => format!("@{}", self.name),
            _ => format!("env('{}')", self.name),
        }
    }

    fn words(&self) -> String {
        let name = &self.name;
        match self.verdict {
            UseVerdict::Resolved => format!("{GOOD}resolved{GOOD:#}"),
            UseVerdict::NoSecret => {
                format!("{WARN}no secret of this name; empty unless the worker sets it{WARN:#}")
            }
            UseVerdict::EnvMeant => {
                format!("{BAD}empty: a secret is no QGIS variable, write env('{name}'){BAD:#}")
            }
            UseVerdict::Undefined => format!(
                "{WARN}nothing defines this variable; for a secret write env('{name}'){WARN:#}"
            ),
            UseVerdict::NotEvaluated => {
                format!("{WARN}stays as it is: QGIS evaluates no expression here{WARN:#}")
            }
        }
    }
}
