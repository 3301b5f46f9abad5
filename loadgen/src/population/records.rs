//! Records of a fate: the communication, its events and interactions, and agents' metrics. Same fate, same records.

use chrono::{DateTime, Utc};
use serde_json::json;
use sluice_schemas::records::{
    AgentMetric, Channel, Communication, CommunicationEvent, Content, CustomerInteraction, EventMetadata, EventType,
    InteractionType,
};
use uuid::Uuid;

use super::{
    Population,
    era::Era,
    lifecycle::{Fate, Step},
    rng::Draw,
    tenants::{METRIC_NAMES, METRICS},
    words::{LANGUAGES, template_name},
};

const ERROR_CODES: [(&str, u64); 4] =
    [("mailbox_full", 30), ("unreachable", 40), ("rejected", 20), ("provider_down", 10)];

impl Population {
    pub(crate) fn communication_of(&self, era: Era, tenant: usize, index: u64, fate: &Fate) -> Communication {
        let created = fate.steps()[0];
        let language = &LANGUAGES[fate.language];
        let amount = format!("{}.{:02} EUR", fate.amount_minor / 100, fate.amount_minor % 100);
        let name = self.traits(tenant, fate.customer).name();
        let subject = if fate.channel == Channel::Email { language.subject(fate.template) } else { String::new() };
        Communication {
            id: self.id(era.communications(), tenant, index),
            tenant_id: self.tenants()[tenant].id,
            customer_id: self.customer_id(tenant, fate.customer),
            campaign_id: fate.campaign.map(|campaign| self.campaign_id(tenant, campaign)),
            channel: fate.channel,
            direction: fate.direction,
            content: Content {
                subject,
                body: language.body(&name, fate.template, fate.marker, &amount),
                language: language.code.to_owned(),
                template: template_name(fate.template),
            },
            metadata: json!({ "agent_id": self.agent(tenant, fate.agent).id, "amount_minor": fate.amount_minor }),
            status: fate.status(),
            created_at: self.instant(era, created),
        }
    }

    pub(crate) fn event_of(&self, era: Era, tenant: usize, index: u64, fate: &Fate, step: usize) -> CommunicationEvent {
        let mut draw = self.draw(era.events(), tenant, index * 8 + step as u64);
        let Step { event, .. } = fate.steps()[step];
        let event_id = draw.uuid();
        CommunicationEvent {
            event_id,
            tenant_id: self.tenants()[tenant].id,
            customer_id: self.customer_id(tenant, fate.customer),
            campaign_id: fate.campaign.map_or(Uuid::nil(), |campaign| self.campaign_id(tenant, campaign)),
            agent_id: self.agent(tenant, fate.agent).id,
            channel: fate.channel,
            event_type: event,
            timestamp: self.instant(era, fate.steps()[step]),
            duration_ms: duration(&mut draw, fate.channel, event),
            success: event != EventType::Failed,
            error_code: if event == EventType::Failed { draw.weighted(&ERROR_CODES) } else { "" }.to_owned(),
            metadata: EventMetadata {
                communication_id: self.id(era.communications(), tenant, index),
                seq: self.first_seq(era, tenant, index) + step as u64,
                template: template_name(fate.template),
                language: LANGUAGES[fate.language].code.to_owned(),
            },
        }
    }

    /// The interaction behind a step, where a customer did something.
    pub(crate) fn interaction_of(
        &self,
        era: Era,
        tenant: usize,
        index: u64,
        fate: &Fate,
        step: usize,
    ) -> Option<CustomerInteraction> {
        let mut draw = self.draw(era.interactions(), tenant, index * 8 + step as u64);
        let deed = deed(fate, step, &mut draw)?;
        Some(CustomerInteraction {
            interaction_id: draw.uuid(),
            tenant_id: self.tenants()[tenant].id,
            customer_id: self.customer_id(tenant, fate.customer),
            campaign_id: fate.campaign.map_or(Uuid::nil(), |campaign| self.campaign_id(tenant, campaign)),
            communication_id: self.id(era.communications(), tenant, index),
            channel: fate.channel,
            interaction_type: deed.kind,
            timestamp: self.instant(era, fate.steps()[step]),
            duration_ms: duration(&mut draw, fate.channel, fate.steps()[step].event),
            sentiment: draw.weighted(&deed.sentiments).to_owned(),
            amount_minor: deed.amount_minor,
            currency: "EUR".to_owned(),
        })
    }

    /// Type and amount of the interaction behind a step, without the record.
    pub(crate) fn interaction_kind(
        &self,
        era: Era,
        tenant: usize,
        index: u64,
        fate: &Fate,
        step: usize,
    ) -> Option<(InteractionType, i64)> {
        let mut draw = self.draw(era.interactions(), tenant, index * 8 + step as u64);
        deed(fate, step, &mut draw).map(|deed| (deed.kind, deed.amount_minor))
    }

    /// Metric `index`: agents report in turn, each all its metrics at once.
    pub(crate) fn metric_of(&self, era: Era, tenant: usize, index: u64) -> AgentMetric {
        let name = (index % METRICS) as usize;
        let agent = self.agent(tenant, self.metric_agent(tenant, index));
        AgentMetric {
            tenant_id: self.tenants()[tenant].id,
            agent_id: agent.id,
            agent_type: agent.kind.to_owned(),
            metric_name: METRIC_NAMES[name].to_owned(),
            metric_value: self.metric_value(era, tenant, index),
            timestamp: self.period(era).at(self.metric_millis(tenant, index)),
        }
    }

    /// A multiple of a quarter, so that sums are exact in any order.
    pub(crate) fn metric_value(&self, era: Era, tenant: usize, index: u64) -> f64 {
        let mut draw = self.draw(era.metrics(), tenant, index);
        match METRIC_NAMES[(index % METRICS) as usize] {
            "calls_handled" => draw.below(13) as f64,
            "talk_seconds" => draw.below(900) as f64,
            _ => draw.below(401) as f64 / 4.0,
        }
    }

    fn instant(&self, era: Era, step: Step) -> DateTime<Utc> {
        self.period(era).at(step.millis)
    }
}

/// How long an event took, in milliseconds.
fn duration(draw: &mut Draw, channel: Channel, event: EventType) -> u32 {
    let mean = match (event, channel) {
        (EventType::Queued, _) => 5.0,
        (EventType::Opened | EventType::Answered, Channel::Phone) => 90_000.0,
        (EventType::Answered | EventType::Promised, _) => 30_000.0,
        _ => 400.0,
    };
    draw.exponential(mean).min(3_600_000.0) as u32
}

struct Deed {
    kind: InteractionType,
    amount_minor: i64,
    sentiments: [(&'static str, u64); 3],
}

fn deed(fate: &Fate, step: usize, draw: &mut Draw) -> Option<Deed> {
    let sentiments =
        |positive, neutral, negative| [("positive", positive), ("neutral", neutral), ("negative", negative)];
    let reply = if fate.channel == Channel::Phone { InteractionType::Call } else { InteractionType::Reply };
    Some(match fate.steps()[step].event {
        EventType::Answered if draw.chance(0.05) => {
            Deed { kind: InteractionType::Dispute, amount_minor: 0, sentiments: sentiments(0, 20, 80) }
        }
        EventType::Answered => Deed { kind: reply, amount_minor: 0, sentiments: sentiments(20, 60, 20) },
        EventType::Opened if fate.channel == Channel::Email && draw.chance(0.2) => {
            let kind = if draw.chance(0.5) { InteractionType::Click } else { InteractionType::PortalVisit };
            Deed { kind, amount_minor: 0, sentiments: sentiments(0, 100, 0) }
        }
        EventType::Promised => {
            Deed { kind: InteractionType::Promise, amount_minor: fate.amount_minor, sentiments: sentiments(60, 35, 5) }
        }
        EventType::Paid => {
            Deed { kind: InteractionType::Payment, amount_minor: fate.amount_minor, sentiments: sentiments(70, 30, 0) }
        }
        _ => return None,
    })
}
