//! Decides what a dead letter omits if its topic rejects the complete letter: as little as possible, the payload before
//! the headers, and the headers before the key. A part is omitted as a whole, never truncated.

/// Parts of a record that its dead letter omits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Omitted {
    /// The payload.
    pub payload: bool,
    /// The record's own headers.
    pub headers: bool,
    /// The key.
    pub key: bool,
}

/// Sizes of a record's parts, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) payload: usize,
    pub(super) headers: usize,
    pub(super) key: usize,
}

impl Sizes {
    fn remaining(self, without: Omitted) -> usize {
        let part = |bytes, is_omitted| if is_omitted { 0 } else { bytes };
        part(self.payload, without.payload) + part(self.headers, without.headers) + part(self.key, without.key)
    }
}

/// The variants of a letter to try once the complete letter was rejected, from the least omitted to the most. The three
/// parts together may take at most `room` bytes. A part that alone exceeds `room` is always omitted; this does not by
/// itself omit the parts before it in the order.
pub(super) fn variants(sizes: Sizes, room: usize) -> Vec<Omitted> {
    let mut without = Omitted { payload: sizes.payload > room, headers: sizes.headers > room, key: sizes.key > room };
    let mut variants = Vec::new();
    if sizes.remaining(without) <= room {
        variants.push(without);
    }
    let steps: [fn(&mut Omitted); 3] =
        [|without| without.payload = true, |without| without.headers = true, |without| without.key = true];
    for step in steps {
        step(&mut without);
        if sizes.remaining(without) <= room {
            variants.push(without);
        }
    }
    // A variant that omits nothing more than the previous one would be rejected too.
    let mut previous = sizes.remaining(Omitted::default());
    variants.retain(|variant| std::mem::replace(&mut previous, sizes.remaining(*variant)) != sizes.remaining(*variant));
    variants
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tried_variants(payload: usize, headers: usize, key: usize, room: usize) -> Vec<String> {
        let label = |variant: &Omitted| {
            let parts = [(variant.payload, "payload"), (variant.headers, "headers"), (variant.key, "key")];
            parts.iter().filter(|(is_omitted, _)| *is_omitted).map(|(_, part)| *part).collect::<Vec<_>>().join("+")
        };
        variants(Sizes { payload, headers, key }, room).iter().map(label).collect()
    }

    #[test]
    fn the_payload_is_omitted_first_and_the_key_last() {
        let all = ["payload", "payload+headers", "payload+headers+key"];
        assert_eq!(tried_variants(900, 50, 50, usize::MAX), all, "the limit is not known");
        assert_eq!(tried_variants(900, 50, 50, 100), all);
        assert_eq!(
            tried_variants(90, 90, 50, 100),
            ["payload+headers", "payload+headers+key"],
            "omitting the payload is not enough"
        );
    }

    #[test]
    fn a_part_that_never_fits_is_omitted_alone() {
        assert_eq!(tried_variants(10, 10, 101, 100), ["key", "payload+key", "payload+headers+key"]);
        assert_eq!(tried_variants(10, 101, 10, 100)[0], "headers");
        assert_eq!(tried_variants(60, 10, 101, 50)[0], "payload+key");
    }

    #[test]
    fn absent_parts_add_no_variants() {
        assert_eq!(tried_variants(0, 0, 50, usize::MAX), ["payload+headers+key"]);
        assert_eq!(tried_variants(0, 0, 0, usize::MAX), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn each_variant_is_smaller_and_fits_and_the_last_is_empty(
            payload in 0_usize..300, headers in 0_usize..300, key in 0_usize..300, room in prop_oneof![Just(usize::MAX), 0_usize..300]
        ) {
            let sizes = Sizes { payload, headers, key };
            let mut previous = payload + headers + key;
            let variants = variants(sizes, room);
            for variant in &variants {
                prop_assert!(sizes.remaining(*variant) < previous && sizes.remaining(*variant) <= room);
                previous = sizes.remaining(*variant);
            }
            prop_assert!(previous == 0 || variants.is_empty() && sizes.remaining(Omitted::default()) == 0);
        }
    }
}
