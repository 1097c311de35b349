//! Values between Rust and SQL. What the database returns is checked, never trusted.

use std::str::FromStr;

use filmgate_model::Timestamp;
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type, postgres::PgRow, sqlite::SqliteRow};

use crate::Error;

/// A row of either database.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What a column can be read as, from either database.
pub(crate) trait Readable<'r>:
    Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

impl<'r, T> Readable<'r> for T where
    T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

/// A column's value.
pub(crate) fn get<'r, T: Readable<'r>>(row: &'r Row, column: &'static str) -> Result<T, Error> {
    let value = match row {
        Row::Sqlite(row) => row.try_get(column),
        Row::Postgres(row) => row.try_get(column),
    };
    value.map_err(|_| Error::Corrupt { column })
}

/// 16 bytes of an identifier.
pub(crate) fn id(row: &Row, column: &'static str) -> Result<[u8; 16], Error> {
    fixed(row, column)
}

/// An identifier that may be absent.
pub(crate) fn optional_id(row: &Row, column: &'static str) -> Result<Option<[u8; 16]>, Error> {
    optional_fixed(row, column)
}

/// Bytes of a fixed length.
pub(crate) fn fixed<const N: usize>(row: &Row, column: &'static str) -> Result<[u8; N], Error> {
    get::<&[u8]>(row, column)?.try_into().map_err(|_| Error::Corrupt { column })
}

/// Bytes of a fixed length that may be absent.
pub(crate) fn optional_fixed<const N: usize>(
    row: &Row,
    column: &'static str,
) -> Result<Option<[u8; N]>, Error> {
    let bytes: Option<&[u8]> = get(row, column)?;
    bytes.map(|bytes| bytes.try_into().map_err(|_| Error::Corrupt { column })).transpose()
}

/// A number that is never negative.
pub(crate) fn unsigned(row: &Row, column: &'static str) -> Result<u64, Error> {
    u64::try_from(get::<i64>(row, column)?).map_err(|_| Error::Corrupt { column })
}

/// A number that is never negative and may be absent.
pub(crate) fn optional_unsigned(row: &Row, column: &'static str) -> Result<Option<u64>, Error> {
    let number: Option<i64> = get(row, column)?;
    number.map(|number| u64::try_from(number).map_err(|_| Error::Corrupt { column })).transpose()
}

/// A moment.
pub(crate) fn time(row: &Row, column: &'static str) -> Result<Timestamp, Error> {
    get(row, column).map(Timestamp)
}

/// A moment that may be absent.
pub(crate) fn optional_time(row: &Row, column: &'static str) -> Result<Option<Timestamp>, Error> {
    Ok(get::<Option<i64>>(row, column)?.map(Timestamp))
}

/// A word of a closed set.
pub(crate) fn word<T: FromStr>(row: &Row, column: &'static str) -> Result<T, Error> {
    get::<&str>(row, column)?.parse().map_err(|_| Error::Corrupt { column })
}

/// A count of bytes or the like, as SQL keeps it.
pub(crate) fn signed(number: u64, what: &'static str) -> Result<i64, Error> {
    i64::try_from(number).map_err(|_| Error::TooLarge { what })
}
