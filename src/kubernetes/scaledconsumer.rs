//! The ScaledConsumer: its schema, its validation, where it comes from and its status.

pub mod manifest;
mod resource;
mod status;
mod validate;
mod watch;

pub use resource::{
    CANDIDATES_KEPT, DECISIONS_KEPT, LONGEST_MEMORY, Mode, PAUSED, PAUSED_REPLICAS, PastDecision, ScaledConsumer,
    ScaledConsumerSpec, ScaledConsumerStatus, crd, crd_yaml,
};
pub use status::{difference, write_status};
pub use validate::{ClusterRef, InlineCluster, InvalidConsumer, Validated, validate};
pub use watch::{Change, LoadedConsumer, RESOURCE, Record, watch};
