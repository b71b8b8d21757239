//! The CSV dialect, its index, and files that grow.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use spandrel_download_protocol::{Column, ColumnType, Filter, Test, Value};
use spandrel_export::SourceError;
use spandrel_source_parquet::{DatasetConfig, open};

use crate::{all, assert_tells_no_path, between, current, printed, refusal, text};

fn columns() -> Vec<Column> {
    vec![
        Column::timestamp("t", 3),
        Column::new("id", ColumnType::Int),
        Column::new("price", ColumnType::Decimal),
        Column::new("x", ColumnType::Float),
        Column::new("ok", ColumnType::Bool),
        Column::new("note", ColumnType::String),
    ]
}

const HEADER: &str = "t,id,price,x,ok,note\r\n";

fn config(path: &Path) -> DatasetConfig {
    DatasetConfig { columns: Some(columns()), ..DatasetConfig::new("d", path) }
}

fn saved(content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.csv");
    fs::write(&file, content).unwrap();
    (folder, file)
}

fn append(file: &Path, content: &str) {
    fs::OpenOptions::new().append(true).open(file).unwrap().write_all(content.as_bytes()).unwrap();
}

fn row(id: usize) -> String {
    format!("2024-03-01T00:{:02}:{:02}.000Z,{id},{id}.50,0.5,true,note {id}\r\n", id / 60 % 60, id % 60)
}

#[test]
fn what_we_write_is_read_back_to_the_byte() {
    let rows = [
        "2024-03-01T00:00:00.123Z,1,1.50,0.1,true,plain\r\n",
        "2024-03-01T00:00:00.123Z,1,1.5,1e+21,false,\"a,b\"\"c\"\"\r\nd\"\r\n",
        "0001-01-01T00:00:00.000Z,-9223372036854775808,-0.00,5e-324,,\"\"\r\n",
        "9999-12-31T23:59:59.999Z,,,,,\r\n",
        "2024-03-01T00:00:00.000Z,0,9999999999999999999999999999999999999999999999999999999999999999999999999999,0,true,\" é \"\r\n",
    ];
    let (_folder, file) = saved(format!("{HEADER}{}", rows.concat()));
    let source = open(config(&file)).unwrap();
    assert_eq!(text(&*source), rows.concat());
    assert_eq!((source.facts().rows, source.warning()), (5, None));
}

#[test]
fn line_feeds_marks_quotes_and_offsets_are_accepted() {
    let text_in = "\u{feff}\"t\",id,price,x,ok,\"note\"\n\"2024-03-01T09:00:00+09:00\",\"7\",\"01.0\",1E2,\"true\",\"\"\n2024-03-01T00:00:00.1234567Z,,,,,x\r\n";
    let (_folder, file) = saved(text_in);
    let source = open(config(&file)).unwrap();
    assert_eq!(
        text(&*source),
        "2024-03-01T00:00:00.000Z,7,01.0,100,true,\"\"\r\n2024-03-01T00:00:00.123Z,,,,,x\r\n"
    );
    let one = vec![Column::timestamp("t", 0)];
    let (_folder, file) = saved("t\r\n\r\n2024-03-01T00:00:00Z\r\n");
    let source = open(DatasetConfig { columns: Some(one), ..DatasetConfig::new("d", &file) }).unwrap();
    assert_eq!(source.facts().rows, 2, "an empty line of one column is a null");
    assert_eq!(text(&*source), "2024-03-01T00:00:00Z\r\n");
}

#[test]
fn cells_that_do_not_parse_are_refused_with_line_and_column() {
    let good = "2024-03-01T00:00:00Z,1,1.5,1,true,x\n";
    for (content, want) in [
        (
            format!("{HEADER}{good}2024-03-01,1,1.5,1,true,x\n"),
            "line 3, column \"t\": expected an RFC 3339 time",
        ),
        (
            format!("{HEADER}2024-03-01T00:00:00Z,1.0,1,1,true,x\n"),
            "line 2, column \"id\": expected an integer",
        ),
        (
            // A line break inside quotes counts as a line of the file.
            format!(
                "{HEADER}2024-03-01T00:00:00Z,1,1,1,true,\"a\nb\"\n{good}2024-03-01T00:00:00Z,1,1e5,1,true,x\n"
            ),
            "line 5, column \"price\": expected a decimal",
        ),
        (
            format!("{HEADER}2024-03-01T00:00:00Z,1,1,NaN,true,x\n"),
            "line 2, column \"x\": expected a JSON number",
        ),
        (
            format!("{HEADER}2024-03-01T00:00:00Z,1,1,1,yes,x\n"),
            "column \"ok\": expected true or false, found \"yes\"",
        ),
        (format!("{HEADER}{good}1,2\n"), "line 3: expected 6 columns, found 2"),
        (format!("{HEADER}\n"), "line 2: expected 6 columns, found 1"),
        (
            format!("{HEADER}2024-03-01T00:00:00Z,1,1,1,true,5\" pipe\n{good}"),
            "line 2: a quote stands inside",
        ),
        (format!("{HEADER}2024-03-01T00:00:00Z,1,1,1,true,\"a\"b\n"), "line 2: text follows a closing quote"),
        (format!("{HEADER}2024-03-01T00:00:00Z,1,1,1,true,a\rb\n"), "line 2: a carriage return stands alone"),
        (good.to_owned(), "line 1: expected the header t,id,price,x,ok,note, found \"2024"),
        ("t,id\n".to_owned(), "line 1: expected the header"),
        (HEADER.replace("id", "ID"), "line 1: expected the header"),
        (String::new(), "line 1: expected a header row"),
        ("t,id,price,x,ok,note".to_owned(), "line 1: expected a header row"),
    ] {
        let (_folder, file) = saved(&content);
        let told = refusal(config(&file));
        assert!(
            told.starts_with(&format!("data set d: {}: {want}", file.display())) || told.contains(want),
            "{told}"
        );
    }
    let (_folder, file) = saved([HEADER.as_bytes(), b"2024-03-01T00:00:00Z,1,1,1,true,\xff\n"].concat());
    assert!(refusal(config(&file)).contains("line 2, column \"note\": expected valid UTF-8"));
}

#[test]
fn a_stray_quote_at_the_end_is_an_error_and_an_open_one_is_told() {
    // One quote only: every later line would be taken for the rest of the field, and be missing.
    let content = format!("{HEADER}{}2024-03-01T00:00:00Z,1,1,1,true,5\" pipe\n{}", row(0), row(1));
    let (_folder, file) = saved(content);
    assert!(refusal(config(&file)).contains("line 3: a quote stands inside an unquoted field"));
    let content = format!("{HEADER}{}2024-03-01T00:00:00Z,1,1,1,true,\"pipe\n{}", row(0), row(1));
    let (_folder, file) = saved(content);
    let source = open(config(&file)).unwrap();
    assert_eq!(source.facts().rows, 1);
    let want = "rows.csv: the quote opened on line 3 is not closed: nothing after it is served";
    assert_eq!(source.warning().as_deref(), Some(want));
}

#[test]
fn a_record_still_being_written_is_told_and_served_once_it_is_whole() {
    let (_folder, file) = saved(format!("{HEADER}{}", row(0)));
    let source = open(config(&file)).unwrap();
    for piece in ["2024-03-01T00:00", ":01.000Z,1,1.50,0.5,true,\"no", "te 1\"", "\r"] {
        append(&file, piece);
        source.reload().unwrap();
        assert_eq!(text(&*source), row(0));
        let want = "rows.csv: the last record, line 3, has no line end yet and is not served";
        assert_eq!(source.warning().as_deref(), Some(want), "{piece}");
    }
    append(&file, "\n");
    source.reload().unwrap();
    assert_eq!((source.warning(), text(&*source)), (None, row(0) + &row(1)));
}

#[test]
fn appended_rows_belong_to_later_snapshots() {
    let (_folder, file) = saved(format!("{HEADER}{}", row(0)));
    let source = open(config(&file)).unwrap();
    let old = source.snapshot();
    append(&file, &row(1));
    assert_eq!(text(&*source), row(0), "nobody asked to look again");
    source.reload().unwrap();
    assert_eq!(text(&*source), row(0) + &row(1));
    let restarted = open(config(&file)).unwrap();
    for source in [&source, &restarted] {
        let rows = source.rows(&old).unwrap();
        assert_eq!(printed(&*rows, &all(&source.schema())).unwrap().0, row(0));
    }
}

#[test]
fn a_changed_prefix_changes_the_source() {
    type Harm = fn(&Path);
    let other: Harm = |file| fs::write(file, format!("{HEADER}{}{}", row(0), row(2))).unwrap();
    let shorter: Harm = |file| fs::write(file, format!("{HEADER}{}", row(0))).unwrap();
    let broken: Harm =
        |file| fs::write(file, format!("{HEADER}{}{}", row(0), "secret,cells,,,,\r\n")).unwrap();
    let gone: Harm = |file| fs::remove_file(file).unwrap();
    for (name, harm) in [("other", other), ("shorter", shorter), ("broken", broken), ("gone", gone)] {
        let (folder, file) = saved(format!("{HEADER}{}{}", row(0), row(1)));
        let source = open(config(&file)).unwrap();
        let snapshot = source.snapshot();
        let before = source.rows(&snapshot).unwrap();
        harm(&file);
        let error = printed(&*before, &all(&source.schema())).unwrap_err();
        assert!(matches!(error, SourceError::Changed { .. }), "{name}: {error}");
        assert_tells_no_path(&error, folder.path());
        // After a restart there is only what the record of the job says.
        let elsewhere = folder.path().join("z.csv");
        fs::write(&elsewhere, HEADER).unwrap();
        let error = open(config(&elsewhere)).unwrap().rows(&snapshot).map(|_| ()).unwrap_err();
        assert!(matches!(error, SourceError::Changed { .. }), "{name}: {error}");
        assert_tells_no_path(&error, folder.path());
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn a_failed_reload_keeps_the_old_index_and_tells_neither_path_nor_cell() {
    let (folder, file) = saved(format!("{HEADER}{}", row(0)));
    let source = open(config(&file)).unwrap();
    append(&file, "2024-03-01T00:00:00Z,secret,,,,\r\n");
    let error = source.reload().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the source does not match its schema: rows.csv: line 3, column \"id\": expected an integer of 64 bits such as -12, without leading zeros"
    );
    assert_tells_no_path(&error, folder.path());
    assert_eq!(text(&*source), row(0));
}

#[test]
fn blocks_join_without_a_seam_and_are_pruned_by_time() {
    // Past the rows and past the bytes of a block, with line breaks inside fields, times not in order.
    let record = |i: usize| {
        let note = if i.is_multiple_of(1_000) { "\n\"\"".repeat(20_000) } else { format!("note {i}") };
        format!("2024-03-01T{:02}:00:00.000Z,{i},,,,\"{note}\"\r\n", (i / 5_000) % 24)
    };
    let records: Vec<String> = (0..20_000).map(record).collect();
    let (_folder, file) = saved(format!("{HEADER}{}", records.concat()));
    let source = open(config(&file)).unwrap();
    assert_eq!(source.facts().rows, 20_000);
    let rows = current(&*source);
    let query = spandrel_download_protocol::Query { columns: vec![1], ..all(&source.schema()) };
    let (text, _) = printed(&*rows, &query).unwrap();
    let want: String = (0..20_000).map(|i| format!("{i}\r\n")).collect();
    assert!(text == want, "every row once, in order");
    let hour = between(&source.schema(), "2024-03-01T02:00:00Z", "2024-03-01T03:00:00Z", vec![]);
    let plan = rows.plan(&hour).unwrap();
    assert_eq!(plan.rows_exact, Some(5_000));
    assert!(plan.rows_scanned_max() < 15_000, "{}", plan.rows_scanned_max());
    let filters = vec![Filter::Leaf { column: 1, test: Test::Eq(Value::Int(12_345)) }];
    let one = spandrel_download_protocol::Query { filters, columns: vec![5, 1], ..hour };
    assert_eq!(printed(&*rows, &one).unwrap().0, "note 12345,12345\r\n");
}

#[test]
fn a_quote_left_open_is_refused_before_it_fills_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    let mut file = fs::File::create(&path).unwrap();
    write!(file, "{HEADER}{}2024-03-01T00:00:00Z,1,1,1,true,\"", row(0)).unwrap();
    // 200 MB without a closing quote, as holes: reading it all would show.
    file.set_len(200 << 20).unwrap();
    let told = refusal(config(&path));
    assert!(told.contains("line 3: a record of more than 16777216 bytes: is a quote left open?"), "{told}");
    if let Some(peak) = peak_kib() {
        assert!(peak < 160 << 10, "peak resident {peak} KiB");
    }
}

/// Highest resident memory of this process so far, where the system tells.
fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().split(' ').next()?.parse().ok()
}
