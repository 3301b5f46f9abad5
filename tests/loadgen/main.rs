//! The promises of loadgen, tested on real stores; one file per promise.

#[cfg(test)]
mod account_counts_every_difference;
#[cfg(test)]
mod account_is_exact;
#[cfg(test)]
mod changed_rows_are_wrong_answers;
#[cfg(test)]
mod commits_are_judged;
#[cfg(test)]
mod drive_fails_slow_and_broken_stores;
#[cfg(test)]
mod drive_shows_stalls_in_full;
mod drive_stops_at_once;
#[cfg(test)]
mod history_of_years;
#[cfg(test)]
mod live_answers_have_bounds;
#[cfg(test)]
mod load_checks_what_the_stores_hold;
#[cfg(test)]
mod load_continues;
#[cfg(test)]
mod shaped_load_is_accounted_for;
#[cfg(test)]
mod trials_are_accounted_for_apart;
#[cfg(test)]
mod visibility_is_judged;
#[cfg(test)]
mod waits_through_short_failures;
#[cfg(test)]
mod world;
