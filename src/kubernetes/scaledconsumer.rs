//! The ScaledConsumer: its schema, what makes sense of one, where it comes from and its status.

pub mod manifest;
pub mod resource;
pub mod status;
pub mod validate;
pub mod watch;
