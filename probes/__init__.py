"""What we ask: instruments that plan questions and read their own answers into evidence. Pure: no probe opens a socket."""
