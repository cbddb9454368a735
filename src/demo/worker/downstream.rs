//! A client of a limit that several workers share, such as a database with so many writes a second: each takes tokens
//! before it processes records. Knows nothing of Kafka.
//!
//! The protocol is minimal: the client sends a byte, the number of tokens, and the server returns the same byte once
//! they are granted.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::stop::{STOP_CHECK, StopSignal};

/// Tokens per request: a tenth of a second of an ordinary worker. So a waiting worker holds few that another could use,
/// and a fast one does not send a request for every record.
const BATCH: u8 = 10;
/// Time-out of connecting; the server is on this machine or near it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to the server, and the tokens granted so far.
pub(super) struct DownstreamClient {
    stream: TcpStream,
    tokens: u8,
}

impl DownstreamClient {
    pub(super) fn connect(address: &str) -> anyhow::Result<Self> {
        let what = || format!("Can't reach the downstream at {address}");
        let resolved = std::net::ToSocketAddrs::to_socket_addrs(address).with_context(what)?;
        let first = resolved.into_iter().next().context("it has no address").with_context(what)?;
        let stream = TcpStream::connect_timeout(&first, CONNECT_TIMEOUT).with_context(what)?;
        stream.set_nodelay(true)?;
        // So that a stop request is noticed while others take all tokens.
        stream.set_read_timeout(Some(STOP_CHECK))?;
        Ok(Self { stream, tokens: 0 })
    }

    /// Takes one token; false where a stop was requested before.
    pub(super) fn take(&mut self, stop: &StopSignal) -> anyhow::Result<bool> {
        if self.tokens == 0 {
            self.stream.write_all(&[BATCH]).context("The downstream is gone")?;
            let mut answer = [0];
            loop {
                match self.stream.read(&mut answer) {
                    Ok(read) => {
                        ensure!(read == 1 && answer == [BATCH], "The downstream ended the connection");
                        self.tokens = BATCH;
                        break;
                    }
                    Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                        if stop.requested() {
                            return Ok(false);
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error).context("The downstream is gone"),
                }
            }
        }
        self.tokens -= 1;
        Ok(true)
    }
}
