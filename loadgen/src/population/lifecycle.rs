//! The lifecycle of a communication: its customer, its channel, and its events with their times. It contains no texts;
//! [`super::records`] turns it into records.

use sluice_schemas::records::{Channel, Direction, EventType};

use super::phrases::Kind;
use super::rng::KeyedRng;

const SECOND: f64 = 1_000.0;
const MINUTE: f64 = 60.0 * SECOND;
const HOUR: f64 = 60.0 * MINUTE;
/// Maximum number of events of one communication.
pub(super) const MAX_STEPS: usize = 8;
/// Share of single messages that customers initiate.
const INBOUND: f64 = 0.25;
/// Channels of single messages: most are calls.
const SINGLE_CHANNELS: [(Channel, u64); 3] = [(Channel::Email, 30), (Channel::Sms, 20), (Channel::Phone, 50)];
/// Kinds of single messages.
const SINGLE_KINDS: [Kind; 4] = [Kind::PlanOffer, Kind::CallBack, Kind::Confirmation, Kind::Thanks];

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) event: EventType,
    /// Milliseconds since the start of the era.
    pub(crate) millis: u64,
}

/// Everything that is decided about a communication.
#[derive(Debug, Clone)]
pub(crate) struct Lifecycle {
    pub(crate) customer: u64,
    /// The message of a case that it is.
    pub(crate) case: Option<CaseMessage>,
    pub(crate) agent: u64,
    pub(crate) channel: Channel,
    pub(crate) direction: Direction,
    pub(crate) language: usize,
    pub(crate) template: u64,
    pub(crate) amount_minor: i64,
    steps: [Step; MAX_STEPS],
    len: usize,
}

/// A message of a case: of a debt that a campaign collects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CaseMessage {
    /// Number of the case within the tenant.
    pub(crate) case: u64,
    pub(crate) campaign: u64,
    /// Step of the campaign's rule.
    pub(crate) step: usize,
    pub(super) channel: Channel,
    pub(super) kind: Kind,
    pub(super) agent: u64,
    pub(super) amount_minor: i64,
}

/// Probabilities of each next step on a channel, and mean delays in milliseconds.
struct ChannelBehavior {
    fails: f64,
    opens: f64,
    answers: f64,
    delivered_after: f64,
    opened_after: f64,
    answered_after: f64,
}

const fn behavior_of(channel: Channel) -> ChannelBehavior {
    match channel {
        Channel::Email => ChannelBehavior {
            fails: 0.03,
            opens: 0.50,
            answers: 0.30,
            delivered_after: 8.0 * SECOND,
            opened_after: 40.0 * MINUTE,
            answered_after: 40.0 * MINUTE,
        },
        Channel::Phone => ChannelBehavior {
            fails: 0.10,
            opens: 0.60,
            answers: 0.90,
            delivered_after: 12.0 * SECOND,
            opened_after: 15.0 * SECOND,
            answered_after: 20.0 * SECOND,
        },
        Channel::Sms => ChannelBehavior {
            fails: 0.02,
            opens: 0.85,
            answers: 0.35,
            delivered_after: 3.0 * SECOND,
            opened_after: 6.0 * MINUTE,
            answered_after: 15.0 * MINUTE,
        },
    }
}

/// Inputs of a lifecycle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LifecycleInputs {
    pub(crate) customer: u64,
    pub(crate) language: usize,
    /// The message of a case that is sent; `None` for a single message.
    pub(crate) case: Option<CaseMessage>,
    /// Number of the tenant's agents.
    pub(crate) agents: u64,
    /// Milliseconds since the start of the era.
    pub(crate) created: u64,
    /// Length of the era; every event is before its end.
    pub(crate) end: u64,
}

impl Lifecycle {
    /// Draws a lifecycle.
    pub(crate) fn new(rng: &mut KeyedRng, inputs: &LifecycleInputs) -> Self {
        let mut lifecycle = Self::queued(rng, inputs);
        if lifecycle.direction == Direction::Inbound {
            lifecycle.inbound(rng, inputs.end);
        } else {
            lifecycle.outbound(rng, inputs.end);
        }
        lifecycle
    }

    /// A lifecycle that has only been created.
    fn queued(rng: &mut KeyedRng, inputs: &LifecycleInputs) -> Self {
        let &LifecycleInputs { customer, language, case, agents, created, .. } = inputs;
        let (channel, kind) = match case {
            Some(message) => (message.channel, message.kind),
            None => (rng.weighted(&SINGLE_CHANNELS), rng.pick(&SINGLE_KINDS)),
        };
        let inbound = case.is_none() && rng.chance(INBOUND);
        Self {
            customer,
            case,
            agent: case.map_or_else(|| rng.below(agents), |message| message.agent),
            channel,
            direction: if inbound { Direction::Inbound } else { Direction::Outbound },
            language,
            template: kind.template(rng),
            amount_minor: case.map_or_else(|| amount_minor(rng), |message| message.amount_minor),
            steps: [Step { event: EventType::Queued, millis: created }; MAX_STEPS],
            len: 1,
        }
    }

    /// The campaign, if it is a message of a case.
    pub(crate) fn campaign(&self) -> Option<u64> {
        self.case.map(|message| message.campaign)
    }

    /// When the customer promised or paid, which stops the case: milliseconds since the start of the era.
    pub(super) fn stops_at(&self) -> Option<u64> {
        let stop = |step: &&Step| matches!(step.event, EventType::Promised | EventType::Paid);
        self.steps().iter().find(stop).map(|step| step.millis)
    }

    /// The events, in order; the first is the creation.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps[..self.len]
    }

    /// Type of the newest event.
    pub(crate) fn status(&self) -> EventType {
        self.steps[self.len - 1].event
    }

    fn outbound(&mut self, rng: &mut KeyedRng, end: u64) {
        let behavior = behavior_of(self.channel);
        self.add_step(rng, EventType::Sent, 20.0 * SECOND, end);
        if rng.chance(behavior.fails) {
            return self.add_step(rng, EventType::Failed, 30.0 * SECOND, end);
        }
        self.add_step(rng, EventType::Delivered, behavior.delivered_after, end);
        if !rng.chance(behavior.opens) {
            return;
        }
        self.add_step(rng, EventType::Opened, behavior.opened_after, end);
        if rng.chance(behavior.answers) {
            self.add_step(rng, EventType::Answered, behavior.answered_after, end);
            self.outcome(rng, end);
        } else if rng.chance(0.05) {
            self.add_step(rng, EventType::Paid, 3.0 * HOUR, end);
        }
    }

    /// The customer writes or calls, and an agent opens the message and answers.
    fn inbound(&mut self, rng: &mut KeyedRng, end: u64) {
        self.add_step(rng, EventType::Delivered, 2.0 * SECOND, end);
        self.add_step(rng, EventType::Opened, 5.0 * MINUTE, end);
        self.add_step(rng, EventType::Answered, 10.0 * MINUTE, end);
        self.outcome(rng, end);
    }

    fn outcome(&mut self, rng: &mut KeyedRng, end: u64) {
        if rng.chance(0.40) {
            self.add_step(rng, EventType::Promised, 10.0 * MINUTE, end);
            if rng.chance(0.50) {
                self.add_step(rng, EventType::Paid, 3.0 * HOUR, end);
            }
        }
    }

    /// Adds a step after an exponential delay. A step that would be past the era's end is placed uniformly in the
    /// remaining time, so that everything planned is produced within the era, without a burst at its end.
    fn add_step(&mut self, rng: &mut KeyedRng, event: EventType, mean: f64, end: u64) {
        let before = self.steps[self.len - 1].millis;
        let drawn = before + rng.exponential(mean) as u64 + 1;
        let millis = if drawn < end { drawn } else { before + rng.below(end - before) };
        self.steps[self.len] = Step { event, millis };
        self.len += 1;
    }
}

/// The amount of a debt, in the currency's smallest unit.
pub(super) fn amount_minor(rng: &mut KeyedRng) -> i64 {
    1_000 + rng.below(200_000).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lifecycle(seed: u64, created: u64, end: u64) -> Lifecycle {
        let inputs = LifecycleInputs { customer: 0, language: 0, case: None, agents: 3, created, end };
        Lifecycle::new(&mut KeyedRng::new(seed, "test", [0, 0]), &inputs)
    }

    #[test]
    fn there_are_about_four_events_to_a_communication() {
        let events: usize = (0..20_000).map(|seed| lifecycle(seed, 0, 86_400_000).steps().len()).sum();
        assert!((3.9..4.5).contains(&(events as f64 / 20_000.0)), "{events}");
    }

    proptest! {
        #[test]
        fn events_come_in_order_and_before_the_end(seed in any::<u64>(), created in 0_u64..1_000, left in 1_u64..100_000_000) {
            let lifecycle = lifecycle(seed, created, created + left);
            prop_assert_eq!(lifecycle.steps()[0], Step { event: EventType::Queued, millis: created });
            prop_assert!(lifecycle.steps().is_sorted_by_key(|step| step.millis));
            prop_assert!(lifecycle.steps().iter().all(|step| step.millis < created + left));
            prop_assert_eq!(lifecycle.status(), lifecycle.steps().last().unwrap().event);
        }
    }
}
