//! Reading and writing the protocol's primitive types, in the classic and in the flexible encoding (KIP-482). Bounded: see
//! [`Decoder`].

use std::borrow::Cow;
use std::fmt;

/// A response that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct DecodeError {
    /// What was wrong.
    what: &'static str,
    /// At which byte of the response's body.
    at: usize,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for DecodeError {}

/// Decodes one response. It never reads past the end, and its allocations are bounded by the response's size.
#[derive(Debug)]
pub(in super::super) struct Decoder<'a> {
    all: &'a [u8],
    at: usize,
    flexible: bool,
    /// Bytes that may still be allocated for elements of arrays.
    budget: usize,
}

/// Decoded elements may take this many times the response's bytes, besides [`MIN_BUDGET`]. The widest frequent elements
/// are members of groups: 96 bytes, for 40 bytes of a response and more.
const EXPANSION: usize = 6;
/// Small responses may take this many bytes, whatever their size: a dead group called `g` takes 152 bytes for 18, and
/// 250 groups are in one request.
const MIN_BUDGET: usize = 1 << 20;
/// No response may take more bytes than this. A topic of 100,000 partitions takes 1.2 MB, as many listed groups 2.4 MB.
const MAX_BUDGET: usize = 96 << 20;
/// Longer varints don't fit into 32 bits.
const MAX_VARINT: usize = 5;

impl<'a> Decoder<'a> {
    pub(in super::super) fn new(all: &'a [u8], flexible: bool) -> Self {
        let budget = MIN_BUDGET.saturating_add(all.len().saturating_mul(EXPANSION)).min(MAX_BUDGET);
        Self { all, at: 0, flexible, budget }
    }

    /// What is wrong at this place.
    pub(super) fn wrong(&self, what: &'static str) -> DecodeError {
        DecodeError { what, at: self.at }
    }

    /// Bytes not yet read.
    pub(in super::super) fn remaining(&self) -> usize {
        self.all.len() - self.at
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.all.len());
        let end = end.ok_or_else(|| self.wrong("the answer ends too early"))?;
        let taken = &self.all[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    pub(in super::super) fn i8(&mut self) -> Result<i8, DecodeError> {
        self.fixed().map(i8::from_be_bytes)
    }

    pub(in super::super) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.fixed().map(i16::from_be_bytes)
    }

    pub(in super::super) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub(in super::super) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.fixed().map(i64::from_be_bytes)
    }

    pub(in super::super) fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    pub(in super::super) fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.fixed()
    }

    fn varint(&mut self) -> Result<u32, DecodeError> {
        let mut value: u64 = 0;
        for i in 0..MAX_VARINT {
            let [byte] = self.fixed()?;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| self.wrong("a varint is too large"));
            }
        }
        Err(self.wrong("a varint is too long"))
    }

    /// A length: in compact encoding one more than it is, 0 for null; else with -1 for null.
    fn length(
        &mut self,
        classic: impl FnOnce(&mut Self) -> Result<i32, DecodeError>,
    ) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            return Ok((self.varint()? as usize).checked_sub(1));
        }
        match classic(self)? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| self.wrong("a length is negative")),
        }
    }

    /// A text; invalid UTF-8 is replaced, so that one such name does not invalidate a response about many groups.
    pub(in super::super) fn nullable_string(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let Some(length) = self.length(|from| from.i16().map(i32::from))? else { return Ok(None) };
        self.take(length).map(|bytes| Some(String::from_utf8_lossy(bytes)))
    }

    /// A text; null is read as an empty one, as Java's and librdkafka's clients do.
    pub(in super::super) fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        self.nullable_string().map(Option::unwrap_or_default)
    }

    /// Bytes; null is read as none.
    pub(in super::super) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length(Self::i32)?.unwrap_or(0);
        self.take(length)
    }

    /// The bytes of a text, which may be none; null is read as an empty one.
    pub(in super::super) fn raw_string(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length(|from| from.i16().map(i32::from))?.unwrap_or(0);
        self.take(length)
    }

    /// Skips a text.
    pub(in super::super) fn skip_string(&mut self) -> Result<(), DecodeError> {
        self.raw_string().map(drop)
    }

    /// A structure that may be absent: a byte less than zero says so, whatever the encoding.
    pub(in super::super) fn nullable_structure<T>(
        &mut self,
        structure: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.i8()? < 0 { Ok(None) } else { structure(self).map(Some) }
    }

    /// An array; null is `None`. `least` is the minimum size of an element in bytes: an array that can't fit into the
    /// rest is refused before any allocation.
    pub(in super::super) fn nullable_array<T>(
        &mut self,
        least: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(length) = self.length(Self::i32)? else { return Ok(None) };
        if length > self.remaining() / least.max(1) {
            return Err(self.wrong("an array is longer than the answer"));
        }
        let bytes = length.saturating_mul(size_of::<T>());
        self.budget = self.budget.checked_sub(bytes).ok_or_else(|| self.wrong("the answer has too many elements"))?;
        let mut elements = Vec::with_capacity(length);
        for _ in 0..length {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// An array; null is read as an empty one.
    pub(in super::super) fn array<T>(
        &mut self,
        least: usize,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(least, element).map(Option::unwrap_or_default)
    }

    /// Skips an array without any allocation.
    pub(in super::super) fn skip_array(
        &mut self,
        least: usize,
        element: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        // A `Vec` of units takes no memory.
        self.array(least, element).map(drop)
    }

    /// Skips the tagged fields at the end of a structure; there are none in the classic encoding.
    pub(in super::super) fn tags(&mut self) -> Result<(), DecodeError> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            let _tag = self.varint()?;
            let length = self.varint()? as usize;
            self.take(length)?;
        }
        Ok(())
    }
}

/// Writes one request.
#[derive(Debug)]
pub(in super::super) struct Encoder {
    bytes: Vec<u8>,
    flexible: bool,
}

impl Encoder {
    pub(in super::super) fn new(flexible: bool) -> Self {
        Self { bytes: Vec::with_capacity(256), flexible }
    }

    pub(in super::super) fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub(in super::super) fn i8(&mut self, value: i8) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(in super::super) fn i16(&mut self, value: i16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(in super::super) fn i32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(in super::super) fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(in super::super) fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn compact_length(&mut self, length: usize) {
        self.varint(u32::try_from(length + 1).unwrap_or(u32::MAX));
    }

    /// A text of at most 32,767 bytes. Names are validated before; a longer one is cut.
    pub(in super::super) fn string(&mut self, text: &str) {
        let bytes = &text.as_bytes()[..text.len().min(i16::MAX as usize)];
        if self.flexible {
            self.compact_length(bytes.len());
        } else {
            self.i16(bytes.len() as i16);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// A text that may be absent.
    pub(in super::super) fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None if self.flexible => self.varint(0),
            None => self.i16(-1),
        }
    }

    pub(in super::super) fn bytes(&mut self, bytes: &[u8]) {
        if self.flexible {
            self.compact_length(bytes.len());
        } else {
            self.i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// An array.
    pub(in super::super) fn array<T>(&mut self, elements: &[T], mut element: impl FnMut(&mut Self, &T)) {
        if self.flexible {
            self.compact_length(elements.len());
        } else {
            self.i32(i32::try_from(elements.len()).unwrap_or(i32::MAX));
        }
        for each in elements {
            element(self, each);
        }
    }

    /// An array that is null.
    pub(in super::super) fn null_array(&mut self) {
        if self.flexible { self.varint(0) } else { self.i32(-1) }
    }

    /// Ends a structure: no tagged fields.
    pub(in super::super) fn no_tags(&mut self) {
        if self.flexible {
            self.varint(0);
        }
    }

    /// The frame: what was written, with its length in the first four bytes.
    pub(super) fn into_frame(mut self) -> Vec<u8> {
        let length = i32::try_from(self.bytes.len() - 4).unwrap_or(i32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_be_bytes());
        self.bytes
    }
}
