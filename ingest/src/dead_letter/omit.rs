//! What a dead letter leaves out when its topic does not take it whole: only what it has to, the payload before the headers
//! and those before the key. Sizes go in, the ways to send it come out, in the order in which they are tried. Pure.

/// Parts of a record that its dead letter goes without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Omitted {
    /// Its payload.
    pub payload: bool,
    /// Its own headers.
    pub headers: bool,
    /// Its key.
    pub key: bool,
}

/// Bytes of a record's parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) payload: usize,
    pub(super) headers: usize,
    pub(super) key: usize,
}

impl Sizes {
    fn left(self, without: Omitted) -> usize {
        let part = |bytes, is_out| if is_out { 0 } else { bytes };
        part(self.payload, without.payload) + part(self.headers, without.headers) + part(self.key, without.key)
    }
}

/// How to send a letter that was refused whole, from the least that is left out to the most. `room` is what its topic has
/// for the three parts at most. What alone is larger than that goes in any case, however little the parts
/// before it in the order would save.
pub(super) fn ways(sizes: Sizes, room: usize) -> Vec<Omitted> {
    let mut without = Omitted { payload: sizes.payload > room, headers: sizes.headers > room, key: sizes.key > room };
    let mut ways = Vec::new();
    if sizes.left(without) <= room {
        ways.push(without);
    }
    let steps: [fn(&mut Omitted); 3] =
        [|without| without.payload = true, |without| without.headers = true, |without| without.key = true];
    for step in steps {
        step(&mut without);
        if sizes.left(without) <= room {
            ways.push(without);
        }
    }
    // One that leaves out nothing more than the one before it would be refused like that one.
    let mut sent = sizes.left(Omitted::default());
    ways.retain(|way| std::mem::replace(&mut sent, sizes.left(*way)) != sizes.left(*way));
    ways
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tried(payload: usize, headers: usize, key: usize, room: usize) -> Vec<String> {
        let word = |way: &Omitted| {
            let parts = [(way.payload, "payload"), (way.headers, "headers"), (way.key, "key")];
            parts.iter().filter(|(is_out, _)| *is_out).map(|(_, part)| *part).collect::<Vec<_>>().join("+")
        };
        ways(Sizes { payload, headers, key }, room).iter().map(word).collect()
    }

    #[test]
    fn the_payload_goes_first_and_the_key_last() {
        let all = ["payload", "payload+headers", "payload+headers+key"];
        assert_eq!(tried(900, 50, 50, usize::MAX), all, "the limit is not known");
        assert_eq!(tried(900, 50, 50, 100), all);
        assert_eq!(tried(90, 90, 50, 100), ["payload+headers", "payload+headers+key"], "the payload does not do");
    }

    #[test]
    fn a_part_that_can_never_fit_takes_no_other_with_it() {
        assert_eq!(tried(10, 10, 101, 100), ["key", "payload+key", "payload+headers+key"]);
        assert_eq!(tried(10, 101, 10, 100)[0], "headers");
        assert_eq!(tried(60, 10, 101, 50)[0], "payload+key");
    }

    #[test]
    fn what_is_not_there_is_not_left_out_in_a_try_of_its_own() {
        assert_eq!(tried(0, 0, 50, usize::MAX), ["payload+headers+key"]);
        assert_eq!(tried(0, 0, 0, usize::MAX), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn each_try_is_smaller_and_fits_and_the_last_has_nothing(
            payload in 0_usize..300, headers in 0_usize..300, key in 0_usize..300, room in prop_oneof![Just(usize::MAX), 0_usize..300]
        ) {
            let sizes = Sizes { payload, headers, key };
            let mut sent = payload + headers + key;
            let ways = ways(sizes, room);
            for way in &ways {
                prop_assert!(sizes.left(*way) < sent && sizes.left(*way) <= room);
                sent = sizes.left(*way);
            }
            prop_assert!(sent == 0 || ways.is_empty() && sizes.left(Omitted::default()) == 0);
        }
    }
}
