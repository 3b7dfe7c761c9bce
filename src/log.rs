//! What the program says of itself on standard error, line by line.
//!
//! Invariants: one event is one line, written at once; JSON, or text on a terminal; while the
//! values of a run are known, none of them is in a line; a line that can't be written, or that nobody
//! reads, is lost, for to tell of that in the same place would not end.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use anstyle::{AnsiColor, Style};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value as Json;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::redact::Masker;

/// The target of audit lines.
pub const AUDIT: &str = "audit";

/// Members that every line has, or may have: an event's own field of that name gets a `_`.
const RESERVED: [&str; 8] =
    ["timestamp", "level", "target", "message", "job", "labels", "traceparent", "trace_id"];

static LOGGER: OnceLock<Logger> = OnceLock::new();
static ABOUT: RwLock<Option<About>> = RwLock::new(None);
static MASKER: RwLock<Option<Arc<Masker>>> = RwLock::new(None);

/// Which job the lines are about. Facts only.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// Who it is.
    pub job: JobId,
    /// Names for people.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// W3C Trace Context of the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// A job, by its ids.
#[derive(Clone, Debug, Serialize)]
pub struct JobId {
    /// The orchestrator's id.
    pub id: String,
    /// From 1.
    pub attempt: u32,
    /// `null` for a personal project.
    pub organization: Option<String>,
    /// The project's id.
    pub project: String,
    /// `null` for a system job.
    pub user: Option<String>,
}

/// Begins to log what is of this level, or worse.
pub fn to_stderr(level: LevelFilter) {
    let logger = Logger { level, terminal: io::stderr().is_terminal() };
    // Both fail only if somebody did it before: tests of the library.
    if LOGGER.set(logger).is_ok() {
        tracing::subscriber::set_global_default(logger).unwrap_or_default();
    }
}

/// From now on every line says which job it is about.
pub fn about(about: About) {
    *ABOUT.write().unwrap_or_else(PoisonError::into_inner) = Some(about);
}

/// From now on no line shows a value that `masker` knows; until what is returned is dropped.
#[must_use]
pub fn mask(masker: Arc<Masker>) -> Masking {
    *MASKER.write().unwrap_or_else(PoisonError::into_inner) = Some(masker);
    Masking(())
}

/// The values of a run are known, and masked. Its end takes them out of memory.
#[derive(Debug)]
pub struct Masking(());

impl Drop for Masking {
    fn drop(&mut self) {
        *MASKER.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A text without the values of the run, if there is one.
pub fn masked(text: &str) -> Cow<'_, str> {
    match &*MASKER.read().unwrap_or_else(PoisonError::into_inner) {
        Some(masker) => masker.text(text),
        None => Cow::Borrowed(text),
    }
}

/// Text from outside cannot move the cursor or paint: control characters are replaced.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A line as a program reads it, with its line end. `facts` are further members, in their order.
pub fn line(level: Level, target: &str, message: &str, facts: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Line<'a, F> {
        timestamp: String,
        level: &'a str,
        target: &'a str,
        message: &'a str,
        #[serde(flatten)]
        facts: &'a F,
        #[serde(flatten)]
        about: Option<&'a About>,
        #[serde(skip_serializing_if = "Option::is_none")]
        trace_id: Option<&'a str>,
    }
    let about = ABOUT.read().unwrap_or_else(PoisonError::into_inner);
    let about = about.as_ref();
    let timestamp = jiff::Timestamp::now().round(jiff::Unit::Millisecond).unwrap_or_default();
    let line = Line {
        timestamp: timestamp.to_string(),
        level: level.as_str(),
        target,
        message,
        facts,
        about,
        // 00-<trace id>-<parent id>-<flags>: the descriptor was checked.
        trace_id: about.and_then(|about| about.traceparent.as_deref()?.split('-').nth(1)),
    };
    // Fails only for a map with keys that are no strings, which nobody has.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}

/// Writes an audit line: `line` as a program reads it, or `words` for a person at a terminal. A
/// program's is written whatever the level, but for `off`; a person's from `info` on.
pub fn audit(line: &str, level: Level, words: &str) {
    let Some(logger) = LOGGER.get().filter(|logger| logger.audits()) else { return };
    if logger.terminal { write_text(&text(level, AUDIT, words, &[])) } else { write(line) }
}

#[derive(Clone, Copy)]
struct Logger {
    level: LevelFilter,
    terminal: bool,
}

impl Logger {
    fn audits(self) -> bool {
        if self.terminal { self.level >= Level::INFO } else { self.level != LevelFilter::OFF }
    }
}

/// Spans are not followed: only dependencies make some.
impl Subscriber for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut said = Said::default();
        event.record(&mut said);
        let Said { message, fields } = said.through(masked);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        if self.terminal {
            write_text(&text(level, target, &message, &fields));
        } else {
            write(&line(level, target, &message, &Fields(fields)));
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// What an event says.
#[derive(Debug, Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, Json)>,
}

impl Said {
    fn add(&mut self, field: &Field, value: Json) {
        match (field.name(), value) {
            ("message", Json::String(message)) => self.message = message,
            (name, value) => self.fields.push((name, value)),
        }
    }

    /// Every text through `mask`, before it becomes JSON: what is masked then still is.
    fn through(self, mask: impl for<'t> Fn(&'t str) -> Cow<'t, str>) -> Self {
        let fields = self.fields.into_iter().map(|(name, value)| match value {
            Json::String(text) => (name, Json::String(mask(&text).into_owned())),
            value => (name, value),
        });
        Self { message: mask(&self.message).into_owned(), fields: fields.collect() }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Json::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, Json::String(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }
}

struct Fields(Vec<(&'static str, Json)>);

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            if RESERVED.contains(name) {
                map.serialize_entry(&format!("{name}_"), value)?;
            } else {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

/// A line as a person reads it.
fn text(level: Level, target: &str, message: &str, fields: &[(&str, Json)]) -> String {
    let style = match level {
        Level::ERROR => AnsiColor::Red.on_default(),
        Level::WARN => AnsiColor::Yellow.on_default(),
        Level::INFO => AnsiColor::Green.on_default(),
        _ => AnsiColor::Blue.on_default(),
    };
    let dim = Style::new().dimmed();
    let about = ABOUT.read().unwrap_or_else(PoisonError::into_inner);
    let id = about.as_ref().map(|about| format!(" {}", about.job.id)).unwrap_or_default();
    let mut line =
        format!("{style}{level:>5}{style:#}{dim}{id} {target}:{dim:#} {}", harmless(message));
    for (name, value) in fields {
        let value = match value {
            Json::String(text) if text.is_empty() || text.contains([' ', '"']) => {
                format!("{text:?}")
            }
            Json::String(text) => text.clone(),
            value => value.to_string(),
        };
        line.push_str(&format!(" {dim}{name}={dim:#}{}", harmless(&value)));
    }
    line.push('\n');
    line
}

/// Colours vanish where they aren't wanted.
fn write_text(line: &str) {
    if !takes_a_line() {
        return;
    }
    let mut err = anstream::AutoStream::auto(io::stderr().lock());
    err.write_all(line.as_bytes()).unwrap_or_default();
}

fn write(line: &str) {
    if !takes_a_line() {
        return;
    }
    io::stderr().lock().write_all(line.as_bytes()).unwrap_or_default();
}

/// Whether standard error takes a line. Nobody may read it, and the job may have filled it: a runner
/// that waits there for ever would hear of no order to end.
fn takes_a_line() -> bool {
    static HELD_UP: AtomicBool = AtomicBool::new(false);
    // It is waited for once, not for each line.
    let mut limit = if HELD_UP.load(Relaxed) { PollTimeout::ZERO } else { PATIENCE.into() };
    let taken = loop {
        match poll(&mut [PollFd::new(rustix::stdio::stderr(), PollFlags::POLLOUT)], limit) {
            // The signal may be that order.
            Err(Errno::EINTR) => limit = PollTimeout::ZERO,
            polled => break polled != Ok(0),
        }
    };
    HELD_UP.store(!taken, Relaxed);
    taken
}

/// So long a line waits for a slow reader, in milliseconds.
const PATIENCE: u16 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a value holds, what stands in its place leaves the line JSON.
    #[test]
    fn texts_are_masked_before_they_become_json() {
        fn mask(text: &str) -> Cow<'_, str> {
            text.replace("a\"b\\c\nd", "***").into()
        }
        let said = Said {
            message: "saw a\"b\\c\nd there".into(),
            fields: vec![("error", "x a\"b\\c\nd".into()), ("took", 3.into())],
        };
        let Said { message, fields } = said.through(mask);
        let line = line(Level::WARN, "t", &message, &Fields(fields));
        let json: Json = serde_json::from_str(&line).unwrap();
        assert_eq!(json["message"], "saw *** there");
        assert_eq!(json["error"], "x ***");
        assert_eq!(json["took"], 3);
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn a_field_never_takes_the_place_of_a_member_of_every_line() {
        let fields = RESERVED.map(|name| (name, Json::from("field")));
        let line = line(Level::ERROR, "t", "m", &Fields(fields.into()));
        let json: BTreeMap<String, Json> = serde_json::from_str(&line).unwrap();
        for name in RESERVED {
            assert_eq!(json[&format!("{name}_")], "field");
        }
        assert_eq!((&json["level"], &json["message"]), (&"ERROR".into(), &"m".into()));
        assert_eq!(json.len(), RESERVED.len() + 4);
    }

    #[test]
    fn a_person_reads_one_line_without_foreign_control_characters() {
        let fields = [("path", Json::from("a\x1b[2J\n")), ("n", 3.into()), ("why", "b c".into())];
        let line = text(Level::INFO, "t", "said\r\n", &fields);
        let plain = anstream::adapter::strip_str(&line).to_string();
        assert_eq!(
            plain,
            " INFO t: said\u{fffd}\u{fffd} path=a\u{fffd}[2J\u{fffd} n=3 why=\"b c\"\n"
        );
    }

    #[test]
    fn audit_lines_show_when_a_program_reads() {
        let audits = |level, terminal| Logger { level, terminal }.audits();
        for level in [LevelFilter::ERROR, LevelFilter::WARN, LevelFilter::INFO, LevelFilter::TRACE]
        {
            assert!(audits(level, false));
            assert_eq!(audits(level, true), level >= LevelFilter::INFO, "{level}");
        }
        assert!(!audits(LevelFilter::OFF, false) && !audits(LevelFilter::OFF, true));
    }
}
