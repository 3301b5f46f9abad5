//! Opens a page in headless Chromium and measures it there. Shared by the tests of reports.

use std::process::Command;

use tempfile::TempDir;

/// Names under which systems install Chromium.
const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Without a network, without what Chromium does on its own, and as any user, root included.
const QUIET: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=5000",
];

/// Stands before everything in the page: forbids every request, and counts those and the errors of scripts.
const WATCH: &str = r#"<head>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<script>
const seen = { requests: 0, failure: "" };
addEventListener("error", (event) => { seen.failure ||= event.message ?? ""; });
addEventListener("securitypolicyviolation", () => { seen.requests += 1; });
</script>"#;

/// Measures the page once it is loaded, and leaves the result in the title of the page around it.
const MEASURE: &str = r#"<script>
addEventListener("load", () => {
  const chart = document.querySelector("svg.chart");
  const area = chart.getBoundingClientRect();
  chart.dispatchEvent(new PointerEvent("pointermove", { clientX: area.left + area.width / 2, clientY: area.top + 9 }));
  parent.document.title = JSON.stringify({
    ...seen,
    width: innerWidth,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    background: getComputedStyle(document.body).backgroundColor,
    tips: document.querySelectorAll("output.tip").length,
    tip: document.querySelector("output.tip").textContent,
  });
});
</script></body>"#;

/// What a page looks like in the browser.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Seen {
    /// Pixels by which the page is wider than the window.
    pub(crate) overflow: i64,
    /// Pixels of the window.
    pub(crate) width: u32,
    /// Color of the page.
    pub(crate) background: String,
    /// Requests for other files, which were refused.
    pub(crate) requests: u64,
    /// Charts that the page's script has prepared.
    pub(crate) tips: usize,
    /// What the script shows under the pointer.
    pub(crate) tip: String,
    /// An error of a script.
    pub(crate) failure: String,
}

/// The browser of this machine. Without one, the test is not made, which it says; where `CI` is set, it fails.
pub(crate) fn find() -> Option<&'static str> {
    let runs =
        |program: &str| Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    let found = PROGRAMS.into_iter().find(|program| runs(program));
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "CI needs Chromium; install it");
    if found.is_none() {
        eprintln!("NOT CHECKED in a browser: there is no Chromium on this machine");
    }
    found
}

/// Opens a page, given as HTML, in a frame of that width, in dark or light colors. Chromium's own windows are never
/// narrower than 500 pixels.
pub(crate) fn open(browser: &str, page: &str, width: u32, is_dark: bool) -> Seen {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("page.html");
    let watched = page.replace("<head>", WATCH).replace("</body>", MEASURE);
    let (framed, style) =
        (watched.replace('&', "&amp;").replace('"', "&quot;"), format!("width:{width}px;height:800px;border:0"));
    let frame = format!("<iframe srcdoc=\"{framed}\" style=\"{style}\"></iframe>");
    std::fs::write(&file, format!("<meta name=\"color-scheme\" content=\"light dark\"><title></title>{frame}"))
        .unwrap();
    let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!is_dark));
    let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
    let output = Command::new(browser)
        .args(QUIET)
        .args([&scheme, &profile, "--window-size=1400,900", "--dump-dom", &format!("file://{}", file.display())])
        .output()
        .unwrap();
    let dom = String::from_utf8(output.stdout).unwrap();
    let title = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap_or_default();
    serde_json::from_str(title)
        .unwrap_or_else(|error| panic!("{error}: {title}: {}", String::from_utf8_lossy(&output.stderr)))
}
