"""A client of keyd written from proto/keyd.proto and proto/PROTOCOL.md alone, to find out
whether they are enough. It shares nothing with libkeyd but those two files."""
