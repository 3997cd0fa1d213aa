use std::sync::Arc;

use headwater_media::*;
use headwater_router::*;
use tokio::time::timeout;

use super::world::*;

async fn next(reader: &mut SampleReader) -> Item {
    timeout(PATIENCE, reader.next()).await.expect("it comes").expect("it is read")
}

fn name(item: &Item) -> String {
    match item {
        Item::Cut(cut) => format!("c{}", cut.msn),
        Item::Video(video) => format!("v{}", video.slot.0),
        Item::Audio(_) => "a".into(),
        Item::PartEnd(end) => format!("e{}.{}", end.msn, end.index),
    }
}

/// What a worker on another node needs to make what one here makes.
#[tokio::test]
async fn a_worker_elsewhere_reads_the_same_samples_from_where_it_begins() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=4, 3);
    let replica = b.log.find(&show()).await.unwrap();
    let mut here = home.log.read_samples_for(MediaSequence(3));
    let mut there = replica.read_samples_for(MediaSequence(3));
    let mut config = None;
    for step in 0..120 {
        if step == 60 {
            (3..6).for_each(|index| home.make_part(4, index));
        }
        let Ok(Some(expected)) = here.try_next() else { break };
        let item = next(&mut there).await;
        assert_eq!(name(&item), name(&expected));
        if let (Item::Video(video), Item::Video(expected)) = (&item, &expected) {
            assert_eq!((&video.data, &video.config), (&expected.data, &expected.config));
            let config = config.get_or_insert_with(|| video.config.clone());
            assert!(Arc::ptr_eq(config, &video.config), "a configuration that stays is the same object");
        }
    }
    // A second worker begins with what is there, a little earlier too.
    let mut sound = replica.read_samples_from(MediaSequence(2));
    assert_eq!(name(&next(&mut sound).await), "c2");
    home.log.end();
    loop {
        match timeout(PATIENCE, there.next()).await.unwrap() {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, ReadError::Ended);
                break;
            }
        }
    }
    assert!(matches!(here.try_next(), Ok(Some(_)) | Err(ReadError::Ended)));
}

#[tokio::test]
async fn a_worker_that_begins_with_the_newest_segment_needs_nothing_older() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=5, 2);
    let replica = b.log.find(&show()).await.unwrap();
    assert_eq!(name(&next(&mut replica.read_samples()).await), "c5");
    home.make_part(5, 2);
    let sent = usize::try_from(b.metrics.received_bytes.get()).unwrap();
    assert!(sent < 200 * 3000, "{sent}");
}

/// The home is lost for a moment: the worker gets each sample once.
#[tokio::test]
async fn samples_go_on_where_they_stopped_when_the_connection_was_lost() {
    let world = World::new();
    let (a, b) = (Node::start(&world).await, Node::start(&world).await);
    let home = Home::begin(&world, &a);
    home.make(1..=2, 2);
    let replica = b.log.find(&show()).await.unwrap();
    let mut reader = replica.read_samples();
    let mut slots = Vec::new();
    let mut read = async |reader: &mut SampleReader, last: i64| {
        loop {
            match next(reader).await {
                Item::Video(video) => slots.push(video.slot.0),
                _ => continue,
            }
            if slots.last() == Some(&last) {
                return slots.clone();
            }
        }
    };
    read(&mut reader, 71).await;
    // The record is written again: the replica connects anew.
    home.log.go_on(&GoingOn { epoch: Epoch(1), cuts: Vec::new(), writable: Vec::new() }).unwrap();
    world.record(&home.log, &NodeId("127.0.0.1:1~none".into()), 1, RecordState::Live, Vec::new());
    until("it is away", || a.metrics.subscriptions.get() == 0).await;
    (2..4).for_each(|index| home.make_part(2, index));
    world.record(&home.log, &a.id, 1, RecordState::Live, Vec::new());
    let slots = read(&mut reader, 83).await;
    assert_eq!(slots, (60..84).collect::<Vec<_>>());
}
