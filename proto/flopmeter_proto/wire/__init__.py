"""The only translator between wire messages and the plain values of core.

Owns: what travels on a stream of reports or of batches, and every limit on what may come in.
May touch: generated messages; no socket, no clock.
Called by link (sending side) and the collector's service (receiving side), each of which loads the
modules it speaks with: an agent has no use for what a collector reads with.
Everything received is checked here for shape and size; what a value may be on its content is
the collector's `admit`. Limits: docs/wire.md, docs/adr/0005-delivery-and-durability.md.
"""
