//! What `sluice verify` promises its user: the exit code is the verdict, whatever happened to the stores meanwhile.
//! Each test runs the program itself, on the test stack, in a namespace of its own.

mod exit_code_is_the_verdict;
mod leaves_nothing_behind;
mod program;
