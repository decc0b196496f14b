//! Reads a crate's files, and follows each name to the file that defines it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Item, UseTree, visit::Visit};

use super::Tie;

/// Names followed from one to another, at most: more are a circle of `use`.
const MOST_STEPS: usize = 16;

/// The modules of a crate by their path.
#[derive(Debug, Default)]
struct Crate(HashMap<Vec<String>, Module>);

#[derive(Debug, Default)]
struct Module {
    file: String,
    /// What is defined here.
    defined: BTreeSet<String>,
    /// What is brought in, by the name it has here.
    imported: HashMap<String, Vec<String>>,
    /// Modules all of which is brought in.
    globs: Vec<Vec<String>>,
    /// Paths that are named outside of `pub use`.
    named: BTreeSet<Vec<String>>,
}

/// Which file of the crate at `source` takes what from which.
///
/// # Errors
///
/// A file is missing, or cannot be parsed.
pub(crate) fn ties(source: &Path) -> anyhow::Result<Vec<Tie>> {
    let mut all = Crate::default();
    for head in ["lib.rs", "main.rs"] {
        let path = source.join(head);
        if path.exists() {
            all.read(source, &path, &[])?;
        }
    }
    let mut taken: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for (at, module) in &all.0 {
        for path in &module.named {
            if let Some((file, name)) = all.find(at, path, MOST_STEPS)
                && file != module.file
                && !heads(&file, &module.file)
            {
                taken.entry((module.file.clone(), file)).or_default().insert(name);
            }
        }
    }
    Ok(taken.into_iter().map(|((from, to), names)| Tie { from, to, names: names.into_iter().collect() }).collect())
}

/// Whether `head` is the module's file that `file` stands under.
fn heads(head: &str, file: &str) -> bool {
    let folder = head.trim_end_matches(".rs");
    matches!(folder, "lib" | "main") || file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

impl Crate {
    /// Reads a file as the module at `at`, and those that it heads.
    fn read(&mut self, source: &Path, path: &Path, at: &[String]) -> anyhow::Result<()> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("parse {}", path.display()))?;
        let file = path.strip_prefix(source)?.display().to_string();
        self.module(source, path, &file, at, &parsed.items)
    }

    fn module(&mut self, source: &Path, path: &Path, file: &str, at: &[String], items: &[Item]) -> anyhow::Result<()> {
        let mut module = self.0.remove(at).unwrap_or_default();
        file.clone_into(&mut module.file);
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            match item {
                Item::Mod(inner) => {
                    let below = [at, &[inner.ident.to_string()]].concat();
                    match &inner.content {
                        Some((_, items)) => self.module(source, path, file, &below, items)?,
                        None => self.read(source, &file_of(path, &inner.ident.to_string()), &below)?,
                    }
                }
                Item::Use(used) => {
                    let hands_on = !matches!(used.vis, syn::Visibility::Inherited);
                    module.import(&used.tree, &mut Vec::new(), hands_on);
                }
                other => {
                    module.defined.extend(name(other));
                    Names(&mut module.named).visit_item(other);
                }
            }
        }
        self.0.insert(at.to_vec(), module);
        Ok(())
    }

    /// The file that defines what `path` names in the module `at`, and what that is called there; none where it is another crate's.
    fn find(&self, at: &[String], path: &[String], steps: usize) -> Option<(String, String)> {
        let (mut at, mut rest) = (at.to_vec(), path);
        while let [first, behind @ ..] = rest {
            match first.as_str() {
                "crate" => at.clear(),
                "super" => _ = at.pop(),
                "self" => {}
                _ => break,
            }
            rest = behind;
        }
        let ([name, behind @ ..], Some(steps)) = (rest, steps.checked_sub(1)) else { return None };
        let module = self.0.get(&at)?;
        if module.defined.contains(name) {
            return Some((module.file.clone(), name.clone()));
        }
        let below = [&at[..], std::slice::from_ref(name)].concat();
        if self.0.contains_key(&below) {
            return self.find(&below, behind, steps);
        }
        if let Some(import) = module.imported.get(name) {
            return self.find(&at, &[import, behind].concat(), steps);
        }
        module.globs.iter().find_map(|glob| self.find(&at, &[glob, rest].concat(), steps))
    }
}

impl Module {
    fn import(&mut self, tree: &UseTree, before: &mut Vec<String>, hands_on: bool) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(&path.tree, before, hands_on);
                before.pop();
            }
            UseTree::Name(name) => self.bring(before, name.ident.to_string(), name.ident.to_string(), hands_on),
            UseTree::Rename(renamed) => {
                self.bring(before, renamed.ident.to_string(), renamed.rename.to_string(), hands_on);
            }
            UseTree::Glob(_) => self.globs.push(before.clone()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before, hands_on)),
        }
    }

    fn bring(&mut self, before: &[String], name: String, called: String, hands_on: bool) {
        let (path, called) = match name.as_str() {
            "self" => (before.to_vec(), before.last().cloned().filter(|_| called == "self").unwrap_or(called)),
            _ => ([before, &[name]].concat(), called),
        };
        if !hands_on {
            self.named.insert(path.clone());
        }
        self.imported.insert(called, path);
    }
}

/// Collects the paths that an item names.
struct Names<'a>(&'a mut BTreeSet<Vec<String>>);

impl<'a> Visit<'a> for Names<'_> {
    fn visit_path(&mut self, path: &'a syn::Path) {
        self.0.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'a syn::Macro) {
        self.tokens(called.tokens.clone());
        syn::visit::visit_macro(self, called);
    }

    fn visit_item_use(&mut self, used: &'a syn::ItemUse) {
        let mut within = Module::default();
        within.import(&used.tree, &mut Vec::new(), false);
        self.0.extend(within.named);
    }
}

impl Names<'_> {
    /// Words joined by `::`, wherever they stand in a macro's call.
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Vec::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    if colons != 2 {
                        self.0.insert(std::mem::take(&mut path));
                    }
                    path.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => colons += 1,
                other => {
                    self.0.insert(std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.0.insert(path);
    }
}

/// Where the module `name` stands that the file at `path` declares.
fn file_of(path: &Path, name: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = match stem.as_str() {
        "lib" | "main" | "mod" => path.with_file_name(""),
        _ => path.with_extension(""),
    };
    let beside = folder.join(format!("{name}.rs"));
    if beside.exists() { beside } else { folder.join(name).join("mod.rs") }
}

fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether it is compiled for tests alone.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let list = attribute.path().is_ident("cfg").then(|| attribute.meta.require_list().ok()).flatten();
        list.is_some_and(|list| list.tokens.to_string() == "test")
    })
}
