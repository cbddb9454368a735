
pub mod cli;
pub mod config;
pub mod core;
pub mod demo;
pub mod kafka;
pub mod kubernetes;
pub mod steer;
pub mod yaml;
