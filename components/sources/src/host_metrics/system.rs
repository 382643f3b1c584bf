//! `system.uptime` from `/proc/uptime`.

use super::{
    host::{Host, ScrapeError},
    names,
    sheet::Sheet,
};

/// Reads and writes the uptime.
pub(super) fn scrape(host: &Host, sheet: &mut Sheet<'_>) -> Result<(), ScrapeError> {
    sheet.metric(&names::UPTIME).double(uptime_seconds(host)?, &[]);
    Ok(())
}

/// Seconds since the host started.
pub(super) fn uptime_seconds(host: &Host) -> Result<f64, ScrapeError> {
    let file = host.read(host.proc_path("uptime"))?;
    let seconds = file.text.split_ascii_whitespace().next().and_then(|column| column.parse().ok());
    seconds.ok_or_else(|| file.malformed("uptime in seconds"))
}
