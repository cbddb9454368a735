//! Parses the command line and dispatches; nothing else.

use clap::Parser;
use paceline::demo::worker;

#[derive(Debug, Parser)]
#[command(name = "paceline", version, about)]
enum Command {
    /// A consumer of fixed capacity, for the demo and the tests.
    #[command(hide = true)]
    Worker(worker::Settings),
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Command::parse() {
        Command::Worker(settings) => worker::run(&settings),
    }
}
