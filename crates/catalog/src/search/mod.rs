//! QIDO-RS searches (PS3.18 10.6): which attributes can be asked for, how values match, what rows come back.
//!
//! A search is a few statements: how much each of its conditions would narrow it (`narrowing`), the page (`find`), and what
//! the rows of the page count or bring along (`beside`).

pub(crate) mod attributes;
pub(crate) mod beside;
pub(crate) mod find;
pub(crate) mod fold;
pub(crate) mod grams;
pub(crate) mod keys;
pub(crate) mod matching;
pub(crate) mod narrowing;
pub(crate) mod query;
pub(crate) mod rows;
