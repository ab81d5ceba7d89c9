//! Statistics of keys as summary and table tell them: which are listed, in which order, and how a key is written.

use std::cmp::Reverse;
use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::limits::KEYS_LISTED;
use crate::record::key_hash::KeyHasher;
use crate::record::keys::{Big, Biggest, KeyStatistics};
use crate::record::top::{Entry, METRICS, Metric, PerMetric, Tally, Top};

/// A key or prefix that is listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its name, as it is shown.
    pub name: String,
    /// What was counted.
    pub tally: Tally,
    /// How much more there may have been of each metric.
    pub error: PerMetric,
}

/// The name of a key or prefix as text: here and nowhere else. By its hash, if there is to be one; else bytes that are not
/// UTF-8 are written as in records. `…` stands for what was cut off.
pub fn shown(name: &[u8], is_cut: bool, hasher: Option<&KeyHasher>) -> String {
    if let Some(hasher) = hasher {
        let hash = hasher.hash(name);
        return format!("{}{}", String::from_utf8_lossy(&hash), if is_cut { "…" } else { "" });
    }
    let mut text = String::with_capacity(name.len());
    // A character that was cut in two is left out, so that it does not look like a foreign byte.
    let whole = match std::str::from_utf8(name) {
        Err(error) if is_cut && error.error_len().is_none() => &name[..error.valid_up_to()],
        _ => name,
    };
    if let Ok(whole) = std::str::from_utf8(whole) {
        text.push_str(whole);
    } else {
        for chunk in whole.utf8_chunks() {
            text.push_str(&chunk.valid().replace('\\', r"\\"));
            for byte in chunk.invalid() {
                let _ = write!(text, r"\x{byte:02x}");
            }
        }
    }
    if is_cut {
        text.push('…');
    }
    text
}

/// Those that have most of a metric, at most [`KEYS_LISTED`]; of equals the first by name. What has none of it is left out.
/// An empty name is empty, hashed or not.
pub fn ranked(top: &Top, metric: Metric, hasher: Option<&KeyHasher>) -> Vec<Row> {
    let value = |entry: &Entry<'_>| entry.tally.metrics()[metric as usize];
    let mut best: Vec<Entry<'_>> = Vec::with_capacity(2 * KEYS_LISTED);
    let rank = |entry: &Entry<'_>| {
        (Reverse(value(entry)), entry.name.to_vec(), entry.is_cut, Reverse(*entry.tally), entry.error)
    };
    let mut least = 1;
    for (at, value_at) in top.values(metric as usize).enumerate() {
        if value_at < least {
            continue;
        }
        best.push(top.entry(at));
        if best.len() == 2 * KEYS_LISTED {
            best.select_nth_unstable_by_key(KEYS_LISTED - 1, rank);
            best.truncate(KEYS_LISTED);
            least = best.iter().map(value).min().unwrap_or(1);
        }
    }
    best.sort_by_cached_key(rank);
    best.truncate(KEYS_LISTED);
    let told = |entry: &Entry<'_>| {
        let is_empty = entry.name.is_empty();
        let name = if is_empty { String::new() } else { shown(entry.name, entry.is_cut, hasher) };
        Row { name, tally: *entry.tally, error: entry.error }
    };
    best.iter().map(told).collect()
}

/// The share of hits, if there was any read that could be one.
pub fn hit_ratio(tally: &Tally) -> Option<f64> {
    let lookups = tally.hits + tally.misses;
    (lookups > 0).then(|| tally.hits as f64 / lookups as f64)
}

/// How many there are, as long as none had to leave its table.
pub fn distinct(top: &Top) -> Option<usize> {
    top.is_whole().then(|| top.len())
}

/// The lists of the summary's section.
pub(super) fn lists(statistics: &KeyStatistics, hasher: Option<&KeyHasher>) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, top) in [("distinct_keys", &statistics.keys), ("distinct_prefixes", &statistics.prefixes)] {
        if let Some(count) = distinct(top) {
            fields.insert(name.into(), json!(count));
        }
    }
    for (metric, list) in METRICS.iter().zip(["by_operations", "by_bytes_in", "by_bytes_out", "by_latency"]) {
        let rows = ranked(&statistics.keys, *metric, hasher);
        fields.insert(list.into(), rows.iter().map(|row| tally("key", row)).collect());
    }
    fields.insert("unlisted_error".into(), metrics(&statistics.keys.missed()));
    let prefixes = ranked(&statistics.prefixes, Metric::Operations, hasher);
    fields.insert("prefixes".into(), prefixes.iter().map(|row| tally("prefix", row)).collect());
    fields.insert("biggest_requests".into(), biggest(statistics, &statistics.requests, hasher));
    fields.insert("biggest_replies".into(), biggest(statistics, &statistics.replies, hasher));
    fields
}

fn metrics(of: &PerMetric) -> Value {
    let [operations, bytes_in, bytes_out, latency] = of;
    json!({"operations": operations, "bytes_in": bytes_in, "bytes_out": bytes_out, "latency": latency})
}

fn tally(what: &str, row: &Row) -> Value {
    let Row { name, tally, error } = row;
    let mut fields = Map::from_iter([(what.to_owned(), json!(name))]);
    fields.insert("operations".into(), json!(tally.operations));
    fields.insert("reads".into(), json!(tally.reads));
    fields.insert("writes".into(), json!(tally.writes));
    fields.insert("hits".into(), json!(tally.hits));
    fields.insert("misses".into(), json!(tally.misses));
    if let Some(ratio) = hit_ratio(tally) {
        fields.insert("hit_ratio".into(), json!((ratio * 10_000.0).round() / 10_000.0));
    }
    fields.insert("bytes_in".into(), json!(tally.bytes_in));
    fields.insert("bytes_out".into(), json!(tally.bytes_out));
    fields.insert("latency".into(), json!(tally.latency_ns));
    fields.insert("error".into(), metrics(error));
    Value::Object(fields)
}

fn biggest(statistics: &KeyStatistics, of: &Biggest, hasher: Option<&KeyHasher>) -> Value {
    let told = |big: &Big| {
        let mut fields = json!({"bytes": big.bytes, "command": statistics.command(big)});
        if let Some(key) = &big.key {
            fields["key"] = json!(shown(key.bytes(), key.is_cut(), hasher));
        }
        fields["client"] = json!(big.client.to_string());
        fields["server"] = json!(big.server.to_string());
        if big.at.is_known() {
            fields["at"] = json!(big.at.to_string());
        }
        fields
    };
    of.iter().map(told).collect()
}

#[cfg(test)]
mod tests;
