//! The integration tests: Paceline's features, on real parts wherever a real part can be had.

#![allow(clippy::unwrap_used)]

mod config;
