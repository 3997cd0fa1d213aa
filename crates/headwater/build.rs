//! The built-in pages are embedded from `web/dist`, which `cargo xtask` builds. Without it there are none, but the
//! program and its tests still compile.

fn main() -> std::io::Result<()> {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist");
    println!("cargo::rerun-if-changed={dist}");
    std::fs::create_dir_all(dist)
}
