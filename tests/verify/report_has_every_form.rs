//! A run leaves its report in every form, `sluice report show` renders each again, and the page works in a browser:
//! without a request, in light and dark, and on a phone.

use std::{path::Path, process::Command};

use crate::{
    browser,
    program::{SCENARIO, World},
};

const FORMS: [(&str, &str); 5] = [
    ("json", "report.json"),
    ("html", "report.html"),
    ("junit", "junit.xml"),
    ("markdown", "summary.md"),
    ("hdr", "latency.hlog"),
];

/// Runs `sluice report show` in a folder; returns the exit code, standard output and standard error.
fn show(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    let output = command.current_dir(folder).args(["report", "show"]).args(arguments).output().unwrap();
    let [text, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), text, error)
}

#[tokio::test]
async fn a_run_leaves_every_form_and_each_can_be_rendered_again() {
    let world = World::new().await;
    let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    let folder = world.folder.path();
    let run = world.runs().pop().unwrap();
    for (form, file) in FORMS {
        let written = std::fs::read_to_string(run.join(file)).unwrap();
        let (code, shown, error) = show(folder, &["--format", form]);
        assert_eq!((code, shown.trim_end() == written.trim_end()), (0, true), "{form}: {error}");
    }
    let (code, table, _) = show(folder, &[run.to_str().unwrap()]);
    assert!(code == 0 && table.contains("PASS: "), "{table}");
    let (code, _, error) = show(folder, &[run.join("junit.xml").to_str().unwrap()]);
    assert!(code == 4 && error.contains("is not a report"), "{error}");
    let report = world.report();
    let offered = |question: &serde_json::Value| {
        question["series"]["offered"].as_array().unwrap().iter().filter_map(serde_json::Value::as_u64).sum::<u64>()
    };
    for question in report["questions"].as_array().unwrap() {
        assert_eq!(offered(question), question["counts"]["samples"].as_u64().unwrap(), "{question}");
    }
    check_in_a_browser(&run.join("report.html"), report["questions"].as_array().unwrap().len());
    world.sweep_and_drop().await;
}

fn check_in_a_browser(page: &Path, questions: usize) {
    let Some(browser) = browser::find() else { return };
    let page = std::fs::read_to_string(page).unwrap();
    let windows = [(1_200, false), (1_200, true), (360, false), (360, true)];
    let seen = windows.map(|(width, is_dark)| browser::open(browser, &page, width, is_dark));
    for (one, (width, _)) in seen.iter().zip(windows) {
        assert_eq!((one.width, one.overflow), (width, 0), "the page fits its window: {one:?}");
        assert_eq!((one.requests, one.failure.as_str()), (0, ""), "{one:?}");
        assert!(one.tips > 2 * questions && one.tip.contains("p95"), "{one:?}");
    }
    assert_ne!(seen[0].background, seen[1].background, "{seen:?}");
    // The negative control: a page with each of these faults.
    let faults = r#"<div style="width: 3000px">wide</div><img src="missing.png"><script>throw new Error("fault")</script></body>"#;
    let seen = browser::open(browser, &page.replace("</body>", faults), 360, false);
    assert!(seen.overflow > 0 && seen.requests > 0 && seen.failure.contains("fault"), "{seen:?}");
}
