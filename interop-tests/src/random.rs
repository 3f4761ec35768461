//! A generator of random envelopes.

use agentwire::{Integer, Map, Message, RequestId, Role, Timestamp, ToolResult, Value, WireError};
use agentwire_codec::{
    Body, Call, Envelope, Execute, Heartbeat, Register, Request, Response, SentAt, Unregister,
};
use bytes::Bytes;
use fastrand::Rng;

/// A generator of random envelopes that stress a codec. The same seed always generates the same
/// envelopes.
///
/// `python/differential.py` has a separate generator, which generates different envelopes.
#[derive(Debug)]
pub struct Generator {
    random: Rng,
    big_integers: bool,
    bytes: bool,
}

impl Generator {
    /// Creates a generator with the given seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: Rng::with_seed(seed),
            big_integers: false,
            bytes: false,
        }
    }

    /// Generates an envelope. Some envelopes cannot be encoded in JSON, and others cannot be
    /// encoded in MessagePack.
    pub fn envelope(&mut self) -> Envelope {
        let lot = self.random.f32();
        (self.big_integers, self.bytes) = (lot < 0.2, lot > 0.9);
        let id = if self.often() {
            let hex = format!("{:032x}", self.random.u128(..));
            let (a, b, c, d, e) = (
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..],
            );
            RequestId::from(format!("{a}-{b}-{c}-{d}-{e}"))
        } else {
            RequestId::from(self.text())
        };
        let body = self.body();
        let mut envelope = Envelope::new(id, body);
        envelope.timestamp = match self.random.u8(..4) {
            0 => None,
            1 => Some(SentAt::from(self.text().as_str())),
            _ => Some(SentAt::from(self.timestamp())),
        };
        envelope
    }

    fn body(&mut self) -> Body {
        match self.random.u8(..13) {
            0 => Request::Process(self.call()).into(),
            1 => Request::Stream(self.call()).into(),
            2 => Request::Execute(Execute::new(self.some_text(), self.map(1))).into(),
            3 => {
                let mut payload = self.map(1);
                payload.insert("method", self.random.u8(..));
                Request::Other(payload).into()
            }
            4 | 5 => Response::Message(self.message()).into(),
            6 => Response::Tool(self.tool_result()).into(),
            7 => Body::StreamChunk(self.message()),
            8 => WireError::new(self.text(), self.text())
                .with_details(self.map(1))
                .into(),
            9 => {
                let mut register = Register::new(self.text(), self.text());
                register.capabilities = self.map(1);
                register.metadata = self.map(1);
                (register.version, register.instance) = (self.rare_text(), self.rare_text());
                register.into()
            }
            10 => {
                let mut heartbeat = Heartbeat::healthy(self.text());
                heartbeat.status = self.text();
                (heartbeat.endpoint, heartbeat.instance) = (self.rare_text(), self.rare_text());
                heartbeat.into()
            }
            11 => {
                let entries = self.map(1);
                let known = |key: &str| key == "message" || key == "result";
                let entries = entries.into_iter().filter(|(key, _)| !known(key));
                Response::Other(entries.collect()).into()
            }
            _ => {
                let mut unregister = Unregister::new(self.text());
                if !self.often() {
                    unregister.agent_name = None;
                }
                (unregister.endpoint, unregister.instance) = (self.rare_text(), self.rare_text());
                unregister.into()
            }
        }
    }

    fn call(&mut self) -> Call {
        Call::new(self.text(), self.message())
    }

    fn message(&mut self) -> Message {
        let role = match self.random.u8(..3) {
            0 => Role::USER,
            1 => Role::AGENT,
            _ => Role::from(self.some_text().as_str()),
        };
        let mut message = Message::new(role, self.value(3)).with_timestamp(self.timestamp());
        message.metadata = self.map(3);
        message
    }

    fn tool_result(&mut self) -> ToolResult {
        let mut result = if self.often() {
            ToolResult::success(self.value(3))
        } else {
            ToolResult::failure(self.some_text())
        };
        result.metadata = self.map(3);
        result
    }

    fn often(&mut self) -> bool {
        self.random.f32() < 0.8
    }

    fn timestamp(&mut self) -> Timestamp {
        let random = &mut self.random;
        let (year, month, day) = (random.u16(1..=9999), random.u8(1..=12), random.u8(1..=28));
        let (hour, minute, second) = (random.u8(..24), random.u8(..60), random.u8(..60));
        let fraction = match random.u8(..3) {
            0 => String::new(),
            1 => format!(".{:06}", random.u32(..1_000_000)),
            _ => format!(".{}", random.u32(..)),
        };
        let sign = if random.bool() { '+' } else { '-' };
        let (hours, minutes, seconds) = (random.u8(..24), random.u8(..60), random.u8(..60));
        let offset = match random.u8(..5) {
            0 => String::new(),
            1 => "Z".to_owned(),
            2 => format!("{sign}{hours:02}"),
            3 => format!("{sign}{hours:02}:{minutes:02}"),
            _ => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}.000001"),
        };
        let text = format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{offset}"
        );
        // Each generated text is a valid timestamp. If parsing fails, the test has found a bug.
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.random.u8(..40) {
            0..10 => self.text().into(),
            10..18 => Value::Integer(self.integer()),
            18..24 => self.float().into(),
            24 => Value::Null,
            25..28 => self.random.bool().into(),
            28..31 if self.bytes => {
                let len = self.len();
                let bytes: Bytes = std::iter::repeat_with(|| self.random.u8(..))
                    .take(len)
                    .collect();
                bytes.into()
            }
            _ if depth > MAX_DEPTH => Value::Null,
            28..34 => self.list(depth).into(),
            _ => self.map(depth).into(),
        }
    }

    fn list(&mut self, depth: usize) -> Vec<Value> {
        let len = self.width();
        (0..len).map(|_| self.value(depth + 1)).collect()
    }

    fn map(&mut self, depth: usize) -> Map {
        let len = self.width();
        (0..len)
            .map(|_| (self.text(), self.value(depth + 1)))
            .collect()
    }

    fn width(&mut self) -> usize {
        match self.random.u8(..) {
            0 => self.random.usize(..40),
            _ => self.random.usize(..5),
        }
    }

    fn integer(&mut self) -> Integer {
        let random = &mut self.random;
        if self.big_integers && random.bool() {
            let digits: String = (0..random.usize(1..60)).map(|_| random.digit(10)).collect();
            let text = format!("{}{digits}", if random.bool() { "-" } else { "" });
            return Integer::from_decimal(&text).unwrap_or_else(|| panic!("{text} is an integer"));
        }
        let bits = random.u32(..64);
        if random.bool() {
            (random.u64(..) >> bits).into()
        } else {
            (random.i64(..) >> bits).into()
        }
    }

    fn float(&mut self) -> f64 {
        let random = &mut self.random;
        match random.u8(..4) {
            0 => f64::from(random.i16(..)) / 100.0,
            1 => 10_f64.powi(random.i32(-320..309)),
            _ => f64::from_bits(random.u64(..)),
        }
    }

    fn len(&mut self) -> usize {
        match self.random.u16(..) {
            0..4 => self.random.usize(..70_000),
            4..3000 => self.random.usize(..300),
            _ => self.random.usize(..12),
        }
    }

    fn text(&mut self) -> String {
        let (len, kind) = (self.len(), self.random.u8(..6));
        let random = &mut self.random;
        let character = |_| match kind {
            0..3 => random.char(' '..='~'),
            3 => random.char('\0'..' '),
            4 => random.char('\u{7f}'..='\u{7ff}'),
            _ => random.char(..),
        };
        (0..len).map(character).collect()
    }

    fn rare_text(&mut self) -> Option<String> {
        (!self.often()).then(|| self.text())
    }

    fn some_text(&mut self) -> String {
        format!("{}!", self.text())
    }
}

/// The maximum nesting depth of generated values.
const MAX_DEPTH: usize = 6;
