//! An expression written down again, so that a part of one can be compiled by itself.

use minijinja::{
    Value,
    machinery::ast::{BinOpKind, CallArg, CompareOpKind, Expr, UnaryOpKind},
};

use super::{filters, path, size};

/// The text of an expression, with brackets around all that it is made of; none for what cannot be written.
pub(crate) fn of(expression: &Expr<'_>) -> Option<String> {
    write(expression, false)
}

/// The same, with a filter around what is multiplied that lets no array through: the engine would make one that holds it a
/// hundred million times, and counts nothing of that.
pub(crate) fn guarded(expression: &Expr<'_>) -> Option<String> {
    write(expression, true)
}

/// Whether it multiplies something.
pub(crate) fn multiplies(expression: &Expr<'_>) -> bool {
    let mut multiplies = false;
    path::walk(expression, &mut |part| {
        multiplies |= matches!(part, Expr::BinOp(operation) if matches!(operation.op, BinOpKind::Mul));
    });
    multiplies
}

fn write(expression: &Expr<'_>, is_guarded: bool) -> Option<String> {
    let of = |expression: &Expr<'_>| write(expression, is_guarded);
    let all = |expressions: &[Expr<'_>]| expressions.iter().map(of).collect::<Option<Vec<_>>>();
    let arguments = |arguments: &[CallArg<'_>]| self::arguments(arguments, is_guarded);
    Some(match expression {
        Expr::Var(name) => name.id.to_string(),
        Expr::Const(constant) => constant_of(&constant.value)?,
        Expr::Slice(slice) => {
            let part = |part: &Option<Expr<'_>>| part.as_ref().map_or(Some(String::new()), of);
            format!("{}[{}:{}:{}]", of(&slice.expr)?, part(&slice.start)?, part(&slice.stop)?, part(&slice.step)?)
        }
        Expr::UnaryOp(operation) => match operation.op {
            UnaryOpKind::Not => format!("(not {})", of(&operation.expr)?),
            UnaryOpKind::Neg => format!("(-{})", of(&operation.expr)?),
        },
        Expr::BinOp(operation) if is_guarded && matches!(operation.op, BinOpKind::Mul) => {
            let single = |operand: &Expr<'_>| Some(format!("({} | {})", of(operand)?, filters::SINGLE));
            format!("({} * {})", single(&operation.left)?, single(&operation.right)?)
        }
        Expr::BinOp(operation) => {
            format!("({} {} {})", of(&operation.left)?, operator(operation.op), of(&operation.right)?)
        }
        Expr::Compare(compare) => {
            let mut text = of(&compare.expr)?;
            for operation in &compare.ops {
                text = format!("{text} {} {}", comparison(operation.op), of(&operation.expr)?);
            }
            format!("({text})")
        }
        Expr::IfExpr(choice) => {
            let otherwise =
                choice.false_expr.as_ref().map_or(Some(String::new()), |other| Some(format!(" else {}", of(other)?)));
            format!("({} if {}{})", of(&choice.true_expr)?, of(&choice.test_expr)?, otherwise?)
        }
        Expr::Filter(filter) => {
            format!("({} | {}{})", of(filter.expr.as_ref()?)?, filter.name, arguments(&filter.args)?)
        }
        Expr::Test(test) => format!("({} is {}{})", of(&test.expr)?, test.name, arguments(&test.args)?),
        Expr::GetAttr(attribute) => format!("{}.{}", of(&attribute.expr)?, attribute.name),
        Expr::GetItem(item) => format!("{}[{}]", of(&item.expr)?, of(&item.subscript_expr)?),
        Expr::List(list) => format!("[{}]", all(&list.items)?.join(", ")),
        Expr::Map(map) => {
            let members = all(&map.keys)?.into_iter().zip(all(&map.values)?);
            format!("{{{}}}", members.map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(", "))
        }
        Expr::Tuple(_) | Expr::Call(_) => return None,
    })
}

fn arguments(arguments: &[CallArg<'_>], is_guarded: bool) -> Option<String> {
    if arguments.is_empty() {
        return Some(String::new());
    }
    let argument = |argument: &CallArg<'_>| match argument {
        CallArg::Pos(value) => write(value, is_guarded),
        CallArg::Kwarg(name, value) => Some(format!("{name}={}", write(value, is_guarded)?)),
        CallArg::PosSplat(_) | CallArg::KwargSplat(_) => None,
    };
    Some(format!("({})", arguments.iter().map(argument).collect::<Option<Vec<_>>>()?.join(", ")))
}

/// A constant as JSON, which the engine reads.
fn constant_of(value: &Value) -> Option<String> {
    if value.is_none() { Some("none".to_string()) } else { super::json_text::json(value, size::MAX_FILE_BYTES).ok() }
}

fn operator(operator: BinOpKind) -> &'static str {
    match operator {
        BinOpKind::Eq => "==",
        BinOpKind::Ne => "!=",
        BinOpKind::Lt => "<",
        BinOpKind::Lte => "<=",
        BinOpKind::Gt => ">",
        BinOpKind::Gte => ">=",
        BinOpKind::ScAnd => "and",
        BinOpKind::ScOr => "or",
        BinOpKind::Add => "+",
        BinOpKind::Sub => "-",
        BinOpKind::Mul => "*",
        BinOpKind::Div => "/",
        BinOpKind::FloorDiv => "//",
        BinOpKind::Rem => "%",
        BinOpKind::Pow => "**",
        BinOpKind::Concat => "~",
        BinOpKind::In => "in",
    }
}

fn comparison(operator: CompareOpKind) -> &'static str {
    match operator {
        CompareOpKind::Eq => "==",
        CompareOpKind::Ne => "!=",
        CompareOpKind::Lt => "<",
        CompareOpKind::Lte => "<=",
        CompareOpKind::Gt => ">",
        CompareOpKind::Gte => ">=",
        CompareOpKind::In => "in",
        CompareOpKind::NotIn => "not in",
    }
}

#[cfg(test)]
mod tests {
    use minijinja::machinery::parse_expr;

    use super::*;

    /// The tree without the places of its parts.
    fn shape(source: &str) -> String {
        let tree = format!("{:?}", parse_expr(source).unwrap());
        let mut shape = String::new();
        let mut rest = tree.as_str();
        while let Some((before, after)) = rest.split_once(" @ ") {
            shape += before;
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || ":-".contains(c));
        }
        shape + rest
    }

    #[test]
    fn what_is_written_reads_as_what_was_read() {
        for source in [
            "event == 'a' and not (n > 3 or m is divisibleby(2))",
            "(EventAttribute['a b'] | default('x\"y') | lower) ~ '-' ~ uid",
            "1 < n <= 3.5 and -n ** 2 // 3 % 2 - 1 / 4 != none",
            "'a' in ['a', \"b\"] and event not in ['c'] and x.y[0].z[1:2] == {'k': [true, 1]}",
            "a if b else c",
            "t | dateTimeFormatter(toFormat='%Y')",
            "a is not defined",
        ] {
            let written = of(&parse_expr(source).unwrap()).unwrap();
            assert_eq!(shape(&written), shape(source), "{source} became {written}");
        }
    }
}
