//! Many rows in one statement. Beside its rows every statement costs a way to SQLite's thread and back, which is more
//! than most rows do.

use std::fmt::Write;

use crate::engine::Connection;

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

/// A statement over so many rows of so many columns: `{rows}` in `text` stands for their parameters, the values of which are
/// bound first. Parameters of the text are numbered from 1 and bound behind them.
///
/// SQLite's have no numbers in the rows: it takes a numbered one for a name, and looks each name up among all.
pub(crate) fn over_rows(connection: &Connection, text: &str, columns: usize, rows: usize) -> String {
    let parameters = match connection {
        Connection::Sqlite(..) => unnumbered(columns, rows),
        Connection::Postgres(_) => values(1, columns, rows),
    };
    shifted(text, columns * rows).replace("{rows}", &parameters)
}

/// The text with every parameter's number raised.
fn shifted(text: &str, by: usize) -> String {
    let mut shifted = String::with_capacity(text.len() + 64);
    let mut parts = text.split('$');
    shifted.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        let number = number.parse::<usize>().map_or(0, |number| number + by);
        // Writing into memory does not fail.
        let _ = write!(shifted, "${number}{rest}");
    }
    shifted
}

/// `(?, ?), (?, ?)`.
fn unnumbered(columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row; rows].join(", ")
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
        assert_eq!(unnumbered(2, 2), "(?, ?), (?, ?)");
        assert_eq!(shifted("a = $1 AND b = $12 OR $1 = {rows}", 4), "a = $5 AND b = $16 OR $5 = {rows}");
    }
}
