//! A dead letter, written and read back. See [`sluice_fuzz::letter`].
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(sluice_fuzz::letter::check);
