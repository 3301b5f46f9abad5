//! Names of customers. No word of the vocabulary is one of them. Nothing is drawn here.

/// First names.
pub(super) const FIRST: [&str; 24] = [
    "anna", "ben", "carla", "david", "elena", "felix", "greta", "hugo", "ines", "jan", "katja", "leon", "maria",
    "nils", "olga", "pedro", "rosa", "stefan", "teresa", "ugo", "vera", "walter", "yara", "zofia",
];
/// Last names.
pub(super) const LAST: [&str; 24] = [
    "adams",
    "bauer",
    "castro",
    "dubois",
    "evans",
    "fischer",
    "garcia",
    "huber",
    "ivanova",
    "jansen",
    "kowalski",
    "lopez",
    "martin",
    "nowak",
    "olsen",
    "petit",
    "quinn",
    "rossi",
    "schmidt",
    "torres",
    "ulrich",
    "vidal",
    "weber",
    "zielinski",
];
