//! Values between Rust and SQL. What the database returns is checked, never trusted.

use std::str::FromStr;

use filmgate_model::Timestamp;
use sqlx::{ColumnIndex, Decode, Row, Type, sqlite::SqliteRow};

use crate::Error;

/// A column's value.
pub(crate) fn get<'r, T>(row: &'r SqliteRow, column: &'static str) -> Result<T, Error>
where
    T: Decode<'r, sqlx::Sqlite> + Type<sqlx::Sqlite>,
    &'static str: ColumnIndex<SqliteRow>,
{
    row.try_get(column).map_err(|_| Error::Corrupt { column })
}

/// 16 bytes of an identifier.
pub(crate) fn id(row: &SqliteRow, column: &'static str) -> Result<[u8; 16], Error> {
    fixed(row, column)
}

/// An identifier that may be absent.
pub(crate) fn optional_id(row: &SqliteRow, column: &'static str) -> Result<Option<[u8; 16]>, Error> {
    optional_fixed(row, column)
}

/// Bytes of a fixed length.
pub(crate) fn fixed<const N: usize>(row: &SqliteRow, column: &'static str) -> Result<[u8; N], Error> {
    get::<&[u8]>(row, column)?.try_into().map_err(|_| Error::Corrupt { column })
}

/// Bytes of a fixed length that may be absent.
pub(crate) fn optional_fixed<const N: usize>(
    row: &SqliteRow,
    column: &'static str,
) -> Result<Option<[u8; N]>, Error> {
    let bytes: Option<&[u8]> = get(row, column)?;
    bytes.map(|bytes| bytes.try_into().map_err(|_| Error::Corrupt { column })).transpose()
}

/// A number that is never negative.
pub(crate) fn unsigned(row: &SqliteRow, column: &'static str) -> Result<u64, Error> {
    u64::try_from(get::<i64>(row, column)?).map_err(|_| Error::Corrupt { column })
}

/// A number that is never negative and may be absent.
pub(crate) fn optional_unsigned(row: &SqliteRow, column: &'static str) -> Result<Option<u64>, Error> {
    let number: Option<i64> = get(row, column)?;
    number.map(|number| u64::try_from(number).map_err(|_| Error::Corrupt { column })).transpose()
}

/// A moment.
pub(crate) fn time(row: &SqliteRow, column: &'static str) -> Result<Timestamp, Error> {
    get(row, column).map(Timestamp)
}

/// A moment that may be absent.
pub(crate) fn optional_time(row: &SqliteRow, column: &'static str) -> Result<Option<Timestamp>, Error> {
    Ok(get::<Option<i64>>(row, column)?.map(Timestamp))
}

/// A word of a closed set.
pub(crate) fn word<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<T, Error> {
    get::<&str>(row, column)?.parse().map_err(|_| Error::Corrupt { column })
}

/// A count of bytes or the like, as SQL keeps it.
pub(crate) fn signed(number: u64, what: &'static str) -> Result<i64, Error> {
    i64::try_from(number).map_err(|_| Error::TooLarge { what })
}
