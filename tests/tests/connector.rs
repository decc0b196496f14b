//! What `moehog connector` writes, in the engine that MoEngage names, and what its two commands print.

mod connector {
    mod any_value_in_python;
    mod commands;
    #[path = "../../../crates/connector/tests/corpus/mod.rs"]
    mod corpus;
    mod lint_calls_no_valid_template_broken;
    #[path = "../../../crates/connector/tests/templates/mod.rs"]
    mod templates;
}
