//! The dashboards in manifests/grafana: that Grafana takes them, that they are what their generator makes, and that their
//! expressions return data.

mod files;
mod prometheus;
pub(crate) mod promql;
mod running;
