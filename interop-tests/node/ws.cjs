// Serves or calls an agent over WebSocket with the package ws of npm:
//
//   node ws.cjs serve        prints READY ENDPOINT, and echoes until its standard input ends
//   node ws.cjs call URL     calls the agent, and prints the content of the answer
//
// Messages are sent as text in two fragments, with a ping between them.

const { WebSocket, WebSocketServer } = require("ws");

function send(socket, envelope) {
  const text = JSON.stringify(envelope);
  const half = Math.floor(text.length / 2);
  socket.send(text.slice(0, half), { fin: false });
  socket.ping();
  socket.send(text.slice(half), { fin: true });
}

function envelope(type, id, payload) {
  const timestamp = new Date().toISOString().replace("Z", "+00:00");
  return { version: "1.0", type, id, timestamp, payload };
}

function message(role, content, metadata) {
  const timestamp = new Date().toISOString().replace("Z", "+00:00");
  return { role, content, metadata, timestamp };
}

function serve() {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, maxPayload: 10 << 20 });
  server.on("connection", (socket) => {
    socket.on("message", (data) => {
      const { id, payload } = JSON.parse(data.toString());
      const { content, metadata } = payload.message;
      const reply = { message: message("agent", content, metadata) };
      if (payload.method === "process") return send(socket, envelope("response", id, reply));
      for (let i = 0; i < 3; i++) send(socket, envelope("stream_chunk", id, reply));
      send(socket, envelope("stream_end", id, {}));
    });
  });
  server.on("listening", () => console.log(`READY ws://127.0.0.1:${server.address().port}`));
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
}

function call(url) {
  const socket = new WebSocket(url);
  socket.on("open", () => {
    const payload = { method: "process", message: message("user", "from node ż", {}) };
    send(socket, envelope("request", "node-1", payload));
  });
  socket.on("message", (data, isBinary) => {
    const answer = JSON.parse(data.toString());
    console.log(`${isBinary ? "binary" : "text"} ${answer.payload.message.content}`);
    socket.close(1000);
  });
  socket.on("close", (code) => console.log(`closed ${code}`));
}

if (process.argv[2] === "serve") serve();
else call(process.argv[3]);
