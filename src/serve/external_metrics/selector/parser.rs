//! Tokens to requirements, by the grammar of apimachinery's labels.Parse. What it takes that one might not expect:
//! nothing after `=` is the empty value, `()` and `(a,)` contain it, `in` and `notin` are words wherever no operator can
//! stand. What it does not: a comma at the end, an operator after `!key`.

use super::lexer::{Lexer, Token};
use super::{BadSelector, Requirement, Test, syntax};

pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, BadSelector> {
    let mut lexer = Lexer::new(text);
    let mut requirements = Vec::new();
    if lexer.peek() == Token::End {
        return Ok(requirements);
    }
    loop {
        requirements.push(requirement(&mut lexer)?);
        match lexer.next() {
            Token::End => break,
            Token::Comma => {}
            other => return unexpected(other, "a comma or the end"),
        }
    }
    // By key, as Kubernetes does, so that two ways to write a selector are one selector.
    requirements.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(requirements)
}

fn requirement(lexer: &mut Lexer<'_>) -> Result<Requirement, BadSelector> {
    let mut next = lexer.next();
    let is_negated = next == Token::Not;
    if is_negated {
        next = lexer.next();
    }
    let Token::Word(key) = next else { return unexpected(next, "a label's key") };
    syntax::check_key(key).map_err(BadSelector)?;
    let is_alone = matches!(lexer.peek(), Token::End | Token::Comma);
    let test = match (is_negated, is_alone) {
        (true, true) => Test::Absent,
        (true, false) => return unexpected(lexer.next(), "a comma or the end after \"!key\""),
        (false, true) => Test::Exists,
        (false, false) => test(lexer)?,
    };
    Ok(Requirement { key: key.to_owned(), test })
}

fn test(lexer: &mut Lexer<'_>) -> Result<Test, BadSelector> {
    match lexer.next() {
        Token::Word("in") => values(lexer).map(Test::In),
        Token::Word("notin") => values(lexer).map(Test::NotIn),
        Token::Equals | Token::DoubleEquals => value(lexer).map(Test::Equals),
        Token::Differs => value(lexer).map(Test::Differs),
        Token::Above => number(lexer).map(Test::Above),
        Token::Below => number(lexer).map(Test::Below),
        other => unexpected(other, "one of =, ==, !=, in, notin, >, <"),
    }
}

fn value(lexer: &mut Lexer<'_>) -> Result<String, BadSelector> {
    match lexer.peek() {
        Token::End | Token::Comma => Ok(String::new()),
        Token::Word(word) => {
            lexer.next();
            checked(word)
        }
        other => unexpected(other, "a value"),
    }
}

fn number(lexer: &mut Lexer<'_>) -> Result<i64, BadSelector> {
    let value = value(lexer)?;
    syntax::integer(&value).ok_or_else(|| BadSelector(format!("\"{value}\" is no integer, as > and < need one")))
}

/// `(a,b)`. Between and beside commas there may be nothing: the empty value. (Kubernetes stumbles over `(,,)`, though not
/// over `(,)` and `(,,,)`; nothing is gained by that.)
fn values(lexer: &mut Lexer<'_>) -> Result<Vec<String>, BadSelector> {
    match lexer.next() {
        Token::Open => {}
        other => return unexpected(other, "\"(\""),
    }
    let mut values = Vec::new();
    loop {
        let mut value = String::new();
        if let Token::Word(word) = lexer.peek() {
            lexer.next();
            value = checked(word)?;
        }
        values.push(value);
        match lexer.next() {
            Token::Comma => {}
            Token::Close => break,
            other => return unexpected(other, "\",\" or \")\""),
        }
    }
    values.sort();
    values.dedup();
    Ok(values)
}

fn checked(value: &str) -> Result<String, BadSelector> {
    syntax::check_value(value).map_err(BadSelector)?;
    Ok(value.to_owned())
}

fn unexpected<T>(token: Token<'_>, expected: &str) -> Result<T, BadSelector> {
    let found = match token {
        Token::End => "the end".to_owned(),
        other => format!("\"{}\"", syntax::shortened(other.text())),
    };
    Err(BadSelector(format!("found {found}, expected {expected}")))
}
