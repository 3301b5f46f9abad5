//! Questions to PostgreSQL: a prepared statement of the reader's role in a session that only reads; in a transaction of a tenant if
//! the question names one.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use sluice_schemas::connect;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use sluice_schemas::tenant;
use sqlx::postgres::{PgColumn, PgRow};
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Executor as _, PgConnection, Row as _, SqlSafeStr as _,
    Statement as _, TypeInfo as _,
};
use uuid::Uuid;

use super::Chosen;
use super::error::CustomError;
use super::parameters::Parameters;
use crate::question::Answer;
use crate::question::custom::{CustomQuestion, Piece};
use crate::target::{QueryError, connections::Connections};

/// The store, as errors name it.
const STORE: &str = "PostgreSQL";
/// Whether transactions of the session only read. A proxy may have left the setting out.
const READS_ONLY: &str = "SELECT current_setting('default_transaction_read_only')::bool";
/// Starts a transaction in which PostgreSQL refuses every write.
const BEGIN: &str = "BEGIN READ ONLY";
/// The name under which a statement is prepared to learn the types of its parameters.
const PREPARE: &str = "PREPARE sluice_question AS ";
/// The types of its parameters, as the server writes them, but for those that a cast would shorten to one character or bit.
const TYPES: &str = "\
SELECT array_agg(CASE type::oid WHEN 'bpchar'::regtype THEN 'bpchar' WHEN 'bit'::regtype THEN 'varbit' ELSE type::text END
                 ORDER BY number)
FROM pg_prepared_statements, unnest(parameter_types) WITH ORDINALITY AS parameter (type, number)
WHERE name = 'sluice_question'";

const NOT_COMPARABLE: &str = "its first column has a type that can't be compared with `expect.value`; cast it to text";

/// A question as it is sent.
#[derive(Debug)]
pub(super) struct Query {
    database: String,
    sql: String,
    /// The parameters in the order of their numbers.
    order: Vec<String>,
    tenant: Option<String>,
    /// Whether the session itself refuses every write. Otherwise each transaction says it, which takes two more round trips.
    session_reads_only: bool,
    /// Whether the first value is compared.
    reads_value: bool,
}

impl Query {
    /// The database that is asked.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// Lets the server check the text and say the types of the parameters; asks it once.
    pub(super) async fn prepare(
        question: &CustomQuestion,
        parameters: &Parameters,
        (stores, names): (&Stores, &Names),
    ) -> Result<Self, CustomError> {
        let failed = |error: sqlx::Error| CustomError::query(question, error);
        let statement = question.statement().map_err(|error| CustomError::refused(question, error))?;
        let order: Vec<String> = statement.parameters().into_iter().map(str::to_owned).collect();
        let numbered = |written: &dyn Fn(usize) -> String| {
            let number = |name: &String| order.iter().position(|known| known == name).unwrap_or_default();
            let piece = |piece: &Piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Parameter(name) => written(number(name)),
            };
            statement.pieces.iter().map(piece).collect::<String>()
        };
        let database = question.database.clone().unwrap_or_else(|| names.database());
        let mut connection = connect_once(question, stores, &database).await?;
        let untyped = numbered(&|number| format!("${}", number + 1));
        // As a prepared statement itself: then the server refuses a text of several statements before one of them runs.
        let preparing = sqlx::query(AssertSqlSafe(format!("{PREPARE}{untyped}"))).persistent(false);
        preparing.execute(&mut connection).await.map_err(failed)?;
        let types: Option<Vec<String>> = sqlx::query_scalar(TYPES).fetch_one(&mut connection).await.map_err(failed)?;
        let types = types.unwrap_or_default();
        let session_reads_only = sqlx::query_scalar(READS_ONLY).fetch_one(&mut connection).await.map_err(failed)?;
        // Values are sent as text, so each is cast to the type that the server expects.
        let cast = |number: usize| {
            format!("CAST(${}::text AS {})", number + 1, types.get(number).map_or("text", String::as_str))
        };
        let query = Self {
            database,
            sql: numbered(&cast),
            order,
            tenant: question.tenant.clone(),
            session_reads_only,
            reads_value: question.expected.value.is_some(),
        };
        query.check(question, parameters)?;
        let prepared = (&mut connection).prepare(AssertSqlSafe(query.sql.as_str()).into_sql_str()).await;
        let prepared = prepared.map_err(failed)?;
        if query.reads_value && prepared.columns().first().is_some_and(|column| reader(column).is_none()) {
            return Err(CustomError::refused(question, NOT_COMPARABLE));
        }
        let asked = query.ask(&mut connection, &parameters.first()).await;
        connection.close().await.map_err(failed)?;
        match asked {
            Ok(_) => Ok(query),
            Err(QueryError::Unreadable { what, .. }) => Err(CustomError::refused(question, what)),
            Err(error) => Err(CustomError::query(question, error)),
        }
    }

    /// Checks all values that row-level security gets.
    fn check(&self, question: &CustomQuestion, parameters: &Parameters) -> Result<(), CustomError> {
        let Some(name) = &self.tenant else { return Ok(()) };
        let wrong = parameters.all(name).position(|id| Uuid::parse_str(id).is_err());
        wrong.map_or(Ok(()), |row| {
            let why = format!("value {} of its parameter \"{name}\", the tenant, is not a UUID", row + 1);
            Err(CustomError::refused(question, why))
        })
    }

    async fn ask(&self, connection: &mut PgConnection, values: &Chosen<'_>) -> Result<Answer, QueryError> {
        let (rows, first) = if self.tenant.is_none() && self.session_reads_only {
            self.rows(connection, values).await?
        } else {
            let mut transaction = connection.begin_with(BEGIN).await?;
            if let Some(id) = self.tenant.as_deref().and_then(|name| values.get(name)) {
                let no_tenant =
                    QueryError::Unreadable { store: STORE, what: "the value of the tenant's parameter is not a UUID" };
                tenant::set(&mut transaction, Uuid::parse_str(id).map_err(|_| no_tenant)?).await?;
            }
            let rows = self.rows(&mut transaction, values).await?;
            transaction.commit().await?;
            rows
        };
        let first = first.as_ref().filter(|_| self.reads_value).map(first_value).transpose()?.flatten();
        Ok(Answer::Table { rows, first })
    }

    /// The number of rows, and the first of them: they may be more than fit into memory.
    async fn rows(
        &self,
        connection: &mut PgConnection,
        values: &Chosen<'_>,
    ) -> Result<(u64, Option<PgRow>), sqlx::Error> {
        let mut query = sqlx::query(AssertSqlSafe(self.sql.as_str()));
        for name in &self.order {
            query = query.bind(values.get(name.as_str()).copied().unwrap_or_default());
        }
        let mut rows = query.fetch(connection);
        let (mut count, mut first) = (0, None);
        while let Some(row) = rows.try_next().await? {
            count += 1;
            first.get_or_insert(row);
        }
        Ok((count, first))
    }
}

/// The first value of a row, as its type shows it.
fn shown<T>(row: &PgRow) -> Result<Option<String>, QueryError>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + ToString,
{
    Ok(row.try_get::<Option<T>, _>(0)?.map(|value| value.to_string()))
}

/// Reads the first value of a row as text.
type Reader = fn(&PgRow) -> Result<Option<String>, QueryError>;

/// What reads the values of a first column; `None` if they can't be compared as text.
fn reader(column: &PgColumn) -> Option<Reader> {
    Some(match column.type_info().name() {
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" => shown::<String>,
        "BOOL" => shown::<bool>,
        "INT2" => shown::<i16>,
        "INT4" => shown::<i32>,
        "INT8" => shown::<i64>,
        "UUID" => shown::<Uuid>,
        _ => return None,
    })
}

/// The first value of a row as text.
fn first_value(row: &PgRow) -> Result<Option<String>, QueryError> {
    let Some(column) = row.columns().first() else { return Ok(None) };
    let not_comparable = QueryError::Unreadable { store: STORE, what: NOT_COMPARABLE };
    reader(column).ok_or(not_comparable)?(row)
}

/// The rows of a query without parameters, in a transaction that only reads.
pub(super) async fn read(connection: &mut PgConnection, sql: &str) -> Result<Vec<PgRow>, sqlx::Error> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(rows)
}

/// One connection, for what is done before the drive.
pub(super) async fn connect_once(
    question: &CustomQuestion,
    stores: &Stores,
    database: &str,
) -> Result<PgConnection, CustomError> {
    let options = connect::reading_options(stores, database);
    connect::postgres_connection_with(stores, database, options).await.map_err(|error| {
        if error.lacks_database {
            CustomError::refused(question, format!("PostgreSQL has no database {database}; correct `database`"))
        } else {
            error.into()
        }
    })
}

/// Connections to each database.
#[derive(Debug)]
pub(super) struct Databases(BTreeMap<String, Connections>);

impl Databases {
    /// Opens half of the connections to each database, which proves that the store responds.
    pub(super) async fn connect(
        stores: &Stores,
        databases: BTreeSet<&str>,
        connections: u32,
    ) -> Result<Self, QueryError> {
        let (mut all, opened) = (BTreeMap::new(), (connections.div_ceil(2), connections));
        for database in databases {
            let options = connect::reading_options(stores, database);
            all.insert(database.to_owned(), Connections::open((stores, database), options, opened).await?);
        }
        Ok(Self(all))
    }

    /// Asks on a connection that no other question uses.
    pub(super) async fn ask(&self, query: &Query, values: &Chosen<'_>) -> Result<Answer, QueryError> {
        let unknown = QueryError::Unreadable { store: STORE, what: "a database without connections" };
        let mut lease = self.0.get(&query.database).ok_or(unknown)?.lease().await?;
        let answer = query.ask(&mut lease, values).await;
        lease.end(answer)
    }
}
