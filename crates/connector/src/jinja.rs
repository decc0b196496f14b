//! What a generated body is made of: macros that print any value as JSON.
//!
//! MoEngage's engine is Jinja, 3.1 on one of its pages and 2.8 on another, and supports "all other standard functions of
//! Jinja"; `tojson` is newer than 2.8 and named nowhere. So the macros use what 2.8 has: `if`, `for`, `replace`, `string`,
//! `trim`, `lower`, `float`, slices and tests; a test's argument is bracketed, since 2.8 reads `sameas true or x` as
//! `sameas(true or x)`. They compare without `<` and `>`, which MoEngage's rich editor turns into entities, and print the same
//! where HTML is escaped by itself.
//!
//! Source: MoEngage, "Jinja Templating Language" and "Personalization Overview" (read 2026-08).

use crate::attribute::Attribute;

/// How a property's value is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// As MoEngage has it: text, number, boolean, list or object.
    #[default]
    AsIs,
    /// A text that is a plain decimal of at most 15 digits becomes a number; all else is as MoEngage has it.
    Number,
    /// The texts `true` and `false`, in any case, become booleans; all else is as MoEngage has it.
    Boolean,
}

impl Kind {
    /// Its name on the command line, and in the body.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AsIs => "",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// The macros that a body needs, in the order that they call each other.
pub(crate) fn macros(properties: bool, number: bool, boolean: bool) -> String {
    let mut text = INNER.replace("CHAIN", &chain(&controls()));
    text += TEXT;
    if properties {
        text += JSON;
        if number {
            text += &NUMBER.replace("DIGITS", &digits());
        }
        if boolean {
            text += BOOLEAN;
        }
        let mut kinds = String::new();
        for (used, kind) in [(number, "number"), (boolean, "boolean")] {
            if used {
                kinds += &format!("{{%- elif kind == '{kind}' -%}}{{{{ {kind}(v) }}}}\n");
            }
        }
        text += &if kinds.is_empty() { PLAIN_FIELD.to_string() } else { FIELD.replace("KINDS\n", &kinds) };
    }
    text
}

/// The filters that make a text safe between JSON's quotes, for the characters that texts of people hold.
pub(crate) fn short_chain() -> String {
    chain(&['\n', '\r', '\t'])
}

/// MoEngage's statement that ends a request, with the reason that its error breakdown shows.
pub(crate) fn not_send(missing: &Attribute) -> String {
    let plain = |character: &char| character.is_alphanumeric() || " ()_.-".contains(*character);
    format!("{{% MOE_NOT_SEND(\"no {}\") %}}", missing.name.chars().filter(plain).collect::<String>())
}

/// A JSON value that Jinja prints as it stands, since nothing in it opens a tag.
pub(crate) fn constant(value: &serde_json::Value) -> String {
    value.to_string().replace("{{", "{\\u007b").replace("{%", "{\\u0025").replace("{#", "{\\u0023")
}

fn controls() -> Vec<char> {
    (0..0x20_u8).map(char::from).collect()
}

fn chain(controls: &[char]) -> String {
    let mut chain = String::from(r#"|string|replace('\\', '\\\\')|replace('"', '\\"')"#);
    for control in controls {
        let (from, to) = match control {
            '\n' => ("\\n".to_string(), "\\\\n".to_string()),
            '\r' => ("\\r".to_string(), "\\\\r".to_string()),
            '\t' => ("\\t".to_string(), "\\\\t".to_string()),
            control => {
                let code = u32::from(*control);
                (format!("\\u{code:04x}"), format!("\\\\u{code:04x}"))
            }
        };
        chain += &format!("|replace('{from}', '{to}')");
    }
    chain
}

fn digits() -> String {
    (0..10).map(|digit| format!("|replace('{digit}', '')")).collect()
}

const INNER: &str = "\
{%- macro inner(v) -%}
{{ vCHAIN|safe }}
{%- endmacro -%}
";

const TEXT: &str = r#"{%- macro text(v) -%}
"{{ inner(v) }}"
{%- endmacro -%}
{%- macro usable(v) -%}
{%- if v is string or not (v is none or v is sameas(true) or v is sameas(false) or v is mapping or v is iterable) -%}
{%- if v|string|trim -%}yes{%- endif -%}
{%- endif -%}
{%- endmacro -%}
"#;

/// A number is printed as one where it is finite and JSON readers take it: `308` digits are below the largest double.
const JSON: &str = "\
{%- macro json(v) -%}
{%- if v is none -%}null
{%- elif v is sameas(true) -%}true
{%- elif v is sameas(false) -%}false
{%- elif v is string -%}{{ text(v) }}
{%- elif v is number -%}
{%- if (v|string)[308:] == '' and (v|float) - (v|float) == 0 -%}{{ v }}{%- else -%}{{ text(v) }}{%- endif -%}
{%- elif v is mapping -%}
{ {%- for k in v -%}{{ text(k) }}:{{ json(v[k]) }}{%- if not loop.last -%},{%- endif -%}{%- endfor -%} }
{%- elif v is iterable -%}
[{%- for x in v -%}{{ json(x) }}{%- if not loop.last -%},{%- endif -%}{%- endfor -%}]
{%- else -%}{{ text(v) }}
{%- endif -%}
{%- endmacro -%}
";

/// What is left of a plain decimal without its digits is nothing or one point, which stands between two of them.
const NUMBER: &str = "\
{%- macro number(v) -%}
{%- if v is string -%}
{%- set u = v[1:] if v[:1] == '-' else v -%}
{%- if u and (uDIGITS) in ['', '.'] and u[:1] != '.' and u[-1:] != '.' and (u[:1] != '0' or u[1:2] in ['', '.'])
  and (u|replace('.', ''))[15:] == '' -%}{{ v }}{%- else -%}{{ text(v) }}{%- endif -%}
{%- else -%}{{ json(v) }}{%- endif -%}
{%- endmacro -%}
";

const BOOLEAN: &str = "\
{%- macro boolean(v) -%}
{%- if v is string and v|lower in ['true', 'false'] -%}{{ v|lower }}{%- else -%}{{ json(v) }}{%- endif -%}
{%- endmacro -%}
";

/// Where no property has a kind of its own.
const PLAIN_FIELD: &str = "\
{%- macro field(name, v) -%}
{%- if v is not none and v != '' -%}, {{ text(name) }}: {{ json(v) }}{%- endif -%}
{%- endmacro -%}
";

const FIELD: &str = "\
{%- macro field(name, v, kind='') -%}
{%- if v is not none and v != '' -%}, {{ text(name) }}: {% if kind == '' -%}{{ json(v) }}
KINDS
{%- endif -%}
{%- endif -%}
{%- endmacro -%}
";
