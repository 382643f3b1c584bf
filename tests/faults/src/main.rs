//! `faults`: runs the faults by their numbers, and prints a table.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program reports on its standard streams")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use faults::scenarios::ALL;
use faults::{Length, Report, Run, Scenario, engine, find};

/// Does to a running engine what goes wrong in the world, and judges what is lost, comes twice, or is not as it was sent.
#[derive(Parser)]
#[command(name = "faults")]
struct Arguments {
    /// Only these faults, such as F12; all of them where none is named. F14 stands for F14b too.
    scenarios: Vec<String>,
    /// Full durations.
    #[arg(long)]
    long: bool,
    /// Everything that is drawn at random follows from it; another one each time where missing.
    #[arg(long)]
    seed: Option<u64>,
    /// Records a second that are sent.
    #[arg(long)]
    rate: Option<f64>,
    /// The binary to test; the engine beside this program where missing.
    #[arg(long)]
    engine: Option<PathBuf>,
    /// Lists the faults.
    #[arg(long)]
    list: bool,
}

/// Records a second: what two cores carry besides everything that judges them, with a build for debugging and one for use.
const RATE: f64 = if cfg!(debug_assertions) { 4_000.0 } else { 20_000.0 };

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        ALL.iter().for_each(|scenario| println!("{:<4} {}", scenario.id, scenario.about));
        return ExitCode::SUCCESS;
    }
    match run(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs what is wanted; says whether all of it is as it should be.
async fn run(arguments: &Arguments) -> Result<bool> {
    let wanted = wanted(&arguments.scenarios)?;
    let run = Run {
        engine: arguments.engine.clone().map_or_else(engine::built, Ok)?,
        seed: arguments.seed.unwrap_or_else(rand::random),
        length: if arguments.long { Length::Long } else { Length::Short },
        rate: arguments.rate.unwrap_or(RATE),
    };
    println!("seed {}, {} records a second", run.seed, run.rate);
    println!(
        "{:<5}{:>12}{:>12}{:>9}{:>9}{:>11}{:>11}{:>9}{:>10}{:>9}",
        "fault",
        "acked",
        "delivered",
        "missing",
        "strange",
        "duplicates",
        "inversions",
        "settled",
        "peak MiB",
        "seconds"
    );
    let mut is_fine = true;
    for scenario in wanted {
        match scenario.run(&run).await {
            Ok(report) => {
                is_fine &= report.violations.is_empty() && report.late.is_empty();
                print(scenario, &report);
            }
            Err(error) => {
                is_fine = false;
                println!("{:<5}{error:#}", scenario.id);
            }
        }
    }
    Ok(is_fine)
}

fn wanted(names: &[String]) -> Result<Vec<&'static Scenario>> {
    let known = || ALL.map(|scenario| scenario.id).join(", ");
    let unknown: Vec<_> = names.iter().filter(|name| find(name).is_none()).map(String::as_str).collect();
    ensure!(unknown.is_empty(), "no fault is called {}; there are {}", unknown.join(" or "), known());
    let is_called = |id: &str, name: &str| {
        name.eq_ignore_ascii_case(id)
            || name.eq_ignore_ascii_case(id.trim_end_matches(|letter: char| letter.is_ascii_lowercase()))
    };
    let is_wanted = |scenario: &&Scenario| names.is_empty() || names.iter().any(|name| is_called(scenario.id, name));
    Ok(ALL.into_iter().filter(is_wanted).collect())
}

fn print(scenario: &Scenario, report: &Report) {
    if let Some(reason) = &report.skipped {
        return println!("{:<5}skipped: {reason}", scenario.id);
    }
    let findings = &report.findings;
    println!(
        "{:<5}{:>12}{:>12}{:>9}{:>9}{:>11}{:>11}{:>8.1}s{:>10.1}{:>9.1}",
        scenario.id,
        findings.acknowledged,
        findings.delivered,
        findings.missing,
        findings.spurious + findings.corrupted,
        findings.duplicates,
        findings.inversions,
        report.settled.as_secs_f64(),
        report.peak.resident as f64 / 1024.0,
        report.took.as_secs_f64()
    );
    let refused: u64 = report.refusals.values().sum();
    println!("     {}; {refused} requests refused for now", scenario.about);
    if let Some((before, meanwhile)) = report.p99 {
        println!(
            "     p99 of those that nothing is done to: {} ms before, {} ms meanwhile",
            before.as_millis(),
            meanwhile.as_millis()
        );
    }
    for (mark, lines) in [(" ", &report.measured), ("!", &report.violations), ("!", &report.late)] {
        lines.iter().for_each(|line| println!("   {mark} {line}"));
    }
}
