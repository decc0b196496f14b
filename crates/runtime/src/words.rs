//! What a deserializer says, in the words of whoever wrote the file.

/// What is wrong with a value. `message` may quote the value, which is left out; of a secret, so is the name that stands there.
pub(crate) fn in_words(message: &str, is_secret: bool) -> String {
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let Some((name, known)) = rest.split_once("`, ").filter(|_| !is_secret) else {
            return "there is no such key: take it out".to_string();
        };
        let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
        return format!("there is no key `{name}`: {}", meant(name, &known));
    }
    if let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return format!("`{name}` is missing: add it");
    }
    if let Some(name) = message.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`')) {
        return format!("`{name}` stands there twice: take one out");
    }
    if message == "invalid socket address syntax" {
        return format!("not {}", wanted("socket address"));
    }
    let Some((said, expected)) = message.rsplit_once(", expected ") else { return message.to_string() };
    // `string "…"`: the kind is told, the value is not
    let kind = said.strip_prefix("invalid type: ").map(|value| value.split(['"', '`']).next().unwrap_or_default());
    match kind.map(str::trim) {
        Some(kind) => format!("{} where {} is wanted", is(kind), wanted(expected)),
        None => format!("write {}", wanted(expected)),
    }
}

/// A kind of value, as it was found.
fn is(kind: &str) -> &str {
    match kind {
        "string" => "a text",
        "integer" => "a whole number",
        "floating point" => "a number with a fraction",
        "boolean" => "true or false",
        "map" => "a table",
        "sequence" => "a list",
        other => other,
    }
}

/// A kind of value, as it is wanted. Whoever reads it knows no type of ours.
fn wanted(kind: &str) -> String {
    match kind {
        "u8" => "a whole number from 0 to 255".to_string(),
        "u16" => "a whole number from 0 to 65535".to_string(),
        "u32" | "u64" | "usize" | "i32" | "i64" | "isize" => "a whole number".to_string(),
        "f32" | "f64" => "a number".to_string(),
        "a boolean" => "true or false".to_string(),
        "a string" | "string" | "path string" => "a text".to_string(),
        "a sequence" | "sequence" => "a list, as in [\"…\"],".to_string(),
        "a map" | "map" => "a table".to_string(),
        "socket address" => "an address with a port, such as 127.0.0.1:8080".to_string(),
        name if name.starts_with("struct ") => "a table".to_string(),
        other => other.to_string(),
    }
}

/// The name that was meant, as a question, or all there are.
pub fn meant<S: AsRef<str>>(name: &str, known: &[S]) -> String {
    match closest(name, known) {
        Some(closest) => format!("did you mean `{closest}`?"),
        None if known.is_empty() => "take it out".to_string(),
        None => {
            let known: Vec<_> = known.iter().map(|name| format!("`{}`", name.as_ref())).collect();
            format!("there are {}", known.join(", "))
        }
    }
}

/// The known name that is closest to one that was written, where one is close.
fn closest<'a, S: AsRef<str>>(name: &str, known: &'a [S]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let near = known.iter().map(AsRef::as_ref).map(|known| (strsim::damerau_levenshtein(&name, known), known));
    // one slip in each three characters
    near.filter(|(slips, known)| *slips <= (known.chars().count() / 3).max(1)).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deserializers_words_become_those_of_the_file() {
        for (said, told) in [
            ("invalid type: string \"many\", expected u16", "a text where a whole number from 0 to 65535 is wanted"),
            ("invalid type: integer `5`, expected a string", "a whole number where a text is wanted"),
            ("invalid type: string \"x\", expected a sequence", "a text where a list, as in [\"…\"], is wanted"),
            ("invalid type: integer `1`, expected struct Http", "a whole number where a table is wanted"),
            ("invalid value: integer `-1`, expected u32", "write a whole number"),
            ("invalid socket address syntax", "not an address with a port, such as 127.0.0.1:8080"),
            ("unknown field `limti`, expected `listen` or `limit`", "there is no key `limti`: did you mean `limit`?"),
            ("unknown field `x`, expected one of `a_key`, `b_key`", "there is no key `x`: there are `a_key`, `b_key`"),
            ("unknown field `x`, there are no fields", "there is no key `x`: take it out"),
            ("missing field `user`", "`user` is missing: add it"),
            ("holds what is not a name", "holds what is not a name"),
        ] {
            assert_eq!(in_words(said, false), told, "{said}");
        }
        assert_eq!(in_words("unknown field `sup3r`, expected `file`", true), "there is no such key: take it out");
    }

    #[test]
    fn only_a_name_that_is_close_was_meant() {
        let known = ["shop", "default", "eu"];
        for (name, told) in [
            ("shpo", "did you mean `shop`?"),
            ("Defualt", "did you mean `default`?"),
            ("e", "did you mean `eu`?"),
            ("warehouse", "there are `shop`, `default`, `eu`"),
        ] {
            assert_eq!(meant(name, &known), told, "{name}");
        }
    }
}
