//! A slow way to a host: a relay that delays what it passes on, or lets it trickle, and counts the turns.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How a relay passes bytes on.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How much later each byte comes out, each way.
    pub delay: Duration,
    /// The most bytes at once, and the pause after them.
    pub trickle: Option<(usize, Duration)>,
}

/// A relay in front of one address. It lives as long as the process.
pub struct Relay {
    pub port: u16,
    turns: Arc<AtomicUsize>,
}

impl Relay {
    /// Opens a relay.
    pub fn to(address: &str, pace: Pace) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("its address").port();
        let turns = Arc::new(AtomicUsize::new(0));
        let (address, counted) = (address.to_owned(), turns.clone());
        std::thread::spawn(move || {
            for caller in listener.incoming() {
                let caller = caller.expect("a caller");
                let host = TcpStream::connect((address.as_str(), 22)).expect("the host listens");
                // Who spoke last: 1 is the caller, 2 the host. A turn is the caller speaking after the host did.
                let last = Arc::new(AtomicUsize::new(2));
                pass(
                    &caller,
                    &host,
                    pace,
                    Speaker {
                        me: 1,
                        last: last.clone(),
                        turns: counted.clone(),
                    },
                );
                pass(
                    &host,
                    &caller,
                    pace,
                    Speaker {
                        me: 2,
                        last,
                        turns: counted.clone(),
                    },
                );
            }
        });
        Self { port, turns }
    }

    /// Returns how often the caller has spoken after the host since the last time, which bounds the round trips from above.
    pub fn turns(&self) -> usize {
        self.turns.swap(0, Ordering::Relaxed)
    }
}

struct Speaker {
    me: usize,
    last: Arc<AtomicUsize>,
    turns: Arc<AtomicUsize>,
}

impl Speaker {
    fn speaks(&self) {
        if self.last.swap(self.me, Ordering::Relaxed) != self.me && self.me == 1 {
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Passes one direction on: one thread reads, another writes what has been on its way for long enough.
fn pass(from: &TcpStream, to: &TcpStream, pace: Pace, speaker: Speaker) {
    let clone = |stream: &TcpStream| stream.try_clone().expect("a second handle");
    let (mut from, mut to) = (clone(from), clone(to));
    // An idle line must not add delays of its own.
    to.set_nodelay(true).expect("an option of TCP");
    let (sender, receiver) = channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(size @ 1..) = from.read(&mut buffer) {
            speaker.speaks();
            if sender
                .send((Instant::now() + pace.delay, buffer[..size].to_vec()))
                .is_err()
            {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, bytes) in receiver {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let (size, pause) = pace.trickle.unwrap_or((bytes.len(), Duration::ZERO));
            for piece in bytes.chunks(size) {
                if to.write_all(piece).is_err() {
                    return;
                }
                std::thread::sleep(pause);
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
