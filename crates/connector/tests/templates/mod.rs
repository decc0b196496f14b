//! Bodies that print valid JSON whatever fills them, written by a seeded grammar: loops, filters, macros, variables, conditions, blanks
//! that tags take away. And the same with a comma missing.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// One body.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) body: String,
    /// Jinja 2.8 cannot read it.
    #[allow(dead_code, reason = "not every test asks it")]
    pub(crate) is_newer: bool,
}

/// What is left out of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Without {
    #[allow(dead_code, reason = "not every test asks it")]
    Nothing,
    /// The comma between the elements of its first loop.
    Separator,
    /// The comma behind its first member.
    Comma,
}

/// Filters that make a text safe between JSON's quotes, as `lint` writes them.
const CHAIN: &str = r#"|string|replace('\\', '\\\\')|replace('"', '\\"')|replace('\n', '\\n')|replace('\r', '\\r')|replace('\t', '\\t')"#;

const TEXTS: [&str; 6] = [
    "UserAttribute['First Name']",
    "UserAttribute['Tier']",
    "EventAttribute['City']",
    "EventAttribute[\"Coupon\"]",
    "EventAttribute.Channel",
    "UserAttribute.get('Language')",
];
const NUMBERS: [&str; 3] = ["EventAttribute['Count']", "EventAttribute['Score']", "UserAttribute['Age']"];
/// Lists of objects that have `sku`, `qty` and `tags`.
const LISTS: [&str; 2] = ["EventAttribute['Items']", "EventAttribute['Products']"];
/// Lists of texts.
const WORDS: [&str; 2] = ["EventAttribute['Tags']", "UserAttribute['Interests']"];
const OBJECTS: [&str; 1] = ["EventAttribute['Options']"];

/// The body of a seed.
pub(crate) fn written(seed: u64, without: Without) -> Written {
    let mut writer = Writer {
        random: StdRng::seed_from_u64(seed),
        without,
        is_newer: false,
        loops: 0,
        variables: 0,
        macros: String::new(),
    };
    let members: Vec<String> = (0..writer.random.random_range(1..6)).map(|at| writer.member(at)).collect();
    // each has a loop
    let list = writer.list();
    let comma = if without == Without::Comma { "" } else { "," };
    let id = writer.id();
    let time = writer.time();
    let uuid = ["{{ EventAttribute['Order ID']CHAIN }}", "{{ esc(EventAttribute['Order ID']) }}"];
    let uuid = writer.one(&uuid).replace("CHAIN", CHAIN);
    let uuid = writer.with_macros(uuid);
    let (open, close) = writer.around();
    let body = format!(
        "{open}{{\n  \"event\": \"purchase\"{comma}\n  \"distinct_id\": \"{id}\",\n  \"uuid\": \"{uuid}\",\n  \"timestamp\": \"{time}\",\n  \
         \"properties\": {{\n    \"list\": {list}{}\n  }}\n}}{close}\n",
        members.concat(),
    );
    Written { body: format!("{}{body}", writer.macros), is_newer: writer.is_newer }
}

struct Writer {
    random: StdRng,
    without: Without,
    is_newer: bool,
    loops: usize,
    variables: usize,
    macros: String,
}

impl Writer {
    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of.choose(&mut self.random).unwrap_or(&"")
    }

    /// A number that decides among so many.
    fn die(&mut self, sides: u32) -> u32 {
        self.random.random_range(0..sides)
    }

    /// A statement, which may take the blanks around it.
    fn tag(&mut self, inside: &str) -> String {
        let (open, close) = ([" ", "- ", "- "][self.die(3) as usize], [" ", " -", " -"][self.die(3) as usize]);
        format!("{{%{open}{inside}{close}%}}")
    }

    fn name(&mut self) -> String {
        self.variables += 1;
        format!("v{}", self.variables)
    }

    /// Adds the macros that a piece calls.
    fn with_macros(&mut self, piece: String) -> String {
        for (call, declared) in [
            ("esc(", "{%- macro esc(v) -%}{{ vCHAIN }}{%- endmacro -%}\n".to_string()),
            (
                "quoted(",
                "{% macro quoted(v, otherwise='') %}\"{{ (v or otherwise)CHAIN }}\"{% endmacro %}\n".to_string(),
            ),
            (
                "line(",
                "{% macro line(p) -%}\n{\"sku\": \"{{ p.skuCHAIN }}\", \"qty\": {{ p['qty']|int }}}\n{%- endmacro %}\n"
                    .to_string(),
            ),
            (
                "wrap(",
                "{%- macro wrap(kind) -%}{\"kind\": \"{{ kind }}\", \"inner\": {{ caller() }}}{%- endmacro -%}\n"
                    .to_string(),
            ),
        ] {
            if piece.contains(call) && !self.macros.contains(&format!("macro {call}")) {
                self.macros += &declared.replace("CHAIN", CHAIN);
            }
        }
        piece
    }

    /// What stands around the whole body.
    fn around(&mut self) -> (String, String) {
        let (tier, city) = ("UserAttribute['Tier']", "EventAttribute['City']");
        match self.die(5) {
            0 => (
                format!("{{%- if {tier} == 'gold' -%}}\n"),
                "\n{%- else -%}{% MOE_NOT_SEND(\"no gold\") %}{%- endif -%}".to_string(),
            ),
            1 => (
                format!("{{% if {city} is defined %}}"),
                "{% else %}{% MOE_NOT_SEND(\"no city\") %}{% endif %}".to_string(),
            ),
            2 => ("{# a note: {{ x }} #}\n".to_string(), String::new()),
            _ => (String::new(), String::new()),
        }
    }

    fn id(&mut self) -> String {
        let id = "UserAttribute['ID']";
        let piece = match self.die(4) {
            0 => format!("{{{{ {id}|default('MOE_NOT_SEND', true){CHAIN} }}}}"),
            1 => format!("{{% if not {id} %}}{{% MOE_NOT_SEND(\"no ID\") %}}{{% endif %}}{{{{ {id}{CHAIN} }}}}"),
            2 => format!("{{%- if not {id} -%}}{{% MOE_NOT_SEND(\"no ID\") %}}{{%- endif -%}}{{{{- esc({id}) -}}}}"),
            _ => format!("{{{{ esc({id}|default('MOE_NOT_SEND', true)|trim) }}}}"),
        };
        self.with_macros(piece)
    }

    fn time(&mut self) -> String {
        let piece = match self.die(4) {
            0 => "{{ EventAttribute['Ordered At']|dateTimeFormatter(toFormat='%Y-%m-%dT%H:%M:%S%z', timeZone='Asia/Kolkata') }}".to_string(),
            1 => "{{ '%Y-%m-%dT%H:%M:%SZ'|today('UTC') }}".to_string(),
            2 => "{{ EventAttribute['Ordered At']|dateTimeFormatter(fromFormat='%d/%m/%Y', toFormat='%Y-%m-%dT%H:%M:%S%z', tzOffset=330) }}".to_string(),
            _ => format!("{{{{ EventAttribute['Ordered At']{CHAIN} }}}}"),
        };
        self.with_macros(piece)
    }

    /// A member with its comma in front, which may be there only for some.
    fn member(&mut self, at: usize) -> String {
        let value = self.value(2);
        let member = format!(",\n    \"m{at}\": {value}");
        match self.die(5) {
            0 => {
                let asked = self.one(&TEXTS);
                let test = [asked.to_string(), format!("{asked} is defined"), format!("{asked} not in ['x', 'y']")];
                let test = &test[self.die(3) as usize];
                format!("{}{member}{}", self.tag(&format!("if {test}")), self.tag("endif"))
            }
            1 => {
                let name = self.name();
                let text = self.one(&TEXTS);
                let set = self.tag(&format!("set {name} = {text}|default('none')"));
                format!("{set}{member},\n    \"n{at}\": \"{{{{ {name}{CHAIN} }}}}\"")
            }
            _ => member,
        }
    }

    fn value(&mut self, depth: u32) -> String {
        let piece = match self.die(if depth == 0 { 3 } else { 6 }) {
            0 => self.text(),
            1 => self.number(),
            2 => self.boolean(),
            3 => self.list(),
            4 => self.object(),
            _ => {
                let inner = self.value(depth - 1);
                format!("{{% call wrap('k') %}}{inner}{{% endcall %}}")
            }
        };
        self.with_macros(piece)
    }

    fn text(&mut self) -> String {
        let (x, y) = (self.one(&TEXTS), self.one(&TEXTS));
        match self.die(14) {
            0 => format!("\"{{{{ {x}|default('none', true){CHAIN} }}}}\""),
            1 => format!("{{{{ quoted({x}) }}}}"),
            2 => format!("{{{{ quoted({x}, otherwise={y}) }}}}"),
            3 => format!("\"{{{{ ({x} ~ ' / ' ~ {y}){CHAIN} }}}}\""),
            4 => format!("\"{{{{ {x}|upper|trim{CHAIN} }}}}\""),
            5 => format!("\"{{% if {x} %}}{{{{ {x}{CHAIN} }}}}{{% else %}}guest{{% endif %}}\""),
            6 => "\"{% raw %}{{ kept }} {% it too %}{% endraw %}\"".to_string(),
            7 => format!("\"{{# {{{{ hidden }}}} #}}{{{{- {x}{CHAIN} -}}}}\""),
            8 => format!("\"{{{{ {x}|convertToSHA256NoSalt() }}}}{{{{ {y}|convertToSHA256('key') }}}}\""),
            9 => format!(
                "\"https://x.example/?q={{{{ {x}|default('')|string|urlencode }}}}&b={{{{ {y}|default('')|string|base64encode }}}}\""
            ),
            10 => format!("\"{{{{ ({x}|string)[:3]{CHAIN} }}}}\""),
            11 => format!("\"{{{{ {}|join(', '){CHAIN} }}}}\"", self.one(&WORDS)),
            12 => format!("\"{{{{ {}|map(attribute='sku')|join('; '){CHAIN} }}}}\"", self.one(&LISTS)),
            _ => format!("\"{{{{ {x}{CHAIN} }}}}\""),
        }
    }

    fn number(&mut self) -> String {
        let n = self.one(&NUMBERS);
        match self.die(11) {
            0 => format!("{{{{ {n}|default(0)|float|round(2) }}}}"),
            1 => format!("{{{{ {n}|default(0)|int * 2 + 1 }}}}"),
            2 => format!("{{{{ {}|length }}}}", self.one(&LISTS)),
            3 => format!("{{% if {n} is number %}}{{{{ {n} }}}}{{% else %}}null{{% endif %}}"),
            4 => "{{ '12/10/2020'|days('14/10/2020') }}".to_string(),
            5 => format!("{{{{ {n} if {n} is number else 0 }}}}"),
            6 => {
                self.is_newer = true;
                let (sum, list) = (self.name(), self.one(&LISTS));
                format!(
                    "{{% set {sum} = namespace(total=0) %}}{{% for p in {list} %}}{{% set {sum}.total = {sum}.total + p.qty|int %}}{{% endfor %}}{{{{ {sum}.total }}}}"
                )
            }
            7 => format!("{{{{ {}|map(attribute='qty')|map('int')|sum }}}}", self.one(&LISTS)),
            8 => format!("{{{{ {}|groupby('sku')|list|length }}}}", self.one(&LISTS)),
            9 => format!("{{{{ ({}|first|default({{'qty': 7}})).qty|int }}}}", self.one(&LISTS)),
            _ => format!("{{{{ {n}|default(0)|int }}}}"),
        }
    }

    fn boolean(&mut self) -> String {
        let x = self.one(&TEXTS);
        match self.die(5) {
            0 => format!("{{{{ 'true' if {x} else 'false' }}}}"),
            1 => format!("{{{{ ({x} == 'gold')|string|lower }}}}"),
            2 => format!(
                "{{% if {x} in ['gold', 'silver'] %}}true{{% elif not {x} %}}null{{% else %}}false{{% endif %}}"
            ),
            3 => format!("{{{{ ({}|length != 0)|lower }}}}", self.one(&LISTS)),
            _ => "{% if EventAttribute['Gift'] == true %}true{% else %}false{% endif %}".to_string(),
        }
    }

    /// A list by a loop, with a comma between two.
    fn list(&mut self) -> String {
        self.loops += 1;
        let (of_objects, die) = (self.die(2) == 0, self.die(9));
        let list = if of_objects { self.one(&LISTS) } else { self.one(&WORDS) };
        let element = if of_objects { self.element() } else { format!("\"{{{{ p{CHAIN} }}}}\"") };
        let element = self.with_macros(element);
        let left_out = self.without == Without::Separator && self.loops == 1;
        let (before, first, last) = if left_out {
            (String::new(), String::new(), String::new())
        } else {
            match die {
                0 => (String::new(), String::new(), "{% if not loop.last %},{% endif %}".to_string()),
                1 => (String::new(), "{% if not loop.first %},{% endif %}".to_string(), String::new()),
                2 => (String::new(), String::new(), "{{ \",\" if not loop.last }}".to_string()),
                3 => (String::new(), String::new(), "{{ ', ' if not loop.last else '' }}".to_string()),
                4 => (String::new(), "{%- if loop.index > 1 -%},{%- endif -%}".to_string(), String::new()),
                5 => (String::new(), "{{ '' if loop.index0 == 0 else ',' }}".to_string(), String::new()),
                6 => (String::new(), String::new(), "{% if loop.index != loop.length %}, {% endif %}".to_string()),
                7 => {
                    let comma = self.name();
                    (format!("{{% set {comma} = joiner(',') %}}"), format!("{{{{ {comma}() }}}}"), String::new())
                }
                _ => (String::new(), String::new(), "{%- if loop.revindex != 1 -%},{%- endif -%}".to_string()),
            }
        };
        let over = match self.die(5) {
            0 if of_objects => format!("{list}|sort(attribute='sku')"),
            // 2.8 knows the length of no loop that leaves some out
            1 if of_objects && ![6, 8].contains(&die) => format!("{list} if p.qty is defined"),
            2 => format!("{list}[:2]"),
            3 => format!("{list}|reverse|list"),
            _ => list.to_string(),
        };
        let (start, end) = (self.tag(&format!("for p in {over}")), self.tag("endfor"));
        let otherwise = if self.die(4) == 0 { "{% else %}null" } else { "" };
        format!("{before}[{start}{first}{element}{last}{otherwise}{end}]")
    }

    fn element(&mut self) -> String {
        match self.die(5) {
            0 => "{{ line(p) }}".to_string(),
            1 => format!(
                "{{\"sku\": \"{{{{ p.sku{CHAIN} }}}}\", \"at\": {{{{ loop.index }}}}, \"odd\": \"{{{{ loop.cycle('a', 'b') }}}}\"}}"
            ),
            2 => format!(
                "{{\"tags\": [{{% for t in p.tags %}}\"{{{{ t{CHAIN} }}}}\"{{{{ \",\" if not loop.last }}}}{{% endfor %}}]}}"
            ),
            3 => format!(
                "{{% set twice = p.qty|int * 2 %}}{{\"twice\": {{{{ twice }}}}{{% if p.sku %}}, \"sku\": \"{{{{ p['sku']{CHAIN} }}}}\"{{% endif %}}}}"
            ),
            _ => format!("{{\"sku\": \"{{{{ p.sku{CHAIN} }}}}\", \"qty\": {{{{ p.qty|int }}}}}}"),
        }
    }

    fn object(&mut self) -> String {
        let of = self.one(&OBJECTS);
        let pair = format!("\"{{{{ k{CHAIN} }}}}\": \"{{{{ v{CHAIN} }}}}\"{{{{ \",\" if not loop.last }}}}");
        match self.die(3) {
            0 => format!("{{ {{% for k, v in {of}|dictsort %}}{pair}{{% endfor %}} }}"),
            1 => format!(
                "{{% if {of} %}}{{ {{%- for k, v in {of}.items() -%}}{pair}{{%- endfor -%}} }}{{% else %}}null{{% endif %}}"
            ),
            _ => {
                format!("{{\"colour\": \"{{{{ {of}.colour{CHAIN} }}}}\", \"size\": \"{{{{ {of}['size']{CHAIN} }}}}\"}}")
            }
        }
    }
}
