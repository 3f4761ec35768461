//! Peers without a client: some close their sending halves after their requests, others reset their
//! connections after the last write.

use std::{io, time::Duration};

use agentwire::{Endpoint, Format, Message, RequestId};
use agentwire_codec::{Body, Call, Envelope, HEADER_LEN, Request, Response, put_frame};
use agentwire_interop_tests::{Socket, TestFailure};
use fastrand::Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use crate::{
    HANG_LIMIT,
    progress::Progress,
    tally::{Outcome, Tally},
};

/// What a peer does after its last request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Closes its sending half, and reads the answers.
    HalfClose,
    /// Resets the connection.
    Reset,
}

/// Makes connections to a server until the round is over. Each counts as one call.
pub(crate) async fn connect_until_over(
    endpoint: Endpoint,
    ending: Ending,
    mut random: Rng,
    progress: &Progress,
) -> Tally {
    let mut tally = Tally::default();
    let mut own = 0;
    while progress.continues(own) {
        own += 1;
        let connection = one_connection(&endpoint, ending, &mut random);
        tally.count(match timeout(HANG_LIMIT, connection).await {
            Ok(Ok(outcome)) => outcome,
            // Nothing but this peer touches the connection.
            Ok(Err(failure)) => Outcome::Unexpected(failure.to_string()),
            Err(_) => Outcome::Hung(format!("connection {own} with {ending:?}")),
        });
    }
    tally
}

async fn one_connection(
    endpoint: &Endpoint,
    ending: Ending,
    random: &mut Rng,
) -> Result<Outcome, TestFailure> {
    let format = if random.bool() {
        Format::Json
    } else {
        Format::MessagePack
    };
    let requests: Vec<_> = (0..random.u32(1..8))
        .map(|number| {
            let message = Message::user(format!("{number} {}", random.u64(..)));
            let behaviour = if random.u8(..4) == 0 { "slow" } else { "echo" };
            message
                .with_metadata("do", behaviour)
                .with_metadata("ms", random.u8(..4))
        })
        .collect();
    let mut frames = Vec::new();
    for (number, message) in requests.iter().enumerate() {
        let call = Request::Process(Call::new("", message.clone()));
        let envelope = Envelope::new(RequestId::from(number.to_string()), call);
        put_frame(&mut frames, usize::MAX, |buffer| {
            format.encode(&envelope, buffer)
        })?;
    }
    let mut socket = connect(endpoint).await?;
    socket.write_all(&frames).await?;
    if ending == Ending::Reset {
        socket.reset_on_drop();
        return Ok(Outcome::Failed("reset".into()));
    }
    socket.shutdown().await?;
    let mut answered = vec![false; requests.len()];
    while let Some(payload) = read_frame(&mut socket).await? {
        let answer = format.decode(&payload)?;
        let number = answer.id.to_string().parse::<usize>().ok();
        let reply = match answer.body {
            Body::Response(Response::Message(reply)) => reply,
            other => return Ok(Outcome::Wrong(format!("{other:?}"))),
        };
        let asked = number.and_then(|number| requests.get(number).zip(answered.get_mut(number)));
        match asked {
            Some((request, answered)) if reply.content == request.content && !*answered => {
                *answered = true;
            }
            _ => return Ok(Outcome::Wrong(format!("answer {} is {reply:?}", answer.id))),
        }
    }
    let lost = answered.iter().filter(|answered| !**answered).count();
    if lost > 0 {
        let all = answered.len();
        return Ok(Outcome::Wrong(format!("{lost} of {all} answers were lost")));
    }
    Ok(Outcome::Replied("answered after a half-close"))
}

/// Connects to a server. While the queue of its Unix socket is full, the system refuses connections
/// with `EAGAIN`, since these peers may arrive faster than the server accepts them.
async fn connect(endpoint: &Endpoint) -> io::Result<Socket> {
    loop {
        match Socket::connect(endpoint).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(Duration::from_millis(1)).await;
            }
            connected => return connected,
        }
    }
}

/// Reads a frame. Returns `None` if the server closes the connection instead.
async fn read_frame(socket: &mut Socket) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; HEADER_LEN];
    if socket.read(&mut header[..1]).await? == 0 {
        return Ok(None);
    }
    socket.read_exact(&mut header[1..]).await?;
    let mut payload = vec![0; u32::from_be_bytes(header) as usize];
    socket.read_exact(&mut payload).await?;
    Ok(Some(payload))
}
