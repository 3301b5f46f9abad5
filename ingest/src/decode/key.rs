//! A mapped key as producers write it, compared in one step.
//! For each record, it decides whether a text begins with that key. It never unescapes: a key with other escapes does
//! not match.

/// A key with its quotes and colon, laid out for a fast comparison.
#[derive(Debug, Clone)]
pub(super) struct Key {
    text: Vec<u8>,
    /// First bytes of the key, and a mask of the bits that belong to it.
    head: u128,
    mask: u128,
}

impl Key {
    const HEAD: usize = size_of::<u128>();

    pub(super) fn new(name: &str) -> Self {
        let text = format!("{}:", serde_json::Value::from(name)).into_bytes();
        let mut head = [0; Self::HEAD];
        head.iter_mut().zip(&text).for_each(|(head, byte)| *head = *byte);
        let mask = u128::MAX >> (8 * Self::HEAD.saturating_sub(text.len()));
        Self { text, head: u128::from_le_bytes(head), mask }
    }

    /// Whether a text begins with exactly this key.
    pub(super) fn is_prefix_of(&self, text: &[u8]) -> bool {
        let Some((head, rest)) = text.split_first_chunk() else { return text.starts_with(&self.text) };
        (u128::from_le_bytes(*head) ^ self.head) & self.mask == 0
            && self.text.get(Self::HEAD..).is_none_or(|tail| rest.starts_with(tail))
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_matches_exactly_its_own_prefix(name in "[ab\"\u{e4}]{0,20}", other in "[ab\"]{0,20}", cut in 0_usize..50) {
            let key = Key::new(&name);
            for text in [format!("{}:1", serde_json::Value::from(name.as_str())), format!("\"{other}\": {name}")] {
                for text in [text.as_bytes(), &text.as_bytes()[..cut.min(text.len())]] {
                    prop_assert_eq!(key.is_prefix_of(text), text.starts_with(&key.text));
                }
            }
        }
    }
}
