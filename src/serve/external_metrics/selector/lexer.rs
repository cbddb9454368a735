//! A selector's text as tokens. It knows no grammar.

/// A piece of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A key or a value, or a word such as `in` that the grammar has yet to place.
    Word(&'a str),
    Open,
    Close,
    Comma,
    Not,
    Equals,
    DoubleEquals,
    Differs,
    Above,
    Below,
    End,
}

impl Token<'_> {
    /// The token as it was written, for a message.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Open => "(",
            Self::Close => ")",
            Self::Comma => ",",
            Self::Not => "!",
            Self::Equals => "=",
            Self::DoubleEquals => "==",
            Self::Differs => "!=",
            Self::Above => ">",
            Self::Below => "<",
            Self::End => "",
        }
    }
}

/// Gives one token after the other, and `End` for ever after.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The next token; it stays.
    pub(super) fn peek(&self) -> Token<'a> {
        self.clone().next()
    }

    /// The next token; it is gone then. `==` and `!=` are one token wherever they stand.
    pub(super) fn next(&mut self) -> Token<'a> {
        self.rest = self.rest.trim_start_matches(is_blank);
        let symbols = [
            ("==", Token::DoubleEquals),
            ("!=", Token::Differs),
            ("=", Token::Equals),
            ("!", Token::Not),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
            (">", Token::Above),
            ("<", Token::Below),
        ];
        for (symbol, token) in symbols {
            if let Some(rest) = self.rest.strip_prefix(symbol) {
                self.rest = rest;
                return token;
            }
        }
        let end = self.rest.find(|c| is_blank(c) || is_symbol(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if word.is_empty() { Token::End } else { Token::Word(word) }
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}
