//! Which communication is which message of which case, and on which day. A case is one debt: its messages follow the
//! campaign's rule in days. What remains of a day are single messages. The schedule assigns days, never times within them.
//!
//! For each day it stores how many cases of each speed start; everything else is arithmetic. A message of a case has a
//! place on its day whether it is sent or not, so no place depends on what a customer did: where a case has stopped, its
//! customer gets another message there. Indices count all communications of a tenant, the past first, in order of time.

use super::affine::Affine;
use super::escalation::{STEPS, delay};

/// Most communications of a day that belong to cases, in hundredths.
const CASES_PERCENT: u64 = 75;

/// A case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    /// Number, from 0, within the tenant.
    pub(super) number: u64,
    /// The speed of its campaign's rule.
    pub(super) speed: u64,
    /// The day of its first message.
    day: usize,
    /// Place among the cases of that day and speed.
    place: u64,
}

impl Case {
    /// The same case under another number.
    pub(super) fn numbered(self, number: u64) -> Self {
        Self { number, ..self }
    }
}

/// What a communication is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    /// Message `step` of a case, unless the case has stopped.
    Step { case: Case, step: usize },
    /// A single message, by its number.
    Single(u64),
}

/// The schedule of one tenant.
#[derive(Debug)]
pub(super) struct Schedule {
    speeds: u64,
    days: Vec<Day>,
    cases: u64,
    singles: u64,
}

#[derive(Debug)]
struct Day {
    /// Index of the first communication.
    first: u64,
    /// From places in the day to places in the blocks.
    mixed: Affine,
    /// Number of the first case that starts.
    first_case: u64,
    /// Number of the first single message.
    first_single: u64,
    /// Ends of the blocks: later messages by speed and step, then first messages by speed. Single messages follow.
    ends: Vec<u32>,
}

impl Schedule {
    /// Schedules days whose first communications are `firsts`; the last of them is the number of all.
    pub(super) fn new(firsts: &[u64], speeds: u64) -> Self {
        let counts: Vec<u64> = firsts.windows(2).map(|day| day[1] - day[0]).collect();
        let starts = starts(&counts, speeds);
        let (mut cases, mut singles) = (0, 0);
        let days = (0..counts.len()).map(|day| {
            let ends = ends(&starts, day, speeds);
            let scheduled = Day {
                first: firsts[day],
                mixed: Affine::new(counts[day], day as u64),
                first_case: cases,
                first_single: singles,
                ends,
            };
            cases += starts[day].iter().sum::<u64>();
            singles += counts[day] - u64::from(scheduled.end());
            scheduled
        });
        Self { speeds, days: days.collect(), cases, singles }
    }

    /// Number of cases.
    pub(super) fn cases(&self) -> u64 {
        self.cases
    }

    /// Number of single messages.
    pub(super) fn singles(&self) -> u64 {
        self.singles
    }

    /// What communication `index` is.
    pub(super) fn message(&self, index: u64) -> Message {
        let day = self.days.partition_point(|day| day.first <= index) - 1;
        let scheduled = &self.days[day];
        let place = scheduled.mixed.apply(index - scheduled.first);
        let block = scheduled.ends.partition_point(|&end| u64::from(end) <= place);
        if block == scheduled.ends.len() {
            return Message::Single(scheduled.first_single + place - u64::from(scheduled.end()));
        }
        let place = place - scheduled.start(block);
        let (speed, step) = self.of_block(block);
        let started = day - delay(speed, step) as usize;
        Message::Step { case: self.case_at(started, speed, place), step }
    }

    /// Case `number`.
    pub(super) fn case(&self, number: u64) -> Case {
        let day = self.days.partition_point(|day| day.first_case <= number) - 1;
        let scheduled = &self.days[day];
        let first = scheduled.start(self.block(0, 0));
        let place = number - scheduled.first_case + first;
        let block = scheduled.ends.partition_point(|&end| u64::from(end) <= place);
        Case { number, speed: self.of_block(block).0, day, place: place - scheduled.start(block) }
    }

    /// Index of message `step` of a case; `None` if its day is after the last one.
    pub(super) fn step_index(&self, case: &Case, step: usize) -> Option<u64> {
        let day = self.days.get(case.day + delay(case.speed, step) as usize)?;
        Some(day.first + day.mixed.invert(day.start(self.block(case.speed, step)) + case.place))
    }

    /// Indices of the messages of case `number`, sent or not.
    pub(super) fn step_indices(&self, number: u64) -> impl Iterator<Item = u64> + use<'_> {
        let case = self.case(number);
        (0..STEPS).filter_map(move |step| self.step_index(&case, step))
    }

    /// Index of a single message.
    pub(super) fn single_index(&self, number: u64) -> u64 {
        let day = &self.days[self.days.partition_point(|day| day.first_single <= number) - 1];
        day.first + day.mixed.invert(number - day.first_single + u64::from(day.end()))
    }

    fn case_at(&self, day: usize, speed: u64, place: u64) -> Case {
        let scheduled = &self.days[day];
        let before = scheduled.start(self.block(speed, 0)) - scheduled.start(self.block(0, 0));
        Case { number: scheduled.first_case + before + place, speed, day, place }
    }

    /// The block of message `step` of cases of a speed: later messages first.
    fn block(&self, speed: u64, step: usize) -> usize {
        let later = STEPS - 1;
        if step == 0 { self.speeds as usize * later + speed as usize } else { speed as usize * later + step - 1 }
    }

    /// Speed and step of a block.
    fn of_block(&self, block: usize) -> (u64, usize) {
        let later = STEPS - 1;
        let first = self.speeds as usize * later;
        if block < first { ((block / later) as u64, block % later + 1) } else { ((block - first) as u64, 0) }
    }
}

impl Day {
    fn start(&self, block: usize) -> u64 {
        block.checked_sub(1).map_or(0, |before| u64::from(self.ends[before]))
    }

    /// End of the last block.
    fn end(&self) -> u32 {
        self.ends.last().copied().unwrap_or(0)
    }
}

/// Number of cases of each speed that start on each day, so that all their messages find room on their days.
fn starts(counts: &[u64], speeds: u64) -> Vec<Vec<u64>> {
    let mut room: Vec<u64> = counts.iter().map(|count| count * CASES_PERCENT / 100).collect();
    let mut starts = vec![vec![0; speeds as usize]; counts.len()];
    for day in 0..counts.len() {
        // Another speed is first each day, so that small tenants have all of them.
        let turns = (0..speeds).map(|turn| ((turn + day as u64) % speeds, speeds - turn));
        for (speed, left) in turns {
            let days = (0..STEPS).map(|step| day + delay(speed, step) as usize).filter(|&later| later < counts.len());
            let most = days.clone().map(|later| room[later]).min().unwrap_or(0);
            let started = room[day].div_ceil(left).min(most);
            days.for_each(|later| room[later] -= started);
            starts[day][speed as usize] = started;
        }
    }
    starts
}

/// Ends of the blocks of a day.
fn ends(starts: &[Vec<u64>], day: usize, speeds: u64) -> Vec<u32> {
    let started = |speed: u64, step| {
        let day = day.checked_sub(delay(speed, step) as usize)?;
        Some(starts[day][speed as usize])
    };
    let later = (0..speeds).flat_map(|speed| (1..STEPS).map(move |step| (speed, step)));
    let first = (0..speeds).map(|speed| (speed, 0));
    let sizes = later.chain(first).map(|(speed, step)| started(speed, step).unwrap_or(0));
    sizes
        .scan(0, |end, size| {
            *end += size as u32;
            Some(*end)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(counts: &[u64], speeds: u64) -> Schedule {
        let mut firsts = vec![0];
        for count in counts {
            firsts.push(firsts[firsts.len() - 1] + count);
        }
        Schedule::new(&firsts, speeds)
    }

    proptest! {
        #[test]
        fn every_communication_is_one_message(counts in prop::collection::vec(0_u64..60, 1..45), speeds in 1_u64..=5) {
            let schedule = schedule(&counts, speeds);
            for index in 0..counts.iter().sum() {
                match schedule.message(index) {
                    Message::Single(number) => {
                        prop_assert!(number < schedule.singles());
                        prop_assert_eq!(schedule.single_index(number), index);
                    }
                    Message::Step { case, step } => {
                        prop_assert!(case.number < schedule.cases());
                        prop_assert_eq!(schedule.case(case.number), case);
                        prop_assert_eq!(schedule.step_index(&case, step), Some(index));
                    }
                }
            }
            let steps = (0..schedule.cases()).map(|number| schedule.case(number));
            let messages = steps.flat_map(|case| (0..STEPS).map(move |step| (case, step)));
            let placed = messages.filter(|(case, step)| schedule.step_index(case, *step).is_some()).count() as u64;
            prop_assert_eq!(placed + schedule.singles(), counts.iter().sum::<u64>());
        }
    }

    #[test]
    fn most_messages_belong_to_cases() {
        // Four weeks with quiet weekends, and a day of many messages.
        let weeks = (0..28).map(|day| if day % 7 < 5 { 1_000 } else { 400 });
        let counts: Vec<u64> = weeks.chain([50_000]).collect();
        let schedule = schedule(&counts, 5);
        let singles = schedule.singles() as f64 / counts.iter().sum::<u64>() as f64;
        assert!((0.25..0.35).contains(&singles), "{singles}");
    }
}
