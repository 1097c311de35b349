//! A statement put together piece by piece, its parameters numbered as they come.

use sqlx::AssertSqlSafe;

use super::statement::{Statement, Value};

/// Text of ours and values from outside: the values only ever become parameters.
#[derive(Debug, Default)]
pub(crate) struct QueryBuilder {
    sql: String,
    values: Vec<Value<'static>>,
}

impl QueryBuilder {
    /// Begins with text of ours.
    pub(crate) fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), values: Vec::new() }
    }

    /// Adds text of ours.
    pub(crate) fn push(&mut self, sql: impl AsRef<str>) -> &mut Self {
        self.sql.push_str(sql.as_ref());
        self
    }

    /// Adds a value as the next parameter.
    pub(crate) fn push_bind(&mut self, value: impl Into<Value<'static>>) -> &mut Self {
        self.values.push(value.into());
        self.sql.push_str(&format!("${}", self.values.len()));
        self
    }

    /// The statement.
    pub(crate) fn build(self) -> Statement<'static> {
        Statement::with_values(AssertSqlSafe(self.sql), self.values)
    }
}
