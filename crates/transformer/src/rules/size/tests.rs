use std::{
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::rules::Rules;

/// What is wrong with a mapping file, found on a thread whose stack is a quarter of what tokio gives.
fn said_of(text: String) -> String {
    let read = move || match Rules::read(&text, None) {
        Ok(rules) => format!("{} rules", rules.count()),
        Err(problems) => problems.iter().take(3).map(|problem| format!("{problem}\n")).collect(),
    };
    thread::Builder::new().stack_size(512 * 1024).spawn(read).unwrap().join().unwrap()
}

fn rule(key: &str, value: &str) -> String {
    format!("[[rule]]\nevent = \"a\"\n[[rule]]\n{key} = '''{value}'''\n")
}

#[test]
fn an_expression_of_any_length_is_refused_by_line_place_and_remedy_before_it_is_parsed() {
    let chains = ["or", "and", "+", "-", "*", "/", "//", "**", "~", "==", "<", "in", "is", "if x else", "."];
    let chains = chains.map(|operator| format!("event {}", format!("{operator} x ").repeat(20_000)));
    let begins = ["not ", "-", "(", "[", "{1: ", "x[", "x.x", "x|upper(", "x if "].map(|begin| begin.repeat(20_000));
    let filters = ["x", &" | lower".repeat(20_000)].concat();
    for long in chains.into_iter().chain(begins).chain([filters]) {
        let begin = &long[..20];
        for (key, place) in [("when", "rule 2, when"), ("distinct_id", "rule 2, distinct_id")] {
            let value = if key == "when" { long.clone() } else { format!("{{{{ {long} }}}}") };
            let said = said_of(rule(key, &value));
            let wanted = format!("line 4: {place}: the expression has more than {MAX_OPERATORS} operators");
            assert!(said.contains(&wanted) && said.contains("event in [\"a\", \"b\"]"), "{begin}…: {said:.300}");
        }
        let said = said_of(format!("[identity]\ndistinct_id = ['''{long}''']"));
        assert!(said.contains("line 2: identity.distinct_id: the expression has more"), "{begin}…: {said:.300}");
    }
}

#[test]
fn the_longest_expression_that_is_taken_is_used_and_forgotten_on_a_small_stack() {
    for (key, begin, middle, operators, end) in [
        ("when", "a", " or a", 1, ""),
        ("when", "a", " and a", 1, ""),
        ("when", "", "not ", 1, "a"),
        ("when", "a == 'x'", " or a == 'x'", 2, ""),
        ("event", "{{ a", " ~ a", 1, " }}"),
        ("event", "{{ a", " + a", 1, " }}"),
        ("event", "{{ a", ".a", 1, " }}"),
        ("event", "{{ a", " | lower", 1, " }}"),
        ("event", "{{ ", "-", 1, "a }}"),
        ("event", "{{ a", " if a else a", 2, " }}"),
    ] {
        let most = format!("[[rule]]\n{key} = '''{begin}{}{end}'''\n", middle.repeat(MAX_OPERATORS / operators - 1));
        assert_eq!(said_of(most), "1 rules", "{middle}");
        let more = format!("[[rule]]\n{key} = '''{begin}{}{end}'''\n", middle.repeat(MAX_OPERATORS / operators + 1));
        assert!(said_of(more).contains("the expression has more than"), "{middle}");
    }
}

#[test]
fn a_list_of_any_length_is_one_operator() {
    let names: Vec<_> = (0..50_000).map(|number| format!("\"e{number}\"")).collect();
    assert_eq!(
        said_of(rule("when", &format!("event in [{}]", names.join(", ")))),
        "line 3: rule 2: can never apply, since rule 1 (line 1) takes all of its events: put it before that one, or make that one's condition narrower\n"
    );
}

#[test]
fn a_file_of_more_than_1_mib_is_refused_by_its_size() {
    assert_eq!(said_of("#".repeat(MAX_FILE_BYTES)), "0 rules");
    let said = said_of("#".repeat(MAX_FILE_BYTES + 1));
    assert!(
        said.starts_with("line 1: the file has 1048577 bytes, and no more than 1048576 (1 MiB) are read"),
        "{said}"
    );
}

#[test]
fn a_file_of_more_rules_than_memory_is_meant_for_is_refused_by_the_first_that_is_too_many() {
    let rules = |many: usize| (0..many).map(|number| format!("[[rule]]\nwhen = \"event == 'e{number}'\"\n")).collect();
    assert_eq!(said_of(rules(MAX_RULES)), "5000 rules");
    let said = said_of(rules(MAX_RULES + 1));
    assert!(said.starts_with("line 10001: rule 5001: a file has no more than 5000 rules: write one"), "{said}");
}

#[test]
fn a_file_of_more_expressions_than_memory_is_meant_for_is_refused_by_the_first_that_is_too_many() {
    let properties =
        |many: usize| (0..many).map(|number| format!("a{number:05} = \"{{{{ a | lower }}}}\"\n")).collect::<String>();
    let one = |many| format!("[[rule]]\n[rule.properties]\n{}", properties(many));
    assert_eq!(said_of(one(MAX_ENGINES)), "1 rules");
    let said = said_of(one(MAX_ENGINES + 1));
    assert!(
        said.starts_with("line 10003: rule 1, properties.a10000: the file has more than 10000 expressions"),
        "{said}"
    );
    // each part of a condition is one
    let rule = format!("[[rule]]\nwhen = 'a{}'\n", " or a".repeat(99));
    assert_eq!(said_of(rule.repeat(MAX_ENGINES / 100)), "100 rules");
    let said = said_of(rule.repeat(MAX_ENGINES / 100 + 1));
    assert!(said.starts_with("line 202: rule 101, when: the file has more than 10000 expressions"), "{said}");
    // and a place, a comparison or a list is none
    let plain = numbered("", "[[rule]]\nwhen=\"a=='#' and (b > 1 or c in ['x', 'y'])\"\nevent='{{ a.b }}'\n", "");
    assert!(said_of(plain).ends_with(" rules"));
}

/// An eighth of the largest file: what takes the square of its time shows here too.
const LARGE: usize = MAX_FILE_BYTES / 8;

/// As many as make a large file.
fn filled(begin: &str, middle: &str, end: &str) -> String {
    let times = (LARGE - begin.len() - end.len()) / middle.len();
    [begin, &middle.repeat(times), end].concat()
}

/// The same, each with its number for `#`.
fn numbered(begin: &str, middle: &str, end: &str) -> String {
    let mut text = begin.to_string();
    for number in 0.. {
        let next = middle.replace('#', &number.to_string());
        if text.len() + next.len() + end.len() > LARGE {
            break;
        }
        text += &next;
    }
    text + end
}

#[test]
fn no_large_file_keeps_a_reader_busy() {
    let alternating = |name: &str| {
        let mut condition = "a == 'x'".to_string();
        for number in 0..30 {
            condition = format!("(a == '{name}{number}' or (b == '{name}{number}' and {condition}))");
        }
        condition
    };
    let texts = numbered("", "'e#',", "");
    let half = &texts[..texts[..LARGE / 2 - 100].rfind(',').unwrap()];
    let keys = vec!["a"; 79].join(".");
    let wide = vec!["a"; 200].join(" + ");
    let files = [
        filled("a = ", "[", ""),
        filled("a = ", "{a=", ""),
        filled("a", ".a", " = 1"),
        filled("[a", ".a", "]"),
        filled("", &format!("{keys}={{"), ""),
        [&format!("{keys}={{").repeat(78), &keys, "=1", &"}".repeat(78)].concat(),
        filled("", "\"\n", ""),
        filled("", "]\n", ""),
        filled("", "a\n", ""),
        filled("", "a=1\n", ""),
        numbered("", "a#=1\n", ""),
        numbered("", "[a#]\n", ""),
        filled("", "[[rule]]\n", ""),
        filled("", "[[rule]]\nwhen='a'\n", ""),
        numbered("", "[[rule]]\nwhen=\"a=='#'\"\n", ""),
        numbered("", "[[rule]]\nwhen=\"a# > 1\"\n", ""),
        numbered("", &format!("[[rule]]\nwhen=\"\"\"{}\"\"\"\n", alternating("#")), ""),
        numbered("[[rule]]\nwhen='a'\n[rule.properties]\n", "a#=1\n", ""),
        numbered("", "[[rule]]\nwhen='a# < 1'\nproperties={a=1,b=2,c=3,d#=4}\n", ""),
        numbered("", "[[rule]]\nwhen='a'\nproperties={p#='1'}\n", ""),
        numbered("[[rule]]\nwhen='a'\n[rule.person.set]\n", "a#=1\n", ""),
        numbered("[[rule]]\n[rule.person]\nset.x=1\nunset=[", "'a#',", "]"),
        format!("[[rule]]\nwhen='''a in [{half}] and a in [{half}]'''"),
        format!("[[rule]]\nwhen='''a in [{half}]'''\n[[rule]]\nwhen='''a in [{half}]'''"),
        filled("[[rule]]\nevent='''", "{{", "'''"),
        filled("[[rule]]\nevent='''", "{{ ", "'''"),
        filled("[[rule]]\nevent='''", "{{a}}", "'''"),
        filled("[[rule]]\nevent='''", "{{a+a}}", "'''"),
        filled("[[rule]]\nevent='''", "{{\"{{\"}}", "'''"),
        filled("[[rule]]\nevent='''", &format!("{{{{{wide}}}}}"), "'''"),
        filled("[[rule]]\nevent='''", "{{1+1+1+1+1+1+1+1+1+1+1+1+1+1}}", "'''"),
        filled("[[rule]]\nevent='''", "{{a*a}}", "'''"),
        filled("[[rule]]\nevent='''{{a|", "x", "}}'''"),
        numbered("[[rule]]\n[rule.properties]\n", "a#=\"{{a|b}}\"\n", ""),
        numbered("[[rule]]\n[rule.properties]\n", "a#=\"{{a|lower}}\"\n", ""),
        format!("[[rule]]\nwhen='''{}'''", filled("a in [", "a,", "a]").chars().take(LARGE - 40).collect::<String>()),
        filled("[identity]\ndistinct_id=[", "'a',", "]"),
        filled("[privacy]\ndrop=[", "'a',", "]"),
        filled("[[rule]]\nevent='''{{", "'", "}}'''"),
        filled("[[rule]]\nproperties.a=", "[1,", ""),
    ];
    for text in files {
        let begin: String = text.chars().take(60).collect();
        let began = Instant::now();
        let said = said_of(text);
        let took = began.elapsed();
        // a release build takes less than a tenth of this
        assert!(took < Duration::from_secs(10), "{begin}… took {took:?}: {said:.300}");
    }
}
