//! Every input of the corpus keeps every promise, and the row reader rejects malformed rows.

use std::path::Path;

use sluice_fuzz::TARGETS;
use sluice_fuzz::rows::RowReader;
use sluice_fuzz::types::parse;

#[test]
fn every_corpus_input_passes() {
    for (target, check) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        let inputs: Vec<_> = std::fs::read_dir(&folder).expect("a corpus for each target").collect();
        assert!(!inputs.is_empty(), "{target}");
        for input in inputs {
            let path = input.expect("a readable folder").path();
            let input = std::fs::read(&path).expect("a readable input");
            let checked = std::panic::catch_unwind(|| check(&input));
            assert!(checked.is_ok(), "{}", path.display());
        }
    }
}

/// The negative control: rows that no decoder may produce.
#[test]
fn the_reader_rejects_malformed_rows() {
    let read = |column_type: &str, row: &[u8]| {
        let mut reader = RowReader(row);
        reader.value(&parse(column_type).expect("a type")).map(|_| reader.0.len())
    };
    for (column_type, row) in [
        ("String", &b"\x02a"[..]),
        ("String", b"\x01\xff"),
        ("Bool", b"\x02"),
        ("Nullable(UInt8)", b"\x02"),
        ("Enum8('a' = 1)", b"\x02"),
        ("Decimal(2, 0)", b"\x64\0\0\0"),
        ("Float32", b"\0\0\x80\x7f"),
        ("JSON", b"\x02[]"),
        ("Map(UInt8, Bool)", b"\x02\x01\0\x01\x01"),
        ("Array(UInt16)", b"\x02\0\0\0"),
        ("DateTime64(0)", b"\xff\xff\xff\xff\xff\xff\xff\x7f"),
    ] {
        assert!(read(column_type, row).is_err(), "{column_type} {row:?}");
    }
    assert_eq!(read("Tuple(a UInt8, Array(String))", b"\x07\x01\x01x"), Ok(0));
    assert_eq!(read("Decimal(2, 0)", b"\x63\0\0\0!"), Ok(1));
}
