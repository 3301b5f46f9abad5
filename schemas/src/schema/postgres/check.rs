//! Compares PostgreSQL's catalog with `postgres/catalog.txt`, the partitions with what a partition must be, and the
//! recorded migrations with the files. It never changes anything.

use sqlx::PgConnection;

use super::client::{failed, has_database};
use super::roles::logins;
use super::{migrations, partitions};
use crate::connect::{self, Role};
use crate::error::SchemaError;
use crate::names::Names;
use crate::schema::drift::Drift;
use crate::schema::facts::{self, Facts};
use crate::schema::migration::render;
use crate::store::Store;
use crate::stores::Stores;

const CATALOG: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/postgres/catalog.sql"));
const EXPECTED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/postgres/catalog.txt"));

/// Compares; see [`crate::check::check`].
pub(crate) async fn check(stores: &Stores, names: &Names) -> Result<Vec<Drift>, SchemaError> {
    let mut admin = connect::postgres_admin(stores).await?;
    if !has_database(&mut admin, &names.database()).await? {
        return Ok(vec![Drift::missing(Store::Postgres, format!("database {}", names.database()))]);
    }
    let owner = connect::postgres(stores, names, Role::Owner).await?;
    // The catalog prints times in the session's time zone.
    let mut connection = owner.acquire().await.map_err(failed("connect"))?;
    sqlx::query("SET timezone = 'UTC'").execute(&mut *connection).await.map_err(failed("set the time zone"))?;
    let mut drift = migrations::check(&owner).await?;
    drift.extend(facts::compare(Store::Postgres, &expected(stores), &read_facts(&mut connection).await?));
    drift.extend(partitions::check(&mut connection, stores, names).await?);
    Ok(drift)
}

fn expected(stores: &Stores) -> Facts {
    let users: Vec<_> = logins(stores).iter().map(|(role, login)| (*role, login.user.clone())).collect();
    facts::parse(&render(EXPECTED, &users))
}

async fn read_facts(connection: &mut PgConnection) -> Result<Facts, SchemaError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as(CATALOG).fetch_all(connection).await.map_err(failed("read the catalog"))?;
    Ok(rows.into_iter().collect())
}
