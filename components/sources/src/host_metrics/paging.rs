//! `system.paging.*`: swap devices from `/proc/swaps`, operations and faults from `/proc/vmstat`.

use super::{
    host::{Host, ScrapeError},
    mounts::unescape,
    names::{self, key, value},
    sheet::{Attribute, Sheet},
};

#[derive(Debug, Default, PartialEq, Eq)]
struct Counters {
    swapped_in: Option<u64>,
    swapped_out: Option<u64>,
    paged_in: Option<u64>,
    paged_out: Option<u64>,
    faults: Option<u64>,
    major_faults: Option<u64>,
}

/// Reads and writes the swap devices. A host without swap has none, and a kernel without swap support has no file.
pub(super) fn scrape_swaps(host: &Host, sheet: &mut Sheet<'_>) -> Result<(), ScrapeError> {
    let path = host.proc_path("swaps");
    if !path.exists() {
        return Ok(());
    }
    let file = host.read(path)?;
    let mut usage = sheet.metric(&names::PAGING_USAGE);
    for (device, size, used) in file.text.lines().filter_map(parse_swap) {
        let labels = |state| [Attribute::Text(key::DEVICE, &device), Attribute::Name(key::PAGING_STATE, state)];
        usage.int(used, &labels(value::USED));
        usage.int(size.saturating_sub(used), &labels(value::FREE));
    }
    Ok(())
}

/// Reads and writes paging operations and faults.
///
/// The kernel has no split of operations by fault type. As the Collector does, pages swapped count as major and
/// what `pgpgin` and `pgpgout` count (transfers from and to disk) as minor.
pub(super) fn scrape_counters(host: &Host, sheet: &mut Sheet<'_>) -> Result<(), ScrapeError> {
    let file = host.read(host.proc_path("vmstat"))?;
    let counters = Counters::parse(&file.text);
    if counters == Counters::default() {
        return Err(file.malformed("paging counters"));
    }
    let rows = [
        (counters.swapped_in, value::PAGE_IN, value::MAJOR),
        (counters.swapped_out, value::PAGE_OUT, value::MAJOR),
        (counters.paged_in, value::PAGE_IN, value::MINOR),
        (counters.paged_out, value::PAGE_OUT, value::MINOR),
    ];
    let mut operations = sheet.metric(&names::PAGING_OPERATIONS);
    for (count, direction, kind) in rows {
        let labels = [Attribute::Name(key::PAGING_DIRECTION, direction), Attribute::Name(key::FAULT_TYPE, kind)];
        if let Some(count) = count {
            operations.int(count, &labels);
        }
    }
    let mut faults = sheet.metric(&names::PAGING_FAULTS);
    if let (Some(all), Some(major)) = (counters.faults, counters.major_faults) {
        faults.int(major, &[Attribute::Name(key::FAULT_TYPE, value::MAJOR)]);
        faults.int(all.saturating_sub(major), &[Attribute::Name(key::FAULT_TYPE, value::MINOR)]);
    }
    Ok(())
}

impl Counters {
    fn parse(text: &str) -> Counters {
        let mut counters = Counters::default();
        for line in text.lines() {
            let Some((name, number)) = line.split_once(' ') else {
                continue;
            };
            let place = match name {
                "pswpin" => &mut counters.swapped_in,
                "pswpout" => &mut counters.swapped_out,
                "pgpgin" => &mut counters.paged_in,
                "pgpgout" => &mut counters.paged_out,
                "pgfault" => &mut counters.faults,
                "pgmajfault" => &mut counters.major_faults,
                _ => continue,
            };
            *place = number.trim().parse().ok();
        }
        counters
    }
}

/// `/dev/dm-1  partition  8388604  1024  -2`: name (escaped as in mountinfo), type, size and used in KiB, priority.
/// The header's size is no number.
fn parse_swap(line: &str) -> Option<(String, u64, u64)> {
    let mut columns = line.split_ascii_whitespace();
    let device = columns.next()?;
    let mut kibibytes = columns.skip(1).map(|column| column.parse::<u64>().ok());
    let size = kibibytes.next()??;
    let used = kibibytes.next()??;
    let device = String::from_utf8_lossy(&unescape(device.as_bytes())).into_owned();
    Some((device, size.saturating_mul(1024), used.saturating_mul(1024)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes are KiB, names are escaped, the header and an empty table yield nothing.
    #[test]
    fn swap_lines() {
        assert_eq!(parse_swap("Filename\t\t\tType\t\tSize\t\tUsed\t\tPriority"), None);
        assert_eq!(parse_swap("/var/my\\040swap    file    8    3   -2"), Some(("/var/my swap".into(), 8192, 3072)));
        assert_eq!(parse_swap(""), None);
    }

    /// Counters are found among the others, and absent ones stay absent.
    #[test]
    fn vmstat_lines() {
        let counters = Counters::parse("nr_free_pages 5\npgpgin 7\npgfault 100\npgmajfault 4\npgfault_a 3\n");
        let expected = Counters { paged_in: Some(7), faults: Some(100), major_faults: Some(4), ..Counters::default() };
        assert_eq!(counters, expected);
    }
}
