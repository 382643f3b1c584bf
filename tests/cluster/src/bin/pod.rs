//! What pods of tests run: it does what its arguments say, one after the other, and then stays until it is ended.
//!
//!   identity             prints `identity UID`
//!   print=LINES          prints so many lines: `line 1` and on
//!   records=LINES:RATE   prints so many JSON lines, RATE a second, with a name of this run
//!   write=PATH           writes a file, and prints `wrote PATH` or why not
//!   fetch=HOST:PORT      resolves, connects, and prints `fetched TEXT`; tries again until it can
//!   serve=PORT:TEXT      answers TEXT to every connection, from then on
//!   exit=CODE            ends
#![allow(clippy::print_stdout, reason = "its output is what tests look at")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(100);

fn main() -> Result<()> {
    for argument in std::env::args().skip(1) {
        let (verb, value) = argument.split_once('=').unwrap_or((&argument, ""));
        match verb {
            "identity" => println!("identity {}", identity()?),
            "print" => (1..=value.parse::<u64>()?).for_each(|line| println!("line {line}")),
            "records" => records(value)?,
            "exit" => std::process::exit(value.parse()?),
            "write" => match std::fs::write(value, "written by a pod\n") {
                Ok(()) => println!("wrote {value}"),
                Err(error) => println!("cannot write {value}: {error}"),
            },
            "fetch" => println!("fetched {}", fetch(value)),
            "serve" => serve(value)?,
            _ => bail!("expected identity, print, records, write, fetch, serve or exit, not `{verb}`"),
        }
        std::io::stdout().flush()?;
    }
    loop {
        std::thread::park();
    }
}

fn identity() -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).context("/proc/self/status has no Uid")?;
    Ok(line.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Lines as programs log them, at an even rate; the name of the run is the time of its start.
fn records(value: &str) -> Result<()> {
    let (lines, rate) = value.split_once(':').context("expected LINES:RATE")?;
    let (lines, rate) = (lines.parse::<u64>()?, rate.parse::<u64>()?);
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let filler = "x".repeat(120);
    let (start, mut output) = (Instant::now(), std::io::stdout().lock());
    for line in 1..=lines {
        let due = Duration::from_micros(line * 1_000_000 / rate);
        if let Some(early) = due.checked_sub(start.elapsed()).filter(|early| *early > PAUSE / 10) {
            std::thread::park_timeout(early);
        }
        writeln!(output, r#"{{"message":"line {line}","level":"info","run":"{run}","filler":"{filler}"}}"#)?;
    }
    Ok(())
}

fn fetch(address: &str) -> String {
    let mut told = String::new();
    loop {
        let mut text = String::new();
        match TcpStream::connect(address).and_then(|mut stream| stream.read_to_string(&mut text)) {
            Ok(_) => return text,
            Err(error) if error.to_string() != told => {
                told = error.to_string();
                println!("{address}: {told}");
            }
            Err(_) => {}
        }
        std::thread::park_timeout(PAUSE);
    }
}

fn serve(value: &str) -> Result<()> {
    let (port, text) = value.split_once(':').context("expected PORT:TEXT")?;
    let listener = TcpListener::bind(("0.0.0.0", port.parse()?))?;
    let text = text.to_owned();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Who went away does not read it.
            stream.write_all(text.as_bytes()).ok();
        }
    });
    Ok(())
}
