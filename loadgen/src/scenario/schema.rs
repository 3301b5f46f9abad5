//! The JSON schema of scenario files, for editors. What it can't say, such as that stages don't overlap, is checked when a
//! scenario is read.

use super::raw::Raw;

/// The JSON schema of a scenario file, as the text of `docs/scenario.schema.json`.
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(Raw);
    // A scenario that only asks an existing deployment has none of these; `merge` fills them in.
    let optional = ["population", "past", "drive", "seeds"];
    if let Some(required) = schema.get_mut("required").and_then(serde_json::Value::as_array_mut) {
        required.retain(|key| !optional.iter().any(|optional| key == optional));
    }
    if let Some(required) = schema.pointer_mut("/$defs/Time/required").and_then(serde_json::Value::as_array_mut) {
        required.retain(|key| key == "replayed_in");
    }
    if let Some(required) = schema.pointer_mut("/$defs/Drive/required").and_then(serde_json::Value::as_array_mut) {
        required.clear();
    }
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
