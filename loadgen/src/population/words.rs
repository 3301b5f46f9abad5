//! The texts of messages, in five languages. Each body contains exactly one marker word of its language, and no other word
//! of any body is one, so the number of hits of a search is known. Words consist of letters only.

/// A language's texts.
#[derive(Debug)]
pub(crate) struct Language {
    /// ISO 639-1.
    pub(crate) code: &'static str,
    greeting: &'static str,
    sentences: [&'static str; TEMPLATES.len()],
    about: &'static str,
    closing: &'static str,
    /// Words to search for; the first are the most frequent.
    pub(crate) markers: [&'static str; 20],
}

/// Kinds of messages. A kind and a variant, `_a` to `_e`, form the name of a template.
pub(crate) const TEMPLATES: [&str; 8] =
    ["first_notice", "reminder", "second_notice", "final_notice", "plan_offer", "call_back", "confirmation", "thanks"];
/// Variants of each kind, as in an A/B test.
pub(crate) const VARIANTS: u64 = 5;
/// Number of templates.
pub(crate) const TEMPLATE_NAMES: u64 = TEMPLATES.len() as u64 * VARIANTS;

/// The name of a template, `0..TEMPLATE_NAMES`.
pub(crate) fn template_name(template: u64) -> String {
    let variant = char::from(b'a' + (template % VARIANTS) as u8);
    format!("{}_{variant}", TEMPLATES[(template / VARIANTS) as usize])
}

impl Language {
    /// The text of a message: greeting, the template's sentence, marker word, closing.
    pub(crate) fn body(&self, name: &str, template: u64, marker: usize, amount: &str) -> String {
        let Self { greeting, sentences, about, closing, markers, .. } = self;
        let sentence = sentences[(template / VARIANTS) as usize];
        let marker = markers[marker];
        format!("{greeting} {name}, {sentence} {amount}. {about} {marker}. {closing}")
    }

    /// The subject of a message, without a marker word.
    pub(crate) fn subject(&self, template: u64) -> String {
        let sentence = self.sentences[(template / VARIANTS) as usize];
        sentence.split(' ').take(4).collect::<Vec<_>>().join(" ")
    }
}

/// All languages; the index is part of the plan, so their order never changes.
pub(crate) const LANGUAGES: [Language; 5] = [
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
        about: "It concerns",
        closing: "Kind regards, your service team",
        markers: [
            "invoice",
            "contract",
            "delivery",
            "subscription",
            "insurance",
            "electricity",
            "damage",
            "refund",
            "cancellation",
            "leasing",
            "mortgage",
            "tuition",
            "dentist",
            "broadband",
            "warranty",
            "parking",
            "membership",
            "furniture",
            "shipment",
            "inheritance",
        ],
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
        about: "Es geht um",
        closing: "Mit freundlichen Grüßen, Ihr Serviceteam",
        markers: [
            "rechnung",
            "vertrag",
            "lieferung",
            "abonnement",
            "versicherung",
            "strom",
            "schaden",
            "erstattung",
            "kündigung",
            "mietwagen",
            "darlehen",
            "studium",
            "zahnarzt",
            "glasfaser",
            "gewährleistung",
            "parkplatz",
            "mitgliedschaft",
            "möbel",
            "fracht",
            "erbschaft",
        ],
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
        about: "Cela concerne",
        closing: "Cordialement, votre équipe de service",
        markers: [
            "facture",
            "contrat",
            "livraison",
            "abonnement",
            "assurance",
            "électricité",
            "sinistre",
            "remboursement",
            "résiliation",
            "voiture",
            "hypothèque",
            "scolarité",
            "dentiste",
            "internet",
            "garantie",
            "stationnement",
            "adhésion",
            "meubles",
            "colis",
            "héritage",
        ],
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
        about: "Se trata de",
        closing: "Saludos cordiales, su equipo de servicio",
        markers: [
            "factura",
            "contrato",
            "entrega",
            "suscripción",
            "póliza",
            "electricidad",
            "daños",
            "reembolso",
            "anulación",
            "alquiler",
            "hipoteca",
            "matrícula",
            "dentista",
            "internet",
            "garantía",
            "aparcamiento",
            "membresía",
            "muebles",
            "paquete",
            "herencia",
        ],
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
        about: "Chodzi o",
        closing: "Z poważaniem, zespół obsługi",
        markers: [
            "faktura",
            "umowa",
            "dostawa",
            "abonament",
            "ubezpieczenie",
            "prąd",
            "szkoda",
            "zwrot",
            "wypowiedzenie",
            "leasing",
            "hipoteka",
            "czesne",
            "dentysta",
            "światłowód",
            "gwarancja",
            "parking",
            "członkostwo",
            "meble",
            "przesyłka",
            "spadek",
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
    }

    #[test]
    fn a_body_contains_its_marker_and_no_other() {
        for language in &LANGUAGES {
            for template in 0..TEMPLATE_NAMES {
                for (place, marker) in language.markers.iter().enumerate() {
                    let body = language.body("Ana Kowalska", template, place, "120.50 EUR");
                    let found: Vec<String> =
                        words(&body).into_iter().filter(|word| language.markers.contains(&word.as_str())).collect();
                    assert_eq!(found, [*marker], "{body}");
                    assert!(
                        words(&language.subject(template))
                            .iter()
                            .all(|word| !language.markers.contains(&word.as_str()))
                    );
                }
            }
        }
    }

    #[test]
    fn no_analyzer_can_confuse_two_markers() {
        for language in &LANGUAGES {
            let stem = |word: &str| word.chars().take(4).collect::<String>();
            let stems: HashSet<String> = language.markers.iter().map(|marker| stem(marker)).collect();
            assert_eq!(stems.len(), language.markers.len(), "{}", language.code);
            assert!(language.markers.iter().all(|marker| marker.chars().all(char::is_alphabetic)));
            let others = language.sentences.iter().chain([&language.greeting, &language.about, &language.closing]);
            for word in others.flat_map(|text| words(text)).filter(|word| word.chars().count() > 3) {
                assert!(!stems.contains(&stem(&word)), "{} {word}", language.code);
            }
        }
    }

    #[test]
    fn templates_have_distinct_names() {
        let names: HashSet<String> = (0..TEMPLATE_NAMES).map(template_name).collect();
        assert_eq!(names.len() as u64, TEMPLATE_NAMES);
        assert!(names.contains("final_notice_e"));
    }
}
