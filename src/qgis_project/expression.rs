//! QGIS's expression language, as far as it takes to see which variables a text uses.
//!
//! A project holds expressions in hundreds of places, and newer versions add more, so every text
//! in it is looked at. What keeps prose and passwords out is that a text counts only when it
//! could be an expression: its tokens are QGIS's, operators stand between operands, brackets and
//! quotes are closed.

use std::collections::BTreeSet;

/// Longer than any expression; so long a text is an image or a document.
const MAX_EXPRESSION: usize = 1 << 20;

/// What one text uses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    /// Names of variables, all in capitals: `@NAME` and `var('NAME')`.
    pub(super) variables: BTreeSet<String>,
    /// Names of environment variables: `env('NAME')`.
    pub(super) env_calls: BTreeSet<String>,
}

/// Whether it can be worth looking into a text, before its XML references are resolved.
pub(super) fn may_use(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    bytes.contains(&b'@')
        || bytes
            .windows(3)
            .any(|w| w.eq_ignore_ascii_case(b"env") || w.eq_ignore_ascii_case(b"var"))
        || raw.contains("&#")
}

/// Looks into a text that is an expression, has some in `[% … %]`, or is the code of a form's
/// HTML or QML widget, which hands them to `expression.evaluate("…")`.
pub(super) fn uses(text: &str) -> Uses {
    let mut found = Uses::default();
    if scan(text, Rules::Expression, &mut found) {
        // `eval_template('[% @NAME %]')` has its template in a string.
        templates(text, &mut found);
    } else if text.contains("[%") {
        templates(text, &mut found);
    } else {
        widget_calls(text, &mut found);
    }
    found
}

/// Looks into SQL. Nobody evaluates expressions there, but people write them.
pub(super) fn uses_in_sql(text: &str) -> Uses {
    let mut found = Uses::default();
    scan(text, Rules::Sql, &mut found);
    found
}

fn templates(text: &str, found: &mut Uses) {
    for piece in text.split("[%").skip(1) {
        if let Some((expression, _)) = piece.split_once("%]") {
            scan(expression, Rules::Expression, found);
        }
    }
}

fn widget_calls(text: &str, found: &mut Uses) {
    for piece in text.split("expression.evaluate(").skip(1) {
        let mut chars = piece.trim_start().chars();
        let Some(quote @ ('"' | '\'' | '`')) = chars.next() else { continue };
        let mut expression = String::new();
        while let Some(c) = chars.next() {
            match c {
                '\\' => expression.extend(chars.next()),
                c if c == quote => {
                    scan(&expression, Rules::Expression, found);
                    break;
                }
                c => expression.push(c),
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// The whole text has to look like an expression.
    Expression,
    /// Only strings, quoted names and comments are passed over.
    Sql,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// `@name`
    Variable(&'a str),
    /// A name, a function or a word of the language.
    Word(&'a str),
    /// What stands between single quotes, as written.
    Text(&'a str),
    /// A number, a quoted column, `$id`.
    Operand,
    /// An operator that can stand before an operand alone.
    Sign,
    /// Any other operator.
    Operator,
    /// `:=`
    Assign,
    Comma,
    Open,
    Close,
    /// A character that is in no expression.
    Unknown,
    /// A string, a quoted column or a comment that is not closed.
    Unclosed,
}

/// Adds what the text uses; `false`, and nothing added, when it is no expression.
fn scan(text: &str, rules: Rules, found: &mut Uses) -> bool {
    if text.len() > MAX_EXPRESSION {
        return false;
    }
    let mut variables = BTreeSet::new();
    let mut env_calls = BTreeSet::new();
    // What `with_variable('NAME', …)` defines within this text.
    let mut defined = BTreeSet::new();
    let mut grammar = Grammar::default();
    // The tokens before the current one, the latest first.
    let mut before = [Token::Unknown; 5];
    for token in (Tokens { text, at: 0, rules }) {
        if rules == Rules::Expression && !grammar.allows(token) {
            return false;
        }
        match token {
            Token::Variable(name) => {
                variables.insert(name);
            }
            Token::Close | Token::Comma => match (first_argument(&before), token) {
                (Some((function, name)), Token::Close) if function.eq_ignore_ascii_case("var") => {
                    variables.insert(name);
                }
                (Some((function, name)), Token::Close) if function.eq_ignore_ascii_case("env") => {
                    env_calls.insert(name);
                }
                (Some((function, name)), Token::Comma)
                    if function.eq_ignore_ascii_case("with_variable") =>
                {
                    defined.insert(name);
                }
                _ => {}
            },
            _ => {}
        }
        before.rotate_right(1);
        before[0] = token;
    }
    if rules == Rules::Expression && !grammar.is_complete() {
        return false;
    }
    let secret_like = variables.difference(&defined).filter(|name| is_all_caps(name));
    found.variables.extend(secret_like.map(|&name| name.to_owned()));
    found.env_calls.extend(env_calls.into_iter().filter(|n| is_env_name(n)).map(str::to_owned));
    true
}

/// The function and the text of `function('text'` or `function(name := 'text'`.
fn first_argument<'a>(before: &[Token<'a>; 5]) -> Option<(&'a str, &'a str)> {
    match *before {
        [Token::Text(text), Token::Open, Token::Word(function), ..]
        | [Token::Text(text), Token::Assign, Token::Word(_), Token::Open, Token::Word(function)] => {
            Some((function, text))
        }
        _ => None,
    }
}

/// `^[A-Z][A-Z0-9_]*$`
fn is_all_caps(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn is_env_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Where operands and operators may stand.
#[derive(Default)]
struct Grammar {
    /// Whether an operand has just ended.
    operand: bool,
    depth: usize,
}

impl Grammar {
    fn allows(&mut self, token: Token<'_>) -> bool {
        let before = self.operand;
        let (fits, operand) = match token {
            Token::Word(word) => match Word::of(word) {
                Word::Name => (!before, true),
                Word::Operator => (true, false),
                Word::End => (before, true),
            },
            Token::Variable(_) | Token::Text(_) | Token::Operand => (!before, true),
            Token::Sign => (true, false),
            Token::Operator => (before, false),
            Token::Assign | Token::Comma => (before && self.depth > 0, false),
            Token::Open => {
                self.depth += 1;
                (true, false)
            }
            Token::Close if self.depth > 0 => {
                self.depth -= 1;
                (true, true)
            }
            Token::Close | Token::Unknown | Token::Unclosed => (false, false),
        };
        self.operand = operand;
        fits
    }

    fn is_complete(&self) -> bool {
        self.operand && self.depth == 0
    }
}

enum Word {
    /// A column, a function, `NULL`.
    Name,
    /// What asks for an operand after it.
    Operator,
    /// What ends a `CASE`.
    End,
}

impl Word {
    fn of(word: &str) -> Self {
        const OPERATORS: [&str; 12] = [
            "and", "or", "not", "in", "is", "like", "ilike", "between", "case", "when", "then",
            "else",
        ];
        if OPERATORS.iter().any(|operator| word.eq_ignore_ascii_case(operator)) {
            Self::Operator
        } else if word.eq_ignore_ascii_case("end") {
            Self::End
        } else {
            Self::Name
        }
    }
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
    rules: Rules,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let rest = &self.text[self.at..];
            let first = rest.chars().next()?;
            let (token, len) = match first {
                ' ' | '\t' | '\r' | '\n' => (None, 1),
                '-' if rest.starts_with("--") => {
                    (None, rest.find(['\r', '\n']).unwrap_or(rest.len()))
                }
                '/' if rest.starts_with("/*") => match rest[2..].find("*/") {
                    Some(end) => (None, end + 4),
                    None => (Some(Token::Unclosed), rest.len()),
                },
                '\'' | '"' => match quoted_len(rest, first, self.rules) {
                    None => (Some(Token::Unclosed), rest.len()),
                    Some(len) if first == '"' => (Some(Token::Operand), len),
                    Some(len) => (Some(Token::Text(&rest[1..len - 1])), len),
                },
                '@' | '$' => match name_len(&rest[1..]) {
                    0 => (Some(Token::Unknown), 1),
                    len if first == '@' => (Some(Token::Variable(&rest[1..=len])), len + 1),
                    len => (Some(Token::Operand), len + 1),
                },
                '0'..='9' => (Some(Token::Operand), number_len(rest)),
                '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                    (Some(Token::Operand), number_len(rest))
                }
                _ => match name_len(rest) {
                    0 => {
                        let (token, len) = symbol(rest, first);
                        (Some(token), len)
                    }
                    // `user@HOST` in SQL: no rule of grammar there tells it from a use.
                    len if self.rules == Rules::Sql && rest[len..].starts_with('@') => {
                        (Some(Token::Operand), len + 1 + name_len(&rest[len + 1..]))
                    }
                    len => (Some(Token::Word(&rest[..len])), len),
                },
            };
            self.at += len;
            if token.is_some() {
                return token;
            }
        }
    }
}

fn symbol<'a>(rest: &str, first: char) -> (Token<'a>, usize) {
    const LONG: [&str; 6] = ["<>", "!=", "<=", ">=", "||", "//"];
    if rest.starts_with(":=") {
        return (Token::Assign, 2);
    }
    if LONG.iter().any(|operator| rest.starts_with(operator)) {
        return (Token::Operator, 2);
    }
    let token = match first {
        '(' | '[' => Token::Open,
        ')' | ']' => Token::Close,
        ',' => Token::Comma,
        '+' | '-' => Token::Sign,
        '*' | '/' | '%' | '^' | '=' | '<' | '>' | '~' => Token::Operator,
        _ => Token::Unknown,
    };
    (token, first.len_utf8())
}

/// The length of a quoted text with its quotes; `None` when it has no end.
///
/// A quote is doubled; in an expression's string a backslash escapes, too.
fn quoted_len(rest: &str, quote: char, rules: Rules) -> Option<usize> {
    let escapes = quote == '\'' && rules == Rules::Expression;
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            chars.next()?;
        } else if c == quote && chars.next_if(|&(_, next)| next == quote).is_none() {
            return Some(at + 1);
        }
    }
    None
}

/// Letters, digits and `_`, not a digit first; to QGIS all that is not ASCII is a letter.
fn name_len(rest: &str) -> usize {
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    rest.find(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(rest.len())
}

fn number_len(rest: &str) -> usize {
    let digits = |from: usize| {
        rest[from..]
            .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
            .map_or(rest.len(), |n| from + n)
    };
    let len = digits(0);
    let exponent = &rest[len..];
    let sign = match exponent.as_bytes() {
        [b'e' | b'E', b'+' | b'-', b'0'..=b'9', ..] => 2,
        [b'e' | b'E', b'0'..=b'9', ..] => 1,
        _ => return len,
    };
    digits(len + sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variables, then `|` and the environment variables.
    fn said(uses: &Uses) -> String {
        let joined = |names: &BTreeSet<String>| {
            names.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        format!("{}|{}", joined(&uses.variables), joined(&uses.env_calls))
    }

    #[test]
    fn sees_the_variables_that_qgis_sees() {
        let lines = include_str!("../../tests/fixtures/qgis_project/expressions.jsonl");
        assert!(lines.lines().count() > 80);
        for line in lines.lines() {
            let (text, variables): (String, Option<Vec<String>>) =
                serde_json::from_str(line).unwrap();
            let mut found = Uses::default();
            let is_expression = scan(&text, Rules::Expression, &mut found);
            assert_eq!(is_expression, variables.is_some(), "{text:?}");
            let expected = variables.unwrap_or_default().into_iter().filter(|n| is_all_caps(n));
            assert_eq!(found.variables, expected.collect(), "{text:?}");
        }
    }

    #[test]
    fn finds_calls_of_env_and_var() {
        for (text, expected) in [
            ("env('A')", "|A"),
            ("ENV ( 'A' )", "|A"),
            ("env(name:='A')", "|A"),
            ("env(/* 'B' */ 'A' -- c\n)", "|A"),
            ("env('a_1') || env('b')", "|a_1 b"),
            ("coalesce(env('A'), var('B'), @C)", "B C|A"),
            // Not a name that can be read off.
            ("env('A' || 'B')", "|"),
            ("env(\"A\")", "|"),
            ("env('it''s')", "|"),
            ("env('')", "|"),
            ("env('A', 'B')", "|"),
            ("my_env('A')", "|"),
            ("'env(''A'')'", "|"),
            ("-- env('A')\n1", "|"),
            ("env", "|"),
            // Defined by the expression itself.
            ("with_variable('A', 1, @A + @B)", "B|"),
            ("WITH_VARIABLE(name := 'A', value := 1, expression := @A)", "|"),
            // Not the name of a secret.
            ("@a + @Ab + @_A + @project_title + @A\u{a0}", "|"),
            ("@A1_ + @A", "A A1_|"),
        ] {
            assert_eq!(said(&uses(text)), expected, "{text}");
        }
    }

    #[test]
    fn looks_into_templates_and_widgets() {
        for (text, expected) in [
            ("don't @X [% @A %], it's [%env('B')%] @Y", "A|B"),
            ("[% @A", "|"),
            ("@A %]", "|"),
            ("@A %] [% 1 %]", "|"),
            ("[% don't %] [% @A %]", "A|"),
            ("eval_template('[% @A %]') || @B", "A B|"),
            ("[% '@A' %][%-- @B\n@C%]", "C|"),
            ("<p>write to me@HOME</p>", "|"),
            ("<script>document.write(expression.evaluate(\"\\\"x\\\" || @A\"))</script>", "A|"),
            (
                "Text { text: expression.evaluate( 'env(\\'A\\')' ) + expression.evaluate(`@B`) }",
                "B|A",
            ),
            ("expression.evaluate(\"@A", "|"),
            ("expression.evaluate(x) @A", "|"),
            ("expression.evaluate(", "|"),
        ] {
            assert_eq!(said(&uses(text)), expected, "{text}");
        }
    }

    #[test]
    fn connection_strings_are_not_expressions() {
        for text in [
            "service='s' password='@A'",
            "service=s password=@A",
            "service='s' user='u' password=x!@A",
            "password=x@A",
            "postgresql://u:@A@host/db",
            "https://u:p@A/x",
            "PG:dbname=x password=@A",
        ] {
            assert_eq!(said(&uses(text)), "|", "{text}");
        }
    }

    #[test]
    fn passes_over_what_is_quoted_in_sql() {
        for (text, expected) in [
            ("\"a\" = @A", "A|"),
            ("SELECT a b FROM c WHERE x = @A; -- @B", "A|"),
            ("a = 'it''s @A' AND b = 'c:\\' AND d = @B", "B|"),
            ("\"@A\" > 1 /* @B */", "|"),
            ("mail LIKE user@HOST", "|"),
            ("a = env('A')", "|A"),
            ("x = 'unclosed @A", "|"),
            ("x -> '$.a' ? @A", "A|"),
        ] {
            assert_eq!(said(&uses_in_sql(text)), expected, "{text}");
        }
    }

    #[test]
    fn texts_longer_than_any_expression_are_passed_over() {
        let long = |len: usize| format!("@A{}", " ".repeat(len - 2));
        assert_eq!(said(&uses(&long(MAX_EXPRESSION))), "A|");
        assert_eq!(said(&uses(&long(MAX_EXPRESSION + 1))), "|");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "([ -~äé\n]|@[A-C]|'|\"|\\[%|%\\]|--|/\\*|\\*/|env\\('|var|expression.evaluate\\(|[0-9.e+]){0,40}") {
            uses(&text);
            uses_in_sql(&text);
        }

        #[test]
        fn what_is_found_is_written_there(text in "([a-z +']|@[A-C]|\\[%|%\\]|env\\('[A-C]'\\)){0,30}") {
            let found = uses(&text);
            for name in &found.variables {
                let written = text.contains(&format!("@{name}"));
                proptest::prop_assert!(written);
            }
            proptest::prop_assert!(found == Uses::default() || may_use(&text));
        }
    }
}
