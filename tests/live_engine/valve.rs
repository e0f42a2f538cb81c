//! A way to a registry that stops in the middle when a test wants it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A way to an address by another one. Ends with the test's process.
pub struct Valve {
    /// `ADDRESS:PORT` of its own.
    pub name: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// How much may come through in all.
    limit: AtomicU64,
    passed: AtomicU64,
    is_cut: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Valve {
    /// Opens a way to an address.
    pub fn to(registry: &str) -> Self {
        let (own, _) = registry.rsplit_once(':').expect("a port");
        let listener = TcpListener::bind((own, 0)).expect("a free port");
        let name = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(State::default());
        state.limit.store(u64::MAX, Ordering::SeqCst);
        let (registry, shared) = (registry.to_owned(), Arc::clone(&state));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (registry, state) = (registry.clone(), Arc::clone(&shared));
                std::thread::spawn(move || state.serve(client, &registry));
            }
        });
        Self { name, state }
    }

    /// Lets so much through from now on, and holds the rest.
    pub fn hold_after(&self, bytes: u64) {
        let passed = self.state.passed.load(Ordering::SeqCst);
        self.state.limit.store(passed + bytes, Ordering::SeqCst);
    }

    /// Says whether something is held.
    pub fn is_holding(&self) -> bool {
        self.state.passed.load(Ordering::SeqCst) >= self.state.limit.load(Ordering::SeqCst)
    }

    /// Ends all connections, and takes none until it is opened.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
        for stream in self.state.open.lock().expect("nobody panics").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets everything through.
    pub fn open(&self) {
        self.state.limit.store(u64::MAX, Ordering::SeqCst);
        self.state.is_cut.store(false, Ordering::SeqCst);
    }
}

impl State {
    fn serve(&self, client: TcpStream, registry: &str) {
        if self.is_cut.load(Ordering::SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect(registry) else {
            return;
        };
        let both = [&client, &server].map(|stream| stream.try_clone().expect("a handle"));
        self.open.lock().expect("nobody panics").extend(both);
        let up = [&client, &server].map(|stream| stream.try_clone().expect("a handle"));
        std::thread::spawn(move || {
            let [mut from, mut to] = up;
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        self.bring(server, client);
    }

    fn bring(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut part = [0; 65536];
        while let Ok(count) = from.read(&mut part) {
            while self.passed.load(Ordering::SeqCst) >= self.limit.load(Ordering::SeqCst) {
                if self.is_cut.load(Ordering::SeqCst) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            if count == 0 || to.write_all(&part[..count]).is_err() {
                break;
            }
            self.passed.fetch_add(count as u64, Ordering::SeqCst);
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}
