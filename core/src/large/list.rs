//! Lists in chunks, as upstream keeps the transports of a node: a JSON array of at most 200
//! elements at the list's salt, the following ones at `SALT:1`, `SALT:2` and so on. Chunk n has the
//! sequence of the first chunk plus n, so chunks of two versions are never mistaken for one list.

use alloc::format;
use alloc::vec::Vec;

use crate::item::{MAX_VALUE_LEN, Salt, Seq};

/// Maximum number of elements in a chunk (upstream's number).
pub const MAX_ELEMENTS: usize = 200;
/// Maximum number of chunks of a list.
pub const MAX_LIST_CHUNKS: u16 = 256;

/// Why a text cannot be put as a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// The text is not a JSON array.
    #[error("not a JSON array: write [ELEMENT, …]")]
    NotAnArray,
    /// An element does not fit into an item.
    #[error("element {0} takes more than the 65,536 bytes of an item")]
    ElementTooLarge(usize),
    /// The list needs too many chunks.
    #[error("a list has at most {MAX_LIST_CHUNKS} chunks of {MAX_ELEMENTS} elements")]
    TooLong,
}

/// Why chunks cannot be joined to a list.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The chunks belong to several versions: the list is being replaced, or a replacement was
    /// interrupted.
    #[error(
        "chunk {0} is of another version than the first: read again, or have the list put again"
    )]
    Mixed(u16),
    /// A chunk is not a JSON array.
    #[error("chunk {0} is not a JSON array")]
    NotAnArray(u16),
}

/// The salt of chunk `n` of a list.
#[must_use]
pub fn chunk_salt(list: &Salt, n: u16) -> Salt {
    if n == 0 {
        return list.clone();
    }
    let mut salt = list.as_bytes().to_vec();
    salt.extend_from_slice(format!(":{n}").as_bytes());
    Salt::new(&salt)
}

/// The sequence of chunk `n` of a list whose first chunk has `first`.
#[must_use]
pub const fn chunk_seq(first: Seq, n: u16) -> Seq {
    Seq(first.0.saturating_add(n as u64))
}

/// The elements of a JSON array, as written; `None` if it is not an array. Only brackets, quotes
/// and commas are examined, so elements need not be valid JSON.
#[must_use]
pub fn elements(array: &[u8]) -> Option<Vec<&[u8]>> {
    let inner = array.trim_ascii().strip_prefix(b"[")?.strip_suffix(b"]")?;
    if inner.trim_ascii().is_empty() {
        return Some(Vec::new());
    }
    let (mut elements, mut begin) = (Vec::new(), 0);
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in inner.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                elements.push(&inner[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    elements.push(&inner[begin..]);
    let whole = depth == 0 && !quoted && elements.iter().all(|it| !it.trim_ascii().is_empty());
    whole.then(|| elements.iter().map(|it| it.trim_ascii()).collect())
}

/// Splits a list into chunks, at least one.
///
/// # Errors
/// [`ListError`].
pub fn split(array: &[u8]) -> Result<Vec<Vec<u8>>, ListError> {
    let elements = elements(array).ok_or(ListError::NotAnArray)?;
    let mut chunks = Vec::new();
    let (mut chunk, mut count) = (Vec::from(*b"["), 0);
    for (n, element) in elements.into_iter().enumerate() {
        if element.len() + 2 > MAX_VALUE_LEN {
            return Err(ListError::ElementTooLarge(n));
        }
        // The comma before the element and the closing bracket.
        if count == MAX_ELEMENTS || chunk.len() + element.len() + 2 > MAX_VALUE_LEN {
            chunk.push(b']');
            chunks.push(core::mem::replace(&mut chunk, Vec::from(*b"[")));
            count = 0;
        }
        if count > 0 {
            chunk.push(b',');
        }
        chunk.extend_from_slice(element);
        count += 1;
    }
    chunk.push(b']');
    chunks.push(chunk);
    if chunks.len() > usize::from(MAX_LIST_CHUNKS) {
        return Err(ListError::TooLong);
    }
    Ok(chunks)
}

/// Joins the chunks of a list, in order.
#[derive(Clone, Debug, Default)]
pub struct Joiner {
    first: Option<Seq>,
    next: u16,
    /// Whether the last chunk was full.
    full: bool,
    text: Vec<u8>,
}

impl Joiner {
    /// Number of the next chunk.
    #[must_use]
    pub const fn next(&self) -> u16 {
        self.next
    }

    /// Takes the next chunk, or `None` if it does not exist. Returns whether another chunk is
    /// needed.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn push(&mut self, chunk: Option<(Seq, &[u8])>) -> Result<bool, JoinError> {
        let n = self.next;
        let first = chunk.map(|(seq, _)| *self.first.get_or_insert(seq));
        let expected = first.map(|first| chunk_seq(first, n));
        let found = match chunk {
            // Go writes `null` for no elements.
            Some((_, b"null" | b"{}" | b"")) => Some(Vec::new()),
            Some((_, text)) => Some(elements(text).ok_or(JoinError::NotAnArray(n))?),
            None => None,
        };
        let seq = chunk.map(|(seq, _)| seq);
        match found {
            // Chunks of an older version may follow the end.
            Some(_) if seq < expected && !self.full => Ok(false),
            Some(_) if seq != expected => Err(JoinError::Mixed(n)),
            // As in upstream, a missing chunk ends the list: nothing else states the number of
            // chunks.
            None => Ok(false),
            Some(found) => {
                for element in &found {
                    if !self.text.is_empty() {
                        self.text.push(b',');
                    }
                    self.text.extend_from_slice(element);
                }
                self.full = found.len() >= MAX_ELEMENTS;
                self.next += 1;
                Ok(!found.is_empty() && self.next < MAX_LIST_CHUNKS)
            }
        }
    }

    /// The whole list; `None` if not even its first chunk exists.
    #[must_use]
    pub fn finish(self) -> Option<Vec<u8>> {
        self.first?;
        let mut text = Vec::with_capacity(self.text.len() + 2);
        text.push(b'[');
        text.extend_from_slice(&self.text);
        text.push(b']');
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use quickcheck::quickcheck;

    fn joined(chunks: &[(u64, Vec<u8>)]) -> Result<Option<Vec<u8>>, JoinError> {
        let mut joiner = Joiner::default();
        loop {
            let n = usize::from(joiner.next());
            let chunk = chunks
                .get(n)
                .map(|(seq, text)| (Seq(*seq), text.as_slice()));
            if !joiner.push(chunk)? {
                return Ok(joiner.finish());
            }
        }
    }

    fn numbers(n: usize) -> Vec<u8> {
        let numbers: Vec<String> = (0..n).map(|n| format!("{{\"n\":{n}}}")).collect();
        format!("[{}]", numbers.join(",")).into_bytes()
    }

    fn with_seqs(base: u64, chunks: Vec<Vec<u8>>) -> Vec<(u64, Vec<u8>)> {
        (base..).zip(chunks).collect()
    }

    #[test]
    fn two_hundred_elements_are_one_chunk_and_salts_are_upstreams() {
        for (n, chunks) in [(0, 1), (1, 1), (200, 1), (201, 2), (2_000, 10)] {
            let chunks_of = split(&numbers(n)).unwrap();
            assert_eq!(chunks_of.len(), chunks, "{n}");
            assert_eq!(joined(&with_seqs(5, chunks_of)), Ok(Some(numbers(n))));
        }
        assert_eq!(chunk_salt(&Salt::from("tp"), 0), Salt::from("tp"));
        assert_eq!(chunk_salt(&Salt::from("tp"), 12), Salt::from("tp:12"));
    }

    #[test]
    fn what_is_no_array_or_does_not_fit_is_an_error() {
        for text in ["", "{}", "null", "[1", "[1]]", "[,]", "[1,]", "[\"]", "[}]"] {
            assert_eq!(split(text.as_bytes()), Err(ListError::NotAnArray), "{text}");
        }
        let long = format!("[1,\"{}\"]", "x".repeat(MAX_VALUE_LEN));
        assert_eq!(split(long.as_bytes()), Err(ListError::ElementTooLarge(1)));
        let many = numbers(MAX_ELEMENTS * usize::from(MAX_LIST_CHUNKS) + 1);
        assert_eq!(split(&many), Err(ListError::TooLong));
        assert_eq!(elements(br#"["a,]\"", [1,2] ,{"b":[]}]"#).unwrap().len(), 3);
    }

    #[test]
    fn chunks_of_two_versions_are_no_list_and_what_is_left_of_an_older_one_is_no_part() {
        let old = with_seqs(10, split(&numbers(2_000)).unwrap());
        let new = with_seqs(1_000, split(&numbers(450)).unwrap());
        // The list has shrunk; the chunks after its end are not overwritten.
        let mut shrunk = old.clone();
        shrunk[..3].clone_from_slice(&new);
        assert_eq!(joined(&shrunk), Ok(Some(numbers(450))));
        // The replacement is in progress: any subset of the chunks is new.
        for first in 1..3 {
            let mut mixed = old.clone();
            mixed[..first].clone_from_slice(&new[..first]);
            assert!(
                matches!(joined(&mixed), Err(JoinError::Mixed(_))),
                "{first}"
            );
            let mut mixed = old.clone();
            mixed[first..3].clone_from_slice(&new[first..]);
            assert!(
                matches!(joined(&mixed), Err(JoinError::Mixed(_))),
                "{first}"
            );
        }
        assert_eq!(joined(&[]), Ok(None));
        for empty in ["[]", "null", "{}"] {
            let chunks = [(1, empty.as_bytes().to_vec()), (2, b"[1]".to_vec())];
            assert_eq!(joined(&chunks), Ok(Some(b"[]".to_vec())));
        }
    }

    quickcheck! {
        fn what_is_split_joins_to_the_same_elements(lengths: Vec<u16>) -> bool {
            let texts: Vec<String> = lengths
                .iter()
                .map(|n| format!("\"{}\"", "e".repeat(usize::from(*n) % 9_000)))
                .collect();
            let whole = format!("[{}]", texts.join(",")).into_bytes();
            let chunks = split(&whole).unwrap();
            let fit = chunks.iter().all(|chunk| chunk.len() <= MAX_VALUE_LEN);
            fit && joined(&with_seqs(1, chunks)) == Ok(Some(whole))
        }

        fn any_bytes_are_split_or_refused_without_panic(bytes: Vec<u8>) -> bool {
            let mut array = Vec::from(*b"[");
            array.extend_from_slice(&bytes);
            array.push(b']');
            [bytes, array]
                .iter()
                .all(|text| elements(text).is_none_or(|found| found.len() <= text.len()))
        }
    }
}
