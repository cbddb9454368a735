//! The ScaledConsumer: its schema, its validation, where it comes from and its status.

pub mod manifest;
mod memory;
mod resource;
mod status;
mod validate;
mod watch;

pub use memory::{PackedMemoryError, pack_memory, unpack_memory};
pub use resource::{
    CHANGES_KEPT, LONGEST_MEMORY, Mode, PAUSED, PAUSED_REPLICAS, PastChange, ScaledConsumer, ScaledConsumerSpec,
    ScaledConsumerStatus, SourceStatus, WHAT_IF_KEPT, crd, crd_yaml,
};
pub use status::{difference, write_status};
pub use validate::{
    ClusterRef, ConnectRef, InlineCluster, InvalidConsumer, Validated, ValidatedSource, ValidatedSources, validate,
};
pub use watch::{Change, LoadedConsumer, RESOURCE, Record, watch};
