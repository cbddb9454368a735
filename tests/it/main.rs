//! The one integration binary. Its modules drive Paceline from outside, on real parts wherever a real part can be had:
//! engine, command line, HTTP, cluster.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod allocations;
mod scripted_broker;
mod status_writer;
mod story;
mod world;

mod aggregation;
mod cli_doctor;
mod cli_errors;
mod cli_recommend;
mod config;
mod decision_view;
mod demo;
mod end_to_end;
mod engine;
mod engine_invariants;
mod engine_memory;
mod engine_unknown;
mod external_metrics;
mod image;
mod kafka_addresses;
mod kafka_cluster;
mod kafka_credentials;
mod kafka_hostile;
mod kafka_kinds;
mod kafka_limits;
mod kafka_mock;
mod kafka_old;
mod kafka_oracle;
mod kafka_outages;
mod kafka_poller;
mod kafka_quirks;
mod kafka_real;
mod kafka_wire;
mod kubernetes;
mod kubernetes_credentials;
mod kubernetes_memory;
mod kubernetes_metrics_mode;
mod kubernetes_supervision;
mod kubernetes_workloads;
mod lag;
mod leadership;
mod manifests;
mod mock_ffi;
mod native_hpa;
mod replay;
mod simulate;
mod tidy;
mod time_lag;
mod time_lag_invariants;
mod workers;
mod world_smoke;
