//! One pass over a project's XML, which is never held as a whole.

use std::collections::BTreeSet;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use zeroize::Zeroizing;

use super::expression::{self, Uses};
use super::open::Source;
use super::xml::{
    SILENT_ATTRIBUTES, SILENT_ELEMENTS, attribute, from_error, is_utf8, label, names_credentials,
    unescaped,
};
use super::{Fault, Layer, Place, Project, Scope, Use, datasource, shown};

/// Deeper than any project: layer groups in groups, symbols in symbols.
const MAX_DEPTH: usize = 512;
/// More than any project; keeps what is gathered small next to what is read.
const MAX_FOUND: usize = 100_000;

/// Reads the XML to its end.
pub(super) fn walk(source: &mut Source<'_>) -> Result<Project, Fault> {
    let mut reader = Reader::from_reader(source);
    let mut walker = Walker::default();
    // One event at a time. Beyond this size it grows, and growing leaves a copy behind; a data
    // source is never as long.
    let mut buffer = Zeroizing::new(Vec::with_capacity(256 * 1024));
    loop {
        buffer.clear();
        let step = match reader.read_event_into(&mut buffer) {
            Ok(Event::Eof) => return walker.finish(reader.buffer_position()),
            Ok(event) => walker.step(event),
            Err(error) => Err(from_error(error)),
        };
        if let Err(fault) = step {
            return Err(match fault {
                _ if reader.get_ref().is_over() => Fault::TooLarge,
                Fault::Malformed(_) => Fault::Malformed(reader.buffer_position()),
                other => other,
            });
        }
    }
}

/// An element that is open.
struct Frame {
    tag: String,
    /// Its `name`, `field` or `key`.
    label: Option<String>,
    role: Role,
}

/// What the texts in an element are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Expressions perhaps.
    Scanned,
    /// None of our business.
    Silent,
    /// Names of variables that are defined here.
    VariableNames,
    /// Their values, which QGIS takes as they are.
    VariableValues,
}

/// What a scope has gathered: a layer, a layout, or the project.
#[derive(Default)]
struct Gathered {
    variables: BTreeSet<(String, Spot)>,
    env_calls: BTreeSet<(String, Spot)>,
    defined: BTreeSet<String>,
}

/// A [`Place`] within a scope whose name is not known before its end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    element: String,
    attribute: Option<String>,
    detail: Option<String>,
    evaluated: bool,
}

/// A layer or a layout that is open.
struct OpenScope {
    /// How many elements are open around it.
    depth: usize,
    gathered: Gathered,
    kind: OpenKind,
}

enum OpenKind {
    Layer { name: String, id: String, provider: String, source: Zeroizing<String> },
    Layout { name: String },
}

#[derive(Default)]
struct Walker {
    frames: Vec<Frame>,
    text: Zeroizing<String>,
    scope: Option<OpenScope>,
    /// What the project has outside of layers and layouts; `defined` holds for all of it.
    gathered: Gathered,
    project: Project,
    variables: BTreeSet<Use>,
    env_calls: BTreeSet<Use>,
    found: usize,
    saw_root: bool,
    saw_layers: bool,
    version: Version,
}

/// XML's version, which has a say in line ends.
struct Version(XmlVersion);

impl Default for Version {
    fn default() -> Self {
        Self(XmlVersion::Implicit1_0)
    }
}

impl Walker {
    fn step(&mut self, event: Event<'_>) -> Result<(), Fault> {
        match event {
            Event::Start(start) => self.open(&start),
            Event::Empty(start) => {
                self.open(&start)?;
                self.close()
            }
            Event::End(_) => self.close(),
            Event::Text(text) => self.append(&text.xml_content(self.version.0)),
            Event::CData(text) => self.append(&text.xml_content(self.version.0)),
            Event::GeneralRef(reference) => {
                match reference.resolve_char_ref().map_err(|_| Fault::Malformed(0))? {
                    Some(c) => self.append(c.encode_utf8(&mut [0; 4])),
                    None => {
                        let text = resolve_predefined_entity(&reference).ok_or(Fault::Entity)?;
                        self.append(text)
                    }
                }
            }
            Event::Decl(declaration) => {
                self.version.0 = declaration.xml_version().map_err(|_| Fault::Malformed(0))?;
                match declaration.encoding() {
                    Some(Ok(name)) if !is_utf8(&name) => Err(Fault::NotUtf8),
                    _ => Ok(()),
                }
            }
            Event::Comment(_) | Event::PI(_) | Event::DocType(_) | Event::Eof => Ok(()),
        }
    }

    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), Fault> {
        self.take_text()?;
        let tag = start.local_name().as_ref().to_owned();
        match self.frames.len() {
            0 if self.saw_root || tag != "qgis" => return Err(Fault::NotAProject),
            0 => self.saw_root = true,
            1 if tag == "projectlayers" => self.saw_layers = true,
            MAX_DEPTH.. => return Err(Fault::TooLarge),
            _ => {}
        }
        let label = label(start, &tag)?;
        let role = self.role(&tag, label.as_deref());
        self.open_scope(start, &tag)?;
        let is_private = ["Option", "property", "prop"].contains(&tag.as_str())
            && label.as_deref().is_some_and(names_credentials);
        self.frames.push(Frame { tag, label, role });
        if is_private { Ok(()) } else { self.attributes(start, role) }
    }

    fn role(&self, tag: &str, label: Option<&str>) -> Role {
        let is = |name| tag == name || label == Some(name);
        match self.frames.last().map_or(Role::Scanned, |parent| parent.role) {
            Role::Scanned => {}
            inherited => return inherited,
        }
        if is("variableNames") {
            Role::VariableNames
        } else if is("variableValues") {
            Role::VariableValues
        } else if SILENT_ELEMENTS.contains(&tag) {
            Role::Silent
        } else {
            Role::Scanned
        }
    }

    /// Notes that a layer or a layout begins.
    fn open_scope(&mut self, start: &BytesStart<'_>, tag: &str) -> Result<(), Fault> {
        let depth = self.frames.len();
        let parent = self.frames.last().map(|frame| frame.tag.as_str());
        let kind = match (tag, parent) {
            _ if self.scope.is_some() => return Ok(()),
            ("maplayer", Some("projectlayers")) => {
                if attribute(start, "embedded")?.is_some_and(|value| *value == "1") {
                    self.project.embedded_layers += 1;
                }
                let source = Zeroizing::default();
                let (name, id, provider) = Default::default();
                OpenKind::Layer { name, id, provider, source }
            }
            ("Layout", Some("Layouts")) => {
                let name = attribute(start, "name")?;
                OpenKind::Layout { name: name.map(|name| shown(&name)).unwrap_or_default() }
            }
            _ => return Ok(()),
        };
        self.scope = Some(OpenScope { depth, gathered: Gathered::default(), kind });
        Ok(())
    }

    fn attributes(&mut self, start: &BytesStart<'_>, role: Role) -> Result<(), Fault> {
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|_| Fault::Malformed(0))?;
            let key = attribute.key.local_name();
            let key = key.as_ref();
            let wanted = match role {
                Role::Scanned => {
                    !SILENT_ATTRIBUTES.contains(&key) && expression::may_use(&attribute.value)
                }
                Role::VariableNames | Role::VariableValues => key == "value",
                Role::Silent => false,
            };
            if wanted {
                let value = unescaped(&attribute.value)?;
                self.look_into(&value, role, Some(key))?;
            }
        }
        Ok(())
    }

    fn append(&mut self, more: &str) -> Result<(), Fault> {
        let needed = self.text.len() + more.len();
        if needed > self.text.capacity() {
            let room = needed.max(2 * self.text.capacity()).max(4096);
            let mut grown = Zeroizing::new(String::with_capacity(room));
            grown.push_str(&self.text);
            self.text = grown;
        }
        self.text.push_str(more);
        Ok(())
    }

    /// Deals with the text up to here: it belongs to the innermost element.
    fn take_text(&mut self) -> Result<(), Fault> {
        if self.text.is_empty() {
            return Ok(());
        }
        // Put back afterwards: its memory serves for every text, and is overwritten at the end.
        let mut text = std::mem::take(&mut self.text);
        let result = self.place_text(&text);
        text.clear();
        self.text = text;
        result
    }

    fn place_text(&mut self, text: &str) -> Result<(), Fault> {
        let Some(frame) = self.frames.last() else { return Ok(()) };
        if let Some(OpenScope { depth, kind, .. }) = &mut self.scope
            && let OpenKind::Layer { name, id, provider, source } = kind
            && self.frames.len() == *depth + 2
        {
            match frame.tag.as_str() {
                "layername" => *name = shown(text),
                "id" => *id = shown(text),
                "provider" => *provider = shown(text),
                "datasource" => *source = Zeroizing::new(text.to_owned()),
                _ => {}
            }
        }
        let role = frame.role;
        // Names of variables are few and short; the rest is mostly blanks between elements.
        if role == Role::VariableNames && !text.trim().is_empty() || expression::may_use(text) {
            self.look_into(text, role, None)?;
        }
        Ok(())
    }

    fn look_into(&mut self, text: &str, role: Role, attribute: Option<&str>) -> Result<(), Fault> {
        let evaluated = match role {
            Role::Silent => return Ok(()),
            Role::VariableNames => {
                self.count(1)?;
                self.gathered().defined.insert(text.to_owned());
                return Ok(());
            }
            Role::VariableValues => false,
            Role::Scanned => true,
        };
        let mut uses = expression::uses(text);
        if !evaluated {
            // A variable's value can be a password, and one can look like `@NAME`.
            uses.variables.clear();
        }
        if uses == Uses::default() {
            return Ok(());
        }
        let mut spot = self.spot(attribute, evaluated);
        if !evaluated {
            "variableValues".clone_into(&mut spot.element);
        }
        self.add(uses, &spot)
    }

    /// Where the innermost element is, in the words of the XML.
    fn spot(&self, attribute: Option<&str>, evaluated: bool) -> Spot {
        // Data-defined properties and widgets' settings are trees of `Option`: the path tells
        // which one it is, their common ancestor whose.
        let first = self.frames.iter().rposition(|frame| frame.tag != "Option").unwrap_or(0);
        let labels: Vec<_> =
            self.frames[first..].iter().filter_map(|frame| frame.label.as_deref()).collect();
        Spot {
            element: self.frames.get(first).map(|frame| shown(&frame.tag)).unwrap_or_default(),
            attribute: attribute.map(shown),
            detail: (!labels.is_empty()).then(|| labels.join("/")),
            evaluated,
        }
    }

    fn add(&mut self, uses: Uses, spot: &Spot) -> Result<(), Fault> {
        self.count(uses.variables.len() + uses.env_calls.len())?;
        let gathered = self.gathered();
        gathered.variables.extend(uses.variables.into_iter().map(|name| (name, spot.clone())));
        gathered.env_calls.extend(uses.env_calls.into_iter().map(|name| (name, spot.clone())));
        Ok(())
    }

    fn gathered(&mut self) -> &mut Gathered {
        self.scope.as_mut().map_or(&mut self.gathered, |scope| &mut scope.gathered)
    }

    fn count(&mut self, more: usize) -> Result<(), Fault> {
        self.found += more;
        if self.found > MAX_FOUND { Err(Fault::TooLarge) } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), Fault> {
        self.take_text()?;
        self.frames.pop();
        match self.scope.take_if(|scope| scope.depth == self.frames.len()) {
            Some(scope) => self.close_scope(scope),
            None => Ok(()),
        }
    }

    fn close_scope(&mut self, scope: OpenScope) -> Result<(), Fault> {
        let OpenScope { mut gathered, kind, .. } = scope;
        let scope = match kind {
            OpenKind::Layout { name } => Scope::Layout { name },
            OpenKind::Layer { name, id, provider, source } => {
                let parsed = datasource::parse(&provider, &source);
                let uses = expression::uses_in_sql(parsed.filter);
                let spot = Spot {
                    element: "datasource".to_owned(),
                    attribute: None,
                    detail: Some("filter".to_owned()),
                    evaluated: false,
                };
                self.count(1 + uses.variables.len() + uses.env_calls.len())?;
                let at_spot = |name| (name, spot.clone());
                gathered.variables.extend(uses.variables.into_iter().map(at_spot));
                gathered.env_calls.extend(uses.env_calls.into_iter().map(at_spot));
                let scope = Scope::Layer { name: name.clone(), id: id.clone() };
                if let Some(source) = parsed.postgres {
                    self.project.layers.push(Layer { name, id, provider, source });
                }
                scope
            }
        };
        self.settle(gathered, &scope);
        Ok(())
    }

    /// Takes over what a scope gathered, without the variables that it defines.
    fn settle(&mut self, gathered: Gathered, scope: &Scope) {
        let Gathered { variables, env_calls, defined } = gathered;
        let at = |(name, spot): (String, Spot)| Use { name, place: spot.within(scope.clone()) };
        self.variables
            .extend(variables.into_iter().filter(|(name, _)| !defined.contains(name)).map(at));
        self.env_calls.extend(env_calls.into_iter().map(at));
    }

    fn finish(mut self, at: u64) -> Result<Project, Fault> {
        if !self.saw_root {
            return Err(Fault::NotAProject);
        }
        if !self.frames.is_empty() {
            return Err(Fault::Malformed(at));
        }
        if !self.saw_layers {
            return Err(Fault::NotAProject);
        }
        let gathered = std::mem::take(&mut self.gathered);
        // The project's variables are known only now, and hold everywhere in it.
        self.variables.retain(|found| !gathered.defined.contains(&found.name));
        self.settle(gathered, &Scope::Project);
        let (variables, env_calls) = (self.variables, self.env_calls);
        Ok(Project {
            variables: variables.into_iter().collect(),
            env_calls: env_calls.into_iter().collect(),
            ..self.project
        })
    }
}

impl Spot {
    fn within(self, scope: Scope) -> Place {
        let Self { element, attribute, detail, evaluated } = self;
        Place { scope, element, attribute, detail, evaluated }
    }
}
