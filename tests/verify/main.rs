//! The promises of `sluice verify`: the exit code is the verdict, whatever happens to the stores during the run.
//! Each test runs the program itself, on the test stack, in a separate namespace.

#[cfg(test)]
mod asks_an_existing_deployment;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod capacity_is_searched;
#[cfg(test)]
mod compares_with_a_baseline;
#[cfg(test)]
mod drops_only_its_own;
#[cfg(test)]
mod exit_code_is_the_verdict;
#[cfg(test)]
mod exports_metrics;
#[cfg(test)]
mod foreign_objects;
#[cfg(test)]
mod gives_the_terminal_back;
#[cfg(test)]
mod invalid_is_the_generators_fault;
#[cfg(test)]
mod leaves_nothing_behind;
#[cfg(test)]
mod program;
#[cfg(test)]
mod report_has_every_form;
#[cfg(test)]
mod shards;
#[cfg(test)]
mod statement_logs;
