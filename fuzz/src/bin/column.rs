//! A column type in the first line, and any JSON value for it in the rest. See [`sluice_fuzz::column`].
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(sluice_fuzz::column::check);
