//! One look over a text that finds where a shape may begin: a table of four-byte hashes of the catalogue's words.
//!
//! The table is made at compile time, so that a process that lives for milliseconds pays nothing for it; only the list
//! of who stands behind a hash is made when the first one is met. A word of three bytes is entered with every byte that
//! may follow it. Case is folded by one bit, which is coarse and only ever finds too much: whoever is asked compares.

/// A set of hashes: one bit each.
pub(super) type Bits = [u64; 1024];

/// Folds ASCII case; other bytes may fall together, which costs a look and hides nothing.
const fn fold(byte: u8) -> u32 {
    (byte | 0x20) as u32
}

const fn hash(gram: u32) -> u16 {
    (gram.wrapping_mul(0x9E37_79B1) >> 16) as u16
}

/// What may stand behind a word of three bytes.
const AFTER: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789_-.:=/\\\"'` %*<>$[{(!~+#&@,;|^?\t\n\r])}";

/// Adds a word's hashes. Words shorter than three bytes are none.
#[allow(clippy::indexing_slicing)] // evaluated at compile time for the catalogue, and within bounds by its own tests
pub(super) const fn add(bits: &mut Bits, word: &[u8]) {
    if word.len() == 3 {
        let mut i = 0;
        while i < AFTER.len() {
            set(bits, gram(word, AFTER[i]));
            i += 1;
        }
    } else if word.len() > 3 {
        set(bits, gram(word, word[3]));
    }
}

#[allow(clippy::indexing_slicing)] // at least three bytes, as its callers look first
const fn gram(word: &[u8], last: u8) -> u16 {
    hash(fold(word[0]) | fold(word[1]) << 8 | fold(word[2]) << 16 | fold(last) << 24)
}

#[allow(clippy::indexing_slicing)] // 65 536 bits for a hash of 16
const fn set(bits: &mut Bits, hash: u16) {
    bits[(hash >> 6) as usize] |= 1 << (hash & 63);
}

/// Who stands behind each hash.
#[derive(Clone, Debug)]
pub(super) struct Index<T> {
    /// By hash.
    entries: Vec<(u16, T)>,
    /// Where the entries of each sixteen hashes begin.
    starts: Vec<u16>,
}

impl<T: Copy> Index<T> {
    /// Lists words, each with its owner.
    pub(super) fn new<'a>(words: impl Iterator<Item = (&'a [u8], T)>) -> Index<T> {
        let mut entries = Vec::new();
        for (word, owner) in words {
            match word {
                [_, _, _] => entries.extend(AFTER.iter().map(|after| (gram(word, *after), owner))),
                [_, _, _, last, ..] => entries.push((gram(word, *last), owner)),
                _ => {}
            }
        }
        // Counted into place: a process that lives for milliseconds makes this on its first candidate.
        let mut starts = vec![0u16; 4_097];
        let slot = |hash: u16| usize::from(hash >> 4);
        for (hash, _) in &entries {
            if let Some(count) = starts.get_mut(slot(*hash) + 1) {
                *count = count.saturating_add(1);
            }
        }
        let mut sum = 0u16;
        for start in &mut starts {
            sum = sum.saturating_add(*start);
            *start = sum;
        }
        let mut next = starts.clone();
        let mut placed = entries.clone();
        for entry in entries {
            if let Some(at) = next.get_mut(slot(entry.0)) {
                if let Some(place) = placed.get_mut(usize::from(*at)) {
                    *place = entry;
                }
                *at = at.saturating_add(1);
            }
        }
        let entries = placed;
        Index { entries, starts }
    }

    /// The owners of a hash.
    pub(super) fn owners(&self, hash: u16) -> impl Iterator<Item = T> + '_ {
        let slot = usize::from(hash >> 4);
        let start = |slot: usize| self.starts.get(slot).map_or(0, |s| usize::from(*s));
        let part = self.entries.get(start(slot)..start(slot + 1)).unwrap_or_default();
        part.iter().filter(move |(h, _)| *h == hash).map(|(_, owner)| *owner)
    }
}

/// Walks a text and asks at every place whose four bytes are in the table. The answer may be a place to go on at.
#[inline]
pub(super) fn walk(text: &[u8], bits: &Bits, mut ask: impl FnMut(usize, u16) -> Option<usize>) {
    let mut from = 0;
    'anew: loop {
        let Some(rest) = text.get(from..) else { return };
        for (i, four) in rest.windows(4).enumerate() {
            let [a, b, c, d] = *four else { continue };
            // Loaded at once: a gram that is moved on byte by byte would make each step wait for the one before it.
            let hash = hash(u32::from_le_bytes([a, b, c, d]) | 0x2020_2020);
            let found = bits.get(usize::from(hash >> 6)).is_some_and(|word| word >> (hash & 63) & 1 == 1);
            if found
                && let Some(next) = ask(from + i, hash)
                && next > from + i
            {
                from = next;
                continue 'anew;
            }
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whatever_their_case_and_length() {
        let words: [&[u8]; 3] = [b"token", b"sk-", b"://"];
        let mut bits = [0; 1024];
        words.iter().for_each(|word| add(&mut bits, word));
        let index = Index::new(words.iter().copied().zip(0u8..));
        let text = b"a ToKeN, sk-a and x://y; not tok sk";
        let mut found = Vec::new();
        walk(text, &bits, |at, hash| {
            found.extend(index.owners(hash).map(|owner| (at, owner)));
            None
        });
        assert_eq!(found, [(2, 0), (9, 1), (19, 2)]);
    }

    #[test]
    fn an_answer_is_where_it_goes_on() {
        let mut bits = [0; 1024];
        add(&mut bits, b"aaaa");
        let mut seen = Vec::new();
        walk(&[b'a'; 12], &bits, |at, _| {
            seen.push(at);
            Some(at + 5)
        });
        assert_eq!(seen, [0, 5]);
    }
}
