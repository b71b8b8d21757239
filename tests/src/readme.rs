//! What the README claims to be tested is.

use std::path::Path;

const README: &str = include_str!("../../README.md");

/// Text of every source file of the workspace.
fn sources(folder: &Path, all: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !["target", "node_modules", ".git"].contains(&name.as_str()) {
            sources(&path, all);
        } else if path.extension().is_some_and(|x| x == "rs") {
            *all += &std::fs::read_to_string(&path).expect("text");
        }
    }
}

#[test]
fn every_test_named_in_the_table_of_protections_exists() {
    let (_, section) = README.split_once("## Protected against what").expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut text = String::new();
    for folder in ["crates", "apps", "tests"] {
        sources(&root.join(folder), &mut text);
    }
    let mut rows = 0;
    for row in section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what somebody")) {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let mut names = tests.split('`').skip(1).step_by(2).peekable();
        assert!(names.peek().is_some(), "no test: {row}");
        for name in names {
            assert!(text.contains(&format!("fn {name}(")), "there is no test {name}: {row}");
        }
        rows += 1;
    }
    assert!(rows >= 25, "{rows} rows");
}
