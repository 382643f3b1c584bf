//! `system.cpu.load_average.*` from `/proc/loadavg`.

use super::{
    host::{Host, ScrapeError},
    names,
    sheet::Sheet,
};

/// Reads and writes the load averages.
pub(super) fn scrape(host: &Host, sheet: &mut Sheet<'_>) -> Result<(), ScrapeError> {
    let file = host.read(host.proc_path("loadavg"))?;
    let Some(averages) = parse(&file.text) else {
        return Err(file.malformed("three load averages"));
    };
    let instruments = [&names::LOAD_1M, &names::LOAD_5M, &names::LOAD_15M];
    for (instrument, average) in instruments.into_iter().zip(averages) {
        sheet.metric(instrument).double(average, &[]);
    }
    Ok(())
}

fn parse(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split_ascii_whitespace().map(|column| column.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first three columns are the averages; anything shorter is refused.
    #[test]
    fn three_columns() {
        assert_eq!(parse("1.03 0.67 0.28 5/110 10637\n"), Some([1.03, 0.67, 0.28]));
        assert_eq!(parse("1.03 0.67"), None);
        assert_eq!(parse(""), None);
    }
}
