//! `paceline validate`, and the files and folders that the other commands take in the same way.

use crate::world::command::{paceline, run, run_with_stdin};
use crate::world::{kafka, unique};

const GOOD: &str = include_str!("../../config/demo.yaml");

fn named(name: &str) -> String {
    GOOD.replace("name: demo\n", &format!("name: {name}\n"))
}

/// The line of the first text in another.
fn line(text: &str, of: &str) -> usize {
    1 + text.lines().position(|line| line.contains(of)).unwrap()
}

#[test]
fn all_problems_of_all_files_are_told_with_their_places_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    let range = named("range").replace("minReplicas: 1", "minReplicas: 20");
    write("a.yaml", &format!("{}---\n{range}", named("a")));
    write("b.yml", &named("b").replace("objective: 60s", "objective: 20sec"));
    write(
        "c.json",
        &serde_json::to_string(&serde_saphyr::from_str::<serde_json::Value>(&named("c")).unwrap()).unwrap(),
    );
    write("d.yaml", &named("a"));
    write("e.yaml", "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: old}\n");
    write("notes.txt", "not YAML: [");
    write(".hidden.yaml", "not YAML: [");
    let all = path(".");
    let ended = run(&mut paceline(&["validate", &all]));
    eprintln!("{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, 2);
    assert_eq!(ended.stdout, "2 ScaledConsumers are valid; 3 problems were found.\n");
    let at = |file: &str, line: usize| format!("error: {all}/{file}:{line}: ");
    let first = line(GOOD, "apiVersion");
    let expected = [
        format!("note: {all}/e.yaml: passed over ScaledObject old, which is KEDA's: write a ScaledConsumer"),
        format!(
            "{}spec.minReplicas: minReplicas is 20, above maxReplicas",
            at("a.yaml", named("a").lines().count() + 1 + line(&range, "minReplicas"))
        ),
        format!("{}spec.policy.timeLag.objective: \"20sec\" is not a duration", at("b.yml", line(GOOD, "objective"))),
        format!(
            "{}metadata.name: ScaledConsumer \"a\" in namespace \"default\" is defined at {all}/a.yaml:{first} already",
            at("d.yaml", first)
        ),
    ];
    for expected in expected {
        assert!(ended.stderr.contains(&expected), "{expected}\n{}", ended.stderr);
    }
    // The mark is under what is wrong.
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let marked = lines.iter().position(|line| line.contains("| ") && line.contains("20sec")).unwrap();
    let column = |line: &str, text: &str| line.split(text).next().unwrap().chars().count();
    assert_eq!(column(lines[marked + 1], "^"), column(lines[marked], "20sec"), "{}", ended.stderr);
    assert!(lines[marked + 1].ends_with("^^^^^"), "{}", ended.stderr);

    let report = run(&mut paceline(&["validate", "-o", "json", &all])).json();
    assert_eq!((&report["valid"], report["problems"].as_array().unwrap().len()), (&2.into(), 3), "{report:#}");
    let problem = report["problems"].as_array().unwrap().iter().find(|it| it["field"] == "spec.minReplicas").unwrap();
    assert_eq!(problem["file"], format!("{all}/a.yaml").as_str());
}

#[test]
fn what_is_fine_is_said_and_what_is_nothing_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().display().to_string();
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n{}",
        ["a", "b"]
            .map(|name| {
                let text: String = named(name)
                    .lines()
                    .filter(|line| !line.starts_with('#'))
                    .map(|line| format!("    {line}\n"))
                    .collect();
                text.replacen("    ", "  - ", 1)
            })
            .concat()
    );
    let rows = [
        (GOOD.to_owned(), 0, "1 ScaledConsumer is valid.\n", ""),
        (list, 0, "2 ScaledConsumers are valid.\n", ""),
        ("kind: Service\n".to_owned(), 2, "", "No ScaledConsumer in -"),
        (String::new(), 2, "", "No ScaledConsumer in -"),
        ("a: [\n".to_owned(), 2, "No ScaledConsumer is valid; 1 problem was found.\n", "error: <stdin>:"),
    ];
    for (text, code, stdout, stderr) in rows {
        let ended = run_with_stdin(&mut paceline(&["validate", "-"]), &text);
        assert_eq!((ended.code, ended.stdout.as_str()), (code, stdout), "{ended:?}");
        assert!(ended.stderr.contains(stderr) && ended.stderr.is_empty() == stderr.is_empty(), "{ended:?}");
    }
    for (path, told) in
        [(empty.as_str(), "has no file whose name ends in .yaml"), ("/nowhere", "can't be read: No such")]
    {
        let ended = run(&mut paceline(&["validate", path]));
        assert!(ended.code == 2 && ended.stderr.contains(&format!("error: {path}: {told}")), "{ended:?}");
    }
}

/// A folder is read by `recommend -f` as well, and a broken file in it does not hide the others.
#[test]
fn a_broken_file_does_not_hide_the_others_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("broken.yaml", &named("broken").replace("minReplicas: 1", "minReplicas: some"));
    write("fine.yaml", &named("fine"));
    let all = folder.path().display().to_string();
    let arguments = ["recommend", "-f", &all, "--bootstrap-servers", "127.0.0.1:1", "--current", "1", "--once"];
    let ended = run(&mut paceline(&arguments));
    assert_eq!(ended.code, 1, "{ended:?}");
    for told in ["broken.yaml:", "spec.minReplicas: invalid type", "127.0.0.1:1", "no broker could be reached"] {
        assert!(ended.stderr.contains(told), "{told}: {ended:?}");
    }
}

/// A reader that stops at the first mistake makes as many rounds as there are mistakes.
#[test]
fn all_mistakes_of_one_object_are_told_at_once() {
    let manifest = "apiVersion: paceline.dev/v1alpha1
kind: ScaledConsumer
metadata:
  name: 7
spec:
  scaleTargetRef: {nam: orders}
  mode: scale
  minReplicas: some
  kafka:
    cluster: main
    consumerGroup: 2024
    topics: [1, 2]
    offsetReset: latst
  behavior: {scaleUp: {policies: [{type: pods, value: x, periodSeconds: 60}]}}
  idle: soon
";
    let ended = run_with_stdin(&mut paceline(&["validate", "-"]), manifest);
    eprintln!("{}", ended.stderr);
    for told in [
        ":4: metadata.name: invalid type: number `7`, expected a text (write it in quotes)",
        ":6: spec.scaleTargetRef.nam: unknown field; did you mean \"name\"?",
        ":6: spec.scaleTargetRef: missing field `name`",
        ":7: spec.mode: unknown variant `scale`",
        ":8: spec.minReplicas: invalid type: string \"some\", expected a whole number",
        ":11: spec.kafka.consumerGroup: invalid type: number `2024`",
        ":12: spec.kafka.topics[0]: invalid type: number `1`",
        ":13: spec.kafka.offsetReset: unknown variant `latst`, expected `latest` or `earliest`; did you mean \"latest\"?",
        ":14: spec.behavior.scaleUp.policies[0].type: unknown variant `pods`",
        ":14: spec.behavior.scaleUp.policies[0].value: invalid type: string \"x\"",
        ":15: spec.idle: invalid type: string \"soon\"",
    ] {
        assert!(ended.stderr.contains(told), "{told}\n{}", ended.stderr);
    }
    assert_eq!((ended.code, ended.stdout.as_str()), (2, "No ScaledConsumer is valid; 11 problems were found.\n"));
}

/// A manifest with one document that is wrong, between two that are right.
#[test]
fn an_invalid_document_hides_no_valid_one_beside_it() {
    let kafka = kafka();
    let (topic, groups) = (unique("beside"), ["beside-a", "beside-b"].map(unique));
    kafka.create_topic(&topic, 1);
    kafka.produce(&topic, 0, 321);
    groups.iter().for_each(|group| kafka.commit(group, &[(&topic, 0, 0)]));
    let of = |group: &str| {
        let named = named(group).replace("consumerGroup: demo", &format!("consumerGroup: {group}"));
        named.replace("topics: [orders]", &format!("topics: [{topic}]"))
    };
    let (first, last, wrong) = (of(&groups[0]), of(&groups[1]), named("wrong"));
    // What is wrong, in which line of the document, and what is said of it.
    let rows = [
        ("kind: [", None, "is not YAML"),
        ("kind: \"ScaledConsumer", None, "is not YAML"),
        ("kind: ScaledConsumer\n\tname: a", None, "is not YAML"),
        ("kind: ScaledConsumer\nkind: ScaledConsumer", Some(1), "\"kind\" is given twice; keep one of them"),
        ("kind: *nothing", Some(0), "unknown anchor"),
        ("kind: ScaledConsumer\n<<: {a: b}", None, "merge keys (<<) are not read; write out"),
        ("kind: ScaledConsumers", Some(0), "kind: \"ScaledConsumers\" is not known; write ScaledConsumer"),
        ("kind: ScaledConsumer\nspecs: {}", Some(1), "specs: unknown field; did you mean \"spec\"?"),
    ];
    for (text, at, told) in rows {
        let broken = wrong.replace("kind: ScaledConsumer", text);
        let file = format!("{first}---\n{broken}---\n{last}");
        let (begins, ends) = (first.lines().count() + 1, first.lines().count() + 1 + broken.lines().count());
        let line_of = |stderr: &str| -> Option<usize> {
            let line = stderr.lines().find_map(|line| line.strip_prefix("error: <stdin>:"))?;
            line.split(':').next()?.parse().ok()
        };
        let is_named = |stderr: &str| {
            let line = line_of(stderr).unwrap_or_default();
            let wanted = at.map(|at| begins + self::line(&broken, "kind:") + at);
            let is_in = (begins..=ends + 1).contains(&line) && wanted.is_none_or(|wanted| wanted == line);
            is_in && stderr.contains(told) && stderr.matches("error:").count() == 1
        };
        let ended = run_with_stdin(&mut paceline(&["validate", "-"]), &file);
        assert_eq!(ended.stdout, "2 ScaledConsumers are valid; 1 problem was found.\n", "{text}: {ended:?}");
        assert!(ended.code == 2 && is_named(&ended.stderr), "{text}, from {begins}: {ended:?}");

        let servers = kafka.bootstrap();
        let arguments = ["recommend", "-f", "-", "--bootstrap-servers", &servers, "--current", "1", "--once"];
        let ended = run_with_stdin(&mut paceline(&arguments), &file);
        assert!(ended.code == 1 && is_named(&ended.stderr), "{text}: {ended:?}");
        for group in &groups {
            let row = ended.stdout.lines().find(|line| line.contains(group.as_str()));
            assert!(row.is_some_and(|row| row.contains("321")), "{text}: {group}: {ended:?}");
        }
    }
    // Alone it is what the command ends with.
    let ended =
        run_with_stdin(&mut paceline(&["recommend", "-f", "-", "--bootstrap-servers", "127.0.0.1:1"]), "a: [\n");
    assert!((ended.code, ended.stdout.as_str()) == (2, "") && ended.stderr.contains("error: <stdin>:"), "{ended:?}");
}
