//! The hardware bridge as a library: parent channel, sockets, certificates and the machine between them.
