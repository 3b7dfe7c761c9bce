//! Command templates: the operator writes the command, the descriptor only fills in its gaps.
//!
//! Invariant: one parameter's value stays inside the one argument that names it, whatever it
//! holds; nothing is split, joined or given to a shell.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;
use serde::Deserialize;

/// A template as the settings file has it: `[tasks.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTemplate {
    command: Vec<String>,
    #[serde(default)]
    params: BTreeMap<String, RawParam>,
}

/// One parameter as the settings file has it: `[tasks.NAME.params.PARAMETER]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawParam {
    pattern: String,
    #[serde(default)]
    leading_dash: bool,
}

/// A checked template.
#[derive(Debug)]
pub struct Template {
    command: Vec<Vec<Part>>,
    params: BTreeMap<String, Param>,
}

#[derive(Debug)]
enum Part {
    Literal(String),
    Param(String),
}

#[derive(Debug)]
struct Param {
    pattern: Regex,
    leading_dash: bool,
}

/// Why a template in the settings is not one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// No argument at all.
    #[error("its `command` is empty")]
    Empty,
    /// The program itself would come from the descriptor.
    #[error("the first word of its `command` must be the program, without a parameter")]
    Program,
    /// `{` without `}` or with nothing in it.
    #[error("word {0} of its `command` has a brace that isn't a {{parameter}}; write {{{{ or }}}}")]
    Brace(usize),
    /// A placeholder that no parameter stands for.
    #[error("its `command` names the parameter `{0}`, which `params` doesn't define")]
    Undefined(String),
    /// A parameter that no placeholder uses.
    #[error("its parameter `{0}` is not used in `command`")]
    Unused(String),
    /// Not a regular expression.
    #[error("the pattern of its parameter `{0}` is not a regular expression")]
    Pattern(String),
}

/// Why a descriptor's `params` don't fit the template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParams {
    /// Named by the template, not given.
    #[error("the parameter `{0}` is missing from `params`")]
    Missing(String),
    /// Given, not named by the template.
    #[error("the task has no parameter `{0}`")]
    Unknown(String),
    /// Does not match the pattern as a whole.
    #[error("the parameter `{0}` doesn't match the pattern that the settings demand of it")]
    Pattern(String),
    /// Would be read as an option.
    #[error("the parameter `{0}` begins with `-`, which its settings don't allow")]
    LeadingDash(String),
    /// Cannot be an argument of a program.
    #[error("the parameter `{0}` holds a NUL byte")]
    Nul(String),
}

impl TryFrom<RawTemplate> for Template {
    type Error = InvalidTemplate;

    fn try_from(raw: RawTemplate) -> Result<Self, InvalidTemplate> {
        let command = raw
            .command
            .iter()
            .enumerate()
            .map(|(index, word)| split(word).ok_or(InvalidTemplate::Brace(index + 1)))
            .collect::<Result<Vec<_>, _>>()?;
        let program = command.first().ok_or(InvalidTemplate::Empty)?;
        if !matches!(program.as_slice(), [Part::Literal(_)]) {
            return Err(InvalidTemplate::Program);
        }
        let used: BTreeSet<&str> = command
            .iter()
            .flatten()
            .filter_map(|part| match part {
                Part::Param(name) => Some(name.as_str()),
                Part::Literal(_) => None,
            })
            .collect();
        if let Some(name) = used.iter().find(|name| !raw.params.contains_key(**name)) {
            return Err(InvalidTemplate::Undefined((*name).to_owned()));
        }
        if let Some(name) = raw.params.keys().find(|name| !used.contains(name.as_str())) {
            return Err(InvalidTemplate::Unused(name.clone()));
        }
        let params = raw
            .params
            .into_iter()
            .map(|(name, RawParam { pattern, leading_dash })| {
                match Regex::new(&format!("^(?:{pattern})$")) {
                    Ok(pattern) => Ok((name, Param { pattern, leading_dash })),
                    Err(_) => Err(InvalidTemplate::Pattern(name)),
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { command, params })
    }
}

impl Template {
    /// The command with `values` filled in: as many arguments as the template has words.
    pub fn expand(&self, values: &BTreeMap<String, String>) -> Result<Vec<String>, InvalidParams> {
        if let Some(name) = values.keys().find(|name| !self.params.contains_key(*name)) {
            return Err(InvalidParams::Unknown(name.clone()));
        }
        for (name, param) in &self.params {
            let value = values.get(name).ok_or_else(|| InvalidParams::Missing(name.clone()))?;
            if value.contains('\0') {
                return Err(InvalidParams::Nul(name.clone()));
            }
            if value.starts_with('-') && !param.leading_dash {
                return Err(InvalidParams::LeadingDash(name.clone()));
            }
            if !param.pattern.is_match(value) {
                return Err(InvalidParams::Pattern(name.clone()));
            }
        }
        let fill = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Param(name) => values.get(name).cloned().unwrap_or_default(),
        };
        Ok(self.command.iter().map(|word| word.iter().map(fill).collect()).collect())
    }
}

/// Splits a word at its `{parameter}`s; `{{` and `}}` stand for braces.
fn split(word: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = word;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            literal.push_str(brace);
            rest = after;
            continue;
        }
        let (name, after) = if brace == "{" { rest.split_once('}')? } else { return None };
        if name.is_empty() || name.contains('{') {
            return None;
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(Part::Param(name.to_owned()));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() || parts.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(toml: &str) -> Result<Template, InvalidTemplate> {
        toml::from_str::<RawTemplate>(toml).unwrap().try_into()
    }

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    const PACKAGE: &str = r#"
        command = ["python3", "package.py", "--file={file}", "{n}", "{{literal}}", ""]
        params.file.pattern = '[a-z/. ;$-]+'
        params.n = { pattern = '-?[0-9]+', leading_dash = true }
    "#;

    #[test]
    fn a_value_stays_one_argument() {
        let command = template(PACKAGE)
            .unwrap()
            .expand(&values(&[("file", "a b; $x --"), ("n", "-3")]))
            .unwrap();
        assert_eq!(command, ["python3", "package.py", "--file=a b; $x --", "-3", "{literal}", ""]);
    }

    #[test]
    fn values_are_checked() {
        let package = template(PACKAGE).unwrap();
        for (given, why) in [
            (values(&[("file", "a")]), InvalidParams::Missing("n".into())),
            (values(&[("file", "A"), ("n", "1")]), InvalidParams::Pattern("file".into())),
            (values(&[("file", "a\n"), ("n", "1")]), InvalidParams::Pattern("file".into())),
            (values(&[("file", "-a"), ("n", "1")]), InvalidParams::LeadingDash("file".into())),
            (values(&[("file", "a\0"), ("n", "1")]), InvalidParams::Nul("file".into())),
            (values(&[("file", "a"), ("n", "1"), ("x", "")]), InvalidParams::Unknown("x".into())),
        ] {
            assert_eq!(package.expand(&given).unwrap_err(), why);
        }
    }

    #[test]
    fn templates_are_checked() {
        for (toml, why) in [
            ("command = []", InvalidTemplate::Empty),
            ("command = ['{x}']\nparams.x.pattern='a'", InvalidTemplate::Program),
            ("command = ['a', '{x']", InvalidTemplate::Brace(2)),
            ("command = ['a', 'x}']", InvalidTemplate::Brace(2)),
            ("command = ['a', '{}']", InvalidTemplate::Brace(2)),
            ("command = ['a', '{x}']", InvalidTemplate::Undefined("x".into())),
            ("command = ['a']\nparams.x.pattern='a'", InvalidTemplate::Unused("x".into())),
            ("command = ['a', '{x}']\nparams.x.pattern='('", InvalidTemplate::Pattern("x".into())),
        ] {
            assert_eq!(template(toml).unwrap_err(), why, "{toml}");
        }
    }
}
