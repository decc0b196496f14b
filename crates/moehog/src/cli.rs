//! What a person types.

mod letters;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use moehog_connector::{Attribute, Target};

pub(crate) use self::letters::{DeadLetters, DeadLettersAction, Lanes, LanesAction, Which};
use crate::paint::Color;

/// Takes events out of MoEngage and puts them into PostHog, and loses none.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// When output has colours.
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true)]
    pub(crate) color: Color,
    #[command(flatten)]
    pub(crate) up: Up,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs everything in one process (the default command).
    Up(Up),
    /// Says everything that is wrong with a configuration and a mapping file, with line and remedy.
    Check(Check),
    /// Shows what PostHog would get of a body, beside the body itself.
    Preview(Preview),
    /// Prints what makes a shell complete these commands: of bash, elvish, fish, powershell or zsh.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints what to paste into MoEngage's Connector: address, headers, and a body that stays valid JSON for any value.
    Connector(Connector),
    /// Events that cannot be delivered, with the reason and the webhook they came in.
    #[command(name = "dead-letters")]
    DeadLetters(DeadLetters),
    /// Asks the moehog that runs here whether it is ready: ends with 0, else with 1 and why not, within two seconds.
    Health(Health),
    /// Gives up what a held destination keeps waiting.
    Lanes(Lanes),
    /// Says what in a Connector's body breaks, why, and the line to write instead.
    Lint(Lint),
    /// Prints the manual page, of moehog or of one of its commands.
    Man {
        /// The command, as in `send-test`.
        command: Option<String>,
    },
    /// Shows one webhook: what came, the events made of it, what became of them, and PostHog's answers.
    Receipt(Receipt),
    /// Posts one event as MoEngage would, and follows it until PostHog has it.
    #[command(name = "send-test")]
    SendTest(SendTest),
    /// Shows what a running moehog is doing: rates, what waits, each lane, what is dead and the last error.
    Status(Status),
    /// Shows events as they pass: what was delivered, what is dead or waits, and why.
    Tail(Box<Tail>),
    /// Maps the bodies of case files and compares what comes out with what they expect.
    Test(Test),
}

/// Prints what to paste into MoEngage's Connector, field by field.
#[derive(Debug, Args)]
pub(crate) struct Connector {
    /// Where it posts: your host with the path /v1/in/NAME, or with /capture/ and --api-key.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Target,
    /// The event's name at PostHog.
    #[arg(long, value_name = "NAME")]
    pub(crate) event: String,
    /// Project API key, for capture paths.
    #[arg(long, value_name = "KEY", env = "POSTHOG_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// Token that the source asks for.
    #[arg(long, value_name = "TOKEN", env = "MOEHOG_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Header that the token stands in; after `Bearer` where it is `Authorization`.
    #[arg(long, value_name = "NAME", default_value = "Authorization")]
    pub(crate) token_header: String,
    /// Who the event is about.
    #[arg(long, value_name = "ATTRIBUTE", default_value = "UserAttribute['ID']")]
    pub(crate) id: Attribute,
    /// Attribute that names this event and no other, so that a rerun counts once.
    #[arg(long, value_name = "ATTRIBUTE")]
    pub(crate) uuid_from: Option<Attribute>,
    /// Attribute that says when the event happened.
    #[arg(long, value_name = "ATTRIBUTE")]
    pub(crate) time_from: Option<Attribute>,
    /// A property, as in amount=EventAttribute['Value']:number, or plan='"pro"' for one that is always the same. May be given
    /// several times.
    #[arg(long = "property", value_name = "NAME=ATTRIBUTE[:number|:boolean]")]
    pub(crate) properties: Vec<String>,
    /// A property of the person, for `$set`, in the same form.
    #[arg(long = "user-property", value_name = "NAME=ATTRIBUTE[:number|:boolean]")]
    pub(crate) user_properties: Vec<String>,
    /// Mapping file: the body carries the attributes that its rules for this event look at.
    #[arg(long, value_name = "FILE")]
    pub(crate) mapping: Option<PathBuf>,
    /// JSON file of a sample trigger, {"UserAttribute": {…}, "EventAttribute": {…}}: proposes what the flags do not say.
    #[arg(long, value_name = "FILE")]
    pub(crate) sample: Option<PathBuf>,
    /// Prints the body alone.
    #[arg(long, conflicts_with = "json")]
    pub(crate) body: bool,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Looks at a Connector's body; ends with 1 where something in it is an error.
#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// File that holds the body as it stands in MoEngage; - reads standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Prints the body with every fix written into it; what is left to be said goes to standard error.
    #[arg(long, conflicts_with = "json")]
    pub(crate) fix: bool,
    /// Writes it into the file instead.
    #[arg(long, requires = "fix")]
    pub(crate) in_place: bool,
    /// Mapping file, for its time zones and the order of day and month; without it the one that the configuration names.
    #[arg(long, value_name = "FILE")]
    pub(crate) mapping: Option<PathBuf>,
    /// Configuration file.
    #[arg(long, value_name = "FILE", env = "MOEHOG_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Source that it posts to, as in /v1/in/NAME.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) source: String,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs everything in one process.
#[derive(Debug, Default, Args)]
pub(crate) struct Up {
    /// Configuration file; flags and variables win over it.
    #[arg(long, value_name = "FILE", env = "MOEHOG_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where webhooks are taken [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where health, metrics and the admin API are served [default: 127.0.0.1:9080].
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<SocketAddr>,
    /// Where webhooks are kept [default: ./moehog-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// PostHog's address (its US cloud by default), or `emulator` to run one in this process.
    #[arg(long, value_name = "URL|emulator", env = "POSTHOG_HOST", hide_env_values = true, value_parser = posthog)]
    pub(crate) posthog: Option<String>,
    /// Project API key that the source `default` delivers with; capture routes then take no other.
    #[arg(long, value_name = "KEY", env = "POSTHOG_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// Bearer token that senders to /v1/in/default must show; needed for senders that are not on this machine. Others on this machine
    /// see what a command line holds: --token-file or the variable show it to nobody.
    #[arg(long, value_name = "TOKEN", env = "MOEHOG_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// File that holds the token instead; it is read again while moehog runs.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// More in the log: what happens to each webhook.
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Less in the log: warnings and errors, and no line an event in the terminal.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Asks the running process at its admin port, as the same file, variables and flag name it.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// Configuration file.
    #[arg(long, value_name = "FILE", env = "MOEHOG_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where health, metrics and the admin API are served [default: 127.0.0.1:9080].
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<SocketAddr>,
}

/// Checks a configuration and a mapping file together, without starting anything: every mistake, each once. Ends with 0 where all is
/// well, with 1 otherwise.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Configuration and mapping file, which are told apart by what stands in them; without a mapping file the one that the
    /// configuration names.
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Configuration file.
    #[arg(long, value_name = "FILE", env = "MOEHOG_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Maps a body here, without sending anything.
#[derive(Debug, Args)]
pub(crate) struct Preview {
    /// File with a body as MoEngage posts it, `-` for standard input.
    pub(crate) body: PathBuf,
    /// Mapping file; without it the one that the configuration names, else the built-in mapping.
    #[arg(long, value_name = "FILE")]
    pub(crate) mapping: Option<PathBuf>,
    /// Configuration file.
    #[arg(long, value_name = "FILE", env = "MOEHOG_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Source that it would come by, as in /v1/in/NAME; `capture` for the capture paths.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) source: String,
    /// Its `Content-Type`.
    #[arg(long, value_name = "TYPE", default_value = "")]
    pub(crate) content_type: String,
    /// What stands behind `?` of its URL. With an empty body it is a GET, whose query is the event.
    #[arg(long, value_name = "QUERY", default_value = "")]
    pub(crate) query: String,
    /// A header that its source keeps, as in 'Name: value'. May be given several times.
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Maps bodies of case files here. Ends with 0 where all give what they expect, with 1 where one does not, and with 2 where a file is no
/// case.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Case files; of a directory all *.json below it.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Writes what comes out into the cases; read the difference before you keep it.
    #[arg(long)]
    pub(crate) write: bool,
    /// Mapping file of cases that name none; without it the one that the configuration names, else the built-in mapping.
    #[arg(long, value_name = "FILE")]
    pub(crate) mapping: Option<PathBuf>,
    /// Configuration file.
    #[arg(long, value_name = "FILE", env = "MOEHOG_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

/// A running gateway that is asked, and how its answer is shown.
#[derive(Debug, Args)]
pub(crate) struct Running {
    /// Admin address of the running gateway; of several, dns://NAME:PORT (all that the name has) or list://HOST:PORT,HOST:PORT.
    #[arg(id = "gateway", long = "admin", value_name = "ADDR", default_value = "127.0.0.1:9080", global = true)]
    pub(crate) admin: String,
    /// One of its `api.tokens`, where it has any.
    #[arg(long, value_name = "TOKEN", env = "MOEHOG_ADMIN_TOKEN", hide_env_values = true, global = true)]
    pub(crate) admin_token: Option<String>,
    /// File that holds the token instead.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) admin_token_file: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Asks running gateways what they are doing; the rates are of the second that it takes.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Shows it anew each second, until it is ended.
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) gateway: Running,
}

/// Follows running gateways from now on, until it is ended. Persons are hashes that are the same until the gateway ends.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Only of this source.
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Only for this destination.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// Only events of this name at PostHog.
    #[arg(long, value_name = "NAME")]
    pub(crate) event: Option<String>,
    /// Only of this person: its distinct_id, or the hash as it is shown.
    #[arg(long, value_name = "ID")]
    pub(crate) person: Option<String>,
    /// Only in this state: delivered, delivered_degraded, filtered, duplicate, dead or waiting.
    #[arg(long, value_name = "STATE", value_parser = crate::tail::state)]
    pub(crate) state: Option<String>,
    /// Only for this reason, as in `refused`.
    #[arg(long, value_name = "CODE")]
    pub(crate) reason: Option<String>,
    /// Shows persons as PostHog knows them.
    #[arg(long)]
    pub(crate) show_persons: bool,
    #[command(flatten)]
    pub(crate) gateway: Running,
}

/// Asks a running gateway for one webhook.
#[derive(Debug, Args)]
pub(crate) struct Receipt {
    /// The receipt, as MoEngage's answer or the event's property `moehog.receipt` names it; or the event's uuid.
    pub(crate) receipt: String,
    #[command(flatten)]
    pub(crate) gateway: Running,
}

/// Posts one event named `moehog_test` of the person `moehog-test`, and follows it until PostHog has it.
///
/// Ends with 0 when it is delivered, and with 1 and the reason otherwise.
#[derive(Debug, Args)]
pub(crate) struct SendTest {
    /// Where it is posted to, as in MoEngage's settings.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080/v1/in/default")]
    pub(crate) url: reqwest::Url,
    /// Project API key: the body is a Connector's that carries it, as the capture paths take it.
    #[arg(long, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
    /// Token that the source asks for.
    #[arg(long, value_name = "TOKEN", env = "MOEHOG_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// File that holds the token instead.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Header that the token stands in; after `Bearer` where it is `authorization`.
    #[arg(long, value_name = "NAME", default_value = "authorization")]
    pub(crate) token_header: String,
    /// One more header, as in 'Name: value'. May be given several times.
    #[arg(long = "header", value_name = "HEADER")]
    pub(crate) headers: Vec<String>,
    /// Longest wait until the event is delivered, as in 30s or 5m.
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = time)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) gateway: Running,
}

/// A word alone is a slip of `emulator` more often than a host, which has a dot or a port, or is this machine.
fn posthog(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_host = ["localhost", "emulator"].contains(&text) || text.contains(['.', ':', '/', '@']);
    if is_host {
        return Ok(text.to_string());
    }
    Err(format!(
        "neither an address such as https://us.i.posthog.com nor `emulator`; a host of that name needs http:// before it: {}",
        moehog_runtime::meant(text, &["emulator"])
    ))
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| "not a header such as 'X-Campaign: summer'".to_string())?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_string()))
}

fn time(text: &str) -> Result<Duration, String> {
    moehog_runtime::duration::parse(text).ok_or_else(|| "not a span of time such as 30s or 5m".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_host_is_refused_with_what_was_meant() {
        for host in
            ["emulator", "localhost", "posthog:8000", "https://us.i.posthog.com", "http://posthog", "us.posthog.com"]
        {
            assert_eq!(posthog(host).as_deref(), Ok(host));
        }
        for slip in ["emulater", "emulator2", "Emulator"] {
            let said = posthog(slip).unwrap_err();
            assert!(said.contains("did you mean `emulator`?"), "{slip}: {said}");
        }
        assert!(posthog("posthog").unwrap_err().contains("a host of that name needs http:// before it"));
    }
}
