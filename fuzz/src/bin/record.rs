//! Records for a table with a column of every type, and for one without defaults. See [`sluice_fuzz::record`].
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(sluice_fuzz::record::check);
