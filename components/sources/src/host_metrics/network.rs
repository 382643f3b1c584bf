//! `system.network.*`: counters of interfaces from `net/dev`, TCP connections by state from `net/tcp` and `net/tcp6`.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::PathBuf,
};

use engine_config::sources::host_metrics::NetworkOptions;

use super::{
    host::{Host, ScrapeError},
    names::{self, Instrument, Named, key, value},
    sheet::{Attribute, Sheet},
};

/// The states in the kernel's numbering (`include/net/tcp_states.h`), from 1.
/// Legacy names are those of the kernel's tools; `NEW_SYN_RECV` (12) is written as a received SYN.
const TCP_STATES: [Named; 12] = [
    Named::new("ESTABLISHED", "established"),
    Named::new("SYN_SENT", "syn_sent"),
    SYN_RECEIVED,
    Named::new("FIN_WAIT1", "fin_wait_1"),
    Named::new("FIN_WAIT2", "fin_wait_2"),
    Named::new("TIME_WAIT", "time_wait"),
    Named::new("CLOSE", "closed"),
    Named::new("CLOSE_WAIT", "close_wait"),
    Named::new("LAST_ACK", "last_ack"),
    Named::new("LISTEN", "listen"),
    Named::new("CLOSING", "closing"),
    SYN_RECEIVED,
];
const SYN_RECEIVED: Named = Named::new("SYN_RECV", "syn_received");
/// States that are written; the twelfth shares the name of the third.
const NAMED_STATES: usize = 11;

#[derive(Debug, PartialEq, Eq)]
struct Interface<'a> {
    name: &'a str,
    received: Traffic,
    transmitted: Traffic,
}

#[derive(Debug, PartialEq, Eq)]
struct Traffic {
    bytes: u64,
    packets: u64,
    errors: u64,
    dropped: u64,
}

/// Reads and writes the metrics of the interfaces that the filter keeps.
pub(super) fn scrape(host: &Host, sheet: &mut Sheet<'_>, options: &NetworkOptions) -> Result<(), ScrapeError> {
    let file = host.read(host.namespace_path("net/dev"))?;
    let found: Vec<Interface<'_>> = file
        .text
        .lines()
        .filter_map(parse_line)
        .filter(|interface| options.interfaces.matches(interface.name))
        .collect();
    write(sheet, &names::NETWORK_IO, &found, key::INTERFACE, |traffic| traffic.bytes);
    // The registry identifies the interface by `system.device` here and by its name everywhere else.
    write(sheet, &names::NETWORK_PACKETS, &found, key::DEVICE, |traffic| traffic.packets);
    write(sheet, &names::NETWORK_ERRORS, &found, key::INTERFACE, |traffic| traffic.errors);
    write(sheet, &names::NETWORK_DROPPED, &found, key::INTERFACE, |traffic| traffic.dropped);
    Ok(())
}

/// Counts and writes TCP connections. A kernel without IPv6 has no `net/tcp6`.
pub(super) fn scrape_connections(host: &Host, sheet: &mut Sheet<'_>) -> Result<(), ScrapeError> {
    let mut counts = [0; NAMED_STATES];
    count_states(host.namespace_path("net/tcp"), &mut counts)?;
    let ipv6 = host.namespace_path("net/tcp6");
    if ipv6.exists() {
        count_states(ipv6, &mut counts)?;
    }
    let mut points = sheet.metric(&names::NETWORK_CONNECTIONS);
    for (state, count) in TCP_STATES.into_iter().zip(counts) {
        let labels = [Attribute::Name(key::TRANSPORT, value::TCP), Attribute::Name(key::CONNECTION_STATE, state)];
        points.int(count, &labels);
    }
    Ok(())
}

fn write(
    sheet: &mut Sheet<'_>,
    instrument: &Instrument,
    found: &[Interface<'_>],
    device: Named,
    of: fn(&Traffic) -> u64,
) {
    let mut points = sheet.metric(instrument);
    for interface in found {
        let labels =
            |direction| [Attribute::Text(device, interface.name), Attribute::Name(key::NETWORK_DIRECTION, direction)];
        points.int(of(&interface.received), &labels(value::RECEIVE));
        points.int(of(&interface.transmitted), &labels(value::TRANSMIT));
    }
}

/// `  eth0: ` and sixteen counters, eight for each direction. The name may touch the first number, and an alias has
/// a colon in it, so the last colon ends the name. The two header lines have none.
fn parse_line(line: &str) -> Option<Interface<'_>> {
    let (name, rest) = line.rsplit_once(':')?;
    let mut numbers = [0; 16];
    let mut columns = rest.split_ascii_whitespace();
    for number in &mut numbers {
        *number = columns.next()?.parse().ok()?;
    }
    let traffic = |of: &[u64]| Traffic { bytes: of[0], packets: of[1], errors: of[2], dropped: of[3] };
    Some(Interface { name: name.trim(), received: traffic(&numbers[..8]), transmitted: traffic(&numbers[8..]) })
}

/// Adds up the states of one table, line by line: a busy host has hundreds of thousands of lines.
fn count_states(path: PathBuf, counts: &mut [u64; NAMED_STATES]) -> Result<(), ScrapeError> {
    let unreadable = |source| ScrapeError::Read { path: path.clone(), source };
    let mut lines = BufReader::new(File::open(&path).map_err(unreadable)?);
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).map_err(unreadable)? == 0 {
            return Ok(());
        }
        let Some(state) = state_of(&line) else {
            continue;
        };
        let place = TCP_STATES.iter().position(|named| *named == state);
        if let Some(count) = place.and_then(|place| counts.get_mut(place)) {
            *count += 1;
        }
    }
}

/// The fourth column is the state in hexadecimal; the header line has letters there that are no number.
fn state_of(line: &str) -> Option<Named> {
    let column = line.split_ascii_whitespace().nth(3)?;
    let number = usize::from_str_radix(column, 16).ok()?;
    TCP_STATES.get(number.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is a failed test")]
    use engine_config::sources::host_metrics::Semconv;

    use super::*;

    /// A name may touch its first counter, and an alias holds a colon; headers are no interfaces.
    #[test]
    fn interface_lines() {
        let touching = parse_line("eth0:124705171    7093    1    2    0     0          0         0   610124    5451    3    4    0     0       0          0").unwrap();
        assert_eq!(touching.name, "eth0");
        assert_eq!(touching.received.bytes, 124_705_171);
        assert_eq!((touching.received.errors, touching.received.dropped), (1, 2));
        assert_eq!((touching.transmitted.errors, touching.transmitted.dropped), (3, 4));
        let alias = parse_line("  eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16").unwrap();
        assert_eq!(alias.name, "eth0:1");
        assert_eq!(alias.transmitted.bytes, 9);
        assert_eq!(parse_line(" face |bytes    packets errs drop fifo frame compressed multicast|bytes"), None);
        assert_eq!(parse_line("  lo: 1 2 3"), None);
    }

    /// States are the fourth column; both kinds of half-open connection are one state.
    #[test]
    fn connection_states() {
        let line =
            |state: &str| format!("   0: 0100007F:0035 00000000:0000 {state} 00000000:00000000 00:00000000 0 0 0 1\n");
        assert_eq!(state_of(&line("0A")).unwrap().text(Semconv::Stable), "listen");
        assert_eq!(state_of(&line("01")).unwrap().text(Semconv::Legacy), "ESTABLISHED");
        assert_eq!(state_of(&line("0C")), state_of(&line("03")));
        assert_eq!(state_of("  sl  local_address rem_address   st tx_queue rx_queue"), None);
        assert_eq!(state_of(&line("FF")), None);
        assert_eq!(state_of(&line("00")), None);
    }
}
