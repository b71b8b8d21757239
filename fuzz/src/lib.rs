//! Fuzz targets as plain functions; their seeds run as ordinary tests.
