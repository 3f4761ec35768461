"""An agent that registers itself and replies in upper case: registered_agent.py HOST PORT"""
import json, socket, socketserver, struct, sys, threading, time, uuid
def frame(kind, id, payload):
    envelope = json.dumps({"version": "1.0", "type": kind, "id": id, "payload": payload}).encode()
    return struct.pack(">I", len(envelope)) + envelope
def read(frames):
    return (header := frames.read(4)) and json.loads(frames.read(*struct.unpack(">I", header)))
def ask(kind, payload):
    with socket.create_connection(sys.argv[1:3], timeout=10) as s, s.makefile("rb") as frames:
        s.sendall(frame(kind, str(uuid.uuid4()), payload))
        return read(frames)
class Shout(socketserver.StreamRequestHandler):
    def handle(self):
        while request := read(self.rfile):
            message = request["payload"]["message"]
            answer = {**message, "role": "agent", "content": message["content"].upper()}
            self.wfile.write(frame("response", request["id"], {"message": answer}))
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Shout)
threading.Thread(target=server.serve_forever, daemon=True).start()
instance, lease = {"agent_name": "shout", "endpoint": "tcp://%s:%d" % server.server_address}, None
while True:  # An error in reply to a heartbeat means that the registration has expired.
    if lease is None or ask("heartbeat", instance)["type"] == "error":
        lease = ask("register", {**instance, "capabilities": {"tones": ["loud"]}})["payload"]
    time.sleep(lease["heartbeat_seconds"])
