@0xf1d3c8a7b2e94560;

struct Message {
  role @0 :Text;
  content @1 :Text;
  metadata @2 :List(Entry);
  timestamp @3 :Text;

  struct Entry {
    key @0 :Text;
    value @1 :Text;
  }
}

interface Echo {
  process @0 (id :Text, agentName :Text, message :Message) -> (id :Text, message :Message);
}
