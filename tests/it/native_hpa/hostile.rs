//! e. A hostile pod gets nothing, and what the HPA reads comes through all the while.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

/// As many as one process may open here beside its other files.
const CONNECTIONS: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_silent_connections_do_not_disturb_what_the_hpa_reads() {
    let (kafka, cluster) = world();
    let (adapter, client) = Adapter::with_orders(kafka, cluster, "hostile", 1).await;

    let (opened, done, port) = (AtomicUsize::new(0), AtomicBool::new(false), adapter.port);
    let attack = async {
        tokio::task::block_in_place(|| {
            let mut held = Vec::new();
            for number in 0..CONNECTIONS {
                let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                match number % 3 {
                    // Silent, a slow one, and plain HTTP.
                    0 => {}
                    1 => drop(stream.write_all(&[0x16, 0x03])),
                    _ => drop(stream.write_all(b"GET /apis HTTP/1.1\r\nHost: x\r\nX-Remote-User: admin\r\n\r\n")),
                }
                opened.fetch_add(1, Ordering::Relaxed);
                held.push(stream);
            }
            // Whatever comes back is TLS' own end, and no HTTP.
            for stream in held.iter_mut().rev().take(200) {
                let mut answer = Vec::new();
                stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                let _ = stream.read_to_end(&mut answer);
                assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
            }
        });
        done.store(true, Ordering::Relaxed);
    };
    let read = async {
        let mut read = 0;
        while !done.load(Ordering::Relaxed) || read < 100 {
            let answer = adapter.value(&client, "paceline_lag_records", "orders").await;
            assert_eq!(
                answer.as_deref(),
                Ok("10"),
                "after {read} reads and {} connections",
                opened.load(Ordering::Relaxed)
            );
            read += 1;
        }
        read
    };
    let ((), read) = tokio::join!(attack, read);
    let opened = opened.into_inner();
    eprintln!("{read} reads beside {opened} hostile connections.");
    assert!(opened > CONNECTIONS / 2, "{opened}");
    adapter.is_available().await.expect("the APIService stays available");
    assert!(adapter.controller.stop().success());
}
