//! `system.disk.*` from `/proc/diskstats`.

use engine_config::sources::host_metrics::DiskOptions;

use super::{
    host::{Host, ScrapeError},
    names::{self, Instrument, key, value},
    sheet::{Attribute, Sheet},
};

/// Sectors of `/proc/diskstats` are of 512 bytes, whatever the device's own are.
const SECTOR_BYTES: u64 = 512;

/// The counters of one block device; times are in milliseconds.
#[derive(Debug, PartialEq, Eq)]
struct Disk<'a> {
    device: &'a str,
    reads: Direction,
    writes: Direction,
    pending: u64,
    busy_millis: u64,
    weighted_millis: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Direction {
    operations: u64,
    merged: u64,
    sectors: u64,
    millis: u64,
}

/// Reads and writes the metrics of the devices that the filter keeps.
pub(super) fn scrape(host: &Host, sheet: &mut Sheet<'_>, options: &DiskOptions) -> Result<(), ScrapeError> {
    let file = host.read(host.proc_path("diskstats"))?;
    let disks: Vec<Disk<'_>> =
        file.text.lines().filter_map(parse_line).filter(|disk| options.devices.matches(disk.device)).collect();
    write(sheet, &disks);
    Ok(())
}

fn write(sheet: &mut Sheet<'_>, disks: &[Disk<'_>]) {
    by_direction(sheet, &names::DISK_IO, disks, |direction| direction.sectors.saturating_mul(SECTOR_BYTES));
    by_direction(sheet, &names::DISK_OPERATIONS, disks, |direction| direction.operations);
    by_direction(sheet, &names::DISK_MERGED, disks, |direction| direction.merged);
    let mut operation_time = sheet.metric(&names::DISK_OPERATION_TIME);
    for disk in disks {
        operation_time.double(seconds(disk.reads.millis), &labels(disk, value::READ));
        operation_time.double(seconds(disk.writes.millis), &labels(disk, value::WRITE));
    }
    let mut io_time = sheet.metric(&names::DISK_IO_TIME);
    for disk in disks {
        io_time.double(seconds(disk.busy_millis), &[Attribute::Text(key::DEVICE, disk.device)]);
    }
    let mut weighted = sheet.metric(&names::DISK_WEIGHTED_IO_TIME);
    for disk in disks {
        weighted.double(seconds(disk.weighted_millis), &[Attribute::Text(key::DEVICE, disk.device)]);
    }
    let mut pending = sheet.metric(&names::DISK_PENDING);
    for disk in disks {
        pending.int(disk.pending, &[Attribute::Text(key::DEVICE, disk.device)]);
    }
}

fn by_direction(sheet: &mut Sheet<'_>, instrument: &Instrument, disks: &[Disk<'_>], of: fn(&Direction) -> u64) {
    let mut points = sheet.metric(instrument);
    for disk in disks {
        points.int(of(&disk.reads), &labels(disk, value::READ));
        points.int(of(&disk.writes), &labels(disk, value::WRITE));
    }
}

fn labels<'a>(disk: &Disk<'a>, direction: names::Named) -> [Attribute<'a>; 2] {
    [Attribute::Text(key::DEVICE, disk.device), Attribute::Name(key::DISK_DIRECTION, direction)]
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

/// One line: major, minor, name and at least eleven counters (kernel documentation, `procfs-diskstats`); later
/// columns (discards, flushes) are not used. `None` for a line that is shorter, as partitions of very old kernels are.
fn parse_line(line: &str) -> Option<Disk<'_>> {
    let mut columns = line.split_ascii_whitespace().skip(2);
    let device = columns.next()?;
    let mut numbers = columns.map(|column| column.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    Some(Disk {
        device,
        reads: direction(&mut next)?,
        writes: direction(&mut next)?,
        pending: next()?,
        busy_millis: next()?,
        weighted_millis: next()?,
    })
}

fn direction(next: &mut impl FnMut() -> Option<u64>) -> Option<Direction> {
    Some(Direction { operations: next()?, merged: next()?, sectors: next()?, millis: next()? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing value is a failed test")]
    use super::*;

    /// The columns of a current kernel, and the eleven of an older one, are read alike.
    #[test]
    fn new_and_old_columns() {
        let new = " 254       0 vda 36615 8079 3935378 14295 9039 39136 3968872 26299 3 7140 41917 4521 52 250936 1077 426 244";
        let old = " 254       0 vda 36615 8079 3935378 14295 9039 39136 3968872 26299 3 7140 41917";
        assert_eq!(parse_line(new), parse_line(old));
        let disk = parse_line(new).unwrap();
        assert_eq!(disk.device, "vda");
        assert_eq!(disk.reads.sectors, 3_935_378);
        assert_eq!(disk.writes.merged, 39_136);
        assert_eq!((disk.pending, disk.busy_millis, disk.weighted_millis), (3, 7140, 41_917));
    }

    /// Short and damaged lines are skipped.
    #[test]
    fn odd_lines_are_skipped() {
        assert_eq!(parse_line(""), None);
        assert_eq!(parse_line("   8       1 sda1 1 2 3 4"), None);
        assert_eq!(parse_line("   8       0 sda x 1 2 3 4 5 6 7 8 9 10"), None);
    }
}
