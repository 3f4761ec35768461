//! The command `recode`, which decodes frames from standard input and encodes them to standard
//! output.

use std::io::{self, Read, Write};

use agentwire_codec::{EnvelopeCodec, Format, FrameLimits};
use bytes::BytesMut;
use clap::Args;
use tokio_util::codec::{Decoder, Encoder};

use crate::{
    codec::CodecArg,
    exit::{CliError, Exit},
    output::output_error,
};

/// Decode frames from standard input and encode them again to standard output
///
/// A frame is a four-byte big-endian length followed by an envelope. Compare the input with the
/// output to find data that is not preserved. Each complete frame is written before more input is
/// read, so another program can send one frame and wait for the result.
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

impl RecodeArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        // Reading, recoding and writing never overlap, so blocking I/O is sufficient.
        let recoder = Recoder::new(self.from.into(), self.to.into());
        recoder.run(io::stdin().lock(), io::stdout().lock())
    }
}

struct Recoder {
    from: EnvelopeCodec,
    to: EnvelopeCodec,
    /// The number of frames that have been recoded.
    frames: u64,
    /// The position in the input where the next frame starts.
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

    fn run(mut self, mut input: impl Read, mut output: impl Write) -> Result<(), CliError> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let len = match input.read(&mut chunk) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(CliError::from_error(Exit::Unreachable, &error)
                        .context("cannot read standard input"));
                }
            };
            self.input.extend_from_slice(&chunk[..len]);
            let recoded = self.recode_buffered(len == 0);
            // Write the output before the error of an invalid frame is returned, and before the
            // next read blocks.
            output
                .write_all(&self.output)
                .and_then(|()| output.flush())
                .map_err(|error| output_error(&error))?;
            self.output.clear();
            recoded?;
            if len == 0 {
                return Ok(());
            }
        }
    }

    /// Recodes the complete frames in the input buffer. If `at_end` is true, an incomplete frame is
    /// an error.
    fn recode_buffered(&mut self, at_end: bool) -> Result<(), CliError> {
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
            // The new frame can exceed the size limit, for example because integers are longer in
            // JSON than in MessagePack.
            self.to
                .encode(&envelope, &mut self.output)
                .map_err(|error| self.bad_frame(Exit::Usage, &error))?;
            self.frames += 1;
            self.offset += (before - self.input.len()) as u64;
        }
    }

    fn bad_frame(&self, exit: Exit, error: &(dyn std::error::Error + 'static)) -> CliError {
        CliError::from_error(exit, error).context(format_args!(
            "frame {} at byte {}",
            self.frames + 1,
            self.offset
        ))
    }
}

/// The size of each read, in bytes.
const CHUNK: usize = 64 * 1024;

const AFTER_HELP: &str = "\
Examples:
  agentwire recode < frames.bin > again.bin && cmp frames.bin again.bin
  agentwire recode --from json --to msgpack < captured.bin | xxd | less";

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that returns its bytes in pieces of a given size.
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

    fn recode(input: &[u8], piece: usize) -> (Vec<u8>, Result<(), CliError>) {
        let mut output = Vec::new();
        let recoder = Recoder::new(Format::Json, Format::Json);
        let result = recoder.run(Pieces(input, piece), &mut output);
        (output, result)
    }

    const GOOD: &str =
        r#"{"version": "1.0", "type": "stream_end", "id": "1", "timestamp": "t", "payload": {}}"#;

    #[test]
    fn frames_are_preserved_however_the_input_is_split() {
        let input = [frame(GOOD), frame(GOOD), frame(GOOD)].concat();
        for piece in 1..=input.len() {
            let (output, result) = recode(&input, piece);
            assert!(result.is_ok(), "{result:?}");
            assert_eq!(output, input);
        }
    }

    #[test]
    fn a_round_trip_through_messagepack_preserves_frames() {
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
    fn a_bad_frame_is_located_and_the_frames_before_it_are_written() {
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
                let Err(CliError::Reported { exit, text }) = result else {
                    panic!("{result:?}");
                };
                assert_eq!(exit, Exit::Protocol);
                let start = format!("frame 3 at byte {}: ", 2 * good.len());
                assert!(text.starts_with(&start) && text.contains(reason), "{text}");
            }
        }
    }
}
