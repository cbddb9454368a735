//! `paceline recommend` on a real Kafka and a real API server.
