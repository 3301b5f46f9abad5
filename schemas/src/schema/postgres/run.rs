//! PostgreSQL in a run's namespace. The marker is the comment of a role without login, created in one transaction
//! before the database, and of the database itself. Objects that the migrations create carry a label as their comment.
//! A database is never dropped and CASCADE is never used: foreign objects in the database, or that depend on it, stay.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgConnection};

use super::client::failed;
use crate::connect::{self, Role};
use crate::error::{ForeignObjects, SchemaError};
use crate::names::{Mark, Names};
use crate::schema::marker::{Marker, label};
use crate::sql::postgres::{identifier, literal};
use crate::store::Store;
use crate::stores::Stores;

/// Relations, functions and publications of the database, except those of extensions, with their comments.
const OBJECTS: &str = include_str!("run_objects.sql");
/// SQLSTATE dependent_objects_still_exist.
const DEPENDENT_OBJECTS: &str = "2BP01";

/// An object of the database.
#[derive(Debug)]
struct Object {
    /// `TABLE`, `FUNCTION` and so on, as in DROP.
    kind: String,
    name: String,
    /// The quoted name, as in DROP.
    quoted: String,
    comment: Option<String>,
    /// The table of which it is a partition.
    parent: Option<String>,
}

/// The columns of [`OBJECTS`], in order.
type Row = (String, String, String, Option<String>, Option<String>);

impl From<Row> for Object {
    fn from((kind, name, quoted, comment, parent): Row) -> Self {
        Self { kind, name, quoted, comment, parent }
    }
}

impl Object {
    fn is_labeled(&self, names: &Names) -> bool {
        self.comment.is_some() && self.comment == label(names, &self.name)
    }

    fn is_monthly_partition(&self) -> bool {
        let month = self.name.strip_prefix("communications_y").and_then(|month| month.split_once('m'));
        month.is_some_and(|(year, month)| [year, month].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit())))
    }

    fn describe(&self) -> String {
        format!("{} {}", self.kind.to_lowercase(), self.name)
    }
}

/// The role whose comment is the marker.
pub(super) fn marker_role(names: &Names) -> String {
    format!("sluice_run_{}", names.namespace())
}

/// The marks of the role and of the database.
pub(crate) async fn marks(stores: &Stores, names: &Names) -> Result<BTreeSet<Mark>, SchemaError> {
    let mut admin = connect::postgres_admin(stores).await?;
    let comments = [role_comment(&mut admin, names).await?, database_comment(&mut admin, names).await?];
    Ok(comments.iter().flatten().flatten().filter_map(|comment| Marker::decode(comment, names)).collect())
}

/// The comment of the marker role; the outer `None` means that the role does not exist.
async fn role_comment(admin: &mut PgConnection, names: &Names) -> Result<Option<Option<String>>, SchemaError> {
    let query = sqlx::query_scalar("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = $1");
    query.bind(marker_role(names)).fetch_optional(admin).await.map_err(failed("read the run marker"))
}

/// The comment of the database; the outer `None` means that the database does not exist.
async fn database_comment(admin: &mut PgConnection, names: &Names) -> Result<Option<Option<String>>, SchemaError> {
    let query = sqlx::query_scalar("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1");
    query.bind(names.database()).fetch_optional(admin).await.map_err(failed("read the run marker"))
}

/// Foreign objects that make this namespace unusable for a run.
pub(crate) async fn foreign(stores: &Stores, names: &Names) -> Result<Vec<String>, SchemaError> {
    let mut admin = connect::postgres_admin(stores).await?;
    let (role, database) = (role_comment(&mut admin, names).await?, database_comment(&mut admin, names).await?);
    let is_own = |comment: &Option<String>| {
        comment.as_deref().and_then(|text| Marker::decode(text, names)).as_ref() == names.mark()
    };
    let mut foreign = Vec::new();
    if role.as_ref().is_some_and(|comment| !is_own(comment)) {
        foreign.push(format!("role {}", marker_role(names)));
    }
    let Some(comment) = database else { return Ok(foreign) };
    let objects = objects(stores, names).await?;
    if is_own(&comment) {
        foreign.extend(conflicting(&objects, names));
    } else if comment.is_some() || !role.is_some_and(|comment| is_own(&comment)) || !objects.is_empty() {
        // A run killed between creating its database and marking it leaves a marked role and an empty database.
        foreign.push(format!("database {}", names.database()));
    }
    Ok(foreign)
}

/// Objects without a label that occupy a name of the migrations or are attached to one of their tables.
fn conflicting<'a>(objects: &'a [Object], names: &'a Names) -> impl Iterator<Item = String> + 'a {
    let needed =
        ["customers", "campaigns", "communications", "communications_default", "schema_migrations", "sluice_cdc"];
    objects.iter().filter(|object| !object.is_labeled(names)).filter_map(move |object| match &object.parent {
        Some(parent) if parent == "communications" && object.is_monthly_partition() => None,
        Some(parent) if needed.contains(&parent.as_str()) => Some(format!("partition {} of {parent}", object.name)),
        _ if needed.contains(&object.name.as_str()) || object.is_monthly_partition() => Some(object.describe()),
        _ if object.name.starts_with("ensure_partitions(") => Some(object.describe()),
        _ => None,
    })
}

async fn objects(stores: &Stores, names: &Names) -> Result<Vec<Object>, SchemaError> {
    let mut admin = connect::postgres_connection(stores, &names.database(), Role::Admin).await?;
    let rows: Result<Vec<Row>, _> = sqlx::query_as(OBJECTS).fetch_all(&mut admin).await;
    let rows = rows.map_err(failed(format!("list the objects of {}", names.database())))?;
    Ok(rows.into_iter().map(Object::from).collect())
}

/// Creates the role and its marker in one transaction.
pub(crate) async fn create_marker(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let Some(text) = Marker::encode(names) else { return Ok(()) };
    let mut admin = connect::postgres_admin(stores).await?;
    if role_comment(&mut admin, names).await?.is_some() {
        return Ok(());
    }
    let role = identifier(&marker_role(names));
    let sql = format!("BEGIN; CREATE ROLE {role} NOLOGIN; COMMENT ON ROLE {role} IS {}; COMMIT", literal(&text));
    let created = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await;
    created.map(drop).map_err(failed("create the run marker"))
}

/// Marks the database, which was just created or which [`foreign`] has recognized as a run's.
pub(super) async fn mark_database(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let Some(text) = Marker::encode(names) else { return Ok(()) };
    let mut owner = connect::postgres_connection(stores, &names.database(), Role::Owner).await?;
    if database_comment(&mut owner, names).await?.flatten().is_some() {
        return Ok(());
    }
    let sql = format!("COMMENT ON DATABASE {} IS {}", identifier(&names.database()), literal(&text));
    let marked = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut owner).await;
    marked.map(drop).map_err(failed(format!("mark database {}", names.database())))
}

/// Labels the objects that the current transaction has created. Does nothing if the names have no mark.
pub(super) async fn label_created(transaction: &mut PgConnection, names: &Names) -> Result<(), sqlx::Error> {
    if names.mark().is_none() {
        return Ok(());
    }
    let sql = format!("{OBJECTS} AND created_now");
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut *transaction).await?;
    for object in rows.into_iter().map(Object::from).filter(|object| object.comment.is_none()) {
        let text = label(names, &object.name).unwrap_or_default();
        let sql = format!("COMMENT ON {} {} IS {}", object.kind, object.quoted, literal(&text));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
    }
    Ok(())
}

/// Drops the objects that carry this namespace's labels, all or none. Partitions are dropped with their table.
pub(crate) async fn clear(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let mut admin = connect::postgres_admin(stores).await?;
    if database_comment(&mut admin, names).await?.flatten().is_none() {
        return Ok(());
    }
    let objects = objects(stores, names).await?;
    let labeled: Vec<&Object> = objects.iter().filter(|object| object.is_labeled(names)).collect();
    // Tables in one statement, since they reference each other. The function uses one as
    // the type of a variable, which is not a dependency.
    let drops = ["PUBLICATION", "TABLE", "FUNCTION"].into_iter().filter_map(|kind| drop_all(kind, &labeled));
    let sql = format!("BEGIN; SET LOCAL lock_timeout = '60s'; {} COMMIT", drops.collect::<String>());
    let mut owner = connect::postgres_connection(stores, &names.database(), Role::Owner).await?;
    match sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut owner).await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(DEPENDENT_OBJECTS) => {
            Err(depended_on(names, error.message()))
        }
        Err(error) => Err(failed(format!("drop what earlier runs created in {}", names.database()))(error)),
    }
}

/// The statement that drops all objects of a kind; `None` if there are none.
fn drop_all(kind: &str, objects: &[&Object]) -> Option<String> {
    let quoted = objects.iter().filter(|object| object.kind == kind).map(|object| object.quoted.as_str());
    let quoted = quoted.collect::<Vec<_>>().join(", ");
    (!quoted.is_empty()).then(|| format!("DROP {kind} IF EXISTS {quoted};"))
}

fn depended_on(names: &Names, message: &str) -> SchemaError {
    let objects = vec![format!("in database {} an object that depends on a run's table ({message})", names.database())];
    let foreign = vec![ForeignObjects { store: Store::Postgres, is_marked: true, objects }];
    SchemaError::NamespaceOccupied { namespace: names.namespace().to_owned(), foreign }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, name: &str, parent: Option<&str>, comment: Option<String>) -> Object {
        let parent = parent.map(str::to_owned);
        Object { kind: kind.to_owned(), name: name.to_owned(), quoted: name.to_owned(), comment, parent }
    }

    #[test]
    fn only_unlabeled_objects_under_needed_names_conflict() {
        let names = Names::new("t").unwrap().with_mark(Mark::new());
        let labeled = |name: &str| label(&names, name);
        let objects = [
            object("TABLE", "customers", None, labeled("customers")),
            object("TABLE", "communications_y2026m11", Some("communications"), None),
            object("TABLE", "mine", None, None),
            // A copied or renamed table keeps the comment.
            object("TABLE", "kept", None, labeled("customers")),
            object("TABLE", "campaigns", None, labeled("customers")),
            object("TABLE", "odd", Some("communications"), None),
            object("FUNCTION", "ensure_partitions(date,date)", None, None),
        ];
        let found: Vec<_> = conflicting(&objects, &names).collect();
        let expected = ["table campaigns", "partition odd of communications", "function ensure_partitions(date,date)"];
        assert_eq!(found, expected);
    }
}
