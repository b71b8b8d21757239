//! A deterministic data set of exchange trades for trials at scale.
//!
//! Nine columns: `ts` (microseconds, UTC, ascending), `symbol` and `side` (few values), `price` and `qty` (binary64), `fee`
//! (decimal 20,8), `order_id` and `account_id` (64-bit), `note` (free text: mostly short words, one in a hundred with
//! commas, quotes, line breaks, Korean or a formula's first character). Files of row groups of 250,000 rows, zstd, with
//! page index. The same row count gives the same rows.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Decimal128Array, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

/// Sample data could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// The folder or a file in it.
    #[error("the sample could not be written: {0}")]
    Io(#[from] io::Error),
    /// The Parquet writer.
    #[error("the sample could not be written: {0}")]
    Parquet(#[from] ParquetError),
    /// The columns did not fit together; a bug.
    #[error("the sample's columns do not fit: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
}

const GROUP_ROWS: u64 = 250_000;
const FILES: u64 = 4;
/// 2024-01-01T00:00:00Z.
const START_US: i64 = 1_704_067_200_000_000;
/// The rows spread over thirty days.
const SPAN_US: f64 = 30.0 * 86_400e6;
const SYMBOLS: usize = 200;
const NAMED: [&str; 10] = [
    "BTC-KRW", "ETH-KRW", "XRP-KRW", "SOL-KRW", "DOGE-KRW", "ADA-KRW", "TRX-KRW", "AVAX-KRW", "LINK-KRW",
    "DOT-KRW",
];
/// Notes and how many in a hundred rows carry them; the rest is empty.
const NOTES: [(&str, u64); 7] = [
    ("limit", 15),
    ("market", 15),
    ("ioc", 5),
    ("post-only", 4),
    ("algo:twap", 2),
    ("algo:vwap", 2),
    ("client retry", 2),
];

/// Writes `rows` trades into `folder` as `trades-00.parquet` and so on; `told` hears the rows written so far.
///
/// # Errors
/// [`SampleError`] when the folder cannot be made or a file cannot be written.
pub fn write_trades(rows: u64, folder: &Path, told: &mut dyn FnMut(u64)) -> Result<(), SampleError> {
    std::fs::create_dir_all(folder)?;
    let mut market = Market::new(rows);
    let (mut written, per_file) = (0, rows.div_ceil(FILES).max(1));
    for file in 0..FILES {
        let mut left = per_file.min(rows - written);
        if left == 0 && file > 0 {
            break;
        }
        let path = folder.join(format!("trades-{file:02}.parquet"));
        let mut writer =
            ArrowWriter::try_new(File::create(path)?, market.batch(0)?.schema(), Some(properties()?))?;
        while left > 0 {
            let now = left.min(GROUP_ROWS);
            writer.write(&market.batch(now)?)?;
            left -= now;
            written += now;
            told(written);
        }
        writer.close()?;
    }
    Ok(())
}

fn properties() -> Result<WriterProperties, ParquetError> {
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(usize::try_from(GROUP_ROWS).ok())
        .set_statistics_enabled(EnabledStatistics::Page)
        .build())
}

struct Market {
    random: Random,
    gap_us: f64,
    now_us: i64,
    order_id: i64,
    walk: f64,
    /// Chance of a symbol up to and including each.
    cumulative: Vec<f64>,
    base: Vec<f64>,
    names: Arc<StringArray>,
    sides: Arc<StringArray>,
}

impl Market {
    fn new(rows: u64) -> Self {
        let mut random = Random(20_240_320);
        let weights: Vec<f64> = (1..=SYMBOLS).map(|i| as_f64(i as u64).powf(-1.1)).collect();
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let cumulative = weights
            .iter()
            .map(|w| {
                sum += w / total;
                sum
            })
            .collect();
        let base = (0..SYMBOLS).map(|_| (8.0 + 2.5 * random.normal()).exp()).collect();
        let made = (0..SYMBOLS - NAMED.len()).map(|i| format!("T{i:03}-KRW"));
        Self {
            random,
            gap_us: SPAN_US / as_f64(rows.max(1)),
            now_us: START_US,
            order_id: 1_000_000_000_000,
            walk: 0.0,
            cumulative,
            base,
            names: Arc::new(NAMED.iter().map(|n| Some((*n).to_owned())).chain(made.map(Some)).collect()),
            sides: Arc::new(StringArray::from(vec!["buy", "sell"])),
        }
    }

    fn batch(&mut self, rows: u64) -> Result<RecordBatch, SampleError> {
        let n = usize::try_from(rows).unwrap_or(0);
        let (mut ts, mut symbol, mut side) =
            (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
        let (mut price, mut qty, mut fee) =
            (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
        let (mut order, mut account, mut note) =
            (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
        for _ in 0..rows {
            self.now_us += whole(-self.random.unit().ln() * self.gap_us) + 1;
            self.order_id += 1 + self.random.below(8);
            self.walk += 1e-5 * self.random.normal();
            let u = self.random.unit();
            let s = self.cumulative.partition_point(|c| *c < u).min(SYMBOLS - 1);
            let base = self.base.get(s).copied().unwrap_or(1.0);
            let p = rounded(base * self.walk.exp() * (1.0 + 1e-3 * self.random.normal()), 1e4);
            let q = rounded((1.5 * self.random.normal() - 1.0).exp(), 1e8);
            ts.push(self.now_us);
            symbol.push(i32::try_from(s).unwrap_or(0));
            side.push(i32::from(self.random.below(2) == 1));
            price.push(p);
            qty.push(q);
            fee.push(i128::from(whole(p * q * 50_000.0).min(900_000_000_000_000_000)));
            order.push(self.order_id);
            account.push(100_001 + self.random.below(249_999));
            note.push(self.note());
        }
        let keys = |keys: Vec<i32>, values: &Arc<StringArray>| {
            DictionaryArray::try_new(Int32Array::from(keys), Arc::clone(values) as ArrayRef)
        };
        Ok(RecordBatch::try_from_iter([
            ("ts", Arc::new(TimestampMicrosecondArray::from(ts).with_timezone("UTC")) as ArrayRef),
            ("symbol", Arc::new(keys(symbol, &self.names)?)),
            ("side", Arc::new(keys(side, &self.sides)?)),
            ("price", Arc::new(Float64Array::from(price))),
            ("qty", Arc::new(Float64Array::from(qty))),
            ("fee", Arc::new(Decimal128Array::from(fee).with_precision_and_scale(20, 8)?)),
            ("order_id", Arc::new(Int64Array::from(order))),
            ("account_id", Arc::new(Int64Array::from(account))),
            ("note", Arc::new(StringArray::from(note))),
        ])?)
    }

    fn note(&mut self) -> String {
        let mut at = u64::try_from(self.random.below(100)).unwrap_or(0);
        if self.random.below(100) == 0 {
            let n = 1 + self.random.below(1_000_000);
            return match at % 7 {
                0 => format!("partial fill, rest \"cancelled\", see ticket #{n}"),
                1 => format!("수수료 할인, VIP{n}"),
                2 => format!("=HYPERLINK(\"x{n}\")"),
                3 => format!("line one\nline two {n}"),
                4 => format!("émigré – naïve “quote” {n}"),
                5 => format!("-{n}+cmd"),
                _ => format!("\"{n}\" all quoted, yes"),
            };
        }
        for (text, share) in NOTES {
            if at < share {
                return text.to_owned();
            }
            at -= share;
        }
        String::new()
    }
}

/// SplitMix64: small, fast, the same everywhere; not for secrets.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Above 0, up to 1.
    fn unit(&mut self) -> f64 {
        (as_f64(self.next() >> 11) + 1.0) / as_f64(1 << 53)
    }

    fn below(&mut self, n: i64) -> i64 {
        whole(as_f64(self.next() >> 11) / as_f64(1 << 53) * n as f64)
    }

    /// Box and Muller.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[expect(clippy::cast_precision_loss, reason = "callers pass at most 53 bits")]
fn as_f64(v: u64) -> f64 {
    v as f64
}

/// Towards zero, saturating.
#[expect(clippy::cast_possible_truncation, reason = "casts from float saturate")]
fn whole(v: f64) -> i64 {
    v as i64
}

fn rounded(v: f64, per_unit: f64) -> f64 {
    (v * per_unit).round() / per_unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DatasetConfig, open};

    #[test]
    fn a_sample_opens_in_time_order_with_every_row() {
        let folder = tempfile::tempdir().unwrap();
        let mut told = Vec::new();
        write_trades(10_001, folder.path(), &mut |n| told.push(n)).unwrap();
        assert_eq!(told.last(), Some(&10_001));
        let source = open(DatasetConfig::new("trades", folder.path())).unwrap();
        let names: Vec<String> = source.schema().columns().iter().map(|c| c.name.clone()).collect();
        assert_eq!(names.join(","), "ts,symbol,side,price,qty,fee,order_id,account_id,note");
        assert_eq!(source.facts().rows, 10_001);
        let again = tempfile::tempdir().unwrap();
        write_trades(10_001, again.path(), &mut |_| ()).unwrap();
        for file in 0..4 {
            let name = format!("trades-{file:02}.parquet");
            assert!(
                std::fs::read(folder.path().join(&name)).unwrap()
                    == std::fs::read(again.path().join(&name)).unwrap(),
                "{name}"
            );
        }
    }
}
