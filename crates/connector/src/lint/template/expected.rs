//! What a template expects its look-ups to hold, by what it does with them: `{% for p in X %}{{ p.sku }}` wants a list of objects that
//! have a `sku`.
//!
//! What flows from a look-up into variables and arguments of macros is followed; what these are used for, the look-up has to hold.

mod walk;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use minijinja::machinery::ast::Stmt;

use self::walk::Walk;
use super::Names;

/// Deepest value that a look-up is filled with.
const MAX_DEPTH: usize = 4;

/// What a look-up is expected to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Expected {
    /// A text, a number or anything else that is printed as it is.
    Value,
    /// A list of such.
    List(Box<Self>),
    /// An object with these members.
    Object(BTreeMap<String, Self>),
}

/// What is done with one value.
#[derive(Debug, Default)]
struct Node {
    members: BTreeMap<String, usize>,
    /// Each element, where it is gone through.
    element: Option<usize>,
    /// Each member's value, where it is gone through by its pairs.
    paired: Option<usize>,
    /// What else has this value.
    flows: Vec<usize>,
    /// The template asks which kind it is, and has a way for each.
    is_any: bool,
}

/// What is done with the values of a template.
#[derive(Debug, Default)]
pub(super) struct Uses {
    nodes: Vec<Node>,
    /// By where a look-up begins.
    look_ups: HashMap<usize, usize>,
}

impl Uses {
    pub(super) fn of(tree: &Stmt<'_>, text: &str, names: &Names) -> Self {
        Walk::over(tree, text, names)
    }

    /// What the look-ups that begin at these places have to hold, all of one name.
    pub(super) fn expected(&self, starts: impl Iterator<Item = usize>) -> Expected {
        let nodes = starts.filter_map(|start| self.look_ups.get(&start).copied()).collect();
        self.kind(&nodes, MAX_DEPTH)
    }

    fn kind(&self, nodes: &BTreeSet<usize>, depth: usize) -> Expected {
        let nodes = self.reached(nodes);
        let children = |child: fn(&Node) -> Option<usize>| {
            nodes.iter().filter_map(|node| child(&self.nodes[*node])).collect::<BTreeSet<_>>()
        };
        let (elements, paired) = (children(|node| node.element), children(|node| node.paired));
        let mut members: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for (name, member) in nodes.iter().flat_map(|node| &self.nodes[*node].members) {
            members.entry(name).or_default().insert(*member);
        }
        if depth == 0 {
            return Expected::Value;
        }
        if !members.is_empty() {
            let members = members.into_iter().map(|(name, nodes)| (name.to_string(), self.kind(&nodes, depth - 1)));
            return Expected::Object(members.collect());
        }
        if !paired.is_empty() {
            let value = self.kind(&paired, depth - 1);
            return Expected::Object(["a", "b"].map(|name| (name.to_string(), value.clone())).into());
        }
        if elements.is_empty() { Expected::Value } else { Expected::List(Box::new(self.kind(&elements, depth - 1))) }
    }

    /// The nodes that have these values too. What takes any kind asks for none.
    fn reached(&self, nodes: &BTreeSet<usize>) -> BTreeSet<usize> {
        let (mut reached, mut next) = (nodes.clone(), nodes.iter().copied().collect::<Vec<_>>());
        while let Some(node) = next.pop() {
            for flow in &self.nodes[node].flows {
                if !self.nodes[*flow].is_any && reached.insert(*flow) {
                    next.push(*flow);
                }
            }
        }
        reached
    }

    fn node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    fn member(&mut self, of: usize, name: &str) -> usize {
        if let Some(known) = self.nodes[of].members.get(name) {
            return *known;
        }
        let member = self.node();
        self.nodes[of].members.insert(name.to_string(), member);
        member
    }

    fn element(&mut self, of: usize) -> usize {
        let known = self.nodes[of].element;
        let element = known.unwrap_or_else(|| self.node());
        self.nodes[of].element = Some(element);
        element
    }

    fn paired(&mut self, of: usize) -> usize {
        let known = self.nodes[of].paired;
        let paired = known.unwrap_or_else(|| self.node());
        self.nodes[of].paired = Some(paired);
        paired
    }
}
