//! `sluice schemas apply | check`: every store's schema, from the files in `schemas/`.

use anyhow::bail;
use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use sluice_schemas::{SchemaError, Store, runs};

use crate::{
    exit::{Exit, Failure, OrExit},
    run::about_the_namespace,
    screen,
    settings::Settings,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Bring every store's schema up to date; running it again changes nothing
    Apply(Which),
    /// Report differences between the stores and the files; exits 1 if there are any
    Check(Which),
}

/// The chosen stores.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Use only these, separated by commas: postgres, kafka, clickhouse, elasticsearch, redis, s3
    #[arg(long, value_delimiter = ',', value_name = "STORES")]
    only: Vec<String>,
}

/// Applies or checks, in the configured namespace.
pub(crate) async fn run(verb: Verb, settings: &Settings) -> Result<Exit, Failure> {
    match verb {
        Verb::Apply(only) => apply(settings, &chosen(&only)?).await,
        Verb::Check(only) => check(settings, &chosen(&only)?).await,
    }
}

async fn apply(settings: &Settings, which: &[Store]) -> Result<Exit, Failure> {
    let names = runs::resolve_names(&settings.stores, &settings.names(), which).await.map_err(about_the_namespace)?;
    if names.mark().is_some() {
        return Err(about_the_namespace(SchemaError::RunNamespace(names.namespace().to_owned())));
    }
    let applied = sluice_schemas::apply::apply(&settings.stores, &names, which).await?;
    let mut table = table(&["store", "object", "outcome"]);
    for done in applied {
        table.add_row([done.store.as_str(), &done.object, &done.outcome.to_string()]);
    }
    screen::print(&table.to_string())?;
    Ok(Exit::Pass)
}

async fn check(settings: &Settings, which: &[Store]) -> Result<Exit, Failure> {
    let names = runs::resolve_names(&settings.stores, &settings.names(), which).await.map_err(about_the_namespace)?;
    let drifts = sluice_schemas::check::check(&settings.stores, &names, which).await?;
    if drifts.is_empty() {
        screen::print("no drift: every store matches the files")?;
        return Ok(Exit::Pass);
    }
    let mut table = table(&["store", "object", "expected", "found"]);
    for drift in &drifts {
        table.add_row([drift.store.as_str(), &drift.object, &drift.expected, &drift.found]);
    }
    screen::print(&table.to_string())?;
    let (count, noun) = (drifts.len(), if drifts.len() == 1 { "difference" } else { "differences" });
    screen::note(&format!(
        "{count} {noun}; `sluice schemas apply` creates missing objects and corrects topics, templates and policies; revert manual changes \
         to a table, an index or row-level security by hand or with a new migration"
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
fn chosen(which: &Which) -> Result<Vec<Store>, Failure> {
    if which.only.is_empty() {
        return Ok(Store::ALL.to_vec());
    }
    which.only.iter().map(|name| find(name)).collect::<anyhow::Result<_>>().or_exit(Exit::Usage)
}

fn find(name: &str) -> anyhow::Result<Store> {
    Ok(match name {
        "postgres" => Store::Postgres,
        "kafka" => Store::Kafka,
        "clickhouse" => Store::ClickHouse,
        "elasticsearch" => Store::Elasticsearch,
        // Both clusters share one schema file.
        "redis" | "redis-cache" | "redis-state" => Store::Redis,
        "s3" => Store::S3,
        _ => bail!("choose the store \"{name}\": there are postgres, kafka, clickhouse, elasticsearch, redis and s3"),
    })
}
