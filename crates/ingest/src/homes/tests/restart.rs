//! Sessions of an earlier process.

use super::*;

/// Architecture 8, unsealed takeover, and invariants 2 and 3 of section 10.
#[tokio::test(start_paused = true)]
async fn a_restarted_server_goes_on_with_the_session_above_all_numbers_that_were_used() {
    let registry = Arc::new(EmbeddedRegistry::new(NodeId("test".into())));
    let first = Server::start(&registry);
    let hold = first.publish(0).await.unwrap();
    play(&first, &hold, 5).await;
    assert_eq!(listed(&first).await, ["c1+0", "p1", "c2+0", "p2", "c3+0", "p3"]);
    let session = hold.home.session();
    let record = registry.record(&stream()).unwrap();
    assert_eq!((record.epoch, record.reserved), (Epoch(1), MediaSequence(5)));
    assert_eq!(record.outline.unwrap().cuts.len(), 3);
    first.crash();

    // Twice: nobody came back to the second server.
    let second = Server::start(&registry);
    second.homes.resume(&second.settings).await;
    second.crash();
    let third = Server::start(&registry);
    third.homes.resume(&third.settings).await;
    let log = third.log.find(&stream()).await.unwrap();
    assert_eq!(log.state().borrow().state, State::Waiting);
    assert_eq!(listed(&third).await, ["g4", "c5+1"]);
    sleep(Duration::from_secs(30)).await;
    let hold = third.publish(0).await.unwrap();
    assert_eq!((hold.home.session(), third.epoch()), (session, Some(2)));
    play(&third, &hold, 3).await;
    assert_eq!(listed(&third).await, ["g4", "c5+1", "p5", "c6+1", "p6"]);
    let record = registry.record(&stream()).unwrap();
    assert_eq!((record.session, record.reserved), (session, MediaSequence(8)));
    let recorded: Vec<u64> = record.outline.unwrap().cuts.iter().map(|cut| cut.msn.0).collect();
    assert_eq!(recorded, [1, 2, 3, 4, 5, 6]);
    // The one who left comes back while nothing was lost: it goes on without a gap.
    third.homes.release(&hold, Ending::Lost);
    let hold = third.publish(0).await.unwrap();
    play(&third, &hold, 1).await;
    assert_eq!(listed(&third).await, ["g4", "c5+1", "p5", "c6+1", "p6", "c7+2", "p7"]);
}

/// the first part that the second server makes is whole, however late the track is.
#[tokio::test(start_paused = true)]
async fn a_restarted_server_goes_on_with_the_tracks_that_are_the_ladder() {
    let registry = Arc::new(EmbeddedRegistry::new(NodeId("test".into())));
    let first = Server::start(&registry);
    let hold = first.publish(0).await.unwrap();
    play_tracks(&first, &hold, 5, Some(0)).await;
    let track = RenditionName::new("track-1").unwrap();
    assert_eq!(listed_of(&first, &track).await, ["c1+0", "p1", "c2+0", "p2", "c3+0", "p3"]);
    first.crash();

    let second = Server::start(&registry);
    second.homes.resume(&second.settings).await;
    let hold = second.publish(0).await.unwrap();
    play_tracks(&second, &hold, 3, Some(20)).await;
    for name in [RenditionName::source(), track] {
        assert_eq!(listed_of(&second, &name).await, ["g4", "c5+1", "p5", "c6+1", "p6"], "{name}");
    }
    // Each part of the track is as long as the source's.
    let log = second.log.find(&stream()).await.unwrap();
    let starts = |name: &str| {
        let mut reader = log.read_parts(&RenditionName::new(name).unwrap()).unwrap();
        let items = std::iter::from_fn(move || reader.try_next().ok().flatten());
        items
            .filter_map(|item| if let FeedItem::Part(part) = item { Some(part.start) } else { None })
            .collect::<Vec<_>>()
    };
    let (source, track) = (starts("source"), starts("track-1"));
    assert!(source.starts_with(&track) && track.len() > 5, "{source:?} {track:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_goes_on_with_ends_after_the_window() {
    let registry = Arc::new(EmbeddedRegistry::new(NodeId("test".into())));
    let first = Server::start(&registry);
    let hold = first.publish(0).await.unwrap();
    play(&first, &hold, 3).await;
    first.crash();

    let second = Server::start(&registry);
    second.homes.resume(&second.settings).await;
    let log = second.log.find(&stream()).await.unwrap();
    sleep(Duration::from_millis(59_900)).await;
    assert_eq!(log.state().borrow().state, State::Waiting);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(log.state().borrow().state, State::Ended);
    assert_eq!(registry.record(&stream()).unwrap().state, RecordState::Ended);
    assert!(registry.unfinished().await.unwrap().is_empty());
    let next = second.publish(0).await.unwrap();
    assert_ne!(next.home.session(), hold.home.session());
}

/// A server that was away for longer than the window, and a session that has no sample yet.
#[tokio::test(start_paused = true)]
async fn a_session_of_long_ago_is_over_at_the_start() {
    let registry = Arc::new(EmbeddedRegistry::new(NodeId("test".into())));
    let first = Server::start(&registry);
    let hold = first.publish(0).await.unwrap();
    first.crash();
    let second = Server::start(&registry);
    second.homes.resume(&second.settings).await;
    assert_eq!(registry.record(&stream()).unwrap().state, RecordState::Ended, "it has no cut");
    let again = second.publish(0).await.unwrap();
    assert_ne!(again.home.session(), hold.home.session());
    play(&second, &again, 3).await;
    second.crash();

    let third = Server::start(&registry);
    let settings = Settings { reconnect_window: Duration::ZERO, ..Settings::clone(&third.settings) };
    third.homes.resume(&Arc::new(settings)).await;
    assert_eq!(registry.record(&stream()).unwrap().state, RecordState::Ended);
    assert!(third.log.find(&stream()).await.is_none());
}

/// With SIGTERM and a state that outlives the process.
#[tokio::test(start_paused = true)]
async fn sessions_that_are_kept_do_not_end_when_the_server_stops() {
    let registry = Arc::new(EmbeddedRegistry::new(NodeId("test".into())));
    let first = Server::start(&registry);
    let hold = first.publish(0).await.unwrap();
    play(&first, &hold, 3).await;
    first.homes.stopping(Sessions::Keep);
    first.homes.release(&hold, Ending::Clean);
    sleep(Duration::from_secs(10)).await;
    first.homes.shut_down().await;
    let record = registry.record(&stream()).unwrap();
    assert_eq!((record.session, record.state), (hold.home.session(), RecordState::Live));

    let second = Server::start(&registry);
    second.homes.resume(&second.settings).await;
    let hold = second.publish(0).await.unwrap();
    assert_eq!(hold.home.session(), record.session);
    second.homes.stopping(Sessions::End);
    second.homes.shut_down().await;
    assert_eq!(registry.record(&stream()).unwrap().state, RecordState::Ended);
}
