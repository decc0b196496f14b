//! Expressions taken apart: which of them only name a place, and which places the others name.

use minijinja::{
    Value,
    machinery::ast::{CallArg, Expr},
};

use super::scope::{OF_WEBHOOK, Path, Root};

/// A part of an event that an expression needs: a root, or one attribute of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    /// The root as it is written.
    pub(crate) name: String,
    /// The root, and the attribute; without one the whole root is needed.
    pub(crate) path: Path,
    /// How often it is named: what is made of it may hold it as often.
    pub(crate) times: usize,
    /// What is named below an attribute of `webhook`.
    pub(crate) members: Vec<String>,
}

/// The place that an expression names, if it does nothing else.
pub(crate) fn of(expression: &Expr<'_>) -> Option<Path> {
    let (name, keys) = parts(expression)?;
    Some(Path { root: Root::named(name), keys })
}

fn parts<'e>(expression: &Expr<'e>) -> Option<(&'e str, Vec<String>)> {
    let (below, key) = match expression {
        Expr::Var(name) => return Some((name.id, Vec::new())),
        Expr::GetAttr(attribute) => (&attribute.expr, attribute.name.to_string()),
        Expr::GetItem(item) => (&item.expr, key(&item.subscript_expr)?),
        _ => return None,
    };
    let (name, mut keys) = parts(below)?;
    keys.push(key);
    Some((name, keys))
}

fn key(subscript: &Expr<'_>) -> Option<String> {
    let Expr::Const(constant) = subscript else { return None };
    let value: &Value = &constant.value;
    match value.as_str() {
        Some(text) => Some(text.to_string()),
        None => value.as_i64().filter(|number| *number >= 0).map(|number| number.to_string()),
    }
}

/// Collects what an expression names.
pub(crate) fn reads(expression: &Expr<'_>, found: &mut Vec<Read>) {
    if let Some((name, keys)) = parts(expression) {
        let mut path = Path { root: Root::named(name), keys };
        let member = path.keys.get(1).filter(|_| path.root == Root::Webhook).cloned();
        path.keys.truncate(usize::from(!matches!(path.root, Root::Name | Root::Field(_))));
        match found.iter_mut().find(|known| known.name == name && known.path == path) {
            Some(known) => {
                known.times += 1;
                known.members.extend(member);
            }
            None => found.push(Read { name: name.to_string(), path, times: 1, members: member.into_iter().collect() }),
        }
        return;
    }
    children(expression, &mut |child| reads(child, found));
}

/// Calls `visit` for an expression and all in it.
pub(crate) fn walk(expression: &Expr<'_>, visit: &mut dyn FnMut(&Expr<'_>)) {
    visit(expression);
    children(expression, &mut |child| walk(child, visit));
}

fn children(expression: &Expr<'_>, visit: &mut dyn FnMut(&Expr<'_>)) {
    match expression {
        Expr::Var(_) | Expr::Const(_) => {}
        Expr::Slice(slice) => {
            visit(&slice.expr);
            [&slice.start, &slice.stop, &slice.step].into_iter().flatten().for_each(visit);
        }
        Expr::UnaryOp(operation) => visit(&operation.expr),
        Expr::BinOp(operation) => {
            visit(&operation.left);
            visit(&operation.right);
        }
        Expr::Compare(compare) => {
            visit(&compare.expr);
            compare.ops.iter().for_each(|operation| visit(&operation.expr));
        }
        Expr::IfExpr(choice) => {
            visit(&choice.test_expr);
            visit(&choice.true_expr);
            choice.false_expr.iter().for_each(visit);
        }
        Expr::Filter(filter) => {
            filter.expr.iter().for_each(&mut *visit);
            arguments(&filter.args, visit);
        }
        Expr::Test(test) => {
            visit(&test.expr);
            arguments(&test.args, visit);
        }
        Expr::GetAttr(attribute) => visit(&attribute.expr),
        Expr::GetItem(item) => {
            visit(&item.expr);
            visit(&item.subscript_expr);
        }
        Expr::Call(call) => {
            visit(&call.expr);
            arguments(&call.args, visit);
        }
        Expr::List(list) => list.items.iter().for_each(visit),
        Expr::Tuple(tuple) => tuple.items.iter().for_each(visit),
        Expr::Map(map) => map.keys.iter().chain(&map.values).for_each(visit),
    }
}

fn arguments(arguments: &[CallArg<'_>], visit: &mut dyn FnMut(&Expr<'_>)) {
    for argument in arguments {
        match argument {
            CallArg::Pos(value) | CallArg::Kwarg(_, value) | CallArg::PosSplat(value) | CallArg::KwargSplat(value) => {
                visit(value);
            }
        }
    }
}

/// What a place that can hold nothing should be called instead.
pub(crate) fn dead_end(read: &Read) -> Option<String> {
    match (&read.path.root, read.path.keys.first()) {
        (Root::Webhook, Some(key)) if !OF_WEBHOOK.contains(&key.as_str()) => {
            Some(format!("`webhook` has no `{key}`: it has {}", OF_WEBHOOK.join(", ")))
        }
        (Root::Field(name), _) => {
            let lower = name.to_lowercase();
            let meant = match lower.as_str() {
                "userattribute" | "userattributes" => "UserAttribute['Name']",
                "eventattribute" | "eventattributes" => "EventAttribute['Name']",
                "deviceattribute" | "deviceattributes" => "DeviceAttribute['Name']",
                _ => return None,
            };
            Some(format!("`{name}` is nothing that an event has: write {meant}"))
        }
        _ => None,
    }
}
