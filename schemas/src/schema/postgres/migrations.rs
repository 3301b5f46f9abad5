//! The migrations of the namespace's database. A file runs as the role in its `-- run as:` line, in one transaction
//! with its record in `schema_migrations`. No file runs twice.

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::client::failed;
use super::roles::logins;
use super::run::label_created;
use crate::connect::{self, Role};
use crate::error::SchemaError;
use crate::names::Names;
use crate::schema::drift::Drift;
use crate::schema::migration::{self, Migration, migrations, render};
use crate::schema::outcome::{AppliedObject, Outcome};
use crate::sql::postgres::identifier;
use crate::store::Store;
use crate::stores::Stores;

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

/// Applies the files that are not recorded yet.
pub(super) async fn apply(owner: &PgPool, stores: &Stores, names: &Names) -> Result<Vec<AppliedObject>, SchemaError> {
    create_history(owner, names).await.map_err(failed("create schema_migrations"))?;
    let mut applied = Vec::new();
    for file in MIGRATIONS {
        let outcome = migrate(owner, stores, names, file).await?;
        applied.push(AppliedObject::new(Store::Postgres, file.file, outcome));
    }
    Ok(applied)
}

/// Compares the recorded files with the migrations.
pub(super) async fn check(owner: &PgPool) -> Result<Vec<Drift>, SchemaError> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('schema_migrations') IS NOT NULL")
        .fetch_one(owner)
        .await
        .map_err(failed("look for schema_migrations"))?;
    let recorded: Vec<(String, String)> = if exists {
        let rows = sqlx::query_as("SELECT file, sha256 FROM schema_migrations").fetch_all(owner).await;
        rows.map_err(failed("read schema_migrations"))?
    } else {
        Vec::new()
    };
    Ok(migration::compare(Store::Postgres, MIGRATIONS, recorded))
}

async fn create_history(owner: &PgPool, names: &Names) -> Result<(), sqlx::Error> {
    let mut transaction = owner.begin().await?;
    sqlx::query(HISTORY).execute(&mut *transaction).await?;
    label_created(&mut transaction, names).await?;
    transaction.commit().await
}

async fn migrate(owner: &PgPool, stores: &Stores, names: &Names, file: &Migration) -> Result<Outcome, SchemaError> {
    let recorded: Option<String> = sqlx::query_scalar("SELECT sha256 FROM schema_migrations WHERE file = $1")
        .bind(file.file)
        .fetch_optional(owner)
        .await
        .map_err(failed("read schema_migrations"))?;
    if file.is_applied(Store::Postgres, recorded.as_deref())? {
        return Ok(Outcome::Unchanged);
    }
    if file.runs_as("superuser") {
        let mut admin = connect::postgres_connection(stores, &names.database(), Role::Admin).await?;
        if !is_superuser(&mut admin).await? {
            let reason = "needs a superuser; containment queries under row-level security will not use the GIN indexes";
            return Ok(Outcome::Skipped(reason.to_owned()));
        }
        let ran = sqlx::raw_sql(AssertSqlSafe(file.text)).execute(&mut admin).await;
        ran.map_err(failed(format!("apply {}", file.file)))?;
    }
    run_and_record(owner, stores, names, file).await.map_err(failed(format!("apply {}", file.file)))?;
    Ok(Outcome::Created)
}

async fn is_superuser(admin: &mut PgConnection) -> Result<bool, SchemaError> {
    let query = sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user");
    query.fetch_one(admin).await.map_err(failed("read the administrator's role"))
}

/// Runs an owner's file and records it in one transaction; a superuser's file has already run and is only recorded.
async fn run_and_record(owner: &PgPool, stores: &Stores, names: &Names, file: &Migration) -> Result<(), sqlx::Error> {
    let mut transaction = owner.begin().await?;
    if file.runs_as("owner") {
        let sql = render(file.text, &identifiers(stores, names));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
        label_created(&mut transaction, names).await?;
    }
    sqlx::query("INSERT INTO schema_migrations (file, sha256) VALUES ($1, $2)")
        .bind(file.file)
        .bind(file.sha256())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// The values of the files' placeholders, as quoted identifiers.
fn identifiers(stores: &Stores, names: &Names) -> Vec<(&'static str, String)> {
    let mut values: Vec<_> = logins(stores).iter().map(|(role, login)| (*role, identifier(&login.user))).collect();
    values.push(("database", identifier(&names.database())));
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_states_its_role() {
        for file in MIGRATIONS {
            assert!(["owner", "superuser"].iter().any(|role| file.runs_as(role)), "{}", file.file);
        }
    }
}
