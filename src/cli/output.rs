//! Printing: tables, lines, JSON, errors.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::error::Error;
use crate::log;
pub use crate::log::harmless;

/// Headings.
pub const BOLD: Style = Style::new().bold();
/// What can be passed over.
pub const DIM: Style = Style::new().dimmed();
/// What is in order.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What needs a look.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// What failed.
pub const BAD: Style = AnsiColor::Red.on_default().bold();

/// Writes to standard output; colours vanish where it is no terminal.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = anstream::AutoStream::auto(io::stdout().lock());
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Error::Io("standard output".into(), error))
}

/// Writes one line to standard output.
pub fn line(text: &str) -> Result<(), Error> {
    print(&format!("{text}\n"))
}

/// Writes JSON to standard output.
pub fn json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::Io("standard output".into(), error.into()))?;
    line(&text)
}

/// Writes a note to standard error, whatever the log level, and without the values of a run.
/// Nobody is left to tell of a failure.
pub fn note(text: &str) {
    let mut err = anstream::AutoStream::auto(io::stderr().lock());
    writeln!(err, "{}", log::masked(text)).unwrap_or_default();
}

/// A warning about what was accepted all the same.
pub fn warning(text: &str) {
    note(&format!("{WARN}warning:{WARN:#} {text}"));
}

/// The line that ends a failed command: `error[kind]: message`.
pub fn error(error: &Error) {
    let message = error.to_string();
    // Masked first: a control character of a value wouldn't be found any more.
    let message = harmless(&log::masked(&message));
    note(&format!("{BAD}error[{}]:{BAD:#} {message}", error.kind()));
}

/// Whether the reader of our output went away, as `head` does.
pub fn is_closed_pipe(error: &Error) -> bool {
    matches!(error, Error::Io(_, cause) if cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether a person is there to be asked.
pub fn interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Whether a person watches the progress.
pub fn watched() -> bool {
    io::stderr().is_terminal()
}

/// Rewrites the line of a progress on a terminal.
pub fn progress(text: &str) {
    if watched() {
        let mut err = io::stderr().lock();
        write!(err, "\r\x1b[K{text}").and_then(|()| err.flush()).unwrap_or_default();
    }
}

/// Asks yes or no; only `y` and `yes` are yes.
pub fn confirm(question: &str) -> Result<bool, Error> {
    let mut err = io::stderr().lock();
    let fault = |error| Error::Io("the terminal".into(), error);
    write!(err, "{question} [y/N] ").and_then(|()| err.flush()).map_err(fault)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(fault)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A table: a header and rows of as many cells.
#[derive(Debug)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(header: impl Into<Vec<&'static str>>) -> Self {
        Self { header: header.into(), rows: Vec::new() }
    }

    /// Appends a row. Text from outside has gone through [`harmless`], or cannot hold anything
    /// else by its type.
    pub fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }

    /// The lines, columns aligned, the last one not filled up.
    pub fn render(&self) -> String {
        let columns = self.header.len();
        let width = |index: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| shown(cell));
            cells.chain([self.header[index].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |cells: &[String]| {
            let mut line = String::new();
            for (index, cell) in cells.iter().enumerate() {
                line.push_str(cell);
                if index + 1 < columns {
                    let fill = widths[index].saturating_sub(shown(cell)) + 2;
                    line.extend(std::iter::repeat_n(' ', fill));
                }
            }
            line.trim_end().to_owned()
        };
        let header: Vec<String> = self.header.iter().map(|cell| (*cell).to_owned()).collect();
        let mut text = format!("{BOLD}{}{BOLD:#}\n", line(&header));
        for row in &self.rows {
            text.push_str(&line(row));
            text.push('\n');
        }
        text
    }
}

/// How wide a cell is on a terminal, styles apart.
fn shown(cell: &str) -> usize {
    anstream::adapter::strip_str(cell).map(|part| part.chars().count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_whatever_is_in_them() {
        let mut table = Table::new(["NAME", "FROM"]);
        table.row(["envvar:Ä".to_owned(), "project".to_owned()]);
        table.row([format!("{GOOD}x{GOOD:#}"), harmless("y\x1b[2J\n")]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(plain, "NAME      FROM\nenvvar:Ä  project\nx         y\u{fffd}[2J\u{fffd}\n");
    }
}
