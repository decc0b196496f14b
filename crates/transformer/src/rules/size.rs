//! How large a mapping file and an expression of it may be, judged before either is parsed: parsing, compiling and forgetting
//! what is nested without end would need a stack without end.

use std::{cell::Cell, io, panic, thread};

use minijinja::{
    machinery::{Token, tokenize},
    syntax::SyntaxConfig,
};

/// Largest mapping file, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 1024 * 1024;

/// Most rules of a file. One that was compiled keeps some kilobytes, and while a file takes the place of another both are there.
pub(crate) const MAX_RULES: usize = 5_000;

/// Most expressions of a file that only the engine computes; what it makes of one takes 9 to 13 kilobytes, however short that is.
const MAX_ENGINES: usize = 10_000;

/// Most operators, brackets, filters and dots of one expression, all together: each may nest what the others made.
pub(crate) const MAX_OPERATORS: usize = 250;

/// Most names of one expression; what it knows of each is looked for among the others.
const MAX_NAMES: usize = 250;

/// What tables in tables, each with a name of as many parts as TOML's reader takes, need of a stack to be forgotten; as long as
/// less is needed, it is no memory.
const STACK_BYTES: usize = 64 * 1024 * 1024;

thread_local! {
    /// Expressions that the engine has compiled on this thread. A file has one of its own: [`on_deep_stack`].
    static ENGINES: Cell<usize> = const { Cell::new(0) };
}

/// Comparisons of conditions and of their texts that a file is worth, to find rules that no event can reach. Some millions of rules'
/// pairs, or two conditions that nest `and` and `or` in turns, would take hours; nothing is said of what is not compared.
const MAX_COMPARISONS: usize = 20_000_000;

/// What is left of the comparisons.
#[derive(Debug)]
pub(crate) struct Effort(Cell<usize>);

impl Effort {
    /// For one file.
    pub(crate) fn of_a_file() -> Self {
        Self(Cell::new(MAX_COMPARISONS))
    }

    /// Takes some comparisons; whether nothing is left.
    pub(crate) fn is_spent(&self, comparisons: usize) -> bool {
        self.0.set(self.0.get().saturating_sub(comparisons));
        self.0.get() == 0
    }
}

/// Does some work where there is room for what nests deep.
///
/// # Errors
///
/// There is no thread to be had.
pub(crate) fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("mapping".to_string()).stack_size(STACK_BYTES);
        let done = thread.spawn_scoped(scope, work)?.join();
        Ok(done.unwrap_or_else(|panicked| panic::resume_unwind(panicked)))
    })
}

/// Refuses a mapping file that is too large.
///
/// # Errors
///
/// What is wrong with it, as a sentence.
pub(crate) fn check_file(text: &str) -> Result<(), String> {
    if text.len() > MAX_FILE_BYTES {
        let message = format!(
            "the file has {} bytes, and no more than {MAX_FILE_BYTES} (1 MiB) are read: write one rule with a condition \
             such as `event in [\"a\", \"b\"]` in place of a rule an event",
            text.len()
        );
        return Err(message);
    }
    Ok(())
}

/// Refuses an expression that is too large.
///
/// # Errors
///
/// What is wrong with it, as a sentence.
pub(crate) fn check_expression(source: &str) -> Result<(), String> {
    let (mut operators, mut names) = (0, 0);
    // what is no token ends the parser too
    for (token, _) in tokenize(source, true, SyntaxConfig::default()).map_while(Result::ok) {
        if nests(&token) {
            operators += 1;
        } else if let Token::Ident(_) = token {
            names += 1;
        }
        if operators > MAX_OPERATORS || names > MAX_NAMES {
            return Err(format!(
                "the expression has more than {MAX_OPERATORS} operators and brackets, or {MAX_NAMES} names: a list of event \
                 names is written `event in [\"a\", \"b\"]`, and what is still longer goes into several rules"
            ));
        }
    }
    Ok(())
}

/// Counts one more expression that the engine is to compile.
///
/// # Errors
///
/// The file has too many, as a sentence.
pub(crate) fn check_engines() -> Result<(), String> {
    let engines = ENGINES.get() + 1;
    if engines > MAX_ENGINES {
        return Err(format!(
            "the file has more than {MAX_ENGINES} expressions and parts of conditions that are computed (more than a place, the texts that \
             it may hold, a number that it is above or below): write one rule for what they have in common"
        ));
    }
    ENGINES.set(engines);
    Ok(())
}

/// Whether what follows may be one level deeper. All but names, constants and what separates or ends.
fn nests(token: &Token<'_>) -> bool {
    match token {
        Token::Ident(word) => matches!(*word, "and" | "or" | "not" | "in" | "is" | "if" | "else"),
        Token::Str(_)
        | Token::String(_)
        | Token::Int(_)
        | Token::Int128(_)
        | Token::Float(_)
        | Token::Comma
        | Token::Colon
        | Token::Assign
        | Token::BracketClose
        | Token::ParenClose
        | Token::BraceClose => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
