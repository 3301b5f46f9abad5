//! Customers, campaigns and agents. All addresses and numbers are from ranges reserved for fiction: `example.com`,
//! `.net` and `.org` (RFC 2606), 555-01XX (NANP), 07700 900XXX (Ofcom), 06 39 98 XX XX (ARCEP). None of them reaches a
//! real person.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sluice_schemas::records::{Campaign, Customer};
use uuid::Uuid;

use super::{calendar::Region, escalation, names, phrases::LANGUAGES, rng::KeyedRng, tenants::Tenant};

const DOMAINS: [&str; 3] = ["example.com", "example.net", "example.org"];
const TRADES: [&str; 8] = ["Bakery", "Garage", "Course", "Dental", "Logistics", "Studio", "Farm", "Optics"];
/// Risk classes in profiles.
pub(crate) const RISKS: [(&str, u64); 3] = [("low", 60), ("medium", 30), ("high", 10)];
/// Portfolios of each tenant.
pub(crate) const PORTFOLIOS: u64 = 200;
const SEGMENTS: [(&str, u64); 3] = [("retail", 70), ("sme", 25), ("corporate", 5)];
const AGENT_KINDS: [&str; 4] = ["negotiator", "email", "sms", "voice"];

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Identifier, unique across tenants.
    pub id: String,
    /// Kind, such as `negotiator`.
    pub kind: &'static str,
}

/// Agent `index` of a tenant.
pub(super) fn agent(tenant: usize, index: u64) -> Agent {
    let kind = AGENT_KINDS[(index % AGENT_KINDS.len() as u64) as usize];
    Agent { id: format!("agent-{tenant:03}-{index:05}"), kind }
}

/// Traits of a customer that are needed without the whole record, and so are drawn first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traits {
    pub(crate) language: usize,
    pub(crate) portfolio: u64,
    pub(crate) risk: usize,
    first: &'static str,
    last: &'static str,
}

impl Traits {
    pub(super) fn draw(rng: &mut KeyedRng, region: Region) -> Self {
        // en, de, fr, es, pl
        let languages: [(usize, u64); 5] = match region {
            Region::Europe => [(0, 20), (1, 35), (2, 15), (3, 15), (4, 15)],
            Region::Americas => [(0, 65), (1, 2), (2, 8), (3, 23), (4, 2)],
            Region::AsiaPacific => [(0, 80), (1, 5), (2, 5), (3, 5), (4, 5)],
        };
        let risks = [0, 1, 2].map(|risk: usize| (risk, RISKS[risk].1));
        Self {
            language: rng.weighted(&languages),
            portfolio: rng.below(PORTFOLIOS),
            risk: rng.weighted(&risks),
            first: rng.pick(&names::FIRST),
            last: rng.pick(&names::LAST),
        }
    }

    /// First and last name, capitalized.
    pub(super) fn name(&self) -> String {
        format!("{} {}", capital(self.first), capital(self.last))
    }

    /// The part of `profile_data` that probes search for: exactly the customers with these traits contain it.
    pub(crate) fn profile(portfolio: u64, risk: usize) -> serde_json::Value {
        json!({ "portfolio": format!("p-{portfolio:03}"), "risk": RISKS[risk].0 })
    }
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

/// An active customer. `rng` continues after its traits; everything in the record happened before `before`.
pub(super) fn customer(
    tenant: &Tenant,
    index: u64,
    id: Uuid,
    traits: &Traits,
    rng: &mut KeyedRng,
    before: DateTime<Utc>,
) -> Customer {
    let segment = rng.weighted(&SEGMENTS);
    let (created_at, updated_at) = life(rng, before);
    let mut profile_data = Traits::profile(traits.portfolio, traits.risk);
    profile_data["segment"] = json!(segment);
    profile_data["name"] = json!(traits.name());
    profile_data["region"] = json!(tenant.region.as_str());
    Customer {
        id,
        tenant_id: tenant.id,
        email: email(traits, index, rng),
        phone: rng.chance(0.9).then(|| phone(tenant.region, rng)),
        company_name: (segment != "retail").then(|| format!("{} {}", capital(traits.last), rng.pick(&TRADES))),
        profile_data,
        payment_history: json!({ "open_minor": 1_000 + rng.below(500_000), "paid_minor": rng.below(900_000), "late": rng.below(12) }),
        preferences: json!({ "language": LANGUAGES[traits.language].code, "channel": rng.pick(&["email", "phone", "sms"]) }),
        created_at,
        updated_at,
        is_active: true,
    }
}

/// Unique within the tenant, since it contains the index.
fn email(traits: &Traits, index: u64, rng: &mut KeyedRng) -> String {
    format!("{}.{}.{index}@{}", traits.first, traits.last, rng.pick(&DOMAINS))
}

fn phone(region: Region, rng: &mut KeyedRng) -> String {
    match region {
        Region::Americas => format!("+1{}55501{:02}", rng.pick(&[212, 305, 415, 617, 713]), rng.below(100)),
        Region::AsiaPacific => format!("+447700900{:03}", rng.below(1_000)),
        Region::Europe => format!("+3363998{:04}", rng.below(10_000)),
    }
}

/// Creation within the two years before `before`, and a later change before it.
fn life(rng: &mut KeyedRng, before: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
    let age = 1 + rng.below(730 * 86_400_000).cast_signed();
    let changed = rng.below(age.cast_unsigned()).cast_signed();
    (before - TimeDelta::milliseconds(age), before - TimeDelta::milliseconds(changed + 1))
}

/// A campaign with its escalation rule.
pub(super) fn campaign(tenant: &Tenant, index: u64, id: Uuid, rng: &mut KeyedRng, before: DateTime<Utc>) -> Campaign {
    let (created_at, updated_at) = life(rng, before);
    Campaign {
        id,
        tenant_id: tenant.id,
        name: format!("{} wave {}", tenant.region.as_str(), index + 1),
        configuration: json!({ "daily_limit": 500 + rng.below(5_000), "quiet_hours": { "from": 20, "to": 8 } }),
        escalation_rules: escalation::document(index, tenant.campaigns),
        status: "ACTIVE".to_owned(),
        created_at,
        updated_at,
    }
}
