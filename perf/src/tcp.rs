//! The bits of TCP's flags.

/// No more data.
pub const FIN: u8 = 0x01;
/// Sequence numbers begin.
pub const SYN: u8 = 0x02;
/// The connection is gone.
pub const RST: u8 = 0x04;
/// To be handed over at once.
pub const PSH: u8 = 0x08;
/// The acknowledgement number means something.
pub const ACK: u8 = 0x10;
