//! Regular expressions for topic names: checked alone, compiled once however many use the same text, and small.
//!
//! A pattern comes from whoever may write a ScaledConsumer, so what it may cost is bounded: its length, and the bytes
//! of its program ([`MAX_PROGRAM`]). Only the program of `regex-automata`'s lazy DFA is kept; the states that a match
//! builds live as long as a [`Matcher`], in at most [`MATCH_CACHE`] bytes. (`regex::Regex` keeps its caches, for each
//! thread that has ever matched, and has no bound for all of them together.)

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::{Anchored, Input};
use regex_syntax::ParserBuilder;
use regex_syntax::ast::{self, Ast, ErrorKind};
use regex_syntax::hir::{Hir, Look};

/// The longest pattern, in characters: the CRD's `maxLength`.
pub const MAX_PATTERN: usize = 512;
/// Bytes of a compiled pattern at most. [`MAX_PATTERN`] plain characters take less than half of it; only repetitions of
/// repetitions take more.
pub const MAX_PROGRAM: usize = 48 << 10;
/// Bytes of the states that one matcher keeps; where they do not suffice, they are built again.
const MATCH_CACHE: usize = 64 << 10;
/// Groups nested in each other at most: the parser and the compiler recurse.
const MAX_NESTING: u32 = 50;

/// A regular expression that matches whole names, in the syntax of the crate `regex`, over ASCII: Kafka's topics have
/// no other characters.
#[derive(Clone)]
pub struct Pattern(Arc<CompiledPattern>);

/// One text, whoever uses it.
struct CompiledPattern {
    source: Arc<str>,
    /// Bytes of the program.
    size: usize,
    /// Compiled when it is first matched: what is never followed, because it was refused, takes no memory.
    program: OnceLock<DFA>,
}

/// Why a text is no pattern. The texts follow the field's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is longer than [`MAX_PATTERN`].
    #[error("has {0} characters; at most {MAX_PATTERN} are allowed")]
    TooLong(usize),
    /// Its program is larger than [`MAX_PROGRAM`].
    #[error(
        "needs more than {} KiB when compiled; write shorter repetitions ({{n,m}}) or fewer alternatives", MAX_PROGRAM >> 10
    )]
    TooLarge,
    /// Look-ahead or look-behind.
    #[error(
        "uses look-around, which is not supported; to leave topics out, give topicExclude (on the command line --topic-exclude)"
    )]
    LookAround,
    /// A repetition of a repetition, which the API server refuses.
    #[error("repeats a repetition, as in a**; leave one of the two out, or write (a*)*")]
    RepeatedTwice,
    /// The syntax is wrong, and how.
    #[error("is not a regular expression: {0}")]
    Syntax(String),
}

/// Every pattern in use, by its text. Entries of patterns that nobody uses any more are dropped when there are twice as
/// many entries as after the last time.
struct Interned {
    patterns: HashMap<Arc<str>, Weak<CompiledPattern>>,
    clean_up_at: usize,
}

/// Entries that are kept before any is looked at.
const CLEAN_UP_FROM: usize = 64;

impl Interned {
    fn get(source: &str) -> Option<Arc<CompiledPattern>> {
        Self::with(|it| it.patterns.get(source).and_then(Weak::upgrade))
    }

    fn insert(shared: &Arc<CompiledPattern>) {
        Self::with(|it| {
            it.patterns.insert(Arc::clone(&shared.source), Arc::downgrade(shared));
            if it.patterns.len() >= it.clean_up_at {
                it.patterns.retain(|_, pattern| pattern.strong_count() > 0);
                it.clean_up_at = CLEAN_UP_FROM.max(2 * it.patterns.len());
            }
        });
    }

    fn with<T>(act: impl FnOnce(&mut Self) -> T) -> T {
        static ALL: OnceLock<Mutex<Interned>> = OnceLock::new();
        let all = ALL.get_or_init(|| Mutex::new(Self { patterns: HashMap::new(), clean_up_at: CLEAN_UP_FROM }));
        act(&mut all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pattern {
    /// Checks `source`; the error names what is wrong with it and what to do.
    pub fn new(source: &str) -> Result<Self, PatternError> {
        let length = source.chars().count();
        if length > MAX_PATTERN {
            return Err(PatternError::TooLong(length));
        }
        if let Some(shared) = Interned::get(source) {
            return Ok(Self(shared));
        }
        let size = size_of::<CompiledPattern>() + compile(source)?.get_nfa().memory_usage();
        let shared = Arc::new(CompiledPattern { source: source.into(), size, program: OnceLock::new() });
        Interned::insert(&shared);
        Ok(Self(shared))
    }

    /// Whether the whole of `name` matches. For many names take a [`Matcher`].
    pub fn matches(&self, name: &str) -> bool {
        self.matcher().matches(name)
    }

    /// Something to match many names with.
    pub fn matcher(&self) -> Matcher<'_> {
        let compile = || compile(&self.0.source).expect("it was compiled when it was checked");
        let program = self.0.program.get_or_init(compile);
        Matcher { program, cache: program.create_cache() }
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.0.source
    }

    /// Bytes that it takes while it is in use, however many use it.
    pub fn memory(&self) -> usize {
        self.0.size
    }
}

/// What the parser says, in one line: its own text repeats the pattern, which may hold any character.
fn syntax_error(error: &regex_syntax::Error) -> PatternError {
    let (what, span) = match error {
        regex_syntax::Error::Parse(wrong) if *wrong.kind() == ErrorKind::UnsupportedLookAround => {
            return PatternError::LookAround;
        }
        regex_syntax::Error::Parse(wrong) => (wrong.kind().to_string(), Some(wrong.span())),
        regex_syntax::Error::Translate(wrong) => (wrong.kind().to_string(), Some(wrong.span())),
        _ => ("it can't be parsed".to_owned(), None),
    };
    PatternError::Syntax(match span {
        Some(span) => format!("{what} (character {})", span.start.column),
        None => what,
    })
}

/// Parses `source` alone, so that no bracket or comment in it reaches beyond it, and anchors what was parsed.
fn compile(source: &str) -> Result<DFA, PatternError> {
    // Without Unicode: its classes have hundreds of ranges, of which topic names use none.
    let mut parser = ParserBuilder::new().unicode(false).utf8(false).nest_limit(MAX_NESTING).build();
    let parsed = parser.parse(source).map_err(|error| syntax_error(&error))?;
    if let Ok(tree) = ast::parse::Parser::new().parse(source) {
        ast::visit(&tree, Repetitions)?;
    }
    let whole = Hir::concat(vec![parsed, Hir::look(Look::End)]);
    let limits = thompson::Config::new()
        .nfa_size_limit(Some(MAX_PROGRAM))
        .which_captures(WhichCaptures::None)
        .utf8(false)
        .shrink(false);
    let program = NFA::compiler().configure(limits).build_from_hir(&whole).map_err(|error| {
        if error.size_limit().is_some() { PatternError::TooLarge } else { PatternError::Syntax(error.to_string()) }
    })?;
    let lazy = DFA::config().cache_capacity(MATCH_CACHE).skip_cache_capacity_check(true);
    DFA::builder().configure(lazy).build_from_nfa(program).map_err(|error| PatternError::Syntax(error.to_string()))
}

/// Fails at a repetition of a repetition. RE2 has none, which the API server checks patterns by.
struct Repetitions;

impl ast::Visitor for Repetitions {
    type Output = ();
    type Err = PatternError;

    fn finish(self) -> Result<(), PatternError> {
        Ok(())
    }

    fn visit_pre(&mut self, part: &Ast) -> Result<(), PatternError> {
        match part {
            Ast::Repetition(outer) if matches!(*outer.ast, Ast::Repetition(_)) => Err(PatternError::RepeatedTwice),
            _ => Ok(()),
        }
    }
}

/// Matches names against one pattern, and keeps what it learns from one name to the next.
#[derive(Debug)]
pub struct Matcher<'p> {
    program: &'p DFA,
    cache: Cache,
}

impl Matcher<'_> {
    /// Whether the whole of `name` matches.
    pub fn matches(&mut self, name: &str) -> bool {
        let input = Input::new(name).anchored(Anchored::Yes).earliest(true);
        // The search fails only where it is configured to give up or to quit, and it is not.
        self.program.try_search_fwd(&mut self.cache, &input).is_ok_and(|end| end.is_some())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.0.source).finish()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}

impl Eq for Pattern {}

impl std::hash::Hash for Pattern {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.source.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names_and_nothing_in_it_reaches_out() {
        let cases: [(&str, &[&str], &[&str]); 10] = [
            ("orders", &["orders"], &["orders-2", "my-orders", "Orders", ""]),
            ("orders-.*", &["orders-", "orders-eu"], &["orders"]),
            ("a|ab", &["a", "ab"], &["abc"]),
            ("(?i)orders", &["ORDERS"], &["ORDERS-2"]),
            ("(?x) orders # all of them", &["orders"], &["orders # all of them", "orders)"]),
            ("(?m)^a$", &["a"], &["a\nb"]),
            ("^orders$", &["orders"], &["orders "]),
            (r"\d+\.\w{2,3}", &["12.ab", "1.a_z"], &["12.a", "12.abcd"]),
            (".*", &["", "orders.dlq"], &["two\nlines"]),
            (r"[^.]+\.(eu|us)", &["a.eu"], &["a.b.eu"]),
        ];
        for (pattern, yes, no) in cases {
            let pattern = Pattern::new(pattern).expect(pattern);
            let mut matcher = pattern.matcher();
            for name in yes {
                assert!(matcher.matches(name), "{pattern:?} {name}");
            }
            for name in no {
                assert!(!matcher.matches(name), "{pattern:?} {name}");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_named_with_what_to_do() {
        let cases = [
            ("one)|(pay".to_owned(), "is not a regular expression: unopened group (character 4)"),
            ("orders(".to_owned(), "is not a regular expression: unclosed group (character 7)"),
            (r"\p{Greek}".to_owned(), "is not a regular expression: Unicode not allowed here (character 1)"),
            ("(?!.*dlq).*orders".to_owned(), "uses look-around, which is not supported; to leave topics out, give"),
            ("(?<=a)b".to_owned(), "uses look-around"),
            ("((((a{50}){50}){50}){50})".to_owned(), "needs more than 48 KiB when compiled"),
            (r"(?u:\w){200}".to_owned(), "needs more than 48 KiB when compiled"),
            ("a".repeat(513), "has 513 characters; at most 512 are allowed"),
            ("(".repeat(200) + &")".repeat(200), "is not a regular expression: exceed"),
        ];
        for (pattern, expected) in cases {
            let error = Pattern::new(&pattern).expect_err(&pattern).to_string();
            assert!(error.starts_with(expected), "{pattern}: {error}");
        }
    }

    /// The attack of 30 tenants, each with the largest pattern that passes.
    #[test]
    fn thirty_large_patterns_take_less_than_two_mebibytes() {
        let largest = |i: usize| {
            let most = (1..).map_while(|n| Pattern::new(&format!("t{i}-[a-f]{{{n}}}(x|y[0-9]){{{n}}}")).ok());
            most.last().expect("a pattern")
        };
        let patterns: Vec<_> = (0..30).map(largest).collect();
        let smallest = patterns.iter().map(Pattern::memory).min();
        assert!(smallest > Some(MAX_PROGRAM / 4), "{smallest:?} bytes");
        let all: usize = patterns.iter().map(Pattern::memory).sum();
        assert!(all < 2 << 20, "{all} bytes");
        for pattern in &patterns {
            let mut matcher = pattern.matcher();
            let name = "t0-".to_owned() + &"abcdef".repeat(41);
            assert!(!matcher.matches(&name));
            assert!(matcher.cache.memory_usage() <= 2 * MATCH_CACHE, "{} bytes", matcher.cache.memory_usage());
        }
    }

    #[test]
    fn a_pattern_of_plain_text_is_far_from_the_limit() {
        let names = (0..40).map(|i| format!("shop.topic-{i:02}")).collect::<Vec<_>>().join("|");
        assert!(names.len() < 640);
        let pattern = Pattern::new(&names[..MAX_PATTERN]).expect("valid");
        assert!(pattern.memory() < MAX_PROGRAM / 2, "{} bytes", pattern.memory());
    }

    #[test]
    fn the_same_text_is_one_program_and_what_nobody_uses_is_forgotten() {
        let (one, two) = (Pattern::new("same-.*").expect("valid"), Pattern::new("same-.*").expect("valid"));
        assert!(Arc::ptr_eq(&one.0, &two.0));
        for i in 0..1_000 {
            Pattern::new(&format!("forgotten-{i}")).expect("valid");
        }
        assert!(Interned::with(|it| it.patterns.len()) < 500);
        assert!(Arc::ptr_eq(&one.0, &Pattern::new("same-.*").expect("valid").0));
    }
}
