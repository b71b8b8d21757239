//! Exports rows of a time range to CSV or JSON files.

mod bar;
mod export;
mod sample;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Export(export::ExportArgs),
    Sample(sample::SampleArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Export(args) => export::run(&args),
        Command::Sample(args) => sample::run(&args),
    }
}
