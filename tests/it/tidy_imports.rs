//! No module of a layered part imports another in a circle: who reads one module needs those below it only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The parts whose modules must not import each other in a circle, a module and its parent included.
const LAYERED: [&str; 13] = [
    "core",
    "kafka",
    "connect",
    "config",
    "cli",
    "yaml",
    "demo",
    "replay",
    "simulate",
    "kubernetes",
    "registry",
    "controller",
    "serve",
];

/// Modules by their paths, such as `core::decide::time_lag`, with their code.
type Modules = BTreeMap<String, String>;

/// The code without comments, blank lines and unit tests.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Reads a module and those that it declares, but for the ones of tests.
fn read(file: &Path, path: &str, into: &mut Modules) {
    let code = code_of(&fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    let mut before = "";
    for line in code.lines().map(str::trim) {
        let declared =
            line.split_once("mod ").filter(|(visibility, _)| visibility.is_empty() || line.starts_with("pub"));
        if let Some(name) = declared.and_then(|(_, rest)| rest.strip_suffix(';'))
            && before != "#[cfg(test)]"
        {
            read(&file.with_extension("").join(format!("{name}.rs")), &format!("{path}::{name}"), into);
        }
        before = line;
    }
    into.insert(path.to_owned(), code);
}

/// The paths that a `use` names: `a::{b, c::{self, d}}` is `a::b`, `a::c` and `a::c::d`.
fn expand(tree: &str) -> Vec<String> {
    let Some((prefix, group)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap_or_default().trim().trim_end_matches("::self").to_owned()];
    };
    let group = group.trim().strip_suffix('}').unwrap_or(group);
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for char in group.chars() {
        depth += i32::from(char == '{') - i32::from(char == '}');
        if char == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(char);
        }
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.flat_map(|part| expand(&format!("{}{part}", prefix.trim()))).collect()
}

/// What some code names of other modules: by `use`, and by paths that begin with `crate::` or `super::`.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for statement in code.split(';') {
        let at = statement.rfind("\nuse ").or_else(|| statement.starts_with("use ").then_some(0));
        if let Some(at) = at {
            let tree =
                statement[at..].trim().trim_start_matches("use ").split_whitespace().collect::<Vec<_>>().join(" ");
            found.extend(expand(&tree.replace(" {", "{").replace(":: ", "::")));
            continue;
        }
        for start in ["crate::", "super::"] {
            for (at, _) in statement.match_indices(start) {
                let before = &statement[..at];
                // Such as `pub(in crate::core)`, which is no import.
                let is_visibility = before.ends_with("pub(in ");
                let is_begun = before.ends_with([':', '_']) || before.ends_with(char::is_alphanumeric);
                let rest = &statement[at..];
                let end = rest.find(|char: char| !char.is_alphanumeric() && char != '_' && char != ':');
                if !is_begun && !is_visibility {
                    found.push(rest[..end.unwrap_or(rest.len())].trim_end_matches(':').to_owned());
                }
            }
        }
    }
    found
}

/// Whether some code defines an item of this name.
fn defines(code: &str, name: &str) -> bool {
    ["struct", "enum", "trait", "type", "fn", "const", "static", "macro_rules!"].iter().any(|kind| {
        code.match_indices(&format!("{kind} {name}")).any(|(at, found)| {
            !code[at + found.len()..].starts_with(|char: char| char.is_alphanumeric() || char == '_')
        })
    })
}

/// The module that defines what `path` names, as seen from `module`.
fn resolve(modules: &Modules, module: &str, path: &str) -> Option<String> {
    let mut at: Vec<&str> = module.split("::").collect();
    let mut segments = path.split("::").peekable();
    match segments.peek() {
        Some(&"crate") => at.clear(),
        Some(&"super" | &"self") => {}
        Some(first) if modules.contains_key(&format!("{module}::{first}")) => {}
        Some(_) | None => return None,
    }
    for segment in segments {
        match segment {
            "crate" | "self" => {}
            "super" => drop(at.pop()),
            name => {
                let inner = at.iter().copied().chain([name]).collect::<Vec<_>>().join("::");
                if modules.contains_key(&inner) {
                    at.push(name);
                    continue;
                }
                let module = at.join("::");
                return defining(modules, &module, name);
            }
        }
    }
    Some(at.join("::"))
}

/// The module that defines an item of `module`: itself, or the one that it re-exports the item from.
fn defining(modules: &Modules, module: &str, name: &str) -> Option<String> {
    let code = modules.get(module)?;
    if defines(code, name) {
        return Some(module.to_owned());
    }
    let exports = code.split(';').filter_map(|statement| statement.trim().split_once("pub").map(|(_, rest)| rest));
    let exports = exports.filter_map(|rest| rest.split_once("use ").map(|(_, tree)| tree));
    exports.flat_map(expand).find_map(|path| {
        let (parent, item) = path.rsplit_once("::")?;
        let source = resolve(modules, module, parent)?;
        let is_it = source != module && (item == name || item == "*") && source.starts_with(module);
        if is_it { defining(modules, &source, name) } else { None }
    })
}

/// What some code names of modules that it declares, by paths such as `child::Item`. A re-export is no import.
fn paths_of_children(modules: &Modules, module: &str, code: &str) -> Vec<String> {
    let code: Vec<&str> = code.split(';').filter(|statement| !statement.contains("use ")).collect();
    let code = code.join(";");
    let children = modules.keys().filter_map(|path| path.strip_prefix(module)?.strip_prefix("::"));
    let mut found = Vec::new();
    for start in children.filter(|child| !child.contains("::")).map(|child| format!("{child}::")) {
        for (at, _) in code.match_indices(&start) {
            if !code[..at].ends_with(|char: char| char.is_alphanumeric() || char == '_' || char == ':') {
                let rest = &code[at..];
                let end = rest.find(|char: char| !char.is_alphanumeric() && char != '_' && char != ':');
                found.push(rest[..end.unwrap_or(rest.len())].trim_end_matches(':').to_owned());
            }
        }
    }
    found
}

/// Each module with those that it imports from.
fn imports(modules: &Modules) -> BTreeMap<&str, BTreeSet<String>> {
    let of = |module: &str, code: &str| -> BTreeSet<String> {
        let found = paths(code).into_iter().chain(paths_of_children(modules, module, code));
        let found = found.filter_map(|path| resolve(modules, module, &path));
        found.filter(|other| other != module && modules.contains_key(other)).collect()
    };
    modules.iter().map(|(module, code)| (module.as_str(), of(module, code))).collect()
}

/// A circle of imports, where there is one.
fn circle(imports: &BTreeMap<&str, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit(
        module: &str,
        imports: &BTreeMap<&str, BTreeSet<String>>,
        way: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        if let Some(at) = way.iter().position(|before| before == module) {
            return Some(way[at..].iter().chain([&module.to_owned()]).cloned().collect());
        }
        if !done.insert(module.to_owned()) {
            return None;
        }
        way.push(module.to_owned());
        let found = imports.get(module)?.iter().find_map(|next| visit(next, imports, way, done));
        way.pop();
        found
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| visit(module, imports, &mut Vec::new(), &mut done))
}

#[test]
fn no_modules_of_a_layered_part_import_each_other_in_a_circle() {
    let (mut found, mut all) = (0, 0);
    for part in LAYERED {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{part}.rs"));
        let mut modules = Modules::new();
        read(&file, part, &mut modules);
        let imports = imports(&modules);
        found += imports.values().map(BTreeSet::len).sum::<usize>();
        all += modules.len();
        assert_eq!(circle(&imports).map(|circle| circle.join(" -> ")), None);
    }
    assert!(found >= all, "{found} imports in {all} modules: they are not all found");
}

#[test]
fn circles_are_found_whatever_way_a_module_is_named() {
    let part = |files: &[(&str, &str)]| -> Modules {
        files.iter().map(|(path, code)| ((*path).to_owned(), (*code).to_owned())).collect()
    };
    let root = ("core", "mod a;\nmod b;\npub use a::*;\npub use b::{B, other};\n");
    let rows: &[(&[(&str, &str)], bool)] = &[
        (&[root, ("core::a", "use super::b::B;\nstruct A;"), ("core::b", "struct B;")], false),
        (&[root, ("core::a", "use super::b::B;\nstruct A;"), ("core::b", "use super::a::A;\nstruct B;")], true),
        (
            &[
                root,
                ("core::a", "use std::fmt;\nuse super::{b::{self, B}, c};"),
                ("core::b", "use crate::core::A;\nstruct B;"),
            ],
            false,
        ),
        (&[root, ("core::a", "use super::b;\nstruct A;"), ("core::b", "use crate::core::A;\nstruct B;")], true),
        (
            &[
                root,
                ("core::a", "mod x;\nfn a() { x::run() }\nstruct A;"),
                ("core::a::x", "use super::A;\nfn run() {}"),
                ("core::b", ""),
            ],
            true,
        ),
        (&[root, ("core::a", "struct A(super::b::B);"), ("core::b", "fn b() { crate::core::a::A }\nstruct B;")], true),
        (
            &[
                root,
                ("core::a", "mod x;\nuse x::X;\nstruct A;"),
                ("core::a::x", "use super::A;\nstruct X;"),
                ("core::b", ""),
            ],
            true,
        ),
        (
            &[
                root,
                ("core::a", "mod x;\nuse x::X;\nstruct A;"),
                ("core::a::x", "use super::super::b::B;\nstruct X;"),
                ("core::b", "struct B;"),
            ],
            false,
        ),
    ];
    for (files, is_circle) in rows {
        let modules = part(files);
        assert_eq!(circle(&imports(&modules)).is_some(), *is_circle, "{files:?}");
    }
}
