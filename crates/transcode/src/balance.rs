//! Which gears there is room for: admission by cost, shedding from the top, coming back (architecture 6). Decides only; it
//! reads no clock and starts nothing.
//!
//! A worker has a budget of processor cores. A job that comes gets the gears that fit, from the smallest up. When parts of
//! a job come later and later, its largest gear is shed, and the next if that is not enough. When all has been well for a
//! while and a shed gear fits again, it comes back: the smallest first, one at a time, and later after each time that it
//! had to go again.

use std::collections::HashMap;
use std::time::Duration;

use headwater_media::Instant;
use headwater_router::{Gear, JobId};

/// What a job uses, as measured since the last look.
#[derive(Clone, Debug)]
pub(crate) struct JobLoad {
    pub(crate) id: JobId,
    /// Cores that decoding takes.
    pub(crate) decoding: f64,
    /// The publisher has sent something since the last look.
    pub(crate) live: bool,
    /// The gears that the job may make, largest first.
    pub(crate) gears: Vec<GearLoad>,
}

/// What a gear uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GearLoad {
    /// It was not shed.
    pub(crate) wanted: bool,
    /// It is being made, and has been since the last look.
    pub(crate) running: bool,
    /// Cores that it takes.
    pub(crate) cores: f64,
    /// How late its newest part was.
    pub(crate) delay: Duration,
    /// Parts that it has put.
    pub(crate) parts: u64,
    /// What it would take by its size and preset.
    pub(crate) estimate: f64,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Order {
    /// Stop making the gear with this number.
    Shed { id: JobId, gear: usize, delay: Duration },
    /// Make it again.
    Restore { id: JobId, gear: usize },
}

/// The decisions of one worker.
#[derive(Debug)]
pub(crate) struct Balance {
    /// Cores that gears and decoders may take; without bound nothing is ever shed.
    budget: Option<f64>,
    /// Measured cost by estimated cost, of all gears so far.
    factor: f64,
    jobs: HashMap<JobId, Known>,
    /// When something was last late, shed or restored.
    restless: Instant,
    /// How long all has to be well before a gear comes back.
    calm: Duration,
    restored: Option<Instant>,
}

/// What is remembered of a job.
#[derive(Debug, Default)]
struct Known {
    delay: Duration,
    /// What decoder and encoders hold back by design: the smallest delay, forgotten slowly.
    floor: Option<Duration>,
    /// Parts of all gears at the last look.
    parts: u64,
    late_looks: u32,
    shed_at: Option<Instant>,
    /// Cores that each gear took when it last ran.
    cores: Vec<Option<f64>>,
}

/// How often jobs are looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
/// A part this much later than the earliest of its job is late.
const LATE: Duration = Duration::from_millis(350);
/// A job that catches up by this much between two looks is not stuck.
const CATCHING_UP: Duration = Duration::from_millis(100);
/// By this much the smallest delay is forgotten with each look.
const FLOOR_RISE: Duration = Duration::from_millis(2);
/// Looks in a row at which a job must be late.
const LATE_LOOKS: u32 = 2;
/// After a gear was shed, the others have this long to catch up.
const RELIEF: Duration = Duration::from_secs(3);
const CALM_MIN: Duration = Duration::from_secs(10);
const CALM_MAX: Duration = Duration::from_secs(320);
/// A gear that had to go this soon after it came back came back too early.
const TOO_EARLY: Duration = Duration::from_secs(30);

impl Balance {
    pub(crate) fn new(budget: Option<f64>) -> Self {
        Self { budget, factor: 1.0, jobs: HashMap::new(), restless: Instant::default(), calm: CALM_MIN, restored: None }
    }

    /// Which of a new job's gears fit beside what is used: from the last (the smallest) up. `decoding` is the estimate for
    /// the decoder.
    pub(crate) fn admit(&self, loads: &[JobLoad], decoding: f64, estimates: &[f64]) -> Vec<bool> {
        let Some(budget) = self.budget else { return vec![true; estimates.len()] };
        let mut free = budget - used(loads) - decoding * self.factor;
        let mut fits: Vec<bool> = estimates
            .iter()
            .rev()
            .map(|estimate| {
                free -= estimate * self.factor;
                free >= 0.0
            })
            .collect();
        fits.reverse();
        fits
    }

    /// One look at all jobs, about once a second.
    pub(crate) fn look(&mut self, now: Instant, loads: &[JobLoad]) -> Vec<Order> {
        self.jobs.retain(|id, _| loads.iter().any(|load| load.id == *id));
        let Some(budget) = self.budget else { return Vec::new() };
        let mut orders = Vec::new();
        let mut restless = false;
        for load in loads {
            self.learn(load);
            let known = self.jobs.entry(load.id).or_default();
            let parts: u64 = load.gears.iter().map(|gear| gear.parts).sum();
            if std::mem::replace(&mut known.parts, parts) != parts {
                let worst = load.gears.iter().filter(|gear| gear.running).map(|gear| gear.delay).max();
                restless |= known.look(worst.unwrap_or_default());
            } else if load.live && parts > 0 {
                // What is due is later by now. Without samples there is nothing to be late with.
                restless |= known.look(known.delay + LOOK);
            }
            let relieved = known.shed_at.is_none_or(|at| now.saturating_since(at) >= RELIEF);
            if known.late_looks >= LATE_LOOKS
                && relieved
                && let Some(gear) = load.gears.iter().position(|gear| gear.running && gear.wanted)
            {
                known.shed_at = Some(now);
                known.late_looks = 0;
                orders.push(Order::Shed { id: load.id, gear, delay: known.delay });
            }
        }
        if !orders.is_empty() {
            let too_early = self.restored.is_some_and(|at| now.saturating_since(at) < TOO_EARLY);
            self.calm = if too_early { (self.calm * 2).min(CALM_MAX) } else { CALM_MIN };
        }
        if restless || !orders.is_empty() {
            self.restless = now;
        } else if now.saturating_since(self.restless) >= self.calm
            && let Some(order) = self.restore(budget - used(loads), loads)
        {
            self.restless = now;
            self.restored = Some(now);
            orders.push(order);
        }
        orders
    }

    /// The smallest shed gear, when it fits into what is free.
    fn restore(&self, free: f64, loads: &[JobLoad]) -> Option<Order> {
        loads.iter().find_map(|load| {
            let gear = load.gears.iter().rposition(|gear| !gear.wanted)?;
            let measured = self.jobs.get(&load.id)?.cores.get(gear).copied().flatten();
            let cores = measured.unwrap_or(load.gears[gear].estimate * self.factor);
            (cores <= free).then_some(Order::Restore { id: load.id, gear })
        })
    }

    fn learn(&mut self, load: &JobLoad) {
        let known = self.jobs.entry(load.id).or_default();
        known.cores.resize(load.gears.len(), None);
        for (gear, cores) in load.gears.iter().zip(&mut known.cores) {
            // What a gear takes while it catches up, or while it waits for an overloaded machine, says nothing.
            if gear.running && gear.delay < LATE && gear.cores > 0.0 && gear.estimate > 0.0 {
                *cores = Some(cores.map_or(gear.cores, |before| before * 0.8 + gear.cores * 0.2));
                self.factor = (self.factor * 0.99 + gear.cores / gear.estimate * 0.01).clamp(0.1, 10.0);
            }
        }
    }
}

impl Known {
    /// A look at a job with new parts; whether they are late.
    fn look(&mut self, worst: Duration) -> bool {
        let floor = self.floor.map_or(worst, |floor| (floor + FLOOR_RISE).min(worst));
        self.floor = Some(floor);
        let late = worst > floor + LATE;
        let stuck = late && worst + CATCHING_UP > self.delay;
        self.late_looks = if stuck { self.late_looks + 1 } else { 0 };
        self.delay = worst;
        late
    }
}

fn used(loads: &[JobLoad]) -> f64 {
    loads.iter().map(|load| load.decoding + load.gears.iter().map(|gear| gear.cores).sum::<f64>()).sum()
}

/// Cores that a gear takes at `frames_per_second` by experience: nanoseconds a pixel with libx264's `superfast`, times the
/// weight of the preset. [`Balance`] corrects it by what it measures.
pub(crate) fn gear_estimate(gear: &Gear, frames_per_second: f64) -> f64 {
    const NANOS_PER_PIXEL: f64 = 14.0;
    let weight = match &*gear.preset {
        "ultrafast" => 0.6,
        "superfast" => 1.0,
        "veryfast" => 1.5,
        "faster" => 2.2,
        "fast" => 3.0,
        "medium" => 3.6,
        _ => 7.0,
    };
    f64::from(gear.width) * f64::from(gear.height) * frames_per_second * NANOS_PER_PIXEL * weight * 1e-9
}

/// Cores that decoding a picture of this size takes, by experience.
pub(crate) fn decoding_estimate(width: u32, height: u32, frames_per_second: f64) -> f64 {
    const NANOS_PER_PIXEL: f64 = 2.7;
    f64::from(width) * f64::from(height) * frames_per_second * NANOS_PER_PIXEL * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: JobId = JobId(1);

    /// A simulated job: each gear takes its cores, and all are later the longer the machine has too few.
    struct Machine {
        cores: f64,
        costs: Vec<f64>,
        wanted: Vec<bool>,
        delay: Duration,
        /// What decoder and encoders hold back.
        held: Duration,
        /// The publisher sends.
        live: bool,
        /// No part comes through.
        stuck: bool,
        parts: u64,
        balance: Balance,
        now: Instant,
        log: Vec<String>,
    }

    impl Machine {
        fn new(cores: f64, budget: f64, costs: &[f64]) -> Self {
            Self {
                cores,
                costs: costs.to_vec(),
                wanted: vec![true; costs.len()],
                delay: Duration::ZERO,
                held: Duration::ZERO,
                live: true,
                stuck: false,
                parts: 0,
                balance: Balance::new(Some(budget)),
                now: Instant::from_nanos(1_000_000_000),
                log: Vec::new(),
            }
        }

        fn wants(&self) -> f64 {
            self.costs.iter().zip(&self.wanted).filter(|(_, wanted)| **wanted).map(|(cost, _)| cost).sum()
        }

        fn seconds(&mut self, seconds: u64) {
            for _ in 0..seconds {
                self.now = self.now + Duration::from_secs(1);
                self.parts += u64::from(self.live && !self.stuck);
                let wants = self.wants();
                let behind = 1.0 - self.cores / wants.max(0.001);
                let delay = (self.delay.as_secs_f64() + behind).max(0.02);
                if self.live {
                    self.delay = Duration::from_secs_f64(delay);
                }
                let scale = (self.cores / wants.max(0.001)).min(1.0);
                let gears = self.costs.iter().zip(&self.wanted).map(|(cost, wanted)| GearLoad {
                    wanted: *wanted,
                    running: *wanted,
                    cores: if *wanted { cost * scale } else { 0.0 },
                    delay: if *wanted { self.delay + self.held } else { Duration::ZERO },
                    parts: self.parts,
                    estimate: *cost,
                });
                let load = JobLoad { id: ID, decoding: 0.0, live: self.live, gears: gears.collect() };
                for order in self.balance.look(self.now, &[load]) {
                    let (gear, wanted) = match order {
                        Order::Shed { gear, .. } => (gear, false),
                        Order::Restore { gear, .. } => (gear, true),
                    };
                    self.wanted[gear] = wanted;
                    self.log.push(format!("{}{gear}", if wanted { '+' } else { '-' }));
                }
            }
        }
    }

    #[test]
    fn what_fits_is_left_alone() {
        let mut machine = Machine::new(2.0, 1.8, &[0.8, 0.4, 0.2]);
        machine.seconds(600);
        assert_eq!(machine.log, Vec::<String>::new());
    }

    #[test]
    fn a_job_that_falls_behind_loses_its_largest_gears_until_it_keeps_up() {
        let mut machine = Machine::new(1.0, 1.0, &[0.8, 0.5, 0.4]);
        machine.seconds(20);
        assert_eq!(machine.log, ["-0"]);
        let mut machine = Machine::new(0.5, 0.5, &[0.8, 0.5, 0.4]);
        machine.seconds(20);
        assert_eq!(machine.log, ["-0", "-1"]);
        assert!(machine.delay < Duration::from_millis(100));
    }

    #[test]
    fn a_gear_comes_back_when_there_is_room_again() {
        let mut machine = Machine::new(1.0, 1.8, &[0.8, 0.5, 0.1]);
        machine.seconds(8);
        assert_eq!(machine.wanted, [false, true, true]);
        machine.cores = 2.0;
        machine.seconds(15);
        assert_eq!(machine.wanted, [true, true, true]);
        machine.seconds(60);
        assert_eq!(machine.log, ["-0", "+0"]);
    }

    #[test]
    fn one_that_has_to_go_again_comes_back_later_each_time() {
        // The budget promises more than the machine has.
        let mut machine = Machine::new(1.0, 4.0, &[0.8, 0.5]);
        machine.seconds(600);
        let restores = machine.log.iter().filter(|what| what.starts_with('+')).count();
        assert!((2..=6).contains(&restores), "{:?}", machine.log);
        assert!(machine.log.iter().all(|what| what.ends_with('0')), "{:?}", machine.log);
    }

    #[test]
    fn what_is_late_by_design_is_not_late() {
        let mut machine = Machine::new(2.0, 1.8, &[0.8, 0.4]);
        machine.held = Duration::from_millis(900);
        machine.seconds(600);
        assert_eq!(machine.log, Vec::<String>::new());
        machine.cores = 1.0;
        machine.seconds(8);
        assert_eq!(machine.log, ["-0"]);
    }

    #[test]
    fn a_job_that_puts_nothing_at_all_is_late() {
        let mut machine = Machine::new(2.0, 1.8, &[0.8, 0.4]);
        machine.seconds(5);
        machine.stuck = true;
        machine.seconds(4);
        assert_eq!(machine.log, ["-0"]);
    }

    #[test]
    fn nothing_is_shed_while_the_publisher_is_away() {
        let mut machine = Machine::new(2.0, 1.8, &[0.8, 0.4]);
        machine.seconds(5);
        machine.delay = Duration::from_millis(900);
        machine.live = false;
        machine.parts += 1;
        machine.seconds(60);
        assert_eq!(machine.log, Vec::<String>::new());
    }

    #[test]
    fn a_gear_that_does_not_fit_the_budget_stays_away() {
        let mut machine = Machine::new(2.0, 1.0, &[0.8, 0.5]);
        machine.wanted[0] = false;
        machine.seconds(600);
        assert_eq!(machine.log, Vec::<String>::new());
    }

    #[test]
    fn a_new_job_gets_the_gears_that_fit_from_the_smallest_up() {
        let balance = Balance::new(Some(1.0));
        assert_eq!(balance.admit(&[], 0.2, &[0.5, 0.3, 0.2]), [false, true, true]);
        assert_eq!(balance.admit(&[], 0.2, &[0.2, 0.1, 0.1]), [true, true, true]);
        let busy = JobLoad { id: ID, decoding: 0.9, live: true, gears: Vec::new() };
        assert_eq!(balance.admit(&[busy], 0.2, &[0.2, 0.1]), [false, false]);
        assert_eq!(Balance::new(None).admit(&[], 9.0, &[9.0]), [true]);
    }

    #[test]
    fn measured_costs_correct_the_estimates() {
        let mut machine = Machine::new(8.0, 4.0, &[0.5, 0.5]);
        machine.seconds(1);
        let gear = GearLoad {
            wanted: true,
            running: true,
            cores: 1.0,
            delay: Duration::from_millis(20),
            parts: 1,
            estimate: 0.5,
        };
        for second in 0..600 {
            let load = JobLoad { id: ID, decoding: 0.1, live: false, gears: vec![gear] };
            machine.balance.look(machine.now + Duration::from_secs(second), &[load]);
        }
        assert_eq!(machine.balance.admit(&[], 0.0, &[2.1, 1.9]), [false, true]);
    }
}
