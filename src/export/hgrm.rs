//! Percentile distributions as text (`.hgrm`), in the form that the `HdrHistogram` tools print and plot.

use std::io::{self, Write};

use crate::record::histograms::Histogram;

/// Steps in each half of the distance that remains to 100 %, as the tools have it.
pub const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// The unit of the values in a distribution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unit {
    /// As recorded.
    Nanoseconds,
    /// Thousands of them.
    Microseconds,
    /// What plotting tools expect.
    #[default]
    Milliseconds,
}

/// Writes the distribution of a histogram of nanoseconds. The values have at least as many decimals as the histogram has
/// digits, as the tools print them, and more where the unit needs them to lose nothing.
pub fn write(histogram: &Histogram, unit: Unit, out: &mut dyn Write) -> io::Result<()> {
    let (ratio, unit_decimals) = match unit {
        Unit::Nanoseconds => (1.0, 0),
        Unit::Microseconds => (1e3, 3),
        Unit::Milliseconds => (1e6, 6),
    };
    let decimals = usize::from(histogram.sigfig()).max(unit_decimals);
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / ratio;
        let quantile = step.quantile_iterated_to();
        write!(out, "{value:12.decimals$} {quantile:2.12} {total:10}")?;
        if quantile < 1.0 {
            write!(out, " {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    let (mean, deviation) = (histogram.mean() / ratio, histogram.stdev() / ratio);
    writeln!(out, "#[Mean    = {mean:12.decimals$}, StdDeviation   = {deviation:12.decimals$}]")?;
    let max = histogram.max() as f64 / ratio;
    writeln!(out, "#[Max     = {max:12.decimals$}, Total count    = {:12}]", histogram.len())?;
    let sub_buckets = (2 * 10u32.pow(u32::from(histogram.sigfig()))).next_power_of_two();
    writeln!(out, "#[Buckets = {:12}, SubBuckets     = {sub_buckets:12}]", histogram.buckets())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::histograms::{DIGITS, histogram};

    fn text(values: impl IntoIterator<Item = u64>, unit: Unit) -> String {
        let mut recorded = histogram(DIGITS);
        for value in values {
            recorded.record(value).unwrap();
        }
        let mut out = Vec::new();
        write(&recorded, unit, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_text_has_the_form_that_the_tools_print() {
        assert_eq!(
            text([1, 2, 4], Unit::Nanoseconds),
            "       Value     Percentile TotalCount 1/(1-Percentile)

       1.000 0.000000000000          1           1.00
       1.000 0.100000000000          1           1.11
       1.000 0.200000000000          1           1.25
       1.000 0.300000000000          1           1.43
       2.000 0.400000000000          2           1.67
       2.000 0.500000000000          2           2.00
       2.000 0.550000000000          2           2.22
       2.000 0.600000000000          2           2.50
       2.000 0.650000000000          2           2.86
       4.000 0.700000000000          3           3.33
       4.000 1.000000000000          3
#[Mean    =        2.333, StdDeviation   =        1.247]
#[Max     =        4.000, Total count    =            3]
#[Buckets =            1, SubBuckets     =         2048]
"
        );
    }

    /// What the plotting page does with a file: four columns of numbers, comments and the last row left out.
    #[test]
    fn plotting_tools_find_rising_values_and_percentiles() {
        for (unit, factor) in [(Unit::Nanoseconds, 1.0), (Unit::Microseconds, 1e3), (Unit::Milliseconds, 1e6)] {
            let text = text((1..5000).map(|value| value * 777), unit);
            let rows: Vec<Vec<f64>> = text
                .lines()
                .skip(1)
                .filter(|line| !line.starts_with('#') && line.split_whitespace().count() == 4)
                .map(|line| line.split_whitespace().map(|number| number.parse().unwrap()).collect())
                .collect();
            assert!(rows.len() > 40);
            assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] < pair[1][1]));
            let median = rows.iter().find(|row| row[1] >= 0.5).unwrap();
            let expected = 777.0 * 2500.0 / factor;
            assert!((median[0] - expected).abs() < expected / 900.0, "{median:?}");
            assert!((median[3] - 2.0).abs() < 1e-9);
        }
    }

    #[test]
    fn an_empty_histogram_has_no_rows() {
        let text = text([], Unit::Milliseconds);
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 2);
        assert!(text.contains("Total count    =            0"), "{text}");
    }
}
