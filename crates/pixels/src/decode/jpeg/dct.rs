//! The inverse discrete cosine transform of 8 × 8 coefficients, in integers (Loeffler, Ligtenberg and Moschytz, 1989: twelve
//! multiplications a row).

use std::num::Wrapping;

/// Bits behind the point of the constants.
const POINT: usize = 13;

/// A number that may overflow: the coefficients of a broken codestream do, and nothing depends on them.
type Number = Wrapping<i32>;

/// Turns around one row or column; what it gives has [`POINT`] bits more behind the point.
#[inline]
fn one_way(row: [Number; 8]) -> [Number; 8] {
    let constant = |value: i32| Wrapping(value);
    // Even coefficients.
    let turned = (row[2] + row[6]) * constant(4433);
    let low = turned - row[6] * constant(15137);
    let high = turned + row[2] * constant(6270);
    let (sum, difference) = ((row[0] + row[4]) << POINT, (row[0] - row[4]) << POINT);
    let even = [sum + high, difference + low, difference - low, sum - high];
    // Odd coefficients.
    let (outer, inner) = (row[7] + row[1], row[5] + row[3]);
    let (third, fourth) = (row[7] + row[3], row[5] + row[1]);
    let both = (third + fourth) * constant(9633);
    let (outer, inner) = (outer * constant(-7373), inner * constant(-20995));
    let (third, fourth) = (third * constant(-16069) + both, fourth * constant(-3196) + both);
    let odd = [
        row[1] * constant(12299) + outer + fourth,
        row[3] * constant(25172) + inner + third,
        row[5] * constant(16819) + inner + fourth,
        row[7] * constant(2446) + outer + third,
    ];
    [
        even[0] + odd[0],
        even[1] + odd[1],
        even[2] + odd[2],
        even[3] + odd[3],
        even[3] - odd[3],
        even[2] - odd[2],
        even[1] - odd[1],
        even[0] - odd[0],
    ]
}

/// Shifts to the right and rounds.
#[inline]
fn scale(value: Number, bits: usize) -> Number {
    (value + (Wrapping(1) << (bits - 1))) >> bits
}

/// Samples of a block of dequantised coefficients (row by row), of `precision` bits (8 or 12), each row put where `rows` says.
#[inline]
pub(super) fn inverse(coefficients: &[i32; 64], precision: u8, mut put: impl FnMut(usize, [u16; 8])) {
    // Bits kept between the passes: as many as fit.
    let kept = if precision > 8 { 1 } else { 2 };
    let (centre, most) = (1 << (precision - 1), (1 << precision) - 1);
    let mut half = [[Wrapping(0); 8]; 8];
    for column in 0..8 {
        let input: [Number; 8] = std::array::from_fn(|row| Wrapping(coefficients[row * 8 + column]));
        if input[1..].iter().all(|coefficient| coefficient.0 == 0) {
            half.iter_mut().for_each(|row| row[column] = input[0] << kept);
            continue;
        }
        for (row, value) in half.iter_mut().zip(one_way(input)) {
            row[column] = scale(value, POINT - kept);
        }
    }
    for (number, row) in half.into_iter().enumerate() {
        let samples = one_way(row)
            .map(|value| (scale(value, POINT + kept + 3).0.wrapping_add(centre)).clamp(0, most) as u16);
        put(number, samples);
    }
}

/// The same where only the first coefficient is not zero: one value.
pub(super) fn flat(coefficient: i32, precision: u8) -> u16 {
    let (centre, most) = (1 << (precision - 1), (1 << precision) - 1);
    (scale(Wrapping(coefficient), 3).0.wrapping_add(centre)).clamp(0, most) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition (A.3.3), in floating point.
    fn defined(coefficients: &[i32; 64], x: usize, y: usize) -> f64 {
        let mut sum = 0.0;
        for v in 0..8 {
            for u in 0..8 {
                let weight = |n: usize| if n == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
                let wave = |n: usize, at: usize| {
                    ((2 * at + 1) as f64 * n as f64 * std::f64::consts::PI / 16.0).cos()
                };
                sum += weight(u) * weight(v) * f64::from(coefficients[v * 8 + u]) * wave(u, x) * wave(v, y);
            }
        }
        sum / 4.0
    }

    #[test]
    fn it_is_the_defined_transform_within_one() {
        for (precision, size) in [(8_u8, 300), (12, 4000)] {
            let mut seed = 7_u32;
            let mut coefficients = [0; 64];
            for coefficient in coefficients.iter_mut().take(20) {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *coefficient = (seed >> 8) as i32 % size - size / 2;
            }
            let most = f64::from((1 << precision) - 1);
            inverse(&coefficients, precision, |y, row| {
                for (x, sample) in row.into_iter().enumerate() {
                    let wanted =
                        (defined(&coefficients, x, y) + f64::from(1 << (precision - 1))).clamp(0.0, most);
                    assert!((f64::from(sample) - wanted).abs() <= 1.0, "{sample} is not {wanted}");
                }
            });
        }
    }

    #[test]
    fn a_flat_block_is_flat_either_way() {
        for coefficient in [-3000, -17, 0, 5, 44, 1023] {
            let mut coefficients = [0; 64];
            coefficients[0] = coefficient;
            inverse(&coefficients, 8, |_, row| assert_eq!(row, [flat(coefficient, 8); 8]));
        }
    }
}
