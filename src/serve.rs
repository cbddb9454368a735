//! What the controller serves over HTTP: health and metrics on one port, the external metrics
//! API on another, the page and its JSON on a third.

mod accept;
pub mod external_metrics;
mod listen;
pub mod metrics;
pub mod page;
pub mod web;

pub use listen::listen;
