//! `paceline demo`: the parameters, from an embedded ScaledConsumer that is read as any other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::manifests;
use super::outcome::{Outcome, WrongInput};
use super::process::runtime;
use crate::config::check_page_address;
use crate::core::{Bounds, Policy, Rule, TopicSelection, grouped, parse_duration, short};
use crate::demo::{DemoSettings, SPEED, run as play};
use crate::kubernetes::scaledconsumer::manifest;
use crate::simulate::{Scenario, TopicSettings, parse};
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
    /// End after this time with a summary, such as 90s; otherwise q or Ctrl-C ends it. The demo's clock shows six times as
    /// much.
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

const CONSUMER: &str = include_str!("../../config/demo.yaml");
const SCENARIO: &str = include_str!("../../config/demo-scenario.yaml");

pub(super) fn run(arguments: &DemoArguments) -> anyhow::Result<Outcome> {
    let parameters = parameters(arguments)?;
    runtime()?.block_on(async {
        let (mut interrupt, mut terminate, mut hangup) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        let end = async {
            tokio::select! {
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
    let embedded = |name: &str, text: &str| Source { name: format!("the embedded {name}"), text: text.to_owned() };
    let consumer = match &arguments.file {
        Some(file) => manifests::read(std::slice::from_ref(file))?.consumers.into_iter().next(),
        None => manifest::parse(&embedded("config/demo.yaml", CONSUMER))?.consumers.into_iter().next(),
    };
    let spec = consumer.context("No ScaledConsumer to demonstrate")?;
    let source = spec.sources.only().filter(|source| source.name.is_none());
    let Some((TopicSelection::Named(topics), policy)) = source.map(|source| (&source.query.topics, &source.policy))
    else {
        let why = "The demo makes the topics that the manifest names, of one source: give spec.kafka.topics";
        return Err(WrongInput(why.to_owned()).into());
    };
    let mut scenario = parse(&embedded("config/demo-scenario.yaml", SCENARIO), "demo", Path::new(""))?;
    take_over(policy, topics, &mut scenario);
    let executable = std::env::current_exe().context("Can't find this executable, which is also the worker")?;
    Ok(DemoSettings {
        span: arguments.span,
        introduction: introduction(policy, &scenario),
        scenario,
        spec,
        executable,
        page: arguments.page,
        open: arguments.open,
    })
}

/// Has the scenario the topics of a ScaledConsumer, each as large as the scenario's own, its objective and its bounds.
fn take_over(policy: &Policy, topics: &[String], scenario: &mut Scenario) {
    let topic = scenario.topics.first().cloned().unwrap_or_default();
    scenario.topics = topics.iter().map(|name| TopicSettings { name: name.clone(), ..topic.clone() }).collect();
    match policy.rule {
        Rule::TimeLag(objective) => scenario.objective = objective.time_lag(),
        Rule::LagPerReplica(threshold) => scenario.policy.lag_per_replica = threshold.get(),
    }
    let (min, max) = (policy.bounds.min().0, policy.bounds.max().map(|max| max.0));
    (scenario.policy.min_replicas, scenario.policy.max_replicas) = (min, max);
    scenario.pods.replicas = scenario.pods.replicas.max(min).min(max.unwrap_or(u32::MAX));
}

fn introduction(policy: &Policy, scenario: &Scenario) -> Vec<String> {
    let rule = match policy.rule {
        Rule::TimeLag(objective) => format!("No record waits longer than {}", short(objective.time_lag())),
        Rule::LagPerReplica(threshold) => format!("One replica per {} records of lag", grouped(threshold.get())),
    };
    let names: Vec<&str> = scenario.topics.iter().map(|topic| topic.name.as_str()).collect();
    let partitions = scenario.topics.first().map_or(0, |topic| topic.partitions);
    vec![
        format!(
            "An embedded Kafka broker with topic {} of {partitions} partitions; no cluster is needed.",
            names.join(", ")
        ),
        format!("Load      {}", scenario.description),
        format!(
            "Replicas  Real consumer processes of {} records/s each, which take {} to start.",
            scenario.members.capacity,
            short(scenario.pods.start_delay)
        ),
        format!("Objective {rule}, with {}.", range(policy.bounds)),
        format!(
            "Beside it KEDA with a lagThreshold of {} and its HPA, and a fixed size: computed, on the same arrivals.",
            grouped(scenario.policy.lag_per_replica)
        ),
        format!("Clock     A minute takes {} s. All times and rates are on this clock.", 60 / SPEED),
        "The same code as in a cluster polls and decides; only starting and stopping processes is the demo's own."
            .to_owned(),
        "Ctrl-C ends it and prints a summary.".to_owned(),
    ]
}

fn range(bounds: Bounds) -> String {
    match bounds.max() {
        Some(max) => format!("{} to {max}", bounds.min().0),
        None => format!("at least {}", bounds.min()),
    }
}
