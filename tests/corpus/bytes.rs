//! A script as bytes: each choice takes the next of them, and the script ends with the last.

pub(crate) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u8) -> Option<u8> {
        Some(self.next()? % bound)
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u8) -> Option<bool> {
        Some(self.below(n)? == n - 1)
    }
}
