//! The resumable RESP parser.

/// The kind of a RESP value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// `+`
    Simple,
    /// `-`, and RESP3's `!`.
    Error,
    /// `:`
    Integer,
    /// `$`
    Bulk,
    /// `$-1`, `*-1`, `_`: one null in three forms.
    Null,
    /// `*`
    Array,
    /// `%`
    Map,
    /// `~`
    Set,
    /// `>`
    Push,
    /// `,`
    Double,
    /// `#`
    Boolean,
    /// `(`
    BigNumber,
    /// `=`
    Verbatim,
}

impl Kind {
    /// As `redis.reply` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Simple => "simple",
            Kind::Error => "error",
            Kind::Integer => "integer",
            Kind::Bulk => "bulk",
            Kind::Null => "null",
            Kind::Array => "array",
            Kind::Map => "map",
            Kind::Set => "set",
            Kind::Push => "push",
            Kind::Double => "double",
            Kind::Boolean => "boolean",
            Kind::BigNumber => "bignum",
            Kind::Verbatim => "verbatim",
        }
    }
}
