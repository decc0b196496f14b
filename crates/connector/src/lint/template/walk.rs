//! Finds what a template looks up.

use std::ops::Range;

use minijinja::machinery::{
    Span,
    ast::{BinOpKind, CallArg, CompareOpKind, Expr, Stmt},
};

use super::{Access, Name, Names, Used};
use crate::attribute::{Attribute, Object};

#[derive(Debug)]
pub(super) struct Walk<'n> {
    text: &'n str,
    names: &'n Names,
    accesses: Vec<Access>,
    filters: Vec<Used>,
}

impl<'n> Walk<'n> {
    pub(super) fn over(tree: &Stmt<'_>, text: &'n str, names: &'n Names) -> (Vec<Access>, Vec<Used>) {
        let mut walk = Self { text, names, accesses: Vec::new(), filters: Vec::new() };
        walk.statement(tree);
        (walk.accesses, walk.filters)
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &Stmt<'_>) {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitExpr(print) => self.expression(&print.expr),
            Stmt::ForLoop(each) => {
                self.expression(&each.iter);
                each.filter_expr.iter().for_each(|filter| self.expression(filter));
                self.statements(&each.body);
                self.statements(&each.else_body);
            }
            Stmt::IfCond(condition) => {
                self.expression(&condition.expr);
                self.statements(&condition.true_body);
                self.statements(&condition.false_body);
            }
            Stmt::WithBlock(with) => {
                with.assignments.iter().for_each(|(_, value)| self.expression(value));
                self.statements(&with.body);
            }
            Stmt::Set(set) => self.expression(&set.expr),
            Stmt::SetBlock(set) => {
                set.filter.iter().for_each(|filter| self.expression(filter));
                self.statements(&set.body);
            }
            Stmt::AutoEscape(block) => self.statements(&block.body),
            Stmt::FilterBlock(block) => {
                self.expression(&block.filter);
                self.statements(&block.body);
            }
            Stmt::Macro(declared) => {
                declared.defaults.iter().for_each(|default| self.expression(default));
                self.statements(&declared.body);
            }
            Stmt::CallBlock(call) => {
                self.arguments(&call.call.args);
                self.statements(&call.macro_decl.body);
            }
            Stmt::Do(call) => self.arguments(&call.call.args),
            _ => {}
        }
    }

    fn expression(&mut self, expression: &Expr<'_>) {
        if let Some((name, range)) = look_up(expression, self.text, self.names) {
            self.accesses.push(Access::of(name, range));
            return;
        }
        match expression {
            Expr::Slice(slice) => {
                self.expression(&slice.expr);
                [&slice.start, &slice.stop, &slice.step].into_iter().flatten().for_each(|part| self.expression(part));
            }
            Expr::UnaryOp(operation) => self.expression(&operation.expr),
            Expr::BinOp(operation) => {
                let first = self.accesses.len();
                self.expression(&operation.left);
                self.expression(&operation.right);
                if matches!(operation.op, BinOpKind::Eq) {
                    self.compared(first, [&operation.left, &operation.right]);
                }
            }
            Expr::Compare(comparison) => {
                let first = self.accesses.len();
                self.expression(&comparison.expr);
                for operand in &comparison.ops {
                    self.expression(&operand.expr);
                    if matches!(operand.op, CompareOpKind::Eq) {
                        self.compared(first, [&comparison.expr, &operand.expr]);
                    }
                }
            }
            Expr::IfExpr(choice) => {
                self.expression(&choice.test_expr);
                self.expression(&choice.true_expr);
                choice.false_expr.iter().for_each(|otherwise| self.expression(otherwise));
            }
            Expr::Filter(filter) => {
                filter.expr.iter().for_each(|value| self.expression(value));
                self.filters.push(Used { name: filter.name.to_string(), at: range(expression.span()).start });
                self.arguments(&filter.args);
            }
            Expr::Test(test) => {
                self.expression(&test.expr);
                self.arguments(&test.args);
            }
            Expr::GetAttr(attribute) => self.expression(&attribute.expr),
            Expr::GetItem(item) => {
                self.expression(&item.expr);
                self.expression(&item.subscript_expr);
            }
            Expr::Call(call) => {
                match &call.expr {
                    Expr::GetAttr(method) => self.expression(&method.expr),
                    called => self.expression(called),
                }
                self.arguments(&call.args);
            }
            Expr::List(list) => list.items.iter().for_each(|item| self.expression(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.expression(item)),
            Expr::Map(map) => map.keys.iter().chain(&map.values).for_each(|item| self.expression(item)),
            Expr::Var(_) | Expr::Const(_) => {}
        }
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) {
        for argument in arguments {
            let (CallArg::Pos(value)
            | CallArg::Kwarg(_, value)
            | CallArg::PosSplat(value)
            | CallArg::KwargSplat(value)) = argument;
            self.expression(value);
        }
    }

    /// Notes the text that the look-ups since `first` are compared with.
    fn compared(&mut self, first: usize, sides: [&Expr<'_>; 2]) {
        let Some(text) = sides.into_iter().find_map(constant) else { return };
        for access in self.accesses.iter_mut().skip(first) {
            access.compared_with.get_or_insert_with(|| text.clone());
        }
    }
}

/// What an expression looks up by itself: an attribute of a documented object, or a name that nothing defines.
pub(super) fn look_up(expression: &Expr<'_>, text: &str, names: &Names) -> Option<(Name, Range<usize>)> {
    let (root, from) = root(expression)?;
    let range = from..range(expression.span()).end;
    if let Some(attribute) = attribute(expression) {
        return Some((Name::Attribute(attribute), range));
    }
    if names.hold(root) || Object::named(root).is_some() {
        return None;
    }
    let written = text.get(range.clone()).unwrap_or(root);
    Some((Name::Bare(written.to_string()), range))
}

/// `UserAttribute['x']`, `UserAttribute.x` or `UserAttribute.get('x')`.
fn attribute(expression: &Expr<'_>) -> Option<Attribute> {
    let object = |expression: &Expr<'_>| match expression {
        Expr::Var(variable) => Object::named(variable.id),
        _ => None,
    };
    let (object, name) = match expression {
        Expr::GetItem(item) => (object(&item.expr)?, constant(&item.subscript_expr)?),
        Expr::GetAttr(attribute) if attribute.name != "get" => (object(&attribute.expr)?, attribute.name.to_string()),
        Expr::Call(call) => match (&call.expr, call.args.as_slice()) {
            (Expr::GetAttr(get), [CallArg::Pos(name)]) if get.name == "get" => (object(&get.expr)?, constant(name)?),
            _ => return None,
        },
        _ => return None,
    };
    Some(Attribute { object, name })
}

/// The variable that a chain of names and items starts with, and where: a chain's own span begins at its last link.
pub(super) fn root<'a>(expression: &'a Expr<'_>) -> Option<(&'a str, usize)> {
    match expression {
        Expr::Var(variable) => Some((variable.id, range(expression.span()).start)),
        Expr::GetAttr(attribute) => root(&attribute.expr),
        Expr::GetItem(item) if matches!(item.subscript_expr, Expr::Const(_)) => root(&item.expr),
        Expr::Call(call) if matches!(call.expr, Expr::Var(_)) || attribute(expression).is_some() => root(&call.expr),
        _ => None,
    }
}

pub(super) fn constant(expression: &Expr<'_>) -> Option<String> {
    match expression {
        Expr::Const(constant) => constant.value.as_str().map(str::to_string),
        _ => None,
    }
}

pub(super) fn range(span: Span) -> Range<usize> {
    span.start_offset as usize..span.end_offset as usize
}
