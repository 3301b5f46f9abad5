//! Builds a decoder and its INSERT from a table's shape and a pipeline's mapping, once, at start-up.
//! It reports a mismatch with the pipeline, the column and the remedy. It neither reads the table nor decodes a record.

use crate::clickhouse::quoting;
use crate::config::Pipeline;

use super::decoder::{self, Decoder, Limits};
use super::fields::Fields;
use super::value::Scratch;
use crate::clickhouse::insert::Insert;
use crate::clickhouse::shape::{Column, Shape};
use crate::clickhouse::types::{self, Type};

/// A decoder with the INSERT of its rows.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decodes the pipeline's records.
    pub decoder: Decoder,
    /// The INSERT that sends its rows.
    pub insert: Insert,
}

/// Columns that ingest fills with the origin of a record, with their types.
const PROVENANCE: [(&str, &str); 4] =
    [("_topic", "String"), ("_topic_id", "UUID"), ("_partition", "Int32"), ("_offset", "Int64")];

/// Settings of an INSERT whose rows contain `JSON`: the value is sent as text and must keep its types. Without these, a
/// string that looks like a time would be returned in another form, and `true` next to a number as `1`.
const DOCUMENT_SETTINGS: &str = "SETTINGS input_format_binary_read_json_as_string = 1, input_format_try_infer_dates = 0, \
     input_format_try_infer_datetimes = 0, input_format_json_read_bools_as_numbers = 0, \
     input_format_json_read_bools_as_strings = 0, input_format_json_read_numbers_as_strings = 0, \
     input_format_json_read_arrays_as_strings = 0 ";

/// A mapping that does not fit its table.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MappingError {
    /// The table does not exist.
    #[error(
        "start pipeline {topic}: table {table} does not exist; create it (`sluice schemas apply` creates those of the platform), or correct ingest.pipelines.{topic}.table"
    )]
    NoTable {
        /// Topic of the pipeline.
        topic: String,
        /// The missing table.
        table: String,
    },
    /// A mapped column is missing or cannot be written.
    #[error(
        "start pipeline {topic}: table {table} has no writable column {column}; add it, or remove it from ingest.pipelines.{topic}.columns"
    )]
    NoColumn {
        /// Topic of the pipeline.
        topic: String,
        /// Table of the pipeline.
        table: String,
        /// The missing column.
        column: String,
    },
    /// A provenance column is missing or has another type.
    #[error(
        "start pipeline {topic}: table {table} needs a column {column} of type {required} that can be written, for the origin of a row; {remedy}"
    )]
    Provenance {
        /// Topic of the pipeline.
        topic: String,
        /// Table of the pipeline.
        table: String,
        /// The column.
        column: &'static str,
        /// The required type.
        required: &'static str,
        /// The remedy.
        remedy: &'static str,
    },
    /// A provenance column is mapped to a field of the records.
    #[error(
        "start pipeline {topic}: column {column} holds the origin of a row and is filled by ingest; remove it from ingest.pipelines.{topic}.columns"
    )]
    Reserved {
        /// Topic of the pipeline.
        topic: String,
        /// The column.
        column: &'static str,
    },
    /// A column of a type that ingest cannot write.
    #[error(
        "start pipeline {topic}: column {column} of table {table} has type {type_text}, which ingest cannot write; give the column a DEFAULT and omit it from the mapping, or change its type"
    )]
    Type {
        /// Topic of the pipeline.
        topic: String,
        /// Table of the pipeline.
        table: String,
        /// The column.
        column: String,
        /// The type.
        type_text: String,
    },
    /// A partition key that ingest does not support.
    #[error(
        "start pipeline {topic}: table {table} has the partition key {key}; ingest splits batches by month, so use toYYYYMM of a mapped Date, DateTime or DateTime64 column in UTC without a DEFAULT, or no partition key"
    )]
    PartitionKey {
        /// Topic of the pipeline.
        topic: String,
        /// Table of the pipeline.
        table: String,
        /// Text of the partition key.
        key: String,
    },
}

/// A mapped column with its field.
struct Mapped<'a> {
    name: &'a str,
    path: &'a str,
    column_type: Type,
    /// Time zone in the column's type.
    zone: Option<String>,
    has_default: bool,
}

/// Builds the decoder and the INSERT of `pipeline` for the table that it names.
pub fn plan(topic: &str, pipeline: &Pipeline, shape: &Shape) -> Result<Plan, MappingError> {
    let table = &pipeline.table;
    if shape.columns.is_empty() {
        return Err(MappingError::NoTable { topic: topic.to_owned(), table: table.clone() });
    }
    check_columns_exist(topic, pipeline, shape)?;
    let mapped = map_columns(topic, pipeline, shape)?;
    let month = month_column(&mapped, shape);
    if month.is_none() && !matches!(shape.partition_key.as_str(), "" | "tuple()") {
        let key = shape.partition_key.clone();
        return Err(MappingError::PartitionKey { topic: topic.to_owned(), table: table.clone(), key });
    }
    let decoder = decoder(pipeline, &mapped, month);
    let names = mapped.iter().map(|column| column.name).chain(PROVENANCE.map(|(name, _)| name));
    let column_type = |name| shape.columns.iter().find(|column| column.name == name);
    let columns = names.filter_map(|name| Some((name.to_owned(), column_type(name)?.type_text.clone()))).collect();
    let settings = if mapped.iter().any(|column| column.column_type.contains_json()) { DOCUMENT_SETTINGS } else { "" };
    let insert = Insert::new(table, columns, settings, decoder.with_defaults);
    Ok(Plan { decoder, insert })
}

fn is_writable(column: &Column) -> bool {
    matches!(column.default_kind.as_str(), "" | "DEFAULT")
}

fn check_columns_exist(topic: &str, pipeline: &Pipeline, shape: &Shape) -> Result<(), MappingError> {
    let missing = |column: &str| MappingError::NoColumn {
        topic: topic.to_owned(),
        table: pipeline.table.clone(),
        column: column.to_owned(),
    };
    let find = |name: &str| shape.columns.iter().find(|column| column.name == name && is_writable(column));
    for name in pipeline.columns.keys() {
        find(name).ok_or_else(|| missing(name))?;
    }
    for (column, required) in PROVENANCE {
        if pipeline.columns.contains_key(column) {
            return Err(MappingError::Reserved { topic: topic.to_owned(), column });
        }
        let remedy = match find(column) {
            Some(found) if types::parse(&found.type_text) == types::parse(required) => continue,
            Some(_) => "change its type",
            None => "add it; if this is a view, name its table instead",
        };
        let (topic, table) = (topic.to_owned(), pipeline.table.clone());
        return Err(MappingError::Provenance { topic, table, column, required, remedy });
    }
    Ok(())
}

fn unknown_type(topic: &str, pipeline: &Pipeline, column: &Column) -> MappingError {
    MappingError::Type {
        topic: topic.to_owned(),
        table: pipeline.table.clone(),
        column: column.name.clone(),
        type_text: column.type_text.clone(),
    }
}

/// Maps the writable columns. Those beginning with `_` belong to the platform and are filled by ingest or by their
/// default, unless mapped by name.
fn map_columns<'a>(topic: &str, pipeline: &'a Pipeline, shape: &'a Shape) -> Result<Vec<Mapped<'a>>, MappingError> {
    let mut mapped = Vec::new();
    for column in shape.columns.iter().filter(|column| is_writable(column)) {
        let named = pipeline.columns.get(&column.name);
        let is_provenance = PROVENANCE.iter().any(|(name, _)| *name == column.name);
        if is_provenance || (named.is_none() && column.name.starts_with('_')) {
            continue;
        }
        let has_default = !column.default_kind.is_empty();
        match types::parse(&column.type_text) {
            Some(column_type) => {
                let (name, zone) = (&column.name, types::zone(&column.type_text));
                mapped.push(Mapped { name, path: named.unwrap_or(name), column_type, zone, has_default });
            }
            None if has_default && named.is_none() => {}
            None => return Err(unknown_type(topic, pipeline, column)),
        }
    }
    Ok(mapped)
}

/// Index of the column whose month is the partition key; `None` for any other key.
fn month_column(mapped: &[Mapped<'_>], shape: &Shape) -> Option<usize> {
    let name = quoting::parse_identifier(shape.partition_key.strip_prefix("toYYYYMM(")?.strip_suffix(')')?)?;
    let index = mapped.iter().position(|column| column.name == name)?;
    let Mapped { column_type, zone, has_default, .. } = &mapped[index];
    let zone = zone.as_deref().unwrap_or(&shape.server_zone);
    let fits = match column_type {
        Type::Date => true,
        Type::DateTime | Type::DateTime64(_) => matches!(zone, "UTC" | "Etc/UTC" | "Etc/UCT" | "UCT" | "Zulu"),
        _ => false,
    };
    (fits && !has_default).then_some(index)
}

fn decoder(pipeline: &Pipeline, mapped: &[Mapped<'_>], month: Option<usize>) -> Decoder {
    let mut paths: Vec<&str> = Vec::new();
    let mut slot_of = |path| {
        paths.iter().position(|known| *known == path).unwrap_or_else(|| {
            paths.push(path);
            paths.len() - 1
        })
    };
    let columns = mapped
        .iter()
        .map(|column| decoder::Column {
            slot: slot_of(column.path),
            value_type: column.column_type.clone(),
            has_default: column.has_default,
        })
        .collect();
    let tenant = (!pipeline.tenant.is_empty()).then(|| slot_of(&pipeline.tenant));
    // An object that contains mapped fields also gets a span: if it occurs twice, it is ambiguous.
    for path in paths.clone() {
        for (at, _) in path.match_indices('.') {
            if !paths.contains(&&path[..at]) {
                paths.push(&path[..at]);
            }
        }
    }
    let mut fields = Fields::default();
    for (slot, path) in paths.iter().enumerate() {
        fields.map(path, slot);
    }
    let limits = &pipeline.limits;
    Decoder {
        columns,
        fields,
        slots: vec![None; paths.len()],
        scratch: Scratch::default(),
        tenant,
        month,
        with_defaults: mapped.iter().any(|column| column.has_default),
        limits: Limits {
            record: usize::try_from(limits.record.0).unwrap_or(usize::MAX),
            string: usize::try_from(limits.string.0).unwrap_or(usize::MAX),
            depth: limits.depth,
            keys: limits.keys,
        },
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn shape(columns: &[(&str, &str, &str)]) -> Shape {
        let mapped = columns.iter().copied();
        let provenance = PROVENANCE.iter().map(|(name, column_type)| (*name, *column_type, ""));
        let last = [("_ingested_at", "DateTime64(3)", "DEFAULT")];
        let column = |(name, column_type, kind): (&str, &str, &str)| Column {
            name: name.to_owned(),
            type_text: column_type.to_owned(),
            default_kind: kind.to_owned(),
        };
        Shape {
            columns: mapped.chain(provenance).chain(last).map(column).collect(),
            partition_key: "toYYYYMM(timestamp)".to_owned(),
            server_zone: "UTC".to_owned(),
        }
    }

    fn pipeline() -> Pipeline {
        Pipeline { table: "t".to_owned(), ..Pipeline::default() }
    }

    fn mapping_error(shape: &Shape, pipeline: &Pipeline) -> String {
        plan("a-topic", pipeline, shape).unwrap_err().to_string()
    }

    #[test]
    fn the_insert_names_mapped_columns_then_provenance() {
        let shape = shape(&[("timestamp", "DateTime64(3)", ""), ("day", "Date", "MATERIALIZED")]);
        let insert = plan("a-topic", &pipeline(), &shape).unwrap().insert.statement;
        insta::assert_snapshot!(insert, @"INSERT INTO `t` (`timestamp`, `_topic`, `_topic_id`, `_partition`, `_offset`) FORMAT RowBinaryWithNamesAndTypes");
    }

    #[test]
    fn the_insert_of_a_document_sets_how_it_is_read() {
        let shape = shape(&[("timestamp", "DateTime64(3)", ""), ("document", "Array(JSON)", "")]);
        let insert = plan("a-topic", &pipeline(), &shape).unwrap().insert.statement;
        assert!(insert.contains(") SETTINGS input_format_binary_read_json_as_string = 1, "), "{insert}");
        assert!(insert.ends_with("arrays_as_strings = 0 FORMAT RowBinaryWithNamesAndTypes"), "{insert}");
    }

    #[test]
    fn errors_name_pipeline_column_and_remedy() {
        let time = ("timestamp", "DateTime64(3)", "");
        let none = Shape { columns: vec![], ..shape(&[]) };
        insta::assert_snapshot!(mapping_error(&none, &pipeline()), @"start pipeline a-topic: table t does not exist; create it (`sluice schemas apply` creates those of the platform), or correct ingest.pipelines.a-topic.table");
        insta::assert_snapshot!(mapping_error(&shape(&[time, ("n", "Decimal(76, 2)", "")]), &pipeline()), @"start pipeline a-topic: column n of table t has type Decimal(76, 2), which ingest cannot write; give the column a DEFAULT and omit it from the mapping, or change its type");
        let named = Pipeline { columns: [("x".to_owned(), "y".to_owned())].into(), ..pipeline() };
        insta::assert_snapshot!(mapping_error(&shape(&[time]), &named), @"start pipeline a-topic: table t has no writable column x; add it, or remove it from ingest.pipelines.a-topic.columns");
        let in_another_zone = Shape { server_zone: "Europe/Berlin".to_owned(), ..shape(&[time]) };
        insta::assert_snapshot!(mapping_error(&in_another_zone, &pipeline()), @"start pipeline a-topic: table t has the partition key toYYYYMM(timestamp); ingest splits batches by month, so use toYYYYMM of a mapped Date, DateTime or DateTime64 column in UTC without a DEFAULT, or no partition key");
        let mut bare = shape(&[time]);
        bare.columns.retain(|column| column.name != "_offset");
        insta::assert_snapshot!(mapping_error(&bare, &pipeline()), @"start pipeline a-topic: table t needs a column _offset of type Int64 that can be written, for the origin of a row; add it; if this is a view, name its table instead");
        let named = Pipeline { columns: [("_offset".to_owned(), "y".to_owned())].into(), ..pipeline() };
        insta::assert_snapshot!(mapping_error(&shape(&[time]), &named), @"start pipeline a-topic: column _offset holds the origin of a row and is filled by ingest; remove it from ingest.pipelines.a-topic.columns");
    }

    #[test]
    fn the_month_column_may_have_a_quoted_name() {
        let mut shape = shape(&[("the `time`\n", "DateTime64(3)", "")]);
        shape.partition_key = r"toYYYYMM(`the \`time\`\n`)".to_owned();
        let statement = plan("a-topic", &pipeline(), &shape).unwrap().insert.statement;
        assert!(statement.contains(r"(`the \`time\`\n`, `_topic`"), "{statement}");
    }

    #[test]
    fn a_column_of_unknown_type_is_left_to_its_default() {
        let shape = shape(&[("timestamp", "DateTime64(3)", ""), ("tags", "Array(Dynamic)", "DEFAULT")]);
        assert!(!plan("a-topic", &pipeline(), &shape).unwrap().insert.statement.contains("tags"));
    }
}
