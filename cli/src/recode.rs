use std::io::{self, Read, Write};

use agentwire_codec::{EnvelopeCodec, Format, FrameLimits};
use bytes::BytesMut;
use clap::Args;
use tokio_util::codec::{Decoder, Encoder};

use crate::{
    codec::CodecArg,
    exit::{Exit, Failure},
    output::output_failure,
};

/// Decode frames from standard input and encode them again on standard output
///
/// A frame is a length, four bytes, big-endian, and an envelope. What the reader and writer of this
/// program do not keep of it is thereby made visible. Frames are written before more input is
/// waited for, so a program may send one, read one, and go on.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RecodeArgs {
    /// The format to decode
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    from: CodecArg,

    /// The format to encode
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    to: CodecArg,
}

const AFTER_HELP: &str = "\
Examples:
  agentwire recode < frames.bin > again.bin && cmp frames.bin again.bin
  agentwire recode --from json --to msgpack < captured.bin | xxd | less";

impl RecodeArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        // No runtime: reading, working and writing take turns anyway.
        let recoder = Recoder::new(self.from.into(), self.to.into());
        recoder.run(io::stdin().lock(), io::stdout().lock())
    }
}

struct Recoder {
    from: EnvelopeCodec,
    to: EnvelopeCodec,
    /// How many frames have been recoded, and how many bytes they had.
    frames: u64,
    offset: u64,
    input: BytesMut,
    output: BytesMut,
}

impl Recoder {
    fn new(from: Format, to: Format) -> Self {
        Self {
            from: EnvelopeCodec::new(from, FrameLimits::default()),
            to: EnvelopeCodec::new(to, FrameLimits::default()),
            frames: 0,
            offset: 0,
            input: BytesMut::new(),
            output: BytesMut::new(),
        }
    }

    fn run(mut self, mut input: impl Read, mut output: impl Write) -> Result<(), Failure> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let len = match input.read(&mut chunk) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Failure::from_error(Exit::Unreachable, &error)
                        .while_doing("cannot read standard input"));
                }
            };
            self.input.extend_from_slice(&chunk[..len]);
            let recoded = self.recode_what_is_there(len == 0);
            // Also what came before a bad frame, and always before a read that may wait.
            output
                .write_all(&self.output)
                .and_then(|()| output.flush())
                .map_err(|error| output_failure(&error))?;
            self.output.clear();
            recoded?;
            if len == 0 {
                return Ok(());
            }
        }
    }

    /// Recodes the whole frames of the input. At its end, a part of one is an error.
    fn recode_what_is_there(&mut self, at_end: bool) -> Result<(), Failure> {
        loop {
            let before = self.input.len();
            let decoded = if at_end {
                self.from.decode_eof(&mut self.input)
            } else {
                self.from.decode(&mut self.input)
            };
            let envelope = match decoded {
                Ok(None) => return Ok(()),
                Ok(Some(Ok(envelope))) => envelope,
                Ok(Some(Err(error))) => return Err(self.bad_frame(Exit::Protocol, &error)),
                Err(error) => return Err(self.bad_frame(Exit::Protocol, &error)),
            };
            // A frame can grow beyond the limit: text that is not ASCII does in JSON.
            self.to
                .encode(&envelope, &mut self.output)
                .map_err(|error| self.bad_frame(Exit::Usage, &error))?;
            self.frames += 1;
            self.offset += (before - self.input.len()) as u64;
        }
    }

    fn bad_frame(&self, exit: Exit, error: &dyn std::error::Error) -> Failure {
        Failure::from_error(exit, error).while_doing(format_args!(
            "frame {} at byte {}",
            self.frames + 1,
            self.offset
        ))
    }
}

/// How much is read at a time.
const CHUNK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of this size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(self.0.len());
            let (now, later) = self.0.split_at(len);
            buffer[..len].copy_from_slice(now);
            self.0 = later;
            Ok(len)
        }
    }

    fn frame(payload: &str) -> Vec<u8> {
        let header = u32::try_from(payload.len())
            .expect("a short payload")
            .to_be_bytes();
        [&header, payload.as_bytes()].concat()
    }

    fn recode(input: &[u8], piece: usize) -> (Vec<u8>, Result<(), Failure>) {
        let mut output = Vec::new();
        let recoder = Recoder::new(Format::Json, Format::Json);
        let result = recoder.run(Pieces(input, piece), &mut output);
        (output, result)
    }

    const GOOD: &str =
        r#"{"version": "1.0", "type": "stream_end", "id": "1", "timestamp": "t", "payload": {}}"#;

    #[test]
    fn frames_come_out_the_same_however_they_come_in() {
        let input = [frame(GOOD), frame(GOOD), frame(GOOD)].concat();
        for piece in 1..=input.len() {
            let (output, result) = recode(&input, piece);
            assert!(result.is_ok(), "{result:?}");
            assert_eq!(output, input);
        }
    }

    #[test]
    fn what_goes_to_messagepack_and_back_comes_out_the_same() {
        let json = [frame(GOOD), frame(GOOD)].concat();
        let mut msgpack = Vec::new();
        let there = Recoder::new(Format::Json, Format::MessagePack);
        there.run(&json[..], &mut msgpack).expect("frames");
        assert_eq!(msgpack[4], 0x85, "a map of five");
        let mut again = Vec::new();
        let back = Recoder::new(Format::MessagePack, Format::Json);
        back.run(&msgpack[..], &mut again).expect("frames");
        assert_eq!(again, json);
    }

    #[test]
    fn a_bad_frame_is_named_and_what_came_before_it_is_written() {
        let good = frame(GOOD);
        let cases = [
            (frame("{"), "Failed to decode JSON"),
            (frame(""), "Failed to decode JSON"),
            (b"\xff\xff\xff\xff".to_vec(), "exceeds the limit"),
            (b"\0\0\0\x05abc".to_vec(), "after 7 of 9 bytes"),
            (b"\0".to_vec(), "after 1 of 4 bytes"),
        ];
        for (bad, reason) in cases {
            let input = [&good[..], &good, &bad].concat();
            for piece in [1, 7, input.len()] {
                let (output, result) = recode(&input, piece);
                assert_eq!(output, [&good[..], &good].concat());
                let Err(Failure::Told { exit, text }) = result else {
                    panic!("{result:?}");
                };
                assert_eq!(exit, Exit::Protocol);
                let start = format!("frame 3 at byte {}: ", 2 * good.len());
                assert!(text.starts_with(&start) && text.contains(reason), "{text}");
            }
        }
    }
}
