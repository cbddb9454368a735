//! Clients that mean harm, beside an API server that is answered all the while.

use std::time::Duration;

use paceline::serve::external_metrics::ResponseClass;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{USER, V1BETA1, get, snapshot};
use super::stage::{DEADLINE, Stage};
use crate::world::{equal, wait_for};

/// Reads until the other end closes; what came.
async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
    // However it is closed, with a TLS close_notify or without.
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_takes_too_long_is_closed_and_an_open_connection_may_be_idle() {
    let stage = Stage::start().await;
    let mut kept = stage.connect(Some(&stage.api_server)).await.unwrap();
    let mut silent = TcpStream::connect(stage.address).await.unwrap();
    let slow = TcpStream::connect(stage.address).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(slow);
    // The head of a long record, whose bytes come one by one.
    writer.write_all(&[0x16, 0x03, 0x01, 0x40, 0x00]).await.unwrap();
    let trickle = async {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::timeout(Duration::from_millis(200), std::future::pending::<()>()).await.unwrap_err();
        }
        std::future::pending().await
    };
    tokio::select! {
        _ = async { tokio::join!(read_to_end(&mut reader), read_to_end(&mut silent)) } => {}
        () = trickle => unreachable!("only the reader ends"),
    }
    assert_eq!(kept.ask(get("/apis", &[USER])).await.unwrap().0, 200, "an open connection may be idle");
    wait_for("only the open one is left", DEADLINE, || async {
        let counters = &stage.counters;
        equal(&(counters.open_connections(), counters.pending_handshakes()), &(1, 0))
    })
    .await;
}

/// Begins a request that never ends.
async fn slow_start<S: AsyncWriteExt + Unpin>(stream: &mut S) {
    stream.write_all(b"GET /apis HTTP/1.1\r\nX-Slow: ").await.unwrap();
    stream.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_silent_connections_do_not_keep_the_api_server_out() {
    // As many as the process may have open on both ends, less what everything else needs.
    const HOSTILE: usize = 2_500;
    let stage = Stage::start().await;
    stage.insert("shop", "orders", snapshot(7));
    let path = format!("{V1BETA1}/namespaces/shop/paceline_desired_replicas");
    let mut kept = stage.connect_2(Some(&stage.api_server)).await.unwrap();
    let mut hostile = Vec::new();
    for i in 0..HOSTILE {
        hostile.push(TcpStream::connect(stage.address).await.unwrap());
        if i % 50 == 0 {
            assert_eq!(kept.ask(get(&path, &[USER])).await.unwrap().0, 200, "on a kept connection, at {i}");
            assert_eq!(stage.get(&path).await.0, 200, "on a new connection, at {i}");
        }
        assert!(stage.counters.pending_handshakes() <= 512);
    }
    assert_eq!(stage.counters.requests(ResponseClass::Served), 2 * (HOSTILE as u64).div_ceil(50));
    read_to_end(&mut hostile[0]).await;
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
    let mut slow = stage.handshake(Some(&stage.api_server), b"http/1.1").await.unwrap();
    slow_start(&mut slow).await;
    stage.stop.cancel();
    let ended = tokio::time::timeout(DEADLINE, &mut stage.server).await.expect("the server does not end");
    assert!(ended.unwrap().is_ok());
    assert!(stage.connect(None).await.is_err());
    assert!(one.ask(get("/apis", &[USER])).await.is_err());
    drop(silent);
}
