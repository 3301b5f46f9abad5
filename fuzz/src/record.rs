//! Records for two tables. The first has a column of every type, all with a default except the time, so that short inputs are
//! accepted; in the second, no column has a default.

use std::cell::RefCell;

use bytesize::ByteSize;
use sluice_ingest::config::{Limits, Pipeline};

use crate::table::{Described, Table};

/// Columns of every type, and of nested types.
const EVERY_TYPE: &[Described<'_>] = &[
    ("timestamp", "DateTime64(3, 'UTC')", ""),
    ("id", "UUID", "DEFAULT"),
    ("s", "String", "DEFAULT"),
    ("lc", "LowCardinality(Nullable(String))", "DEFAULT"),
    ("fixed", "FixedString(4)", "DEFAULT"),
    ("i8", "Int8", "DEFAULT"),
    ("i16", "Int16", "DEFAULT"),
    ("i32", "Int32", "DEFAULT"),
    ("i64", "Int64", "DEFAULT"),
    ("i128", "Int128", "DEFAULT"),
    ("u8", "UInt8", "DEFAULT"),
    ("u16", "UInt16", "DEFAULT"),
    ("u32", "UInt32", "DEFAULT"),
    ("u64", "UInt64", "DEFAULT"),
    ("u128", "UInt128", "DEFAULT"),
    ("f32", "Float32", "DEFAULT"),
    ("f64", "Nullable(Float64)", "DEFAULT"),
    ("d9", "Decimal(9, 2)", "DEFAULT"),
    ("d18", "Nullable(Decimal(18, 4))", "DEFAULT"),
    ("d38", "Decimal(38, 10)", "DEFAULT"),
    ("b", "Bool", "DEFAULT"),
    ("day", "Date", "DEFAULT"),
    ("day32", "Date32", "DEFAULT"),
    ("at", "DateTime('UTC')", "DEFAULT"),
    ("nanos", "DateTime64(9)", "DEFAULT"),
    ("e8", "Enum8('on' = 1, 'o\\'ff' = -2)", "DEFAULT"),
    ("e16", "Enum16('few\\nor so' = 1, 'many'' \\q' = 1000)", "DEFAULT"),
    ("ip4", "IPv4", "DEFAULT"),
    ("ip6", "Nullable(IPv6)", "DEFAULT"),
    ("doc", "JSON", "DEFAULT"),
    ("arr", "Array(Nullable(Int32))", "DEFAULT"),
    ("deep", "Array(Array(LowCardinality(String)))", "DEFAULT"),
    ("map", "Map(LowCardinality(String), Array(UInt8))", "DEFAULT"),
    ("ints", "Map(Int16, Map(Date, String))", "DEFAULT"),
    ("tuple", "Tuple(a UInt8, b Nullable(Decimal(9, 2)), c Array(Tuple(String, IPv4)))", "DEFAULT"),
    ("docs", "Map(UUID, JSON(max_dynamic_paths=8))", "DEFAULT"),
];

const NO_DEFAULTS: &[Described<'_>] = &[
    ("tenant_id", "UUID", ""),
    ("name", "LowCardinality(String)", ""),
    ("timestamp", "DateTime", ""),
    ("n", "Nullable(UInt32)", ""),
    ("place", "String", ""),
    ("floor", "Nullable(Int8)", ""),
    ("tags", "Array(String)", ""),
    ("doc", "JSON", ""),
];

thread_local! {
    static TABLES: RefCell<[Table; 2]> = RefCell::new(tables());
}

fn tables() -> [Table; 2] {
    // Low limits, so that small inputs reach them.
    let limits = Limits { record: ByteSize::b(2000), string: ByteSize::b(100), depth: 6, keys: 50 };
    let every_type = Pipeline { table: "t".to_owned(), tenant: String::new(), limits, ..Pipeline::default() };
    let columns = [("place", "details.place"), ("floor", "details.more.floor")];
    let columns = columns.map(|(column, path)| (column.to_owned(), path.to_owned())).into();
    let no_defaults = Pipeline { tenant: "tenant_id".to_owned(), columns, ..every_type.clone() };
    [(every_type, EVERY_TYPE), (no_defaults, NO_DEFAULTS)]
        .map(|(pipeline, columns)| Table::new(&pipeline, columns, "timestamp").expect("types that ingest supports"))
}

/// Checks one input.
///
/// # Panics
/// If an invariant is violated.
pub fn check(input: &[u8]) {
    TABLES.with_borrow_mut(|tables| tables.iter_mut().for_each(|table| table.check(input)));
}
