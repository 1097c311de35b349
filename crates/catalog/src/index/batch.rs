//! Many rows in one statement. Beside its rows every statement costs a way to SQLite's thread and back, which is more
//! than most rows do.

use std::fmt::Write;

/// Lengths of a run, the longest first: few texts of a statement, so that each stays prepared.
const RUNS: [usize; 5] = [256, 64, 8, 4, 1];

/// Cuts rows, in their order, into runs of those lengths that together take no more than `parameters_max` parameters
/// of `columns` a row.
pub(crate) fn runs<T>(mut rows: &[T], columns: usize, parameters_max: usize) -> Vec<&[T]> {
    let mut cut = Vec::new();
    while !rows.is_empty() {
        let fits = |run: &&usize| **run <= rows.len() && **run * columns <= parameters_max;
        let (run, rest) = rows.split_at(RUNS.iter().find(fits).copied().unwrap_or(1));
        cut.push(run);
        rows = rest;
    }
    cut
}

/// `($3, $4), ($5, $6)`: the parameters of so many rows of so many columns, from number `first` on.
pub(crate) fn values(first: usize, columns: usize, rows: usize) -> String {
    let mut text = String::with_capacity(rows * (columns * 5 + 4));
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            // Writing into memory does not fail.
            let _ = write!(text, "{comma}${}", first + row * columns + column);
        }
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_run_and_in_order() {
        for rows in [0, 1, 3, 7, 8, 9, 63, 85, 700] {
            let numbers: Vec<usize> = (0..rows).collect();
            let cut = runs(&numbers, 24, 400);
            assert!(cut.iter().all(|run| RUNS.contains(&run.len()) && run.len() * 24 <= 400));
            assert_eq!(cut.concat(), numbers);
        }
        assert_eq!(runs(&[1, 2], 500, 400), [[1], [2]], "a row longer than that stands alone");
    }

    #[test]
    fn parameters_are_numbered_row_by_row() {
        assert_eq!(values(3, 2, 2), "($3, $4), ($5, $6)");
    }
}
