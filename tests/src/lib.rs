//! Tests that cross crates: one binary, module paths as categories.

#[cfg(test)]
mod arrows;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod bridge;

#[cfg(test)]
#[path = "../browser/mod.rs"]
mod browser;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod e2e;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod hostile;

#[cfg(test)]
mod readme;

/// What a test may need and a machine may lack.
#[cfg(test)]
mod tools {
    use std::io::Write;
    use std::path::PathBuf;

    /// The place of a tool that `cargo verify` provides, by the variable it gives (`cargo verify --help` lists them).
    ///
    /// `None` means the test is to return at once: it was noted as skipped, on standard error and in the file of
    /// `SPANDREL_SKIPS`, by which `cargo verify` counts it. With `CI=true` a missing tool is a failure instead.
    pub(crate) fn tool(variable: &str) -> Option<PathBuf> {
        let found = std::env::var_os(variable).map(PathBuf::from).filter(|place| place.exists());
        if found.is_some() {
            return found;
        }
        let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|set| set == value);
        assert!(!is("CI", "true") || is("SPANDREL_FAST", "1"), "{variable} is not set: run `cargo verify`");
        let thread = std::thread::current();
        let note =
            format!("{}: {variable} is not set, `cargo verify` sets it\n", thread.name().unwrap_or("a test"));
        // Straight to the descriptor: the harness swallows what a passing test prints.
        let _ = std::io::stderr().write_all(format!("skipped: {note}").as_bytes());
        if let Some(file) = std::env::var_os("SPANDREL_SKIPS") {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(file);
            file.and_then(|mut file| file.write_all(note.as_bytes())).expect("the skip can be noted");
        }
        None
    }
}
