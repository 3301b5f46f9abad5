//! PostgreSQL: roles, the namespace's database, its migrations and the partitions ahead.
//! Files run as the role that their `-- run as:` line names; what was applied is kept in `schema_migrations`.

pub(crate) mod check;
pub(crate) mod run;

use chrono::{Datelike, Months, NaiveDate, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::apply::{Applied, Outcome};
use crate::connect::{self, Role};
use crate::error::{SchemaError, refused};
use crate::migration::{Migration, migrations, render};
use crate::names::Names;
use crate::store::Store;
use crate::stores::{Login, Stores};

/// The database that every server has, where roles and databases are made.
const MAINTENANCE: &str = "postgres";
/// How many months back, and ahead, `apply` makes partitions for.
const MONTHS_BACK: u32 = 12;
const MONTHS_AHEAD: u32 = 3;

const ROLES: Migration = migrations!["postgres": "0001_roles.sql"][0];
const MIGRATIONS: &[Migration] = migrations!["postgres":
    "0002_tables.sql",
    "0003_indexes.sql",
    "0004_row_level_security.sql",
    "0005_partitions.sql",
    "0006_grants.sql",
    "0007_change_data_capture.sql",
    "0008_leakproof_containment.sql",
];
const HISTORY: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    file text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())";

fn failed(doing: impl Into<String>) -> impl FnOnce(sqlx::Error) -> SchemaError {
    refused(Store::Postgres, doing)
}

/// Applies everything; see [`crate::apply::apply`].
pub(crate) async fn apply(stores: &Stores, names: &Names) -> Result<Vec<Applied>, SchemaError> {
    let mut admin = connect::postgres_connection(stores, MAINTENANCE, Role::Admin).await?;
    let mut applied = vec![
        Applied::new(Store::Postgres, ROLES.file, create_roles(&mut admin, stores).await?),
        Applied::new(Store::Postgres, names.database(), create_database(&mut admin, stores, names).await?),
    ];
    run::mark_database(stores, names).await?;
    let owner = connect::postgres(stores, names, Role::Owner).await?;
    create_history(&owner, names).await.map_err(failed("create schema_migrations"))?;
    for migration in MIGRATIONS {
        let outcome = migrate(&owner, stores, names, migration).await?;
        applied.push(Applied::new(Store::Postgres, migration.file, outcome));
    }
    applied.push(ensure_partitions(&owner).await?);
    Ok(applied)
}

/// Drops the namespace's database with everybody who is connected to it, and a run's marker. The platform's roles stay:
/// other databases use them.
pub(crate) async fn drop_namespace(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let mut admin = connect::postgres_connection(stores, MAINTENANCE, Role::Admin).await?;
    let (database, role) = (identifier(&names.database()), identifier(&run::marker_role(names)));
    for sql in [format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"), format!("DROP ROLE IF EXISTS {role}")] {
        let dropped = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await;
        dropped.map_err(failed(format!("drop database {}", names.database())))?;
    }
    Ok(())
}

async fn create_roles(admin: &mut PgConnection, stores: &Stores) -> Result<Outcome, SchemaError> {
    let roles: Vec<String> = own_logins(stores).iter().map(|(_, login)| login.user.clone()).collect();
    let all_there = "SELECT count(*) = cardinality($1) FROM pg_roles WHERE rolname = ANY($1)";
    let there: bool =
        sqlx::query_scalar(all_there).bind(roles).fetch_one(&mut *admin).await.map_err(failed("list roles"))?;
    if there {
        return Ok(Outcome::Unchanged);
    }
    let logins = own_logins(stores);
    let values: Vec<(String, String)> = logins
        .iter()
        .flat_map(|(name, login)| {
            let password = (format!("{name}_password"), literal(login.password.reveal()));
            [((*name).to_owned(), literal(&login.user)), password]
        })
        .collect();
    let values: Vec<(&str, String)> = values.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let created = sqlx::raw_sql(AssertSqlSafe(render(ROLES.text, &values))).execute(admin).await;
    created.map_err(failed(format!("apply {}", ROLES.file)))?;
    Ok(Outcome::Created)
}

/// The roles that `apply` makes, by their placeholders.
fn own_logins(stores: &Stores) -> [(&'static str, &Login); 5] {
    let postgres = &stores.postgres;
    [
        ("owner", &postgres.owner),
        ("app", &postgres.app),
        ("cdc", &postgres.cdc),
        ("loader", &postgres.loader),
        ("reader", &postgres.reader),
    ]
}

async fn create_database(admin: &mut PgConnection, stores: &Stores, names: &Names) -> Result<Outcome, SchemaError> {
    let database = names.database();
    let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(&database)
        .fetch_one(&mut *admin)
        .await
        .map_err(failed("list databases"))?;
    if there {
        return Ok(Outcome::Unchanged);
    }
    // template1 cannot be copied while anybody is connected to it.
    let sql = format!(
        "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'",
        identifier(&database),
        identifier(&stores.postgres.owner.user)
    );
    let created = sqlx::raw_sql(AssertSqlSafe(sql)).execute(admin).await;
    created.map_err(failed(format!("create database {database}")))?;
    Ok(Outcome::Created)
}

async fn create_history(owner: &PgPool, names: &Names) -> Result<(), sqlx::Error> {
    let mut transaction = owner.begin().await?;
    sqlx::query(HISTORY).execute(&mut *transaction).await?;
    run::label_made(&mut transaction, names).await?;
    transaction.commit().await
}

async fn migrate(owner: &PgPool, stores: &Stores, names: &Names, file: &Migration) -> Result<Outcome, SchemaError> {
    let recorded: Option<String> = sqlx::query_scalar("SELECT sha256 FROM schema_migrations WHERE file = $1")
        .bind(file.file)
        .fetch_optional(owner)
        .await
        .map_err(failed("read schema_migrations"))?;
    match recorded {
        Some(sha256) if sha256 == file.sha256() => return Ok(Outcome::Unchanged),
        Some(_) => return Err(SchemaError::Edited { store: Store::Postgres, file: file.file.to_owned() }),
        None => {}
    }
    if file.runs_as("superuser") {
        let mut admin = connect::postgres_connection(stores, &names.database(), Role::Admin).await?;
        if !is_superuser(&mut admin).await? {
            let reason = "needs a superuser; containment queries under row-level security will not use the GIN indexes";
            return Ok(Outcome::Skipped(reason.to_owned()));
        }
        let done = sqlx::raw_sql(AssertSqlSafe(file.text)).execute(&mut admin).await;
        done.map_err(failed(format!("apply {}", file.file)))?;
    }
    run_and_record(owner, stores, names, file).await.map_err(failed(format!("apply {}", file.file)))?;
    Ok(Outcome::Created)
}

async fn is_superuser(admin: &mut PgConnection) -> Result<bool, SchemaError> {
    let asked = sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetch_one(admin).await;
    asked.map_err(failed("read the administrator's role"))
}

/// Runs an owner's file and records it in one transaction; a superuser's file has been run and is only recorded.
async fn run_and_record(owner: &PgPool, stores: &Stores, names: &Names, file: &Migration) -> Result<(), sqlx::Error> {
    let mut connection = owner.acquire().await?;
    let mut transaction = connection.begin().await?;
    if file.runs_as("owner") {
        let sql = render(file.text, &identifiers(stores, names));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
        run::label_made(&mut transaction, names).await?;
    }
    sqlx::query("INSERT INTO schema_migrations (file, sha256) VALUES ($1, $2)")
        .bind(file.file)
        .bind(file.sha256())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

fn identifiers(stores: &Stores, names: &Names) -> Vec<(&'static str, String)> {
    let mut values: Vec<_> = own_logins(stores).iter().map(|(name, login)| (*name, identifier(&login.user))).collect();
    values.push(("database", identifier(&names.database())));
    values
}

async fn ensure_partitions(owner: &PgPool) -> Result<Applied, SchemaError> {
    let (first, last) = months_ahead(Utc::now().date_naive());
    let made: i32 = sqlx::query_scalar("SELECT ensure_partitions($1, $2)")
        .bind(first)
        .bind(last)
        .fetch_one(owner)
        .await
        .map_err(failed("make partitions ahead"))?;
    let outcome = if made == 0 { Outcome::Unchanged } else { Outcome::Created };
    let what = format!("partitions {} to {}", first.format("%Y-%m"), last.format("%Y-%m"));
    Ok(Applied::new(Store::Postgres, what, outcome))
}

/// First days of the first and the last month that must have a partition on `today`.
fn months_ahead(today: NaiveDate) -> (NaiveDate, NaiveDate) {
    let month = today.with_day(1).unwrap_or(today);
    (month - Months::new(MONTHS_BACK), month + Months::new(MONTHS_AHEAD))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    // E'' so that a backslash means itself whatever standard_conforming_strings says.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_reach_a_year_back_and_three_months_ahead_over_the_turn_of_the_year() {
        let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).unwrap();
        assert_eq!(months_ahead(day(2026, 11, 30)), (day(2025, 11, 1), day(2027, 2, 1)));
    }

    #[test]
    fn names_and_passwords_cannot_break_out_of_their_quotes() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("a'b\\"), "E'a''b\\\\'");
    }

    #[test]
    fn every_file_says_who_runs_it() {
        for file in MIGRATIONS.iter().chain([&ROLES]) {
            assert!(["admin", "owner", "superuser"].iter().any(|who| file.runs_as(who)), "{}", file.file);
        }
    }
}
