//! Compares two descriptor sets.

use std::collections::BTreeMap;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

/// Everything of a set by its full name.
#[derive(Default)]
struct Names<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    enums: BTreeMap<String, &'a EnumDescriptorProto>,
    methods: BTreeMap<String, &'a MethodDescriptorProto>,
}

impl<'a> Names<'a> {
    fn of(set: &'a FileDescriptorSet) -> Self {
        let mut names = Self::default();
        for file in &set.file {
            let package = file.package();
            for message in &file.message_type {
                names.message(package, message);
            }
            for each in &file.enum_type {
                names.enums.insert(format!("{package}.{}", each.name()), each);
            }
            for service in &file.service {
                for method in &service.method {
                    names.methods.insert(format!("{package}.{}/{}", service.name(), method.name()), method);
                }
            }
        }
        names
    }

    fn message(&mut self, within: &str, message: &'a DescriptorProto) {
        let name = format!("{within}.{}", message.name());
        for nested in &message.nested_type {
            self.message(&name, nested);
        }
        for each in &message.enum_type {
            self.enums.insert(format!("{name}.{}", each.name()), each);
        }
        self.messages.insert(name, message);
    }
}

/// What `new` takes back of what `old` said, a line each. Additions are none.
pub(crate) fn breaks(old: &FileDescriptorSet, new: &FileDescriptorSet) -> Vec<String> {
    let (old, new) = (Names::of(old), Names::of(new));
    let mut broken = Vec::new();
    for (name, message) in &old.messages {
        match new.messages.get(name) {
            Some(now) => compare_messages(name, message, now, &mut broken),
            None => broken.push(format!("message {name} is gone")),
        }
    }
    for (name, each) in &old.enums {
        match new.enums.get(name) {
            Some(now) => compare_enums(name, each, now, &mut broken),
            None => broken.push(format!("enum {name} is gone")),
        }
    }
    for (name, method) in &old.methods {
        match new.methods.get(name) {
            Some(now) => compare_methods(name, method, now, &mut broken),
            None => broken.push(format!("method {name} is gone")),
        }
    }
    broken
}

fn compare_messages(name: &str, old: &DescriptorProto, new: &DescriptorProto, broken: &mut Vec<String>) {
    for field in &old.field {
        let (own, number) = (format!("{name}.{}", field.name()), field.number());
        match new.field.iter().find(|now| now.name() == field.name()) {
            None => broken.push(format!("field {own} ({number}) is gone")),
            Some(now) if now.number() != number => {
                broken.push(format!("field {own} has number {}, not {number}", now.number()));
            }
            Some(now) => {
                let (was, is) = (shape(field, old), shape(now, new));
                if was != is {
                    broken.push(format!("field {own} is {is}, not {was}"));
                }
            }
        }
    }
    for range in &old.reserved_range {
        for field in new.field.iter().filter(|field| (range.start()..range.end()).contains(&field.number())) {
            broken.push(format!("field {name}.{} has number {}, which was given up", field.name(), field.number()));
        }
    }
}

/// What a field is on the wire, and in the code on both sides of it.
fn shape(field: &FieldDescriptorProto, message: &DescriptorProto) -> String {
    let repeated = if field.label() == Label::Repeated { "repeated " } else { "" };
    let optional = if field.proto3_optional() { "optional " } else { "" };
    let kind = match field.r#type() {
        Type::Message | Type::Enum | Type::Group => field.type_name().trim_start_matches('.').to_string(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let choice =
        field.oneof_index.filter(|_| !field.proto3_optional()).and_then(|at| message.oneof_decl.get(at as usize));
    let choice = choice.map_or_else(String::new, |choice| format!(" in the choice {}", choice.name()));
    format!("{repeated}{optional}{kind}{choice}")
}

fn compare_enums(name: &str, old: &EnumDescriptorProto, new: &EnumDescriptorProto, broken: &mut Vec<String>) {
    for value in &old.value {
        let (own, number) = (format!("{name}.{}", value.name()), value.number());
        match new.value.iter().find(|now| now.name() == value.name()) {
            None => broken.push(format!("value {own} ({number}) is gone")),
            Some(now) if now.number() != number => {
                broken.push(format!("value {own} has number {}, not {number}", now.number()));
            }
            Some(_) => {}
        }
    }
}

fn compare_methods(name: &str, old: &MethodDescriptorProto, new: &MethodDescriptorProto, broken: &mut Vec<String>) {
    let shape = |method: &MethodDescriptorProto| {
        let stream = |streams| if streams { "stream of " } else { "" };
        let (takes, gives) =
            (method.input_type().trim_start_matches('.'), method.output_type().trim_start_matches('.'));
        format!("{}{takes} to {}{gives}", stream(method.client_streaming()), stream(method.server_streaming()))
    };
    let (was, is) = (shape(old), shape(new));
    if was != is {
        broken.push(format!("method {name} is {is}, not {was}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"
        syntax = "proto3";
        package shop.v1;
        service Till { rpc Pay(Bill) returns (Receipt); rpc Void(Bill) returns (Receipt); }
        message Bill {
          reserved 9;
          string name = 1;
          repeated uint32 prices = 2;
          Kind kind = 3;
          oneof by { string card = 4; string cash = 5; }
          message Line { string text = 1; }
          repeated Line lines = 6;
        }
        message Receipt { optional string id = 1; }
        enum Kind { NONE = 0; FOOD = 1; }
    "#;

    fn compiled(text: &str) -> FileDescriptorSet {
        struct One(String);
        impl protox::file::FileResolver for One {
            fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
                protox::file::File::from_source(name, &self.0)
            }
        }
        let mut compiler = protox::Compiler::with_file_resolver(One(text.to_string()));
        compiler.open_file("shop.proto").unwrap();
        compiler.file_descriptor_set()
    }

    /// What changes when `from` becomes `to` in the file.
    fn edited(from: &str, to: &str) -> Vec<String> {
        let new = OLD.replacen(from, to, 1);
        assert_ne!(new, OLD, "no `{from}` in the file");
        breaks(&compiled(OLD), &compiled(&new))
    }

    #[test]
    fn the_same_and_additions_break_nothing() {
        assert_eq!(breaks(&compiled(OLD), &compiled(OLD)), [""; 0]);
        assert_eq!(edited("string name = 1;", "string name = 1; string more = 7;"), [""; 0]);
        assert_eq!(edited("FOOD = 1;", "FOOD = 1; TOYS = 2;"), [""; 0]);
        assert_eq!(edited("string cash = 5;", "string cash = 5; string cheque = 8;"), [""; 0]);
        assert_eq!(edited("service Till {", "service Shop {} service Till { rpc Ask(Bill) returns (Bill);"), [""; 0]);
        assert_eq!(edited("message Receipt {", "message Other {} message Receipt {"), [""; 0]);
    }

    #[test]
    fn a_field_that_is_gone_renamed_renumbered_or_of_another_type_is_named() {
        assert_eq!(edited("string name = 1;", ""), ["field shop.v1.Bill.name (1) is gone"]);
        assert_eq!(edited("string name = 1;", "string title = 1;"), ["field shop.v1.Bill.name (1) is gone"]);
        assert_eq!(edited("name = 1;", "name = 7;"), ["field shop.v1.Bill.name has number 7, not 1"]);
        assert_eq!(edited("string name", "bytes name"), ["field shop.v1.Bill.name is bytes, not string"]);
        assert_eq!(edited("Kind kind", "Bill kind"), ["field shop.v1.Bill.kind is shop.v1.Bill, not shop.v1.Kind"]);
        assert_eq!(edited("repeated uint32", "uint32"), ["field shop.v1.Bill.prices is uint32, not repeated uint32"]);
        assert_eq!(
            edited("optional string id", "string id"),
            ["field shop.v1.Receipt.id is string, not optional string"]
        );
        assert_eq!(
            edited("oneof by { string card = 4; string cash = 5; }", "string card = 4; oneof by { string cash = 5; }"),
            ["field shop.v1.Bill.card is string, not string in the choice by"]
        );
        assert_eq!(edited("string text = 1;", ""), ["field shop.v1.Bill.Line.text (1) is gone"]);
        assert_eq!(
            edited("reserved 9;", "string late = 9;"),
            ["field shop.v1.Bill.late has number 9, which was given up"]
        );
    }

    #[test]
    fn a_message_a_value_and_a_method_that_are_gone_or_changed_are_named() {
        let gone = edited("message Line { string text = 1; }\n          repeated Line lines = 6;", "");
        assert_eq!(gone, ["field shop.v1.Bill.lines (6) is gone", "message shop.v1.Bill.Line is gone"]);
        assert_eq!(edited("FOOD = 1;", ""), ["value shop.v1.Kind.FOOD (1) is gone"]);
        assert_eq!(edited("FOOD = 1;", "FOOD = 2;"), ["value shop.v1.Kind.FOOD has number 2, not 1"]);
        assert_eq!(edited("rpc Void(Bill) returns (Receipt);", ""), ["method shop.v1.Till/Void is gone"]);
        assert_eq!(
            edited("rpc Void(Bill) returns (Receipt)", "rpc Void(Bill) returns (stream Receipt)"),
            [
                "method shop.v1.Till/Void is shop.v1.Bill to stream of shop.v1.Receipt, not shop.v1.Bill to shop.v1.Receipt"
            ]
        );
        let renamed = edited("package shop.v1;", "package shop.v2;");
        assert!(renamed.contains(&"enum shop.v1.Kind is gone".to_string()), "{renamed:?}");
    }
}
