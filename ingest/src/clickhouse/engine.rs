//! Determines whether a table's engine keeps each record exactly once, and how long the table remembers the tokens of
//! INSERTs. It reads the table's entry in `system.tables`; if the table cannot be used, it returns the reason and the
//! remedy. It rejects an engine that is not listed here, and sends no query.
//!
//! `ReplicatedMergeTree` is judged by the same text as `MergeTree` and has not been run: the local stack has no Keeper.

use std::collections::HashMap;

/// The effect of an INSERT on the target of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Stores the rows and recognizes a repeated token within this window.
    Stores(Window),
    /// Stores nothing; the views on it run.
    PassesOn,
}

/// How long a table remembers the tokens of INSERTs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Number of blocks whose tokens the table remembers.
    pub blocks: u64,
    /// The setting that defines `blocks`.
    pub setting: &'static str,
    /// Seconds after which the table forgets a token; `None` if tokens do not expire by time.
    pub seconds: Option<u64>,
    /// The setting that defines `seconds`.
    pub seconds_setting: &'static str,
}

/// A server's defaults for table settings, by name.
pub type Defaults = HashMap<String, String>;

/// How a table is replicated, which decides the settings that apply to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replication {
    /// The table is on one server.
    Single,
    /// `ReplicatedMergeTree` and related engines: Keeper remembers the tokens.
    Replicated,
    /// `SharedMergeTree` and related engines of ClickHouse Cloud. The table must define its own window.
    Shared,
}

/// An engine's replication and its name without that prefix; `None` outside the MergeTree family.
fn family(engine: &str) -> Option<(Replication, &str)> {
    let (replication, rest) = [("Replicated", Replication::Replicated), ("Shared", Replication::Shared)]
        .into_iter()
        .find_map(|(prefix, replication)| engine.strip_prefix(prefix).map(|rest| (replication, rest)))
        .unwrap_or((Replication::Single, engine));
    rest.ends_with("MergeTree").then_some((replication, rest))
}

/// The replication that decides the defaults of an engine's window; `None` for an engine without a window.
pub fn replication(engine: &str) -> Option<Replication> {
    family(engine).map(|(replication, _)| replication)
}

/// Returns the window of a table that records land in. If the engine does not keep every row, the error is the reason
/// and the remedy.
pub fn base_window(engine: &str, engine_full: &str, defaults: &Defaults) -> Result<Window, &'static str> {
    match family(engine) {
        Some((replication, "MergeTree")) => window(replication, engine_full, defaults),
        Some(_) => {
            Err("merges rows with equal sorting keys, so records are lost without a trace; let records land in a \
                        MergeTree table, and let a materialized view write to this one")
        }
        None => Err(match engine {
            "Null" => "stores nothing, so no record could be found again; let records land in a MergeTree table",
            "View" | "LiveView" | "WindowView" => "stores no rows of its own; name the table that it reads",
            "MaterializedView" | "Alias" => "stores no rows of its own; name the table that it writes to",
            _ => unsuitable_reason(engine),
        }),
    }
}

/// Returns the effect of an INSERT on the target of a view. If the target would count a repeated INSERT twice, the
/// error is the reason and the remedy.
pub fn target_effect(engine: &str, engine_full: &str, defaults: &Defaults) -> Result<Effect, &'static str> {
    match (engine, family(engine)) {
        ("Null", _) => Ok(Effect::PassesOn),
        (_, Some((replication, _))) => window(replication, engine_full, defaults).map(Effect::Stores),
        ("Alias" | "View", None) => Err("is an alias of a table; let the view write to that table"),
        (_, None) => Err(unsuitable_reason(engine)),
    }
}

/// Why an engine outside the MergeTree family is unsuitable, and the remedy.
fn unsuitable_reason(engine: &str) -> &'static str {
    match engine {
        "Buffer" => {
            "keeps rows in memory, loses them in a crash and forgets which INSERTs it accepted; name the table behind it"
        }
        "Distributed" => {
            "forwards rows to other servers later, so it does not hold what was inserted; name the local table behind it, \
             and let workers write to one server"
        }
        "Memory" | "Set" | "Join" | "Log" | "TinyLog" | "StripeLog" | "EmbeddedRocksDB" | "KeeperMap" | "File" => {
            "does not recognize a repeated INSERT; use an engine of the MergeTree family with a deduplication window"
        }
        "Merge" | "Dictionary" | "GenerateRandom" => {
            "stores no rows of its own; use an engine of the MergeTree family with a deduplication window"
        }
        _ => {
            "is not known to recognize a repeated INSERT; use an engine of the MergeTree family with a deduplication window"
        }
    }
}

fn window(replication: Replication, engine_full: &str, defaults: &Defaults) -> Result<Window, &'static str> {
    let (setting, seconds_setting) = match replication {
        Replication::Single => ("non_replicated_deduplication_window", "non_replicated_deduplication_window_seconds"),
        Replication::Replicated | Replication::Shared => {
            ("replicated_deduplication_window", "replicated_deduplication_window_seconds")
        }
    };
    let explicit = |name: &str| own_setting(engine_full, name);
    let default = |name: &str| defaults.get(name).and_then(|value| value.parse().ok());
    let blocks = match explicit(setting) {
        None if replication == Replication::Shared => {
            return Err("does not define how many INSERTs it remembers; set replicated_deduplication_window and \
                        replicated_deduplication_window_seconds in the SETTINGS of the table");
        }
        explicit => explicit.or_else(|| default(setting)).unwrap_or(0),
    };
    let seconds = explicit(seconds_setting).or_else(|| default(seconds_setting));
    Ok(Window { blocks, setting, seconds, seconds_setting })
}

/// A numeric setting in the table's own `SETTINGS` clause, which comes last.
fn own_setting(engine_full: &str, name: &str) -> Option<u64> {
    let (_, settings) = engine_full.rsplit_once("SETTINGS ")?;
    let value = settings.split(", ").find_map(|setting| setting.strip_prefix(name)?.strip_prefix(" = "))?;
    value.trim_matches('\'').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        let all = [
            ("non_replicated_deduplication_window", "0"),
            ("replicated_deduplication_window", "10000"),
            ("replicated_deduplication_window_seconds", "3600"),
        ];
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn base(engine: &str, engine_full: &str) -> Result<(u64, Option<u64>), &'static str> {
        base_window(engine, engine_full, &defaults()).map(|window| (window.blocks, window.seconds))
    }

    #[test]
    fn a_tables_own_window_overrides_the_default() {
        let settings =
            "MergeTree ORDER BY x SETTINGS non_replicated_deduplication_window = 77, index_granularity = 8192";
        assert_eq!(base("MergeTree", settings), Ok((77, None)));
        assert_eq!(base("MergeTree", "MergeTree ORDER BY x"), Ok((0, None)));
        assert_eq!(base("MergeTree", "MergeTree ORDER BY x SETTINGS index_granularity = 1"), Ok((0, None)));
        assert_eq!(base("ReplicatedMergeTree", settings), Ok((10_000, Some(3600))));
        let explicit = "SETTINGS replicated_deduplication_window = 5, replicated_deduplication_window_seconds = 60";
        assert_eq!(base("ReplicatedMergeTree", explicit), Ok((5, Some(60))));
        assert_eq!(base("SharedMergeTree", explicit), Ok((5, Some(60))));
        assert!(base("SharedMergeTree", "SharedMergeTree ORDER BY x").unwrap_err().contains("in the SETTINGS"));
    }

    #[test]
    fn text_outside_the_settings_clause_is_ignored() {
        let key = "MergeTree ORDER BY concat(x, ' SETTINGS non_replicated_deduplication_window = 9') SETTINGS index_granularity = 1";
        assert_eq!(base("MergeTree", key), Ok((0, None)));
        let seconds = "ReplicatedMergeTree SETTINGS replicated_deduplication_window_seconds = 60";
        assert_eq!(base("ReplicatedMergeTree", seconds), Ok((10_000, Some(60))));
    }

    #[test]
    fn a_time_window_without_replication_counts() {
        let mut defaults = defaults();
        defaults.insert("non_replicated_deduplication_window_seconds".to_owned(), "600".to_owned());
        assert_eq!(base_window("MergeTree", "MergeTree", &defaults).unwrap().seconds, Some(600));
    }

    #[test]
    fn records_land_only_in_engines_that_keep_every_row() {
        for kind in
            ["Replacing", "Summing", "Aggregating", "Collapsing", "VersionedCollapsing", "Graphite", "Coalescing"]
        {
            for prefix in ["", "Replicated", "Shared"] {
                let reason = base(&format!("{prefix}{kind}MergeTree"), "").unwrap_err();
                assert!(reason.starts_with("merges rows with equal sorting keys"), "{prefix}{kind}: {reason}");
            }
        }
        for (engine, remedy) in [
            ("Null", "let records land in a MergeTree table"),
            ("Buffer", "name the table behind it"),
            ("Distributed", "name the local table"),
            ("Log", "use an engine of the MergeTree family"),
            ("Memory", "use an engine of the MergeTree family"),
            ("MaterializedView", "name the table that it writes to"),
            ("View", "name the table that it reads"),
            ("SomethingNew", "is not known to recognize"),
        ] {
            assert!(base(engine, engine).unwrap_err().contains(remedy), "{engine}");
        }
    }

    #[test]
    fn views_may_write_to_any_merge_tree_and_through_null() {
        let target = |engine: &str, full: &str| target_effect(engine, full, &defaults());
        assert_eq!(target("Null", "Null"), Ok(Effect::PassesOn));
        let stored = target("SummingMergeTree", "SETTINGS non_replicated_deduplication_window = 5").unwrap();
        assert!(matches!(stored, Effect::Stores(Window { blocks: 5, seconds: None, .. })));
        for engine in ["Buffer", "Distributed", "Memory", "Log", "Join", "Alias", "View", "Kafka", "S3"] {
            assert!(target(engine, engine).is_err(), "{engine}");
        }
    }
}
