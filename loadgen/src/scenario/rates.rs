//! A rate over time, in pieces that are constant or straight ramps, with its exact integral and the inverse of that. The
//! starts of an inhomogeneous Poisson process are the inverse of the integral at the starts of one of rate 1 (Çınlar,
//! Introduction to Stochastic Processes, 1975). It draws nothing and reads no clock.

use std::ops::Range;

/// A piece of a rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Piece {
    /// First second.
    pub(crate) start: f64,
    /// One past the last second.
    pub(crate) end: f64,
    /// Rate at the start; not negative.
    pub(crate) from: f64,
    /// Rate at the end; not negative.
    pub(crate) to: f64,
}

impl Piece {
    /// A piece of constant rate.
    pub(crate) fn constant(time: Range<f64>, rate: f64) -> Self {
        Self { start: time.start, end: time.end, from: rate, to: rate }
    }

    fn rate_at(&self, second: f64) -> f64 {
        if self.end <= self.start {
            return self.from;
        }
        self.from + (self.to - self.from) * ((second - self.start) / (self.end - self.start)).clamp(0.0, 1.0)
    }

    /// The part of the piece within `time`.
    fn cut(&self, time: &Range<f64>) -> Option<Self> {
        let (start, end) = (self.start.max(time.start), self.end.min(time.end));
        (start < end).then(|| Self { start, end, from: self.rate_at(start), to: self.rate_at(end) })
    }

    fn area(&self) -> f64 {
        f64::midpoint(self.from, self.to) * (self.end - self.start)
    }

    /// The second at which the integral from the start is `area`.
    fn second_of(&self, area: f64) -> f64 {
        if area <= 0.0 {
            // Also where the rate grows from zero.
            return self.start;
        }
        let slope = (self.to - self.from) / (self.end - self.start);
        // The stable form of the quadratic's root: it does not cancel for a slope near zero.
        let root = (self.from * self.from + 2.0 * slope * area).max(0.0).sqrt();
        let divisor = self.from + root;
        if divisor <= 0.0 { self.end } else { (self.start + 2.0 * area / divisor).min(self.end) }
    }
}

/// A rate over time.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Rates {
    pieces: Vec<Piece>,
    /// The integral before each piece; the last entry is the total.
    before: Vec<f64>,
}

impl Rates {
    /// From pieces that follow one another.
    pub(crate) fn new(pieces: impl IntoIterator<Item = Piece>) -> Self {
        let pieces: Vec<Piece> = pieces.into_iter().filter(|piece| piece.start < piece.end).collect();
        let mut before = vec![0.0];
        let mut sum = 0.0;
        for piece in &pieces {
            sum += piece.area();
            before.push(sum);
        }
        Self { pieces, before }
    }

    /// The same rate all the time.
    pub(crate) fn constant(time: Range<f64>, rate: f64) -> Self {
        Self::new([Piece::constant(time, rate)])
    }

    /// The pieces.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The integral over all pieces: the expected number of events.
    pub(crate) fn total(&self) -> f64 {
        self.before[self.before.len() - 1]
    }

    /// The rate at a second; at an edge, that of the piece which begins there.
    pub(crate) fn rate_at(&self, second: f64) -> f64 {
        let following = self.pieces.partition_point(|piece| piece.start <= second);
        following.checked_sub(1).map_or(0.0, |index| self.pieces[index].rate_at(second))
    }

    /// The integral up to a second.
    pub(crate) fn total_before(&self, second: f64) -> f64 {
        let following = self.pieces.partition_point(|piece| piece.start < second);
        let Some(index) = following.checked_sub(1) else { return 0.0 };
        let piece = &self.pieces[index];
        self.before[index] + piece.cut(&(piece.start..second)).map_or(0.0, |cut| cut.area())
    }

    /// The second at which the integral reaches `area`; `None` from the total on.
    pub(crate) fn second_of(&self, area: f64) -> Option<f64> {
        if area >= self.total() {
            return None;
        }
        // The last piece that begins at or before that area; pieces without area are passed over.
        let index = self.before.partition_point(|&before| before <= area) - 1;
        Some(self.pieces[index].second_of(area - self.before[index]))
    }

    /// The product with a rate whose pieces are constant wherever those of this one are ramps.
    pub(crate) fn times(&self, other: &Self) -> Self {
        self.combine(other, |one, two| one * two)
    }

    /// The sum with another rate.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        self.combine(other, |one, two| one + two)
    }

    /// This rate times a constant.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        Self::new(self.pieces.iter().map(|piece| Piece { from: piece.from * factor, to: piece.to * factor, ..*piece }))
    }

    /// Combines the parts of two rates over the same time at their common edges.
    fn combine(&self, other: &Self, with: impl Fn(f64, f64) -> f64) -> Self {
        let mut pieces = Vec::with_capacity(self.pieces.len() + other.pieces.len());
        let (mut one, mut two) = (0, 0);
        while let (Some(a), Some(b)) = (self.pieces.get(one), other.pieces.get(two)) {
            let time = a.start.max(b.start)..a.end.min(b.end);
            if let Some((a, b)) = a.cut(&time).zip(b.cut(&time)) {
                pieces.push(Piece {
                    start: time.start,
                    end: time.end,
                    from: with(a.from, b.from),
                    to: with(a.to, b.to),
                });
            }
            if a.end <= b.end {
                one += 1;
            }
            if b.end <= a.end {
                two += 1;
            }
        }
        Self::new(pieces)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rates() -> impl Strategy<Value = Rates> {
        let piece = (0.0..50.0_f64, 0.0..20.0_f64, 0.0..20.0_f64, prop::bool::weighted(0.2));
        prop::collection::vec(piece, 1..8).prop_map(|pieces| {
            let mut end = 0.0;
            Rates::new(pieces.into_iter().map(|(length, from, to, is_pause)| {
                let start = end;
                end += length;
                let [from, to] = if is_pause { [0.0; 2] } else { [from, to] };
                Piece { start, end, from, to }
            }))
        })
    }

    #[test]
    fn a_ramp_has_its_area_and_is_inverted() {
        let ramp = Rates::new([Piece { start: 0.0, end: 10.0, from: 0.0, to: 4.0 }]);
        assert!((ramp.total() - 20.0).abs() < 1e-12);
        assert!((ramp.second_of(5.0).unwrap() - 5.0).abs() < 1e-12, "half the time holds a quarter of the area");
        assert_eq!((ramp.rate_at(5.0), ramp.second_of(20.0)), (2.0, None));
        assert_eq!(ramp.second_of(0.0), Some(0.0), "it starts at its start, although the rate is zero there");
    }

    #[test]
    fn a_pause_has_no_events() {
        let times = [0.0..10.0, 10.0..20.0, 20.0..30.0];
        let pause = Rates::new(times.into_iter().zip([1.0, 0.0, 1.0]).map(|(time, rate)| Piece::constant(time, rate)));
        assert_eq!(pause.second_of(10.0), Some(20.0));
        assert!(pause.second_of(9.999).unwrap() < 10.0);
    }

    proptest! {
        #[test]
        fn the_inverse_is_monotone_and_meets_the_integral(rates in rates(), shares in prop::collection::vec(0.0..1.0_f64, 1..60)) {
            let mut areas: Vec<f64> = shares.iter().map(|share| share * rates.total()).collect();
            areas.sort_by(f64::total_cmp);
            let seconds: Vec<f64> = areas.iter().filter_map(|&area| rates.second_of(area)).collect();
            prop_assert!(seconds.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9));
            for (second, area) in seconds.iter().zip(&areas) {
                prop_assert!((rates.total_before(*second) - area).abs() < 1e-6 * (1.0 + rates.total()));
            }
        }

        #[test]
        fn sums_and_products_are_those_of_the_rates(one in rates(), second in 0.0..1.0_f64) {
            let end = one.pieces().last().map_or(0.0, |piece| piece.end);
            let half = Rates::new([Piece::constant(0.0..end / 2.0, 3.0), Piece::constant(end / 2.0..end, 0.5)]);
            let second = second * end;
            let (sum, product) = (one.plus(&half).rate_at(second), one.times(&half).rate_at(second));
            let (one, half) = (one.rate_at(second), half.rate_at(second));
            prop_assert!((sum - one - half).abs() < 1e-6 && (product - one * half).abs() < 1e-6);
        }
    }
}
