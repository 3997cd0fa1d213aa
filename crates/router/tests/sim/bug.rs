//! Bugs that can be planted, each where a service would have made it.

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Bug {
    None,
    /// Numbers are stamped whatever is reserved.
    NoReserve,
    /// A number is stamped as soon as its reservation was sent.
    ReserveNotAwaited,
    /// The registry compares a home's writes by epoch instead of revision.
    WritesCompareEpoch,
    /// The registry makes claims whatever is there.
    ClaimWithoutCompare,
    /// A sealed home goes on taking samples.
    SealIgnored,
    /// A sealed home takes a part that a worker had on its way.
    SealedTakesPart,
    /// A home does not look at its lease.
    LeaseIgnored,
    /// A node counts its lease from when it heard that it was kept alive, not from when it said that it is.
    LeaseFromAnswer,
    /// A cut with a discontinuity leaves the home before it is recorded.
    DiscontinuityEarly,
    /// The first cut of a session does.
    FirstCutEarly,
    /// A part of an older turn is taken.
    TurnNotChecked,
    /// An edge takes what an older home sends.
    EpochDownwards,
    /// An edge that has just started takes what it gets, also of an epoch before the one that it read in the record.
    RecordedEpochIgnored,
    /// An edge begins its playlist anew at each home.
    RewritesClosedLines,
    /// A part that was declared a gap is taken when it comes after all.
    GapFilled,
}
