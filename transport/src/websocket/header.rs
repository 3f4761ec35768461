//! The header of a WebSocket frame (RFC 6455, section 5.2).

use super::fault::WebSocketFault;

/// The role of this side of a connection. Only clients mask their frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) is_final: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: Option<[u8; 4]>,
    pub(super) len: u64,
}

impl Header {
    /// Reads a header from the start of `bytes`. Returns the header and its length, or `None` if
    /// the header is incomplete. `receiver` is the role of the side that reads.
    ///
    /// # Errors
    ///
    /// Returns the violation as soon as the bytes that show it have arrived.
    pub(super) fn read(
        bytes: &[u8],
        receiver: Role,
    ) -> Result<Option<(Self, usize)>, WebSocketFault> {
        let Some(&[first, second]) = bytes.first_chunk() else {
            return Ok(None);
        };
        if first & RESERVED != 0 {
            return Err(WebSocketFault::ReservedBits);
        }
        let opcode = Opcode::from_bits(first & OPCODE).ok_or(WebSocketFault::InvalidOpcode)?;
        let is_final = first & FINAL != 0;
        let is_masked = second & MASKED != 0;
        if is_masked != (receiver == Role::Server) {
            return Err(WebSocketFault::IncorrectMasking);
        }
        let short = second & !MASKED;
        if opcode.is_control() {
            if !is_final {
                return Err(WebSocketFault::FragmentedControlFrame);
            }
            if usize::from(short) > MAX_CONTROL {
                return Err(WebSocketFault::ControlFrameTooLong);
            }
        }
        let mut rest = &bytes[2..];
        let len = match short {
            126 => match take::<2>(&mut rest) {
                Some(bytes) => u16::from_be_bytes(bytes).into(),
                None => return Ok(None),
            },
            127 => match take::<8>(&mut rest) {
                Some(bytes) => u64::from_be_bytes(bytes),
                None => return Ok(None),
            },
            short => short.into(),
        };
        if len > i64::MAX as u64 {
            return Err(WebSocketFault::InvalidLength);
        }
        let mask = if is_masked {
            match take::<4>(&mut rest) {
                Some(mask) => Some(mask),
                None => return Ok(None),
            }
        } else {
            None
        };
        let header = Self {
            is_final,
            opcode,
            mask,
            len,
        };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    /// Appends the header to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let fin = if self.is_final { FINAL } else { 0 };
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        out.push(fin | self.opcode.bits());
        match (u8::try_from(self.len), u16::try_from(self.len)) {
            (Ok(len @ 0..=125), _) => out.push(masked | len),
            (_, Ok(len)) => {
                out.push(masked | 126);
                out.extend_from_slice(&len.to_be_bytes());
            }
            _ => {
                out.push(masked | 127);
                out.extend_from_slice(&self.len.to_be_bytes());
            }
        }
        if let Some(mask) = self.mask {
            out.extend_from_slice(&mask);
        }
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

/// The maximum payload of a control frame.
pub(super) const MAX_CONTROL: usize = 125;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_at_every_length_and_split() {
        for len in [0, 1, 125, 126, 65_535, 65_536, 1 << 40] {
            for (mask, receiver) in [(None, Role::Client), (Some([1, 2, 3, 4]), Role::Server)] {
                let header = Header {
                    is_final: true,
                    opcode: Opcode::Binary,
                    mask,
                    len,
                };
                let mut bytes = Vec::new();
                header.write(&mut bytes);
                for cut in 0..bytes.len() {
                    assert_eq!(Header::read(&bytes[..cut], receiver), Ok(None));
                }
                let read = Header::read(&bytes, receiver);
                assert_eq!(read, Ok(Some((header, bytes.len()))));
            }
        }
    }

    #[test]
    fn violations_are_told_apart() {
        let cases: [(&[u8], WebSocketFault); 7] = [
            (&[0xC2, 0x80], WebSocketFault::ReservedBits),
            (&[0x83, 0x80], WebSocketFault::InvalidOpcode),
            (&[0x82, 0x00], WebSocketFault::IncorrectMasking),
            (&[0x09, 0x80], WebSocketFault::FragmentedControlFrame),
            (&[0x89, 0xFE], WebSocketFault::ControlFrameTooLong),
            (&[0x89, 0xFF], WebSocketFault::ControlFrameTooLong),
            (
                &[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0],
                WebSocketFault::InvalidLength,
            ),
        ];
        for (bytes, fault) in cases {
            assert_eq!(Header::read(bytes, Role::Server), Err(fault), "{bytes:x?}");
        }
        let masked = Header::read(&[0x82, 0x80], Role::Client);
        assert_eq!(masked, Err(WebSocketFault::IncorrectMasking));
    }
}
