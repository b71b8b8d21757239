//! Exchange trades made in memory: nine columns of every common type, one note in a hundred with text to quote.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Decimal128Array, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use spandrel_download_protocol::{Column, ColumnType, Schema};

/// Rows of one batch, as the engine reads them.
pub(crate) const ROWS: usize = 8_192;

/// Columns of [`batch`], time first.
pub(crate) fn schema() -> Schema {
    let columns = vec![
        Column::timestamp("ts", 6),
        Column::new("symbol", ColumnType::String),
        Column::new("side", ColumnType::String),
        Column::new("price", ColumnType::Float),
        Column::new("qty", ColumnType::Float),
        Column::new("fee", ColumnType::Decimal),
        Column::new("order_id", ColumnType::Int),
        Column::new("account_id", ColumnType::Int),
        Column::new("note", ColumnType::String),
    ];
    Schema::new(columns, 0).expect("names differ and ts is a time")
}

/// The same rows every time.
pub(crate) fn batch() -> RecordBatch {
    let mut random = Random(20_240_320);
    let mut now = 1_704_067_200_000_000_i64;
    let (mut ts, mut symbol, mut side, mut price, mut qty) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut fee, mut order, mut account, mut note) = (vec![], vec![], vec![], vec![]);
    for row in 0..ROWS {
        now += 1 + random.below(5_000_000);
        let p = (500.0 + random.below(9_000_000) as f64 / 100.0 * 1e4).round() / 1e4;
        let q = random.below(400_000_000) as f64 / 1e8;
        ts.push(now);
        symbol.push(i32::try_from(random.below(200).min(random.below(200))).expect("below 200"));
        side.push(i32::try_from(random.below(2)).expect("below 2"));
        price.push(p);
        qty.push(q);
        fee.push(i128::from(random.below(900_000_000_000)));
        order.push(1_000_000_000_000 + 4 * row as i64 + random.below(4));
        account.push(100_001 + random.below(249_999));
        note.push(words(random.below(100), random.below(1_000_000)));
    }
    let symbols: Vec<String> = (0..200).map(|i| format!("T{i:03}-KRW")).collect();
    let keyed = |keys: Vec<i32>, values: StringArray| -> ArrayRef {
        Arc::new(DictionaryArray::try_new(Int32Array::from(keys), Arc::new(values)).expect("keys are below"))
    };
    let fee = Decimal128Array::from(fee).with_precision_and_scale(20, 8).expect("20 digits");
    RecordBatch::try_from_iter([
        ("ts", Arc::new(TimestampMicrosecondArray::from(ts).with_timezone("+00:00")) as ArrayRef),
        ("symbol", keyed(symbol, StringArray::from(symbols))),
        ("side", keyed(side, StringArray::from(vec!["buy", "sell"]))),
        ("price", Arc::new(Float64Array::from(price))),
        ("qty", Arc::new(Float64Array::from(qty))),
        ("fee", Arc::new(fee)),
        ("order_id", Arc::new(Int64Array::from(order))),
        ("account_id", Arc::new(Int64Array::from(account))),
        ("note", Arc::new(StringArray::from(note))),
    ])
    .expect("nine columns of one length")
}

fn words(share: i64, n: i64) -> String {
    match share {
        0 => match n % 5 {
            0 => format!("partial fill, rest \"cancelled\", see ticket #{n}"),
            1 => format!("수수료 할인, VIP{n}"),
            2 => format!("=HYPERLINK(\"x{n}\")"),
            3 => format!("line one\nline two {n}"),
            _ => format!("émigré – naïve “quote” {n}"),
        },
        1..=15 => "limit".to_owned(),
        16..=30 => "market".to_owned(),
        31..=40 => "post-only".to_owned(),
        41..=45 => "algo:twap slice 12 of 96, none left".to_owned(),
        _ => String::new(),
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::try_from((z ^ (z >> 31)) % n).expect("n is small")
    }
}
