//! The texts of messages: fixed phrases around words that are drawn from the vocabulary by Zipf's law. A text is drawn word by
//! word, so its words can be counted without writing it. This module chooses neither the language nor the template.

use sluice_schemas::records::Channel;

use super::phrases::Language;
use super::rng::KeyedRng;
use super::vocabulary::Vocabulary;
use super::zipf::{ZIPF, Zipf};

/// A sentence has at least this many words, and ends after each further one with a probability of 1 in [`ENDS`].
const SENTENCE: u64 = 6;
const ENDS: u64 = 5;
/// A paragraph ends after this many sentences.
const PARAGRAPH: u64 = 4;
/// Words of a subject line, after its phrase.
const SUBJECT: usize = 3;
/// Bytes of the largest text, so that a buffer need not grow.
const CAPACITY: usize = 2_048;

/// Number of words of a text: at least `least`, an exponential number of `mean` more, at most `most`.
#[derive(Debug, Clone, Copy)]
struct Length {
    least: u32,
    mean: f64,
    most: u32,
}

/// An SMS has one to five parts of 160 letters, a letter a page or two, and a call is written down.
const fn length(channel: Channel) -> Length {
    match channel {
        Channel::Sms => Length { least: 12, mean: 10.0, most: 60 },
        Channel::Email => Length { least: 120, mean: 40.0, most: 800 },
        Channel::Phone => Length { least: 120, mean: 80.0, most: 1_200 },
    }
}

/// The words of one text that are drawn from the vocabulary, in order.
#[derive(Debug)]
pub(crate) struct Text {
    zipf: &'static Zipf,
    rng: KeyedRng,
    left: u32,
}

/// A word of a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    /// Its rank in the vocabulary of the text's language.
    pub(crate) rank: u16,
    /// Random bits that decide whether a sentence may end after it.
    chance: u64,
}

impl Text {
    /// The words of a message on a channel.
    pub(super) fn new(mut rng: KeyedRng, channel: Channel) -> Self {
        let Length { least, mean, most } = length(channel);
        let words = least.saturating_add(rng.exponential(mean) as u32).min(most);
        Self { zipf: &ZIPF, rng, left: words }
    }

    /// The words of the body alone.
    pub(super) fn of_body(rng: KeyedRng, channel: Channel) -> Self {
        let mut words = Self::new(rng, channel);
        if channel == Channel::Email {
            words.by_ref().take(SUBJECT).for_each(drop);
        }
        words
    }
}

impl Iterator for Text {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        self.left = self.left.checked_sub(1)?;
        let bits = self.rng.next();
        Some(Word { rank: self.zipf.rank(bits), chance: bits >> 32 & 0xffff })
    }
}

/// What a body starts with, and the language of its end.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    pub(super) language: &'a Language,
    pub(super) template: u64,
    pub(super) name: &'a str,
    /// With the currency.
    pub(super) amount: &'a str,
}

/// The body of a message: greeting, the template's sentence, the drawn words in sentences and paragraphs, closing.
pub(super) fn body(opening: &Opening<'_>, vocabulary: &Vocabulary, words: Text) -> String {
    let Opening { language, template, name, amount } = opening;
    let mut body = String::with_capacity(CAPACITY);
    for part in [language.greeting, " ", name, ",\n", language.sentence(*template), " ", amount, "."] {
        body.push_str(part);
    }
    write(&mut body, vocabulary, words);
    body.push_str("\n\n");
    body.push_str(language.closing);
    body
}

/// The subject of an email: the start of the template's sentence, and the first words of the text, after which it goes on.
pub(super) fn subject(language: &Language, vocabulary: &Vocabulary, template: u64, words: &mut Text) -> String {
    let mut subject = language.sentence(template).split(' ').take(4).collect::<Vec<_>>().join(" ");
    subject.push(':');
    for word in words.take(SUBJECT) {
        subject.push(' ');
        subject.push_str(vocabulary.word(word.rank));
    }
    subject
}

fn write(body: &mut String, vocabulary: &Vocabulary, words: Text) {
    let (mut in_sentence, mut sentences) = (0, 0);
    for word in words {
        let text = vocabulary.word(word.rank);
        if in_sentence == 0 {
            body.push_str(if sentences % PARAGRAPH == 0 { "\n\n" } else { " " });
            push_capitalized(body, text);
        } else {
            body.push(' ');
            body.push_str(text);
        }
        in_sentence += 1;
        if in_sentence >= SENTENCE && word.chance % ENDS == 0 {
            body.push('.');
            (in_sentence, sentences) = (0, sentences + 1);
        }
    }
    if in_sentence > 0 {
        body.push('.');
    }
}

fn push_capitalized(body: &mut String, word: &str) {
    let mut letters = word.chars();
    body.extend(letters.next().into_iter().flat_map(char::to_uppercase));
    body.push_str(letters.as_str());
}
