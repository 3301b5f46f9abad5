//! What `sluice verify` promises its user: the exit code is the verdict, whatever happened to the stores meanwhile.
//! Each test runs the program itself, on the test stack, in a namespace of its own.

#[cfg(test)]
mod drops_only_its_own;
#[cfg(test)]
mod exit_code_is_the_verdict;
#[cfg(test)]
mod leaves_nothing_behind;
#[cfg(test)]
mod program;
#[cfg(test)]
mod theirs;
