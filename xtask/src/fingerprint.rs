//! Whether something made from files is still what those files would make.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A number that changes with the names and contents of all files below `paths`, folders named in `without` left out.
/// Contents and not times, because a file that was taken away leaves no newer time behind.
pub(crate) fn of(paths: &[PathBuf], without: &[&str]) -> Result<String> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, without, &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        let contents = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        hasher.write(file.as_os_str().as_encoded_bytes());
        hasher.write_usize(contents.len());
        hasher.write(&contents);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// All files below `path`, or `path` itself.
pub(crate) fn collect(path: &Path, without: &[&str], files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).with_context(|| format!("listing {}", path.display()))? {
        let entry = entry?;
        if !without.iter().any(|name| entry.file_name() == *name) {
            collect(&entry.path(), without, files)?;
        }
    }
    Ok(())
}

/// Does `work` unless `stamp` says that it was done for `fingerprint` already.
pub(crate) fn once(stamp: &Path, fingerprint: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    if std::fs::read_to_string(stamp).is_ok_and(|done| done == fingerprint) {
        return Ok(());
    }
    work()?;
    std::fs::write(stamp, fingerprint).with_context(|| format!("writing {}", stamp.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_sees_contents_additions_and_removals() {
        let folder = std::env::temp_dir().join(format!("headwater-fingerprint-{}", std::process::id()));
        let paths = [folder.clone()];
        std::fs::create_dir_all(folder.join("left-out")).unwrap();
        std::fs::write(folder.join("a"), "1").unwrap();
        let first = of(&paths, &["left-out"]).unwrap();
        std::fs::write(folder.join("left-out/b"), "1").unwrap();
        assert_eq!(of(&paths, &["left-out"]).unwrap(), first);
        std::fs::write(folder.join("a"), "2").unwrap();
        let second = of(&paths, &["left-out"]).unwrap();
        assert_ne!(second, first);
        std::fs::remove_file(folder.join("a")).unwrap();
        assert_ne!(of(&paths, &["left-out"]).unwrap(), second);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
