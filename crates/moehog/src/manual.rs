//! `moehog completions` and `moehog man`: what the command line itself knows.

use std::io::{self, Write};

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use moehog_runtime::Exit;

use crate::cli::Cli;

/// Prints the script that completes commands in a shell.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<()> {
    Ok(io::stdout().write_all(&script(shell))?)
}

/// Prints a manual page in troff, as `man -l -` shows it.
pub(crate) fn page(of: Option<&str>) -> anyhow::Result<()> {
    Ok(io::stdout().write_all(&manual(of)?)?)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "moehog", &mut script);
    script
}

fn manual(of: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let mut all = Cli::command();
    all.build();
    let command: Command = match of {
        None => all,
        Some(name) => {
            let found = all.find_subcommand(name).cloned();
            let named = found.with_context(|| format!("no command is named {name:?}: `moehog help` lists them"));
            named.context(Exit::Configuration)?
        }
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn each_shell_completes_each_command_and_each_has_its_page() {
        let names: Vec<_> = Cli::command().get_subcommands().map(|command| command.get_name().to_string()).collect();
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            assert!(names.iter().all(|name| script.contains(name.as_str())), "{shell}");
        }
        for name in &names {
            let page = String::from_utf8(manual(Some(name)).unwrap()).unwrap();
            assert!(page.contains(".SH SYNOPSIS"), "{name}");
        }
        assert!(manual(Some("serve")).unwrap_err().to_string().len() > 5);
        assert!(manual(None).is_ok());
    }
}
