//! The metadata of a committed offset. See [`sluice_fuzz::intent`].
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(sluice_fuzz::intent::check);
