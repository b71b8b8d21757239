//! The hardware bridge as its neighbours meet it: the real binary, a parent on either channel, pages by the clients that
//! real pages use, and strangers.

mod admission;
mod cap;
mod chromium;
mod hostile;
mod load;
mod node;
mod page;
mod parent;
mod slow;
mod stdio;
mod tls;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// Longer than anything here takes on a busy machine; only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tests that measure or load the machine take turns with all others that do.
use crate::e2e::{is_long, turn};

/// The binary: the one named by `SPANDREL_HARDWARE_BRIDGE`, else built once, beside this test.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(named) = std::env::var_os("SPANDREL_HARDWARE_BRIDGE") {
            return named.into();
        }
        let exe = std::env::current_exe().expect("a test has a file");
        let folder = exe.parent().and_then(Path::parent).expect("target/<profile>/deps");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "--package", "hardware-bridge"]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let target = folder.parent().expect("target/<profile>");
        let built = build.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        let built = built.expect("cargo starts");
        assert!(built.status.success(), "the bridge builds: {}", String::from_utf8_lossy(&built.stderr));
        folder.join(format!("hardware-bridge{}", std::env::consts::EXE_SUFFIX))
    })
}
