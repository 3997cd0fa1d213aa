//! docs/conformance.md against the checklist and the tests: a row for each item, and no test that is not there.

use std::path::Path;

use anyhow::{Context, Result};

/// Fails nothing itself: what is amiss is added to the list.
pub(super) fn check(root: &Path, amiss: &mut Vec<String>) -> Result<()> {
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
    let table = read(&root.join("docs/conformance.md"))?;
    for item in items(&read(&root.join("docs/spec/rtmp.md"))?) {
        if !table.contains(&format!("\n| {item} |")) {
            amiss.push(format!("docs/conformance.md has no row for {item}"));
        }
    }
    for (file, test) in tests(&table) {
        let inside = if file.starts_with("e2e/") { root.join(file) } else { root.join("crates").join(file) };
        let is_there = std::fs::read_to_string(inside).is_ok_and(|text| text.contains(&format!("fn {test}(")));
        if !is_there {
            amiss.push(format!("docs/conformance.md names {file}::{test}, which is not there"));
        }
    }
    Ok(())
}

/// The numbers of a checklist: lines that begin with `- R-1 `.
fn items(checklist: &str) -> impl Iterator<Item = &str> {
    checklist
        .lines()
        .filter_map(|line| line.strip_prefix("- ")?.split(' ').next())
        .filter(|item| item.starts_with("R-"))
}

/// Each `file::test` that stands in backquotes.
fn tests(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|quoted| quoted.split_once("::"))
        .filter(|(file, _)| file.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_and_tests_are_found() {
        let checklist = "# R-0\n- R-1 Listen\n- R-12 `C1`\ntext R-3\n- other";
        assert_eq!(items(checklist).collect::<Vec<_>>(), ["R-1", "R-12"]);
        let table = "| R-1 | `a/b.rs` | `a/b.rs::one`, `a/c.rs::two`; `TagType::Other` |";
        assert_eq!(tests(table).collect::<Vec<_>>(), [("a/b.rs", "one"), ("a/c.rs", "two")]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let root = std::env::temp_dir().join(format!("headwater-conformance-{}", std::process::id()));
        std::fs::create_dir_all(root.join("docs/spec")).unwrap();
        std::fs::write(root.join("docs/spec/rtmp.md"), "- R-1 a\n- R-2 b\n").unwrap();
        std::fs::write(root.join("docs/conformance.md"), "\n| R-1 | | `a/b.rs::gone` |\n").unwrap();
        let mut amiss = Vec::new();
        check(&root, &mut amiss).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(
            amiss,
            ["docs/conformance.md has no row for R-2", "docs/conformance.md names a/b.rs::gone, which is not there"]
        );
    }
}
