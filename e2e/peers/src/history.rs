//! What many saw of claims on streams, and whether one lock per stream explains all of it.
//!
//! The model: each stream has one lock and a counter. A claim that is won takes the lock away from whoever had it and counts
//! one up, at one moment between its call and its return: its epoch is the count. A claim that is refused because of an
//! epoch saw that epoch at such a moment. One whose outcome nobody knows was made at any moment after its call, or never.
//! A history is linearizable when there is such a moment for each operation.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

/// A claim as its caller saw it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claim {
    /// What was claimed.
    pub stream: String,
    /// For whom.
    pub node: String,
    /// When, by one clock for all.
    pub called: Duration,
    /// When its outcome was known.
    pub returned: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// How many writes it may have made on the way to that, beside the one that the outcome tells of: their answers were lost,
    /// and what was there afterwards was another's.
    pub lost_writes: u64,
}

/// How a claim ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// With this epoch.
    Won(u64),
    /// Refused: this epoch had the stream.
    Held(u64),
    /// Refused for another reason, and certainly not made.
    NotMade,
    /// It may have been made, or may yet be.
    Unknown,
}

/// What no lock explains.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Violation {
    /// Two claims were won with one epoch.
    Twice {
        /// The stream.
        stream: String,
        /// The epoch.
        epoch: u64,
        /// Who won it.
        nodes: [String; 2],
    },
    /// The second claim got an epoch above that of the first, and had returned before the first was called.
    Backwards(Box<[Claim; 2]>),
    /// Epochs were counted that nobody can have made.
    Missing {
        /// The stream.
        stream: String,
        /// The epoch before which they are missing.
        before: u64,
        /// How many.
        epochs: u64,
        /// How many writes of unknown outcome can have made some of them.
        unknown: u64,
    },
    /// A claim was refused for an epoch that did not have the stream at any moment of the claim, because the other claim was
    /// won too early or too late for that.
    NotHeld(Box<[Claim; 2]>),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice { stream, epoch, nodes: [one, other] } => {
                write!(f, "{stream}: epoch {epoch} was won by {one} and by {other}")
            }
            Self::Backwards(claims) => write!(f, "an epoch is not above an earlier one: {claims:?}"),
            Self::Missing { stream, before, epochs, unknown } => {
                write!(
                    f,
                    "{stream}: {epochs} epochs before {before} are nobody's, with {unknown} writes of unknown outcome"
                )
            }
            Self::NotHeld(claims) => write!(f, "refused for an epoch that was not there: {claims:?}"),
        }
    }
}

/// Claims as they return, from any thread.
#[derive(Debug, Default)]
pub struct History(Mutex<Vec<Claim>>);

impl History {
    /// Takes down a claim.
    pub fn add(&self, claim: Claim) {
        self.0.lock().unwrap().push(claim);
    }

    /// All claims so far.
    pub fn claims(&self) -> Vec<Claim> {
        self.0.lock().unwrap().clone()
    }

    /// Panics with the first violation.
    #[track_caller]
    pub fn assert_linearizable(&self) {
        let claims = self.claims();
        if let Err(violation) = check(&claims) {
            panic!("{violation}\nof {} claims", claims.len());
        }
    }
}

/// Whether one lock per stream, whose epochs begin at 1, explains these claims.
pub fn check(claims: &[Claim]) -> Result<(), Violation> {
    let mut streams: HashMap<&str, Vec<&Claim>> = HashMap::new();
    for claim in claims {
        streams.entry(&claim.stream).or_default().push(claim);
    }
    streams.values().try_for_each(|claims| check_stream(claims))
}

/// The lock goes from epoch to epoch in their order, so there is only one order of won claims to try. Each claim's moment is
/// the earliest that is possible after those of smaller epochs.
fn check_stream(claims: &[&Claim]) -> Result<(), Violation> {
    let mut won: BTreeMap<u64, &Claim> = BTreeMap::new();
    for claim in claims {
        if let Outcome::Won(epoch) = claim.outcome
            && let Some(other) = won.insert(epoch, claim)
        {
            let nodes = [other.node.clone(), claim.node.clone()];
            return Err(Violation::Twice { stream: claim.stream.clone(), epoch, nodes });
        }
    }
    // Of all claims with smaller epochs the one that was called last: none of theirs can be earlier than that.
    let mut latest: Option<&Claim> = None;
    for claim in won.values() {
        if let Some(first) = latest.filter(|first| first.called > claim.returned) {
            return Err(Violation::Backwards(Box::new([(*claim).clone(), first.clone()])));
        }
        if latest.is_none_or(|latest| claim.called > latest.called) {
            latest = Some(claim);
        }
    }
    nobodys(claims, &won)?;
    for claim in claims {
        if let Outcome::Held(epoch) = claim.outcome {
            held(claim, epoch, &won)?;
        }
    }
    Ok(())
}

/// Epochs that no known claim won were made by writes of unknown outcome, one each, of claims that were called before the
/// next known epoch returned. Who can have made an earlier one can have made a later one, so counting is enough.
fn nobodys(claims: &[&Claim], won: &BTreeMap<u64, &Claim>) -> Result<(), Violation> {
    let (mut last, mut missing) = (0, 0);
    let mut deadline = Duration::MAX;
    let mut deadlines = Vec::new();
    for (epoch, claim) in won.iter().rev() {
        // What comes before this epoch comes before all later ones.
        deadline = deadline.min(claim.returned);
        deadlines.push((*epoch, deadline));
    }
    for (epoch, deadline) in deadlines.into_iter().rev() {
        missing += epoch - last - 1;
        last = epoch;
        let in_time = claims.iter().filter(|claim| claim.called < deadline);
        let can = in_time.map(|claim| claim.lost_writes + u64::from(claim.outcome == Outcome::Unknown)).sum();
        if missing > can {
            let stream = claims[0].stream.clone();
            return Err(Violation::Missing { stream, before: epoch, epochs: missing, unknown: can });
        }
    }
    Ok(())
}

/// A refusal for `epoch`: that epoch was won before the refusal returned, and the next one after it was called.
fn held(claim: &Claim, epoch: u64, won: &BTreeMap<u64, &Claim>) -> Result<(), Violation> {
    let too_late = won.get(&epoch).filter(|other| other.called > claim.returned);
    let gone = won.range(epoch + 1..).map(|(_, other)| other).find(|other| other.returned < claim.called);
    match too_late.or(gone) {
        Some(other) => Err(Violation::NotHeld(Box::new([claim.clone(), (*other).clone()]))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(node: &str, called: u64, returned: u64, outcome: Outcome) -> Claim {
        let [called, returned] = [called, returned].map(Duration::from_millis);
        Claim { stream: "live/show".into(), node: node.into(), called, returned, outcome, lost_writes: 0 }
    }

    use Outcome::{Held, NotMade, Unknown, Won};

    #[test]
    fn claims_one_after_another_and_at_once_are_explained() {
        assert_eq!(check(&[]), Ok(()));
        let claims = [
            claim("a", 0, 10, Won(1)),
            claim("b", 20, 40, Won(3)),
            claim("c", 25, 30, Won(2)),
            claim("d", 22, 35, Held(1)),
            claim("d", 36, 50, Held(3)),
            claim("e", 0, 50, NotMade),
        ];
        assert_eq!(check(&claims), Ok(()));
        // Another stream counts for itself.
        let other = Claim { stream: "live/other".into(), ..claim("a", 100, 110, Won(1)) };
        assert_eq!(check(&[&claims[..], &[other]].concat()), Ok(()));
    }

    #[test]
    fn one_epoch_for_two_is_found() {
        let found = check(&[claim("a", 0, 10, Won(1)), claim("b", 5, 15, Won(1))]);
        assert!(matches!(found, Err(Violation::Twice { epoch: 1, .. })), "{found:?}");
    }

    #[test]
    fn an_epoch_below_one_that_had_returned_is_found() {
        let found = check(&[claim("a", 0, 10, Won(2)), claim("b", 11, 15, Won(1))]);
        assert!(matches!(found, Err(Violation::Backwards(_))), "{found:?}");
        // Not only among neighbours: 1 and 3 cannot be, with 2 at once with both.
        let found = check(&[claim("a", 20, 30, Won(1)), claim("b", 0, 40, Won(2)), claim("c", 0, 10, Won(3))]);
        assert!(matches!(found, Err(Violation::Backwards(_))), "{found:?}");
        assert_eq!(check(&[claim("a", 0, 10, Won(2)), claim("b", 10, 15, Won(1))]), Ok(()), "at one moment");
    }

    #[test]
    fn an_epoch_that_nobody_made_is_found_unless_an_outcome_is_unknown() {
        let won = [claim("a", 0, 10, Won(1)), claim("b", 20, 30, Won(3))];
        let found = check(&won);
        assert!(matches!(found, Err(Violation::Missing { before: 3, epochs: 1, unknown: 0, .. })), "{found:?}");
        let with = |unknown: Claim| check(&[&won[..], &[unknown]].concat());
        assert_eq!(with(claim("c", 5, 6, Unknown)), Ok(()), "it was made late");
        let found = with(claim("c", 30, 31, Unknown));
        assert!(matches!(found, Err(Violation::Missing { .. })), "{found:?}");
        let lost = |claim: Claim| with(Claim { lost_writes: 1, ..claim });
        assert_eq!(lost(claim("c", 15, 40, Held(3))), Ok(()), "it made 2, and another home was there when it looked");
        // One claim makes one epoch.
        let more = [&won[..], &[claim("c", 5, 6, Unknown), claim("d", 40, 50, Won(5))]].concat();
        assert!(matches!(check(&more), Err(Violation::Missing { before: 5, epochs: 2, unknown: 1, .. })));
        // Called in time for the later one of two that are missing, and too late for the earlier one.
        let late = [&won[..], &[claim("c", 35, 36, Unknown), claim("d", 5, 6, Unknown), claim("e", 40, 50, Won(5))]];
        assert_eq!(check(&late.concat()), Ok(()));
        let late = [&won[..], &[claim("c", 35, 36, Unknown), claim("d", 35, 36, Unknown), claim("e", 40, 50, Won(5))]];
        assert!(matches!(check(&late.concat()), Err(Violation::Missing { before: 3, .. })));
    }

    #[test]
    fn a_refusal_for_an_epoch_that_was_not_there_is_found() {
        let won = [claim("a", 0, 10, Won(1)), claim("b", 20, 30, Won(2))];
        let with = |refused: Claim| check(&[&won[..], &[refused]].concat());
        assert_eq!(with(claim("c", 12, 25, Held(2))), Ok(()));
        let early = with(claim("c", 12, 15, Held(2)));
        assert!(matches!(early, Err(Violation::NotHeld(_))), "{early:?}");
        let late = with(claim("c", 31, 35, Held(1)));
        assert!(matches!(late, Err(Violation::NotHeld(_))), "{late:?}");
    }
}
