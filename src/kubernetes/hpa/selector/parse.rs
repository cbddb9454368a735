//! Parses a selector by the grammar of apimachinery's labels.Parse. Some of it is unexpected: an empty text after `=`
//! is the empty value, `()` and `(a,)` contain it, and `in` and `notin` are ordinary words where no operator is
//! allowed. A trailing comma and an operator after `!key` are errors.

use std::collections::BTreeSet;

use kube::core::Expression;

/// Bytes of a key's name and of a value, at most (IsQualifiedName and IsValidLabelValue of apimachinery).
const MAX_NAME: usize = 63;
/// Bytes of a key's prefix, at most: a DNS name.
const MAX_PREFIX: usize = 253;
/// What is a token by itself; the longer ones first.
const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

type Parsed<T> = Result<T, String>;

pub(super) fn parse(text: &str) -> Parsed<Vec<Expression>> {
    let mut tokens = Tokens { rest: text };
    let mut requirements = Vec::new();
    if tokens.peek().is_empty() {
        return Ok(requirements);
    }
    loop {
        requirements.push(requirement(&mut tokens)?);
        match tokens.next() {
            "" => return Ok(requirements),
            "," => {}
            other => return unexpected(other, "a comma or the end"),
        }
    }
}

/// Gives one token after the other; at the end the empty text.
#[derive(Clone)]
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> &'a str {
        self.clone().next()
    }

    fn next(&mut self) -> &'a str {
        self.rest = self.rest.trim_start_matches(is_blank);
        let is_end_of_word = |c: char| is_blank(c) || "=!(),><".contains(c);
        let symbol = SYMBOLS.iter().find(|symbol| self.rest.starts_with(**symbol)).map(|symbol| symbol.len());
        let end = symbol.unwrap_or_else(|| self.rest.find(is_end_of_word).unwrap_or(self.rest.len()));
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        token
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_symbol(token: &str) -> bool {
    SYMBOLS.contains(&token)
}

fn requirement(tokens: &mut Tokens<'_>) -> Parsed<Expression> {
    let mut key = tokens.next();
    let is_negated = key == "!";
    if is_negated {
        key = tokens.next();
    }
    if key.is_empty() || is_symbol(key) {
        return unexpected(key, "a label's key");
    }
    check_key(key)?;
    let key = key.to_owned();
    let is_alone = matches!(tokens.peek(), "" | ",");
    match (is_negated, is_alone) {
        (true, true) => return Ok(Expression::DoesNotExist(key)),
        (true, false) => return unexpected(tokens.next(), "a comma or the end after \"!key\""),
        (false, true) => return Ok(Expression::Exists(key)),
        (false, false) => {}
    }
    match tokens.next() {
        "in" => Ok(Expression::In(key, values(tokens)?)),
        "notin" => Ok(Expression::NotIn(key, values(tokens)?)),
        "=" | "==" => Ok(Expression::Equal(key, value(tokens)?)),
        "!=" => Ok(Expression::NotEqual(key, value(tokens)?)),
        other => unexpected(other, "one of =, ==, !=, in, notin"),
    }
}

fn value(tokens: &mut Tokens<'_>) -> Parsed<String> {
    match tokens.peek() {
        "" | "," => Ok(String::new()),
        symbol if is_symbol(symbol) => unexpected(symbol, "a value"),
        _ => check_value(tokens.next()),
    }
}

/// `(a,b)`. Beside a comma there may be nothing: the empty value. (Kubernetes refuses `(,,)`, though not `(,)` and
/// `(,,,)`; here all of them are read.)
fn values(tokens: &mut Tokens<'_>) -> Parsed<BTreeSet<String>> {
    match tokens.next() {
        "(" => {}
        other => return unexpected(other, "\"(\""),
    }
    let mut values = BTreeSet::new();
    loop {
        let next = tokens.peek();
        let is_value = !next.is_empty() && !is_symbol(next);
        values.insert(if is_value { check_value(tokens.next())? } else { String::new() });
        match tokens.next() {
            "," => {}
            ")" => return Ok(values),
            other => return unexpected(other, "\",\" or \")\""),
        }
    }
}

fn unexpected<T>(token: &str, expected: &str) -> Parsed<T> {
    let found = if token.is_empty() { "the end".to_owned() } else { format!("\"{}\"", shortened(token)) };
    Err(format!("found {found}, expected {expected}"))
}

/// `name` or `prefix/name`, where the prefix is a DNS name.
fn check_key(key: &str) -> Parsed<()> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if !name.is_empty() && is_name(name) && prefix.is_none_or(is_dns_name) {
        return Ok(());
    }
    Err(format!(
        "\"{}\" is not a label's key: a name of at most {MAX_NAME} letters, digits, \"-\", \"_\" and \".\" that begins and ends with a letter or digit, with or without a DNS name and \"/\" before it",
        shortened(key)
    ))
}

/// Empty, or like a key's name.
fn check_value(value: &str) -> Parsed<String> {
    if is_name(value) {
        return Ok(value.to_owned());
    }
    Err(format!(
        "\"{}\" is not a label's value: at most {MAX_NAME} letters, digits, \"-\", \"_\" and \".\" that begin and end with a letter or digit",
        shortened(value)
    ))
}

fn is_name(text: &str) -> bool {
    let is_inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    text.len() <= MAX_NAME && text.bytes().all(is_inner) && ends_are(text, |c| c.is_ascii_alphanumeric())
}

/// DNS labels of lower-case letters, digits and "-", joined by dots.
fn is_dns_name(text: &str) -> bool {
    let is_outer = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|c| is_outer(c) || c == b'-') && ends_are(label, is_outer);
    text.len() <= MAX_PREFIX && text.split('.').all(is_label)
}

/// Whether the first and the last byte are valid; true for an empty text.
fn ends_are(text: &str, is_good: impl Fn(u8) -> bool) -> bool {
    [text.bytes().next(), text.bytes().next_back()].into_iter().flatten().all(is_good)
}

/// The beginning of a text, so that a message does not repeat kilobytes.
fn shortened(text: &str) -> String {
    text.char_indices().nth(MAX_NAME).map_or_else(|| text.to_owned(), |(end, _)| format!("{}…", &text[..end]))
}
