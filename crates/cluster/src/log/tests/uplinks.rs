//! How what is written to a home elsewhere ends.

use std::sync::Arc;

use headwater_media::*;
use headwater_router::*;
use tokio::time::timeout;

use super::world::*;

/// The job of a session's only gear, now that somebody watches.
fn job(world: &World, home: &Home) -> Job {
    home.log.watched(world.clock.now());
    Job {
        stream: show(),
        session: home.log.session().id,
        epoch: home.epoch,
        waking: home.log.demand().borrow().waking,
        gears: [gear()].into(),
        standby: None,
        audio: [].into(),
    }
}

async fn lost(writer: &Arc<dyn Writer>) {
    timeout(PATIENCE, writer.lost().wait_for(|lost| *lost)).await.expect("it hears of it").unwrap();
}

async fn put(writer: &Arc<dyn Writer>, world: &World, msn: u64, index: u32) -> PutOutcome {
    writer.put_part(&gear().name, part(msn, index, world.clock.now())).await
}

#[tokio::test]
async fn a_job_of_a_ladder_that_went_cold_is_over_here_and_elsewhere() {
    let world = World::new();
    let [a, b] = [Node::start(&world).await, Node::start(&world).await];
    let home = Home::begin(&world, &a);
    home.make(1..=2, 10);
    let job = job(&world, &home);
    let writer = b.log.write(JobId(7), &job).await.unwrap();
    assert!(home.log.cool(home.log.last_watched()));
    lost(&writer).await;
    assert_eq!(b.log.write(JobId(7), &job).await.err(), Some(NoWriter::Over));
    assert_eq!(a.log.write(JobId(7), &job).await.err(), Some(NoWriter::Over));
    world.record(&home.log, &a.id, 1, RecordState::Ended, Vec::new());
    assert_eq!(b.log.write(JobId(7), &job).await.err(), Some(NoWriter::Over));
}

/// The job is back on the board before the registry knows of anything.
#[tokio::test]
async fn a_home_that_moves_ends_what_was_written_to_it() {
    let world = World::new();
    let [a, b, c] = [Node::start(&world).await, Node::start(&world).await, Node::start(&world).await];
    let home = Home::begin(&world, &a);
    home.make(1..=2, 10);
    let job = job(&world, &home);
    let (here, there) = (a.log.write(JobId(7), &job).await.unwrap(), c.log.write(JobId(8), &job).await.unwrap());
    assert_eq!(put(&here, &world, 3, 0).await, PutOutcome::Dropped);
    lost(&here).await;
    home.log.seal();
    world.record(&home.log, &b.id, 2, RecordState::Live, vec![cut(1), cut(2)]);
    a.log.close(&home.log);
    lost(&there).await;
    let newer = Job { epoch: Epoch(2), ..job };
    assert!(matches!(c.log.write(JobId(9), &newer).await, Err(NoWriter::NotNow { .. })), "it has no log yet");
}

#[tokio::test]
async fn a_home_that_serves_no_longer_lets_its_workers_go() {
    let world = World::new();
    let [a, b] = [Node::start(&world).await, Node::start(&world).await];
    let home = Home::begin(&world, &a);
    home.make(1..=2, 10);
    let job = job(&world, &home);
    let writer = b.log.write(JobId(7), &job).await.unwrap();
    assert!(!*writer.lost().borrow());
    a.stop_serving().await;
    lost(&writer).await;
}
