//! A statement with its values, and running it.

use std::borrow::Cow;

use sqlx::{
    Postgres, SqlSafeStr, SqlStr, Sqlite, postgres::PgArguments, query::Query, sqlite::SqliteArguments,
};

use super::{Connection, Row};
use crate::Error;

/// A statement: [`Statement::bind`] its parameters in their order, then run it.
pub(crate) fn query<'q>(sql: impl SqlSafeStr) -> Statement<'q> {
    Statement { sql: sql.into_sql_str(), values: Vec::new() }
}

/// A statement and the values of its parameters. It stays prepared on the connection it ran on.
pub(crate) struct Statement<'q> {
    sql: SqlStr,
    values: Vec<Value<'q>>,
}

impl<'q> Statement<'q> {
    pub(super) fn with_values(sql: impl SqlSafeStr, values: Vec<Value<'q>>) -> Self {
        Self { sql: sql.into_sql_str(), values }
    }

    /// Gives the next parameter its value.
    #[must_use]
    pub(crate) fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs it; how many rows it changed.
    pub(crate) async fn execute(self, connection: &mut Connection) -> Result<Done, Error> {
        let rows_affected = match connection {
            Connection::Sqlite(connection, _) => self.sqlite().execute(connection).await?.rows_affected(),
            Connection::Postgres(connection) => {
                self.postgres().execute(&mut **connection).await?.rows_affected()
            }
        };
        Ok(Done { rows_affected })
    }

    /// Runs it; every row it answers with.
    pub(crate) async fn fetch_all(self, connection: &mut Connection) -> Result<Vec<Row>, Error> {
        Ok(match connection {
            Connection::Sqlite(connection, _) => {
                self.sqlite().fetch_all(connection).await?.into_iter().map(Row::Sqlite).collect()
            }
            Connection::Postgres(connection) => {
                let rows = self.postgres().fetch_all(&mut **connection).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Runs it; its first row, when it has any.
    pub(crate) async fn fetch_optional(self, connection: &mut Connection) -> Result<Option<Row>, Error> {
        Ok(match connection {
            Connection::Sqlite(connection, _) => {
                self.sqlite().fetch_optional(connection).await?.map(Row::Sqlite)
            }
            Connection::Postgres(connection) => {
                self.postgres().fetch_optional(&mut **connection).await?.map(Row::Postgres)
            }
        })
    }

    /// Runs it; its first row, which must be there.
    pub(crate) async fn fetch_one(self, connection: &mut Connection) -> Result<Row, Error> {
        self.fetch_optional(connection).await?.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    fn sqlite(self) -> Query<'q, Sqlite, SqliteArguments> {
        self.values.into_iter().fold(sqlx::query(self.sql), |query, value| match value {
            Value::Integer(value) => query.bind(value),
            Value::Boolean(value) => query.bind(value),
            Value::Text(Some(Cow::Borrowed(value))) => query.bind(value),
            Value::Text(value) => query.bind(value.map(Cow::into_owned)),
            Value::Bytes(Some(Cow::Borrowed(value))) => query.bind(value),
            Value::Bytes(value) => query.bind(value.map(Cow::into_owned)),
        })
    }

    fn postgres(self) -> Query<'q, Postgres, PgArguments> {
        self.values.into_iter().fold(sqlx::query(self.sql), |query, value| match value {
            Value::Integer(value) => query.bind(value),
            Value::Boolean(value) => query.bind(value),
            Value::Text(Some(Cow::Borrowed(value))) => query.bind(value),
            Value::Text(value) => query.bind(value.map(Cow::into_owned)),
            Value::Bytes(Some(Cow::Borrowed(value))) => query.bind(value),
            Value::Bytes(value) => query.bind(value.map(Cow::into_owned)),
        })
    }
}

/// What running a statement did.
pub(crate) struct Done {
    rows_affected: u64,
}

impl Done {
    /// Rows inserted, changed or deleted.
    pub(crate) fn rows_affected(&self) -> u64 {
        self.rows_affected
    }
}

/// A value of a parameter. One that is absent keeps its type: PostgreSQL asks for it.
#[derive(Debug, Clone)]
pub(crate) enum Value<'q> {
    Integer(Option<i64>),
    Boolean(Option<bool>),
    Text(Option<Cow<'q, str>>),
    Bytes(Option<Cow<'q, [u8]>>),
}

fn text(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "").into() } else { text }
}

/// `From` for the plain type and for `Option` of it.
macro_rules! values {
    ($($variant:ident: $type:ty, |$value:ident| $into:expr;)*) => {$(
        impl<'q> From<$type> for Value<'q> {
            fn from($value: $type) -> Self {
                Self::$variant(Some($into))
            }
        }

        impl<'q> From<Option<$type>> for Value<'q> {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map(|$value| $into))
            }
        }
    )*};
}

values! {
    Integer: i64, |value| value;
    Integer: i32, |value| value.into();
    Integer: u32, |value| value.into();
    Boolean: bool, |value| value;
    Text: &'q str, |value| text(value.into());
    Text: &'q String, |value| text(value.into());
    Text: String, |value| text(value.into());
    Bytes: &'q [u8], |value| value.into();
    Bytes: Vec<u8>, |value| value.into();
}
