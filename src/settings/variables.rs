//! Environment variables that would be ignored: one underscore instead of two, the name of a flag, or a name that nothing
//! reads. The first one is reported, with its correct spelling if there is one. Variables that an orchestrator sets for its
//! services are accepted. It never reads the environment itself.

use serde_json::Value;

/// Prefixes of the variables of each section.
const SECTIONS: [&str; 4] = ["SLUICE_STACK_", "SLUICE_STORES_", "SLUICE_INGEST_", "SLUICE_VERIFY_"];

/// Prefix of all variables that this program reads.
const PREFIX: &str = "SLUICE_";
/// Variables that are no settings; those of tests begin with [`TEST_PREFIX`].
const OTHERS: [&str; 8] = [
    "SLUICE_LOG",
    "SLUICE_CONFIG",
    "SLUICE_CACHE",
    "SLUICE_CONNECT_IMAGE",
    "SLUICE_FAULTS",
    "SLUICE_GENERATOR_FAULTS",
    "SLUICE_FAILPOINT",
    "SLUICE_DELAY",
];
const TEST_PREFIX: &str = "SLUICE_TEST_";

/// The error for the first misspelled variable, with what to write instead.
pub(super) fn misspelling_error(
    variables: impl IntoIterator<Item = (String, String)>,
    settings: &Value,
) -> Option<String> {
    let mut known = Vec::new();
    collect_names("SLUICE", settings, &mut known);
    variables.into_iter().find_map(|(name, value)| explain(&name, &value, &known))
}

/// The error for a variable whose name has the key `field` in place of one of the keys in `known`; `path` is the path of the
/// setting, with or without that key. `names` are those of all variables.
pub(super) fn unknown_field_error(
    names: impl IntoIterator<Item = String>,
    path: &[String],
    field: &str,
    known: &[&str],
) -> String {
    let above = path.strip_suffix(&[field.to_owned()]).unwrap_or(path);
    let keys: Vec<_> = above.iter().map(String::as_str).chain([field]).collect();
    let start = format!("{PREFIX}{}", keys.join("__").to_uppercase());
    let is_meant =
        |name: &String| name.strip_prefix(&start).is_some_and(|rest| rest.is_empty() || rest.starts_with("__"));
    let name = names.into_iter().find(is_meant).unwrap_or_else(|| start.clone());
    let (field, known) = (field.to_uppercase(), known.join(", ").to_uppercase());
    format!("read the variable {name}: there is no such setting; write one of these instead of {field}: {known}")
}

fn explain(name: &str, value: &str, known: &[String]) -> Option<String> {
    let is_flag_name = ["SLUICE_PORT_BASE", "SLUICE_NAMESPACE"].contains(&name);
    let section = SECTIONS.iter().find(|section| name.starts_with(*section));
    if !name.starts_with(PREFIX)
        || OTHERS.contains(&name)
        || name.starts_with(TEST_PREFIX)
        || is_set_by_orchestrator(name, value)
        || known.iter().any(|known| known == name)
    {
        return None;
    }
    let with_single_underscores = |name: &str| name.replace("__", "_");
    let meant = known.iter().find(|known| {
        with_single_underscores(known) == with_single_underscores(name)
            || (is_flag_name && is_setting_of_flag(known, name))
    });
    match meant {
        Some(meant) => Some(format!("read the variable {name}: there is no such setting; use {meant}")),
        // For a misspelled key, deserialization lists the known ones.
        None if name.contains("__") && section.is_none_or(|section| name[section.len()..].starts_with('_')) => None,
        None => Some(format!(
            "read the variable {name}: there is no such setting; a setting's variable is SLUICE_SECTION__KEY, as in \
             SLUICE_STACK__PORT_BASE, and the others are SLUICE_LOG, SLUICE_CONFIG and SLUICE_CACHE"
        )),
    }
}

/// Whether `known` is the setting of the flag that `name` is called after: `SLUICE_STACK__PORT_BASE` for
/// `SLUICE_PORT_BASE`.
fn is_setting_of_flag(known: &str, name: &str) -> bool {
    let key = name.trim_start_matches("SLUICE_");
    ["SLUICE_STACK__", "SLUICE_STORES__"].iter().any(|section| known.strip_prefix(section) == Some(key))
}

/// Whether Kubernetes or Docker sets the variable for a service named `sluice-stack`, `sluice-ingest` and so on.
fn is_set_by_orchestrator(name: &str, value: &str) -> bool {
    let is_port_suffix = |rest: &str| {
        let (number, rest) = rest.split_once('_').unwrap_or((rest, ""));
        number.parse::<u16>().is_ok() && ["TCP", "UDP", "SCTP"].iter().any(|protocol| rest.starts_with(protocol))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.match_indices("_PORT_").any(|(at, port)| is_port_suffix(&name[at + port.len()..]))
        || (name.ends_with("_PORT") && value.contains("://"))
}

/// Collects the variables of all settings that have a default.
fn collect_names(name: &str, value: &Value, known: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let separator = if name == "SLUICE" { "_" } else { "__" };
                collect_names(&format!("{name}{separator}{}", key.to_uppercase()), value, known);
            }
        }
        _ => known.push(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn message(name: &str, value: &str) -> Option<String> {
        let settings = serde_json::to_value(Settings::default()).unwrap();
        misspelling_error([(name.to_owned(), value.to_owned())], &settings)
    }

    #[test]
    fn a_misspelled_variable_is_refused_with_the_correct_spelling() {
        for (name, meant) in [
            ("SLUICE_STACK_PORT_BASE", "SLUICE_STACK__PORT_BASE"),
            ("SLUICE_PORT_BASE", "SLUICE_STACK__PORT_BASE"),
            ("SLUICE_NAMESPACE", "SLUICE_STORES__NAMESPACE"),
            ("SLUICE_STORES_POSTGRES_PORT", "SLUICE_STORES__POSTGRES__PORT"),
            ("SLUICE_STORES_POSTGRES__PORT", "SLUICE_STORES__POSTGRES__PORT"),
            ("SLUICE_STORES__POSTGRES_PORT", "SLUICE_STORES__POSTGRES__PORT"),
            ("SLUICE_STORES_CLICKHOUSE_LOGIN_PASSWORD", "SLUICE_STORES__CLICKHOUSE__LOGIN__PASSWORD"),
            ("SLUICE_INGEST_RETRY_QUICK_RETRIES", "SLUICE_INGEST__RETRY__QUICK_RETRIES"),
            ("SLUICE_INGEST_GROUP", "SLUICE_INGEST__GROUP"),
            ("SLUICE_VERIFY_RUNS", "SLUICE_VERIFY__RUNS"),
        ] {
            let message = message(name, "21000").unwrap_or_else(|| panic!("{name} is accepted"));
            assert_eq!(message, format!("read the variable {name}: there is no such setting; use {meant}"));
        }
        for name in ["SLUICE_STORES_POSTGRES_PROT", "SLUICE_FOO", "SLUICE_LOGS", "SLUICE_PORT"] {
            assert!(message(name, "1").unwrap().contains("SLUICE_SECTION__KEY"), "{name}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_the_whole_variable() {
        let names = || ["SLUICE_LOG", "SLUICE_STACKS__PORT_BASE", "SLUICE_STACKSX__A", "SLUICE_STORES__KAFKA__BROKER"];
        let message = |path: &[&str], field: &str| {
            let path: Vec<_> = path.iter().map(|key| (*key).to_owned()).collect();
            unknown_field_error(names().map(str::to_owned), &path, field, &["stack", "stores"])
        };
        insta::assert_snapshot!(message(&["stacks"], "stacks"), @"read the variable SLUICE_STACKS__PORT_BASE: there is no such setting; write one of these instead of STACKS: STACK, STORES");
        for path in [&["stores", "kafka"][..], &["stores", "kafka", "broker"]] {
            assert!(message(path, "broker").starts_with("read the variable SLUICE_STORES__KAFKA__BROKER: "));
        }
    }

    #[test]
    fn variables_of_an_orchestrator_and_correct_ones_are_accepted() {
        for (name, value) in [
            ("SLUICE_STORES__POSTGRES__PORT", "21000"),
            ("SLUICE_STORES__POSTGRES__PROT", "21000"),
            ("SLUICE_LOG", "info"),
            ("SLUICE_CONFIG", "a.toml"),
            ("SLUICE_CACHE", "/var/cache/sluice"),
            ("SLUICE_TEST_PORT_BASE", "24000"),
            ("SLUICE_SERVICE_HOST", "10.0.0.1"),
            ("SLUICE_PORT", "tcp://10.0.0.1:9090"),
            ("SLUICE_PORT_9090_TCP_PROTO", "tcp"),
            ("SLUICE_METRICS_SERVICE_PORT_HTTP", "9090"),
            ("SLUICE_STACKS__PORT_BASE", "1"),
            ("OTHER", "1"),
            ("SLUICE_INGEST_SERVICE_HOST", "10.0.0.1"),
            ("SLUICE_INGEST_SERVICE_PORT", "9090"),
            ("SLUICE_INGEST_SERVICE_PORT_HTTP", "9090"),
            ("SLUICE_INGEST_PORT", "tcp://10.0.0.1:9090"),
            ("SLUICE_INGEST_PORT_9090_TCP", "tcp://10.0.0.1:9090"),
            ("SLUICE_INGEST_PORT_9090_TCP_ADDR", "10.0.0.1"),
        ] {
            assert_eq!(message(name, value), None, "{name}");
        }
    }
}
