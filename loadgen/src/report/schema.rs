//! The JSON schema of a report, from the types of the report itself. It never writes the file.

use super::contents::Report;

/// The JSON schema, as the text of `docs/report.schema.json`.
pub fn schema() -> Result<String, serde_json::Error> {
    let schema = schemars::schema_for!(Report);
    serde_json::to_string_pretty(&schema).map(|text| text + "\n")
}
