//! Client of the download protocol: request, follow, re-attach, resume and check files.
