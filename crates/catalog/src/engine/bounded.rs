//! Reading that ends after a time, whatever it has found: the database itself stops, not only who waits for it.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Connection, connection::Transaction, query};
use crate::Error;

/// Until when a connection to SQLite may work at its statement, looked at every so many of SQLite's own instructions.
#[derive(Clone)]
pub(crate) struct Deadline {
    since: Instant,
    /// Microseconds after that; `u64::MAX` for ever.
    until: Arc<AtomicU64>,
}

/// Instructions between two looks, well under a millisecond.
pub(super) const INSTRUCTIONS: i32 = 10_000;

impl Deadline {
    pub(super) fn never() -> Self {
        Self { since: Instant::now(), until: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    pub(super) fn is_over(&self) -> bool {
        self.now() > self.until.load(Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn set(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.until.store(self.now().saturating_add(time), Ordering::Relaxed);
    }

    fn lift(&self) {
        self.until.store(u64::MAX, Ordering::Relaxed);
    }
}

/// A connection whose statements end in time, together or each.
pub(crate) enum Bounded<'c> {
    /// The time is for all statements.
    Sqlite(&'c mut Connection, Deadline),
    /// The time is for each statement; where the transaction ends, so does the bound.
    Postgres(Transaction<'c>),
}

impl Connection {
    /// For searches: bounds the statements until the value is dropped. One that takes longer fails, and
    /// [`Error::of_bounded`] knows why.
    pub(crate) async fn bounded(&mut self, time: Duration) -> Result<Bounded<'_>, Error> {
        if let Self::Sqlite(_, deadline) = self {
            let deadline = deadline.clone();
            deadline.set(time);
            return Ok(Bounded::Sqlite(self, deadline));
        }
        let mut transaction = self.begin().await?;
        // What is searched is mostly in memory, where another page costs no more than the next one; and a search is over
        // before compiling it would pay.
        query(
            "SELECT set_config('statement_timeout', $1, TRUE), set_config('random_page_cost', '1.1', TRUE),
                set_config('jit', 'off', TRUE)",
        )
        .bind(time.as_millis().max(1).to_string())
        .execute(&mut transaction)
        .await?;
        Ok(Bounded::Postgres(transaction))
    }
}

impl Deref for Bounded<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match self {
            Self::Sqlite(connection, _) => connection,
            Self::Postgres(transaction) => transaction,
        }
    }
}

impl DerefMut for Bounded<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        match self {
            Self::Sqlite(connection, _) => connection,
            Self::Postgres(transaction) => transaction,
        }
    }
}

impl Drop for Bounded<'_> {
    fn drop(&mut self) {
        if let Self::Sqlite(_, deadline) = self {
            deadline.lift();
        }
    }
}
