//! PostgreSQL: roles, the namespace's database, its migrations and the partitions ahead.
//! Roles are never dropped: other databases of the server use them.

mod check;
mod client;
mod migrations;
mod partitions;
mod roles;
pub(crate) mod run;

use sqlx::{AssertSqlSafe, PgConnection};

pub(crate) use self::check::check;
use self::client::{failed, has_database};
use crate::connect::{self, Role};
use crate::error::SchemaError;
use crate::names::Names;
use crate::schema::outcome::{AppliedObject, Outcome};
use crate::sql::postgres::identifier;
use crate::store::Store;
use crate::stores::Stores;

/// Applies everything; see [`crate::apply::apply`].
pub(crate) async fn apply(stores: &Stores, names: &Names) -> Result<Vec<AppliedObject>, SchemaError> {
    let mut admin = connect::postgres_admin(stores).await?;
    let mut applied = vec![
        roles::create(&mut admin, stores).await?,
        AppliedObject::new(Store::Postgres, names.database(), create_database(&mut admin, stores, names).await?),
    ];
    run::mark_database(stores, names).await?;
    let owner = connect::postgres(stores, names, Role::Owner).await?;
    applied.extend(migrations::apply(&owner, stores, names).await?);
    applied.push(partitions::create_ahead(&owner).await?);
    Ok(applied)
}

async fn create_database(admin: &mut PgConnection, stores: &Stores, names: &Names) -> Result<Outcome, SchemaError> {
    let database = names.database();
    if has_database(admin, &database).await? {
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

/// Drops the namespace's database, disconnecting its clients, and the role that is a run's marker.
pub(crate) async fn drop_namespace(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let mut admin = connect::postgres_admin(stores).await?;
    let (database, role) = (identifier(&names.database()), identifier(&run::marker_role(names)));
    for sql in [format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"), format!("DROP ROLE IF EXISTS {role}")] {
        let dropped = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await;
        dropped.map_err(failed(format!("drop database {}", names.database())))?;
    }
    Ok(())
}
