//! How values are written: parsing by kind. An error tells what is allowed, and never what was given.

/// How a property's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum Kind {
    /// `true` or `false`.
    Truth,
    /// A whole number of milliseconds within these bounds.
    Milliseconds { least: u64, most: u64 },
    /// A whole number of bytes within these bounds.
    Bytes { least: u64, most: u64 },
    /// One of these words, in capitals or not.
    Choice(&'static [&'static str]),
    /// A text that is no secret.
    Text,
    /// A file, or a folder of files.
    Path,
    /// An address on the web.
    Url,
    /// Certificates in PEM.
    Pem,
    /// A text that nothing shows.
    Secret,
    /// A private key in PEM, which nothing shows.
    SecretPem,
}

/// A parsed value.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::kafka) enum Value {
    Truth(bool),
    Number(u64),
    /// As the table writes it.
    Choice(&'static str),
    Text(String),
}

/// The longest value in bytes. A bundle of every public authority has about 230 KB; what is longer is the wrong file.
pub(in crate::kafka) const LONGEST_VALUE: usize = 1 << 20;

impl Kind {
    /// What is allowed, in words.
    pub(in crate::kafka) fn allowed(self) -> String {
        match self {
            Self::Truth => "true or false".to_owned(),
            Self::Milliseconds { least, most } => format!("a whole number of milliseconds from {least} to {most}"),
            Self::Bytes { least, most } => format!("a whole number of bytes from {least} to {most}"),
            Self::Choice([only]) => (*only).to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Text => "a text".to_owned(),
            Self::Secret => "a text, which is kept secret".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Url => "an address that begins with https:// (or http://)".to_owned(),
            Self::Pem => "a PEM, which begins with -----BEGIN".to_owned(),
            Self::SecretPem => "a PEM, which begins with -----BEGIN, and is kept secret".to_owned(),
        }
    }

    /// Parses a value. The error tells what is allowed.
    pub(super) fn parse(self, text: &str) -> Result<Value, String> {
        let refused = || Err(format!("its value is not allowed; it takes {}", self.allowed()));
        if text.len() > LONGEST_VALUE {
            return Err(format!("its value is longer than {} MiB", LONGEST_VALUE >> 20));
        }
        if text.trim().is_empty() {
            return Err(format!("its value is empty; it takes {}", self.allowed()));
        }
        if text.contains('\0') {
            return Err("its value has a zero byte, which no text has".to_owned());
        }
        let word = text.trim_start_matches('\u{feff}').trim();
        match self {
            Self::Truth if word.eq_ignore_ascii_case("true") => Ok(Value::Truth(true)),
            Self::Truth if word.eq_ignore_ascii_case("false") => Ok(Value::Truth(false)),
            Self::Truth => refused(),
            Self::Milliseconds { least, most } | Self::Bytes { least, most } => match word.parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(Value::Number(number)),
                Ok(_) | Err(_) => refused(),
            },
            Self::Choice(words) => match words.iter().find(|known| known.eq_ignore_ascii_case(word)) {
                Some(known) => Ok(Value::Choice(known)),
                None => refused(),
            },
            Self::Path => Ok(Value::Text(word.to_owned())),
            Self::Url if word.starts_with("https://") || word.starts_with("http://") => {
                Ok(Value::Text(word.to_owned()))
            }
            Self::Url => refused(),
            Self::Pem | Self::SecretPem if !text.contains("-----BEGIN") => refused(),
            // A secret is taken as it is: a blank at its end may be part of it.
            Self::Text | Self::Secret | Self::Pem | Self::SecretPem => Ok(Value::Text(text.to_owned())),
        }
    }
}
