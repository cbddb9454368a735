//! Values made of a pool of random bytes: what is left of the pool decides how much is made, so that a failing case
//! shrinks to a small one.

use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;

/// Bytes to make values of; a used up pool gives zeros and empty lists.
pub(super) struct Pool<'p> {
    left: &'p [u8],
}

impl<'p> Pool<'p> {
    pub(super) fn new(bytes: &'p [u8]) -> Self {
        Self { left: bytes }
    }

    /// Up to `length` of the pool's own bytes.
    fn take(&mut self, length: usize) -> &'p [u8] {
        let (taken, left) = self.left.split_at(length.min(self.left.len()));
        self.left = left;
        taken
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(super) fn i64(&mut self) -> i64 {
        self.take(8).iter().fold(0, |value, byte| value << 8 | i64::from(*byte))
    }

    pub(super) fn i32(&mut self) -> i32 {
        self.i64() as i32
    }

    pub(super) fn i16(&mut self) -> i16 {
        self.i64() as i16
    }

    pub(super) fn i8(&mut self) -> i8 {
        self.byte() as i8
    }

    pub(super) fn bool(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Mostly small; now and then so large that a compact length takes two bytes.
    fn length(&mut self) -> usize {
        match self.byte() {
            250.. => 130,
            few => usize::from(few % 5),
        }
    }

    pub(super) fn bytes(&mut self) -> &'p [u8] {
        let length = self.length();
        self.take(length)
    }

    pub(super) fn text(&mut self) -> String {
        const PARTS: [&str; 8] = ["a", "-", "orders", "0", "é", "日本", ".", "\0"];
        self.bytes().iter().map(|byte| PARTS[usize::from(*byte) % PARTS.len()]).collect()
    }

    pub(super) fn nullable(&mut self) -> Option<String> {
        self.bool().then(|| self.text())
    }

    pub(super) fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        // As long as there is something to fill it with.
        let length = if self.left.is_empty() { 0 } else { self.length() };
        (0..length).map(|_| element(self)).collect()
    }

    /// The same list in their form and in ours.
    pub(super) fn pairs<T, O>(&mut self, element: impl FnMut(&mut Self) -> (T, O)) -> (Vec<T>, Vec<O>) {
        self.list(element).into_iter().unzip()
    }
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn maybe(text: Option<&String>) -> Option<StrBytes> {
    text.map(|some| StrBytes::from_string(some.clone()))
}

pub(super) fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

pub(super) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}
