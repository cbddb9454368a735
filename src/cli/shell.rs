//! `paceline completions` and `paceline man`: what a shell and a manual need, made of the definition of the command line.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use clap_complete::Shell;

use super::outcome::Outcome;
use super::output::print;

const COMPLETIONS_EXAMPLES: &str = "Examples:
  In this shell only:
    source <(paceline completions bash)
  For every shell from now on:
    paceline completions bash > ~/.local/share/bash-completion/completions/paceline
    paceline completions zsh > \"${fpath[1]}/_paceline\"
    paceline completions fish > ~/.config/fish/completions/paceline.fish";

/// What `completions` takes.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub(super) struct CompletionsArguments {
    /// The shell.
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

const MAN_EXAMPLES: &str = "Examples:
  Where man looks for your own pages:
    paceline man ~/.local/share/man/man1
    man paceline-recommend";

/// What `man` takes.
#[derive(Debug, Args)]
#[command(after_help = MAN_EXAMPLES)]
pub(super) struct ManArguments {
    /// The folder; it is made where it does not exist.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn completions(arguments: &CompletionsArguments, command: &clap::Command) -> anyhow::Result<Outcome> {
    // Bash would offer what is hidden.
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut shown = clap::Command::new("paceline").args(command.get_arguments().cloned()).subcommands(shown);
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut shown, "paceline", &mut script);
    print(&String::from_utf8(script).context("The script is no text")?)?;
    Ok(Outcome::Fine)
}

pub(super) fn man(arguments: &ManArguments, command: clap::Command) -> anyhow::Result<Outcome> {
    let folder = &arguments.folder;
    let write = || {
        std::fs::create_dir_all(folder)?;
        clap_mangen::generate_to(command, folder)
    };
    write().with_context(|| format!("Can't write manual pages into {}", folder.display()))?;
    Ok(Outcome::Fine)
}
