//! PostgreSQL in a run's namespace. The marker is the comment of a role that nobody can sign in as, made in one transaction
//! before the database, and of the database itself. What the migrations make carries a label as its comment.
//! Never drops a database and never uses CASCADE: what somebody else made in the database, or on it, stays.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgConnection};

use super::{MAINTENANCE, failed, identifier, literal};
use crate::connect::{self, Role};
use crate::error::SchemaError;
use crate::marker::{Marker, label};
use crate::names::{Mark, Names};
use crate::runs::Foreign;
use crate::store::Store;
use crate::stores::Stores;

/// Relations, functions and publications of the database that extensions did not bring, and what each carries.
const OBJECTS: &str = include_str!("run_objects.sql");
/// What PostgreSQL answers when something else depends on what is dropped.
const DEPENDENT_OBJECTS: &str = "2BP01";

/// An object of the database.
#[derive(Debug)]
struct Object {
    /// `TABLE`, `FUNCTION` and so on, as DROP calls it.
    kind: String,
    name: String,
    /// As DROP takes it.
    quoted: String,
    comment: Option<String>,
    /// The table whose partition it is.
    parent: Option<String>,
}

/// The columns of [`OBJECTS`], in their order.
type Row = (String, String, String, Option<String>, Option<String>);

impl From<Row> for Object {
    fn from((kind, name, quoted, comment, parent): Row) -> Self {
        Self { kind, name, quoted, comment, parent }
    }
}

impl Object {
    fn is_labelled(&self, names: &Names) -> bool {
        self.comment.is_some() && self.comment == label(names, &self.name)
    }

    fn is_months(&self) -> bool {
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
    let mut admin = connect::postgres_connection(stores, MAINTENANCE, Role::Admin).await?;
    let comments = [role_comment(&mut admin, names).await?, database_comment(&mut admin, names).await?];
    Ok(comments.iter().flatten().flatten().filter_map(|comment| Marker::mark(comment, names)).collect())
}

/// The comment of the marker's role; the outer `None` says that there is no such role.
async fn role_comment(admin: &mut PgConnection, names: &Names) -> Result<Option<Option<String>>, SchemaError> {
    let asked = sqlx::query_scalar("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = $1");
    asked.bind(marker_role(names)).fetch_optional(admin).await.map_err(failed("read the marker of a run"))
}

/// The comment of the database; the outer `None` says that there is no such database.
async fn database_comment(admin: &mut PgConnection, names: &Names) -> Result<Option<Option<String>>, SchemaError> {
    let asked = sqlx::query_scalar("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1");
    asked.bind(names.database()).fetch_optional(admin).await.map_err(failed("read the marker of a run"))
}

/// What stands in the way of a run in this namespace.
pub(crate) async fn foreign(stores: &Stores, names: &Names) -> Result<Vec<String>, SchemaError> {
    let mut admin = connect::postgres_connection(stores, MAINTENANCE, Role::Admin).await?;
    let (role, database) = (role_comment(&mut admin, names).await?, database_comment(&mut admin, names).await?);
    let is_own = |comment: &Option<String>| {
        comment.as_deref().and_then(|text| Marker::mark(text, names)).as_ref() == names.mark()
    };
    let mut foreign = Vec::new();
    if role.as_ref().is_some_and(|comment| !is_own(comment)) {
        foreign.push(format!("role {}", marker_role(names)));
    }
    let Some(comment) = database else { return Ok(foreign) };
    let objects = objects(stores, names).await?;
    if is_own(&comment) {
        foreign.extend(in_the_way(&objects, names));
    } else if comment.is_some() || !role.is_some_and(|comment| is_own(&comment)) || !objects.is_empty() {
        // A run that was killed between making its database and marking it leaves its role's marker and an empty database.
        foreign.push(format!("database {}", names.database()));
    }
    Ok(foreign)
}

/// What carries no label and stands under a name of the migrations, or is attached to a table of ours.
fn in_the_way<'a>(objects: &'a [Object], names: &'a Names) -> impl Iterator<Item = String> + 'a {
    let needed =
        ["customers", "campaigns", "communications", "communications_default", "schema_migrations", "sluice_cdc"];
    objects.iter().filter(|object| !object.is_labelled(names)).filter_map(move |object| match &object.parent {
        Some(parent) if parent == "communications" && object.is_months() => None,
        Some(parent) if needed.contains(&parent.as_str()) => Some(format!("partition {} of {parent}", object.name)),
        _ if needed.contains(&object.name.as_str()) || object.is_months() => Some(object.describe()),
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

/// Makes the role with its marker, at once.
pub(crate) async fn make_marker(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let Some(text) = Marker::text(names) else { return Ok(()) };
    let mut admin = connect::postgres_connection(stores, MAINTENANCE, Role::Admin).await?;
    if role_comment(&mut admin, names).await?.is_some() {
        return Ok(());
    }
    let role = identifier(&marker_role(names));
    let sql = format!("BEGIN; CREATE ROLE {role} NOLOGIN; COMMENT ON ROLE {role} IS {}; COMMIT", literal(&text));
    let made = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await;
    made.map(drop).map_err(failed("make the marker of a run"))
}

/// Marks the database, which [`foreign`] has found to be ours or which was made just now.
pub(super) async fn mark_database(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let Some(text) = Marker::text(names) else { return Ok(()) };
    let mut owner = connect::postgres_connection(stores, &names.database(), Role::Owner).await?;
    if database_comment(&mut owner, names).await?.flatten().is_some() {
        return Ok(());
    }
    let sql = format!("COMMENT ON DATABASE {} IS {}", identifier(&names.database()), literal(&text));
    let marked = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut owner).await;
    marked.map(drop).map_err(failed(format!("mark database {}", names.database())))
}

/// Labels what the current transaction has made. Does nothing where the names are not a run's.
pub(super) async fn label_made(transaction: &mut PgConnection, names: &Names) -> Result<(), sqlx::Error> {
    if names.mark().is_none() {
        return Ok(());
    }
    let made = format!("{OBJECTS} AND made_now");
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(made)).fetch_all(&mut *transaction).await?;
    for object in rows.into_iter().map(Object::from).filter(|object| object.comment.is_none()) {
        let text = label(names, &object.name).unwrap_or_default();
        let sql = format!("COMMENT ON {} {} IS {}", object.kind, object.quoted, literal(&text));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
    }
    Ok(())
}

/// Drops what carries the labels of this namespace, all or nothing. Partitions go with their table.
pub(crate) async fn clear(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let mut admin = connect::postgres_connection(stores, MAINTENANCE, Role::Admin).await?;
    if database_comment(&mut admin, names).await?.flatten().is_none() {
        return Ok(());
    }
    let objects = objects(stores, names).await?;
    let own: Vec<&Object> = objects.iter().filter(|object| object.is_labelled(names)).collect();
    // Tables in one statement, since they refer to each other; the function takes one of them as a type of its variables only.
    let drops = ["PUBLICATION", "TABLE", "FUNCTION"].into_iter().filter_map(|kind| drop_all(kind, &own));
    let sql = format!("BEGIN; SET LOCAL lock_timeout = '60s'; {} COMMIT", drops.collect::<String>());
    let mut owner = connect::postgres_connection(stores, &names.database(), Role::Owner).await?;
    match sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut owner).await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(DEPENDENT_OBJECTS) => {
            Err(depended_on(names, error.message()))
        }
        Err(error) => Err(failed(format!("drop what earlier runs made in {}", names.database()))(error)),
    }
}

/// The statement that drops all objects of a kind; `None` where there is none.
fn drop_all(kind: &str, own: &[&Object]) -> Option<String> {
    let quoted = own.iter().filter(|object| object.kind == kind).map(|object| object.quoted.as_str());
    let quoted = quoted.collect::<Vec<_>>().join(", ");
    (!quoted.is_empty()).then(|| format!("DROP {kind} IF EXISTS {quoted};"))
}

fn depended_on(names: &Names, message: &str) -> SchemaError {
    let objects = vec![format!("in database {} something that depends on a run's table ({message})", names.database())];
    let foreign = vec![Foreign { store: Store::Postgres, is_marked: true, objects }];
    SchemaError::NotARuns { namespace: names.namespace().to_owned(), foreign }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, name: &str, parent: Option<&str>, comment: Option<String>) -> Object {
        let parent = parent.map(str::to_owned);
        Object { kind: kind.to_owned(), name: name.to_owned(), quoted: name.to_owned(), comment, parent }
    }

    #[test]
    fn only_unlabelled_objects_under_needed_names_are_in_the_way() {
        let names = Names::new("t").unwrap().marked(Mark::new());
        let labelled = |name: &str| label(&names, name);
        let objects = [
            object("TABLE", "customers", None, labelled("customers")),
            object("TABLE", "communications_y2026m11", Some("communications"), None),
            object("TABLE", "mine", None, None),
            // A copy or a table with another name keeps the comment.
            object("TABLE", "kept", None, labelled("customers")),
            object("TABLE", "campaigns", None, labelled("customers")),
            object("TABLE", "odd", Some("communications"), None),
            object("FUNCTION", "ensure_partitions(date,date)", None, None),
        ];
        let found: Vec<_> = in_the_way(&objects, &names).collect();
        let expected = ["table campaigns", "partition odd of communications", "function ensure_partitions(date,date)"];
        assert_eq!(found, expected);
    }
}
