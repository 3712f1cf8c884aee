//! What the compiler does not keep: the steps that decide do not wait, and reach nothing outside.

#![allow(clippy::expect_used, reason = "a helper of a test is a test")]

use std::fs;
use std::path::{Path, PathBuf};

/// Files in which nothing may be awaited and no client may be named.
fn deciding(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            deciding(&path, found);
        } else if path.file_name().is_some_and(|name| name == "plan.rs" || name == "validate.rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_steps_that_decide_neither_wait_nor_reach_out() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    deciding(&src, &mut files);
    assert!(files.len() >= 5, "{files:?}");
    files.push(src.join("status/mod.rs"));
    files.push(src.join("driver/gate.rs"));
    for file in files {
        let text = fs::read_to_string(&file).expect("readable");
        // Tests may do as they like.
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        for forbidden in
            [".await", "async ", "tokio::", "kube::Client", "crate::kube", "SystemTime"]
        {
            assert!(!code.contains(forbidden), "{} has `{forbidden}`", file.display());
        }
    }
}
