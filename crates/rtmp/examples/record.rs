//! Takes one publisher and writes down every byte that it sends: `record ADDR FILE`. The captures in `src/testdata`
//! were made with it.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a tool for developers: it prints and has a clock"
)]

use std::io::{Read, Write};
use std::net::TcpListener;

use headwater_media::Instant;
use headwater_rtmp::{Event, ServerConfig, ServerSession};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err("usage: record ADDR FILE".into());
    };
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let (mut socket, _) = listener.accept()?;
    let mut file = std::fs::File::create(path)?;

    let start = std::time::Instant::now();
    let now = || Instant::from_nanos(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut session = ServerSession::new(now(), ServerConfig::default(), 1);
    let mut buffer = [0; 65_536];
    let mut counts = [0; 3];
    loop {
        while let Some(event) = session.poll_event() {
            match event {
                Event::ConnectRequest(request) => {
                    println!("{request:?}");
                    session.accept_connect(now())?;
                }
                Event::PublishRequest(request) => {
                    println!("{request:?}");
                    session.accept_publish(now(), request.id)?;
                }
                Event::Audio(_) => counts[0] += 1,
                Event::Video(_) => counts[1] += 1,
                Event::Data(_) => counts[2] += 1,
                Event::MessageStart(_) => {}
                event => println!("{event:?}"),
            }
        }
        while let Some(bytes) = session.poll_transmit() {
            // A publisher that has closed still has bytes on their way to us.
            let _ = socket.write_all(&bytes);
        }
        match socket.read(&mut buffer) {
            Ok(length @ 1..) => {
                file.write_all(&buffer[..length])?;
                session.handle_input(now(), &buffer[..length])?;
            }
            _ => break,
        }
    }
    println!("audio, video, data: {counts:?}; {:?}", session.statistics());
    Ok(())
}
