//! Names that a template gives itself: variables it sets, macros and their arguments, loop variables.

use std::collections::HashSet;

use minijinja::machinery::ast::{Expr, Stmt};

/// What Jinja itself defines.
const GLOBALS: [&str; 12] = [
    "range",
    "dict",
    "lipsum",
    "cycler",
    "joiner",
    "namespace",
    "debug",
    "loop",
    "caller",
    "varargs",
    "kwargs",
    "MOE_NOT_SEND",
];

/// The names of one template; a name set anywhere counts everywhere.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    pub(super) fn of(tree: &Stmt<'_>) -> Self {
        let mut names = Self::default();
        names.statement(tree);
        names
    }

    pub(super) fn hold(&self, name: &str) -> bool {
        self.0.contains(name) || GLOBALS.contains(&name)
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &Stmt<'_>) {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::ForLoop(each) => {
                self.target(&each.target);
                self.statements(&each.body);
                self.statements(&each.else_body);
            }
            Stmt::IfCond(condition) => {
                self.statements(&condition.true_body);
                self.statements(&condition.false_body);
            }
            Stmt::WithBlock(with) => {
                with.assignments.iter().for_each(|(target, _)| self.target(target));
                self.statements(&with.body);
            }
            Stmt::Set(set) => self.target(&set.target),
            Stmt::SetBlock(set) => {
                self.target(&set.target);
                self.statements(&set.body);
            }
            Stmt::AutoEscape(block) => self.statements(&block.body),
            Stmt::FilterBlock(block) => self.statements(&block.body),
            Stmt::Macro(declared) => {
                self.0.insert(declared.name.to_string());
                declared.args.iter().for_each(|argument| self.target(argument));
                self.statements(&declared.body);
            }
            Stmt::CallBlock(call) => {
                call.macro_decl.args.iter().for_each(|argument| self.target(argument));
                self.statements(&call.macro_decl.body);
            }
            _ => {}
        }
    }

    fn target(&mut self, target: &Expr<'_>) {
        match target {
            Expr::Var(variable) => {
                self.0.insert(variable.id.to_string());
            }
            Expr::List(list) => list.items.iter().for_each(|item| self.target(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.target(item)),
            _ => {}
        }
    }
}
