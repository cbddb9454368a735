//! How values are written: parsing by kind. An error says what is allowed, never what the value was.

/// How a property's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum ValueKind {
    /// `true` or `false`.
    Truth,
    /// A whole number of milliseconds within these bounds.
    Milliseconds { least: u64, most: u64 },
    /// A whole number of bytes within these bounds.
    Bytes { least: u64, most: u64 },
    /// One of these words, case-insensitive.
    Choice(&'static [&'static str]),
    /// A text that is no secret.
    Text,
    /// A file, or a folder of files.
    Path,
    /// A URL.
    Url,
    /// Certificates in PEM.
    Pem,
    /// A text that no output shows.
    Secret,
    /// A private key in PEM, which no output shows.
    SecretPem,
}

/// A parsed value.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::kafka) enum PropertyValue {
    Truth(bool),
    Number(u64),
    /// As the table has it.
    Choice(&'static str),
    Text(String),
}

/// The longest value, in bytes. A bundle of all public authorities has about 230 KB; a longer value is the wrong file.
pub(in crate::kafka) const MAX_VALUE: usize = 1 << 20;

impl ValueKind {
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

    /// Parses a value. The error says what is allowed.
    pub(super) fn parse(self, text: &str) -> Result<PropertyValue, String> {
        let refused = || Err(format!("its value is not allowed; it takes {}", self.allowed()));
        if text.len() > MAX_VALUE {
            return Err(format!("its value is longer than {} MiB", MAX_VALUE >> 20));
        }
        if text.trim().is_empty() {
            return Err(format!("its value is empty; it takes {}", self.allowed()));
        }
        if text.contains('\0') {
            return Err("its value has a zero byte, which no text has".to_owned());
        }
        let word = text.trim_start_matches('\u{feff}').trim();
        match self {
            Self::Truth if word.eq_ignore_ascii_case("true") => Ok(PropertyValue::Truth(true)),
            Self::Truth if word.eq_ignore_ascii_case("false") => Ok(PropertyValue::Truth(false)),
            Self::Truth => refused(),
            Self::Milliseconds { least, most } | Self::Bytes { least, most } => match word.parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(PropertyValue::Number(number)),
                Ok(_) | Err(_) => refused(),
            },
            Self::Choice(words) => match words.iter().find(|known| known.eq_ignore_ascii_case(word)) {
                Some(known) => Ok(PropertyValue::Choice(known)),
                None => refused(),
            },
            Self::Path => Ok(PropertyValue::Text(word.to_owned())),
            Self::Url if word.starts_with("https://") || word.starts_with("http://") => {
                Ok(PropertyValue::Text(word.to_owned()))
            }
            Self::Url => refused(),
            Self::Pem | Self::SecretPem if !text.contains("-----BEGIN") => refused(),
            // A secret is taken unchanged: a blank at its end may be part of it.
            Self::Text | Self::Secret | Self::Pem | Self::SecretPem => Ok(PropertyValue::Text(text.to_owned())),
        }
    }
}
