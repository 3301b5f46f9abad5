//! On a terminal, a drive is shown in a view of the whole terminal, which is given back however the run ends.

use std::process::Stdio;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

use crate::program::{SCENARIO, World};

/// Takes the terminal over, and gives it back.
const TAKEN: &str = "\u{1b}[?1049h";
const GIVEN_BACK: &str = "\u{1b}[?1049l";
/// Part of the view as soon as it shows measurements.
const OBJECTIVE: &str = "customer-lookup";
const CURSOR: &str = "\u{1b}[?25h";

/// Runs `sluice verify` on a terminal of 80 columns and 24 rows; presses Ctrl-C when the view shows that text. Returns the
/// exit code and everything that was written.
async fn on_a_terminal(world: &World, arguments: &str, interrupt_at: Option<&str>) -> (i32, String) {
    let (program, environment) = world.shell_command(SCENARIO);
    let line = format!("stty cols 80 rows 24; exec {program} verify scenario.toml --no-up {arguments}");
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(world.folder.path()).envs(environment).env("TERM", "xterm");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut written, mut buffer, mut is_interrupted) = (String::new(), vec![0; 4_096], false);
    while let Ok(count @ 1..) = screen.read(&mut buffer).await {
        written.push_str(&String::from_utf8_lossy(&buffer[..count]));
        if !is_interrupted && interrupt_at.is_some_and(|text| view(&written).contains(text)) {
            keys.write_all(b"\x03").await.unwrap();
            is_interrupted = true;
        }
    }
    drop(keys);
    (child.wait().await.unwrap().code().expect("an exit code"), written)
}

/// What was written since the terminal was taken over.
fn view(written: &str) -> &str {
    written.split_once(TAKEN).map_or("", |(_, view)| view)
}

#[tokio::test]
async fn the_view_ends_with_the_drive_and_with_ctrl_c() {
    let world = World::new().await;
    for (interrupt_at, expected) in [(None, 0), (Some(OBJECTIVE), 130)] {
        let (code, written) = on_a_terminal(&world, "", interrupt_at).await;
        assert_eq!(code, expected, "{written}");
        let (view, rest) = view(&written).split_once(GIVEN_BACK).expect("the terminal back");
        assert!(view.contains(OBJECTIVE) && view.contains(CURSOR), "{view}");
        assert!(!rest.contains(TAKEN), "{rest}");
    }
    let (code, written) = on_a_terminal(&world, "--plain", None).await;
    assert!(code == 0 && !written.contains(TAKEN), "{written}");
    world.sweep_and_drop().await;
}
