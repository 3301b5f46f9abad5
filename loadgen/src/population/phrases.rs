//! The fixed phrases of messages in each language, and the names of templates. What a text says besides is drawn from the
//! vocabulary. This module composes no message.

use super::rng::KeyedRng;

/// A language's phrases and sounds.
#[derive(Debug)]
pub(crate) struct Language {
    /// ISO 639-1.
    pub(crate) code: &'static str,
    pub(super) greeting: &'static str,
    sentences: [&'static str; KINDS.len()],
    pub(super) closing: &'static str,
    pub(super) sounds: Sounds,
}

/// The sounds of which the syllables of a language consist.
#[derive(Debug)]
pub(super) struct Sounds {
    pub(super) onsets: &'static [&'static str],
    pub(super) vowels: &'static [&'static str],
    pub(super) codas: &'static [&'static str],
}

/// What a message is for. A kind and a variant, `_a` to `_e`, form the name of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    FirstNotice,
    Reminder,
    SecondNotice,
    FinalNotice,
    PlanOffer,
    CallBack,
    Confirmation,
    Thanks,
}

/// Names of the kinds, in order.
const KINDS: [&str; 8] =
    ["first_notice", "reminder", "second_notice", "final_notice", "plan_offer", "call_back", "confirmation", "thanks"];
/// Variants of each kind, as in an A/B test.
const VARIANTS: u64 = 5;
/// Number of templates.
pub(crate) const TEMPLATE_NAMES: u64 = KINDS.len() as u64 * VARIANTS;

impl Kind {
    /// The name, as rules and templates have it.
    pub(super) const fn as_str(self) -> &'static str {
        KINDS[self as usize]
    }

    /// One of the kind's templates.
    pub(super) fn template(self, rng: &mut KeyedRng) -> u64 {
        self as u64 * VARIANTS + rng.below(VARIANTS)
    }
}

/// The name of a template, `0..TEMPLATE_NAMES`.
pub(crate) fn template_name(template: u64) -> String {
    let mut name = String::with_capacity(16);
    name.push_str(KINDS[(template / VARIANTS) as usize]);
    name.push('_');
    name.push(char::from(b'a' + (template % VARIANTS) as u8));
    name
}

impl Language {
    /// The sentence of a template, up to the amount.
    pub(super) fn sentence(&self, template: u64) -> &'static str {
        self.sentences[(template / VARIANTS) as usize]
    }

    /// All words of the phrases, in lowercase.
    pub(super) fn words(&self) -> impl Iterator<Item = String> {
        let texts = self.sentences.iter().chain([&self.greeting, &self.closing]).copied().chain(["EUR"]);
        let words = texts.flat_map(|text| text.split(|c: char| !c.is_alphanumeric()));
        words.filter(|word| !word.is_empty()).map(str::to_lowercase)
    }
}

/// All languages; the index is part of the plan, so their order never changes.
pub(crate) static LANGUAGES: [Language; 5] = [
    Language {
        code: "en",
        greeting: "Dear",
        sentences: [
            "we have not yet received your payment of",
            "please remember the open amount of",
            "this is our second letter about the sum of",
            "for the last time we ask you to settle",
            "we would like to offer you smaller monthly parts for",
            "you asked us to ring you again about",
            "we confirm what we agreed on the phone about",
            "thank you, we have received",
        ],
        closing: "Kind regards, your service team",
        sounds: Sounds {
            onsets: &[
                "b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "w", "th", "st", "br", "cl", "dr",
                "tr", "gr", "pl",
            ],
            vowels: &["a", "e", "i", "o", "u", "ea", "oo", "ai"],
            codas: &["n", "r", "t", "d", "l", "s", "nd", "st", "m", "rk", "ng"],
        },
    },
    Language {
        code: "de",
        greeting: "Guten Tag",
        sentences: [
            "leider haben wir noch keine Zahlung erhalten über",
            "bitte denken Sie an den offenen Betrag von",
            "dies ist unser zweites Schreiben zur Summe von",
            "zum letzten Mal bitten wir Sie um den Ausgleich von",
            "gern bieten wir Ihnen kleinere monatliche Raten an für",
            "Sie baten uns um einen Rückruf wegen",
            "wir bestätigen das am Telefon Vereinbarte zu",
            "vielen Dank, wir haben erhalten",
        ],
        closing: "Mit freundlichen Grüßen, Ihr Serviceteam",
        sounds: Sounds {
            onsets: &[
                "b", "d", "f", "g", "h", "k", "l", "m", "n", "r", "s", "t", "w", "z", "sch", "st", "br", "fr", "gr",
                "kl", "spr", "tr",
            ],
            vowels: &["a", "e", "i", "o", "u", "ei", "au", "ie", "ü", "ö", "ä"],
            codas: &["n", "r", "t", "l", "s", "ch", "nd", "rt", "ng", "cht", "lt"],
        },
    },
    Language {
        code: "fr",
        greeting: "Bonjour",
        sentences: [
            "nous attendons encore votre paiement de",
            "pensez au montant restant de",
            "ceci est notre deuxième lettre pour la somme de",
            "pour la dernière fois nous vous demandons de régler",
            "nous vous proposons des parts mensuelles plus petites pour",
            "vous nous avez demandé de rappeler pour",
            "nous confirmons ce qui fut convenu au téléphone pour",
            "merci, nous avons bien reçu",
        ],
        closing: "Cordialement, votre équipe de service",
        sounds: Sounds {
            onsets: &[
                "b", "c", "d", "f", "g", "l", "m", "n", "p", "r", "s", "t", "v", "ch", "br", "cr", "dr", "gr", "pr",
                "tr", "pl",
            ],
            vowels: &["a", "e", "i", "o", "u", "é", "è", "ai", "eu", "ou", "an", "on"],
            codas: &["r", "t", "s", "l", "n", "nt", "x", "rd"],
        },
    },
    Language {
        code: "es",
        greeting: "Hola",
        sentences: [
            "todavía no hemos recibido su pago de",
            "recuerde por favor el importe pendiente de",
            "esta es nuestra segunda carta por la suma de",
            "por última vez le pedimos que liquide",
            "le ofrecemos cuotas mensuales menores para",
            "usted nos pidió otra llamada por",
            "confirmamos lo acordado por teléfono sobre",
            "gracias, hemos recibido",
        ],
        closing: "Saludos cordiales, su equipo de servicio",
        sounds: Sounds {
            onsets: &[
                "b", "c", "d", "f", "g", "l", "m", "n", "p", "r", "s", "t", "v", "ll", "ch", "br", "cr", "gr", "pr",
                "tr", "j",
            ],
            vowels: &["a", "e", "i", "o", "u", "á", "é", "í", "ó", "ue", "ie"],
            codas: &["n", "r", "s", "l", "d", "z"],
        },
    },
    Language {
        code: "pl",
        greeting: "Witamy",
        sentences: [
            "nadal czekamy na zapłatę",
            "prosimy pamiętać o kwocie",
            "to nasze drugie pismo o kwotę",
            "po raz ostatni prosimy o uregulowanie",
            "proponujemy mniejsze miesięczne raty za",
            "prosili Państwo o ponowny telefon w sprawie",
            "potwierdzamy ustalenia telefoniczne o",
            "dziękujemy, otrzymaliśmy",
        ],
        closing: "Z poważaniem, zespół obsługi",
        sounds: Sounds {
            onsets: &[
                "b", "c", "d", "g", "k", "l", "m", "n", "p", "r", "s", "t", "w", "z", "cz", "sz", "rz", "pr", "st",
                "kr", "wy", "śl",
            ],
            vowels: &["a", "e", "i", "o", "u", "y", "ą", "ę", "ó", "ie", "ia"],
            codas: &["k", "n", "m", "r", "ć", "ł", "sz", "ch", "j", "ń"],
        },
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn templates_have_distinct_names() {
        let names: HashSet<String> = (0..TEMPLATE_NAMES).map(template_name).collect();
        assert_eq!(names.len() as u64, TEMPLATE_NAMES);
        assert!(names.contains("final_notice_e"));
        let template = Kind::FinalNotice.template(&mut KeyedRng::new(1, "test", [0, 0]));
        assert!(template_name(template).starts_with(Kind::FinalNotice.as_str()));
    }
}
