//! The vocabularies of the languages: 8,192 words each, built from syllables, the frequent ones short. They are the same for
//! every seed. No word is in two vocabularies, none is a name or in the fixed phrases, and all are single lowercase
//! letters-only words, so a search for one finds exactly the texts that it was drawn for.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::names;
use super::phrases::{LANGUAGES, Language, Sounds};
use super::rng::KeyedRng;
use super::zipf::RANKS;

/// Seed of the words. Another one changes every text.
const SEED: u64 = 1;
/// Ranks from which on words have two, three and four syllables.
const LONGER_FROM: [usize; 3] = [40, 600, 5_000];
/// Share of syllables that end in a consonant, in the middle and at the end of a word.
const CLOSED: [f64; 2] = [0.25, 0.5];

/// The words of one language, by rank.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    text: String,
    ends: Vec<u32>,
}

/// The vocabularies in the order of [`LANGUAGES`].
static VOCABULARIES: LazyLock<Vec<Vocabulary>> = LazyLock::new(|| {
    let mut taken = taken();
    LANGUAGES.iter().map(|language| Vocabulary::new(language.code, &language.sounds, &mut taken)).collect()
});

impl Vocabulary {
    /// The vocabulary of a language, an index of [`LANGUAGES`].
    pub(crate) fn of(language: usize) -> &'static Self {
        &VOCABULARIES[language]
    }

    /// The word of a rank, from 0 for the most frequent.
    pub(crate) fn word(&self, rank: u16) -> &str {
        let rank = usize::from(rank);
        let start = rank.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[rank] as usize]
    }

    fn new(code: &str, sounds: &Sounds, taken: &mut HashSet<String>) -> Self {
        let mut vocabulary = Self { text: String::new(), ends: Vec::with_capacity(RANKS) };
        let mut rng = KeyedRng::new(SEED, code, [0, 0]);
        for rank in 0..RANKS {
            let word = std::iter::repeat_with(|| sounds.word(&mut rng, rank)).find(|word| taken.insert(word.clone()));
            vocabulary.text.push_str(&word.unwrap_or_default());
            vocabulary.ends.push(vocabulary.text.len() as u32);
        }
        vocabulary
    }
}

impl Sounds {
    /// A word for a rank, which may exist already.
    fn word(&self, rng: &mut KeyedRng, rank: usize) -> String {
        let syllables = 1 + LONGER_FROM.iter().filter(|&&from| rank >= from).count();
        let mut word = String::new();
        for syllable in 1..=syllables {
            word.push_str(rng.pick(self.onsets));
            word.push_str(rng.pick(self.vowels));
            if rng.chance(CLOSED[usize::from(syllable == syllables)]) {
                word.push_str(rng.pick(self.codas));
            }
        }
        word
    }
}

/// Words that texts contain besides those of the vocabularies.
fn taken() -> HashSet<String> {
    let phrases = LANGUAGES.iter().flat_map(Language::words);
    phrases.chain(names::FIRST.into_iter().chain(names::LAST).map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_over_twenty_thousand_words_and_no_two_are_the_same() {
        let words = |language| (0..RANKS as u16).map(move |rank| Vocabulary::of(language).word(rank));
        let all: HashSet<&str> = (0..LANGUAGES.len()).flat_map(words).collect();
        assert_eq!(all.len(), LANGUAGES.len() * RANKS);
        assert!(all.len() >= 20_000);
        let is_word = |word: &str| word.chars().all(|letter| letter.is_alphabetic() && letter.is_lowercase());
        assert!(all.iter().all(|word| word.chars().count() > 1 && is_word(word)));
        assert!(taken().iter().all(|word| !all.contains(word.as_str())));
    }

    #[test]
    fn words_survive_a_change_of_case() {
        // A text capitalizes the first word of a sentence, and Elasticsearch's analyzer lowercases it again.
        for language in 0..LANGUAGES.len() {
            let words = (0..RANKS as u16).map(|rank| Vocabulary::of(language).word(rank));
            assert!(words.into_iter().all(|word| word.to_uppercase().to_lowercase() == word));
        }
    }

    #[test]
    fn frequent_words_are_short() {
        let words = |rank| (0..LANGUAGES.len()).map(move |language| Vocabulary::of(language).word(rank));
        insta::assert_debug_snapshot!([0, 9, 99, 999, 8_191].map(|rank| words(rank).collect::<Vec<_>>()));
    }
}
