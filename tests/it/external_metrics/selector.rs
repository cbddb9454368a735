//! Label selectors. The cases are those that Kubernetes' own parser is tested with
//! (k8s.io/apimachinery/pkg/labels/selector_test.go), and those of its rules for keys and values.

use std::collections::BTreeMap;

use paceline::kubernetes::hpa::{MAX_SELECTOR_BYTES, Selector};
use proptest::prelude::*;

#[test]
fn selectors_that_kubernetes_takes_are_taken_and_written_as_it_writes_them() {
    let rows = [
        ("", ""),
        ("  ", ""),
        ("x=a,y=b,z=c", "x=a,y=b,z=c"),
        ("x!=a,y=b", "x!=a,y=b"),
        ("x=", "x="),
        ("x= ", "x="),
        ("x=,z= ", "x=,z="),
        ("x= ,z= ", "x=,z="),
        ("x!=", "x!="),
        ("!x", "!x"),
        ("! x", "!x"),
        ("\rx", "x"),
        ("a ", "a"),
        ("this-is-a-dns.domain.com/key-with-dash", "this-is-a-dns.domain.com/key-with-dash"),
        ("other.domain.com/key-with-dash in (so,what)", "other.domain.com/key-with-dash in (so,what)"),
        ("0.1.2.domain/99 notin (10.10.100.1, tick.tack.clock)", "0.1.2.domain/99 notin (10.10.100.1,tick.tack.clock)"),
        ("foo  in\t (abc)", "foo in (abc)"),
        ("x notin\n (abc)", "x notin (abc)"),
        ("x  notin\t\t\t(def,abc)", "x notin (abc,def)"),
        ("x in (a,a)", "x in (a)"),
        ("x in (abc,)", "x in (,abc)"),
        ("x in (,abc)", "x in (,abc)"),
        ("x in (a,,b)", "x in (,a,b)"),
        ("x in ()", "x in ()"),
        ("x in (,)", "x in ()"),
        ("x notin ( )", "x notin ()"),
        ("x notin (, a)", "x notin (,a)"),
        ("x notin (abc,def),bar,z in (),w", "x notin (abc,def),bar,z in (),w"),
        ("x,y in (a)", "x,y in (a)"),
        ("y in (a),x", "y in (a),x"),
        ("x==a", "x=a"),
        ("x=a,y!=b,z in (h,i,j)", "x=a,y!=b,z in (h,i,j)"),
        ("a in (x,y,notin, z,in)", "a in (in,notin,x,y,z)"),
        ("notin=in", "notin=in"),
        ("in in (in)", "in in (in)"),
        ("in", "in"),
        ("!notin", "!notin"),
        ("x,y", "x,y"),
        ("A_b.c-D=1_2.3-4", "A_b.c-D=1_2.3-4"),
    ];
    for (text, written) in rows {
        let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(selector.to_string(), written, "{text:?}");
    }
}

#[test]
fn selectors_that_kubernetes_refuses_are_refused() {
    let long = |length: usize| "a".repeat(length);
    let rows = [
        "x=a||y=b".to_owned(),
        "x==a==b".into(),
        "!x=a".into(),
        "!x in (a)".into(),
        "!!x".into(),
        // Kubernetes takes numbers here; no label of a metric is one.
        "x>1".into(),
        "x<1".into(),
        "x<a".into(),
        "x>".into(),
        ",x,y".into(),
        "x,".into(),
        "x,,y".into(),
        ",".into(),
        "x nott in (y)".into(),
        "a in (xyz),".into(),
        "a in (xyz)b notin ()".into(),
        "a in (xyz abc)".into(),
        "a notin(".into(),
        "a in (b".into(),
        "a in b".into(),
        "a in".into(),
        "a (".into(),
        "a)".into(),
        "(".into(),
        "!".into(),
        "=".into(),
        "=a".into(),
        "a b".into(),
        "a=b c".into(),
        "a=b=c".into(),
        "a=(b)".into(),
        "a=!b".into(),
        "-a".into(),
        "a-".into(),
        "a/".into(),
        "/a".into(),
        "a/b/c".into(),
        "A.com/b".into(),
        "a..b/c".into(),
        "-a/b".into(),
        "a=-b".into(),
        "a=b/c".into(),
        "a=b:c".into(),
        "ä=b".into(),
        "a=ä".into(),
        "a=\0".into(),
        "a\u{a0}b".into(),
        long(64),
        format!("a={}", long(64)),
        format!("{}/a", long(254)),
        format!("a in ({})", vec!["b"; MAX_SELECTOR_BYTES].join(",")),
    ];
    for text in &rows {
        assert!(Selector::parse(text).is_err(), "{text:?}");
    }
    for text in [long(63), format!("a={}", long(63)), format!("{}/a", long(253))] {
        assert!(Selector::parse(&text).is_ok(), "{text:?}");
    }
}

#[test]
fn a_refusal_says_what_was_found_and_what_was_expected() {
    let rows = [
        ("a b", "found \"b\", expected one of =, ==, !=, in, notin"),
        ("a=b,", "found the end, expected a label's key"),
        ("!a=b", "found \"=\", expected a comma or the end after \"!key\""),
        ("a>1", "found \">\", expected one of =, ==, !=, in, notin"),
        (
            "a=b/c",
            "\"b/c\" is not a label's value: at most 63 letters, digits, \"-\", \"_\" and \".\" that begin and end with a letter or digit",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(Selector::parse(text).unwrap_err().to_string(), expected, "{text:?}");
    }
}

#[test]
fn what_fits_is_what_fits_in_kubernetes() {
    type Labels = &'static [(&'static str, &'static str)];
    let rows: [(&str, Labels, bool); 24] = [
        ("", &[("x", "y")], true),
        ("", &[], true),
        ("x=y", &[("x", "y")], true),
        ("x=y,z=w", &[("x", "y"), ("z", "w")], true),
        ("x!=y,z!=w", &[("x", "z"), ("z", "a")], true),
        ("notin=in", &[("notin", "in")], true),
        ("x", &[("x", "z")], true),
        ("!x", &[("y", "z")], true),
        ("x=z", &[], false),
        ("x=y", &[("x", "z")], false),
        ("x=y,z=w", &[("x", "w"), ("z", "w")], false),
        ("x!=y,z!=w", &[("x", "z"), ("z", "w")], false),
        ("x", &[("y", "z")], false),
        ("!x", &[("x", "z")], false),
        ("x!=y", &[], true),
        ("x notin (y)", &[], true),
        ("x in ()", &[], false),
        ("x in ()", &[("x", "")], true),
        ("x=", &[], false),
        ("x=", &[("x", "")], true),
        ("x!=", &[], true),
        ("x notin (),y", &[("y", "")], true),
        ("!x,y", &[("y", "")], true),
        ("x=a,x=b", &[("x", "a")], false),
    ];
    for (text, labels, expected) in rows {
        let labels = BTreeMap::from_iter(labels.iter().copied());
        let selector = Selector::parse(text).unwrap();
        assert_eq!(selector.matches(|key| labels.get(key).copied()), expected, "{text:?} {labels:?}");
    }
}

#[test]
fn the_only_value_that_a_label_may_have_is_known() {
    let rows = [
        ("a=b", Some("b")),
        ("x,a==b", Some("b")),
        ("a in (b)", Some("b")),
        ("a,a=b", Some("b")),
        ("a in (b,c)", None),
        ("a!=b", None),
        ("a notin (b)", None),
        ("a", None),
        ("!a", None),
        ("x=b", None),
        ("", None),
    ];
    for (text, expected) in rows {
        assert_eq!(Selector::parse(text).unwrap().only_value_of("a"), expected, "{text:?}");
    }
}

/// One requirement in plain data, with the text that means it.
#[derive(Clone, Debug)]
struct Naive {
    key: String,
    operator: &'static str,
    values: Vec<String>,
}

impl Naive {
    fn text(&self, blank: &str) -> String {
        let Self { key, operator, values } = self;
        match *operator {
            "exists" => key.clone(),
            "!" => format!("!{blank}{key}"),
            "in" | "notin" => format!("{key} {blank}{operator}{blank}({})", values.join(&format!("{blank},{blank}"))),
            _ => format!("{key}{blank}{operator}{blank}{}", values[0]),
        }
    }

    fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let is_among = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            "exists" => value.is_some(),
            "!" => value.is_none(),
            "=" | "==" | "in" => is_among,
            "!=" | "notin" => !is_among,
            other => unreachable!("{other}"),
        }
    }
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "in", "notin", "x.y/a", "scaledconsumer"]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "b", "in", "1", "2", "007", "A.b_c-d"]).prop_map(str::to_owned)
}

fn naive() -> impl Strategy<Value = Naive> {
    let operators = vec!["exists", "!", "=", "==", "!=", "in", "notin"];
    (key(), prop::sample::select(operators), prop::collection::vec(value(), 1..4)).prop_map(
        |(key, operator, values)| {
            let values = match operator {
                "exists" | "!" => vec![],
                "in" | "notin" => values,
                _ => values[..1].to_vec(),
            };
            // Two commas before a bracket are where Kubernetes and we differ; an empty value goes first.
            let mut values = values;
            values.sort();
            values.dedup();
            Naive { key, operator, values }
        },
    )
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused_and_what_is_taken_is_the_same_when_read_again(
        text in prop_oneof![any::<String>(), "[a-c!=<>(),/. \t0-9inot-]{0,24}"]
    ) {
        if let Ok(selector) = Selector::parse(&text) {
            let written = selector.to_string();
            prop_assert_eq!(Selector::parse(&written), Ok(selector), "{:?} as {:?}", text, written);
        }
    }

    #[test]
    fn a_selector_fits_what_a_naive_reading_of_it_fits(
        requirements in prop::collection::vec(naive(), 0..5),
        labels in prop::collection::btree_map(key(), value(), 0..5),
        blank in prop::sample::select(vec!["", " ", "\t\n"]),
    ) {
        let text = requirements.iter().map(|one| one.text(blank)).collect::<Vec<_>>().join(",");
        let selector = Selector::parse(&text).map_err(|error| TestCaseError::fail(format!("{text:?}: {error}")))?;
        let expected = requirements.iter().all(|one| one.fits(&labels));
        prop_assert_eq!(selector.matches(|key| labels.get(key).map(String::as_str)), expected, "{:?}", text);
        prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
    }
}
