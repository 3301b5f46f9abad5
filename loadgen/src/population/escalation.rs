//! The rules by which a campaign escalates: what is sent on which channel after how many days, unless the customer has
//! promised or paid. It decides no dates; the schedule does.

use serde_json::{Value, json};
use sluice_schemas::records::Channel;

use super::phrases::Kind;

/// Number of messages of a rule.
pub(super) const STEPS: usize = 4;
/// Most speeds of escalation: the second message follows the first after 1 to 5 days.
const MAX_SPEEDS: u64 = 5;
/// Days from the first message to each, in multiples of the days to the second.
const DELAYS: [u64; STEPS] = [0, 1, 3, 6];

/// The channel and the kind of each message.
type Rule = [(Channel, Kind); STEPS];

/// The rules that campaigns have.
const RULES: [Rule; 3] = [
    [
        (Channel::Email, Kind::FirstNotice),
        (Channel::Sms, Kind::Reminder),
        (Channel::Phone, Kind::CallBack),
        (Channel::Email, Kind::FinalNotice),
    ],
    [
        (Channel::Email, Kind::Reminder),
        (Channel::Email, Kind::SecondNotice),
        (Channel::Sms, Kind::FinalNotice),
        (Channel::Phone, Kind::CallBack),
    ],
    [
        (Channel::Sms, Kind::Reminder),
        (Channel::Email, Kind::SecondNotice),
        (Channel::Email, Kind::FinalNotice),
        (Channel::Phone, Kind::CallBack),
    ],
];

/// Number of speeds among `campaigns` campaigns. Campaign `index` has speed `index % speeds`.
pub(super) fn speeds(campaigns: u64) -> u64 {
    campaigns.clamp(1, MAX_SPEEDS)
}

/// Days from the first message of a case to message `step`.
pub(super) fn delay(speed: u64, step: usize) -> u64 {
    (speed + 1) * DELAYS[step]
}

/// The channel and the kind of message `step` in campaign `campaign` of `campaigns`.
pub(super) fn message(campaign: u64, campaigns: u64, step: usize) -> (Channel, Kind) {
    rule(campaign, speeds(campaigns))[step]
}

/// The rule of a campaign as its record has it.
pub(super) fn document(campaign: u64, campaigns: u64) -> Value {
    let speeds = speeds(campaigns);
    let step = |(step, (channel, kind)): (usize, &(Channel, Kind))| {
        let after_days = delay(campaign % speeds, step);
        json!({ "after_days": after_days, "channel": channel.as_str(), "template": kind.as_str() })
    };
    let steps: Vec<Value> = rule(campaign, speeds).iter().enumerate().map(step).collect();
    json!({ "steps": steps, "stop_on": ["promised", "paid"] })
}

fn rule(campaign: u64, speeds: u64) -> &'static Rule {
    &RULES[((campaign % speeds + campaign / speeds) % RULES.len() as u64) as usize]
}
