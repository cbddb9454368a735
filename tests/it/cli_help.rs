//! How a user finds their way: the first words, help, completions, manual pages, the version, and what was probably meant.

use std::process::Command;

use crate::world::command::{paceline, run};

const COMMANDS: [&str; 11] =
    ["run", "recommend", "replay", "demo", "simulate", "doctor", "validate", "crd", "completions", "man", "version"];

#[test]
fn without_anything_to_do_it_says_in_a_few_lines_how_to_begin() {
    for (arguments, commands) in [
        (&[][..], ["paceline demo", "paceline recommend --bootstrap-servers localhost:9092 --all"]),
        (&["recommend"], ["paceline recommend --bootstrap-servers localhost:9092 --all", "paceline recommend -f"]),
    ] {
        let ended = run(&mut paceline(arguments));
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{ended:?}");
        let shown: Vec<&str> = ended.stderr.lines().filter_map(|line| line.strip_prefix("    ")).collect();
        assert_eq!(shown.len(), 2, "{}", ended.stderr);
        for (shown, command) in shown.iter().zip(commands) {
            assert!(shown.starts_with(command), "{}", ended.stderr);
        }
        assert!(ended.stderr.lines().count() <= 9, "{}", ended.stderr);
    }
}

#[test]
fn every_help_has_examples_and_no_noise() {
    for command in COMMANDS {
        let ended = run(&mut paceline(&[command, "--help"]));
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{command}");
        let help = &ended.stdout;
        assert!(help.contains("\nExamples:\n") && help.contains("\n    paceline "), "{command}: {help}");
        assert!(help.contains("\nUsage: paceline "), "{command}: {help}");
        assert!(!help.contains("=]"), "{command} shows variables that are not set: {help}");
        let headings = help.lines().filter(|line| line.ends_with(':') && !line.starts_with(' '));
        let mut seen = std::collections::BTreeSet::new();
        for heading in headings {
            assert!(seen.insert(heading), "{command}: {heading} is there twice: {help}");
        }
    }
    let all = run(&mut paceline(&["help"])).stdout;
    for command in COMMANDS {
        assert!(all.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))), "{command}: {all}");
    }
}

#[test]
fn what_was_probably_meant_is_named() {
    for (arguments, meant) in [
        (&["recomend"][..], "'recommend'"),
        (&["doctor", "-o", "jsn"], "'json'"),
        (&["doctor", "--outptu", "json"], "'--output'"),
        (&["completions", "bsh"], "'bash'"),
        (&["recommend", "--group", "a", "--bootstrap-servers", "a:1", "--offset-reset", "latst"], "'latest'"),
        (&["run", "--log-format", "jsno"], "'json'"),
    ] {
        let ended = run(&mut paceline(arguments));
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{ended:?}");
        assert!(ended.stderr.contains("tip: ") && ended.stderr.contains(meant), "{meant}: {}", ended.stderr);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("paceline.yaml");
    std::fs::write(&file, "logFormat: txt\n").unwrap();
    let ended = run(&mut paceline(&["run", "--config", &file.display().to_string()]));
    let told = "logFormat: unknown variant `txt`, expected `text` or `json`; did you mean \"text\"?";
    assert!(ended.code == 2 && ended.stderr.contains(told), "{ended:?}");
    assert!(ended.stderr.contains(" 1 | logFormat: txt\n   |            ^^^"), "{}", ended.stderr);
}

#[test]
fn shells_complete_and_man_has_a_page_for_each_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = run(&mut paceline(&["completions", shell]));
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{shell}");
        for word in ["recommend", "bootstrap-servers", "validate"] {
            assert!(ended.stdout.contains(word), "{shell}: {word}");
        }
    }
    // What bash offers for a word that is begun.
    for (word, offered) in [("val", "validate"), ("re", "recommend replay"), ("wor", "")] {
        let script = format!(
            "source <(\"$0\" completions bash); COMP_WORDS=(paceline {word}); COMP_CWORD=1; _paceline paceline {word} paceline; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &script, env!("CARGO_BIN_EXE_paceline")]).output().expect("bash");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), offered, "{output:?}");
    }

    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let ended = run(&mut paceline(&["man", &pages.display().to_string()]));
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, "", ""), "{ended:?}");
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(page("paceline.1").contains("validate"));
    for command in COMMANDS {
        let text = page(&format!("paceline-{command}.1"));
        assert!(text.starts_with(".ie") && text.contains("Examples:"), "{command}: {text}");
    }
    assert!(!pages.join("paceline-worker.1").exists(), "it is hidden");
}

#[test]
fn the_version_is_said_to_people_and_to_programs() {
    let text = run(&mut paceline(&["version"]));
    let version = env!("CARGO_PKG_VERSION");
    assert!(text.code == 0 && text.stdout.starts_with(&format!("paceline {version}")), "{text:?}");
    assert!(text.stdout.contains("ScaledConsumer paceline.dev/v1alpha1"), "{text:?}");
    let json = run(&mut paceline(&["version", "-o", "json"])).json();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["crdVersion", "gitCommit", "version"]);
    assert_eq!((&json["version"], &json["crdVersion"]), (&version.into(), &"paceline.dev/v1alpha1".into()));
    assert!(json["gitCommit"].is_null() || json["gitCommit"].is_string());
}
