//! Tests of the view, as a terminal shows it.

use ratatui::{Terminal, backend::TestBackend};
use sluice_loadgen::{
    drive::QuestionProgress,
    measure::{Backing, Measurements, Outcome, Sample},
    plan::Totals,
    population::TenantClass,
    question::{Question, Store},
    scenario::Scenario,
    verdict,
};

use super::*;

/// The SLOs that the tests show.
const SHOWN: [&str; 3] = ["customer-lookup", "search", "analytics"];

/// A drive at that time, with a slow dashboard.
pub(in crate::live) fn progress(scenario: &Scenario, elapsed: Duration) -> Progress {
    let mut measured = Measurements::new(scenario);
    for millis in 0..elapsed.as_millis() as u64 / 10 {
        let intended = Duration::from_millis(millis * 10);
        for (question, latency) in
            [(Question::LookupById, 2), (Question::Search, 12), (Question::DashboardEvents, 2_500)]
        {
            let latency = Duration::from_millis(latency + millis % 7);
            let (lag, waited, outcome) = (Duration::from_micros(80), Duration::ZERO, Outcome::Correct);
            measured.record(
                question,
                TenantClass::Large,
                Sample { intended, lag, latency, waited, outcome, backing: Backing::NotAsked },
            );
        }
    }
    let seconds = elapsed.as_secs();
    let totals = |per_second: u64| Totals {
        communications: per_second * seconds,
        events: 4 * per_second * seconds,
        ..Totals::default()
    };
    Progress {
        phase: Phase::Driving,
        elapsed,
        length: scenario.duration,
        is_read_only: false,
        sent: totals(1_000),
        acknowledged: totals(990),
        held_back: 0,
        in_flight: 7,
        offered: [
            (Store::Postgres, 100 * seconds),
            (Store::Elasticsearch, 100 * seconds),
            (Store::Clickhouse, 120 * seconds),
        ]
        .into(),
        questions: measured.questions.iter().map(QuestionProgress::from).collect(),
        slos: verdict::judge(scenario, &measured).0.into_iter().filter(|one| SHOWN.contains(&&*one.slo.name)).collect(),
    }
}

fn drawn(view: &View, columns: u16, rows: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(frame, view)).unwrap();
    terminal.backend().to_string()
}

fn driving() -> View {
    let scenario = Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap();
    let mut view = View { scenario: scenario.name.clone(), lag: Some(12_345), ..View::default() };
    view.advance(&Arc::new(progress(&scenario, Duration::from_secs(40))));
    view.advance(&Arc::new(progress(&scenario, Duration::from_secs(41))));
    view
}

/// More objectives than a low terminal shows.
fn with_more_objectives() -> View {
    let mut view = driving();
    let now = Arc::make_mut(&mut view.now);
    now.slos.extend(now.slos.clone());
    view
}

#[test]
fn a_drive_fits_80_columns_and_24_rows() {
    insta::assert_snapshot!(drawn(&driving(), 80, 24));
}

#[test]
fn on_a_low_terminal_objectives_that_are_not_met_come_first() {
    insta::assert_snapshot!(drawn(&with_more_objectives(), 80, 17));
}

#[test]
fn on_a_small_terminal_no_number_is_cut() {
    insta::assert_snapshot!(drawn(&with_more_objectives(), 60, 14));
}

#[test]
fn a_drive_that_only_asks_shows_no_writes() {
    let mut view = driving();
    assert!(drawn(&view, 80, 24).contains("writes to"));
    Arc::make_mut(&mut view.now).is_read_only = true;
    let drawn = drawn(&view, 80, 24);
    assert!(!drawn.contains("writes to") && drawn.contains("questions to"), "{drawn}");
}

#[test]
fn a_drive_that_has_measured_nothing_shows_dashes() {
    insta::assert_snapshot!(drawn(&View { scenario: "smoke".to_owned(), ..View::default() }, 80, 14));
}

/// Objectives with the longest names and numbers.
fn crowded() -> View {
    let mut view = driving();
    let now = Arc::make_mut(&mut view.now);
    view.scenario = "s".repeat(40);
    (now.phase, now.length) = (Phase::AwaitingEvents, Duration::ZERO);
    now.offered.values_mut().for_each(|offered| *offered = 12_345_678);
    for one in &mut now.slos {
        one.slo.name = format!("{}-{}", one.slo.name, "n".repeat(39 - one.slo.name.len()));
        one.latency.p95_us = Some(9_999_000);
        (one.counts.samples, one.counts.exceedances) = (1_000_000, 229);
        one.test.allowed = 0.000_229;
    }
    view
}

#[test]
fn long_names_are_cut_and_columns_never_touch() {
    insta::assert_snapshot!(drawn(&crowded(), 80, 24));
    insta::assert_snapshot!(drawn(&crowded(), 60, 14));
}

#[test]
fn a_terminal_that_is_too_small_shows_one_line() {
    for (columns, rows) in [(59, 24), (200, 13)] {
        let drawn = drawn(&driving(), columns, rows);
        let lines: Vec<_> = drawn.lines().map(|line| line.trim_matches(['"', ' '])).collect();
        assert_eq!(lines[0], "terminal too small (needs 60x14); driving, 0:41 of 1:15");
        assert!(lines[1..].iter().all(|line| line.is_empty()), "{drawn}");
    }
}

#[test]
fn the_title_names_each_phase() {
    for phase in [Phase::AwaitingAnswers, Phase::AwaitingEvents] {
        let mut view = driving();
        Arc::make_mut(&mut view.now).phase = phase;
        assert!(drawn(&view, 80, 24).contains(&format!("   {}, 0:41", phase.as_str())));
    }
}

#[test]
fn no_size_panics() {
    for (columns, rows) in [(1, 1), (5, 30), (200, 3), (300, 100)] {
        drawn(&driving(), columns, rows);
    }
}
