//! moehog in one process, and the command line.

mod arguments;
mod check;
mod cli;
mod columns;
mod connector;
mod dead_letters;
mod gateway;
mod input;
mod lanes;
mod lint;
mod manual;
mod mapped;
mod notes;
mod paint;
mod preview;
mod receipt;
mod send_test;
mod shown_events;
mod status;
mod stored;
mod tail;
mod test;
mod up;
mod variables;
mod welcome;

use std::process::ExitCode;

use crate::cli::Command;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = arguments::read();
    let command = cli.command.unwrap_or(Command::Up(cli.up));
    paint::choose(cli.color);
    if !matches!(command, Command::Up(_)) {
        // `moehog … | head` ends quietly, as other commands do
        sigpipe::reset();
    }
    moehog_runtime::exit(match command {
        Command::Health(health) => return moehog_runtime::tell_health(up::admin(health)),
        Command::Test(test) => return test::run(&test),
        Command::Up(up) => up::run(up).await,
        Command::Check(check) => check::run(&check),
        Command::Preview(preview) => preview::run(&preview),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { command } => manual::page(command.as_deref()),
        Command::Connector(connector) => connector::run(connector),
        Command::DeadLetters(dead_letters) => dead_letters::run(dead_letters).await,
        Command::Lanes(lanes) => lanes::run(lanes).await,
        Command::Lint(lint) => lint::run(&lint),
        Command::Receipt(receipt) => receipt::run(receipt).await,
        Command::SendTest(send_test) => send_test::run(send_test).await,
        Command::Status(status) => status::run(status).await,
        Command::Tail(tail) => tail::run(*tail).await,
    })
}
