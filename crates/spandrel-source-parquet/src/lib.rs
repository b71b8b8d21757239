//! Rows from Parquet and CSV files: one file, a directory or a glob.
