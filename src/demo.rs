//! The demonstration: real consumers on an embedded broker, scaled by the same engine as everything else.

pub mod worker;
