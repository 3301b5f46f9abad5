//! Distinguishes a decoder from one that would produce other rows of the same records: a canonical text and its hash.
//! The text has its own format, written out below, without names of types or fields of this program. So renaming one
//! never makes the next owner of a partition look up rows that are already in the table.
//!
//! Changing the format, or the row that a record becomes, causes one lookup of every announced range after the deploy.
//! That is safe but slow; the snapshot below fails to prevent it from happening by accident.

use xxhash_rust::xxh3::xxh3_64;

use super::decoder::{Decoder, VERSION};
use crate::clickhouse::quoting::{quote_identifier, quote_string};
use crate::clickhouse::types::{Decimal, Type};

impl Decoder {
    /// The hash of [`Decoder::canonical`]; stored with committed offsets.
    pub fn fingerprint(&self) -> u64 {
        xxh3_64(self.canonical().as_bytes())
    }

    /// The version of the code, the limits, the tenant's field, the month's column, and each column's field, type and
    /// whether it has a default.
    fn canonical(&self) -> String {
        let limits = &self.limits;
        let mut text = format!(
            "decoder {VERSION}\nrecord {} string {} depth {} keys {}\n",
            limits.record, limits.string, limits.depth, limits.keys
        );
        let paths = self.fields.paths();
        let path_of = |slot: usize| paths.iter().find(|(known, _)| *known == slot).map_or("", |(_, path)| path);
        text.extend(self.tenant.map(|slot| format!("tenant {}\n", quote_identifier(path_of(slot)))));
        text.extend(self.month.map(|column| format!("month {column}\n")));
        text.extend(self.columns.iter().map(|column| {
            let default = if column.has_default { " default" } else { "" };
            format!("{} {}{default}\n", quote_identifier(path_of(column.slot)), name(&column.value_type))
        }));
        text
    }
}

/// A type, without parameters that do not affect its values.
fn name(column_type: &Type) -> String {
    match column_type {
        Type::Uuid => "UUID".to_owned(),
        Type::String => "String".to_owned(),
        Type::FixedString(length) => format!("FixedString({length})"),
        Type::Signed(width) => format!("Int{}", 8 * width.bytes()),
        Type::Unsigned(width) => format!("UInt{}", 8 * width.bytes()),
        Type::Float32 => "Float32".to_owned(),
        Type::Float64 => "Float64".to_owned(),
        Type::Decimal(Decimal { precision, scale }) => format!("Decimal({precision}, {scale})"),
        Type::Bool => "Bool".to_owned(),
        Type::Date => "Date".to_owned(),
        Type::Date32 => "Date32".to_owned(),
        Type::DateTime => "DateTime".to_owned(),
        Type::DateTime64(decimals) => format!("DateTime64({decimals})"),
        Type::Enum8(words) => {
            format!("Enum8({})", join(words, |(word, number)| format!("{} = {number}", quote_string(word))))
        }
        Type::Enum16(words) => {
            format!("Enum16({})", join(words, |(word, number)| format!("{} = {number}", quote_string(word))))
        }
        Type::Ipv4 => "IPv4".to_owned(),
        Type::Ipv6 => "IPv6".to_owned(),
        Type::Json => "JSON".to_owned(),
        Type::Nullable(inner) => format!("Nullable({})", name(inner)),
        Type::Array(inner) => format!("Array({})", name(inner)),
        Type::Map(column_type) => format!("Map({}, {})", name(&column_type.0), name(&column_type.1)),
        Type::Tuple(elements) => {
            format!(
                "Tuple({})",
                join(elements, |(element, column_type)| format!("{} {}", quote_identifier(element), name(column_type)))
            )
        }
    }
}

fn join<T>(items: &[T], item: impl Fn(&T) -> String) -> String {
    items.iter().map(item).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::table::{plan, tests::shape};
    use super::*;
    use crate::config::Pipeline;

    fn decoder(columns: &[(&str, &str, &str)], change: impl Fn(&mut Pipeline)) -> Decoder {
        let paths = [("place".to_owned(), "details.place".to_owned())].into();
        let mut pipeline = Pipeline { table: "t".to_owned(), columns: paths, ..Pipeline::default() };
        change(&mut pipeline);
        plan("a-topic", &pipeline, &shape(columns)).unwrap().decoder
    }

    const COLUMNS: [(&str, &str, &str); 12] = [
        ("tenant_id", "UUID", ""),
        ("timestamp", "DateTime64(3, 'UTC')", ""),
        ("place", "LowCardinality(String)", ""),
        ("fixed", "Nullable(FixedString(3))", ""),
        ("number", "UInt128", "DEFAULT"),
        ("small", "Int8", ""),
        ("price", "Array(Decimal(9, 2))", ""),
        ("word", r"Enum8('line\nbreak' = 1, 'it\'s' = -2)", ""),
        ("wide", "Enum16('a' = 1000)", ""),
        ("map", "Map(DateTime('Europe/Berlin'), Tuple(`a b` Float32, `c` Bool))", ""),
        ("pair", "Tuple(IPv4, Nullable(IPv6))", ""),
        ("document", "JSON(max_dynamic_paths=8)", ""),
    ];

    /// If a change must make this test fail, state in the changelog that ranges are looked up once after the upgrade.
    #[test]
    fn the_text_and_its_hash_do_not_change() {
        let decoder = decoder(&COLUMNS, |_| {});
        insta::assert_snapshot!(decoder.canonical(), @r"
        decoder 3
        record 1048576 string 262144 depth 32 keys 512
        tenant `tenant_id`
        month 1
        `tenant_id` UUID
        `timestamp` DateTime64(3)
        `details.place` String
        `fixed` Nullable(FixedString(3))
        `number` UInt128 default
        `small` Int8
        `price` Array(Decimal(9, 2))
        `word` Enum8('line\nbreak' = 1, 'it\'s' = -2)
        `wide` Enum16('a' = 1000)
        `map` Map(DateTime, Tuple(`a b` Float32, `c` Bool))
        `pair` Tuple(`` IPv4, `` Nullable(IPv6))
        `document` JSON
        ");
        insta::assert_snapshot!(format!("{:016x}", decoder.fingerprint()), @"1500bc4fad452f89");
    }

    #[test]
    fn it_depends_only_on_what_affects_rows() {
        let original = decoder(&COLUMNS, |_| {}).fingerprint();
        let other = |change: fn(&mut Pipeline)| decoder(&COLUMNS, change).fingerprint();
        assert_eq!(original, other(|pipeline| pipeline.max_rows = 7), "batch sizes do not affect rows");
        assert_ne!(original, other(|pipeline| pipeline.limits.depth = 7));
        assert_ne!(original, other(|pipeline| pipeline.tenant = "tenant".to_owned()));
        assert_ne!(original, other(|pipeline| drop(pipeline.columns.insert("small".to_owned(), "x".to_owned()))));
        let mut columns = COLUMNS;
        columns[1].1 = "DateTime64(3)";
        assert_eq!(
            original,
            decoder(&columns, |_| {}).fingerprint(),
            "a time zone only affects how a value is displayed"
        );
        columns[7].1 = r"Enum8('linenbreak' = 1, 'it\'s' = -2)";
        assert_ne!(original, decoder(&columns, |_| {}).fingerprint());
    }

    /// `Debug` output contains names of types and fields, which a deploy may change.
    #[test]
    fn it_contains_no_name_of_this_program() {
        let source = include_str!("canonical.rs");
        let debug = [":", "?"].concat();
        assert!(!source.contains(&debug), "write out what is hashed");
        let text = decoder(&COLUMNS, |_| {}).canonical();
        for name in ["Signed", "W128", "Uuid", "Ipv4", "slot", "has_default", "Limits", "Some", "None"] {
            assert!(!text.contains(name), "{name}");
        }
    }
}
