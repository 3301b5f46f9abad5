//! `sluice schemas apply | check`: applies the schema files in `schemas/` to the stores, or compares them. It never
//! drops an object.

use anyhow::bail;
use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use sluice_loadgen::number::counted;
use sluice_schemas::{SchemaError, Store, runs};

use crate::{
    exit::{Exit, Failure, OrExit},
    run::namespace_failure,
    screen,
    settings::Settings,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Bring every store's schema up to date; running it again changes nothing
    Apply(Selection),
    /// Report differences between the stores and the files; exits 1 if there are any
    Check(Selection),
}

/// The stores to use.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Use only these, separated by commas: postgres, kafka, clickhouse, elasticsearch, redis, s3
    #[arg(long, value_delimiter = ',', value_name = "STORES")]
    only: Vec<String>,
}

/// Runs a verb in the configured namespace.
pub(crate) async fn run(verb: Verb, settings: &Settings) -> Result<Exit, Failure> {
    match verb {
        Verb::Apply(selection) => apply(settings, &selected(&selection)?).await,
        Verb::Check(selection) => check(settings, &selected(&selection)?).await,
    }
}

async fn apply(settings: &Settings, stores: &[Store]) -> Result<Exit, Failure> {
    let names = runs::resolve_names(&settings.stores, &settings.names(), stores).await.map_err(namespace_failure)?;
    if names.mark().is_some() {
        return Err(namespace_failure(SchemaError::RunNamespace(names.namespace().to_owned())));
    }
    let applied = sluice_schemas::apply::apply(&settings.stores, &names, stores).await?;
    let mut table = table(&["store", "object", "outcome"]);
    for applied in applied {
        table.add_row([applied.store.as_str(), &applied.object, &applied.outcome.to_string()]);
    }
    screen::print(&table.to_string())?;
    Ok(Exit::Pass)
}

async fn check(settings: &Settings, stores: &[Store]) -> Result<Exit, Failure> {
    let names = runs::resolve_names(&settings.stores, &settings.names(), stores).await.map_err(namespace_failure)?;
    let drifts = sluice_schemas::check::check(&settings.stores, &names, stores).await?;
    if drifts.is_empty() {
        screen::print("no drift: every store matches the files")?;
        return Ok(Exit::Pass);
    }
    let mut table = table(&["store", "object", "expected", "found"]);
    for drift in &drifts {
        table.add_row([drift.store.as_str(), &drift.object, &drift.expected, &drift.found]);
    }
    screen::print(&table.to_string())?;
    screen::note(&format!(
        "{}; `sluice schemas apply` creates missing objects and corrects topics, templates and policies; revert manual changes \
         to a table, an index or row-level security by hand or with a new migration",
        counted(drifts.len() as u64, "difference")
    ));
    Ok(Exit::Fail)
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(header.iter().copied());
    // Expressions and policies are long; in a narrow terminal they wrap within their column.
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// All stores, or those named with `--only`.
fn selected(selection: &Selection) -> Result<Vec<Store>, Failure> {
    if selection.only.is_empty() {
        return Ok(Store::ALL.to_vec());
    }
    selection.only.iter().map(|name| parse_store(name)).collect::<anyhow::Result<_>>().or_exit(Exit::Usage)
}

fn parse_store(name: &str) -> anyhow::Result<Store> {
    Ok(match name {
        "postgres" => Store::Postgres,
        "kafka" => Store::Kafka,
        "clickhouse" => Store::ClickHouse,
        "elasticsearch" => Store::Elasticsearch,
        // Both clusters share one schema file.
        "redis" | "redis-cache" | "redis-state" => Store::Redis,
        "s3" => Store::S3,
        _ => bail!("choose the store \"{name}\": use postgres, kafka, clickhouse, elasticsearch, redis or s3"),
    })
}
