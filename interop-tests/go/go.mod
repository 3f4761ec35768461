module agentwire.example/interop

go 1.19
