//! Components that share samples among pixels are brought to full width and height.
//!
//! Where two pixels share one, its neighbours weigh in by distance (3 : 1), as the decoders in general use do it.

/// The samples of one component.
pub(super) struct Plane {
    pub(super) samples: Vec<u16>,
    /// Samples from one row to the next.
    pub(super) stride: usize,
    /// Samples of a row that belong to the image.
    pub(super) columns: usize,
    /// Rows that do.
    pub(super) rows: usize,
    /// Samples of this component to so many of the widest.
    pub(super) across: (usize, usize),
    /// The same of rows.
    pub(super) down: (usize, usize),
}

impl Plane {
    fn row(&self, number: usize) -> &[u16] {
        &self.samples[number.min(self.rows - 1) * self.stride..][..self.columns]
    }

    fn is_full(&self) -> bool {
        self.across.0 == self.across.1 && self.down.0 == self.down.1
    }

    /// The row of the image, at full width, in `wide`.
    fn widen(&self, row: usize, wide: &mut Vec<u16>) {
        wide.clear();
        // Narrower ones have no neighbours to weigh.
        let halved = (self.across.0 * 2 == self.across.1 && self.columns > 2, self.down.0 * 2 == self.down.1);
        match halved {
            (true, _) if self.down.0 == self.down.1 => widen_row(self.row(row), wide),
            (true, true) => widen_both(self.row(row / 2), self.row(beside(row)), wide),
            (_, true) if self.across.0 == self.across.1 => {
                // The upper of two rounds down, the lower up.
                let bias = 1 + row as u16 % 2;
                let rows = self.row(row / 2).iter().zip(self.row(beside(row)));
                wide.extend(rows.map(|(near, far)| (near * 3 + far + bias) >> 2));
            }
            _ => {
                let samples = self.row(row * self.down.0 / self.down.1);
                let (own, widest) = self.across;
                wide.extend(
                    (0..(samples.len() * widest).div_ceil(own)).map(|column| samples[column * own / widest]),
                );
            }
        }
    }
}

/// The row that lies on the other side of an image's row than the one it shares.
fn beside(row: usize) -> usize {
    if row % 2 == 1 { row / 2 + 1 } else { (row / 2).saturating_sub(1) }
}

fn widen_row(row: &[u16], wide: &mut Vec<u16>) {
    let (first, last) = (row[0], row[row.len() - 1]);
    wide.extend([first, (first * 3 + row[1] + 2) >> 2]);
    for near in row.windows(3) {
        wide.extend([(near[1] * 3 + near[0] + 1) >> 2, (near[1] * 3 + near[2] + 2) >> 2]);
    }
    wide.extend([(last * 3 + row[row.len() - 2] + 1) >> 2, last]);
}

fn widen_both(near: &[u16], far: &[u16], wide: &mut Vec<u16>) {
    // 3 : 1 of 12 bits twice is 16 bits.
    let sum = |at: usize| u32::from(near[at]) * 3 + u32::from(far[at]);
    let last = near.len() - 1;
    wide.extend([((sum(0) * 4 + 8) >> 4) as u16, ((sum(0) * 3 + sum(1) + 7) >> 4) as u16]);
    for at in 1..last {
        let (left, own, right) = (sum(at - 1), sum(at), sum(at + 1));
        wide.extend([((own * 3 + left + 8) >> 4) as u16, ((own * 3 + right + 7) >> 4) as u16]);
    }
    wide.extend([((sum(last) * 3 + sum(last - 1) + 8) >> 4) as u16, ((sum(last) * 4 + 7) >> 4) as u16]);
}

/// All planes by pixel.
pub(super) fn interleave(planes: &[Plane], rows: usize, columns: usize) -> Vec<u16> {
    let count = planes.len();
    let mut samples = vec![0; rows * columns * count];
    let mut wide = Vec::new();
    for (number, pixels) in samples.chunks_exact_mut(columns * count).enumerate() {
        for (component, plane) in planes.iter().enumerate() {
            let row = if plane.is_full() {
                plane.row(number)
            } else {
                plane.widen(number, &mut wide);
                &wide
            };
            if count == 1 {
                pixels.copy_from_slice(&row[..columns]);
                continue;
            }
            for (pixel, sample) in pixels.chunks_exact_mut(count).zip(row) {
                pixel[component] = *sample;
            }
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(samples: &[u16], columns: usize, across: (usize, usize), down: (usize, usize)) -> Plane {
        let rows = samples.len() / columns;
        Plane { samples: samples.to_vec(), stride: columns, columns, rows, across, down }
    }

    #[test]
    fn pairs_take_from_their_neighbours() {
        let mut wide = Vec::new();
        plane(&[0, 100, 200], 3, (1, 2), (1, 1)).widen(0, &mut wide);
        assert_eq!(wide, [0, 25, 75, 125, 175, 200]);
        // Two by two: the weights are 9, 3, 3, 1 of 16.
        plane(&[0, 160, 0, 0, 0, 0], 3, (1, 2), (1, 2)).widen(1, &mut wide);
        assert_eq!(wide, [0, 30, 90, 90, 30, 0]);
    }

    #[test]
    fn other_shares_are_repeated() {
        let mut wide = Vec::new();
        plane(&[1, 2], 2, (1, 4), (1, 1)).widen(0, &mut wide);
        assert_eq!(wide, [1, 1, 1, 1, 2, 2, 2, 2]);
        plane(&[0, 100], 1, (1, 1), (1, 2)).widen(1, &mut wide);
        assert_eq!(wide, [25]);
    }
}
