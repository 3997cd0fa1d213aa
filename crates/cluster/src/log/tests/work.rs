//! Workers on other nodes, and connections with certificates.

use headwater_media::*;
use headwater_router::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::player::Player;
use super::world::*;
use crate::{Tls, TlsFiles};

fn job(home: &Home, waking: u64) -> Job {
    Job {
        stream: show(),
        session: home.log.session().id,
        epoch: home.epoch,
        waking,
        gears: [gear()].into(),
        standby: None,
        audio: [].into(),
    }
}

/// Architecture 5: a job that is made elsewhere, with what its worker reads and where its parts go.
#[tokio::test]
async fn what_a_worker_elsewhere_makes_is_the_homes_and_everybodys() {
    let world = World::new();
    let nodes = [Node::start(&world).await, Node::start(&world).await, Node::start(&world).await];
    let [a, b, c] = &nodes;
    let log = a.log.open(session(1));
    world.record(&log, &a.id, 1, RecordState::Live, Vec::new());
    let home = Home::new(&world, log, 1);
    home.append(Item::Cut(cut(1)));
    (0..3).for_each(|index| home.append(part_end(1, index)));
    // Nobody watches yet.
    assert!(matches!(b.log.write(JobId(1), &job(&home, 1)).await, Err(NoWriter::Over)));
    home.log.watched(world.clock.now());
    let writer = b.log.write(JobId(1), &job(&home, 1)).await.expect("it gets its turns");
    assert!(writer.log().is_replica() && writer.has(&gear().name));
    assert_eq!((writer.next_part(&gear().name), writer.begins()), (None, MediaSequence(1)));
    let mut samples = writer.log().read_samples_for(writer.begins());
    assert!(matches!(timeout(PATIENCE, samples.next()).await.unwrap(), Ok(Item::Cut(_))));

    let mut player = Player::new(&c.log.find(&show()).await.unwrap(), &gear().name);
    for index in 0..2 {
        assert_eq!(writer.put_part(&gear().name, part(1, index, world.clock.now())).await, PutOutcome::Put);
    }
    player.sees("1+2").await;
    // The home gives the turn to somebody else.
    let mut lost = writer.lost();
    let here = a.log.write(JobId(1), &job(&home, 1)).await.unwrap();
    assert_eq!(here.next_part(&gear().name), Some((MediaSequence(1), PartIndex(2))));
    assert_eq!(here.put_part(&gear().name, part(1, 2, world.clock.now())).await, PutOutcome::Put);
    writer.put_part(&gear().name, part(1, 2, world.clock.now())).await;
    timeout(PATIENCE, lost.wait_for(|lost| *lost)).await.expect("it is told").unwrap();
    player.sees("1+3").await;
}

/// Files of a node on loopback whose certificate an authority has signed, which is new each time.
fn certificates(name: &str) -> Tls {
    let folder = std::env::temp_dir().join(format!("headwater-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = TlsFiles {
        ca: file("ca.pem", authority.pem()),
        certificate: file("node.pem", certificate.pem()),
        key: file("node.key", key.serialize_pem()),
    };
    let tls = Tls::read(&files).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    tls
}

#[tokio::test]
async fn nodes_with_certificates_follow_each_other_and_nobody_else_can() {
    let world = World::new();
    let tls = certificates("ours");
    let node = async |tls: Option<Tls>| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let id = NodeId(format!("{}~1", listener.local_addr().unwrap()));
        Node::known_as(&world, listener, Limits::default(), id, tls)
    };
    let (a, b) = (node(Some(tls.clone())).await, node(Some(tls)).await);
    let home = Home::begin(&world, &a);
    home.make(1..=2, 3);
    let mut player = Player::new(&b.log.find(&show()).await.unwrap(), &source());
    player.sees("1 2+3").await;
    // One of another cluster, and one without any.
    for stranger in [node(Some(certificates("others"))).await, node(None).await] {
        assert!(stranger.log.find(&show()).await.is_none());
        assert!(stranger.metrics.reconnects.get() > 0);
    }
    assert_eq!(a.metrics.subscriptions.get(), 1);
}
