//! Population, plan, open-loop drive, measurement, verdict and account. It prints nothing and starts no process.
//!
//! # Layout: each module imports only modules above it
//! - `binomial`, `fault`, `files`, [`number`], `parallel`, `proc_files`: the exact test of a proportion; faults of the generator,
//!   injected for tests; files that a user names; numbers as people read them; work on all processors; files of `/proc`
//! - [`target`]: clients of the stores that answer questions
//! - [`population`]: tenants, customers and their records, a pure function of the seed
//! - [`question`]: what probes ask: a file per question, with its text, its key and its expected answer
//! - [`scenario`]: what is driven, asked and judged, as one readable file
//! - [`custom`]: asks the questions of a scenario's own
//! - [`plan`]: every write and probe with its intended start, a pure function of the seeds
//! - [`measure`]: latencies, exceedances, errors and send lag
//! - [`shards`]: how the shards of one run start together and learn of each other
//! - [`verdict`]: PASS, FAIL, INCONCLUSIVE or INVALID
//! - [`run_context`]: the stores, the namespace, the scenario and the plan of one run
//! - [`load`]: writes the population and its past into the stores, in bulk
//! - [`drive`]: writes and probes, each at its intended start
//! - [`observer`], [`session`]: what is reported meanwhile; the stores, prepared once for any number of trials
//! - [`metrics`]: metrics of a drive while it runs, for Prometheus and OpenTelemetry
//! - [`account`]: produced = landed + dead-lettered, to the record
//! - [`trial`]: one drive of a session, with its account and its findings
//! - [`report`]: the report as data, read and written as JSON, and its forms for people, CI servers and tools
//! - [`capacity`]: the highest rate at which every SLO holds, found by trials at other rates
//! - [`mod@compare`]: the reports of runs before and after a change

pub mod account;
mod binomial;
pub mod capacity;
pub mod compare;
pub mod custom;
pub mod drive;
mod fault;
mod files;
pub mod load;
pub mod measure;
pub mod metrics;
pub mod number;
pub mod observer;
mod parallel;
pub mod plan;
pub mod population;
mod proc_files;
pub mod question;
pub mod report;
pub mod run_context;
pub mod scenario;
pub mod session;
pub mod shards;
pub mod target;
pub mod trial;
pub mod verdict;
