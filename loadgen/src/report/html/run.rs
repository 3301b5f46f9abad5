//! The section on the run itself: the generator, the plan, the machine, the versions and the configuration. It reads
//! nothing from the machine: all of it is in the report.

use maud::{Markup, html};

use crate::report::contents::Report;
use crate::report::wording::{UNKNOWN, millis};

/// The section; the scenario and the configuration are JSON.
pub(super) fn section(report: &Report, scenario: &str, configuration: &str) -> Markup {
    html! {
        section #run {
            h2 { "Run" }
            div.columns {
                div { h3 { "Generator" } (list(&generator(report))) }
                div { h3 { "Plan and machine" } (list(&plan(report))) }
                div { h3 { "Stores" } (list(&stores(report))) }
            }
            details { summary { "Scenario" } pre { (scenario) } }
            details { summary { "Configuration, without secrets" } pre { (configuration) } }
        }
    }
}

fn list(entries: &[(String, String)]) -> Markup {
    html! { dl.list { @for (name, value) in entries { dt { (name) } dd { (value) } } } }
}

fn generator(report: &Report) -> Vec<(String, String)> {
    let generator = &report.generator;
    let share =
        |share: Option<f64>| share.map_or_else(|| UNKNOWN.to_owned(), |share| format!("{:.1} %", share * 100.0));
    let entries = [
        ("questions sent late, p99", millis(generator.probe_lag_p99_us)),
        ("writes sent late, p99", millis(generator.write_lag_p99_us)),
        ("tasks delayed, p99", millis(generator.task_delay_p99_us)),
        ("its share of the processors", share(generator.processor_share)),
        ("taken by the hypervisor", share(generator.steal_share)),
        ("raised priority", if generator.priority_is_raised { "yes" } else { "no" }.to_owned()),
    ];
    entries.map(|(name, value)| (name.to_owned(), value)).into()
}

fn plan(report: &Report) -> Vec<(String, String)> {
    let (run, scenario) = (&report.run, &report.run.scenario);
    let memory = run.machine.memory_bytes;
    let entries = [
        ("plan digest", run.digest.clone()),
        ("data seed", scenario.seed.to_string()),
        ("key seed", scenario.key_seed.to_string()),
        ("compression", format!("{:.0} times real time", scenario.compression())),
        ("system", run.machine.system.clone()),
        ("processors", run.machine.cpus.to_string()),
        (
            "memory",
            memory
                .map_or_else(|| UNKNOWN.to_owned(), |bytes| format!("{:.1} GiB", bytes as f64 / (1_u64 << 30) as f64)),
        ),
        ("report version", report.version.to_string()),
    ];
    entries.map(|(name, value)| (name.to_owned(), value)).into()
}

fn stores(report: &Report) -> Vec<(String, String)> {
    let stores = &report.run.stores;
    if stores.is_empty() {
        return vec![("versions".to_owned(), "not known".to_owned())];
    }
    stores.iter().map(|(store, version)| (store.clone(), version.clone())).collect()
}
