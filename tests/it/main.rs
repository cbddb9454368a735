//! The one integration binary. Its modules drive Paceline from outside: engine, command line, HTTP, cluster.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod config;
mod engine;
mod engine_invariants;
mod lag;
mod story;
