//! What the server stands, from those who mean harm, while the API server goes on to be answered.

use std::time::Duration;

use paceline::serve::external_metrics::counters::Class;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{USER, V1BETA1, get, notice};
use super::stage::{DEADLINE, Stage};
use crate::world::{equal, wait_for};

/// Reads until the other end closes; what came.
async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
    // However it is closed, with a goodbye or without.
    let _ = ended.expect("the connection is not closed");
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_speaks_no_tls_is_told_nothing() {
    let stage = Stage::start().await;
    for said in
        ["GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", "\0\0\0\0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-x\r\n"]
    {
        let mut stream = TcpStream::connect(stage.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let heard = read_to_end(&mut stream).await;
        assert!(heard.len() <= 7, "at most a TLS alert: {said:?} {heard:?}");
    }
    assert_eq!(stage.get("/apis").await.0, 200);
    assert_eq!(stage.counters.failed_handshakes(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sends_a_byte_now_and_then_is_shown_out() {
    let stage = Stage::start().await;
    let mut silent = TcpStream::connect(stage.address).await.unwrap();
    let mut slow = stage.shake_hands(None, b"http/1.1").await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(slow_start(&mut slow).await);
    let trickle = async {
        loop {
            if writer.write_all(b"x").await.is_err() || writer.flush().await.is_err() {
                return;
            }
            tokio::time::timeout(Duration::from_millis(200), std::future::pending::<()>()).await.unwrap_err();
        }
    };
    let mut kept = stage.connect(Some(&stage.api_server)).await.unwrap();
    let ended = async { tokio::join!(read_to_end(&mut reader), read_to_end(&mut silent)) };
    let (heard, _) = tokio::select! {
        ended = ended => ended,
        () = async { trickle.await; std::future::pending().await } => unreachable!("only the reader ends"),
    };
    assert!(!String::from_utf8_lossy(&heard).contains("200"), "{heard:?}");
    assert_eq!(kept.ask(get("/apis", &[USER])).await.unwrap().0, 200, "who is believed may be silent");
    wait_for("only the believed one is left", DEADLINE, || async {
        let counters = &stage.counters;
        equal(&(counters.trusted_connections(), counters.untrusted_connections()), &(1, 0))
    })
    .await;
}

/// Begins a request that never ends.
async fn slow_start<S: AsyncWriteExt + Unpin>(stream: &mut S) -> &mut S {
    stream.write_all(b"GET /livez HTTP/1.1\r\nX-Slow: ").await.unwrap();
    stream.flush().await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_silent_connections_do_not_keep_the_api_server_out() {
    // As many as the process may have open on both ends, less what everything else needs.
    const HOSTILE: usize = 2_500;
    let stage = Stage::start().await;
    stage.board.post("shop", "orders", notice("orders", 7.0));
    let path = format!("{V1BETA1}/namespaces/shop/paceline_desired_replicas");
    let mut kept = stage.connect_2(Some(&stage.api_server)).await.unwrap();
    let mut hostile = Vec::new();
    for i in 0..HOSTILE {
        hostile.push(TcpStream::connect(stage.address).await.unwrap());
        if i % 50 == 0 {
            assert_eq!(kept.ask(get(&path, &[USER])).await.unwrap().0, 200, "on a kept connection, at {i}");
            assert_eq!(stage.get(&path).await.0, 200, "on a new connection, at {i}");
        }
        assert!(stage.counters.untrusted_connections() <= 512);
    }
    assert_eq!(stage.counters.requests(Class::Served), 2 * (HOSTILE as u64).div_ceil(50));
    wait_for("the oldest had to go", DEADLINE, || async {
        Some(()).filter(|()| stage.counters.evicted_connections() >= HOSTILE as u64 - 512).ok_or("too few")
    })
    .await;
    read_to_end(&mut hostile[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_crowds_out_its_own_connections_first() {
    let stage = Stage::start().await;
    let mut quiet = TcpStream::connect(stage.address).await.unwrap();
    let mut hostile = Vec::new();
    for _ in 0..600 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        hostile.push(socket.connect(stage.address).await.unwrap());
    }
    wait_for("some had to go", DEADLINE, || async {
        Some(()).filter(|()| stage.counters.evicted_connections() >= 89).ok_or("too few")
    })
    .await;
    read_to_end(&mut hostile[0]).await;
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_millis(1), quiet.read(&mut byte)).await;
    assert!(read.is_err(), "the older one of another address is still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_of_anything_is_refused() {
    let stage = Stage::start().await;
    let big = "x".repeat(40_000);
    let rows = [
        ("a header", get("/apis", &[USER, ("x-big", &big)])),
        ("a path", get(&format!("/{big}"), &[USER])),
        ("a query", get(&format!("/apis?{big}"), &[USER])),
    ];
    for (name, request) in rows {
        for version in [1, 2] {
            let identity = Some(&stage.api_server);
            let mut connection = match version {
                1 => stage.connect(identity).await.unwrap(),
                _ => stage.connect_2(identity).await.unwrap(),
            };
            let answer = connection.ask(request.clone()).await;
            // HTTP/2 may end the connection instead.
            assert!(answer.as_ref().map_or(version == 2, |(code, ..)| (400..500).contains(code)), "{name}: {answer:?}");
        }
    }
    assert_eq!(stage.get("/apis").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_no_new_connection_is_taken_and_the_open_ones_end() {
    let mut stage = Stage::start().await;
    let mut one = stage.connect(Some(&stage.api_server)).await.unwrap();
    let mut two = stage.connect_2(Some(&stage.api_server)).await.unwrap();
    for connection in [&mut one, &mut two] {
        assert_eq!(connection.ask(get("/apis", &[USER])).await.unwrap().0, 200);
    }
    // One that says nothing, and one that never ends its request.
    let silent = TcpStream::connect(stage.address).await.unwrap();
    let mut slow = stage.shake_hands(Some(&stage.api_server), b"http/1.1").await.unwrap();
    slow_start(&mut slow).await;
    stage.stop.cancel();
    let ended = tokio::time::timeout(DEADLINE, &mut stage.server).await.expect("the server does not end");
    assert!(ended.unwrap().is_ok());
    assert!(stage.connect(None).await.is_err());
    assert!(one.ask(get("/apis", &[USER])).await.is_err());
    drop(silent);
}
