//! The JSON schema of scenario files, for editors. What it can't say, such as that stages don't overlap, is checked when a
//! scenario is read.

use super::raw::Raw;

/// The JSON schema of a scenario file, as the text of `docs/scenario.schema.json`.
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(Raw);
    schema.insert("description".to_owned(), "A scenario of Sluice; docs/scenarios.md explains it.".into());
    format!("{:#}\n", serde_json::Value::from(schema))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_published_schema_is_current() {
        let published = include_str!("../../../docs/scenario.schema.json");
        assert!(published == super::schema(), "run: sluice scenario schema > docs/scenario.schema.json");
    }
}
