//! Follows values through a template.

use std::collections::HashMap;

use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, Filter, Stmt};

use super::{
    super::{
        Names,
        walk::{constant, look_up, range, root},
    },
    Uses,
};

pub(super) struct Walk<'n> {
    uses: Uses,
    /// Variables and their nodes, the innermost scope last.
    scopes: Vec<HashMap<String, usize>>,
    /// The nodes of each macro's arguments.
    macros: HashMap<String, Vec<usize>>,
    text: &'n str,
    names: &'n Names,
}

impl<'n> Walk<'n> {
    pub(super) fn over(tree: &Stmt<'_>, text: &'n str, names: &'n Names) -> Uses {
        let mut walk =
            Self { uses: Uses::default(), scopes: vec![HashMap::new()], macros: HashMap::new(), text, names };
        walk.statement(tree);
        walk.uses
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn within(&mut self, statements: &[Stmt<'_>]) {
        self.scopes.push(HashMap::new());
        self.statements(statements);
        self.scopes.pop();
    }

    fn statement(&mut self, statement: &Stmt<'_>) {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitExpr(print) => drop(self.expression(&print.expr)),
            Stmt::ForLoop(each) => {
                self.scopes.push(HashMap::new());
                self.each(&each.iter, &each.target);
                each.filter_expr.iter().for_each(|filter| drop(self.expression(filter)));
                self.statements(&each.body);
                self.scopes.pop();
                self.within(&each.else_body);
            }
            Stmt::IfCond(condition) => {
                self.expression(&condition.expr);
                self.statements(&condition.true_body);
                self.statements(&condition.false_body);
            }
            Stmt::WithBlock(with) => {
                self.scopes.push(HashMap::new());
                for (target, value) in &with.assignments {
                    let values = self.expression(value);
                    self.assign(target, &values);
                }
                self.statements(&with.body);
                self.scopes.pop();
            }
            Stmt::Set(set) => {
                let values = self.expression(&set.expr);
                self.assign(&set.target, &values);
            }
            Stmt::SetBlock(set) => {
                self.assign(&set.target, &[]);
                self.within(&set.body);
            }
            Stmt::AutoEscape(block) => self.within(&block.body),
            Stmt::FilterBlock(block) => self.within(&block.body),
            Stmt::Macro(declared) => {
                self.scopes.push(HashMap::new());
                let arguments = declared.args.iter().filter_map(|argument| match argument {
                    Expr::Var(variable) => Some(self.variable(variable.id)),
                    _ => None,
                });
                let arguments = arguments.collect();
                // a macro may call itself
                self.macros.insert(declared.name.to_string(), arguments);
                self.statements(&declared.body);
                self.scopes.pop();
            }
            Stmt::CallBlock(block) => {
                self.call(&block.call);
                self.within(&block.macro_decl.body);
            }
            Stmt::Do(block) => drop(self.call(&block.call)),
            _ => {}
        }
    }

    /// A variable of the innermost scope.
    fn variable(&mut self, name: &str) -> usize {
        let node = self.uses.node();
        let scope = self.scopes.last_mut();
        scope.map_or(node, |scope| *scope.entry(name.to_string()).or_insert(node))
    }

    fn assign(&mut self, target: &Expr<'_>, values: &[usize]) {
        if let Expr::Var(variable) = target {
            let variable = self.variable(variable.id);
            values.iter().for_each(|value| self.uses.nodes[*value].flows.push(variable));
        }
    }

    /// A loop over a value.
    fn each(&mut self, over: &Expr<'_>, target: &Expr<'_>) {
        let pairs = match over {
            Expr::Filter(filter) if ["items", "dictsort"].contains(&filter.name) => filter.expr.as_ref(),
            Expr::Call(call) => match &call.expr {
                Expr::GetAttr(method) if method.name == "items" => Some(&method.expr),
                _ => None,
            },
            _ => None,
        };
        let targets = match target {
            Expr::Tuple(tuple) => tuple.items.as_slice(),
            Expr::List(list) => list.items.as_slice(),
            _ => &[],
        };
        if let Some(over) = pairs {
            for value in self.expression(over) {
                let paired = self.uses.paired(value);
                targets.get(1).into_iter().for_each(|target| self.assign(target, &[paired]));
            }
            targets.first().into_iter().for_each(|target| self.assign(target, &[]));
            return;
        }
        for value in self.expression(over) {
            let element = self.uses.element(value);
            self.assign(target, &[element]);
            for target in targets {
                let part = self.uses.element(element);
                self.assign(target, &[part]);
            }
        }
        targets.iter().chain([target]).for_each(|target| self.assign(target, &[]));
    }

    /// The nodes of what an expression gives.
    fn expression(&mut self, expression: &Expr<'_>) -> Vec<usize> {
        if look_up(expression, self.text, self.names).is_some() {
            let node = self.uses.node();
            return vec![*self.uses.look_ups.entry(start(expression)).or_insert(node)];
        }
        match expression {
            Expr::Var(variable) => {
                self.scopes.iter().rev().find_map(|scope| scope.get(variable.id)).copied().into_iter().collect()
            }
            Expr::GetAttr(attribute) => {
                let of = self.expression(&attribute.expr);
                of.into_iter().map(|of| self.uses.member(of, attribute.name)).collect()
            }
            Expr::GetItem(item) => {
                let of = self.expression(&item.expr);
                self.expression(&item.subscript_expr);
                let name = constant(&item.subscript_expr);
                let part = |of: usize| match &name {
                    Some(name) => self.uses.member(of, name),
                    None => self.uses.element(of),
                };
                of.into_iter().map(part).collect()
            }
            Expr::Slice(slice) => self.expression(&slice.expr),
            Expr::IfExpr(choice) => {
                self.expression(&choice.test_expr);
                let mut either = self.expression(&choice.true_expr);
                either.extend(choice.false_expr.iter().flat_map(|otherwise| self.expression(otherwise)));
                either
            }
            Expr::Filter(filter) => self.filter(filter),
            Expr::Test(test) => {
                let asked = self.expression(&test.expr);
                if ["string", "number", "mapping", "iterable", "sequence", "boolean"].contains(&test.name) {
                    asked.into_iter().for_each(|of| self.uses.nodes[of].is_any = true);
                }
                self.arguments(&test.args);
                Vec::new()
            }
            Expr::Call(call) => self.call(call),
            Expr::UnaryOp(operation) => {
                self.expression(&operation.expr);
                Vec::new()
            }
            Expr::BinOp(operation) => {
                let (left, right) = (self.expression(&operation.left), self.expression(&operation.right));
                match operation.op {
                    // one of the two
                    BinOpKind::ScAnd | BinOpKind::ScOr => [left, right].concat(),
                    _ => Vec::new(),
                }
            }
            Expr::Compare(comparison) => {
                self.expression(&comparison.expr);
                comparison.ops.iter().for_each(|operand| drop(self.expression(&operand.expr)));
                Vec::new()
            }
            Expr::List(list) => {
                list.items.iter().for_each(|item| drop(self.expression(item)));
                Vec::new()
            }
            Expr::Tuple(tuple) => {
                tuple.items.iter().for_each(|item| drop(self.expression(item)));
                Vec::new()
            }
            Expr::Map(map) => {
                map.keys.iter().chain(&map.values).for_each(|item| drop(self.expression(item)));
                Vec::new()
            }
            Expr::Const(_) => Vec::new(),
        }
    }

    fn filter(&mut self, filter: &Filter<'_>) -> Vec<usize> {
        let of = filter.expr.as_ref().map(|of| self.expression(of)).unwrap_or_default();
        self.arguments(&filter.args);
        let named = |wanted: &str| {
            filter.args.iter().find_map(|argument| match argument {
                CallArg::Kwarg(name, value) if *name == wanted => constant(value),
                _ => None,
            })
        };
        let first = match filter.args.first() {
            Some(CallArg::Pos(value)) => constant(value),
            _ => None,
        };
        let attribute = match filter.name {
            "selectattr" | "rejectattr" | "groupby" => first,
            _ => named("attribute"),
        };
        let elements = |uses: &mut Uses| of.iter().map(|of| uses.element(*of)).collect::<Vec<_>>();
        let member = attribute.map(|name| {
            let elements = elements(&mut self.uses);
            elements.into_iter().map(|element| self.uses.member(element, &name)).collect::<Vec<_>>()
        });
        match filter.name {
            "default" | "d" | "list" | "reverse" | "safe" => of,
            "first" | "last" | "random" | "min" | "max" => elements(&mut self.uses),
            "sort" | "unique" | "select" | "reject" | "selectattr" | "rejectattr" => {
                elements(&mut self.uses);
                of
            }
            "join" | "sum" | "batch" | "slice" | "groupby" => {
                elements(&mut self.uses);
                Vec::new()
            }
            "map" => {
                let inner = member.unwrap_or_else(|| elements(&mut self.uses));
                let list = self.uses.node();
                let element = self.uses.element(list);
                inner.into_iter().for_each(|inner| self.uses.nodes[inner].flows.push(element));
                vec![list]
            }
            _ => Vec::new(),
        }
    }

    fn call(&mut self, call: &Call<'_>) -> Vec<usize> {
        match &call.expr {
            Expr::GetAttr(method) => {
                let of = self.expression(&method.expr);
                self.arguments(&call.args);
                let first = match call.args.first() {
                    Some(CallArg::Pos(value)) => constant(value),
                    _ => None,
                };
                match (method.name, first) {
                    ("get", Some(name)) => of.into_iter().map(|of| self.uses.member(of, &name)).collect(),
                    ("items" | "values" | "keys", _) => {
                        of.into_iter().for_each(|of| {
                            self.uses.paired(of);
                        });
                        Vec::new()
                    }
                    _ => Vec::new(),
                }
            }
            Expr::Var(called) => {
                let parameters = self.macros.get(called.id).cloned().unwrap_or_default();
                for (place, argument) in call.args.iter().enumerate() {
                    let (CallArg::Pos(value)
                    | CallArg::Kwarg(_, value)
                    | CallArg::PosSplat(value)
                    | CallArg::KwargSplat(value)) = argument;
                    let values = self.expression(value);
                    if let Some(parameter) = parameters.get(place) {
                        values.into_iter().for_each(|value| self.uses.nodes[value].flows.push(*parameter));
                    }
                }
                Vec::new()
            }
            called => {
                self.expression(called);
                self.arguments(&call.args);
                Vec::new()
            }
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
}

/// Where a look-up begins.
fn start(expression: &Expr<'_>) -> usize {
    root(expression).map_or_else(|| range(expression.span()).start, |(_, from)| from)
}
