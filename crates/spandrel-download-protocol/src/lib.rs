//! Vocabulary of the download protocol, version 1: envelope, events, requests, filters, errors.
