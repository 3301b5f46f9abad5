//! The figures in docs/operations.md match the values that the code computes, and no link on these pages is broken.

use sluice_ingest::config::Settings;

use crate::{path, read};

const PAGES: [&str; 3] = ["docs/metrics.md", "docs/operations.md", "docs/runbooks.md"];

/// Figures that the page must contain, as text.
fn figures(settings: &Settings, window: u64) -> [String; 5] {
    let needed = settings.tokens_needed();
    let peak = u64::from(settings.peak_inserts_per_second);
    let (session, insert) = (settings.session_timeout().as_secs(), settings.insert_timeout.as_secs());
    let thousands = |n: u64| format!("{},{:03}", n / 1000, n % 1000);
    [
        format!("2 × {peak} × ({session} s + {insert} s) = {}", thousands(needed)),
        format!("the platform's tables have {}", thousands(window)),
        format!("window / (2 × peak) seconds, {} with the defaults", window / (2 * peak)),
        format!("`drain_deadline` ({} s)", settings.drain_deadline.as_secs()),
        concat!("--tag sluice:", env!("CARGO_PKG_VERSION"), " ").to_owned(),
    ]
}

/// The deduplication window of the platform's busiest table.
fn window() -> u64 {
    let statement = read("schemas/clickhouse/0001_communication_events.sql");
    let (_, after) = statement.split_once("non_replicated_deduplication_window = ").unwrap();
    after.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// The page as one line, because a line may break inside a figure.
fn as_one_line(page: &str) -> String {
    read(page).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_figures_on_the_page_match_the_code() {
    let page = as_one_line("docs/operations.md");
    for figure in figures(&Settings::default(), window()) {
        assert!(page.contains(&figure), "{figure}");
    }
    let changed = Settings { peak_inserts_per_second: 41, ..Settings::default() };
    assert!(figures(&changed, window()).iter().any(|figure| !page.contains(figure)), "a change is detected");
}

/// Links of a page whose file or heading does not exist.
fn broken_links(text: &str, page: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    let is_broken = |target: &&str| {
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let file = if file.is_empty() { page.to_owned() } else { format!("docs/{file}") };
        !path(&file).exists() || !(heading.is_empty() || anchors(&file).contains(&heading.to_owned()))
    };
    targets.filter(is_broken).map(str::to_owned).collect()
}

/// The anchors derived from a page's headings.
fn anchors(file: &str) -> Vec<String> {
    let text = read(file);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let titles = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let is_kept = |c: char| c.is_alphanumeric() || c == ' ' || c == '-';
    titles.map(|title| title.chars().filter(|c| is_kept(*c)).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn no_link_is_broken() {
    for page in PAGES {
        assert_eq!(broken_links(&read(page), page), [""; 0], "{page}");
    }
    let bad = "[a](nothing.md), [b](runbooks.md#nothing), [c](#nothing), [d](runbooks.md#sluiceingestdown)";
    assert_eq!(broken_links(bad, "docs/metrics.md"), ["nothing.md", "runbooks.md#nothing", "#nothing"]);
}
