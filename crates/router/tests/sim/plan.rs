//! What goes wrong, and when.

use crate::clock::{MILLI, SECOND};
use crate::context::{Address, Context, EDGES, Happening, NODES, Network, REGISTRY, WORKERS};

/// Faults begin here.
const FROM: u64 = 4 * SECOND;
/// From here on everything works.
pub(crate) const HEALED: u64 = 45 * SECOND;
/// By then everybody must be back.
pub(crate) const END: u64 = 75 * SECOND;

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Strike {
    Crash(Victim, u64),
    /// A process is stopped, and goes on later without knowing.
    Pause(Victim, u64),
    /// Nothing goes from the one to the other, or in both directions.
    Cut {
        from: Victim,
        to: Victim,
        both: bool,
        time: u64,
    },
    Join(Address, Address),
    Restart(Address),
    RegistryDown(u64),
    RegistryFull(u64),
    Revoke(Victim),
    /// All workers are stopped.
    PauseWorkers(u64),
    /// The operator takes a node out of service.
    Drain(Victim),
    /// The network is as it should be.
    Heal,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Victim {
    /// The node that the record names when it strikes.
    Home,
    Address(Address),
}

/// One seed in four has far more of everything than any network that people pay for.
pub(crate) fn draw(cx: &mut Context) {
    let pick = |cx: &mut Context, from: [u64; 3]| from[cx.rng.index(3)];
    let wild = cx.rng.chance(250);
    let network = if wild {
        Network {
            loss_permille: pick(cx, [50, 150, 250]),
            twice_permille: pick(cx, [20, 100, 300]),
            late_permille: pick(cx, [50, 200, 400]),
            late_max: pick(cx, [SECOND, 4 * SECOND, 12 * SECOND]),
            blocked: Vec::new(),
        }
    } else {
        Network {
            loss_permille: pick(cx, [0, 10, 80]),
            twice_permille: pick(cx, [0, 20, 100]),
            late_permille: pick(cx, [0, 10, 80]),
            late_max: pick(cx, [SECOND / 2, 2 * SECOND, 6 * SECOND]),
            blocked: Vec::new(),
        }
    };
    cx.trace(|| format!("{network:?}"));
    cx.network = network;
    let strikes = if wild { cx.rng.range(10, 40) } else { cx.rng.range(2, 12) };
    for _ in 0..strikes {
        let at = cx.rng.range(FROM, HEALED - 3 * SECOND);
        let strike = strike(cx);
        cx.at(at, Happening::Strike(strike));
        // Troubles like company: a home that crashes while its registry is full, and the like.
        if cx.rng.chance(400) {
            let later = at + cx.rng.range(0, 6 * SECOND);
            let strike = self::strike(cx);
            cx.at(later.min(HEALED - SECOND), Happening::Strike(strike));
        }
    }
    cx.at(HEALED, Happening::Strike(Strike::Heal));
}

fn strike(cx: &mut Context) -> Strike {
    let time = cx.rng.range(200 * MILLI, 8 * SECOND);
    match cx.rng.range(0, 21) {
        0..4 => Strike::Crash(node(cx), time),
        4 => Strike::Crash(Victim::Address(WORKERS.start + cx.rng.index(WORKERS.len())), time),
        5..8 => Strike::Pause(node(cx), time),
        8 => Strike::Pause(Victim::Address(WORKERS.start + cx.rng.index(WORKERS.len())), time),
        9..13 => Strike::Cut { from: anyone(cx), to: anyone(cx), both: cx.rng.chance(500), time },
        13 => Strike::RegistryDown(time / 2),
        14 => Strike::RegistryFull(time),
        15 => Strike::PauseWorkers(5 * SECOND + time / 2),
        16..18 => Strike::Drain(node(cx)),
        18..20 => {
            let edge = Victim::Address(EDGES.start + cx.rng.index(EDGES.len()));
            if cx.rng.chance(500) { Strike::Crash(edge, time) } else { Strike::Pause(edge, time) }
        }
        _ => Strike::Revoke(node(cx)),
    }
}

fn node(cx: &mut Context) -> Victim {
    if cx.rng.chance(600) { Victim::Home } else { Victim::Address(NODES.start + cx.rng.index(NODES.len())) }
}

fn anyone(cx: &mut Context) -> Victim {
    if cx.rng.chance(400) { node(cx) } else { Victim::Address(REGISTRY + cx.rng.index(EDGES.end)) }
}
