//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use muster::config::Config;
use muster::error::{Error, chain};
use muster::i18n::Text;
use muster::{backup, demo, identity, key, people, serve};

#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version,
    about = "Logical cluster management: several servers on one MySQL/MariaDB database"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one server
    Serve(serve::Serve),
    /// Run two servers on one private database, to look around
    Demo(demo::Demo),
    /// Show or change which cluster this install is
    Identity(identity::Identity),
    /// List, add and change the people who may sign in
    User(people::command::User),
    /// Show or change the master key that seals secrets
    Key(key::KeyCommand),
    /// Save everything in a file, bring it back, or move from the private database to a shared one
    Db(backup::Backup),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            eprintln!("muster: {cause}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Identity(args) => identity::run(args).await.map(say),
            Command::Key(args) => key::run(args).await.map(say),
            Command::Db(args) => backup::run(args).await.map(say),
            Command::User(args) => people::command::run(args).await.map(|said| println!("{said}")),
        }
    });
    // A blocked read of standard input must not keep the process alive.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster: {}", explain(&error));
            ExitCode::FAILURE
        }
    }
}

fn say(done: Text) {
    println!("{}", done.say(Config::lang_of_terminal()));
}

/// A refusal in the reader's language; what is our own fault or the database's with its causes.
fn explain(error: &Error) -> String {
    let said = error.text().say(Config::lang_of_terminal());
    match error {
        Error::Unavailable(_) => {
            let text = Text::new("db.away").with("cause", chain(error));
            text.say(Config::lang_of_terminal())
        }
        Error::Internal(_) => format!("{said} ({})", chain(error)),
        _ => said,
    }
}
