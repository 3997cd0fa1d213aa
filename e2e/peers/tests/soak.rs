//! The short form of `cargo xtask soak`: a seed is a scene, and no scene breaks an invariant.

use std::time::Duration;

use headwater_e2e::soak::{Kind, Plan, run};

#[test]
fn publishers_that_come_and_go_at_random_break_no_invariant() {
    let report = run(&Plan { length: Duration::from_secs(25), seed: 1, streams: 2 });
    assert!(report.violations().is_empty(), "{report}");
    for kind in Kind::ALL {
        assert!(report.publishers(kind) > 0, "{report}");
    }
    assert!(report.requests() > 100, "{report}");
}
