//! The inside of a polygon, row by row.

/// What of a row lies inside, from and to, the row being at `y`; where lines cross, every second part is outside.
pub(super) fn spans(corners: &[(f64, f64)], y: f64) -> Vec<(f64, f64)> {
    let next = corners.iter().cycle().skip(1);
    let crossing = |(&(x, top), &(x_next, bottom)): (&(f64, f64), &(f64, f64))| {
        let is_crossed = (top <= y) != (bottom <= y);
        is_crossed.then(|| x + (y - top) / (bottom - top) * (x_next - x))
    };
    let mut crossings: Vec<f64> = corners.iter().zip(next).filter_map(crossing).collect();
    crossings.sort_unstable_by(f64::total_cmp);
    crossings.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::spans;

    #[test]
    fn a_triangle_and_a_notch() {
        let triangle = [(0.0, 0.0), (8.0, 0.0), (0.0, 8.0)];
        assert_eq!(spans(&triangle, 2.0), [(0.0, 6.0)]);
        assert_eq!(spans(&triangle, 9.0), []);
        let notched = [(0.0, 0.0), (4.0, 4.0), (8.0, 0.0), (8.0, 8.0), (0.0, 8.0)];
        assert_eq!(spans(&notched, 2.0), [(0.0, 2.0), (6.0, 8.0)]);
        assert_eq!(spans(&[], 2.0), []);
    }
}
