//! The command line as it was typed, or pasted.

use std::{ffi::OsString, path::PathBuf};

use clap::{
    ArgMatches, Command, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use moehog_telemetry::terminal::{shown, shown_lines};

/// Keys of the file are set by variables too, such as MOEHOG__ADMIN__LISTEN for listen in [admin].
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true)]
struct Service {
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE", env = "MOEHOG_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Ask the one that runs with this configuration whether it is ready: 0, else 1
    Health,
}

/// Reads a service's command line: `--config FILE`, else `MOEHOG_CONFIG`. Says what is wrong with it, or what was asked, and leaves.
#[must_use]
pub fn arguments(service: &'static str) -> Option<PathBuf> {
    read::<Service>(|command| command.name(service)).config
}

/// Whether this process was started to ask another one.
#[must_use]
pub fn asks_for_health() -> bool {
    Service::try_parse().is_ok_and(|service| service.task.is_some())
}

/// Reads the command line of this process, of which `change` makes what is known when it runs. Says what is wrong with it, or what was
/// asked, and leaves; what it quotes moves no terminal.
pub fn read<C: Parser>(change: impl FnOnce(Command) -> Command) -> C {
    let command = change(C::command());
    parse(&command, std::env::args_os()).unwrap_or_else(|error| safe(&command, error, std::env::args_os()).exit())
}

fn parse<C: FromArgMatches>(command: &Command, arguments: impl Iterator<Item = OsString>) -> Result<C, clap::Error> {
    let of_matches = |matches: ArgMatches| C::from_arg_matches(&matches);
    command.clone().try_get_matches_from(arguments).and_then(of_matches)
}

/// The same complaint, quoting arguments that a terminal only shows: clap quotes them as they came. So it is asked
/// again, with the arguments as we would show them.
fn safe(command: &Command, error: clap::Error, arguments: impl Iterator<Item = OsString>) -> clap::Error {
    if let Some(message) = empty_variable(&error, |name| std::env::var_os(name)) {
        return command.clone().error(ErrorKind::InvalidValue, message);
    }
    let shown = arguments.map(|argument| shown(&argument.to_string_lossy()).into_owned());
    match command.clone().try_get_matches_from(shown) {
        Err(safe) => safe,
        // what is wrong was the very character that is escaped now
        Ok(_) => {
            let message = error.to_string();
            let message = message.strip_prefix("error: ").unwrap_or(&message);
            command.clone().error(error.kind(), shown_lines(message, "  "))
        }
    }
}

/// What is said where the complaint is of an empty variable, which was set by a slip: it names the argument, which nobody typed.
fn empty_variable(error: &clap::Error, variable: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    let of_config = |(kind, value): (ContextKind, &ContextValue)| {
        kind == ContextKind::InvalidArg && value.to_string().contains("--config")
    };
    let is_empty = variable("MOEHOG_CONFIG").is_some_and(|value| value.is_empty());
    (is_empty && error.context().any(of_config))
        .then(|| "MOEHOG_CONFIG is set and empty: let it name a configuration file, or unset it".to_string())
}

/// What is said of this command line, with `arguments[0]` as its name, where something is wrong with it.
#[must_use]
pub fn complaint<C: Parser>(arguments: &[&str]) -> Option<String> {
    let arguments = || arguments.iter().copied().map(OsString::from);
    let error = parse::<C>(&C::command(), arguments()).err()?;
    Some(safe(&C::command(), error, arguments()).render().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_command_line_is_a_file_and_a_question() {
        let parsed = |arguments: &[&str]| {
            let arguments = std::iter::once("moehog-gateway").chain(arguments.iter().copied());
            let service = Service::try_parse_from(arguments).unwrap();
            (service.config, service.task.is_some())
        };
        assert_eq!(parsed(&["--config", "a.toml"]), (Some("a.toml".into()), false));
        for asks in [&["health", "--config=a.toml"], &["--config=a.toml", "health"]] {
            assert_eq!(parsed(asks), (Some("a.toml".into()), true), "{asks:?}");
        }
        let said = complaint::<Service>(&["moehog-gateway", "--confg\u{1b}[31m\nFORGED"]).unwrap();
        assert!(said.contains(r"'--confg\u001b[31m\nFORGED'"), "{said:?}");
        assert_eq!(complaint::<Service>(&["moehog-gateway"]), None);
    }

    #[test]
    fn an_empty_variable_is_named() {
        let error = Service::try_parse_from(["moehog-gateway", "--config", ""]).unwrap_err();
        let told = |value: &str| empty_variable(&error, |_| Some(value.into()));
        let empty = "MOEHOG_CONFIG is set and empty: let it name a configuration file, or unset it";
        assert_eq!((told("").as_deref(), told("a.toml")), (Some(empty), None));
        let other = Service::try_parse_from(["moehog-gateway", "--bogus"]).unwrap_err();
        assert_eq!(empty_variable(&other, |_| Some("".into())), None);
    }
}
