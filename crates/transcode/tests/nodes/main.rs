//! One stream's gears made by workers on several nodes (architecture 6).

#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod home;
#[path = "../stage/mod.rs"]
mod stage;

use std::sync::Arc;
use std::time::Duration;

use headwater_media::{InitId, MediaSequence, PartIndex, PartPayload, Timestamp};
use headwater_router::{Gear, RecordState};
use headwater_segmenter::Profile;
use home::{Carries, Home, Stoppable};
use stage::clip::{Clip, Recipe};
use stage::{Stage, Worker, gears};
use tokio::time::{sleep, timeout};

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(60);

fn small(count: u32) -> Vec<Gear> {
    (0..count).map(|number| Gear::new(160 + 16 * number, 90 + 10 * number, 150 + number, "ultrafast")).collect()
}

/// A part without its bytes.
type Outline = (MediaSequence, PartIndex, Timestamp, Timestamp, Option<(bool, InitId)>);

/// What players see of the gears' names and times.
fn outlines(stage: &Stage) -> Vec<(String, Vec<Outline>)> {
    let outline = |part: &Arc<headwater_media::Part>| {
        let media = match &part.payload {
            PartPayload::Media { independent, init, .. } => Some((*independent, init.id)),
            PartPayload::Gap => None,
        };
        (part.msn, part.index, part.start, part.end, media)
    };
    let all = gears::all(stage);
    all.iter().map(|gear| (gear.name.to_string(), gear.parts.iter().map(outline).collect())).collect()
}

/// A publisher comes, and its session is in the registry. Says how much of the clip was published.
async fn begin(stage: &mut Stage, home: &Home, clip: &Clip) -> usize {
    stage.begin(clip);
    let mut sent = 0;
    while stage.open.is_none() {
        stage.publish(&clip.units[sent..=sent]).await;
        sent += 1;
    }
    home.record(stage.log(), RecordState::Live);
    sent
}

/// The stream as `workers` workers on as many nodes make it, each a share of its gears.
async fn made_by(workers: usize) -> Vec<(String, Vec<Outline>)> {
    let clip = Recipe::new(320, 180, 150).make(&format!("made-by-{workers}"));
    let mut stage = Stage::new(Profile::Low, small(10));
    stage.gears_per_job = 10 / workers;
    stage.jobs_max = 1;
    let home = Home::start(&stage).await;
    let begun = begin(&mut stage, &home, &clip).await;
    let mut running: Vec<Worker> = Vec::new();
    for _ in 0..workers {
        running.push(stage.worker_with(home.node().await.log));
    }
    stage.publish_whole(&clip.units[begun..]).await;
    stage.pass(Duration::from_secs(2)).await;
    stage.end().await;
    stage.board.wait_for("completed", workers).await;
    timeout(SOON, stage.log().complete()).await.expect("all parts come");
    for worker in running {
        worker.stop().await;
    }
    assert_eq!(stage.board.history().iter().filter(|what| **what == "released").count(), 0);
    assert_eq!(stage.log().counters(), (0, 0), "nothing is dropped, nothing is a gap");
    outlines(&stage)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_workers_and_one_give_the_same_names_and_the_same_timeline() {
    let one = made_by(1).await;
    assert_eq!(one.len(), 10);
    assert!(one.iter().all(|(_, parts)| parts.len() == 25), "{one:?}");
    assert_eq!(made_by(10).await, one);
}

/// Plays 8 s on a node. When 4 s have been published, the wire to it carries as said; another one takes its gear over. Not more than
/// one job: a machine that is too slow loses others, too, and then it is not known which one was put back.
async fn lost_by(carries: Carries, name: &str) {
    let clip = Recipe::new(320, 180, 240).make(name);
    let mut stage = Stage::new(Profile::Low, small(1));
    stage.jobs_max = 1;
    let home = Home::start(&stage).await;
    let begun = begin(&mut stage, &home, &clip).await;
    let node = home.node().await;
    let queue = Stoppable { board: stage.board.clone(), carries: node.wire.subscribe() };
    let first = stage.worker_on(node.log.clone(), Arc::new(queue));
    stage.publish_whole(&clip.units[begun..120]).await;
    stage.board.wait_for("taken", 1).await;
    // One that is free.
    let second = stage.worker_with(home.node().await.log);
    node.wire.send_replace(carries);
    // The source goes on, so that silence means something.
    let mut sent = 120;
    let lost = async {
        while !stage.board.history().contains(&"released") {
            let unit = sent.min(209);
            if unit == sent {
                stage.publish(&clip.units[unit..=unit]).await;
                sent += 1;
            }
            sleep(Duration::from_millis(15)).await;
        }
    };
    timeout(SOON, lost).await.expect("the job is put back");
    let log = stage.log().clone();
    let made = || {
        let renditions = log.state().borrow().renditions.clone();
        renditions.iter().filter(|known| known.kind.is_encoded()).filter_map(|known| log.next_part(&known.name)).max()
    };
    let before = made();
    stage.publish(&clip.units[sent..]).await;
    // A job that nobody is at when its session ends is over.
    let goes_on = async {
        while made() <= before {
            sleep(Duration::from_millis(15)).await;
        }
    };
    timeout(SOON, goes_on).await.expect("another one is at it");
    stage.pass(Duration::from_secs(2)).await;
    stage.end().await;
    timeout(SOON, stage.log().complete()).await.expect("all parts come");
    let all = gears::all(&stage);
    assert_eq!(all.len(), 1);
    for gear in &all {
        assert!(gear.gaps().is_empty(), "{} {:?}", gear.name, gear.gaps());
        assert_eq!(gear.decode_with_ffmpeg(&format!("{name}-{}", gear.name)), 240);
    }
    // What was frozen thaws into a session in which its turn is over.
    node.wire.send_replace(Carries::All);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gears_of_a_worker_whose_connection_breaks_go_on_elsewhere_and_nothing_is_missing() {
    lost_by(Carries::Cut, "node-cut").await;
}

/// Architecture 6: silence after 0.4 s while source arrives.
#[tokio::test(flavor = "multi_thread")]
async fn gears_of_a_worker_that_says_nothing_go_on_elsewhere_and_nothing_is_missing() {
    lost_by(Carries::Nothing, "node-frozen").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_session_is_over_is_taken_off_the_board() {
    let clip = Recipe::new(320, 180, 60).make("node-over");
    let mut stage = Stage::new(Profile::Low, small(1));
    let home = Home::start(&stage).await;
    begin(&mut stage, &home, &clip).await;
    stage.end().await;
    home.record(stage.log(), RecordState::Ended);
    let worker = stage.worker_with(home.node().await.log);
    timeout(SOON, stage.board.wait_for("completed", 1)).await.unwrap();
    worker.stop().await;
    assert_eq!(stage.board.history(), ["taken", "completed"]);
}
