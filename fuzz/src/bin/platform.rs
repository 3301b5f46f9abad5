//! Records of the platform's own topics, decoded for their tables. See [`sluice_fuzz::platform`].
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(sluice_fuzz::platform::check);
