//! What somebody at the keyboard sees: exit codes and where the words go.

use std::process::{Command, Output};

fn xtask(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(args).output().expect("xtask runs")
}

#[test]
fn exit_codes_tell_what_happened() {
    for (name, args, code, on_stdout, on_stderr) in [
        ("help", &["--help"][..], 0, "cargo verify", ""),
        ("help of verify", &["verify", "--help"], 0, "cargo verify", ""),
        ("help of demo", &["demo", "--help"], 0, "cargo demo", ""),
        ("a demo to come", &["demo", "chain"], 2, "", "the chain demo is not built yet"),
        ("an unknown demo", &["demo", "tetris"], 2, "", "there is no demo `tetris`"),
        ("an unknown option", &["verify", "--fsat"], 2, "", "verify knows no `--fsat`"),
        ("an unknown command", &["deploy"], 2, "", "there is no command `deploy`"),
        ("nothing", &[], 2, "", "a command is missing"),
    ] {
        let out = xtask(args);
        let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(code), "{name}: {stderr}");
        assert!(stdout.contains(on_stdout), "{name}: {stdout}");
        assert!(stderr.contains(on_stderr), "{name}: {stderr}");
        assert_eq!(stdout.is_empty(), on_stdout.is_empty(), "{name}: {stdout}");
    }
}
