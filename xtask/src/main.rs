//! Set-up and chores: `cargo xtask help`.
fn main() {}
