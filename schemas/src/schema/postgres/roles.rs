//! The platform's roles: missing ones are created. An existing role and its password are never changed.

use sqlx::{AssertSqlSafe, PgConnection};

use super::client::failed;
use crate::error::SchemaError;
use crate::schema::migration::{Migration, migrations, render};
use crate::schema::outcome::{AppliedObject, Outcome};
use crate::sql::postgres::literal;
use crate::store::Store;
use crate::stores::{Login, Stores};

const ROLES: Migration = migrations!["postgres": "0001_roles.sql"][0];

/// The platform's roles, by their placeholders in the files.
pub(super) fn logins(stores: &Stores) -> [(&'static str, &Login); 5] {
    let postgres = &stores.postgres;
    [
        ("owner", &postgres.owner),
        ("app", &postgres.app),
        ("cdc", &postgres.cdc),
        ("loader", &postgres.loader),
        ("reader", &postgres.reader),
    ]
}

/// Creates the roles unless all of them exist.
pub(super) async fn create(admin: &mut PgConnection, stores: &Stores) -> Result<AppliedObject, SchemaError> {
    let outcome = if all_exist(admin, stores).await? {
        Outcome::Unchanged
    } else {
        let created = sqlx::raw_sql(AssertSqlSafe(render(ROLES.text, &literals(stores)))).execute(admin).await;
        created.map_err(failed(format!("apply {}", ROLES.file)))?;
        Outcome::Created
    };
    Ok(AppliedObject::new(Store::Postgres, ROLES.file, outcome))
}

async fn all_exist(admin: &mut PgConnection, stores: &Stores) -> Result<bool, SchemaError> {
    let roles: Vec<String> = logins(stores).iter().map(|(_, login)| login.user.clone()).collect();
    let sql = "SELECT count(*) = cardinality($1) FROM pg_roles WHERE rolname = ANY($1)";
    sqlx::query_scalar(sql).bind(roles).fetch_one(admin).await.map_err(failed("list roles"))
}

/// The values of the file's placeholders: each role's name and password, as string literals.
fn literals(stores: &Stores) -> Vec<(String, String)> {
    let values = logins(stores).map(|(role, login)| {
        let password = (format!("{role}_password"), literal(login.password.reveal()));
        [(role.to_owned(), literal(&login.user)), password]
    });
    values.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_of_the_file_has_a_value() {
        assert!(ROLES.runs_as("admin"));
        assert!(!render(ROLES.text, &literals(&Stores::local(1))).contains("${"));
    }
}
