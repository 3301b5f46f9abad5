//! The section on the account: produced = landed + dead-lettered, for each kind of record in each store. It compares no
//! records itself.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::account::{Account, Ledger, Origin};
use crate::report::contents::Report;
use crate::report::wording::{ledger_sums, sampled};

/// The section.
pub(super) fn section(report: &Report) -> Markup {
    html! {
        section #account {
            h2 { "Account" }
            @if let Some(account) = &report.account {
                p.note {
                    "Produced = landed + dead-lettered, compared record by record. "
                    @if account.is_balanced() { "It is exact." } @else { "It is not exact; the verdict names each difference." }
                    @for sentence in sampled(account) { " " (sentence) "." }
                }
                (ledgers(account))
            } @else {
                p.note {
                    @if report.findings.interrupted.is_some() {
                        "The run was interrupted before its account."
                    } @else if report.run.shard.is_some() {
                        "The first shard accounts for what all of them wrote."
                    } @else { "Nothing was written, so there is no account." }
                }
            }
        }
    }
}

/// One line for each kind of record, over all tenants.
fn ledgers(account: &Account) -> Markup {
    let mut kinds: BTreeMap<(&str, &str, Origin), Vec<&Ledger>> = BTreeMap::new();
    for ledger in &account.ledgers {
        kinds.entry((&ledger.store, &ledger.kind, ledger.origin)).or_default().push(ledger);
    }
    html! {
        div.scroll {
            table {
                thead { tr {
                    th { "store" } th { "records" } th { "from" } th { "produced" } th { "landed" } th { "dead-lettered" }
                    th { "missing" } th { "duplicate" } th { "wrong" } th { "unexpected" } th { "balance" }
                } }
                tbody { @for ((store, kind, origin), ledgers) in kinds { (row((store, kind), origin, &ledgers)) } }
            }
        }
    }
}

fn row((store, kind): (&str, &str), origin: Origin, ledgers: &[&Ledger]) -> Markup {
    let numbers = ledger_sums(ledgers);
    let balances = ledgers.iter().all(|ledger| ledger.balances());
    html! {
        tr.off[!balances] {
            td { (store) }
            td { (kind) }
            td { @match origin { Origin::Driven => "drive", Origin::Loaded => "load" } }
            @for number in numbers { td { (number) } }
            td { @if balances { "exact" } @else { "OFF" } }
        }
    }
}
