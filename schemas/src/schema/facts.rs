//! Facts about a store, `object -> definition`: its catalog compared with the schema files.
//! This module performs no I/O; the modules in [`crate::schema`] read the catalogs.

use std::collections::BTreeMap;

use crate::schema::drift::{ABSENT, Drift};
use crate::store::Store;

/// Objects and their definitions.
pub(crate) type Facts = BTreeMap<String, String>;

/// Reads lines of `object`, tab, `definition`.
pub(crate) fn parse(text: &str) -> Facts {
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(object, definition)| (object.to_owned(), definition.to_owned()))
        .collect()
}

/// Every object that is missing, altered or extra.
pub(crate) fn compare(store: Store, expected: &Facts, found: &Facts) -> Vec<Drift> {
    let differing = expected.iter().filter(|(object, definition)| found.get(*object) != Some(definition));
    let differing = differing.map(|(object, definition)| {
        Drift::new(store, object, definition, found.get(object).map_or(ABSENT, String::as_str))
    });
    let extra = found.iter().filter(|(object, _)| !expected.contains_key(*object));
    differing.chain(extra.map(|(object, definition)| Drift::new(store, object, ABSENT, definition))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_altered_and_extra_objects_are_each_reported_once() {
        let expected = parse("a\t1\nb\t2\nc\t3\n");
        let found = parse("a\t1\nb\t9\nd\t4\n");
        let drift: Vec<_> = compare(Store::Kafka, &expected, &found)
            .into_iter()
            .map(|drift| format!("{} {} {}", drift.object, drift.expected, drift.found))
            .collect();
        assert_eq!(drift, ["b 2 9", "c 3 nothing", "d nothing 4"]);
    }

    proptest::proptest! {
        #[test]
        fn drift_is_the_symmetric_difference(
            expected in proptest::collection::btree_map("[a-d]", "[12]", 0..4),
            found in proptest::collection::btree_map("[a-d]", "[12]", 0..4),
        ) {
            let objects: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
            let differing: Vec<_> =
                objects.into_iter().filter(|object| expected.get(*object) != found.get(*object)).cloned().collect();
            let mut drift: Vec<_> =
                compare(Store::Kafka, &expected, &found).into_iter().map(|drift| drift.object).collect();
            drift.sort();
            proptest::prop_assert_eq!(drift, differing);
        }
    }
}
