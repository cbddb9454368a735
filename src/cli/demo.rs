//! `paceline demo`: the parameters, from an embedded ScaledConsumer that is read as any other.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::manifests;
use super::outcome::{Outcome, WrongInput};
use super::process::runtime;
use crate::config::check_page_address;
use crate::core::{Bounds, Policy, Rule, TopicSelection, grouped, parse_duration, short};
use crate::demo::{DemoSettings, SineLoad, run as play};
use crate::kubernetes::scaledconsumer::manifest;
use crate::yaml::Source;

const EXAMPLES: &str = "Examples:
  Until Ctrl-C, with the page in a browser:
    paceline demo --open
  Two minutes, then a summary:
    paceline demo --for 2m";

/// What `demo` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DemoArguments {
    /// End after this time with a summary; otherwise Ctrl-C ends it.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    span: Option<Duration>,
    /// A ScaledConsumer to demonstrate instead of the embedded one. Its group and topics are made on the embedded broker.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Where the page is served; a free port by default. Only a loopback address is allowed.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", value_parser = page_address)]
    page: SocketAddr,
    /// Open the page in a browser.
    #[arg(long)]
    open: bool,
}

fn page_address(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().map_err(|_| "it must be an IP address and a port, such as 127.0.0.1:8484".to_owned())?;
    check_page_address(address)?;
    Ok(address)
}

const EMBEDDED: &str = include_str!("../../config/demo.yaml");

const PARTITIONS: u16 = 12;
/// In records/s.
const CAPACITY: u32 = 100;
const LOAD: SineLoad = SineLoad { low: 200.0, high: 900.0, period: Duration::from_secs(120) };
/// About what a small service takes from the start of its container to joining its group.
const START_DELAY: Duration = Duration::from_secs(3);
/// Slow enough to read the rows, fast enough for a demo of a minute.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

pub(super) fn run(arguments: &DemoArguments) -> anyhow::Result<Outcome> {
    let parameters = parameters(arguments)?;
    runtime()?.block_on(async {
        let (mut interrupt, mut terminate, mut hangup) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        let end = async {
            let over = async {
                match arguments.span {
                    Some(span) => tokio::time::sleep(span).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => {}
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        };
        play(&parameters, end).await
    })?;
    Ok(Outcome::Fine)
}

fn parameters(arguments: &DemoArguments) -> anyhow::Result<DemoSettings> {
    let consumer = match &arguments.file {
        Some(file) => manifests::read(std::slice::from_ref(file))?.consumers.into_iter().next(),
        None => {
            let source = Source { name: "the embedded config/demo.yaml".to_owned(), text: EMBEDDED.to_owned() };
            manifest::parse(&source)?.consumers.into_iter().next()
        }
    };
    let spec = consumer.context("No ScaledConsumer to demonstrate")?;
    let topics = match &spec.query.topics {
        TopicSelection::Named(topics) => topics.clone(),
        TopicSelection::Pattern(_) | TopicSelection::OfGroup => {
            let why = "The demo makes the topics that the manifest names: give spec.kafka.topics";
            return Err(WrongInput(why.to_owned()).into());
        }
    };
    let executable = std::env::current_exe().context("Can't find this executable, which is also the worker")?;
    Ok(DemoSettings {
        introduction: introduction(&spec.policy, &topics),
        topics,
        partitions: PARTITIONS,
        load: LOAD,
        capacity: CAPACITY,
        start_delay: START_DELAY,
        poll_interval: POLL_INTERVAL,
        spec,
        executable,
        page: arguments.page,
        open: arguments.open,
    })
}

fn introduction(policy: &Policy, topics: &[String]) -> Vec<String> {
    let SineLoad { low, high, period } = LOAD;
    let rule = match policy.rule {
        Rule::TimeLag(objective) => format!("a time lag of {} at most", short(objective.time_lag())),
        Rule::LagPerReplica(threshold) => format!("one replica per {} records of lag", grouped(threshold.get())),
    };
    vec![
        format!(
            "An embedded Kafka broker with topic {} of {PARTITIONS} partitions; no cluster is needed.",
            topics.join(", ")
        ),
        format!("Producer  from {low} to {high} records/s and back, every {}.", short(period)),
        format!(
            "Replicas  real consumer processes of {CAPACITY} records/s each, which take {} to start.",
            short(START_DELAY)
        ),
        format!("Rule      {rule}, {}.", range(policy.bounds)),
        "The same code as in a cluster polls and decides; only starting and stopping processes is the demo's own."
            .to_owned(),
        "Ctrl-C ends it and prints a summary.".to_owned(),
    ]
}

fn range(bounds: Bounds) -> String {
    match bounds.max() {
        Some(max) => format!("from {} to {max}", bounds.min().0),
        None => format!("at least {}", bounds.min().0),
    }
}
