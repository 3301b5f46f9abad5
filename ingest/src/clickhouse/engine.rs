//! Which table engines keep a record once, and how long such a table remembers the tokens of INSERTs.
//! What `system.tables` says of a table goes in; its window comes out, or the reason why the table cannot be used and what
//! to do instead. Pure. An engine that is not named here is refused.
//!
//! `ReplicatedMergeTree` is judged by the same text as `MergeTree`, and only by that: the local stack has no Keeper.

use std::collections::HashMap;

/// What a target of a view does with an INSERT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It stores the rows and recognises a repeated token within this window.
    Stores(Window),
    /// It stores nothing; the views on it run.
    PassesOn,
}

/// How long a table remembers the tokens of INSERTs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Blocks whose tokens it remembers; 0 if none.
    pub blocks: u64,
    /// The setting that says so.
    pub setting: &'static str,
    /// Seconds after which it forgets a token, where it does so by time as well.
    pub seconds: Option<u64>,
    /// The setting that says so.
    pub seconds_setting: &'static str,
}

/// Defaults of a server for the settings of its tables, by name.
pub type Defaults = HashMap<String, String>;

/// Which defaults apply to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Copies {
    /// One server has it.
    One,
    /// `ReplicatedMergeTree` and its kind: Keeper remembers the tokens.
    Replicated,
    /// `SharedMergeTree` and its kind, which are ClickHouse Cloud's. The table itself has to name its window.
    Shared,
}

/// The family member without its prefix, where an engine is of the MergeTree family.
fn family(engine: &str) -> Option<(Copies, &str)> {
    let (copies, rest) = [("Replicated", Copies::Replicated), ("Shared", Copies::Shared)]
        .into_iter()
        .find_map(|(prefix, copies)| engine.strip_prefix(prefix).map(|rest| (copies, rest)))
        .unwrap_or((Copies::One, engine));
    rest.ends_with("MergeTree").then_some((copies, rest))
}

/// Which defaults a table's window depends on; `None` for a table without a window.
pub fn copies(engine: &str) -> Option<Copies> {
    family(engine).map(|(copies, _)| copies)
}

/// The window of a table that records land in; the reason and the remedy if its engine does not keep every row.
pub fn of_base(engine: &str, engine_full: &str, defaults: &Defaults) -> Result<Window, &'static str> {
    match family(engine) {
        Some((copies, "MergeTree")) => window(copies, engine_full, defaults),
        Some(_) => {
            Err("merges rows with equal sorting keys, so records are lost without a trace; let records land in a \
                        MergeTree table, and let a materialized view write to this one")
        }
        None => Err(match engine {
            "Null" => "stores nothing, so no record could be found again; let records land in a MergeTree table",
            "View" | "LiveView" | "WindowView" => "stores no rows of its own; name the table that it reads",
            "MaterializedView" | "Alias" => "stores no rows of its own; name the table that it writes to",
            _ => unknown(engine),
        }),
    }
}

/// What a target of a view does; the reason and the remedy if it would count a repeated INSERT twice.
pub fn of_target(engine: &str, engine_full: &str, defaults: &Defaults) -> Result<Effect, &'static str> {
    match (engine, family(engine)) {
        ("Null", _) => Ok(Effect::PassesOn),
        (_, Some((copies, _))) => window(copies, engine_full, defaults).map(Effect::Stores),
        ("Alias" | "View", None) => Err("is another name for a table; let the view write to that table"),
        (_, None) => Err(unknown(engine)),
    }
}

/// Why an engine outside of the MergeTree family is refused.
fn unknown(engine: &str) -> &'static str {
    match engine {
        "Buffer" => {
            "keeps rows in memory, loses them in a crash and forgets which INSERTs it took; name the table behind it"
        }
        "Distributed" => {
            "hands rows to other servers later, and what it holds is not what was inserted; name the local table behind it, \
             and let workers write to one server"
        }
        "Memory" | "Set" | "Join" | "Log" | "TinyLog" | "StripeLog" | "EmbeddedRocksDB" | "KeeperMap" | "File" => {
            "does not recognise a repeated INSERT; use an engine of the MergeTree family with a deduplication window"
        }
        "Merge" | "Dictionary" | "GenerateRandom" => {
            "stores no rows of its own; use an engine of the MergeTree family with a deduplication window"
        }
        _ => {
            "is not known to recognise a repeated INSERT; use an engine of the MergeTree family with a deduplication window"
        }
    }
}

fn window(copies: Copies, engine_full: &str, defaults: &Defaults) -> Result<Window, &'static str> {
    let (setting, seconds_setting) = match copies {
        Copies::One => ("non_replicated_deduplication_window", "non_replicated_deduplication_window_seconds"),
        Copies::Replicated | Copies::Shared => {
            ("replicated_deduplication_window", "replicated_deduplication_window_seconds")
        }
    };
    let own = |name: &str| own_setting(engine_full, name);
    let default = |name: &str| defaults.get(name).and_then(|value| value.parse().ok());
    let blocks = match own(setting) {
        None if copies == Copies::Shared => {
            return Err("does not say how many INSERTs it remembers; set replicated_deduplication_window and \
                        replicated_deduplication_window_seconds in the SETTINGS of the table");
        }
        own => own.or_else(|| default(setting)).unwrap_or(0),
    };
    let seconds = own(seconds_setting).or_else(|| default(seconds_setting));
    Ok(Window { blocks, setting, seconds, seconds_setting })
}

/// A numeric setting in a table's own `SETTINGS`, which come last.
fn own_setting(engine_full: &str, name: &str) -> Option<u64> {
    let (_, settings) = engine_full.rsplit_once("SETTINGS ")?;
    let value = settings.split(", ").find_map(|one| one.strip_prefix(name)?.strip_prefix(" = "))?;
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
        of_base(engine, engine_full, &defaults()).map(|window| (window.blocks, window.seconds))
    }

    #[test]
    fn a_tables_own_window_stands_over_the_default() {
        let settings =
            "MergeTree ORDER BY x SETTINGS non_replicated_deduplication_window = 77, index_granularity = 8192";
        assert_eq!(base("MergeTree", settings), Ok((77, None)));
        assert_eq!(base("MergeTree", "MergeTree ORDER BY x"), Ok((0, None)));
        assert_eq!(base("MergeTree", "MergeTree ORDER BY x SETTINGS index_granularity = 1"), Ok((0, None)));
        assert_eq!(base("ReplicatedMergeTree", settings), Ok((10_000, Some(3600))));
        let own = "SETTINGS replicated_deduplication_window = 5, replicated_deduplication_window_seconds = 60";
        assert_eq!(base("ReplicatedMergeTree", own), Ok((5, Some(60))));
        assert_eq!(base("SharedMergeTree", own), Ok((5, Some(60))));
        assert!(base("SharedMergeTree", "SharedMergeTree ORDER BY x").unwrap_err().contains("in the SETTINGS"));
    }

    #[test]
    fn a_text_in_another_place_is_no_setting() {
        let key = "MergeTree ORDER BY concat(x, ' SETTINGS non_replicated_deduplication_window = 9') SETTINGS index_granularity = 1";
        assert_eq!(base("MergeTree", key), Ok((0, None)));
        let seconds = "ReplicatedMergeTree SETTINGS replicated_deduplication_window_seconds = 60";
        assert_eq!(base("ReplicatedMergeTree", seconds), Ok((10_000, Some(60))));
    }

    #[test]
    fn a_server_that_forgets_by_time_without_replicas_is_believed() {
        let mut defaults = defaults();
        defaults.insert("non_replicated_deduplication_window_seconds".to_owned(), "600".to_owned());
        assert_eq!(of_base("MergeTree", "MergeTree", &defaults).unwrap().seconds, Some(600));
    }

    #[test]
    fn records_land_in_engines_that_keep_every_row_and_nowhere_else() {
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
            ("SomethingNew", "is not known to recognise"),
        ] {
            assert!(base(engine, engine).unwrap_err().contains(remedy), "{engine}");
        }
    }

    #[test]
    fn views_write_to_the_whole_family_and_through_null() {
        let target = |engine: &str, full: &str| of_target(engine, full, &defaults());
        assert_eq!(target("Null", "Null"), Ok(Effect::PassesOn));
        let stored = target("SummingMergeTree", "SETTINGS non_replicated_deduplication_window = 5").unwrap();
        assert!(matches!(stored, Effect::Stores(Window { blocks: 5, seconds: None, .. })));
        for engine in ["Buffer", "Distributed", "Memory", "Log", "Join", "Alias", "View", "Kafka", "S3"] {
            assert!(target(engine, engine).is_err(), "{engine}");
        }
    }
}
