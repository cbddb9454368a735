//! What consumers share, such as a database with so many writes a second: it hands out so many tokens a second to whoever
//! connects, in the order of asking. A byte asks for so many tokens, and the same byte comes back once they are given.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A token bucket on a port of 127.0.0.1. It serves until the test binary ends.
pub(crate) struct Downstream {
    address: String,
    schedule: Arc<Mutex<Schedule>>,
}

/// What may be saved up while nobody asks.
const BURST: Duration = Duration::from_millis(100);

/// A bucket as a schedule: each asker's tokens are due after those of all who asked before.
struct Schedule {
    per_token: Duration,
    next: Instant,
}

impl Schedule {
    fn reserve(&mut self, tokens: u8) -> Instant {
        let now = Instant::now();
        self.next = self.next.max(now.checked_sub(BURST).unwrap_or(now)) + self.per_token * u32::from(tokens);
        self.next
    }
}

impl Downstream {
    /// So many tokens a second for all together.
    pub(crate) fn start(rate: f64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let schedule = Arc::new(Mutex::new(Schedule { per_token: per_token(rate), next: Instant::now() }));
        let served = Arc::clone(&schedule);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let schedule = Arc::clone(&served);
                std::thread::spawn(move || serve(stream, &schedule));
            }
        });
        Self { address, schedule }
    }

    /// Goes on with so many tokens a second.
    pub(crate) fn set_rate(&self, rate: f64) {
        self.schedule.lock().expect("nothing panics while it holds the schedule").per_token = per_token(rate);
    }

    /// For the workers' `--downstream`.
    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }
}

fn per_token(rate: f64) -> Duration {
    Duration::from_secs_f64(1.0 / rate)
}

fn serve(mut stream: TcpStream, schedule: &Mutex<Schedule>) {
    let _ = stream.set_nodelay(true);
    let mut asked = [0];
    while stream.read_exact(&mut asked).is_ok() {
        let due = schedule.lock().expect("nothing panics while it holds the schedule").reserve(asked[0]);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if stream.write_all(&asked).is_err() {
            return;
        }
    }
}
