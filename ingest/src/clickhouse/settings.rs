//! The settings sent with every request, since correctness depends on their values and a user's profile may have
//! others.
//! It sends no setting that the server does not have, and fails if a profile forbids a required value.

use serde::Deserialize;

use crate::clickhouse::failures;
use crate::failure::{Class, Failure};
use crate::fault::{Fault, is_injected};

use super::response::Kind;

/// Sent with every request. Most of them keep a profile from making a result shorter, older or different from the
/// table.
pub const ALWAYS: &[(&str, &str)] = &[
    // Rows that a user sees.
    ("additional_result_filter", ""),
    ("additional_table_filters", "{}"),
    ("apply_deleted_mask", "1"),
    ("apply_mutations_on_fly", "0"),
    ("final", "0"),
    ("implicit_table_at_top_level", ""),
    ("limit", "0"),
    ("offset", "0"),
    ("use_query_cache", "0"),
    // Rows that are omitted without an error.
    ("distinct_overflow_mode", "throw"),
    ("group_by_overflow_mode", "throw"),
    ("join_overflow_mode", "throw"),
    ("partial_result_on_first_cancel", "0"),
    ("read_overflow_mode", "throw"),
    ("read_overflow_mode_leaf", "throw"),
    ("result_overflow_mode", "throw"),
    ("set_overflow_mode", "throw"),
    ("skip_unavailable_shards", "0"),
    ("sort_overflow_mode", "throw"),
    ("timeout_overflow_mode", "throw"),
    ("timeout_overflow_mode_leaf", "throw"),
    ("transfer_overflow_mode", "throw"),
    // Computation of figures.
    ("aggregate_functions_null_for_empty", "0"),
    ("allow_experimental_parallel_reading_from_replicas", "0"),
    ("distributed_group_by_no_merge", "0"),
    ("empty_result_for_aggregation_by_empty_set", "0"),
    ("enable_parallel_replicas", "0"),
    ("optimize_trivial_approximate_count_query", "0"),
    ("prefer_column_name_to_alias", "0"),
    ("session_timezone", ""),
    // Format of a result.
    ("extremes", "0"),
    ("http_write_exception_in_output_format", "0"),
    ("output_format_json_quote_64bit_integers", "0"),
    ("send_progress_in_http_headers", "0"),
];

/// Also sent with every request, because a rebuild inserts by a query. Reads do not depend on them.
pub const FOR_WRITES: &[(&str, &str)] = &[
    ("async_insert", "0"),
    ("deduplicate_insert_select", "enable_when_possible"),
    ("distributed_foreground_insert", "1"),
    ("ignore_materialized_views_with_dropped_target_table", "0"),
    ("materialized_views_ignore_errors", "0"),
];

/// Sent with an INSERT of rows, so that the same part always becomes the same block and is recognized.
pub const FOR_INSERTS: &[(&str, &str)] = &[
    ("allow_settings_after_format_in_insert", "0"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("deduplicate_insert", "enable"),
    ("input_format_binary_decode_types_in_binary_format", "0"),
    ("input_format_defaults_for_omitted_fields", "1"),
    ("input_format_force_null_for_omitted_fields", "0"),
    ("input_format_max_block_size_bytes", "0"),
    ("input_format_max_block_wait_ms", "0"),
    ("input_format_with_names_use_header", "1"),
    ("input_format_with_types_use_header", "1"),
    ("insert_deduplicate", "1"),
    ("insert_shard_id", "0"),
    ("max_insert_block_size", "1048576"),
    ("max_insert_block_size_bytes", "0"),
    ("max_insert_threads", "1"),
    ("min_insert_block_size_bytes", "268435456"),
    ("min_insert_block_size_bytes_for_materialized_views", "0"),
    ("min_insert_block_size_rows", "1048576"),
    ("min_insert_block_size_rows_for_materialized_views", "0"),
    ("use_strict_insert_block_limits", "0"),
];

/// The only settings still sent when a test injects the fault that omits the others.
const SENT_DESPITE_FAULT: [&str; 4] =
    ["async_insert", "insert_deduplicate", "max_insert_block_size", "use_query_cache"];

/// Bounds a query on the server, so that it ends soon after the client stops waiting for it.
pub(super) const MAX_EXECUTION_TIME: &str = "max_execution_time";

/// A row of `system.settings`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Setting {
    name: String,
    value: String,
    /// Whether this user's profile forbids changing it.
    #[serde(rename = "readonly")]
    is_fixed: u8,
}

/// A server's report on these settings.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownSettings(Vec<Setting>);

/// The query that reads [`KnownSettings`]. It is sent with [`INITIAL`].
pub(super) fn query() -> String {
    let pinned = ALWAYS.iter().chain(FOR_WRITES).chain(FOR_INSERTS).map(|(name, _)| *name);
    let names: Vec<_> = pinned.chain([MAX_EXECUTION_TIME]).map(|name| format!("'{name}'")).collect();
    format!("SELECT name, value, readonly FROM system.settings WHERE name IN ({}) FORMAT JSON", names.join(", "))
}

/// Sent before the server's settings are known: settings that every version has, except the first.
pub(super) const INITIAL: [(&str, &str); 6] = [
    ("use_query_cache", "0"),
    ("limit", "0"),
    ("offset", "0"),
    ("read_overflow_mode", "throw"),
    ("result_overflow_mode", "throw"),
    ("wait_end_of_query", "1"),
];

impl KnownSettings {
    /// Rejects a result without settings that every version has.
    pub(super) fn new(settings: Vec<Setting>) -> Result<Self, Failure> {
        let known = Self(settings);
        let has = |name: &str| known.0.iter().any(|setting| setting.name == name);
        if has("insert_deduplicate") && has("read_overflow_mode") {
            Ok(known)
        } else {
            Err(failures::not_a_response("system.settings does not list the settings that every version has"))
        }
    }

    /// Returns the settings of a request of this kind, except those that the request sets itself.
    pub(super) fn parameters(
        &self,
        kind: Kind,
        request_settings: &[(&str, &str)],
    ) -> Result<Vec<(&'static str, &'static str)>, Failure> {
        let for_inserts = if kind == Kind::Insert { FOR_INSERTS } else { &[] };
        let mut sent = vec![("wait_end_of_query", "1")];
        for (name, value) in ALWAYS.iter().chain(FOR_WRITES).chain(for_inserts) {
            let is_needed = kind == Kind::Insert || !FOR_WRITES.iter().any(|(write, _)| write == name);
            let is_overridden = request_settings.iter().any(|(other, _)| other == name);
            let is_omitted = is_injected(Fault::SendFewSettings) && !SENT_DESPITE_FAULT.contains(name);
            match self.0.iter().find(|setting| setting.name == *name) {
                Some(setting) if !is_overridden && !is_omitted => {
                    if setting.is_fixed == 0 {
                        sent.push((name, value));
                    } else if setting.value != *value && is_needed {
                        return Err(fixed(name, value));
                    }
                }
                _ => {}
            }
        }
        Ok(sent)
    }

    /// Whether the server allows a query to be bounded.
    pub(super) fn can_bound(&self) -> bool {
        self.0.iter().any(|setting| setting.name == MAX_EXECUTION_TIME && setting.is_fixed == 0)
    }
}

fn fixed(name: &str, value: &str) -> Failure {
    let what = format!(
        "the profile of this ClickHouse user fixes {name} at a value other than the required '{value}'; let the profile \
         have that value, or remove the constraint"
    );
    Failure::new(Class::Operator, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, value: &str, is_fixed: u8) -> Setting {
        Setting { name: name.to_owned(), value: value.to_owned(), is_fixed }
    }

    fn known(more: &[Setting]) -> KnownSettings {
        let every = [setting("insert_deduplicate", "0", 0), setting("read_overflow_mode", "break", 0)];
        KnownSettings::new([&every, more].concat()).unwrap()
    }

    #[test]
    fn only_settings_of_the_server_are_sent() {
        let inserts = known(&[]).parameters(Kind::Insert, &[]).unwrap();
        let sent = [("wait_end_of_query", "1"), ("read_overflow_mode", "throw"), ("insert_deduplicate", "1")];
        assert_eq!(inserts, sent);
        assert_eq!(known(&[]).parameters(Kind::Query, &[]).unwrap(), sent[..2]);
        assert!(KnownSettings::new(vec![setting("insert_deduplicate", "1", 0)]).is_err());
    }

    #[test]
    fn a_requests_own_settings_take_precedence() {
        let request_settings = [("additional_table_filters", "{'t': 'x = 1'}")];
        let known = known(&[setting("additional_table_filters", "{}", 0)]);
        assert_eq!(known.parameters(Kind::Query, &request_settings).unwrap().len(), 2);
        assert_eq!(known.parameters(Kind::Query, &[]).unwrap().len(), 3);
    }

    #[test]
    fn a_profile_that_fixes_another_value_is_named() {
        let right = known(&[setting("final", "0", 1), setting(MAX_EXECUTION_TIME, "0", 1)]);
        assert_eq!(right.parameters(Kind::Query, &[]).unwrap().len(), 2, "the profile already has that value");
        assert!(!right.can_bound());
        let wrong = known(&[setting("final", "1", 1)]).parameters(Kind::Query, &[]).unwrap_err();
        insta::assert_snapshot!(wrong, @"write: the profile of this ClickHouse user fixes final at a value other than the required '0'; let the profile have that value, or remove the constraint");
        let written = known(&[setting("async_insert", "1", 1)]);
        assert!(written.parameters(Kind::Query, &[]).is_ok() && written.parameters(Kind::Insert, &[]).is_err());
        let inserts_only = known(&[setting("async_insert", "0", 0), setting("deduplicate_insert", "disable", 1)]);
        assert!(
            inserts_only.parameters(Kind::Insert, &[]).is_err() && inserts_only.parameters(Kind::Query, &[]).is_ok()
        );
    }

    #[test]
    fn the_documentation_lists_what_is_sent() {
        let page = include_str!("../../../docs/delivery.md");
        for (name, value) in ALWAYS.iter().chain(FOR_WRITES).chain(FOR_INSERTS) {
            let value = if value.is_empty() { "''" } else { value };
            assert!(page.contains(&format!("`{name} = {value}`")), "docs/delivery.md lacks {name} = {value}");
        }
    }

    #[test]
    fn settings_are_unique_and_fit_into_a_request_line() {
        let all: Vec<_> = ALWAYS.iter().chain(FOR_WRITES).chain(FOR_INSERTS).collect();
        let mut names: Vec<_> = all.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        let line: usize = all.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        assert!(line < 3000, "{line} bytes; load balancers refuse requests from 8 KiB on");
    }
}
