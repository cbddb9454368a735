//! `/metrics` from outside: over HTTP from a registry that was filled by decisions, from a running controller, and against
//! docs/metrics.md.

mod counters;
mod documented;
mod registry;
mod running;
mod scrape;
mod series;
