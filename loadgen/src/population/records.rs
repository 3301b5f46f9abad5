//! Records of a lifecycle: the communication, its events and interactions; and agents' metrics. It never changes a
//! lifecycle, and keeps no record.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sluice_schemas::records::{
    AgentMetric, Channel, Communication, CommunicationEvent, Content, CustomerInteraction, EventMetadata, EventType,
    InteractionType,
};
use uuid::Uuid;

use super::{
    Population,
    era::Era,
    lifecycle::{Lifecycle, MAX_STEPS, Step},
    phrases::{LANGUAGES, template_name},
    rng::KeyedRng,
    tenants::{METRIC_NAMES, METRICS},
    texts::{self, Opening, Text},
    vocabulary::Vocabulary,
};

const ERROR_CODES: [(&str, u64); 4] =
    [("mailbox_full", 30), ("unreachable", 40), ("rejected", 20), ("provider_down", 10)];

impl Population {
    pub(crate) fn communication(&self, era: Era, tenant: usize, index: u64, lifecycle: &Lifecycle) -> Communication {
        Communication {
            id: self.communication_id(era, tenant, index),
            tenant_id: self.tenants()[tenant].id,
            customer_id: self.customer_id(tenant, lifecycle.customer),
            campaign_id: lifecycle.campaign().map(|campaign| self.campaign_id(tenant, campaign)),
            channel: lifecycle.channel,
            direction: lifecycle.direction,
            content: self.content(era, tenant, index, lifecycle),
            metadata: self.metadata(tenant, lifecycle),
            status: lifecycle.status(),
            created_at: self.instant(era, lifecycle.steps()[0]),
        }
    }

    fn content(&self, era: Era, tenant: usize, index: u64, lifecycle: &Lifecycle) -> Content {
        let language = &LANGUAGES[lifecycle.language];
        let vocabulary = Vocabulary::of(lifecycle.language);
        let amount = format!("{}.{:02} EUR", lifecycle.amount_minor / 100, lifecycle.amount_minor % 100);
        let name = self.traits(tenant, lifecycle.customer).name();
        let mut words = Text::new(self.era_rng(era, era.texts(), tenant, index), lifecycle.channel);
        let subject = match lifecycle.channel {
            Channel::Email => texts::subject(language, vocabulary, lifecycle.template, &mut words),
            Channel::Phone | Channel::Sms => String::new(),
        };
        let opening = Opening { language, template: lifecycle.template, name: &name, amount: &amount };
        Content {
            subject,
            body: texts::body(&opening, vocabulary, words),
            language: language.code.to_owned(),
            template: template_name(lifecycle.template),
        }
    }

    fn metadata(&self, tenant: usize, lifecycle: &Lifecycle) -> Value {
        let agent_id = self.agent(tenant, lifecycle.agent).id;
        let mut metadata = json!({ "agent_id": agent_id, "amount_minor": lifecycle.amount_minor });
        if let Some(message) = lifecycle.case {
            metadata["case"] = json!(message.case);
            metadata["step"] = json!(message.step);
        }
        metadata
    }

    /// The words of a communication's body that are drawn from the vocabulary of its language.
    pub(crate) fn body_words(&self, era: Era, tenant: usize, index: u64, channel: Channel) -> Text {
        Text::of_body(self.era_rng(era, era.texts(), tenant, index), channel)
    }

    pub(crate) fn event(
        &self,
        era: Era,
        tenant: usize,
        index: u64,
        lifecycle: &Lifecycle,
        step: usize,
    ) -> CommunicationEvent {
        let Step { event, .. } = lifecycle.steps()[step];
        let (event_id, duration_ms, mut rng) = self.draw_event(era, tenant, index, lifecycle, step);
        CommunicationEvent {
            event_id,
            tenant_id: self.tenants()[tenant].id,
            customer_id: self.customer_id(tenant, lifecycle.customer),
            campaign_id: lifecycle.campaign().map_or(Uuid::nil(), |campaign| self.campaign_id(tenant, campaign)),
            agent_id: self.agent(tenant, lifecycle.agent).id,
            channel: lifecycle.channel,
            event_type: event,
            timestamp: self.instant(era, lifecycle.steps()[step]),
            duration_ms,
            success: event != EventType::Failed,
            error_code: if event == EventType::Failed { rng.weighted(&ERROR_CODES) } else { "" }.to_owned(),
            metadata: EventMetadata {
                communication_id: self.communication_id(era, tenant, index),
                seq: self.first_seq(era, tenant, index) + step as u64,
                template: template_name(lifecycle.template),
                language: LANGUAGES[lifecycle.language].code.to_owned(),
            },
        }
    }

    /// Duration of a step's event, in milliseconds, without the record.
    pub(crate) fn event_duration(
        &self,
        era: Era,
        tenant: usize,
        index: u64,
        lifecycle: &Lifecycle,
        step: usize,
    ) -> u32 {
        self.draw_event(era, tenant, index, lifecycle, step).1
    }

    /// Identifier and duration of a step's event, and the stream from which the rest of it is drawn.
    fn draw_event(
        &self,
        era: Era,
        tenant: usize,
        index: u64,
        lifecycle: &Lifecycle,
        step: usize,
    ) -> (Uuid, u32, KeyedRng) {
        let mut rng = self.step_rng(era, era.events(), tenant, index, step);
        let id = rng.uuid();
        let duration = duration(&mut rng, lifecycle.channel, lifecycle.steps()[step].event);
        (id, duration, rng)
    }

    /// The stream of a step of communication `index`.
    fn step_rng(&self, era: Era, domain: &str, tenant: usize, index: u64, step: usize) -> KeyedRng {
        self.era_rng(era, domain, tenant, index * MAX_STEPS as u64 + step as u64)
    }

    /// The interaction that a step causes, if the customer acted.
    pub(crate) fn interaction(
        &self,
        era: Era,
        tenant: usize,
        index: u64,
        lifecycle: &Lifecycle,
        step: usize,
    ) -> Option<CustomerInteraction> {
        let mut rng = self.step_rng(era, era.interactions(), tenant, index, step);
        let reaction = reaction(lifecycle, step, &mut rng)?;
        Some(CustomerInteraction {
            interaction_id: rng.uuid(),
            tenant_id: self.tenants()[tenant].id,
            customer_id: self.customer_id(tenant, lifecycle.customer),
            campaign_id: lifecycle.campaign().map_or(Uuid::nil(), |campaign| self.campaign_id(tenant, campaign)),
            communication_id: self.communication_id(era, tenant, index),
            channel: lifecycle.channel,
            interaction_type: reaction.kind,
            timestamp: self.instant(era, lifecycle.steps()[step]),
            duration_ms: duration(&mut rng, lifecycle.channel, lifecycle.steps()[step].event),
            sentiment: rng.weighted(&reaction.sentiments).to_owned(),
            amount_minor: reaction.amount_minor,
            currency: "EUR".to_owned(),
        })
    }

    /// Type and amount of the interaction that a step causes, without the record.
    pub(crate) fn interaction_kind(
        &self,
        era: Era,
        tenant: usize,
        index: u64,
        lifecycle: &Lifecycle,
        step: usize,
    ) -> Option<(InteractionType, i64)> {
        let mut rng = self.step_rng(era, era.interactions(), tenant, index, step);
        reaction(lifecycle, step, &mut rng).map(|reaction| (reaction.kind, reaction.amount_minor))
    }

    /// Metric `index`. Each agent in turn reports all metrics.
    pub(crate) fn metric(&self, era: Era, tenant: usize, index: u64) -> AgentMetric {
        let metric_index = (index % METRICS) as usize;
        let agent = self.agent(tenant, self.metric_agent(tenant, index));
        AgentMetric {
            tenant_id: self.tenants()[tenant].id,
            agent_id: agent.id,
            agent_type: agent.kind.to_owned(),
            metric_name: METRIC_NAMES[metric_index].to_owned(),
            metric_value: self.metric_value(era, tenant, index),
            timestamp: self.period(era).at(self.metric_millis(tenant, index)),
        }
    }

    /// A multiple of a quarter, so that sums are exact in any order.
    pub(crate) fn metric_value(&self, era: Era, tenant: usize, index: u64) -> f64 {
        let mut rng = self.era_rng(era, era.metrics(), tenant, index);
        match METRIC_NAMES[(index % METRICS) as usize] {
            "calls_handled" => rng.below(13) as f64,
            "talk_seconds" => rng.below(900) as f64,
            _ => rng.below(401) as f64 / 4.0,
        }
    }

    fn instant(&self, era: Era, step: Step) -> DateTime<Utc> {
        self.period(era).at(step.millis)
    }
}

/// Duration of an event, in milliseconds.
fn duration(rng: &mut KeyedRng, channel: Channel, event: EventType) -> u32 {
    let mean = match (event, channel) {
        (EventType::Queued, _) => 5.0,
        (EventType::Opened | EventType::Answered, Channel::Phone) => 90_000.0,
        (EventType::Answered | EventType::Promised, _) => 30_000.0,
        _ => 400.0,
    };
    rng.exponential(mean).min(3_600_000.0) as u32
}

struct Reaction {
    kind: InteractionType,
    amount_minor: i64,
    sentiments: [(&'static str, u64); 3],
}

fn reaction(lifecycle: &Lifecycle, step: usize, rng: &mut KeyedRng) -> Option<Reaction> {
    let sentiments =
        |positive, neutral, negative| [("positive", positive), ("neutral", neutral), ("negative", negative)];
    let reply = if lifecycle.channel == Channel::Phone { InteractionType::Call } else { InteractionType::Reply };
    Some(match lifecycle.steps()[step].event {
        EventType::Answered if rng.chance(0.05) => {
            Reaction { kind: InteractionType::Dispute, amount_minor: 0, sentiments: sentiments(0, 20, 80) }
        }
        EventType::Answered => Reaction { kind: reply, amount_minor: 0, sentiments: sentiments(20, 60, 20) },
        EventType::Opened if lifecycle.channel == Channel::Email && rng.chance(0.2) => {
            let kind = if rng.chance(0.5) { InteractionType::Click } else { InteractionType::PortalVisit };
            Reaction { kind, amount_minor: 0, sentiments: sentiments(0, 100, 0) }
        }
        EventType::Promised => Reaction {
            kind: InteractionType::Promise,
            amount_minor: lifecycle.amount_minor,
            sentiments: sentiments(60, 35, 5),
        },
        EventType::Paid => Reaction {
            kind: InteractionType::Payment,
            amount_minor: lifecycle.amount_minor,
            sentiments: sentiments(70, 30, 0),
        },
        _ => return None,
    })
}
