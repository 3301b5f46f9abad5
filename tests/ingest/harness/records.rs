//! Records to produce.

use std::ops::Range;

use chrono::{DateTime, Utc};
use rdkafka::message::{Header, OwnedHeaders};
use sluice_schemas::records::{Channel, CommunicationEvent, EventMetadata, EventType};
use uuid::Uuid;

/// A record to produce.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) partition: Option<i32>,
}

impl Record {
    pub(super) fn kafka_headers(&self) -> OwnedHeaders {
        self.headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_deref() }))
    }
}

pub(crate) const TENANT: Uuid = Uuid::from_u128(0x6f2d_8a4e_0d0c_4f0e_9a3b_0c1d_2e3f_4a5b);

/// The `n`th event of a series over 60 days.
pub(crate) fn event(n: u32) -> CommunicationEvent {
    let day = 86_400_000 * i64::from(n % 60);
    CommunicationEvent {
        event_id: Uuid::from_u128(u128::from(n)),
        tenant_id: TENANT,
        customer_id: Uuid::from_u128(u128::from(n % 100)),
        campaign_id: Uuid::nil(),
        agent_id: format!("agent \"{}\" \u{e4}\u{1f600}", n % 7),
        channel: Channel::ALL[n as usize % 3],
        event_type: EventType::ALL[n as usize % 8],
        timestamp: DateTime::<Utc>::from_timestamp_millis(1_792_000_000_000 + day + i64::from(n)).unwrap(),
        duration_ms: n,
        success: n.is_multiple_of(2),
        error_code: String::new(),
        metadata: EventMetadata {
            communication_id: Uuid::from_u128(u128::from(n / 3)),
            seq: u64::from(n),
            template: "reminder".to_owned(),
            language: "de".to_owned(),
        },
    }
}

/// Events of November as records of one partition.
pub(crate) fn november_records(partition: i32, numbers: Range<u32>) -> Vec<Record> {
    let november_event = |n: u32| 60 * (n / 20) + 20 + n % 20;
    numbers.map(|n| Record { partition: Some(partition), ..event_record(november_event(n)) }).collect()
}

/// The `n`th event as a record.
pub(crate) fn event_record(n: u32) -> Record {
    let event = event(n);
    Record {
        key: Some(format!("{}:{}", event.tenant_id, event.customer_id).into_bytes()),
        payload: Some(serde_json::to_vec(&event).unwrap()),
        ..Record::default()
    }
}
