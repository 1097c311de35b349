//! QIDO-RS searches (PS3.18 10.6): which attributes can be asked for, how values match, what rows come back.

pub(crate) mod fold;
pub(crate) mod keys;
pub(crate) mod matching;
pub(crate) mod query;
pub(crate) mod rows;
