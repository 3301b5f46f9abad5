//! The section on classes of tenants: whether small tenants are served as fast as large ones. It shows the figures and
//! judges none.

use maud::{Markup, html};

use crate::number::separated;
use crate::population::TenantClass;
use crate::report::contents::{ClassReport, QuestionReport, Report};
use crate::report::wording::{UNKNOWN, millis};

/// The section.
pub(super) fn section(report: &Report) -> Markup {
    html! {
        section #classes {
            h2 { "Tenants by size" }
            p.note { "A third of the tenants each, the largest first. The 95th percentile of each question, with its samples." }
            div.scroll {
                table {
                    thead { tr { th { "question" } @for class in TenantClass::ALL { th { (class.as_str()) } th { "samples" } } } }
                    tbody { @for one in &report.questions { (row(one)) } }
                }
            }
        }
    }
}

fn row(one: &QuestionReport) -> Markup {
    let of = |class| one.classes.iter().find(|measured: &&ClassReport| measured.tenants == class);
    html! {
        tr {
            td { (one.name()) }
            @for class in TenantClass::ALL {
                @if let Some(measured) = of(class) {
                    td { (millis(measured.latency.p95_us)) }
                    td.quiet { (separated(measured.counts.samples)) }
                } @else {
                    td { (UNKNOWN) }
                    td.quiet { "0" }
                }
            }
        }
    }
}
