//! Which of XDP's ways an interface's driver has: the kernel's own list (generic netlink, family `netdev`, Linux 6.3 or newer).
//! Nothing is attached or bound to find out.

use std::io::{self, ErrorKind};

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, Nla, NlasIterator, Parseable,
    ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_sys::{Socket, protocols::NETLINK_GENERIC};

/// The family that tells of families (`GENL_ID_CTRL`), its question for one (`CTRL_CMD_GETFAMILY`), and that one's number and name.
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_NUMBER: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// `NETDEV_CMD_DEV_GET`, `NETDEV_A_DEV_IFINDEX`, `NETDEV_A_DEV_XDP_FEATURES`.
const GET_DEVICE: u8 = 1;
const INTERFACE_NUMBER: u16 = 1;
const FEATURES: u16 = 3;
/// `NETDEV_XDP_ACT_BASIC` and its like.
const BASIC: u64 = 1;
const REDIRECT: u64 = 2;
const ZERO_COPY: u64 = 8;
const SEVERAL_PIECES: u64 = 32;

/// What a driver can.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct XdpFeatures {
    /// It runs XDP programs that hand packets to sockets.
    pub driver: bool,
    /// Without copying them.
    pub zero_copy: bool,
    /// Packets that take several pieces of memory.
    pub several_pieces: bool,
}

impl XdpFeatures {
    fn from_bits(bits: u64) -> XdpFeatures {
        XdpFeatures {
            driver: bits & (BASIC | REDIRECT) == BASIC | REDIRECT,
            zero_copy: bits & ZERO_COPY != 0,
            several_pieces: bits & SEVERAL_PIECES != 0,
        }
    }
}

/// What the driver of the interface with this number can. An older kernel does not know: `NotFound`.
pub(super) fn features(interface: i32) -> io::Result<XdpFeatures> {
    let socket = Socket::new(NETLINK_GENERIC)?;
    // The answer is there when the question has been sent; if not, it is not waited for.
    socket.set_non_blocking(true)?;
    let name = DefaultNla::new(FAMILY_NAME, b"netdev\0".to_vec());
    let family = ask(&socket, Question { family: CONTROLLER, command: GET_FAMILY, attributes: vec![name] })?;
    let family = family.attribute(FAMILY_NUMBER).map(u16::from_ne_bytes).ok_or(ErrorKind::NotFound)?;
    let number = DefaultNla::new(INTERFACE_NUMBER, interface.to_ne_bytes().to_vec());
    let device = ask(&socket, Question { family, command: GET_DEVICE, attributes: vec![number] })?;
    let bits = device.attribute(FEATURES).map(u64::from_ne_bytes).ok_or(ErrorKind::NotFound)?;
    Ok(XdpFeatures::from_bits(bits))
}

/// A message of any generic family: its attributes.
#[derive(Debug)]
struct Question {
    family: u16,
    command: u8,
    attributes: Vec<DefaultNla>,
}

impl Question {
    /// An attribute's bytes, if it is there and as long as it should be.
    fn attribute<const N: usize>(&self, kind: u16) -> Option<[u8; N]> {
        let found = self.attributes.iter().find(|attribute| attribute.kind() == kind && attribute.value_len() == N)?;
        let mut bytes = [0; N];
        found.emit_value(&mut bytes);
        Some(bytes)
    }
}

impl GenlFamily for Question {
    fn family_name() -> &'static str {
        "any"
    }

    fn family_id(&self) -> u16 {
        self.family
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Question {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Question {
    fn parse_with_param(bytes: &[u8], header: GenlHeader) -> Result<Question, DecodeError> {
        let attributes =
            NlasIterator::new(bytes).map(|attribute| DefaultNla::parse(&attribute?)).collect::<Result<_, _>>()?;
        Ok(Question { family: 0, command: header.cmd, attributes })
    }
}

fn ask(socket: &Socket, question: Question) -> io::Result<Question> {
    let mut message = NetlinkMessage::from(GenlMessage::from_payload(question));
    message.header.flags = NLM_F_REQUEST;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answer = [0; 16 << 10];
    let length = socket.recv(&mut &mut answer[..], 0)?;
    let bytes = answer.get(..length).unwrap_or(&answer);
    let message = NetlinkMessage::<GenlMessage<Question>>::deserialize(bytes)
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
    match message.payload {
        NetlinkPayload::InnerMessage(answer) => Ok(answer.payload),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_abilities() {
        let of = |bits| XdpFeatures::from_bits(bits);
        assert_eq!(of(0), XdpFeatures::default());
        assert!(!of(BASIC).driver && of(BASIC | REDIRECT).driver);
        let all = XdpFeatures { driver: true, zero_copy: true, several_pieces: true };
        assert_eq!(of(127), all);
        assert_eq!(of(127 & !ZERO_COPY), XdpFeatures { zero_copy: false, ..all });
    }

    #[test]
    fn an_attribute_must_have_its_length() {
        let attributes = vec![DefaultNla::new(1, vec![7, 0]), DefaultNla::new(3, vec![1, 0, 0, 0])];
        let answer = Question { family: 0, command: 1, attributes };
        assert_eq!(answer.attribute(1).map(u16::from_ne_bytes), Some(u16::from_ne_bytes([7, 0])));
        assert_eq!((answer.attribute::<8>(3), answer.attribute::<2>(2)), (None, None));
    }

    #[test]
    fn the_kernel_tells_of_loopback_that_its_driver_has_none() {
        // Number 1 in every network namespace. A kernel before 6.3 does not know.
        match features(1) {
            Ok(features) => assert_eq!(features, XdpFeatures::default()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
        assert!(features(i32::MAX).is_err());
    }
}
