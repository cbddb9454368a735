//! What is printed where a command is given nothing to do: how to begin, instead of all that there is.

use std::ffi::OsString;

/// Without any command.
const ALONE: &str = "\
Paceline scales Kafka consumers on Kubernetes by their lag. To begin:

  See it work, without Kafka and without a cluster:
    paceline demo
  Ask how many replicas each of your consumer groups needs; this changes nothing:
    paceline recommend --bootstrap-servers localhost:9092 --all

All commands: paceline help
";

/// `recommend` without anything to observe.
const RECOMMEND: &str = "\
Nothing says what to recommend replicas for. To begin:

  Every consumer group of a Kafka; --group orders takes one of them:
    paceline recommend --bootstrap-servers localhost:9092 --all
  The ScaledConsumers of a manifest, before it is applied:
    paceline recommend -f orders.yaml --bootstrap-servers localhost:9092

All options: paceline recommend --help
";

/// The text for these arguments, the program's name left out, where they give nothing to do.
pub(super) fn how_to_begin(arguments: &[OsString]) -> Option<&'static str> {
    match arguments {
        [] => Some(ALONE),
        [command] if command == "recommend" => Some(RECOMMEND),
        _ => None,
    }
}
