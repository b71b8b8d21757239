//! Server side of the download protocol as a pure machine, one per connection.
