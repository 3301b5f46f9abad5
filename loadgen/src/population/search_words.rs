//! The words that searches look for: those of certain ranks of each vocabulary, from common ones, which are in most emails,
//! to rare ones, which are in one of a hundred or fewer. This module never counts where they occur.

use std::sync::LazyLock;

use super::vocabulary::Vocabulary;
use super::zipf::RANKS;

/// Octaves of ranks: from 16 up to the last rank.
const OCTAVES: std::ops::Range<u32> = 4..13;
/// Search words of an octave.
const PER_OCTAVE: u16 = 7;
/// Number of search words of each language; at most 64.
pub(crate) const SEARCH_WORDS: usize = (OCTAVES.end - OCTAVES.start) as usize * PER_OCTAVE as usize;
/// The place of a rank without a search word.
const NONE: u8 = u8::MAX;

/// The place of each rank among the search words.
static PLACES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut places = vec![NONE; RANKS];
    for place in 0..SEARCH_WORDS {
        places[usize::from(rank(place))] = place as u8;
    }
    places
});

/// The rank of search word `place`, `0..SEARCH_WORDS`, from the most to the least frequent.
fn rank(place: usize) -> u16 {
    let (octave, step) = (place as u32 / u32::from(PER_OCTAVE) + OCTAVES.start, place as u16 % PER_OCTAVE);
    let first = 1_u16 << octave;
    first + (u32::from(first) * u32::from(step) / u32::from(PER_OCTAVE)) as u16
}

/// Search word `place` of a language, from the most to the least frequent.
pub(crate) fn search_word(language: usize, place: usize) -> &'static str {
    Vocabulary::of(language).word(rank(place))
}

/// The place of the word of a rank among the search words.
pub(crate) fn search_place(rank: u16) -> Option<usize> {
    Some(PLACES[usize::from(rank)]).filter(|&place| place != NONE).map(usize::from)
}

/// The probability that a drawn word is search word `place`.
#[cfg(test)]
pub(super) fn search_frequency(place: usize) -> f64 {
    super::zipf::frequency(rank(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_words_lie_between_common_and_rare_ranks() {
        let ranks: Vec<u16> = (0..SEARCH_WORDS).map(rank).collect();
        assert!(ranks.is_sorted_by(|one, two| one < two), "{ranks:?}");
        assert_eq!((ranks[0], ranks[SEARCH_WORDS - 1]), (16, 7_606));
        assert!(ranks.iter().enumerate().all(|(place, &rank)| search_place(rank) == Some(place)));
        assert_eq!((search_place(0), search_place(8_191)), (None, None));
        assert!(search_frequency(0) > 400.0 * search_frequency(SEARCH_WORDS - 1));
    }
}
