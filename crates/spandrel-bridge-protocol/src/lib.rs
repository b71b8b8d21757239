//! Messages between a hardware bridge and its parent, who may connect to it, and the text form of its encrypt and decrypt.
